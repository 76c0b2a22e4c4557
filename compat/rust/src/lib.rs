//! Helpers: the server under test, tokens, a relay whose connections can be cut, and a record of events.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use centrifuge::{Client, State, SubState, Subscription};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

pub const SECRET: &str = "secret";
/// Time limit of any single step before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Time limit of a whole test before its process ends.
const END_OF_PATIENCE: Duration = Duration::from_secs(180);

/// The server binary: `SPINWARD_BIN`, or a release build of this repository.
pub fn binary() -> PathBuf {
    std::env::var_os("SPINWARD_BIN").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/release/spinward"),
        PathBuf::from,
    )
}

/// A configuration with one namespace for each thing that the scenarios need.
pub fn config(key: &str, grpc: u16) -> Value {
    let history = |more: Value| {
        let mut namespace = json!({
            "allow_subscribe_for_client": true, "allow_publish_for_client": true, "allow_history_for_client": true,
            "history_size": 100, "history_ttl": "300s",
        });
        merge(&mut namespace, more);
        namespace
    };
    json!({
        "log": { "level": "info" },
        "health": { "enabled": true },
        "http_api": { "key": key },
        "grpc_api": { "enabled": true, "address": "127.0.0.1", "port": grpc, "key": key },
        "client": {
            "token": { "hmac_secret_key": SECRET },
            "expired_close_delay": "1s",
            "presence_update_interval": "1s",
        },
        "channel": { "namespaces": [
            { "name": "room", "allow_subscribe_for_client": true, "allow_publish_for_client": true, "presence": true,
              "join_leave": true, "force_push_join_leave": true, "allow_presence_for_client": true },
            history(json!({ "name": "recov", "force_recovery": true })),
            history(json!({ "name": "short", "force_recovery": true, "history_size": 3 })),
            history(json!({ "name": "delta", "force_recovery": true, "allowed_delta_types": ["fossil"], "delta_publish": true })),
            history(json!({ "name": "tags", "allow_tags_filter": true })),
            { "name": "closed" },
        ] },
    })
}

fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}

