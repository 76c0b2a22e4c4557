//! Arrows between the top-level modules of a crate, checked against the lists in ARCHITECTURE.md.
//!
//! A module uses another if its code has a path `crate::other` (or `super::…` that leads there). Comments and tests
//! do not count. Each arrow of a list must be in use, so that the lists stay as short as the code allows.

use crate::shell::{self, Failure};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Crates that have a list: its heading in ARCHITECTURE.md, and the sources.
const CRATES: &[(&str, &str)] =
    &[("spinward", "crates/spinward/src"), ("spinward-server", "crates/server/src")];

/// Subject of the line that names the modules which all others may use.
const ANYONE: &str = "anyone";

type Arrows = BTreeMap<String, BTreeSet<String>>;

/// Compares each crate with its list. Returns the arrows that are wrong, and the number of modules.
pub(super) fn run() -> Result<(Vec<String>, usize), Failure> {
    let document = std::fs::read_to_string(shell::root().join("ARCHITECTURE.md"))?;
    let (mut wrong, mut count) = (Vec::new(), 0);
    for (name, sources) in CRATES {
        let allowed = list(&document, name)
            .ok_or_else(|| format!("ARCHITECTURE.md has no block that begins with \"{name}\""))?;
        let mut used = Arrows::new();
        scan(&shell::root().join(sources), &mut Vec::new(), &mut used)?;
        count += used.len();
        let order = out_of_order(&document, name);
        wrong.extend(
            compare(&used, &allowed).into_iter().chain(order).map(|found| format!("{name}: {found}")),
        );
    }
    Ok((wrong, count))
}

/// Reads the list of a crate: the lines of the code block whose first line is its name.
fn list(document: &str, name: &str) -> Option<Arrows> {
    let mut lines = document.lines().skip_while(|line| *line != name).skip(1);
    let mut arrows = Arrows::new();
    lines.by_ref().take_while(|line| !line.starts_with("```")).for_each(|line| {
        let Some((from, to)) = line.split_once('→') else { return };
        arrows.entry(from.trim().to_owned()).or_default().extend(to.split_whitespace().map(str::to_owned));
    });
    (!arrows.is_empty()).then_some(arrows)
}

/// The arrows of a list that do not point to a line above.
fn out_of_order(document: &str, name: &str) -> Vec<String> {
    let lines = document.lines().skip_while(|line| *line != name).skip(1);
    let (mut above, mut wrong) = (BTreeSet::new(), Vec::new());
    for (from, to) in
        lines.take_while(|line| !line.starts_with("```")).filter_map(|line| line.split_once('→'))
    {
        let upwards = to.split_whitespace().filter(|to| from.trim() != ANYONE && !above.contains(to));
        wrong.extend(upwards.map(|to| format!("{} → {to} does not point to a line above", from.trim())));
        above.insert(from.trim());
    }
    wrong
}

/// The arrows that no list allows, and those of a list that nothing uses.
fn compare(used: &Arrows, allowed: &Arrows) -> Vec<String> {
    let anyone = allowed.get(ANYONE).cloned().unwrap_or_default();
    let of = |arrows: &Arrows, from: &str, to: &str| arrows.get(from).is_some_and(|tos| tos.contains(to));
    let forbidden = used.iter().flat_map(|(from, tos)| tos.iter().map(move |to| (from, to)));
    let forbidden = forbidden
        .filter(|(from, to)| !anyone.contains(*to) && !of(allowed, from, to))
        .map(|(from, to)| format!("{from} → {to} is not allowed"));
    let unused = allowed.iter().filter(|(from, _)| *from != ANYONE);
    let unused = unused.flat_map(|(from, tos)| tos.iter().map(move |to| (from, to)));
    let unused = unused
        .filter(|(from, to)| !of(used, from, to))
        .map(|(from, to)| format!("{from} → {to} is allowed and not used"));
    forbidden.chain(unused).collect()
}

/// Adds what the files below a folder use. `place`: the modules that lead to the folder.
fn scan(folder: &Path, place: &mut Vec<String>, used: &mut Arrows) -> Result<(), Failure> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            place.push(name);
            scan(&path, place, used)?;
            place.pop();
        } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test(&name) {
            let root = place.is_empty() && matches!(&*name, "lib" | "main");
            let depth = place.len() + usize::from(name != "mod" && !root);
            let Some(own) = place.first().cloned().or_else(|| (!root).then(|| name.clone())) else {
                continue;
            };
            let found = paths(&std::fs::read_to_string(&path)?, depth);
            used.entry(own.clone()).or_default().extend(found.into_iter().filter(|other| *other != own));
        }
    }
    Ok(())
}

