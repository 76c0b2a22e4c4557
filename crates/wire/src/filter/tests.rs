use std::hash::{DefaultHasher, Hash, Hasher};

use super::*;

/// The tag `k` of publications 1 to 17; 18 has another tag, 19 none.
const VALUES: [&str; 17] = [
    "10", "9.5", "9", "-1", "abc", "abcd", "zabc", "", " 9", "+9", "1e1", "0x9", "NaN", "inf", "10.0", "ABC",
    "é",
];

fn leaf(cmp: &str, val: &str) -> FilterNode {
    FilterNode { key: "k".into(), cmp: cmp.into(), val: val.into(), ..FilterNode::default() }
}

fn any_of(cmp: &str, vals: &[&str]) -> FilterNode {
    FilterNode { vals: vals.iter().map(|val| (*val).to_owned()).collect(), ..leaf(cmp, "") }
}

fn op(op: &str, nodes: impl Into<Vec<FilterNode>>) -> FilterNode {
    FilterNode { op: op.into(), nodes: nodes.into(), ..FilterNode::default() }
}

fn compiled(node: &FilterNode) -> Filter {
    Filter::compile(node).unwrap_or_else(|error| panic!("{error}: {node:?}"))
}

/// The publications that pass.
fn passed(node: &FilterNode) -> Vec<usize> {
    let filter = compiled(node);
    let tags = |key: &str, val: &str| BTreeMap::from([(key.to_owned(), val.to_owned())]);
    let mut publications: Vec<_> = VALUES.iter().map(|val| tags("k", val)).collect();
    publications.extend([tags("o", "1"), BTreeMap::new()]);
    (1..).zip(publications).filter(|(_, tags)| filter.matches(tags)).map(|(number, _)| number).collect()
}

/// Recorded deliveries of Centrifugo v6.9.
#[test]
fn comparisons_pass_what_centrifugo_passes() {
    for (node, expected) in [
        (leaf("eq", "abc"), &[5][..]),
        (leaf("eq", "9"), &[3][..]),
        (leaf("neq", "abc"), &[1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19][..]),
        (leaf("neq", "9"), &[1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19][..]),
        (leaf("sw", "abc"), &[5, 6][..]),
        (leaf("sw", "9"), &[2, 3][..]),
        (leaf("ew", "abc"), &[5, 7][..]),
        (leaf("ew", "9"), &[3, 9, 10, 12][..]),
        (leaf("ct", "abc"), &[5, 6, 7][..]),
        (leaf("ct", "9"), &[2, 3, 9, 10, 12][..]),
        (leaf("lt", "abc"), &[][..]),
        (leaf("lt", "9"), &[4][..]),
        (leaf("lte", "abc"), &[][..]),
        (leaf("lte", "9"), &[3, 4, 10][..]),
        (leaf("gt", "abc"), &[][..]),
        (leaf("gt", "9"), &[1, 2, 15][..]),
        (leaf("gte", "abc"), &[][..]),
        (leaf("gte", "9"), &[1, 2, 3, 10, 15][..]),
        (any_of("in", &["9", "abc", "zz"]), &[3, 5][..]),
        (any_of("in", &[""]), &[8, 18, 19][..]),
        (
            any_of("nin", &["9", "abc", "zz"]),
            &[1, 2, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19][..],
        ),
        (any_of("nin", &[""]), &[1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17][..]),
        (leaf("ex", ""), &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17][..]),
        (leaf("nex", ""), &[18, 19][..]),
        (leaf("lt", "9.5"), &[3, 4, 10][..]),
        (leaf("lt", "abc"), &[][..]),
        (leaf("lt", "-1"), &[][..]),
        (leaf("lt", "1e1"), &[][..]),
        (leaf("lt", "NaN"), &[][..]),
        (leaf("lt", "0.1"), &[4][..]),
        (leaf("lt", "10.00"), &[2, 3, 4, 10][..]),
        (leaf("lt", " 9"), &[][..]),
        (leaf("lt", "1_0"), &[][..]),
        (leaf("lt", "99999999999999999999"), &[1, 2, 3, 4, 10, 15][..]),
        (leaf("lt", "0.1000000000000000000001"), &[][..]),
        (leaf("gte", "9.5"), &[1, 2, 15][..]),
        (leaf("gte", "abc"), &[][..]),
        (leaf("gte", "-1"), &[1, 2, 3, 4, 10, 15][..]),
        (leaf("gte", "1e1"), &[][..]),
        (leaf("gte", "NaN"), &[][..]),
        (leaf("gte", "0.1"), &[1, 2, 3, 10, 15][..]),
        (leaf("gte", "10.00"), &[1, 15][..]),
        (leaf("gte", " 9"), &[][..]),
        (leaf("gte", "1_0"), &[][..]),
        (leaf("gte", "99999999999999999999"), &[][..]),
        (leaf("gte", "0.1000000000000000000001"), &[][..]),
    ] {
        assert_eq!(passed(&node), expected, "{node:?}");
    }
}

