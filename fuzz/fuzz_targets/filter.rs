//! Tags filters: the compiled filter agrees with a plain reading of the tree, and with logic.
#![no_main]

use std::cmp::Ordering;
use std::collections::BTreeMap;

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use prost::Message as _;
use spinward_wire::filter::{Filter, FilterError, MAX_DEPTH, MAX_NODES};
use spinward_wire::message::FilterNode;

const OPS: &[&str] = &["and", "or", "not", "xor"];
const CMPS: &[&str] =
    &["eq", "neq", "in", "nin", "ex", "nex", "sw", "ew", "ct", "lt", "lte", "gt", "gte", "", "foo"];
const KEYS: &[&str] = &["k", "l", ""];
const VALUES: &[&str] =
    &["", "9", "9.0", "+9", "-1", "-0", "0", "10", "0.5", ".5", "1e1", "abc", "ab", "c", "é", "00.50", "NaN"];

fuzz_target!(|data: &[u8]| {
    // As it comes from the wire.
    if let Ok(node) = FilterNode::decode(data) {
        check(&node, &[BTreeMap::new()]);
    }
    // As it should come.
    let mut input = Unstructured::new(data);
    if let (Ok(node), Ok(tags)) =
        (node(&mut input, 6), (0..3).map(|_| tags(&mut input)).collect::<Result<Vec<_>>>())
    {
        check(&node, &tags);
    }
});

fn check(node: &FilterNode, tags: &[BTreeMap<String, String>]) {
    let filter = match Filter::compile(node) {
        Ok(filter) => filter,
        Err(error) => {
            if valid(node) {
                let (depth, nodes) = size(node);
                match error {
                    FilterError::TooDeep => assert!(depth > MAX_DEPTH),
                    FilterError::TooLarge => assert!(nodes > MAX_NODES),
                    other => panic!("{other} in a valid filter"),
                }
            }
            return;
        }
    };
    assert!(valid(node), "an invalid filter is taken");
    let not = FilterNode { op: "not".into(), nodes: vec![node.clone()], ..FilterNode::default() };
    let not = Filter::compile(&not);
    for tags in tags {
        let verdict = filter.matches(tags);
        assert_eq!(verdict, plain(node, tags), "{node:?} {tags:?}");
        if let Ok(not) = &not {
            assert_ne!(verdict, not.matches(tags));
        }
    }
    assert_eq!(Filter::compile(node).as_ref(), Ok(&filter));
}

fn node(input: &mut Unstructured<'_>, depth: u32) -> Result<FilterNode> {
    let mut node = FilterNode::default();
    if depth > 0 && input.ratio(1, 3)? {
        node.op = (*input.choose(OPS)?).into();
        let count = if node.op == "not" { 1 } else { input.int_in_range(0..=3)? };
        node.nodes = (0..count).map(|_| self::node(input, depth - 1)).collect::<Result<_>>()?;
    } else {
        node.key = (*input.choose(KEYS)?).into();
        node.cmp = (*input.choose(CMPS)?).into();
        if ["in", "nin"].contains(&&*node.cmp) != input.ratio(1, 20)? {
            let count = input.int_in_range(0..=3)?;
            node.vals = (0..count).map(|_| value(input)).collect::<Result<_>>()?;
        } else if !["ex", "nex"].contains(&&*node.cmp) {
            node.val = value(input)?;
        }
    }
    Ok(node)
}

fn tags(input: &mut Unstructured<'_>) -> Result<BTreeMap<String, String>> {
    let count = input.int_in_range(0..=2)?;
    (0..count).map(|_| Ok(((*input.choose(KEYS)?).into(), value(input)?))).collect()
}

fn value(input: &mut Unstructured<'_>) -> Result<String> {
    if input.ratio(1, 4)? { input.arbitrary() } else { Ok((*input.choose(VALUES)?).into()) }
}

fn size(node: &FilterNode) -> (usize, usize) {
    node.nodes.iter().map(size).fold((1, 1), |(depth, count), (d, c)| (depth.max(d + 1), count + c))
}

/// A second, plain implementation of the rules.
fn valid(node: &FilterNode) -> bool {
    let (val, vals) = (!node.val.is_empty(), !node.vals.is_empty());
    match &*node.op {
        "" => match &*node.cmp {
            "ex" | "nex" => !val && !vals,
            "in" | "nin" => !val && vals && !node.key.is_empty(),
            "eq" | "neq" | "sw" | "ew" | "ct" | "lt" | "lte" | "gt" | "gte" => {
                val && !vals && !node.key.is_empty()
            }
            _ => false,
        },
        "and" | "or" => !node.nodes.is_empty() && node.nodes.iter().all(valid),
        "not" => node.nodes.len() == 1 && valid(&node.nodes[0]),
        _ => false,
    }
}

fn plain(node: &FilterNode, tags: &BTreeMap<String, String>) -> bool {
    match &*node.op {
        "and" => return node.nodes.iter().all(|node| plain(node, tags)),
        "or" => return node.nodes.iter().any(|node| plain(node, tags)),
        "not" => return !plain(&node.nodes[0], tags),
        _ => {}
    }
    let tag = tags.get(&node.key);
    let or_empty = tag.map_or("", |tag| tag);
    let has = |test: &dyn Fn(&str) -> bool| tag.is_some_and(|tag| test(tag));
    let order = |wanted: &[Ordering]| {
        has(&|tag| compare(tag, &node.val).is_some_and(|order| wanted.contains(&order)))
    };
    match &*node.cmp {
        "eq" => has(&|tag| tag == node.val),
        "neq" => !has(&|tag| tag == node.val),
        "in" => node.vals.iter().any(|val| val == or_empty),
        // A missing tag taken for no value at all.
        #[cfg(planted_fault)]
        "nin" => has(&|tag| !node.vals.iter().any(|val| val == tag)),
        #[cfg(not(planted_fault))]
        "nin" => !node.vals.iter().any(|val| val == or_empty),
        "ex" => tag.is_some(),
        "nex" => tag.is_none(),
        "sw" => has(&|tag| tag.starts_with(&node.val)),
        "ew" => has(&|tag| tag.ends_with(&node.val)),
        "ct" => has(&|tag| tag.contains(&node.val)),
        "lt" => order(&[Ordering::Less]),
        "lte" => order(&[Ordering::Less, Ordering::Equal]),
        "gt" => order(&[Ordering::Greater]),
        "gte" => order(&[Ordering::Greater, Ordering::Equal]),
        _ => false,
    }
}

/// Decimals as signed digit strings of one width, 200 before the point and 19 behind it.
fn compare(a: &str, b: &str) -> Option<Ordering> {
    let (a, b) = (widen(a)?, widen(b)?);
    Some(match (a.0, b.0) {
        (false, false) => a.1.cmp(&b.1),
        (true, true) => b.1.cmp(&a.1),
        _ if a.1 == b.1 && a.1.bytes().all(|byte| byte == b'0') => Ordering::Equal,
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
    })
}

fn widen(text: &str) -> Option<(bool, String)> {
    let negative = text.starts_with('-');
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let good = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if text.len() > 200 || fraction.len() > 19 || !good(whole) || !good(fraction) {
        return None;
    }
    Some((negative, format!("{whole:0>200}{fraction:0<19}")))
}
