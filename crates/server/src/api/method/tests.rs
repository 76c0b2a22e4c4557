//! Examples and the manual hold what the methods read.

use super::*;
use std::collections::BTreeSet;

fn command(method: &Descriptor, text: &str) -> Command {
    let params = Params::parse(text).unwrap_or_else(|error| panic!("{}: {error}", method.name));
    method.read(params).unwrap_or_else(|error| panic!("{}: {error}", method.name))
}

#[test]
fn names_numbers_and_fields_are_unique() {
    let names: BTreeSet<&str> = METHODS.iter().map(|method| method.name).collect();
    assert_eq!(names.len(), METHODS.len());
    let numbers: BTreeSet<u8> = METHODS.iter().filter_map(|method| method.number).collect();
    assert_eq!(numbers, (0..=12).collect());
    for method in METHODS {
        let fields = (method.fields)();
        let names: BTreeSet<&str> = fields.iter().map(|field| field.name).collect();
        assert_eq!(names.len(), fields.len(), "{}", method.name);
    }
}

#[test]
fn examples_are_read_and_have_only_known_fields() {
    for method in METHODS {
        command(method, method.example);
        let params = Params::parse(method.example).unwrap();
        let fields = (method.fields)();
        for (name, _) in params.fields() {
            assert!(fields.iter().any(|field| field.name == name), "{}: {name}", method.name);
        }
        for field in fields.iter().filter(|field| field.required) {
            assert!(params.raw(field.name).is_some(), "{}: {}", method.name, field.name);
        }
    }
}

#[test]
fn calls_of_the_manual_have_only_fields_that_their_methods_read() {
    // A field that a method does not read gives the same command as its absence.
    let read = |method: &Descriptor, text: &str| format!("{:?}", method.read(Params::parse(text).unwrap()));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/manual/server-api.md");
    let manual = std::fs::read_to_string(path).unwrap();
    let calls: Vec<(&str, &str)> = manual
        .split("<!-- call: ")
        .skip(1)
        .map(|rest| {
            let (name, rest) = rest.split_once(" -->\n```json\n").expect("a block follows");
            (name, rest.split_once("```").expect("the block ends").0)
        })
        .collect();
    assert_eq!(calls.len(), 17);
    for (name, block) in calls {
        let method = by_name(name).unwrap_or_else(|| panic!("there is no method {name}"));
        command(method, block);
        let whole = read(method, block);
        let fields: Value = serde_json::from_str(block).unwrap();
        for field in fields.as_object().unwrap().keys() {
            let mut fewer = fields.clone();
            fewer.as_object_mut().unwrap().remove(field);
            assert_ne!(read(method, &fewer.to_string()), whole, "{name} does not read {field}");
        }
    }
}