fn is_test(name: &str) -> bool {
    name == "tests" || name.ends_with("_tests")
}

/// The top-level modules that a file names. `depth`: how many `super`s lead from it to the root.
fn paths(text: &str, depth: usize) -> BTreeSet<String> {
    let supers = "super::".repeat(depth);
    let mut found = BTreeSet::new();
    for line in code(text) {
        let starts = |prefix: &str| -> Vec<usize> {
            let after = line.match_indices(prefix).filter(|(at, _)| !continues(&line[..*at]));
            after.map(|(at, _)| at + prefix.len()).collect()
        };
        let mut rests = starts("crate::");
        if depth > 0 {
            rests.extend(starts(&supers));
        }
        for rest in rests {
            let word = |text: &str| -> String {
                text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
            };
            let names: Vec<String> = match line[rest..].strip_prefix('{') {
                Some(group) => group.split(',').map(|part| word(part.trim_start())).collect(),
                None => vec![word(&line[rest..])],
            };
            // Types and functions of the root are not modules.
            found.extend(names.into_iter().filter(|name| {
                name.starts_with(|c: char| c.is_lowercase()) && !matches!(&**name, "self" | "super")
            }));
        }
    }
    found
}

/// Returns true if a path goes on before this: `spinward_crate::`, `super::super::`.
fn continues(before: &str) -> bool {
    before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':')
}

/// The lines of a file without comments and tests.
fn code(text: &str) -> Vec<&str> {
    let mut lines = text.lines();
    let mut kept = Vec::new();
    while let Some(line) = lines.next() {
        if line.trim() == "#[cfg(test)]" {
            // A module with a body is the end of a file here; one without is a line, and attributes before it.
            let item = lines.by_ref().find(|line| !line.trim_start().starts_with("#["));
            if item.is_none_or(|item| item.ends_with('{') && item.contains("mod ")) {
                break;
            }
            continue;
        }
        kept.push(line.split("//").next().unwrap_or_default());
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "text\n```text\nspinward\nanyone  → clock id\nsession → hub\nhub     → channel\n```\n";

    fn arrows(of: &[(&str, &[&str])]) -> Arrows {
        of.iter().map(|(from, to)| ((*from).into(), to.iter().map(|to| (*to).into()).collect())).collect()
    }

    #[test]
    fn a_forbidden_arrow_is_found() {
        let allowed = list(LIST, "spinward").unwrap();
        let used = arrows(&[("session", &["hub", "clock"]), ("hub", &["channel", "session", "id"])]);
        assert_eq!(compare(&used, &allowed), ["hub → session is not allowed"]);
    }

    #[test]
    fn an_arrow_of_the_list_that_nothing_uses_is_found() {
        let allowed = list(LIST, "spinward").unwrap();
        let used = arrows(&[("session", &["hub"]), ("hub", &[])]);
        assert_eq!(compare(&used, &allowed), ["hub → channel is allowed and not used"]);
    }

    #[test]
    fn an_arrow_that_closes_a_circle_is_found() {
        let found = out_of_order(LIST, "spinward");
        assert_eq!(
            found,
            ["session → hub does not point to a line above", "hub → channel does not point to a line above"]
        );
        assert!(out_of_order("spinward\nanyone → id\nhub →\nsession → hub\n```", "spinward").is_empty());
    }

    #[test]
    fn paths_are_found_in_code_alone() {
        let text = "\
            //! [`crate::comment`]\n\
            use crate::hub::Hub;\n\
            use crate::{clock, id::ClientId};\n\
            use super::super::shard::core;\n\
            use super::sibling;\n\
            use other_crate::thing;\n\
            #[cfg(test)]\n\
            #[path = \"x_tests.rs\"]\n\
            mod tests;\n\
            fn f() { crate::channel::g(crate::Type) } // crate::comment\n\
            #[cfg(test)]\n\
            mod more {\n\
            use crate::testing;\n\
            }\n";
        let found: Vec<_> = paths(text, 2).into_iter().collect();
        assert_eq!(found, ["channel", "clock", "hub", "id", "shard"]);
    }

    #[test]
    fn the_tree_is_as_the_lists_say() {
        let (wrong, count) = run().unwrap();
        assert!(wrong.is_empty() && count > 20, "{count} modules: {wrong:#?}");
    }
}
