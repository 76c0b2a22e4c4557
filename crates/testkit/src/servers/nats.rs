//! NATS servers: one of its own, or a cluster of three.

mod accounts;

pub use accounts::Accounts;

use super::{Folder, Program, free_port, serve, wheels, within};
use std::fs;
use std::io::{self, Read};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// Settings of a server.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// JetStream, with its files in the folder of the server.
    pub jetstream: bool,
    /// User and password that clients have to give.
    pub login: Option<(String, String)>,
    /// Token that clients have to give.
    pub token: Option<String>,
    /// Certificate and key in PEM; clients have to use TLS.
    pub tls: Option<(String, String)>,
    /// Further lines of the configuration.
    pub more: String,
}

/// A server. It keeps its port and its files when it is started again.
#[derive(Debug)]
pub struct Nats {
    program: Program,
    port: u16,
    folder: Folder,
}

/// The path of the program.
#[must_use]
pub fn program() -> PathBuf {
    wheels().join("nats-server")
}

/// Returns true if NATS is installed. See [`installed`](super::installed).
#[must_use]
pub fn installed() -> bool {
    super::installed(&[&program()])
}

impl Nats {
    /// Starts a server on a free port.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    #[allow(clippy::expect_used, reason = "a test cannot go on without its files")]
    pub fn start(options: &Options) -> Self {
        let folder = Folder::new("nats");
        if let Some((certificate, key)) = &options.tls {
            fs::write(folder.path().join("cert.pem"), certificate).expect("certificate for the server");
            fs::write(folder.path().join("key.pem"), key).expect("key for the server");
        }
        let start = |port| {
            fs::write(folder.path().join("conf"), options.text(&folder, port))?;
            run(&folder)
        };
        let (program, port) = serve("nats-server", start, ready);
        Self { program, port, folder }
    }

    /// Id of the process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.program.id()
    }

    /// URL of the server, without credentials.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Port for clients.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Folder of JetStream's files.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// File of its log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Stops the process, as a machine that hangs does.
    pub fn pause(&self) {
        let _ = self.program.signal("STOP");
    }

    /// Continues the process.
    pub fn resume(&self) {
        let _ = self.program.signal("CONT");
    }

    /// Kills the server.
    pub fn kill(&mut self) {
        self.program.kill();
    }

    /// Asks the server to end, and waits until it has.
    pub fn terminate(&mut self) {
        self.program.terminate();
    }

    /// Starts a server that was killed, with the same port and files.
    ///
    /// # Panics
    /// It does not start.
    #[allow(clippy::expect_used, reason = "a test cannot go on without its server")]
    pub fn restart(&mut self) {
        let end = within(Duration::from_secs(20), || {
            self.program = run(&self.folder).expect("a program that was started before");
            within(Duration::from_secs(5), || !self.program.runs() || ready(self.port)) && self.program.runs()
        });
        assert!(end, "nats-server does not start again");
    }

    /// Removes the files of JetStream, as a machine with a new disk does. The server must not run.
    pub fn wipe(&self) {
        let _ = fs::remove_dir_all(self.store());
    }
}

fn run(folder: &Folder) -> io::Result<Program> {
    let mut command = Command::new(program());
    Program::start(command.arg("-c").arg(folder.path().join("conf")), &folder.path().join("log"))
}

/// A server says `INFO` to each client that connects.
fn ready(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { return false };
    let mut first = [0; 4];
    stream.set_read_timeout(Some(Duration::from_secs(1))).is_ok()
        && stream.read_exact(&mut first).is_ok()
        && first == *b"INFO"
}

impl Options {
    fn text(&self, folder: &Folder, port: u16) -> String {
        let path = |name: &str| folder.path().join(name).display().to_string();
        let mut text = format!("listen: \"127.0.0.1:{port}\"\n{}\n", self.more);
        if self.jetstream {
            let store = path("store");
            text += &format!("jetstream {{ store_dir: \"{store}\", max_mem: 64MB, max_file: 512MB }}\n");
        }
        if let Some((user, password)) = &self.login {
            text += &format!("authorization {{ user: \"{user}\", password: \"{password}\" }}\n");
        }
        if let Some(token) = &self.token {
            text += &format!("authorization {{ token: \"{token}\" }}\n");
        }
        if self.tls.is_some() {
            let (certificate, key) = (path("cert.pem"), path("key.pem"));
            text += &format!("tls {{ cert_file: \"{certificate}\", key_file: \"{key}\" }}\n");
        }
        text
    }
}

/// Three servers that are one cluster, with JetStream.
#[derive(Debug)]
pub struct Cluster {
    /// The servers.
    pub servers: Vec<Nats>,
}

impl Cluster {
    /// Starts the cluster. JetStream has a leader some seconds later.
    ///
    /// # Panics
    /// A server does not start.
    #[must_use]
    pub fn start() -> Self {
        let routes: Vec<u16> = (0..3).map(|_| free_port()).collect();
        let list: Vec<_> = routes.iter().map(|port| format!("\"nats://127.0.0.1:{port}\"")).collect();
        let server = |(number, route): (usize, &u16)| {
            let more = format!(
                "server_name: n{number}\ncluster {{ name: test, no_advertise: true, listen: \"127.0.0.1:{route}\", routes: [{}] }}",
                list.join(", ")
            );
            Nats::start(&Options { jetstream: true, more, ..Options::default() })
        };
        Self { servers: routes.iter().enumerate().map(server).collect() }
    }

    /// URLs of all servers, the one at `first` in front.
    #[must_use]
    pub fn urls(&self, first: usize) -> Vec<String> {
        let count = self.servers.len();
        self.servers.iter().cycle().skip(first % count).take(count).map(Nats::url).collect()
    }
}
