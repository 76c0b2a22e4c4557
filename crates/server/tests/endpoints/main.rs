//! The server as a process: what it takes back, and that socket, API and command line decide alike.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "tests with processes and clocks of their own"
)]

mod alike;
mod ends;
mod faults;
mod issuers;
mod reload;
mod revoke;
mod rotation;
mod rules;

#[path = "../../../spinward/tests/common/mod.rs"]
#[allow(unreachable_pub, reason = "the library's tests use it as well")]
mod common;

use common::Client;
use serde_json::{Value, json};
use spinward::wire::Protocol;
use spinward::wire::message::{Command, ConnectRequest};
use spinward_server::auth::sign::hs256;
use spinward_testkit::servers::free_port;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const KEY: &str = "a-long-secret-of-the-tests-4f1c97ab02de";

/// A folder of its own, removed in the end.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("spinward-endpoints-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A server that ends with the test.
struct Server {
    process: Child,
    port: u16,
    config: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    async fn start(place: &Path, mut config: Value) -> Self {
        let port = free_port();
        complete(&mut config, port);
        let file = place.join("config.json");
        std::fs::write(&file, config.to_string()).unwrap();
        Self::run(file, port, &[]).await
    }

    /// The same configuration once more, as `spinward dev` runs it with its console.
    async fn console(&self) -> Self {
        let port = free_port();
        Self::run(self.config.clone(), port, &["dev", "--port", &port.to_string()]).await
    }

    async fn run(file: PathBuf, port: u16, arguments: &[&str]) -> Self {
        let process = Process::new(env!("CARGO_BIN_EXE_spinward"))
            .arg("--config")
            .arg(&file)
            .args(arguments)
            // Keys that `dev` makes for the user stay out of the user's home.
            .env("XDG_STATE_HOME", file.parent().unwrap())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { process, port, config: file };
        server.listens().await;
        server
    }

    /// Waits until the server listens.
    async fn listens(&self) {
        for _ in 0..500 {
            if TcpStream::connect(("127.0.0.1", self.port)).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the server does not listen");
    }

    /// Puts another configuration in the place of the former and has it read. Whether that went well.
    async fn reload(&self, mut config: Value) -> bool {
        complete(&mut config, self.port);
        std::fs::write(&self.config, config.to_string()).unwrap();
        self.hang_up().await
    }

    /// Reloads the configuration. Returns true if that went well; the metrics are needed to know.
    async fn hang_up(&self) -> bool {
        let before = self.reloads().await;
        let process = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(process, rustix::process::Signal::HUP).unwrap();
        for _ in 0..500 {
            let after = self.reloads().await;
            if after != before {
                assert_eq!(before.0 + before.1 + 1, after.0 + after.1, "one signal, one reload");
                return after.0 > before.0;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the configuration is not reloaded");
    }

    /// Returns the numbers of configuration reloads: succeeded, and failed.
    async fn reloads(&self) -> (u64, u64) {
        let page = self.page("/metrics").await;
        let of = |result: &str| {
            let name = format!("\nspinward_config_reloads_total{{result=\"{result}\"}} ");
            let (_, rest) = page.split_once(&name).expect("prometheus is enabled");
            rest.lines().next().unwrap().parse().unwrap()
        };
        (of("success"), of("failure"))
    }

    /// Calls the API: status and body.
    async fn call(&self, method: &str, key: &str, body: &Value) -> (u16, Value) {
        self.post(&format!("/api/{method}"), key, body).await
    }

    /// Returns the console's answer to a question.
    async fn explained(&self, question: &Value) -> Value {
        let info = self.page("/dev/info").await;
        let info: Value = serde_json::from_str(info.split_once("\r\n\r\n").unwrap().1).unwrap();
        let key = info["console_key"].as_str().unwrap();
        let (status, told) = self.post("/dev/explain", key, question).await;
        assert_eq!(status, 200, "{question}");
        told
    }

    /// Returns the command line's answer to a question, in JSON.
    fn told_by_shell(&self, question: &Value) -> Value {
        let mut shell = Process::new(env!("CARGO_BIN_EXE_spinward"));
        shell.arg("--config").arg(&self.config).args(["explain", "--json"]);
        for (name, value) in question.as_object().unwrap() {
            match (name.as_str(), value) {
                ("headers", Value::Object(headers)) => {
                    for (name, value) in headers {
                        shell.args(["--header", &format!("{name}: {}", value.as_str().unwrap())]);
                    }
                }
                ("subscribed", value) => drop(value.as_bool().unwrap().then(|| shell.arg("--subscribed"))),
                (name, value) => {
                    shell.arg(format!("--{}={}", name.replace('_', "-"), value.as_str().unwrap()));
                }
            }
        }
        let output = shell.output().unwrap();
        let told: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{question}: {}", String::from_utf8_lossy(&output.stderr)));
        assert_eq!(output.status.success(), told.get("code").is_none(), "exit code: {told}");
        told
    }

    async fn post(&self, path: &str, key: &str, body: &Value) -> (u16, Value) {
        let body = body.to_string();
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {key}\r\nX-Console-Key: {key}\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }

    async fn page(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn api(&self, method: &str, body: Value) -> Value {
        let (status, answer) = self.call(method, KEY, &body).await;
        assert_eq!(status, 200, "{method} {body}");
        answer
    }

    /// Connects; the client, and the code with which it was refused: of an error or a close.
    async fn connect(&self, token: &str) -> (Client<TcpStream>, Option<u32>) {
        self.connect_with(token, "").await
    }

    /// The same with headers of the upgrade request, each with the end of its line.
    async fn connect_with(&self, token: &str, headers: &str) -> (Client<TcpStream>, Option<u32>) {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let mut client = Client::new(stream, Protocol::Json);
        client.upgrade("/connection/websocket", headers).await;
        let request = ConnectRequest { token: token.to_owned(), ..ConnectRequest::default() };
        client.send(&[Command { id: 1, connect: Some(request), ..Command::default() }]).await;
        let code = answer(&mut client, 1).await;
        (client, code)
    }
}

/// Adds what every server of these tests has, where the test says nothing else.
fn complete(config: &mut Value, port: u16) {
    for (section, usual) in [
        ("http_server", json!({ "address": "127.0.0.1", "port": port })),
        ("http_api", json!({ "key": KEY })),
        ("log", json!({ "level": "none" })),
    ] {
        if config.get(section).is_none() {
            config[section] = usual;
        }
    }
}

/// The code of the answer to a command: `None` if it was granted, that of the close if there is no answer.
async fn answer(client: &mut Client<TcpStream>, id: u32) -> Option<u32> {
    while let Some(reply) = client.next().await {
        if reply.id == id {
            return reply.error.map(|error| error.code);
        }
    }
    Some(closed(client).await)
}

/// Waits for the close, and gives its code.
async fn closed(client: &mut Client<TcpStream>) -> u32 {
    while client.next().await.is_some() {}
    u32::from(client.closed.flatten().expect("a close with a code"))
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

fn signed(claims: &Value) -> String {
    hs256(KEY, claims)
}
