//! Runs the cases under `compat/cases` against the server, beside the stored answers of Centrifugo, and shows with
//! planted wrong replies that the comparison finds such.

use crate::bench::server::Server;
use crate::shell::{self, Failure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Python packages that the cases need, and the names that they are imported by.
const PACKAGES: &[(&str, &str)] = &[
    ("websockets", "websockets"),
    ("httpx", "httpx"),
    ("cryptography", "cryptography"),
    ("grpcio", "grpc"),
    ("grpcio-tools", "grpc_tools"),
    ("googleapis-common-protos", "google.rpc.status_pb2"),
    ("h2", "h2"),
];

/// A set of cases, with the answers that they are compared with.
struct Profile {
    name: &'static str,
    /// The stored answers, and the cases that may differ.
    against: &'static str,
    accept: &'static str,
    servers: Servers,
    /// Run when no profile is named.
    usual: bool,
}

/// Servers that a profile needs.
enum Servers {
    /// One, with this configuration.
    One(&'static str),
    /// Those that this script starts.
    By(&'static str),
}

const PROFILES: &[Profile] = &[
    Profile {
        name: "main",
        against: "centrifugo-6.9.json",
        accept: "accept.txt",
        servers: Servers::One("config.json"),
        usual: true,
    },
    Profile {
        name: "transports",
        against: "ref/transports.json",
        accept: "accept-transports.txt",
        servers: Servers::By("up_transports.py"),
        usual: true,
    },
    Profile {
        name: "proxy",
        against: "ref/proxy.json",
        accept: "accept-proxy.txt",
        servers: Servers::By("up.py"),
        usual: true,
    },
    Profile {
        name: "legacy",
        against: "ref/legacy.json",
        accept: "accept-legacy.txt",
        servers: Servers::One("config-legacy.json"),
        usual: true,
    },
];

/// `--profile NAME` takes another set of cases than the usual ones, `--target HOST:PORT` a server that runs already, with
/// the configuration of the profile; other arguments go to `run.py`. With arguments no wrong replies are planted.
/// `binary` is the server that is started otherwise.
pub(crate) fn run(arguments: &[String], binary: &Path) -> Result<(), Failure> {
    let cases = shell::root().join("compat/cases");
    let python = python(&shell::root().join("compat/.work/cases"))?;
    let named = shell::option(arguments, "--profile");
    if let Some(name) = named.filter(|name| PROFILES.iter().all(|profile| profile.name != *name)) {
        return Err(format!("--profile {name}: there are main, transports, proxy and legacy").into());
    }
    let target = shell::option(arguments, "--target");
    let taken = |at: usize| {
        let is = |at: usize| matches!(arguments[at].as_str(), "--target" | "--profile");
        is(at) || at > 0 && is(at - 1)
    };
    let rest: Vec<&String> = (0..arguments.len()).filter(|at| !taken(*at)).map(|at| &arguments[at]).collect();
    let at = Place { cases: &cases, python: &python, binary };
    // With a selection of cases, those of all usual profiles would have to be told apart.
    let usual = |profile: &Profile| if arguments.is_empty() { profile.usual } else { profile.name == "main" };
    let chosen =
        PROFILES.iter().filter(|profile| named.map_or_else(|| usual(profile), |name| profile.name == name));
    for profile in chosen {
        at.run(profile, target, &rest, arguments.is_empty())?;
    }
    Ok(())
}

/// The cases, and a Python to run them.
struct Place<'a> {
    cases: &'a Path,
    python: &'a Path,
    /// The server.
    binary: &'a Path,
}

impl Place<'_> {
    fn run(
        &self,
        profile: &Profile,
        target: Option<&str>,
        rest: &[&String],
        teeth: bool,
    ) -> Result<(), Failure> {
        let mut server = None;
        let target = match (target, &profile.servers) {
            (Some(target), _) => target.to_owned(),
            (None, Servers::One(config)) => {
                let started = Server::start("spinward", self.binary, &self.cases.join(config), &[])?;
                server.insert(started).address.clone()
            }
            // Filled in by the script.
            (None, Servers::By(_)) => "{}".to_owned(),
        };
        let mut command = match &profile.servers {
            Servers::By(script) if target == "{}" => {
                let mut command = self.python(script);
                command.arg(self.binary).arg("--").arg(self.python).arg("run.py");
                command
            }
            _ => self.python("run.py"),
        };
        command.args(["--profile", profile.name, "--target", &format!("spinward={target}")]);
        if rest.iter().all(|argument| *argument != "--against") {
            command.args(["--against", profile.against, "--accept", profile.accept]);
        }
        shell::run(command.args(rest))?;
        if teeth && profile.name == "main" {
            shell::run(self.python("teeth.py").args(["--target", &target]))?;
        }
        Ok(())
    }

    fn python(&self, script: &str) -> Command {
        let mut command = shell::command(self.python, &[script]);
        command.current_dir(self.cases).env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }
}

/// A Python with the packages of the cases, in an environment of its own that later runs find again.
pub(crate) fn python(environment: &Path) -> Result<PathBuf, Failure> {
    let python = environment.join("bin/python");
    let imports: Vec<&str> = PACKAGES.iter().map(|(_, import)| *import).collect();
    if !shell::works(&python.to_string_lossy(), &["-c", &format!("import {}", imports.join(", "))]) {
        shell::run(&mut shell::command("python3", &["-m", "venv", &environment.to_string_lossy()]))?;
        let packages = PACKAGES.iter().map(|(package, _)| *package);
        shell::run(shell::command(&python, &["-m", "pip", "install", "--quiet"]).args(packages))?;
    }
    Ok(python)
}
