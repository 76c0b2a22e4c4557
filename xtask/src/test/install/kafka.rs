//! The broker that consumers of Kafka are tested with.

use super::debian;
use crate::shell::{self, Failure};

/// Copies Kafka, which is a set of jars, from a repository of Maven. Java and Maven are Debian's where they are missing.
pub(in crate::test) fn kafka() -> Result<(), Failure> {
    // The program that feeds the broker is compiled when it is run, so that a JRE is not enough.
    if !shell::works("javac", &["-version"]) {
        debian(&["default-jdk-headless"])?;
    }
    let folder = shell::root().join("compat/.work/kafka");
    let project = shell::root().join("crates/testkit/src/servers/kafka/pom.xml");
    // The copy of the project is made last: it stands for a whole set of jars, of this version.
    let mark = folder.join("pom.xml");
    let wanted = std::fs::read(&project)?;
    if std::fs::read(&mark).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    if !shell::works("mvn", &["--version"]) {
        debian(&["maven"])?;
    }
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    let mut maven = shell::command("mvn", &["--quiet", "--batch-mode", "--file"]);
    maven.arg(&project).arg("dependency:copy-dependencies").arg("-DincludeScope=runtime");
    shell::run(maven.arg(format!("-DoutputDirectory={}", folder.display())))?;
    std::fs::write(mark, wanted)?;
    Ok(())
}
