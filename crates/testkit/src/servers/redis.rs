//! Redis and Valkey: one server, a primary with replicas under Sentinel, a Cluster.
//!
//! Everything that is wrong panics: a test cannot go on without its server.

mod client;
mod cluster;
mod sentinels;
#[cfg(test)]
mod tests;

pub use client::{Client, Reply};
pub use cluster::Cluster;
pub use sentinels::Sentinels;

use super::{Folder, Program, free_port, serve, wheels, within};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Time that a change of the topology may take, such as an election.
const PATIENCE: Duration = Duration::from_secs(60);

/// Debian's Redis, for [`installed`](super::installed).
#[must_use]
pub fn redis() -> &'static Path {
    Path::new("redis-server")
}

/// Valkey from PyPI, for [`installed`](super::installed).
#[must_use]
pub fn valkey() -> PathBuf {
    wheels().join("valkey-server")
}

/// Certificates of a server that is built with TLS. Debian's Redis is, and the Valkey of PyPI is not.
#[derive(Clone, Debug)]
pub struct Tls {
    /// PEM file of the server's certificate.
    pub certificate: PathBuf,
    /// PEM file of its key.
    pub key: PathBuf,
    /// PEM file of the authority, which is also that of clients.
    pub authority: PathBuf,
    /// Requires certificates of clients.
    pub mutual: bool,
}

/// Settings of a server. The default is Redis without credentials, which keeps nothing on disk.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Another program than `redis-server`.
    pub program: Option<PathBuf>,
    /// Password of the default user.
    pub password: Option<String>,
    /// Name and password of a further user, who may do everything.
    pub user: Option<(String, String)>,
    /// A port with TLS beside the plain one.
    pub tls: Option<Tls>,
    /// A Unix socket beside the port.
    pub unix_socket: bool,
    /// Writes every change to disk before its reply, so that a server that is killed has it after a restart.
    pub append_only: bool,
    /// Most memory for data, such as `4mb`. Writes are refused above it.
    pub max_memory: Option<String>,
    /// Further lines of the configuration file.
    pub further: Vec<String>,
}

impl Options {
    /// Valkey without credentials.
    #[must_use]
    pub fn valkey() -> Self {
        Self { program: Some(valkey()), ..Self::default() }
    }

    fn program(&self) -> &Path {
        self.program.as_deref().unwrap_or_else(|| redis())
    }

    fn text(&self, port: u16, tls_port: u16, folder: &Path) -> String {
        let mut text = format!(
            "port {port}\nbind 127.0.0.1\ndir {0}\nsave \"\"\nrepl-diskless-sync-delay 0\nenable-debug-command yes\n",
            folder.display(),
        );
        let mut line = |line: String| writeln!(text, "{line}").unwrap_or_default();
        if let Some(password) = &self.password {
            line(format!("requirepass {password}"));
            line(format!("masterauth {password}"));
        }
        if let Some((name, password)) = &self.user {
            line(format!("user {name} on >{password} ~* &* +@all"));
        }
        if let Some(tls) = &self.tls {
            line(format!("tls-port {tls_port}"));
            line(format!("tls-cert-file {}", tls.certificate.display()));
            line(format!("tls-key-file {}", tls.key.display()));
            line(format!("tls-ca-cert-file {}", tls.authority.display()));
            line(format!("tls-auth-clients {}", if tls.mutual { "yes" } else { "no" }));
        }
        if self.unix_socket {
            line(format!("unixsocket {}", folder.join("socket").display()));
        }
        if self.append_only {
            line("appendonly yes\nappendfsync always".to_owned());
        }
        if let Some(most) = &self.max_memory {
            line(format!("maxmemory {most}\nmaxmemory-policy noeviction"));
        }
        for further in &self.further {
            line(further.clone());
        }
        text
    }
}

/// One server.
#[derive(Debug)]
pub struct Server {
    program: Program,
    port: u16,
    tls_port: u16,
    folder: Folder,
    options: Options,
    arguments: &'static [&'static str],
}

impl Server {
    /// Starts a server, and waits until it answers.
    #[must_use]
    pub fn start(options: Options) -> Self {
        Self::with(options, &[], Options::text)
    }

