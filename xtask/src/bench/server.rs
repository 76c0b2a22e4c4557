//! A server under measurement: started here or by somebody else.

use super::process;
use crate::shell::{self, Failure};
use serde_json::Value;
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// Configuration of the benches; it is all that they need of any server.
const CONFIG: &str = include_str!("config.json");

/// Source of a server.
#[derive(Clone)]
pub(crate) enum Target {
    /// A binary that is started with the benches' configuration.
    Binary { name: String, file: PathBuf },
    /// One that runs already, with that configuration.
    Running { name: String, address: String, pid: u32 },
}

impl Target {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Binary { name, .. } | Self::Running { name, .. } => name,
        }
    }

    /// Returns true if each call of [`Self::start`] gives a fresh server.
    pub(crate) fn is_fresh(&self) -> bool {
        matches!(self, Self::Binary { .. })
    }

    pub(crate) fn start(&self, changes: &Value) -> Result<Server, Failure> {
        self.start_with(changes, &[])
    }

    /// The same with variables of the environment, where it is started here.
    pub(crate) fn start_with(&self, changes: &Value, variables: &[(&str, &str)]) -> Result<Server, Failure> {
        match self {
            Self::Binary { name, file } => {
                let mut config: Value = serde_json::from_str(CONFIG)?;
                merge(&mut config, changes);
                let path = shell::target().join(format!("bench-{name}.json"));
                std::fs::write(&path, serde_json::to_string_pretty(&config)?)?;
                let internal = config.pointer("/http_server/tls/enabled") == Some(&Value::Bool(true));
                let launch =
                    Launch { name, binary: file, config: &path, variables, internal, ..Launch::default() };
                Server::launch(&launch)
            }
            Self::Running { name, address, pid } => Ok(Server {
                name: name.clone(),
                address: address.clone(),
                front: address.clone(),
                pid: *pid,
                child: None,
                ready_in: None,
            }),
        }
    }
}

/// Settings for starting a server.
#[derive(Clone, Copy)]
pub(crate) struct Launch<'a> {
    pub(crate) name: &'a str,
    pub(crate) binary: &'a Path,
    pub(crate) config: &'a Path,
    pub(crate) variables: &'a [(&'a str, &'a str)],
    /// 0 takes a free one.
    pub(crate) port: u16,
    /// Sends its output into a pipe that nobody reads, instead of to `target/NAME.log`.
    pub(crate) piped: bool,
    /// Serves API, health and metrics on a port of their own, without TLS.
    pub(crate) internal: bool,
    /// Writing beyond so many bytes of a file fails, as on a full disk, until the limit is lifted.
    pub(crate) largest_file: Option<u64>,
}

impl Default for Launch<'_> {
    fn default() -> Self {
        let nowhere = Path::new("");
        Self {
            name: "",
            binary: nowhere,
            config: nowhere,
            variables: &[],
            port: 0,
            piped: false,
            internal: false,
            largest_file: None,
        }
    }
}

/// A server that answers. Stopped when dropped, if it was started here.
pub(crate) struct Server {
    pub(crate) name: String,
    /// `host:port` of the HTTP listener: of the internal one where there are two.
    pub(crate) address: String,
    /// The same for clients.
    pub(crate) front: String,
    pub(crate) pid: u32,
    child: Option<Child>,
    /// From start to the first good answer of `/health`.
    pub(crate) ready_in: Option<Duration>,
}

impl Server {
    /// Starts a binary with a configuration file on a free port of 127.0.0.1; what it prints goes to
    /// `target/NAME.log`.
    pub(crate) fn start(
        name: &str,
        binary: &Path,
        config: &Path,
        variables: &[(&str, &str)],
    ) -> Result<Self, Failure> {
        Self::launch(&Launch { name, binary, config, variables, ..Launch::default() })
    }

