//! Each limit of a connection, over real sockets and with short times.

use super::*;
use bytes::Bytes;
use http::StatusCode;
use hyper::body::Frame;
use spinward::Node;
use spinward::hooks::{ConnectEvent, ConnectReply, Decision, Handshake, Hooks};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(super) const LIMITS: Limits = Limits {
    head: Duration::from_millis(300),
    first_head: Duration::from_millis(300),
    idle: Duration::from_millis(600),
    write: Duration::from_millis(300),
    requests: 5,
    http2: false,
    streams: 100,
    answer: Some(Duration::from_millis(300)),
    keep_alive: None,
};

/// Longer than any limit, and no test passes by it.
pub(super) const NEVER: Duration = Duration::from_secs(20);

pub(super) struct Pages;

struct Everybody;

impl Hooks for Everybody {
    fn connect(&self, _: ConnectEvent) -> Decision<ConnectReply> {
        spinward::answer::Answer::Now(Ok(ConnectReply::default()))
    }
}

/// A node that lets everybody in.
fn node() -> &'static Node {
    static NODE: std::sync::OnceLock<Node> = std::sync::OnceLock::new();
    let config = spinward::Config { shards: 1, ..spinward::Config::default() };
    NODE.get_or_init(|| Node::builder(Everybody).config(config).build().unwrap())
}

/// A body of this many parts, with a pause before each.
struct Dripping {
    left: usize,
    pause: Pin<Box<tokio::time::Sleep>>,
}

impl Dripping {
    const PAUSE: Duration = Duration::from_millis(150);

    fn answer(parts: usize) -> Answer {
        let body = Self { left: parts, pause: Box::pin(tokio::time::sleep(Self::PAUSE)) };
        Answer::new(Body::stream(body))
    }
}

impl hyper::body::Body for Dripping {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        ready!(self.pause.as_mut().poll(context));
        self.left -= 1;
        self.pause = Box::pin(tokio::time::sleep(Self::PAUSE));
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"part\n")))))
    }
}

impl Service for Pages {
    fn enter(&self, _: SocketAddr) -> Result<Option<Entrance>, Refused> {
        Ok(None)
    }

    fn open(&self, _: &Head<'_>, _: &Peer) -> Opened {
        Opened::Pass
    }

    fn expects(&self, _: &Head<'_>) -> Option<usize> {
        None
    }

    fn open_stream(&self, _: &Head<'_>, _: Bytes, _: &Peer) -> Opened {
        Opened::Pass
    }

    async fn answer(&self, mut request: Request<Incoming>, peer: &Peer) -> Answer {
        match request.uri().path() {
            "/websocket" => {
                let websocket = node().websocket();
                let Ok(negotiated) = websocket.handshake(&request) else { panic!("no handshake") };
                let Ok(admitted) = negotiated.admit(Handshake::default()) else { panic!("not admitted") };
                peer.leave(request, admitted).await
            }
            "/large" => plain(StatusCode::OK, &"x".repeat(1 << 20)),
            // Longer than any limit, in all.
            "/stream" => Dripping::answer(8),
            "/slow" => {
                tokio::time::sleep(LIMITS.head * 2).await;
                plain(StatusCode::OK, "slow")
            }
            _ => match whole(request.body_mut(), 100).await {
                Ok(body) => plain(StatusCode::OK, &format!("{} bytes", body.len())),
                Err(answer) => answer,
            },
        }
    }
}

pub(super) struct Served {
    pub(super) address: SocketAddr,
    pub(super) stop: watch::Sender<bool>,
}

async fn served() -> Served {
    served_with(LIMITS).await
}

pub(super) async fn served_with(limits: Limits) -> Served {
    let listener = Tcp::listen("127.0.0.1", 0).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(accept(listener, None, Arc::new(Pages), limits, stopped));
    Served { address, stop }
}

