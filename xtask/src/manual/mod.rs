//! `cargo xtask manual`: checks links, anchors and lists of chapters, and writes the generated chapters anew.
//!
//! The manual's blocks are run by the tests in `compat` and `crates/*/tests/manual.rs`.

mod pages;
mod site;

pub(crate) use site::run as site;

use crate::shell::{self, Failure};
use pages::{Page, Pages};
use std::path::Path;

pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    if shell::flag(arguments, "--write") {
        let test = ["test", "--workspace", "--locked", "--quiet", "--lib", "reference_tests::"];
        shell::run(shell::cargo(&test).env("SPINWARD_WRITE_MANUAL", "1"))?;
    }
    check()
}

/// Checks every document: where links lead, and that each chapter is listed.
pub(crate) fn check() -> Result<(), Failure> {
    let root = shell::root();
    let mut pages = Pages::default();
    for name in ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"] {
        pages.read(&root, Path::new(name))?;
    }
    pages.read_folder(&root, Path::new("docs"))?;
    let mut faults = pages.broken_links(&root);
    faults.extend(unlisted(&pages));
    if faults.is_empty() {
        println!("manual: {} documents, {} links", pages.count(), pages.links());
        return Ok(());
    }
    Err(format!("documents need a correction:\n  {}", faults.join("\n  ")).into())
}

/// Documents that the summary of the site does not list, or lists twice; chapters that the manual's own page leaves out.
fn unlisted(pages: &Pages) -> Vec<String> {
    let mut faults = Vec::new();
    let listed = |list: &str, page: &Page| {
        let from = pages.get(Path::new(list));
        from.map_or(0, |from| from.targets().filter(|target| *target == page.path()).count())
    };
    for page in pages.iter().filter(|page| page.path().starts_with("docs")) {
        let name = page.path().strip_prefix("docs").unwrap_or(page.path());
        let times = listed("docs/SUMMARY.md", page);
        if name != Path::new("SUMMARY.md") && times != 1 {
            let line = format!("- [{}]({})", page.title(), name.display());
            faults.push(format!("docs/SUMMARY.md has {times} of the line, and should have one: {line}"));
        }
        let manual = "docs/manual/README.md";
        if name.starts_with("manual") && page.path() != Path::new(manual) && listed(manual, page) == 0 {
            faults.push(format!("{manual} does not link to {}", name.display()));
        }
    }
    faults
}
