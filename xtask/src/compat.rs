//! Runs the cases under `compat/cases` against the server, beside the stored answers of Centrifugo v6.9, and shows
//! with planted wrong replies that the comparison finds such.

use crate::bench::server::Server;
use crate::shell::{self, Failure};
use std::path::{Path, PathBuf};

/// Python packages that the cases need.
const PACKAGES: &[&str] = &["websockets", "httpx", "cryptography"];

/// `--target HOST:PORT` takes a server that runs already; other arguments go to `run.py`. With other arguments no
/// wrong replies are planted.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let cases = shell::root().join("compat/cases");
    let python = python(&shell::root().join("compat/.work/cases"))?;
    let target = shell::option(arguments, "--target");
    let server = if target.is_some() { None } else { Some(start(&cases)?) };
    let address = match (&server, target) {
        (Some(server), _) => server.address.clone(),
        (None, target) => target.unwrap_or_default().to_owned(),
    };
    let mut command = shell::command(&python, &["run.py", "--target", &format!("spinward={address}")]);
    command.current_dir(&cases).env("PYTHONDONTWRITEBYTECODE", "1");
    if !shell::flag(arguments, "--against") {
        command.args(["--against", "centrifugo-6.9.json", "--accept", "accept.txt"]);
    }
    let at = arguments.iter().position(|a| a == "--target").unwrap_or(usize::MAX - 1);
    let rest: Vec<&String> =
        arguments.iter().enumerate().filter(|(i, _)| *i != at && *i != at + 1).map(|(_, a)| a).collect();
    shell::run(command.args(&rest))?;
    if !rest.is_empty() {
        return Ok(());
    }
    let mut teeth = shell::command(&python, &["teeth.py", "--target", &address]);
    shell::run(teeth.current_dir(&cases).env("PYTHONDONTWRITEBYTECODE", "1"))
}

/// A Python with the packages of the cases, in an environment of its own that later runs find again.
pub(crate) fn python(environment: &Path) -> Result<PathBuf, Failure> {
    let python = environment.join("bin/python");
    let imports = format!("import {}", PACKAGES.join(", "));
    if !shell::works(&python.to_string_lossy(), &["-c", &imports]) {
        shell::run(&mut shell::command("python3", &["-m", "venv", &environment.to_string_lossy()]))?;
        shell::run(shell::command(&python, &["-m", "pip", "install", "--quiet"]).args(PACKAGES))?;
    }
    Ok(python)
}

fn start(cases: &Path) -> Result<Server, Failure> {
    let binary = crate::bench::server::binary()?;
    Server::start("spinward", &binary, &cases.join("config.json"), &[])
}