    /// Starts a binary and waits until it is healthy.
    pub(crate) fn launch(launch: &Launch<'_>) -> Result<Self, Failure> {
        let Launch { name, binary, .. } = launch;
        let port = match launch.port {
            0 => shell::free_port()?,
            port => port,
        };
        let config = launch.config.to_string_lossy();
        let begin = Instant::now();
        let mut command = match launch.largest_file {
            Some(size) => {
                let script = "trap '' XFSZ; ulimit -n \"$(ulimit -Hn)\"; \
                              exec prlimit --fsize=\"$0\":unlimited \"$@\"";
                let mut command = shell::command("sh", &["-c", script, &size.to_string()]);
                command.arg(binary).args(["-c", &config]);
                command
            }
            None => shell::with_all_files(binary, &["-c", &config]),
        };
        command
            .env("CENTRIFUGO_HTTP_SERVER_PORT", port.to_string())
            .env("CENTRIFUGO_HTTP_SERVER_ADDRESS", "127.0.0.1")
            .envs(launch.variables.iter().copied())
            .stdin(Stdio::null());
        let front = format!("127.0.0.1:{port}");
        let mut address = front.clone();
        if launch.internal {
            let port = shell::free_port()?;
            address = format!("127.0.0.1:{port}");
            command.env("CENTRIFUGO_HTTP_SERVER_INTERNAL_PORT", port.to_string());
        }
        if launch.piped {
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
        } else {
            let log = File::create(shell::target().join(format!("{name}.log")))?;
            command.stdout(log.try_clone()?).stderr(log);
        }
        let mut child = command.spawn().map_err(|e| format!("{}: {e}", binary.display()))?;
        while !is_healthy(&address) {
            if let Some(status) = child.try_wait()? {
                return Err(format!("{} ended at once: {status}", binary.display()).into());
            }
            if begin.elapsed() > Duration::from_secs(15) {
                child.kill()?;
                child.wait()?;
                return Err(format!("{} does not answer /health", binary.display()).into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let (pid, ready_in) = (child.id(), Some(begin.elapsed()));
        Ok(Self { name: (*name).to_owned(), address, front, pid, child: Some(child), ready_in })
    }

    /// Sends SIGTERM and waits for the end, for `limit` at most. The time that it took; `None` where it did not end.
    pub(crate) fn terminate(&mut self, limit: Duration) -> Result<Option<Duration>, Failure> {
        let begin = Instant::now();
        self.signal("TERM")?;
        let Some(child) = &mut self.child else { return Err("a server that was not started here".into()) };
        while begin.elapsed() < limit {
            if child.try_wait()?.is_some() {
                return Ok(Some(begin.elapsed()));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(None)
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, name: &str) -> Result<(), Failure> {
        shell::run(&mut shell::command("kill", &["-s", name, &self.pid.to_string()]))
    }

    /// Returns true if the process still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Calls a method of the HTTP API; the whole answer.
    pub(crate) fn api(&self, key: &str, method: &str, body: &Value) -> Result<Value, Failure> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let (body, address) = (body.to_string(), &self.address);
        write!(
            stream,
            "POST /api/{method} HTTP/1.0\r\nHost: {address}\r\nX-API-Key: {key}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("an answer without a body")?;
        let status = head.lines().next().unwrap_or_default();
        serde_json::from_str(body).map_err(|_| format!("{method}: {status}: {body}").into())
    }

    /// Sum of a counter over its labels; `None` where the server has no such counter.
    pub(crate) fn metric(&self, name: &str, label: &str) -> Option<f64> {
        let text = get(&self.address, "/metrics").ok()?;
        let mut sum = None;
        for line in text.lines().filter(|l| l.starts_with(name) && l.contains(label)) {
            if !matches!(line.as_bytes().get(name.len()), Some(b' ' | b'{')) {
                continue;
            }
            let value: f64 = line.rsplit(' ').next()?.parse().ok()?;
            *sum.get_or_insert(0.0) += value;
        }
        sum
    }

    /// Sends and deliveries since start, where the server counts them.
    pub(crate) fn sends(&self) -> Option<(f64, f64)> {
        Some((self.metric("spinward_flush_sends_total", "")?, self.metric("spinward_deliveries_total", "")?))
    }

    /// Resident bytes.
    pub(crate) fn rss(&self) -> Result<f64, Failure> {
        process::rss(self.pid)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended by itself, which is as well.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The server's binary, release: `SPINWARD_BIN`, or built here.
pub(crate) fn binary() -> Result<PathBuf, Failure> {
    if let Some(file) = std::env::var_os("SPINWARD_BIN") {
        return Ok(file.into());
    }
    shell::run(&mut shell::cargo(&["build", "--release", "--locked", "--package", "spinward-server"]))?;
    Ok(shell::target().join("release/spinward"))
}

/// The endpoint may be on a port of its own: then the one of clients answers that it is not there.
fn is_healthy(address: &str) -> bool {
    let status = |answer: &str| answer.split(' ').nth(1).map(str::to_owned);
    get(address, "/health").is_ok_and(|answer| matches!(status(&answer).as_deref(), Some("200" | "404")))
}

/// HTTP/1.0, so that the answer is not chunked and ends with the connection.
fn get(address: &str, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

pub(crate) fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (_, Value::Null) => {}
        (into, from) => *into = from.clone(),
    }
}