    /// Id of the process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.program.id()
    }

    /// Starts the program with a configuration file made by `text`, from port, TLS port and folder, and arguments.
    fn with(
        options: Options,
        arguments: &'static [&'static str],
        text: impl Fn(&Options, u16, u16, &Path) -> String,
    ) -> Self {
        let folder = Folder::new("redis");
        let mut tls_port = 0;
        let (program, port) = serve(
            "redis",
            |port| {
                tls_port = free_port();
                std::fs::write(folder.path().join("conf"), text(&options, port, tls_port, folder.path()))?;
                run(&options, arguments, folder.path())
            },
            answers,
        );
        Self { program, port, tls_port, folder, options, arguments }
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its port with TLS, where [`Options::tls`] is set.
    #[must_use]
    pub fn tls_port(&self) -> u16 {
        self.tls_port
    }

    /// Its Unix socket, where [`Options::unix_socket`] is set.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// Its address without credentials, as `redis://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// A connection with the rights of the default user.
    ///
    /// # Panics
    /// The server does not take it.
    #[must_use]
    #[allow(clippy::expect_used, reason = "a test cannot go on without its server")]
    pub fn client(&self) -> Client {
        let mut client = Client::connect(self.port).expect("a connection to the server");
        if let Some(password) = &self.options.password {
            client.call(&["AUTH", password]).expect("the right password");
        }
        client
    }

    /// The reply to a command, sent by a connection of its own.
    ///
    /// # Panics
    /// The reply is an error, or there is none.
    pub fn call(&self, command: &[&str]) -> Reply {
        match self.client().call(command) {
            Ok(reply) => reply,
            Err(error) => panic!("{command:?}: {error}"),
        }
    }

    /// The value of a line `name:value` of the reply to a command, such as `INFO` or `CLUSTER INFO`. `None` without
    /// the line or without a reply.
    #[must_use]
    pub fn line(&self, command: &[&str], name: &str) -> Option<String> {
        let mut client = Client::connect(self.port).ok()?;
        if let Some(password) = &self.options.password {
            client.call(&["AUTH", password]).ok()?;
        }
        let text = client.call(command).ok()?.text();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(value.trim().to_owned())
    }

    /// Stops the process without ending it: connections stay open, and nothing is answered.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets a paused process go on.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    #[allow(clippy::expect_used, reason = "a test cannot go on")]
    fn signal(&self, name: &str) {
        self.program.signal(name).expect("a signal to the server");
    }

    /// Kills the process.
    pub fn kill(&mut self) {
        self.program.kill();
    }

    /// Asks the process to end, and waits until it has.
    pub fn terminate(&mut self) {
        self.program.terminate();
    }

    /// Starts a server that was killed again, on its port and in its folder.
    ///
    /// # Panics
    /// It does not start.
    #[allow(clippy::expect_used, reason = "a test cannot go on without its server")]
    pub fn start_again(&mut self) {
        self.program = run(&self.options, self.arguments, self.folder.path()).expect("the server again");
        let port = self.port;
        assert!(within(PATIENCE, || answers(port)), "the server does not start again: {}", self.log());
    }

    /// Kills every connection of clients, except for those of replicas and the one that does it.
    pub fn cut_clients(&self) {
        let mut client = self.client();
        for kind in ["normal", "pubsub"] {
            let _ = client.call(&["CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"]);
        }
    }

    /// Its output.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

fn run(options: &Options, arguments: &[&str], folder: &Path) -> std::io::Result<Program> {
    let mut command = Command::new(options.program());
    command.arg(folder.join("conf")).args(arguments);
    Program::start(&mut command, &folder.join("log"))
}

/// Returns true if a server answers on a port, be it only that it wants a password. One that loads its data does not.
fn answers(port: u16) -> bool {
    let Ok(mut client) = Client::connect(port) else { return false };
    match client.call(&["PING"]) {
        Ok(_) => true,
        Err(error) => error.to_string().starts_with("NOAUTH"),
    }
}

/// Waits until something holds that a topology needs.
fn wait(what: &str, holds: impl FnMut() -> bool) {
    assert!(within(PATIENCE, holds), "{what} did not happen within {} s", PATIENCE.as_secs());
}
