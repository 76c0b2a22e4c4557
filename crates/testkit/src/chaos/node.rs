//! A node: a process of the real server.

use super::api;
use crate::servers::{Folder, Program, free_port, within};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// Makes the command of a node from the file of its configuration.
pub type Launch = Arc<dyn Fn(&Path) -> Command + Send + Sync>;

/// Time in which a node must be ready.
const PATIENCE: Duration = Duration::from_secs(40);

/// The path at which Debian keeps the library that changes the wall clock of a process.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// A node. It keeps its port and its configuration when it is started again.
pub(super) struct Node {
    launch: Launch,
    program: Option<Program>,
    port: u16,
    folder: Folder,
    /// Path of the question for readiness.
    ready: &'static str,
}

impl Node {
    /// Writes the configuration of a node: what all have in common, and the sections of its engine.
    pub(super) fn new(launch: Launch, engine: &Value, common: &Value) -> std::io::Result<Self> {
        let folder = Folder::new("chaos");
        let port = free_port();
        let mut config = json!({
            "http_server": { "address": "127.0.0.1", "port": port },
            "http_api": { "key": api::KEY },
            "health": { "enabled": true },
            "log": { "level": "info" },
        });
        for part in [common, engine] {
            merge(&mut config, part);
        }
        std::fs::write(folder.path().join("config.json"), serde_json::to_vec_pretty(&config)?)?;
        std::fs::write(folder.path().join("clock"), "+0")?;
        Ok(Self { launch, program: None, port, folder, ready: "/readyz" })
    }

    /// A node of Centrifugo v6, which has one path for health and readiness.
    pub(super) fn incumbent(binary: PathBuf, engine: &Value, common: &Value) -> std::io::Result<Self> {
        let launch = move |file: &Path| {
            let mut command = Command::new(&binary);
            command.arg("--config").arg(file);
            command
        };
        let node = Self::new(Arc::new(launch), engine, common)?;
        Ok(Self { ready: "/health", ..node })
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    /// Starts the process, with a wall clock that can be set if that is wanted.
    pub(super) fn start(&mut self, faked: bool) -> std::io::Result<()> {
        let mut command = (self.launch)(&self.folder.path().join("config.json"));
        if faked && has_faketime() {
            command
                .env("LD_PRELOAD", FAKETIME)
                .env("FAKETIME_TIMESTAMP_FILE", self.folder.path().join("clock"))
                .env("FAKETIME_NO_CACHE", "1")
                .env("DONT_FAKE_MONOTONIC", "1")
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        self.program = Some(Program::start(&mut command, &self.log_file())?);
        Ok(())
    }

    /// Waits until the node is ready. Returns false if it does not come to that.
    pub(super) fn wait(&mut self) -> bool {
        within(PATIENCE, || self.is_ready())
    }

    /// Returns true if the node takes clients.
    pub(super) fn is_ready(&self) -> bool {
        let ask = || {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok()?;
            stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
            write!(stream, "GET {} HTTP/1.0\r\nHost: localhost\r\n\r\n", self.ready).ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).ok()?;
            answer.split(' ').nth(1).map(|status| status == "200")
        };
        ask().unwrap_or(false)
    }

    /// Returns true while the process runs.
    pub(super) fn runs(&mut self) -> bool {
        self.program.as_mut().is_some_and(Program::runs)
    }

    pub(super) fn kill(&mut self) {
        if let Some(program) = &mut self.program {
            program.kill();
        }
    }

    /// Asks the process to end, and waits for that. Returns false if it had to be killed.
    pub(super) fn terminate(&mut self, patience: Duration) -> bool {
        let Some(program) = &mut self.program else { return true };
        let _ = program.signal("TERM");
        let ended = within(patience, || !program.runs());
        program.kill();
        ended
    }

    /// Sends SIGTERM, and does not wait.
    pub(super) fn ask_to_end(&self) {
        if let Some(program) = &self.program {
            let _ = program.signal("TERM");
        }
    }

    /// Sets the wall clock of the process so many seconds off.
    pub(super) fn set_clock(&self, seconds: i64) -> std::io::Result<()> {
        std::fs::write(self.folder.path().join("clock"), format!("{seconds:+}"))
    }

    pub(super) fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

/// Returns true if the wall clock of a node can be changed.
pub(super) fn has_faketime() -> bool {
    Path::new(FAKETIME).exists()
}

/// Adds the entries of one object to another, deeply.
pub(super) fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}
