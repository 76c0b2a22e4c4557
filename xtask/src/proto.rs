//! Makes the code of the server's gRPC services from their `.proto` files, or checks that what is committed is that.

use crate::shell::{self, Failure};
use std::path::Path;

/// The `.proto` files.
const FROM: &str = "crates/server/proto";
/// Folder of the generated code, beside code that is written by hand.
const TO: &str = "crates/server/src/grpc/proto";

/// Makes it; with `--check`, compares it with what is committed.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    if shell::flag(arguments, "--check") { check() } else { make(&shell::root().join(TO)) }
}

/// Compares each file with what is committed.
pub(crate) fn check() -> Result<(), Failure> {
    let fresh = shell::root().join("target/proto/fresh");
    // A file of an earlier run must not count.
    let _ = std::fs::remove_dir_all(&fresh);
    std::fs::create_dir_all(&fresh)?;
    make(&fresh)?;
    let (mut differ, mut count) = (Vec::new(), 0);
    for entry in std::fs::read_dir(&fresh)? {
        let entry = entry?;
        count += 1;
        let committed = std::fs::read(shell::root().join(TO).join(entry.file_name())).unwrap_or_default();
        if committed != std::fs::read(entry.path())? {
            differ.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    if differ.is_empty() {
        println!("proto: {count} files, the same bytes");
        return Ok(());
    }
    Err(format!("{TO} is not what {FROM} makes: {}; run cargo xtask proto", differ.join(", ")).into())
}

fn make(to: &Path) -> Result<(), Failure> {
    let root = shell::root();
    let mut command =
        shell::cargo(&["run", "--quiet", "--locked", "--manifest-path", "xtask/proto/Cargo.toml"]);
    command.arg("--target-dir").arg(root.join("target/proto"));
    shell::run(command.arg("--").arg(root.join(FROM)).arg(to))?;
    let mut format = shell::command("rustfmt", &["--edition", "2024"]);
    format.arg("--config-path").arg(root.join("rustfmt.toml"));
    for entry in std::fs::read_dir(root.join(FROM))? {
        let code = to.join(entry?.file_name()).with_extension("rs");
        if code.exists() {
            format.arg(code);
        }
    }
    shell::run(&mut format)
}