/// Recorded deliveries of Centrifugo v6.9.
#[test]
fn operations_pass_what_centrifugo_passes() {
    let (nine, a) = (leaf("eq", "9"), leaf("sw", "a"));
    let deep = (0..40).fold(nine.clone(), |node, _| op("not", [node]));
    let all_but = |gone: &[usize]| (1..=19).filter(|number| !gone.contains(number)).collect::<Vec<_>>();
    for (node, expected) in [
        (op("and", [leaf("gt", "8"), leaf("lt", "10")]), vec![2, 3, 10]),
        (op("or", [nine.clone(), a.clone()]), vec![3, 5, 6]),
        (op("not", [a.clone()]), all_but(&[5, 6])),
        (op("not", [op("or", [nine.clone(), op("and", [a, leaf("ew", "d")])])]), all_but(&[3, 6])),
        (op("and", [nine.clone()]), vec![3]),
        (deep, vec![3]),
        (op("or", vec![nine.clone(); 500]), vec![3]),
        // Fields of the other kind of node do not matter.
        (FilterNode { nodes: vec![nine.clone()], ..nine.clone() }, vec![3]),
        (FilterNode { op: "and".into(), nodes: vec![nine], ..leaf("eq", "10") }, vec![3]),
    ] {
        assert_eq!(passed(&node), expected, "{node:?}");
    }
}

/// Filters that Centrifugo v6.9 answers with error 107.
#[test]
fn what_is_refused() {
    use FilterError::{
        MissingCmp, MissingKey, NoNodes, NotOne, UnknownCmp, UnknownOp, WantsNothing, WantsVal, WantsVals,
    };
    let nine = leaf("eq", "9");
    let mut table = vec![
        (FilterNode::default(), MissingCmp),
        (leaf("", "9"), MissingCmp),
        (leaf("foo", "9"), UnknownCmp("foo".into())),
        (leaf("EQ", "9"), UnknownCmp("EQ".into())),
        (FilterNode { key: String::new(), ..nine.clone() }, MissingKey),
        (op("xor", [nine.clone(), nine.clone()]), UnknownOp("xor".into())),
        (op("AND", [nine.clone(), nine.clone()]), UnknownOp("AND".into())),
        (FilterNode { op: "leaf".into(), ..nine.clone() }, UnknownOp("leaf".into())),
        (FilterNode { op: "and".into(), ..nine.clone() }, NoNodes("and")),
        (op("or", []), NoNodes("or")),
        (op("not", []), NotOne),
        (op("not", [nine.clone(), nine.clone()]), NotOne),
        (op("and", [nine, leaf("foo", "")]), UnknownCmp("foo".into())),
    ];
    for cmp in ["eq", "neq", "sw", "ew", "ct", "lt", "lte", "gt", "gte"] {
        table.extend([(leaf(cmp, ""), WantsVal(cmp)), (any_of(cmp, &["9"]), WantsVal(cmp))]);
        table.push((FilterNode { val: "9".into(), ..any_of(cmp, &["9"]) }, WantsVal(cmp)));
    }
    for cmp in ["in", "nin"] {
        table.extend([(any_of(cmp, &[]), WantsVals(cmp)), (leaf(cmp, "9"), WantsVals(cmp))]);
        table.push((FilterNode { val: "9".into(), ..any_of(cmp, &["9"]) }, WantsVals(cmp)));
    }
    for cmp in ["ex", "nex"] {
        table.extend([(leaf(cmp, "9"), WantsNothing(cmp)), (any_of(cmp, &[""]), WantsNothing(cmp))]);
    }
    for (node, expected) in table {
        assert_eq!(Filter::compile(&node), Err(expected), "{node:?}");
    }
}