impl Served {
    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

/// Everything that comes until the connection ends.
async fn rest(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let ended = tokio::time::timeout(NEVER, stream.read_to_end(&mut all)).await.expect("the connection ends");
    // A reset is an end too.
    drop(ended);
    String::from_utf8(all).unwrap()
}

/// One response with its body, which ends with a line feed.
async fn response(stream: &mut TcpStream) -> String {
    let mut all = String::new();
    while !(all.contains("\r\n\r\n") && all.ends_with("s\n")) {
        let mut part = [0; 4096];
        let len = tokio::time::timeout(NEVER, stream.read(&mut part)).await.unwrap().unwrap();
        assert!(len > 0, "ended after {all:?}");
        all.push_str(std::str::from_utf8(&part[..len]).unwrap());
    }
    all
}

#[allow(clippy::disallowed_methods, reason = "sockets have real time")]
pub(super) fn clock() -> Instant {
    Instant::now()
}

#[tokio::test]
async fn a_head_that_does_not_come_or_does_not_end_ends_the_connection() {
    let served = served().await;
    for begun in ["", "G", "GET / HTTP/1.1\r\nHost: x\r\n", "POST / HTTP/1.1\r\n"] {
        let mut stream = served.connect().await;
        let start = clock();
        stream.write_all(begun.as_bytes()).await.unwrap();
        assert_eq!(rest(&mut stream).await, "", "{begun:?}");
        assert!(start.elapsed() >= LIMITS.head, "{begun:?}");
    }
}

#[tokio::test]
async fn a_head_that_comes_byte_by_byte_has_no_more_time() {
    let served = served().await;
    for request in
        ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"]
    {
        for first in [true, false] {
            let mut stream = served.connect().await;
            if !first {
                stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
                response(&mut stream).await;
            }
            let (mut reader, mut writer) = stream.split();
            let drip = async {
                for byte in request.bytes().chain(std::iter::repeat(b'x')) {
                    tokio::time::sleep(LIMITS.head / 6).await;
                    if writer.write_all(&[byte]).await.is_err() {
                        break;
                    }
                }
                std::future::pending::<()>().await;
            };
            let mut end = Vec::new();
            let ended = async { reader.read_to_end(&mut end).await };
            tokio::select! {
                () = drip => {}
                ended = tokio::time::timeout(NEVER, ended) => drop(ended.expect("the connection ends")),
            }
            assert!(end.is_empty(), "{}", String::from_utf8_lossy(&end));
        }
    }
}

#[tokio::test]
async fn a_head_of_more_than_32_kib_is_refused() {
    let served = served().await;
    for start in ["GET / HTTP/1.1\r\nUpgrade: websocket\r\n", "GET / HTTP/1.1\r\n", "POST / HTTP/1.1\r\n"] {
        for lines in [vec!["x".repeat(40_000)], vec!["x".repeat(1000); 40]] {
            let mut stream = served.connect().await;
            let lines: String = lines.iter().map(|line| format!("A: {line}\r\n")).collect();
            stream.write_all(format!("{start}Host: x\r\n{lines}").as_bytes()).await.unwrap();
            let answer = rest(&mut stream).await;
            assert!(answer.starts_with("HTTP/1.1 431 "), "{start:?} {answer:?}");
        }
        let mut stream = served.connect().await;
        let many: String = (0..200).map(|at| format!("X-H{at}: v\r\n")).collect();
        let text = format!("{start}Host: x\r\n{many}A: {}\r\n\r\n", "x".repeat(20_000));
        stream.write_all(text.as_bytes()).await.unwrap();
        assert!(response(&mut stream).await.starts_with("HTTP/1.1 200 "), "{start:?}");
    }
}

#[tokio::test]
async fn a_first_request_may_have_many_headers() {
    let served = served().await;
    let headers: String = (0..200).map(|at| format!("X-H{at}: v\r\n")).collect();
    for head in ["GET / HTTP/1.1\r\nHost: x\r\n", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n"] {
        for pause in [false, true] {
            let mut stream = served.connect().await;
            stream.write_all(head.as_bytes()).await.unwrap();
            if pause {
                tokio::time::sleep(LIMITS.head / 3).await;
            }
            stream.write_all(format!("{headers}\r\n").as_bytes()).await.unwrap();
            for _ in 0..2 {
                let answer = response(&mut stream).await;
                assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
                stream.write_all(format!("{head}{headers}\r\n").as_bytes()).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_connection_rests_for_so_long_and_is_closed() {
    let served = served().await;
    let mut stream = served.connect().await;
    for _ in 0..2 {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        assert!(response(&mut stream).await.starts_with("HTTP/1.1 200 "));
        // Longer than a head may take.
        tokio::time::sleep(LIMITS.head + LIMITS.head / 3).await;
    }
    assert_eq!(rest(&mut stream).await, "");
}

#[tokio::test]
async fn an_answer_may_take_longer_than_a_head() {
    let served = served().await;
    let mut stream = served.connect().await;
    stream.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHo").await.unwrap();
    assert!(response_until(&mut stream, "slow\n").await.starts_with("HTTP/1.1 200 "));
    stream.write_all(b"st: x\r\n\r\n").await.unwrap();
    assert!(response(&mut stream).await.contains("0 bytes"));
}

async fn response_until(stream: &mut TcpStream, end: &str) -> String {
    let mut all = String::new();
    while !all.ends_with(end) {
        let mut part = [0; 4096];
        let len = tokio::time::timeout(NEVER, stream.read(&mut part)).await.unwrap().unwrap();
        assert!(len > 0, "ended after {all:?}");
        all.push_str(std::str::from_utf8(&part[..len]).unwrap());
    }
    all
}

#[tokio::test]
async fn a_connection_serves_so_many_requests() {
    let served = served().await;
    let mut stream = served.connect().await;
    stream.write_all("GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(8).as_bytes()).await.unwrap();
    let answers = rest(&mut stream).await;
    assert_eq!(answers.matches("HTTP/1.1 200 ").count(), LIMITS.requests as usize);
    assert_eq!(answers.matches("Connection: close").count(), 1);
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_closed() {
    let served = served().await;
    let Served { address, stop: _stop } = served_with(Limits { requests: u32::MAX, ..LIMITS }).await;
    for (address, requests) in [
        (served.address, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n".repeat(4)),
        // Small answers, of which the system's buffers hold thousands.
        (address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100_000)),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let (_unread, mut writer) = stream.split();
        let sending = async {
            while writer.write_all(requests.as_bytes()).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(NEVER, sending).await.expect("the server ends the connection");
    }
}

#[tokio::test]
async fn a_broken_body_is_a_bad_request() {
    let served = served().await;
    for (body, status) in [("zz\r\n{}\r\n0\r\n\r\n", 400), ("2\r\n{}\r\n0\r\n\r\n", 200), ("c8\r\n", 413)] {
        let mut stream = served.connect().await;
        let body =
            if status == 413 { format!("{body}{}\r\n0\r\n\r\n", "x".repeat(200)) } else { body.to_owned() };
        let text = format!("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut part = [0; 4096];
        let len = tokio::time::timeout(NEVER, stream.read(&mut part)).await.unwrap().unwrap();
        let answer = String::from_utf8_lossy(&part[..len]);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
}

#[tokio::test]
async fn a_connection_that_rests_ends_with_the_server() {
    let served = served().await;
    let (mut fresh, mut used) = (served.connect().await, served.connect().await);
    used.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    response(&mut used).await;
    let start = clock();
    served.stop.send(true).unwrap();
    assert_eq!(rest(&mut fresh).await + &rest(&mut used).await, "");
    assert!(start.elapsed() < LIMITS.head);
}

#[tokio::test]
async fn every_wildcard_is_both_families() {
    for address in ["", "0.0.0.0", "::"] {
        let listener = Tcp::listen(address, 0).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(TcpStream::connect(("127.0.0.1", port)).await.is_ok(), "{address:?}");
        if TcpStream::connect(("::1", port)).await.is_err() {
            assert!(std::net::TcpListener::bind("[::1]:0").is_err(), "{address:?} not by IPv6");
        }
        assert!(Tcp::listen(address, port).await.is_err(), "{address:?} twice");
    }
    let local = Tcp::listen("localhost", 0).await.unwrap().local_addr().unwrap();
    assert!(local.ip().is_loopback());
    assert!(Tcp::listen("no such host.invalid", 0).await.is_err());
}

#[tokio::test]
async fn a_body_is_streamed_as_it_is_made() {
    let served = served().await;
    let mut stream = served.connect().await;
    let start = clock();
    stream.write_all(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let first = response_until(&mut stream, "part\n\r\n").await;
    assert!(first.contains("ransfer-") && first.matches("part\n").count() < 8, "{first}");
    assert!(start.elapsed() < Dripping::PAUSE * 4);
    let all = response_until(&mut stream, "0\r\n\r\n").await;
    assert_eq!((first + &all).matches("part\n").count(), 8);
    assert!(start.elapsed() >= Dripping::PAUSE * 8, "longer than the connection may rest");
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_is_served_alike() {
    use tokio::net::UnixStream;
    let path = std::env::temp_dir().join(format!("spinward-http-{}.sock", std::process::id()));
    // Left by a process that is gone.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let (stop, stopped) = watch::channel(false);
    let listener = Unix::listen(&path).unwrap();
    assert_eq!(Unix::listen(&path).err().map(|error| error.kind()), Some(std::io::ErrorKind::AddrInUse));
    let serving = tokio::spawn(accept(listener, None, Arc::new(Pages), LIMITS, stopped));
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut part = [0; 4096];
    let len = tokio::time::timeout(NEVER, stream.read(&mut part)).await.unwrap().unwrap();
    assert!(part[..len].starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&part[..len]));
    let start = clock();
    assert_eq!(tokio::time::timeout(NEVER, stream.read(&mut part)).await.unwrap().unwrap(), 0, "it rests");
    assert!(start.elapsed() >= LIMITS.head);
    // What is no socket is not removed.
    let file = path.with_extension("file");
    std::fs::write(&file, "kept").unwrap();
    assert!(Unix::listen(&file).is_err());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "kept");
    std::fs::remove_file(file).unwrap();
    stop.send(true).unwrap();
    serving.await.unwrap();
    assert!(!path.exists());
}
