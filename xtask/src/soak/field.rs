//! The server under soak with its files and clients, and what is asked of it.

use super::faults::{Draws, Fault};
use crate::bench::process::{self, Agent};
use crate::bench::rig::number;
use crate::bench::server::{Launch, Server};
use crate::hostile::watch::Watch;
use crate::shell::{self, Failure};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const KEY: &str = "soak-key";
const CLIENTS: usize = 400;
const CHANNELS: usize = 20;
const RATE: f64 = 200.0;

/// First number of the users that are blocked.
const BLOCKED: usize = 500_000;

/// Time limit for the recovery after a fault.
const PATIENCE: Duration = Duration::from_secs(30);

/// `shutdown.timeout`, and what a process may take beyond it.
const TIMEOUT: Duration = Duration::from_secs(7);

/// Share of its first level by which the memory of a process may have grown, and bytes that the allocator may hold
/// or return in between.
const DRIFT: f64 = 0.05;
const GRAIN: f64 = 2e6;

/// Resources of a process in its steady state.
#[derive(Clone, Copy)]
struct Level {
    rss: f64,
    descriptors: usize,
    threads: usize,
}

/// A server with its files, its clients and what was found.
pub(super) struct Field {
    binary: PathBuf,
    folder: PathBuf,
    port: u16,
    server: Option<Server>,
    watch: Option<Watch>,
    clients: Option<Agent>,
    /// Number of the key that signs tokens.
    key: u32,
    /// Users whose block was answered.
    blocked: Vec<usize>,
    asked: usize,
    /// Time that a process rests before its first level is taken.
    settling: Duration,
    /// Faults that the process has lived through.
    lived: u32,
    first: Option<Level>,
    lives: Vec<String>,
    faults: Vec<String>,
}

