//! HTTP/2: what a client gets, and each limit against a peer that writes its frames by hand.

use super::super::tests::{LIMITS, NEVER, Served, clock, served_with};
use super::*;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const HTTP2: Limits = Limits { http2: true, ..LIMITS };
const START: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// A GET of this path, with no body: by indices of HPACK's static table, and literals.
fn get(stream: u32, path: &str) -> Vec<u8> {
    asked(&[0x82], stream, path)
}

/// The same with HEAD.
fn head(stream: u32, path: &str) -> Vec<u8> {
    asked(b"\x02\x04HEAD", stream, path)
}

fn asked(method: &[u8], stream: u32, path: &str) -> Vec<u8> {
    let mut block = method.to_vec();
    block.extend([0x86, 0x04, u8::try_from(path.len()).unwrap()]);
    block.extend(path.as_bytes());
    block.extend([0x01, 1, b'x']);
    frame(HEADERS, 0x5, stream, &block)
}

/// A connection that has said how much it takes of each answer.
async fn begun(served: &Served, window: u32) -> TcpStream {
    let mut stream = served.connect().await;
    let settings = [&[0, 4][..], &window.to_be_bytes()].concat();
    stream.write_all(&[START, &frame(SETTINGS, 0, 0, &settings)].concat()).await.unwrap();
    stream
}

struct Arrived {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Arrived {
    /// Returns true for the last frame of a stream.
    fn is_last(&self) -> bool {
        self.kind == RESET || self.flags & 1 != 0
    }
}

/// Reads to the frame that is waited for. `None`: the connection ends first.
async fn until(stream: &mut TcpStream, wanted: impl Fn(&Arrived) -> bool) -> Option<Arrived> {
    let reading = async {
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await.ok()?;
            let len = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let mut payload = vec![0; len];
            stream.read_exact(&mut payload).await.ok()?;
            let id = u32::from_be_bytes(head[5..].try_into().unwrap());
            let frame = Arrived { kind: head[3], flags: head[4], stream: id, payload };
            if wanted(&frame) {
                return Some(frame);
            }
        }
    };
    tokio::time::timeout(NEVER, reading).await.expect("it comes, or the connection ends")
}

/// Frames that come until the connection ends: kind, stream and length.
async fn frames(stream: &mut TcpStream) -> Vec<(u8, u32, usize)> {
    let mut all = Vec::new();
    // A reset is an end too.
    drop(tokio::time::timeout(NEVER, stream.read_to_end(&mut all)).await.expect("the connection ends"));
    let (mut rest, mut frames) = (&all[..], Vec::new());
    while let Some((head, after)) = rest.split_at_checked(9) {
        let len = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        frames.push((head[3], u32::from_be_bytes(head[5..9].try_into().unwrap()), len));
        rest = after.get(len..).unwrap_or_default();
    }
    frames
}

fn count(frames: &[(u8, u32, usize)], kind: u8) -> usize {
    frames.iter().filter(|frame| frame.0 == kind).count()
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().http2_prior_knowledge().build().unwrap()
}

#[tokio::test]
async fn a_client_asks_and_is_answered_by_http2() {
    let served = served_with(HTTP2).await;
    let url = |path: &str| format!("http://{}{path}", served.address);
    let client = client();
    let answer = client.post(url("/")).body("seven b").send().await.unwrap();
    assert_eq!(answer.version(), http::Version::HTTP_2);
    assert_eq!(answer.text().await.unwrap(), "7 bytes\n");
    // In many pieces, and by streams beside each other.
    let (large, slow) = tokio::join!(client.get(url("/large")).send(), client.get(url("/slow")).send());
    assert_eq!(large.unwrap().bytes().await.unwrap().len(), (1 << 20) + 1);
    assert_eq!(slow.unwrap().text().await.unwrap(), "slow\n");
    // Who begins with HTTP/1.1 is answered by it.
    let old = reqwest::get(url("/")).await.unwrap();
    assert_eq!(old.version(), http::Version::HTTP_11);
}

