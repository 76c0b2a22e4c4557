//! Filters over publication tags (`tf` in a subscribe request), compiled.
//!
//! Semantics are those of Centrifugo v6.9. A missing key makes `neq` and `nex` true; `in` and `nin` take it
//! for an empty string; for every other comparison it is false. Numeric comparisons read both sides as
//! decimals and are false if either side is not one; they are exact, never floating point.

mod decimal;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::message::FilterNode;
use decimal::{Decimal, OwnedDecimal};

/// The deepest nesting, a lone comparison being 1 deep.
pub const MAX_DEPTH: usize = 64;

/// The most nodes in a filter, comparisons and operations together.
pub const MAX_NODES: usize = 1_024;

/// A valid filter, ready to be matched.
///
/// Filters that compare equal match the same tags, so subscribers with equal filters can share a verdict. The
/// order and repetition of `vals` does not count, nor does the spelling of numbers (`9.50` is `9.5`); the order
/// of `nodes` does.
///
/// Clones share what they hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Filter {
    root: Arc<Node>,
}

/// Reason that a filter is refused. On the wire this is error 107, bad request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// `op` is neither empty nor one of `and`, `or`, `not`.
    #[error("unknown op {0:?} in tags filter")]
    UnknownOp(String),
    /// A comparison without `cmp`.
    #[error("cmp is missing in tags filter")]
    MissingCmp,
    /// `cmp` is not one of the thirteen.
    #[error("unknown cmp {0:?} in tags filter")]
    UnknownCmp(String),
    /// A comparison, other than `ex` and `nex`, without `key`.
    #[error("key is missing in tags filter")]
    MissingKey,
    /// The comparison needs a `val` that is not empty and no `vals`.
    #[error("cmp {0} in tags filter takes val, and only val")]
    WantsVal(&'static str),
    /// The comparison needs `vals` that are not empty and no `val`.
    #[error("cmp {0} in tags filter takes vals, and only vals")]
    WantsVals(&'static str),
    /// The comparison takes neither `val` nor `vals`.
    #[error("cmp {0} in tags filter takes neither val nor vals")]
    WantsNothing(&'static str),
    /// `and` or `or` without `nodes`.
    #[error("op {0} in tags filter needs nodes")]
    NoNodes(&'static str),
    /// `not` with other than one node.
    #[error("op not in tags filter takes one node")]
    NotOne,
    /// More than [`MAX_DEPTH`] levels.
    #[error("tags filter is nested deeper than {MAX_DEPTH}")]
    TooDeep,
    /// More than [`MAX_NODES`] nodes.
    #[error("tags filter has more than {MAX_NODES} nodes")]
    TooLarge,
}

impl Filter {
    /// Checks and compiles a filter. Fields that a node does not use are ignored, as Centrifugo does.
    ///
    /// # Errors
    /// The first thing that is wrong, from the root down and from left to right.
    pub fn compile(root: &FilterNode) -> Result<Self, FilterError> {
        let mut room = MAX_NODES;
        compile(root, MAX_DEPTH, &mut room).map(|root| Self { root: Arc::new(root) })
    }

    /// Bytes held, those of clones included. Costs a walk through the filter.
    #[must_use]
    pub fn weight(&self) -> usize {
        size_of::<Node>() + self.root.weight()
    }

    /// Returns true if a publication with these tags passes.
    #[must_use]
    pub fn matches(&self, tags: &BTreeMap<String, String>) -> bool {
        self.root.matches(tags)
    }
}

/// An operation over nodes, or a comparison of one tag.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Node {
    And(Box<[Self]>),
    Or(Box<[Self]>),
    Not(Box<Self>),
    Leaf { key: Box<str>, test: Test },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Test {
    Equal(Box<str>),
    NotEqual(Box<str>),
    In(Values),
    NotIn(Values),
    Exists,
    Missing,
    StartsWith(Box<str>),
    EndsWith(Box<str>),
    Contains(Box<str>),
    Less(OwnedDecimal),
    LessOrEqual(OwnedDecimal),
    Greater(OwnedDecimal),
    GreaterOrEqual(OwnedDecimal),
    /// A numeric comparison with something that is not a number.
    Never,
}

impl Node {
    /// Recursion is bounded by [`MAX_DEPTH`].
    fn matches(&self, tags: &BTreeMap<String, String>) -> bool {
        match self {
            Self::And(nodes) => nodes.iter().all(|node| node.matches(tags)),
            Self::Or(nodes) => nodes.iter().any(|node| node.matches(tags)),
            Self::Not(node) => !node.matches(tags),
            Self::Leaf { key, test } => test.matches(tags.get(&**key).map(String::as_str)),
        }
    }

    /// Bytes held outside of the node itself.
    fn weight(&self) -> usize {
        match self {
            Self::And(nodes) | Self::Or(nodes) => {
                nodes.iter().map(|node| size_of::<Self>() + node.weight()).sum()
            }
            Self::Not(node) => size_of::<Self>() + node.weight(),
            Self::Leaf { key, test } => key.len() + test.weight(),
        }
    }
}

/// Values to look among. There may be thousands in one filter, so they share one allocation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Values {
    /// One after the other, sorted, without repetitions.
    text: Box<str>,
    /// End of each value.
    ends: Box<[u32]>,
}

impl Values {
    fn new(values: &[String]) -> Self {
        let mut sorted: Vec<&str> = values.iter().map(String::as_str).collect();
        sorted.sort_unstable();
        sorted.dedup();
        let mut text = String::with_capacity(sorted.iter().map(|value| value.len()).sum());
        let ends = sorted
            .into_iter()
            .map(|value| {
                text.push_str(value);
                text.len() as u32
            })
            .collect();
        Self { text: text.into(), ends }
    }

    fn get(&self, at: usize) -> &str {
        let begin = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.text[begin as usize..self.ends[at] as usize]
    }

    /// A tag that is missing counts as empty.
    fn contains(&self, tag: Option<&str>) -> bool {
        let tag = tag.unwrap_or_default();
        let (mut low, mut high) = (0, self.ends.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.get(middle).cmp(tag) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return true,
                Ordering::Greater => high = middle,
            }
        }
        false
    }
}

impl Test {
    fn matches(&self, tag: Option<&str>) -> bool {
        let number = || tag.and_then(Decimal::parse);
        match self {
            Self::Equal(val) => tag == Some(val),
            Self::NotEqual(val) => tag != Some(val),
            Self::In(vals) => vals.contains(tag),
            Self::NotIn(vals) => !vals.contains(tag),
            Self::Exists => tag.is_some(),
            Self::Missing => tag.is_none(),
            Self::StartsWith(val) => tag.is_some_and(|tag| tag.starts_with(&**val)),
            Self::EndsWith(val) => tag.is_some_and(|tag| tag.ends_with(&**val)),
            Self::Contains(val) => tag.is_some_and(|tag| tag.contains(&**val)),
            Self::Less(val) => number().is_some_and(|tag| tag < val.borrow()),
            Self::LessOrEqual(val) => number().is_some_and(|tag| tag <= val.borrow()),
            Self::Greater(val) => number().is_some_and(|tag| tag > val.borrow()),
            Self::GreaterOrEqual(val) => number().is_some_and(|tag| tag >= val.borrow()),
            Self::Never => false,
        }
    }

    /// Bytes held outside of the test itself.
    fn weight(&self) -> usize {
        match self {
            Self::Equal(val) | Self::NotEqual(val) => val.len(),
            Self::StartsWith(val) | Self::EndsWith(val) | Self::Contains(val) => val.len(),
            Self::In(vals) | Self::NotIn(vals) => vals.text.len() + size_of_val(&*vals.ends),
            Self::Less(val) | Self::LessOrEqual(val) => val.weight(),
            Self::Greater(val) | Self::GreaterOrEqual(val) => val.weight(),
            Self::Exists | Self::Missing | Self::Never => 0,
        }
    }
}

fn compile(node: &FilterNode, depth: usize, room: &mut usize) -> Result<Node, FilterError> {
    let depth = depth.checked_sub(1).ok_or(FilterError::TooDeep)?;
    *room = room.checked_sub(1).ok_or(FilterError::TooLarge)?;
    match node.op.as_str() {
        "" => compile_leaf(node),
        "and" if node.nodes.is_empty() => Err(FilterError::NoNodes("and")),
        "and" => Ok(Node::And(compile_all(&node.nodes, depth, room)?)),
        "or" if node.nodes.is_empty() => Err(FilterError::NoNodes("or")),
        "or" => Ok(Node::Or(compile_all(&node.nodes, depth, room)?)),
        "not" => match &node.nodes[..] {
            [node] => Ok(Node::Not(Box::new(compile(node, depth, room)?))),
            _ => Err(FilterError::NotOne),
        },
        other => Err(FilterError::UnknownOp(clip(other))),
    }
}

fn compile_all(nodes: &[FilterNode], depth: usize, room: &mut usize) -> Result<Box<[Node]>, FilterError> {
    nodes.iter().map(|node| compile(node, depth, room)).collect()
}

fn compile_leaf(node: &FilterNode) -> Result<Node, FilterError> {
    let test = match node.cmp.as_str() {
        "" => return Err(FilterError::MissingCmp),
        "eq" => Test::Equal(val(node, "eq")?.into()),
        "neq" => Test::NotEqual(val(node, "neq")?.into()),
        "in" => Test::In(vals(node, "in")?),
        "nin" => Test::NotIn(vals(node, "nin")?),
        "ex" => nothing(node, "ex", Test::Exists)?,
        "nex" => nothing(node, "nex", Test::Missing)?,
        "sw" => Test::StartsWith(val(node, "sw")?.into()),
        "ew" => Test::EndsWith(val(node, "ew")?.into()),
        "ct" => Test::Contains(val(node, "ct")?.into()),
        "lt" => number(val(node, "lt")?, Test::Less),
        "lte" => number(val(node, "lte")?, Test::LessOrEqual),
        "gt" => number(val(node, "gt")?, Test::Greater),
        "gte" => number(val(node, "gte")?, Test::GreaterOrEqual),
        other => return Err(FilterError::UnknownCmp(clip(other))),
    };
    if node.key.is_empty() && !matches!(test, Test::Exists | Test::Missing) {
        return Err(FilterError::MissingKey);
    }
    Ok(Node::Leaf { key: node.key.as_str().into(), test })
}

fn val<'a>(node: &'a FilterNode, cmp: &'static str) -> Result<&'a str, FilterError> {
    if node.val.is_empty() || !node.vals.is_empty() {
        return Err(FilterError::WantsVal(cmp));
    }
    Ok(&node.val)
}

fn vals(node: &FilterNode, cmp: &'static str) -> Result<Values, FilterError> {
    if node.vals.is_empty() || !node.val.is_empty() {
        return Err(FilterError::WantsVals(cmp));
    }
    Ok(Values::new(&node.vals))
}

fn nothing(node: &FilterNode, cmp: &'static str, test: Test) -> Result<Test, FilterError> {
    if node.val.is_empty() && node.vals.is_empty() { Ok(test) } else { Err(FilterError::WantsNothing(cmp)) }
}

fn number(val: &str, test: fn(OwnedDecimal) -> Test) -> Test {
    Decimal::parse(val).map_or(Test::Never, |number| test(number.into()))
}

/// A name from the peer, short enough for an error.
fn clip(name: &str) -> String {
    name[..name.floor_char_boundary(32)].to_owned()
}

#[cfg(test)]
mod tests;