impl Field {
    pub(super) fn new(binary: PathBuf, settling: Duration) -> Result<Self, Failure> {
        let folder = shell::target().join("soak");
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => fs::create_dir_all(&folder)?,
        }
        Ok(Self {
            binary,
            folder,
            port: shell::free_port()?,
            server: None,
            watch: None,
            clients: None,
            key: 0,
            blocked: Vec::new(),
            asked: 0,
            settling,
            lived: 0,
            first: None,
            lives: Vec::new(),
            faults: Vec::new(),
        })
    }

    pub(super) fn faults(&self) -> &[String] {
        &self.faults
    }

    pub(super) fn lives(&self) -> &[String] {
        &self.lives
    }

    /// Starts the server and the clients, and waits until they are level.
    pub(super) fn start(&mut self) -> Result<(), Failure> {
        self.launch()?;
        let mut clients = Agent::start_nice("soak", 5)?;
        let start = json!({
            "op": "start", "address": format!("127.0.0.1:{}", self.port), "key": KEY, "secret": secret(self.key),
            "clients": CLIENTS, "channels": CHANNELS, "rate": RATE,
        });
        clients.call(&start, "started")?;
        self.clients = Some(clients);
        self.recover()
    }

    /// Last look at the clients, once the publisher rests.
    pub(super) fn finish(&mut self) -> Result<Value, Failure> {
        self.ask("stats")
    }

    pub(super) fn strike(&mut self, fault: Fault, draws: &mut Draws) -> Result<(), Failure> {
        self.lived += 1;
        match fault {
            Fault::Kill => {
                self.server()?.signal("KILL")?;
                self.launch()
            }
            Fault::Terminate => {
                let ended = self.server()?.terminate(TIMEOUT)?;
                if ended.is_none() {
                    self.faults.push(format!("runs {} s after SIGTERM", TIMEOUT.as_secs()));
                }
                self.launch()
            }
            Fault::Reload => self.reload(),
            Fault::Stop => {
                self.server()?.signal("STOP")?;
                std::thread::sleep(Duration::from_millis(1_000 + 200 * draws.below(6) as u64));
                self.server()?.signal("CONT")
            }
            Fault::DiskFull => self.disk_full(draws),
            Fault::Storm => self.attack(&json!({
                "count": 200, "window": 200, "again": true, "most": 20_000, "leave": true, "seconds": 2.0,
            })),
            Fault::Flood(kind) => self.attack(&flood(kind)),
            Fault::Cut => self.call(&json!({"op": "cut"}), "cut").map(drop),
        }
    }

    /// Waits until every client is back and has seen all that was published, and looks at the files.
    pub(super) fn recover(&mut self) -> Result<(), Failure> {
        let begin = Instant::now();
        std::thread::sleep(Duration::from_millis(500));
        self.call(&json!({"op": "pause"}), "pause")?;
        let mut stats = self.ask("stats")?;
        let all = |stats: &Value, what: &str| number(stats, what) == CLIENTS as f64;
        while !(all(&stats, "live") && all(&stats, "level")) {
            if begin.elapsed() > PATIENCE {
                self.faults.push(format!("not all clients are back and level after {PATIENCE:?}: {stats}"));
                break;
            }
            // A client that has lost its position, and was notified of that, is level after the next publication.
            self.call(&json!({"op": "resume"}), "resume")?;
            std::thread::sleep(Duration::from_millis(300));
            self.call(&json!({"op": "pause"}), "pause")?;
            std::thread::sleep(Duration::from_millis(200));
            stats = self.ask("stats")?;
        }
        if number(&stats, "violations") > 0.0 {
            let text = format!("violations: {}", stats["first_violations"]);
            if !self.faults.contains(&text) {
                self.faults.push(text);
            }
        }
        if self.first.is_none() && self.lived >= 3 {
            self.first = Some(self.level(None)?);
        }
        self.call(&json!({"op": "resume"}), "resume")?;
        self.files()?;
        if self.watch.as_ref().is_some_and(Watch::struck) {
            return Err("ended by the watch over its memory".into());
        }
        Ok(())
    }

    /// Compares the resources of the process with those after its first faults.
    pub(super) fn end_of_life(&mut self) -> Result<(), Failure> {
        let (Some(first), lived) = (self.first.take(), std::mem::take(&mut self.lived)) else {
            return Ok(());
        };
        self.call(&json!({"op": "pause"}), "pause")?;
        let last = self.level(Some(first))?;
        self.call(&json!({"op": "resume"}), "resume")?;
        let drift = (last.rss - first.rss) / first.rss;
        let life = format!(
            "life of {lived} faults: RSS {:.1} → {:.1} MB ({:+.1} %), descriptors {} → {}, threads {} → {}",
            first.rss / 1e6,
            last.rss / 1e6,
            drift * 100.0,
            first.descriptors,
            last.descriptors,
            first.threads,
            last.threads
        );
        println!("          {life}");
        let more = last.descriptors > first.descriptors || last.threads > first.threads;
        if more || last.rss > first.rss * (1.0 + DRIFT) + GRAIN {
            self.faults.push(life.clone());
        }
        self.lives.push(life);
        Ok(())
    }

    /// Measures the process; if it holds more than `before`, waits a while for it to settle.
    fn level(&mut self, before: Option<Level>) -> Result<Level, Failure> {
        let pid = self.server()?.pid;
        let begin = Instant::now();
        loop {
            std::thread::sleep(Duration::from_millis(500));
            let level = Level {
                rss: process::rss(pid)?,
                descriptors: process::descriptors(pid)?,
                threads: process::threads(pid)?,
            };
            let settled = match before {
                Some(before) => {
                    level.rss <= before.rss * (1.0 + DRIFT)
                        && level.descriptors <= before.descriptors
                        && level.threads <= before.threads
                }
                // Freed memory takes some seconds to go back to the system, and idle threads to end.
                None => begin.elapsed() > self.settling,
            };
            if settled || begin.elapsed() > Duration::from_secs(30) {
                return Ok(level);
            }
        }
    }

    fn server(&mut self) -> Result<&mut Server, Failure> {
        self.server.as_mut().ok_or_else(|| "no server runs".into())
    }

    fn call(&mut self, command: &Value, event: &str) -> Result<Value, Failure> {
        self.clients.as_mut().ok_or("no clients run")?.call(command, event)
    }

    fn ask(&mut self, op: &str) -> Result<Value, Failure> {
        self.call(&json!({"op": op}), op)
    }

    /// Starts the server with its files, on the port that it always has.
    fn launch(&mut self) -> Result<(), Failure> {
        (self.watch, self.server) = (None, None);
        let config = self.configure()?;
        let launch = Launch {
            name: "soak-server",
            binary: &self.binary,
            config: &config,
            port: self.port,
            // No limit as yet, but the signal that one brings is ignored from the start.
            largest_file: Some(1 << 40),
            ..Launch::default()
        };
        let server =
            Server::launch(&launch).map_err(|error| format!("does not start with its files: {error}"))?;
        self.watch = Some(Watch::over(server.pid));
        self.server = Some(server);
        self.files()?;
        let users: Vec<usize> =
            self.blocked.iter().rev().take(3).chain(self.blocked.first()).copied().collect();
        for user in users {
            if !self.is_refused(user, &secret(self.key))? {
                self.faults.push(format!("user u{user} is blocked no longer after a restart"));
            }
        }
        Ok(())
    }

    fn configure(&self) -> Result<PathBuf, Failure> {
        let file = |name: &str| self.folder.join(name).to_string_lossy().into_owned();
        let config = json!({
            "http_server": {"address": "127.0.0.1"},
            "log": {"level": "info", "file": file("server.log")},
            "pid_file": file("server.pid"),
            "health": {"enabled": true},
            "shutdown": {"timeout": "5s"},
            "client": {
                "token": {"hmac_secret_key": secret(self.key)},
                "revocation": {"file": file("revocations.jsonl")},
            },
            "http_api": {"key": KEY},
            "channel": {
                "without_namespace": {"allow_subscribe_for_client": true},
                "namespaces": [{
                    "name": "rc", "allow_subscribe_for_client": true, "history_size": 100, "history_ttl": "300s",
                    "force_recovery": true, "allow_history_for_client": true,
                }],
            },
        });
        let path = self.folder.join("config.json");
        fs::write(&path, serde_json::to_string_pretty(&config)?)?;
        Ok(path)
    }

    /// The files that a server of this configuration has.
    fn files(&mut self) -> Result<(), Failure> {
        let pid = self.server()?.pid;
        let written = fs::read_to_string(self.folder.join("server.pid")).unwrap_or_default();
        if written.trim() != pid.to_string() {
            self.faults.push(format!("pid_file has {:?}, the process is {pid}", written.trim()));
        }
        for name in ["server.log", "revocations.jsonl"] {
            if !self.folder.join(name).is_file() {
                self.faults.push(format!("{name} is not there"));
            }
        }
        Ok(())
    }

    /// Another key, the log moved away, SIGHUP: the next login is by the new key alone, and the log is there again.
    fn reload(&mut self) -> Result<(), Failure> {
        let old = secret(self.key);
        self.key += 1;
        self.configure()?;
        fs::rename(self.folder.join("server.log"), self.folder.join("server.log.1"))?;
        self.server()?.signal("HUP")?;
        let begin = Instant::now();
        while !self.is_refused(1, &old)? {
            if begin.elapsed() > Duration::from_secs(5) {
                self.faults.push("the old key holds 5 s after SIGHUP".to_owned());
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let new = secret(self.key);
        self.call(&json!({"op": "secret", "secret": new}), "secret")?;
        self.call(&json!({"op": "cut"}), "cut")?;
        if self.is_refused(1, &new)? {
            self.faults.push("the new key does not hold after SIGHUP".to_owned());
        }
        Ok(())
    }

    /// Blocks users until there is no space, and again when there is.
    fn disk_full(&mut self, draws: &mut Draws) -> Result<(), Failure> {
        let size = fs::metadata(self.folder.join("revocations.jsonl"))?.len();
        // Somewhere within a line, or at its end.
        self.limit_files(&(size + 100 + draws.below(200) as u64).to_string())?;
        let within = self.block(10)?;
        self.limit_files("unlimited")?;
        let after = self.block(3)?;
        if within == 10 {
            self.faults.push("the disk was never full".to_owned());
        }
        if after < 3 {
            self.faults
                .push(format!("{} of 3 users could not be blocked although there is space", 3 - after));
        }
        Ok(())
    }

    fn limit_files(&mut self, limit: &str) -> Result<(), Failure> {
        let pid = self.server()?.pid.to_string();
        shell::run(&mut shell::command("prlimit", &["--pid", &pid, &format!("--fsize={limit}:unlimited")]))
    }

    /// Blocks so many further users. Returns how many calls succeeded.
    fn block(&mut self, count: usize) -> Result<usize, Failure> {
        let before = self.blocked.len();
        for _ in 0..count {
            let user = BLOCKED + self.asked;
            self.asked += 1;
            let answer = self.server()?.api(KEY, "block_user", &json!({"user": format!("u{user}")}))?;
            if answer.get("error").is_none() {
                self.blocked.push(user);
            }
        }
        Ok(self.blocked.len() - before)
    }

    fn is_refused(&mut self, user: usize, secret: &str) -> Result<bool, Failure> {
        let address = self.server()?.address.clone();
        let mut agent = Agent::start("clients")?;
        let plan = json!({"op": "connect", "address": address, "secret": secret, "count": 1, "first": user});
        let answer = agent.call(&plan, "connected")?;
        let errors = answer["errors"].as_object().is_some_and(|errors| !errors.is_empty());
        Ok(errors || number(&answer, "count") == 0.0)
    }

    fn attack(&mut self, attack: &Value) -> Result<(), Failure> {
        let mut command = json!({
            "op": "attack", "address": self.server()?.address, "secret": secret(self.key), "seconds": 3.0,
        });
        crate::bench::server::merge(&mut command, attack);
        Agent::start_nice("hostile", 19)?.call(&command, "attack").map(drop)
    }
}

fn secret(key: u32) -> String {
    format!("soak-secret-of-more-than-thirty-two-bytes-{key}")
}

fn flood(kind: usize) -> Value {
    match kind {
        0 => json!({
            "opening": "websocket", "deaf": true, "receive_buffer": 4096,
            "unit": {"kind": "ping", "lines": 1_000},
        }),
        1 => json!({"unit": {
            "kind": "frame", "lines": 1_000, "line": "{\"id\":1,\"history\":{\"channel\":\"rc:soak0\",\"limit\":100}}",
        }}),
        2 => json!({
            "opening": "tcp", "count": 200, "deaf": true, "receive_buffer": 4096,
            "unit": {"kind": "raw", "lines": 50, "line": "GET /health HTTP/1.1\r\nHost: a\r\n\r\n"},
        }),
        _ => json!({
            "opening": "tcp", "count": 200,
            "first_lines": ["GET /connection/websocket HTTP/1.1\r\nHost: a\r\nX-Pad: <pad 100000>"],
        }),
    }
}
