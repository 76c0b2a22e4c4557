//! A process of the server. Publications go to Redis, so that they can be read after it was killed.

use serde_json::{Value, json};
use spinward_testkit::servers::{Folder, Program, free_port, within};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;
use std::time::Duration;

/// Time in which a node must be ready.
const PATIENCE: Duration = Duration::from_secs(30);

const KEY: &str = "consumers-key";

/// A node. It keeps its port, its name and its configuration when it is started again.
pub(crate) struct Node {
    program: Option<Program>,
    port: u16,
    folder: Folder,
    variables: Vec<(&'static str, String)>,
}

impl Node {
    /// A node with these consumers that publishes through the Redis at this address. It does not run yet.
    pub(crate) fn new(redis: &str, consumers: &Value) -> Self {
        let (folder, port) = (Folder::new("consumers"), free_port());
        let config = json!({
            "http_server": { "address": "127.0.0.1", "port": port },
            "http_api": { "key": KEY },
            "health": { "enabled": true },
            "prometheus": { "enabled": true },
            "log": { "level": "info" },
            "engine": { "type": "redis", "redis": { "address": [redis] } },
            "channel": { "namespaces": [{ "name": "orders" }, { "name": "rows", "history_size": 10_000_000, "history_ttl": "24h" }] },
            "consumers": consumers,
            "shutdown": { "timeout": "10s" },
        });
        std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        Self { program: None, port, folder, variables: Vec::new() }
    }

    /// Sets variables of the environment.
    pub(crate) fn set(&mut self, variables: &[(&'static str, String)]) {
        self.variables.extend_from_slice(variables);
    }

    /// Starts the process, and does not wait.
    pub(crate) fn launch(&mut self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_spinward"));
        command.arg("--config").arg(self.folder.path().join("config.json"));
        command.envs(self.variables.iter().map(|(name, value)| (*name, value)));
        self.program = Some(Program::start(&mut command, &self.folder.path().join("log")).unwrap());
    }

    /// Starts the process, and waits until it is ready.
    pub(crate) fn start(&mut self) {
        self.launch();
        let ready = within(PATIENCE, || self.get("/readyz").is_some_and(|(status, _)| status == 200));
        assert!(ready, "not ready:\n{}", self.log());
    }

    /// Kills the process.
    pub(crate) fn kill(&mut self) {
        self.program.as_mut().unwrap().kill();
    }

    /// Ends the process in order.
    pub(crate) fn terminate(&mut self) {
        self.program.as_mut().unwrap().terminate();
    }

    /// Waits until the process has ended by itself.
    pub(crate) fn ends(&mut self) -> bool {
        within(PATIENCE, || !self.program.as_mut().is_some_and(Program::runs))
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The value of a metric with this consumer and, if given, this reason.
    pub(crate) fn metric(&self, name: &str, reason: Option<&str>) -> Option<f64> {
        let (_, page) = self.get("/metrics")?;
        let reason = reason.map_or(String::new(), |reason| format!(",reason=\"{reason}\""));
        let row = format!("{name}{{consumer_name=\"numbered\"{reason}}} ");
        page.lines().find_map(|line| line.strip_prefix(&row)?.parse().ok())
    }

    /// Messages whose calls had their effect since the process began.
    pub(crate) fn processed(&self) -> f64 {
        self.metric("centrifugo_consumers_messages_processed_total", None).unwrap_or_default()
    }

    /// The result of a call of the API.
    pub(crate) fn call(&self, method: &str, params: &Value) -> Option<Value> {
        let (_, body) = self.request("POST", &format!("/api/{method}"), &params.to_string())?;
        Some(serde_json::from_str::<Value>(&body).ok()?["result"].take())
    }

    /// Numbers of the publications of a channel, in their order. `None`: it could not be read.
    pub(crate) fn numbers(&self, channel: &str) -> Option<Vec<u64>> {
        let history = self.call("history", &json!({ "channel": channel, "limit": -1 }))?;
        let publications = history["publications"].as_array()?;
        Some(publications.iter().filter_map(|one| one["data"]["n"].as_u64()).collect())
    }

    pub(crate) fn get(&self, path: &str) -> Option<(u16, String)> {
        self.request("GET", path, "")
    }

    fn request(&self, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
        let length = body.len();
        write!(stream, "{method} {path} HTTP/1.0\r\nHost: localhost\r\nX-API-Key: {KEY}\r\nContent-Length: {length}\r\n\r\n{body}").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }
}
