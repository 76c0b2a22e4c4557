//! Compilers, linkers and other tools for the target of a build.

use crate::shell::{self, Failure};
use crate::test::install;
use std::path::Path;
use std::process::Command;

/// Tools for one target, on this machine.
pub(super) struct Toolchain {
    target: String,
    /// True if the target is that of this machine's Rust.
    native: bool,
    /// Beginning of the names of the compiler and its tools; empty for those of this machine.
    prefix: &'static str,
    /// Command in front of a binary of the target; `None` if this machine cannot run it.
    runner: Option<Vec<&'static str>>,
}

impl Toolchain {
    /// Returns the tools for a target, and installs what is missing.
    pub(super) fn new(target: &str, host: &str) -> Result<Self, Failure> {
        let native = target == host;
        let architecture = |triple: &str| triple.split('-').next().unwrap_or_default().to_owned();
        let foreign = architecture(target) != architecture(host);
        let (prefix, packages): (_, &[&str]) = match target {
            _ if native => ("", &[]),
            "x86_64-unknown-linux-musl" if !foreign => ("", &["musl-tools"]),
            "aarch64-unknown-linux-gnu" if foreign => (
                "aarch64-linux-gnu-",
                &[
                    "gcc-aarch64-linux-gnu",
                    "g++-aarch64-linux-gnu",
                    "libc6-dev-arm64-cross",
                    "qemu-user-static",
                ],
            ),
            _ => return Err(format!("no cross compiler is known for {target} on {host}").into()),
        };
        let compiler = if foreign { format!("{prefix}gcc") } else { "musl-gcc".to_owned() };
        if !native && !shell::works(&compiler, &["--version"]) {
            install::debian(packages)?;
        }
        if !native {
            shell::run(&mut shell::command("rustup", &["target", "add", target]))?;
        }
        let emulator = ["qemu-aarch64-static", "-L", "/usr/aarch64-linux-gnu"];
        let runner = match foreign {
            false => Some(Vec::new()),
            true => shell::works(emulator[0], &["--version"]).then(|| emulator.to_vec()),
        };
        Ok(Self { target: target.to_owned(), native, prefix, runner })
    }

    /// Makes Cargo build for the target. Arguments of the compiler itself follow `--`.
    pub(super) fn build(&self, cargo: &mut Command) {
        if self.native {
            if self.target == "x86_64-unknown-linux-gnu" {
                // The linker of this target, LLD, keeps one of several functions with the same code.
                cargo.args(["--", "-Clink-arg=-Wl,--icf=all"]);
            }
            return;
        }
        cargo.args(["--target", &self.target]);
        let variable =
            |name: &str| format!("CARGO_TARGET_{}_{name}", self.target.to_uppercase().replace('-', "_"));
        if !self.prefix.is_empty() {
            cargo.env(variable("LINKER"), format!("{}gcc", self.prefix));
        }
        if self.target.starts_with("aarch64") {
            // jemalloc works with pages of up to this size: kernels of this architecture have 4, 16 or 64 KiB.
            cargo.env("JEMALLOC_SYS_WITH_LG_PAGE", "16");
        }
    }

    /// One of the binary utilities.
    pub(super) fn binutil(&self, name: &str, arguments: &[&str]) -> Command {
        shell::command(format!("{}{name}", self.prefix), arguments)
    }

    /// A binary of the target, to be run here; `None` if that is not possible.
    pub(super) fn program(&self, binary: &Path) -> Option<Command> {
        let runner = self.runner.as_ref()?;
        let Some((emulator, arguments)) = runner.split_first() else {
            return Some(Command::new(binary));
        };
        let mut command = Command::new(emulator);
        command.args(arguments).arg(binary);
        Some(command)
    }

    /// Returns true if the target is that of this machine's Rust.
    pub(super) fn is_native(&self) -> bool {
        self.native
    }
}