#[tokio::test]
async fn the_answer_to_head_has_no_body() {
    let served = served_with(HTTP2).await;
    for path in ["/", "/large", "/stream"] {
        let mut stream = begun(&served, 65_535).await;
        stream.write_all(&head(1, path)).await.unwrap();
        let frames = frames(&mut stream).await;
        assert_eq!(count(&frames, HEADERS), 1, "{path}: {frames:?}");
        assert!(frames.iter().all(|(kind, _, len)| *kind != DATA || *len == 0), "{path}: {frames:?}");
    }
    let answer = client().head(format!("http://{}/large", served.address)).send().await.unwrap();
    assert_eq!(answer.headers()["content-length"], ((1 << 20) + 1).to_string());
    assert!(answer.bytes().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_port_speaks_http2_only_where_that_is_on() {
    let served = served_with(LIMITS).await;
    assert!(client().get(format!("http://{}/", served.address)).send().await.is_err());
}

#[tokio::test]
async fn a_stream_outlasts_every_limit_of_a_connection() {
    let served = served_with(HTTP2).await;
    let start = clock();
    let mut answer = client().get(format!("http://{}/stream", served.address)).send().await.unwrap();
    let mut parts = 0;
    while let Some(chunk) = answer.chunk().await.unwrap() {
        parts += chunk.len() / 5;
        assert!(parts < 8 || start.elapsed() > LIMITS.idle, "all at once");
    }
    assert_eq!(parts, 8);
}

#[tokio::test]
async fn a_connection_without_requests_has_the_time_of_a_head() {
    let served = served_with(HTTP2).await;
    let start = clock();
    let mut stream = begun(&served, 65_535).await;
    let (mut reader, mut writer) = stream.split();
    // Other frames are no requests.
    let pings = async {
        while writer.write_all(&frame(PING, 0, 0, &[0; 8])).await.is_ok() {
            tokio::time::sleep(LIMITS.head / 6).await;
        }
        std::future::pending::<()>().await;
    };
    let mut all = Vec::new();
    tokio::select! {
        () = pings => {}
        ended = tokio::time::timeout(NEVER, reader.read_to_end(&mut all)) => drop(ended.expect("it ends")),
    }
    assert!(start.elapsed() >= LIMITS.head, "{:?}", start.elapsed());
    assert!(start.elapsed() < LIMITS.head + LIMITS.write + Duration::from_secs(5));
}

#[tokio::test]
async fn a_connection_rests_for_so_long() {
    let served = served_with(HTTP2).await;
    let mut stream = begun(&served, 65_535).await;
    stream.write_all(&get(1, "/")).await.unwrap();
    let start = clock();
    let frames = frames(&mut stream).await;
    assert_eq!((count(&frames, HEADERS), count(&frames, DATA)), (1, 1), "{frames:?}");
    assert!(count(&frames, GOAWAY) > 0, "{frames:?}");
    assert!(start.elapsed() >= LIMITS.idle, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_peer_that_makes_no_room_for_its_answer_is_closed() {
    for window in [0, 20_000] {
        let served = served_with(HTTP2).await;
        let mut stream = begun(&served, window).await;
        stream.write_all(&get(1, "/large")).await.unwrap();
        let start = clock();
        let (mut reader, mut writer) = stream.split();
        // It is there, and goes on sending.
        let pings = async {
            while writer.write_all(&frame(PING, 0, 0, &[0; 8])).await.is_ok() {
                tokio::time::sleep(LIMITS.write / 6).await;
            }
            std::future::pending::<()>().await;
        };
        let mut all = Vec::new();
        tokio::select! {
            () = pings => {}
            ended = tokio::time::timeout(NEVER, reader.read_to_end(&mut all)) => drop(ended.expect("it ends")),
        }
        assert!(start.elapsed() >= LIMITS.write, "{window}: {:?}", start.elapsed());
        assert!(all.len() < 1 << 17, "{window}: {} bytes", all.len());
    }
}

/// A peer that goes on after GOAWAY, and does not answer the ping by which the server learns that it has seen it.
#[tokio::test]
async fn a_connection_serves_so_many_requests_by_http2_too() {
    let served = served_with(Limits { streams: 2, idle: NEVER, write: LIMITS.write * 10, ..HTTP2 }).await;
    let mut stream = begun(&served, 65_535).await;
    let (mut answered, mut refused) = (0, 0);
    for number in 0..12 {
        let id = 1 + 2 * number;
        // A peer that has been told to stop may be gone.
        let _ = stream.write_all(&get(id, "/")).await;
        match until(&mut stream, |frame| frame.stream == id && frame.is_last()).await {
            Some(frame) if frame.kind == RESET => refused += 1,
            Some(_) => answered += 1,
            None => break,
        }
    }
    assert_eq!(answered, LIMITS.requests + 2, "as many as may have been on their way are served");
    assert!(refused > 0, "and no others");
    let rest = frames(&mut stream).await;
    assert_eq!(count(&rest, HEADERS), 0, "{rest:?}");
}

#[tokio::test]
async fn streams_that_are_reset_at_once_end_the_connection() {
    let served = served_with(Limits { requests: u32::MAX, ..HTTP2 }).await;
    let mut stream = begun(&served, 65_535).await;
    let mut all = Vec::new();
    for number in 0..1_000 {
        all.extend(get(1 + 2 * number, "/slow"));
        all.extend(frame(RESET, 0, 1 + 2 * number, &8_u32.to_be_bytes()));
    }
    let start = clock();
    let _ = stream.write_all(&all).await;
    let frames = frames(&mut stream).await;
    assert!(start.elapsed() < LIMITS.head, "{:?} {frames:?}", start.elapsed());
}

#[tokio::test]
async fn a_connection_by_http2_ends_with_the_server() {
    let served = served_with(HTTP2).await;
    let mut stream = begun(&served, 65_535).await;
    stream.write_all(&get(1, "/slow")).await.unwrap();
    tokio::time::sleep(LIMITS.head / 3).await;
    served.stop.send(true).unwrap();
    let frames = frames(&mut stream).await;
    assert_eq!(count(&frames, DATA), 1, "the answer under way is given: {frames:?}");
}

#[tokio::test]
async fn a_request_that_meets_the_stop_of_the_server_is_served() {
    let served = served_with(HTTP2).await;
    let mut stream = begun(&served, 65_535).await;
    stream.write_all(&get(1, "/slow")).await.unwrap();
    // The server has the connection, and a request.
    stream.write_all(&frame(PING, 0, 0, &[1; 8])).await.unwrap();
    until(&mut stream, |frame| frame.kind == PING).await.unwrap();
    served.stop.send(true).unwrap();
    until(&mut stream, |frame| frame.kind == GOAWAY).await.unwrap();
    let ping = until(&mut stream, |frame| frame.kind == PING && frame.flags == 0).await.unwrap();
    // Sent before the peer has seen GOAWAY, for all that the server knows.
    stream.write_all(&get(3, "/")).await.unwrap();
    stream.write_all(&frame(PING, 1, 0, &ping.payload)).await.unwrap();
    let frames = frames(&mut stream).await;
    assert_eq!((count(&frames, RESET), count(&frames, HEADERS)), (0, 2), "{frames:?}");
}

#[tokio::test]
async fn a_websocket_keeps_its_connection_from_being_idle_until_it_is_over() {
    let served = served_with(HTTP2).await;
    let stream = TokioIo::new(served.connect().await);
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream);
    let (mut sender, connection) = handshake.await.unwrap();
    let ended = tokio::spawn(connection);
    let mut request = Request::connect("http://localhost/websocket").body(Empty::<Bytes>::new()).unwrap();
    request.headers_mut().insert("sec-websocket-version", "13".parse().unwrap());
    request.extensions_mut().insert(hyper::ext::Protocol::from_static("websocket"));
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let mut socket = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    tokio::time::sleep(LIMITS.idle * 3).await;
    assert!(!ended.is_finished(), "the connection is in use");
    // A login, masked by zeros, and a close frame.
    let login = br#"{"id":1,"connect":{}}"#;
    socket.write_all(&[&[0x81, 0x80 | login.len() as u8, 0, 0, 0, 0], &login[..]].concat()).await.unwrap();
    let mut head = [0; 2];
    socket.read_exact(&mut head).await.unwrap();
    assert_eq!(head[0], 0x81);
    socket.write_all(&[0x88, 0x80, 0, 0, 0, 0]).await.unwrap();
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).await.unwrap();
    assert!(rest.ends_with(&[0x88, 0]));
    drop(socket);
    tokio::time::timeout(NEVER, ended).await.expect("idle from now on").unwrap().unwrap();
}
