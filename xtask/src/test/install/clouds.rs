//! Stand-ins for the clouds that consumers are tested with.

use super::python;
use crate::shell::{self, Failure};

/// The stand-in for AWS.
const MOTO: &str = "moto[server,sqs]==5.2.5";

/// Installs what is taken from PyPI. The emulator of Google Pub/Sub is tested with where it is installed.
pub(in crate::test) fn clouds() -> Result<(), Failure> {
    let folder = shell::root().join("compat/.work/cloud");
    // Made last: it stands for a whole installation of this version.
    let mark = folder.join("installed");
    if std::fs::read(&mark).is_ok_and(|installed| installed == MOTO.as_bytes()) {
        return Ok(());
    }
    python()?;
    shell::run(&mut shell::command("python3", &["-m", "venv", &folder.to_string_lossy()]))?;
    shell::run(&mut shell::command(folder.join("bin/python"), &["-m", "pip", "install", "--quiet", MOTO]))?;
    std::fs::write(mark, MOTO)?;
    Ok(())
}
