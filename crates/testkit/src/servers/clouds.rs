//! Stand-ins for services of clouds: moto for AWS, which `cargo xtask test cloud` takes from PyPI; the emulator that
//! Google's tools have for Pub/Sub; and a program of our own for Azure Service Bus, whose emulator has no REST API.

use super::{Folder, Program, serve_within};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Time in which a stand-in starts.
const PATIENCE: Duration = Duration::from_secs(60);

/// The folder where `cargo xtask test cloud` keeps programs from PyPI.
fn wheels() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../compat/.work/cloud/bin")
}

/// A service that runs, and has what it was told in memory.
#[derive(Debug)]
pub struct Service {
    program: Program,
    port: u16,
    // Removed after the program has ended.
    _folder: Folder,
}

impl Service {
    /// Starts a program that is told its port by `{port}`.
    fn start(name: &str, program: &Path, arguments: &[&str]) -> Self {
        let folder = Folder::new(name);
        let start = |port: u16| {
            let mut command = Command::new(program);
            command.args(arguments.iter().map(|argument| argument.replace("{port}", &port.to_string())));
            Program::start(&mut command, &folder.path().join("log"))
        };
        let (program, port) = serve_within(PATIENCE, name, start, listens);
        Self { program, port, _folder: folder }
    }

    /// Host and port.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Stops the process, which keeps what it has, and lets it go on after this time: clients have no answer meanwhile.
    ///
    /// # Panics
    /// A signal cannot be sent.
    #[allow(clippy::expect_used, reason = "a test cannot go on without its server")]
    pub fn freeze(&self, time: Duration) {
        self.program.signal("STOP").expect("a process that runs");
        std::thread::sleep(time);
        self.program.signal("CONT").expect("a process that is stopped");
    }
}

fn listens(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// The path of moto's server.
#[must_use]
pub fn moto() -> PathBuf {
    wheels().join("moto_server")
}

/// Starts moto. It asks for no credentials.
#[must_use]
pub fn start_moto() -> Service {
    Service::start("moto", &moto(), &["-H", "127.0.0.1", "-p", "{port}"])
}

/// The path of the emulator of Pub/Sub, in Debian's place for Google's tools or where `PUBSUB_EMULATOR` says.
#[must_use]
pub fn pubsub() -> PathBuf {
    let usual = "/usr/lib/google-cloud-sdk/platform/pubsub-emulator/bin/cloud-pubsub-emulator";
    std::env::var_os("PUBSUB_EMULATOR").map_or_else(|| usual.into(), PathBuf::from)
}

/// Starts the emulator of Pub/Sub.
#[must_use]
pub fn start_pubsub() -> Service {
    Service::start("pubsub", &pubsub(), &["--host=127.0.0.1", "--port={port}"])
}

/// The program that stands for Service Bus.
const SERVICE_BUS: &str = include_str!("clouds/service_bus.py");

/// Starts the program that stands for Service Bus. Locks last for this time.
#[must_use]
pub fn start_service_bus(lock: Duration) -> Service {
    let lock = lock.as_secs_f64().to_string();
    Service::start("service-bus", Path::new("python3"), &["-c", SERVICE_BUS, "{port}", &lock])
}