#[test]
fn an_empty_key_can_only_be_asked_for() {
    let ask = |cmp: &str| FilterNode { cmp: cmp.into(), ..FilterNode::default() };
    let tags = BTreeMap::from([(String::new(), "x".to_owned())]);
    assert!(compiled(&ask("ex")).matches(&tags) && !compiled(&ask("ex")).matches(&BTreeMap::new()));
    assert!(compiled(&ask("nex")).matches(&BTreeMap::new()) && !compiled(&ask("nex")).matches(&tags));
}

#[test]
fn depth_and_size_are_bounded() {
    let nest = |levels| (1..levels).fold(leaf("ex", ""), |node, _| op("not", [node]));
    assert!(Filter::compile(&nest(MAX_DEPTH)).is_ok());
    assert_eq!(Filter::compile(&nest(MAX_DEPTH + 1)), Err(FilterError::TooDeep));

    let wide = |leaves| op("or", vec![leaf("ex", ""); leaves]);
    assert!(Filter::compile(&wide(MAX_NODES - 1)).is_ok());
    assert_eq!(Filter::compile(&wide(MAX_NODES)), Err(FilterError::TooLarge));
    let pair = [wide(MAX_NODES / 2), wide(MAX_NODES / 2)];
    assert_eq!(Filter::compile(&op("and", pair)), Err(FilterError::TooLarge));
}

#[test]
fn filters_that_say_the_same_are_equal() {
    let hash = |filter: &Filter| {
        let mut hasher = DefaultHasher::new();
        filter.hash(&mut hasher);
        hasher.finish()
    };
    for (a, b) in [
        (any_of("in", &["a", "b", "a"]), any_of("in", &["b", "a"])),
        (leaf("lt", "9.50"), leaf("lt", "+9.5")),
        (leaf("lt", "abc"), leaf("gte", "1e1")),
        (FilterNode { nodes: vec![leaf("foo", "")], ..leaf("eq", "9") }, leaf("eq", "9")),
    ] {
        let (a, b) = (compiled(&a), compiled(&b));
        assert_eq!(a, b);
        assert_eq!(hash(&a), hash(&b));
    }
    for (a, b) in [
        (leaf("eq", "9.50"), leaf("eq", "9.5")),
        (leaf("lt", "9"), leaf("lte", "9")),
        (any_of("in", &["a"]), any_of("nin", &["a"])),
        (any_of("in", &["a"]), leaf("eq", "a")),
        (FilterNode { key: "l".into(), ..leaf("eq", "9") }, leaf("eq", "9")),
    ] {
        assert_ne!(compiled(&a), compiled(&b));
    }
}

#[test]
fn an_error_does_not_carry_a_long_name_along() {
    let error = Filter::compile(&leaf(&"é".repeat(1_000), "9")).unwrap_err();
    assert_eq!(error, FilterError::UnknownCmp("é".repeat(16)));
}

/// One message of 64 KiB brings at most this much to hold.
#[test]
fn a_filter_weighs_little_more_than_its_message() {
    let values: Vec<String> = (0..10_000).map(|number| format!("{number:03x}")).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let bytes: usize = values.iter().map(|value| value.len() + 4).sum();
    let wide = compiled(&any_of("in", &values));
    assert!(wide.weight() <= bytes + 256, "{} for values of {bytes}", wide.weight());
    assert!(wide.matches(&BTreeMap::from([("k".to_owned(), "270f".to_owned())])));
    assert!(!wide.matches(&BTreeMap::from([("k".to_owned(), "2710".to_owned())])));
    let many = compiled(&op("and", vec![leaf("eq", "abc"); MAX_NODES - 1]));
    assert!(many.weight() <= MAX_NODES * 80, "{}", many.weight());
    let nested = compiled(&op("not", [op("or", [leaf("gt", "12.5"), leaf("sw", &"x".repeat(1_000))])]));
    assert!((1_000..1_400).contains(&nested.weight()), "{}", nested.weight());
    assert!(compiled(&leaf("ex", "")).weight() <= 80);
}
