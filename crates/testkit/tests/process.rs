//! A server process in which a shard fails or hangs: its probes say so, and it ends as it should.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails here")]
#![cfg(unix)]

use serde_json::json;
use spinward::fault::{ShardFault, plant_in_shard};
use spinward_server::app::{Source, run};
use spinward_server::config::{self, Vars};
use spinward_testkit::servers::free_port;
use std::io::{BufRead, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// Names the file of the configuration to the process of a server.
const CONFIG: &str = "SPINWARD_TEST_CONFIG";

/// Not a test of its own but the process that the others start: this program again, as a server that does to itself
/// what its standard input says.
#[test]
fn server() {
    let Some(file) = std::env::var_os(CONFIG).map(PathBuf::from) else { return };
    std::thread::spawn(|| {
        for line in std::io::stdin().lock().lines() {
            match line.unwrap().as_str() {
                "panic" => plant_in_shard(ShardFault::Panic),
                _ => plant_in_shard(ShardFault::Stall),
            }
        }
    });
    let source = config::Source { file: Some(&file), vars: Vars::default(), flags: Vec::new() };
    let loaded = config::load(&source).unwrap();
    let code =
        run(loaded, Source { file: file.clone(), flags: Vec::new() }).map_or_else(|e| e.exit_code(), |()| 0);
    std::process::exit(code.into());
}

struct Server {
    process: Child,
    port: u16,
    folder: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Server {
    fn start(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("spinward-process-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let port = free_port();
        let config = json!({
            "http_server": { "address": "127.0.0.1", "port": port },
            "client": { "token": { "hmac_secret_key": "a-long-secret-of-the-tests-4f1c97ab02de" } },
            "health": { "enabled": true, "unresponsive_after": "1s" },
            "prometheus": { "enabled": true },
            "shutdown": { "timeout": "2s" },
            "shards": 2,
            "log": { "level": "info", "file": folder.join("log") },
        });
        let file = folder.join("config.json");
        std::fs::write(&file, config.to_string()).unwrap();
        let process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "server", "--nocapture", "--test-threads=1"])
            .env(CONFIG, &file)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { process, port, folder };
        server.until("it serves", || server.get("/readyz").is_some_and(|(status, _)| status == 200));
        server
    }

    fn until(&self, what: &str, condition: impl Fn() -> bool) {
        for _ in 0..1_000 {
            if condition() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("{what} does not come true:\n{}", log(&self.folder));
    }

    fn plant(&mut self, fault: &str) {
        writeln!(self.process.stdin.as_mut().unwrap(), "{fault}").unwrap();
    }

    /// Status and body of a page, if it is served.
    fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    fn ended(&mut self) -> ExitStatus {
        for _ in 0..1_000 {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the process does not end:\n{}", log(&self.folder));
    }
}

fn log(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("log")).unwrap_or_default()
}

#[test]
fn a_process_whose_shard_panics_ends_with_an_error() {
    let mut server = Server::start("panic");
    server.plant("panic");
    let status = server.ended();
    let log = log(&server.folder);
    assert_eq!(status.code(), Some(70), "{status}\n{log}");
    assert!(log.contains("shard failed") && log.contains("a thread panicked"), "{log}");
    assert!(!log.contains("a planted fault"), "what a panic says is not logged: {log}");
}

#[test]
fn a_process_whose_shard_hangs_is_not_ready_and_ends_in_time() {
    let mut server = Server::start("stall");
    server.plant("stall");
    server.until("readiness is red", || server.get("/readyz").is_some_and(|(status, _)| status == 503));
    let (_, body) = server.get("/readyz").unwrap();
    assert!(body.contains("\"part\":\"shards\"") && body.contains("has not responded for"), "{body}");
    for path in ["/health", "/livez"] {
        assert_eq!(server.get(path).map(|(status, _)| status), Some(200), "{path}");
    }
    let (_, metrics) = server.get("/metrics").unwrap();
    let of = |name: &str| -> Vec<f64> {
        let lines = metrics.lines().filter(|line| line.starts_with(&format!("{name}{{")));
        lines.map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap()).collect()
    };
    let (responsive, lag) = (of("spinward_shard_responsive"), of("spinward_shard_loop_lag_seconds"));
    assert_eq!(responsive.iter().sum::<f64>(), 1.0, "{metrics}");
    assert_eq!(lag.iter().filter(|lag| **lag >= 1.0).count(), 1, "{metrics}");
    server.until("the log says so", || log(&server.folder).contains("shard not responding"));
    assert!(Command::new("kill").arg(server.process.id().to_string()).status().unwrap().success());
    let status = server.ended();
    assert!(status.success(), "{status}\n{}", log(&server.folder));
}