/// A running server, stopped when dropped.
pub struct Server {
    child: Child,
    address: SocketAddr,
    grpc: u16,
    config: PathBuf,
    /// Of its API, and of no other server's: it is what tells them apart.
    key: String,
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Server {
    /// Starts the binary on a free port of 127.0.0.1 and waits until it answers.
    pub fn start() -> Self {
        // A port that was free when asked for may be another's when the server binds it.
        (0..5).find_map(|_| Self::on_a_port()).expect("a port that stays free")
    }

    /// `None` where the server ended before it answered.
    fn on_a_port() -> Option<Self> {
        let (port, grpc) = (free_port(), free_port());
        let key = unique("key-");
        let file = std::env::temp_dir().join(format!("spinward-compat-{}.json", unique("")));
        std::fs::write(&file, config(&key, grpc).to_string()).unwrap();
        let mut command = Command::new(binary());
        command.arg("-c").arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
        for (name, _) in std::env::vars() {
            if name.starts_with("SPINWARD_") || name.starts_with("CENTRIFUGO_") {
                command.env_remove(name);
            }
        }
        for prefix in ["SPINWARD", "CENTRIFUGO"] {
            command.env(format!("{prefix}_HTTP_SERVER_ADDRESS"), "127.0.0.1");
            command.env(format!("{prefix}_HTTP_SERVER_PORT"), port.to_string());
        }
        let child =
            command.spawn().unwrap_or_else(|error| panic!("{} does not run: {error}", binary().display()));
        let mut server =
            Self { child, address: SocketAddr::from(([127, 0, 0, 1], port)), grpc, config: file, key };
        let began = Instant::now();
        while !server.request("POST", "/api/info", "{}").is_ok_and(|(status, _)| status == 200) {
            if server.child.try_wait().is_ok_and(|ended| ended.is_some()) {
                return None;
            }
            assert!(began.elapsed() < PATIENCE, "the server did not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(server)
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// URL of the gRPC API.
    pub fn grpc(&self) -> String {
        format!("http://127.0.0.1:{}", self.grpc)
    }

    /// Key of the HTTP and the gRPC API.
    pub fn key(&self) -> &str {
        &self.key
    }

    pub fn url(&self) -> String {
        url(self.address)
    }

    /// Calls a method of the server API and gives its result.
    pub fn api(&self, method: &str, params: Value) -> Value {
        let (status, body) = self.request("POST", &format!("/api/{method}"), &params.to_string()).unwrap();
        assert_eq!(status, 200, "{method}: {body}");
        let mut reply: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(reply["error"], Value::Null, "{method}");
        reply["result"].take()
    }

    /// Status of a probe.
    pub fn probe(&self, path: &str) -> u16 {
        self.request("GET", path, "").unwrap().0
    }

    fn request(&self, method: &str, path: &str, body: &str) -> std::io::Result<(u16, String)> {
        let mut socket = TcpStream::connect(self.address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        write!(
            socket,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nX-API-Key: {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            self.key,
            body.len()
        )?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok((status.ok_or(std::io::ErrorKind::InvalidData)?, body.to_owned()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.config);
    }
}

pub fn url(address: SocketAddr) -> String {
    format!("ws://{address}/connection/websocket")
}

/// Waits until the client is connected.
///
/// [`Client::ready`] is called only when every operation before has been applied: where one has not, version
/// 0.1.0 of the SDK reads its own lock twice at once, and hangs, timeout or not, if its driver comes to
/// write in between.
pub async fn connected(client: &Client) {
    until("connected", || client.state() != State::Connecting).await;
    client.ready(Some(PATIENCE)).await.unwrap();
}

/// Waits until the subscription has been entered; as careful as [`connected`], for the same reason.
pub async fn subscribed(sub: &Subscription) {
    until("subscribed", || sub.state() != SubState::Subscribing).await;
    sub.ready(Some(PATIENCE)).await.unwrap();
}

async fn until(what: &str, reached: impl Fn() -> bool) {
    let began = Instant::now();
    while !reached() {
        assert!(began.elapsed() < PATIENCE, "not {what} in time");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Ends the process if a test hangs: a blocked thread is beyond every timeout of its runtime.
pub struct Watchdog {
    /// Dropped with it, which the thread sees.
    _alive: mpsc::Sender<()>,
}

impl Watchdog {
    pub fn over(test: &'static str) -> Self {
        let (alive, ended) = mpsc::channel::<()>();
        std::thread::spawn(move || {
            if ended.recv_timeout(END_OF_PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                eprintln!("{test} hangs: it has taken {END_OF_PATIENCE:?}");
                std::process::exit(101);
            }
        });
        Self { _alive: alive }
    }
}

/// A token of these claims.
pub fn jwt(claims: &Value, key: &str) -> String {
    let text = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#),
        URL_SAFE_NO_PAD.encode(claims.to_string())
    );
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key.as_bytes());
    let signature = ring::hmac::sign(&key, text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Unix seconds, so many from now.
pub fn in_seconds(seconds: i64) -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap() + seconds
}

/// A name that no other test has.
pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{prefix}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Events in order.
pub struct Log<T>(Arc<(Mutex<Vec<T>>, Condvar)>);

impl<T> Clone for Log<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Log<T> {
    fn default() -> Self {
        Self(Arc::new((Mutex::new(Vec::new()), Condvar::new())))
    }
}

impl<T: Clone + std::fmt::Debug> Log<T> {
    fn lock(&self) -> MutexGuard<'_, Vec<T>> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn push(&self, entry: T) {
        self.lock().push(entry);
        self.0.1.notify_all();
    }

    pub fn all(&self) -> Vec<T> {
        self.lock().clone()
    }

    /// Waits until there are `count` entries, and gives all.
    pub fn wait(&self, count: usize) -> Vec<T> {
        let began = Instant::now();
        let mut entries = self.lock();
        while entries.len() < count {
            assert!(began.elapsed() < PATIENCE, "waited in vain for {count} entries: {entries:?}");
            entries = self
                .0
                .1
                .wait_timeout(entries, Duration::from_millis(100))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        entries.clone()
    }
}

/// A TCP relay in front of a server, whose connections can be cut at will.
pub struct Relay {
    address: SocketAddr,
    /// Counts the cuts; a connection ends when the count changes.
    cuts: watch::Sender<u64>,
    refusing: watch::Sender<bool>,
}

impl Relay {
    pub async fn start(to: SocketAddr) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cuts, cut) = watch::channel(0);
        let (refusing, refused) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                if *refused.borrow() {
                    continue;
                }
                let mut cut = cut.clone();
                tokio::spawn(async move {
                    let Ok(mut far) = tokio::net::TcpStream::connect(to).await else { return };
                    cut.mark_unchanged();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Self { address, cuts, refusing }
    }

    pub fn url(&self) -> String {
        url(self.address)
    }

    /// Ends all connections, without a word of either side.
    pub fn cut(&self) {
        self.cuts.send_modify(|count| *count += 1);
    }

    /// New connections are hung up on, or no longer so.
    pub fn refuse(&self, refuse: bool) {
        self.refusing.send_replace(refuse);
    }
}
