//! The bill of materials, in CycloneDX: every crate that the server is linked of.

use crate::shell::{self, Failure};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Packages and their dependencies, as cargo describes them.
pub(super) struct Metadata(Value);

/// Asks cargo.
pub(super) fn metadata() -> Result<Metadata, Failure> {
    let text = shell::output(&mut shell::cargo(&["metadata", "--format-version=1", "--locked"]))?;
    Ok(Metadata(serde_json::from_str(&text)?))
}

/// Name and version of every package that the server is linked of, for one target and one choice of its features.
///
/// `cargo metadata` would answer for all packages of the workspace together, with the features that any of them wants.
pub(super) fn linked(target: &str, features: &[String]) -> Result<BTreeSet<(String, String)>, Failure> {
    let common =
        ["tree", "--locked", "--package=spinward-server", "--edges=normal,no-proc-macro", "--prefix=none"];
    let mut cargo = shell::cargo(&common);
    let text = shell::output(cargo.args(["--format={p}", "--target", target]).args(features))?;
    // "tokio v1.54.1", and behind it what kind of package it is.
    let parse = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.strip_prefix('v')?.to_owned()))
    };
    Ok(text.lines().filter_map(parse).collect())
}

impl Metadata {
    /// The package of the server.
    pub(super) fn server(&self) -> Result<&Value, Failure> {
        self.packages().find(|package| package["name"] == "spinward-server").ok_or_else(|| "no server".into())
    }

    fn packages(&self) -> impl Iterator<Item = &Value> {
        self.0["packages"].as_array().into_iter().flatten()
    }

    /// The packages with these names and versions, by their ids.
    fn these(&self, linked: &BTreeSet<(String, String)>) -> BTreeMap<&str, &Value> {
        self.packages()
            .filter(|package| linked.contains(&key(package)))
            .filter_map(|package| Some((package["id"].as_str()?, package)))
            .collect()
    }

    /// Ids of the packages that each package depends on, for its code and not for builds or tests.
    fn dependencies(&self) -> impl Iterator<Item = (&str, Vec<&str>)> {
        let normal = |dep: &&Value| {
            dep["dep_kinds"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"].is_null()))
        };
        self.0["resolve"]["nodes"].as_array().into_iter().flatten().filter_map(move |node| {
            let deps = node["deps"].as_array()?.iter().filter(normal);
            Some((node["id"].as_str()?, deps.filter_map(|dep| dep["pkg"].as_str()).collect()))
        })
    }
}

fn key(package: &Value) -> (String, String) {
    let text = |name: &str| package[name].as_str().unwrap_or_default().to_owned();
    (text("name"), text("version"))
}

/// The bill of materials of a target and a choice of features.
pub(super) fn of(target: &str, features: &[String]) -> Result<Value, Failure> {
    let metadata = metadata()?;
    let packages = metadata.these(&linked(target, features)?);
    let checksums = checksums(&std::fs::read_to_string(shell::root().join("Cargo.lock"))?);
    let server = metadata.server()?;
    let components: Vec<Value> = packages
        .values()
        .filter(|package| package["id"] != server["id"])
        .map(|package| component(package, "library", &checksums))
        .collect();
    let dependencies: Vec<Value> = metadata
        .dependencies()
        .filter_map(|(id, deps)| {
            let package = packages.get(id)?;
            let deps: BTreeSet<String> =
                deps.into_iter().filter_map(|id| packages.get(id).map(|package| purl(package))).collect();
            Some(json!({ "ref": purl(package), "dependsOn": deps }))
        })
        .collect();
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": component(server, "application", &checksums),
            "properties": [{ "name": "target", "value": target }],
        },
        "components": components,
        "dependencies": dependencies,
    }))
}

fn component(package: &Value, kind: &str, checksums: &BTreeMap<(String, String), String>) -> Value {
    let text = |name: &str| package[name].as_str().unwrap_or_default();
    let mut component = json!({
        "type": kind,
        "bom-ref": purl(package),
        "name": text("name"),
        "version": text("version"),
        "purl": purl(package),
    });
    if !text("license").is_empty() {
        // "MIT/Apache-2.0" is how it was written before there were expressions.
        component["licenses"] = json!([{ "expression": text("license").replace('/', " OR ") }]);
    }
    if !text("repository").is_empty() {
        component["externalReferences"] = json!([{ "type": "vcs", "url": text("repository") }]);
    }
    if let Some(checksum) = checksums.get(&key(package)) {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
    }
    component
}

fn purl(package: &Value) -> String {
    let text = |name: &str| package[name].as_str().unwrap_or_default();
    format!("pkg:cargo/{}@{}", text("name"), text("version").replace('+', "%2B"))
}

/// The checksums of a lock file, by name and version. Packages of this repository have none.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let value = |block: &str, key: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "))?;
        Some(line.trim_matches('"').to_owned())
    };
    let blocks = lock.split("[[package]]");
    blocks
        .filter_map(|block| {
            Some(((value(block, "name")?, value(block, "version")?), value(block, "checksum")?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bill_has_what_is_linked_and_nothing_else() {
        let bill = of("x86_64-unknown-linux-gnu", &[]).unwrap();
        let names: BTreeMap<&str, &Value> = bill["components"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| (one["name"].as_str().unwrap(), one))
            .collect();
        for (name, there) in [
            ("tokio", true),
            ("spinward", true),
            ("aws-lc-sys", true),
            ("tikv-jemalloc-sys", true),
            // For builds, tests and Windows.
            ("cc", false),
            ("proptest", false),
            ("windows-sys", false),
        ] {
            assert_eq!(names.contains_key(name), there, "{name}");
        }
        let tokio = names["tokio"];
        assert_eq!(tokio["hashes"][0]["content"].as_str().unwrap().len(), 64);
        assert_eq!(tokio["licenses"][0]["expression"], "MIT");
        let slim = of("x86_64-unknown-linux-gnu", &["--no-default-features".to_owned()]).unwrap();
        let slim = slim["components"].as_array().unwrap();
        assert!(slim.len() < names.len() && slim.iter().all(|one| one["name"] != "redis"), "{}", slim.len());
        // Every reference is one of a component.
        let known: Vec<&Value> = (bill["components"].as_array().unwrap().iter())
            .chain([&bill["metadata"]["component"]])
            .map(|one| &one["bom-ref"])
            .collect();
        for dependency in bill["dependencies"].as_array().unwrap() {
            let on = dependency["dependsOn"].as_array().unwrap().iter();
            assert!(on.chain([&dependency["ref"]]).all(|one| known.contains(&one)), "{dependency}");
        }
    }
}
