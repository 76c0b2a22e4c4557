//! Filters over publication tags (`tf` in a subscribe request), compiled.
//!
//! Semantics are those of Centrifugo v6.9. A missing key makes `neq` and `nex` true; `in` and `nin` take it
//! for an empty string; for every other comparison it is false. Numeric comparisons read both sides as
//! decimals and are false where either side is none; they are exact, never floating point.

mod decimal;

use std::collections::BTreeMap;

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
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Filter {
    root: Node,
}

/// Why a filter is refused. On the wire this is error 107, bad request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// `op` is none of `and`, `or`, `not`, and not empty.
    #[error("unknown op {0:?} in tags filter")]
    UnknownOp(String),
    /// A comparison without `cmp`.
    #[error("cmp is missing in tags filter")]
    MissingCmp,
    /// `cmp` is none of the thirteen.
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
        compile(root, MAX_DEPTH, &mut room).map(|root| Self { root })
    }

    /// Whether a publication with these tags passes.
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
    /// Sorted, without repetitions.
    In(Box<[Box<str>]>),
    NotIn(Box<[Box<str>]>),
    Exists,
    Missing,
    StartsWith(Box<str>),
    EndsWith(Box<str>),
    Contains(Box<str>),
    Less(OwnedDecimal),
    LessOrEqual(OwnedDecimal),
    Greater(OwnedDecimal),
    GreaterOrEqual(OwnedDecimal),
    /// A numeric comparison with what is no number.
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
}

impl Test {
    fn matches(&self, tag: Option<&str>) -> bool {
        let number = || tag.and_then(Decimal::parse);
        match self {
            Self::Equal(val) => tag == Some(val),
            Self::NotEqual(val) => tag != Some(val),
            Self::In(vals) => contains(vals, tag),
            Self::NotIn(vals) => !contains(vals, tag),
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
}

fn contains(vals: &[Box<str>], tag: Option<&str>) -> bool {
    let tag = tag.unwrap_or_default();
    vals.binary_search_by(|val| (**val).cmp(tag)).is_ok()
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

fn vals(node: &FilterNode, cmp: &'static str) -> Result<Box<[Box<str>]>, FilterError> {
    if node.vals.is_empty() || !node.val.is_empty() {
        return Err(FilterError::WantsVals(cmp));
    }
    let mut vals: Vec<Box<str>> = node.vals.iter().map(|val| val.as_str().into()).collect();
    vals.sort_unstable();
    vals.dedup();
    Ok(vals.into())
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
