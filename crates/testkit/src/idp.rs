//! A fake identity provider: publishes a key set over HTTP, and misbehaves as it is told.

use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Response of a provider.
#[derive(Clone, Debug)]
pub enum Behave {
    /// With this text, whole.
    Set(String),
    /// With this status, no body, and further lines of the head.
    Status(u16, &'static str),
    /// Not at all.
    Hang,
    /// With a part of what it announces.
    Truncate,
    /// With more than anybody should take.
    Large,
}

impl Behave {
    /// A set of these keys, each a JWK.
    #[must_use]
    pub fn keys(keys: &[String]) -> Self {
        Self::Set(format!(r#"{{"keys":[{}]}}"#, keys.join(",")))
    }
}

/// A provider on this machine. Clones share it; it runs as long as the runtime.
#[derive(Clone)]
pub struct Idp {
    /// Its address, without a path.
    pub url: String,
    behave: Arc<Mutex<Behave>>,
    requests: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Idp {
    /// Starts one on a free port. Within a tokio runtime.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn start(behave: Behave) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let idp = Self {
            url,
            behave: Arc::new(Mutex::new(behave)),
            requests: Arc::default(),
            seen: Arc::default(),
        };
        let server = idp.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let server = server.clone();
                tokio::spawn(async move { server.answer(socket).await });
            }
        });
        Ok(idp)
    }

    /// Requests so far.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// The heads of the requests so far.
    #[must_use]
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().clone()
    }

    /// Behaves like this from now on.
    pub fn behave(&self, behave: Behave) {
        *self.behave.lock() = behave;
    }

    /// One request. The client may go away at any time, which is no fault of the provider.
    async fn answer(&self, mut socket: TcpStream) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if socket.read(&mut byte).await.unwrap_or(0) == 0 {
                return;
            }
            head.push(byte[0]);
        }
        self.requests.fetch_add(1, Ordering::SeqCst);
        self.seen.lock().push(String::from_utf8_lossy(&head).into_owned());
        let behave = self.behave.lock().clone();
        let ok = |length: usize| {
            format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n")
        };
        let answer = match behave {
            Behave::Set(body) => ok(body.len()) + &body,
            Behave::Status(status, more) => {
                format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n{more}\r\n")
            }
            Behave::Hang => return tokio::time::sleep(Duration::from_secs(60)).await,
            Behave::Truncate => ok(5000) + "{\"keys\":[",
            Behave::Large => ok(3 << 20) + &" ".repeat(3 << 20),
        };
        let _ = socket.write_all(answer.as_bytes()).await;
    }
}
