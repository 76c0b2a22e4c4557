//! Arrows of the architecture: between crates, checked against what cargo resolves, and between the modules of a
//! crate, checked against the sources.

mod modules;

use crate::shell::{self, Failure};

/// A crate of ours, and what its normal dependencies may never reach, features of all kinds turned on.
const NEVER: &[(&str, &[&str])] = &[
    ("spinward-wire", &["tokio", "mio", "hyper", "tracing", "socket2", "spinward"]),
    (
        "spinward",
        &[
            "redis",
            "tonic",
            "axum",
            "reqwest",
            "toml",
            "clap",
            "jsonwebtoken",
            "spinward-engines",
            "spinward-server",
        ],
    ),
    ("spinward-engines", &["spinward-server", "spinward-consumers", "axum", "clap"]),
    ("spinward-consumers", &["spinward-server", "axum", "clap"]),
    ("spinward-server", &["spinward-testkit", "spinward-loadgen", "xtask"]),
    ("spinward-test", &["spinward-server", "spinward-testkit", "spinward-loadgen"]),
    ("spinward-testkit", &["spinward-server", "spinward-loadgen"]),
    ("spinward-loadgen", &["spinward-server", "spinward-engines", "spinward"]),
    ("xtask", &["tokio", "spinward", "spinward-wire"]),
];

/// Checks every crate that exists.
pub(crate) fn run() -> Result<(), Failure> {
    let members =
        shell::output(&mut shell::cargo(&["tree", "--workspace", "--depth", "0", "--prefix", "none"]))?;
    let exists = |name: &str| members.lines().any(|line| line.split(' ').next() == Some(name));
    let (mut checked, mut wrong) = (0, Vec::new());
    for (name, never) in NEVER.iter().filter(|(name, _)| exists(name)) {
        let reached = tree(name)?;
        checked += 1;
        wrong.extend(
            never.iter().filter(|other| reached.iter().any(|r| r == *other)).map(|o| format!("{name} → {o}")),
        );
    }
    let (found, modules) = modules::run()?;
    wrong.extend(found);
    if wrong.is_empty() {
        println!("arrows: {checked} crates and {modules} modules, each uses only what it may");
        return Ok(());
    }
    Err(format!("arrows that differ from ARCHITECTURE.md and xtask/src/arrows:\n  {}", wrong.join("\n  "))
        .into())
}

/// Names of all crates that `name` reaches.
fn tree(name: &str) -> Result<Vec<String>, Failure> {
    let arguments =
        ["tree", "-e", "normal", "--all-features", "--target", "all", "--prefix", "none", "--package", name];
    let text = shell::output(&mut shell::cargo(&arguments))?;
    let names = text.lines().skip(1).filter_map(|line| line.split(' ').next());
    Ok(names.filter(|n| *n != name).map(str::to_owned).collect())
}
