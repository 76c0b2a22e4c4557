//! SockJS: sessions over responses that follow each other, and over a WebSocket.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails here")]

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Body as _;
use spinward::answer::Answer;
use spinward::engine::broker::PublishOptions;
use spinward::hooks::{ConnectEvent, ConnectReply, Decision, Hooks, SubscribeOptions};
use spinward::identity::{Credentials, Transport};
use spinward::transport::body::Body;
use spinward::transport::sockjs::SockJs;
use spinward::wire::code::DisconnectCode;
use spinward::{ClientFilter, Config, Node};
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tower_service::Service;

/// Subscribes connections to `news`, and reports their ends.
struct Open(mpsc::UnboundedSender<u32>);

impl Hooks for Open {
    fn connect(&self, _: ConnectEvent) -> Decision<ConnectReply> {
        Answer::Now(Ok(ConnectReply {
            credentials: Credentials { user: "ann".to_owned(), ..Credentials::default() },
            subscriptions: vec![("news".to_owned(), SubscribeOptions::default())],
            ..ConnectReply::default()
        }))
    }

    fn disconnected(&self, _: &spinward::Client, code: &DisconnectCode) {
        let _ = self.0.send(code.code);
    }
}

struct World {
    node: Node,
    sockjs: SockJs,
    ends: mpsc::UnboundedReceiver<u32>,
}

fn world(config: Config) -> World {
    let (sender, ends) = mpsc::unbounded_channel();
    let node = Node::builder(Open(sender)).config(Config { shards: 1, ..config }).build().unwrap();
    World { sockjs: node.sockjs(), node, ends }
}

const CONNECT: &str = r#"["{\"id\":1,\"connect\":{}}"]"#;

impl World {
    async fn end(&mut self) -> u32 {
        tokio::time::timeout(Duration::from_secs(20), self.ends.recv()).await.expect("it goes on").unwrap()
    }

    async fn ask(&mut self, method: Method, path: &str, body: &str) -> Response<Body> {
        let request = Request::builder().method(method).uri(path);
        let request = request.body(Full::<Bytes>::from(body.to_owned())).unwrap();
        self.sockjs.call(request).await.unwrap()
    }

    async fn output(&mut self, path: &str) -> Reader {
        let method = if path.ends_with("eventsource") { Method::GET } else { Method::POST };
        let response = self.ask(method, path, "").await;
        assert_eq!(response.status(), StatusCode::OK);
        Reader { body: response.into_body(), text: String::new() }
    }

    async fn send(&mut self, session: &str, body: &str) -> StatusCode {
        self.ask(Method::POST, &format!("/000/{session}/xhr_send"), body).await.status()
    }

    /// One poll from beginning to end.
    async fn poll(&mut self, session: &str) -> String {
        self.output(&format!("/000/{session}/xhr")).await.rest().await
    }

    /// A poll that can be left.
    fn waiting_poll(&self, session: &str) -> Pin<Box<dyn Future<Output = Response<Body>>>> {
        let request = Request::post(format!("/000/{session}/xhr")).body(Full::<Bytes>::default()).unwrap();
        Box::pin(self.sockjs.clone().answer(request))
    }

    async fn publish(&self, data: impl Into<Bytes>) {
        self.node.publish("news", data.into(), PublishOptions::default()).await.unwrap();
    }
}

/// Reads the body of a response.
struct Reader {
    body: Body,
    text: String,
}

impl Reader {
    async fn until(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = self.text.find(end) {
                let rest = self.text.split_off(at + end.len());
                return std::mem::replace(&mut self.text, rest);
            }
            let frame = tokio::time::timeout(Duration::from_secs(10), self.body.frame()).await;
            let Some(frame) = frame.unwrap_or_else(|_| panic!("no {end:?} behind {:?}", self.text)) else {
                panic!("it ended before {end:?}: {:?}", self.text)
            };
            self.text.push_str(std::str::from_utf8(frame.unwrap().data_ref().unwrap()).unwrap());
        }
    }

    /// The next line; `None` at the end.
    async fn line(&mut self) -> Option<String> {
        while !self.text.contains('\n') {
            let frame = tokio::time::timeout(Duration::from_secs(10), self.body.frame()).await;
            let frame = frame.unwrap_or_else(|_| panic!("nothing behind {:?}", self.text))?;
            self.text.push_str(std::str::from_utf8(frame.unwrap().data_ref().unwrap()).unwrap());
        }
        Some(self.until("\n").await)
    }

    async fn rest(self) -> String {
        let rest =
            tokio::time::timeout(Duration::from_secs(10), self.body.collect()).await.expect("it goes on");
        self.text + std::str::from_utf8(&rest.unwrap().to_bytes()).unwrap()
    }
}

fn publication(data: &str) -> String {
    format!(r#""{{\"push\":{{\"channel\":\"news\",\"pub\":{{\"data\":{data}}}}}}}""#)
}

#[tokio::test]
async fn a_stream_begins_with_bytes_for_browsers_and_goes_on() {
    let mut world = world(Config::default());
    for (path, preamble, open, end) in [
        ("xhr_streaming", format!("{}\n", "h".repeat(2048)), "o\n", "\n"),
        ("eventsource", "\r\n".to_owned(), "data: o\r\n\r\n", "\r\n\r\n"),
    ] {
        let response_kind =
            if path == "eventsource" { "text/event-stream" } else { "application/javascript" };
        let method = if path == "eventsource" { Method::GET } else { Method::POST };
        let response = world.ask(method, &format!("/000/{path}/{path}"), "").await;
        assert_eq!(response.headers()["content-type"], format!("{response_kind}; charset=UTF-8"));
        let mut reader = Reader { body: response.into_body(), text: String::new() };
        assert_eq!(reader.until(open).await, format!("{preamble}{open}"));
        assert_eq!(world.send(path, CONNECT).await, StatusCode::NO_CONTENT);
        let connected = reader.until(end).await;
        assert!(connected.contains(r#"a["{\"id\":1,\"connect\":{\"client\":"#), "{connected}");
        assert!(!connected.contains("session") && !connected.contains("node"), "{connected}");
        world.publish("7").await;
        let frame = format!("a[{}]", publication("7"));
        let pushed = reader.until(end).await;
        assert_eq!(pushed.trim_start_matches("data: ").trim_end(), frame);
        world.node.disconnect("ann", &ClientFilter::default(), DisconnectCode::FORCE_RECONNECT);
        let last = reader.rest().await;
        assert_eq!(last.trim_start_matches("data: ").trim_end(), "c[3011,\"force reconnect\"]");
        assert_eq!(world.end().await, 3011);
        assert_eq!(world.send(path, CONNECT).await, StatusCode::NOT_FOUND, "it is over");
    }
    let counters = world.node.info().counters;
    let counted = counters.by_transport.iter().find(|one| one.transport == Transport::SockJs).unwrap();
    assert!(counted.messages_received == 2 && counted.sends > 0, "{counted:?}");
}

#[tokio::test]
async fn a_poll_ends_with_the_first_messages() {
    let mut world = world(Config::default());
    assert_eq!(world.poll("p").await, "o\n");
    assert_eq!(world.send("p", CONNECT).await, StatusCode::NO_CONTENT);
    let connected = world.poll("p").await;
    assert!(connected.starts_with("a[\"{") && connected.ends_with("}\"]\n"), "{connected}");
    // Published while nobody asks: all of it comes in one frame.
    for number in 0..100 {
        world.publish(number.to_string()).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let all: Vec<String> = (0..100).map(|number| publication(&number.to_string())).collect();
    assert_eq!(world.poll("p").await, format!("a[{}]\n", all.join(",")));
    // Published while the poll waits. Nothing of the response comes before: not every client would notice a cut.
    let mut waiting = world.waiting_poll("p");
    assert!(tokio::time::timeout(Duration::from_millis(100), &mut waiting).await.is_err());
    world.publish("7").await;
    let pushed = format!("a[{}]\n", publication("7"));
    let response = waiting.await;
    assert_eq!(response.body().size_hint().exact(), Some(pushed.len() as u64));
    assert_eq!(Reader { body: response.into_body(), text: String::new() }.rest().await, pushed);
    // What comes last is in a frame of its own.
    world.publish("8").await;
    world.node.disconnect("ann", &ClientFilter::default(), DisconnectCode::FORCE_DISCONNECT);
    assert_eq!(world.end().await, 3503);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(world.poll("p").await, format!("a[{}]\n", publication("8")));
    assert_eq!(world.poll("p").await, "c[3503,\"force disconnect\"]\n");
    assert_eq!(world.poll("p").await, "o\n", "a new session");
}

/// Some browsers keep all of a response until it ends.
#[tokio::test]
async fn a_stream_ends_in_time_and_the_next_loses_nothing() {
    let mut world = world(Config::default());
    let text = "x".repeat(1000);
    let mut reader = world.output("/000/s/xhr_streaming").await;
    reader.until("o\n").await;
    world.send("s", CONNECT).await;
    reader.until("]\n").await;
    let (mut responses, mut taken) = (1, 0);
    for number in 0..600 {
        world.publish(format!("\"{number} {text}\"")).await;
        let frame = loop {
            match reader.line().await {
                Some(line) if line.starts_with('h') => {}
                Some(line) => break line,
                None => {
                    assert!((127 << 10..130 << 10).contains(&taken), "{taken} bytes");
                    (responses, taken) = (responses + 1, 0);
                    reader = world.output("/111/s/xhr_streaming").await;
                }
            }
        };
        assert!(frame.contains(&format!("\\\"{number} x")), "{number}: {frame}");
        taken += frame.len();
    }
    assert!(responses >= 4, "{responses}");
}

#[tokio::test]
async fn a_session_has_one_reader_and_the_first_stays() {
    let mut world = world(Config::default());
    let mut reader = world.output("/000/a/xhr_streaming").await;
    reader.until("o\n").await;
    assert_eq!(world.poll("a").await, "c[2010,\"Another connection still open\"]\n");
    let other = world.output("/000/a/xhr_streaming").await.rest().await;
    assert!(other.ends_with("h\nc[2010,\"Another connection still open\"]\n"));
    let events = world.output("/000/a/eventsource").await.rest().await;
    assert_eq!(events, "\r\ndata: c[2010,\"Another connection still open\"]\r\n\r\n");
    world.send("a", CONNECT).await;
    assert!(reader.until("]\n").await.contains("connect"));
    assert_eq!(world.node.info().counters.connections, 1);

    // A session is in one form for good.
    assert_eq!(world.poll("b").await, "o\n");
    let events = world.output("/000/b/eventsource").await.rest().await;
    assert!(events.contains("c[2010,"), "{events}");
    assert_eq!(world.node.info().counters.connections, 2);
}

#[tokio::test]
async fn a_session_ends_with_its_reader_or_without_one() {
    let mut world = world(Config::default());
    let mut reader = world.output("/000/a/xhr_streaming").await;
    reader.until("o\n").await;
    world.send("a", CONNECT).await;
    reader.until("]\n").await;
    // Messages may be lost with the response: the session is over.
    drop(reader);
    assert_eq!(world.end().await, 3000);
    assert_eq!(world.send("a", CONNECT).await, StatusCode::NOT_FOUND);

    // So it is with a poll that is cut while it waits.
    assert_eq!(world.poll("c").await, "o\n");
    world.send("c", CONNECT).await;
    assert!(world.poll("c").await.contains("connect"));
    assert!(tokio::time::timeout(Duration::from_millis(100), world.waiting_poll("c")).await.is_err());
    assert_eq!(world.end().await, 3000);
    assert_eq!(world.send("c", CONNECT).await, StatusCode::NOT_FOUND);

    assert_eq!(world.poll("b").await, "o\n");
    world.send("b", CONNECT).await;
    // One that asks now and then goes on.
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(2)).await;
        world.publish("1").await;
        assert!(world.poll("b").await.starts_with("a["));
    }
    assert!(world.ends.is_empty());
    let start = tokio::time::Instant::now();
    assert_eq!(world.end().await, 3000);
    let away = start.elapsed();
    assert!((4..8).contains(&away.as_secs()), "{away:?}");
    assert_eq!(world.send("b", CONNECT).await, StatusCode::NOT_FOUND);
    while world.node.info().counters.connections > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// npm `sockjs-client` 1.6.1 in a browser, closed in the moment between two polls, still sends the second.
#[tokio::test]
async fn a_poll_that_its_client_has_forgotten_ends_with_a_ping() {
    let config = Config {
        ping_interval: Duration::from_secs(2),
        pong_timeout: Duration::from_millis(1900),
        ..Config::default()
    };
    let mut world = world(config);
    assert_eq!(world.poll("p").await, "o\n");
    world.send("p", CONNECT).await;
    assert!(world.poll("p").await.contains("connect"));
    let start = tokio::time::Instant::now();
    assert_eq!(world.poll("p").await, "a[\"{}\"]\n");
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    assert_eq!(world.end().await, 3012);
    while world.node.info().counters.connections > 0 {
        assert!(start.elapsed() < Duration::from_secs(10), "its last words wait for five seconds at most");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_reader_that_stays_away_is_slow() {
    let mut world = world(Config { queue_max_size: 64 << 10, ..Config::default() });
    assert_eq!(world.poll("p").await, "o\n");
    world.send("p", CONNECT).await;
    world.poll("p").await;
    let text = "x".repeat(1000);
    let mut published = 0;
    while world.ends.is_empty() && published < 1000 {
        world.publish(format!("\"{text}\"")).await;
        published += 1;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(world.end().await, 3008);
    // A window of 64 KiB in the body, and as much in the outbox.
    assert!((110..140).contains(&published), "{published}");
}

#[tokio::test]
async fn messages_are_strings_in_an_array() {
    let mut world = world(Config { message_size_limit: 1000, ..Config::default() });
    assert_eq!(world.send("x", CONNECT).await, StatusCode::NOT_FOUND);
    let mut reader = world.output("/000/x/xhr_streaming").await;
    reader.until("o\n").await;
    for (body, status) in [
        ("", StatusCode::INTERNAL_SERVER_ERROR),
        ("[\"x", StatusCode::INTERNAL_SERVER_ERROR),
        ("[1]", StatusCode::INTERNAL_SERVER_ERROR),
        ("[]", StatusCode::NO_CONTENT),
    ] {
        assert_eq!(world.send("x", body).await, status, "{body}");
    }
    assert_eq!(world.send("x", &" ".repeat(4000)).await, StatusCode::PAYLOAD_TOO_LARGE);
    let two = r#"["{\"id\":1,\"connect\":{}}","{\"id\":2,\"unsubscribe\":{\"channel\":\"news\"}}"]"#;
    assert_eq!(world.send("x", two).await, StatusCode::NO_CONTENT);
    let replies = reader.until(r#"{\"id\":2,\"unsubscribe\":{}}"#).await;
    assert!(replies.contains(r#"{\"id\":1,\"connect\":"#), "{replies}");
    assert_eq!(world.send("x", r#"["hello"]"#).await, StatusCode::NO_CONTENT);
    assert!(reader.rest().await.ends_with("c[3501,\"bad request\"]\n"));
    assert_eq!(world.end().await, 3501);

    // A message of the largest size, each of its bytes escaped.
    let mut reader = world.output("/000/y/xhr_streaming").await;
    reader.until("o\n").await;
    let connect = format!(r#"["{{\"id\":1,\"connect\":{{}}}}{}"]"#, "\\n".repeat(0));
    world.send("y", &connect).await;
    reader.until("]\n").await;
    assert_eq!(world.send("y", &format!("[\"{}\"]", "\\\"".repeat(1001))).await, StatusCode::NO_CONTENT);
    assert!(reader.rest().await.ends_with("c[3501,\"bad request\"]\n"), "over the limit of messages");
}

#[tokio::test]
async fn heartbeats_keep_proxies_from_closing() {
    let config = Config {
        ping_interval: Duration::from_millis(300),
        pong_timeout: Duration::from_millis(200),
        ..Config::default()
    };
    let mut world = world(config);
    let mut reader = world.output("/000/x/xhr_streaming").await;
    reader.until("o\n").await;
    world.send("x", CONNECT).await;
    reader.until("]\n").await;
    assert_eq!(reader.until("h\n").await, "a[\"{}\"]\nh\n");
    assert_eq!(world.send("x", "[\"{}\"]").await, StatusCode::NO_CONTENT);
    assert_eq!(reader.until("h\n").await, "a[\"{}\"]\nh\n");
    assert_eq!(reader.rest().await, "c[3012,\"no pong\"]\n");
}

/// A client of version 1 must never be sent an empty message, and does not answer heartbeats.
#[tokio::test]
async fn old_clients_are_kept_by_heartbeats_alone() {
    let config = Config {
        ping_interval: Duration::from_millis(150),
        pong_timeout: Duration::from_millis(100),
        sockjs_heartbeat_delay: Duration::from_millis(200),
        ..Config::default()
    };
    let mut world = world(config);
    let mut reader = world.output("/000/x/xhr_streaming").await;
    reader.until("o\n").await;
    // Its messages end with a newline now and then, and leave the method of a login out.
    world.send("x", r#"["{\"id\":1,\"params\":{}}\n","{\"id\":2,\"method\":7}"]"#).await;
    let replies = reader.until(r#"{\"id\":2}\n"]"#).await;
    assert!(replies.starts_with(r#"a["{\"id\":1,\"result\":{\"client\":"#), "{replies}");
    assert_eq!(reader.until("h\nh\nh\n").await, "\nh\nh\nh\n");
    world.publish("7").await;
    let pushed = loop {
        let line = reader.line().await.unwrap();
        if line != "h\n" {
            break line;
        }
    };
    let push = r#"{\"result\":{\"channel\":\"news\",\"data\":{\"data\":7}}}\n"#;
    assert_eq!(pushed, format!("a[\"{push}\"]\n"));
    world.node.disconnect("ann", &ClientFilter::default(), DisconnectCode::FORCE_RECONNECT);
    let last = reader.rest().await;
    let text = r#"{\"reason\":\"force reconnect\",\"reconnect\":true}"#;
    assert_eq!(last.trim_start_matches("h\n"), format!("c[3011,\"{text}\"]\n"));
}

/// Only JSON goes in SockJS frames.
#[tokio::test]
async fn protobuf_is_not_looked_for() {
    let mut world = world(Config::default());
    let mut reader = world.output("/000/x/xhr_streaming").await;
    reader.until("o\n").await;
    world.send("x", r#"["\u0004\u0008\u0001\u001a\u0000"]"#).await;
    assert_eq!(reader.rest().await, "c[3501,\"bad request\"]\n");
    assert_eq!(world.node.info().counters.legacy_clients, 0);
}

/// However many sessions somebody opens and ends, others get theirs, and what is kept of them is bounded.
#[tokio::test]
async fn sessions_that_have_ended_make_room() {
    let mut world = world(Config::default());
    for number in 0..2_500 {
        let name = format!("n{number}");
        assert_eq!(world.poll(&name).await, "o\n", "{number}");
        assert_eq!(world.send(&name, r#"["x"]"#).await, StatusCode::NO_CONTENT, "{number}");
    }
    assert_eq!(world.poll("n2499").await, "c[3501,\"bad request\"]\n");
    assert_eq!(world.send("n0", CONNECT).await, StatusCode::NOT_FOUND);
    assert_eq!(world.poll("other").await, "o\n");
}

#[tokio::test]
async fn pages_beside_sessions() {
    let mut world = world(Config::default());
    let text = async |response: Response<Body>| {
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    };
    let greeting = world.ask(Method::GET, "/", "").await;
    assert_eq!(greeting.headers()["content-type"], "text/plain; charset=UTF-8");
    assert_eq!(text(greeting).await, "Welcome to SockJS!\n");
    let info = world.ask(Method::GET, "/info?t=1", "").await;
    assert_eq!(info.headers()["content-type"], "application/json; charset=UTF-8");
    assert!(info.headers()["cache-control"].to_str().unwrap().contains("no-store"));
    let info = text(info).await;
    let start = r#"{"websocket":true,"cookie_needed":false,"origins":["*:*"],"entropy":"#;
    let entropy = info.strip_prefix(start).and_then(|rest| rest.strip_suffix('}')).unwrap();
    assert!(entropy.parse::<u32>().is_ok(), "{info}");
    assert_ne!(text(world.ask(Method::GET, "/info", "").await).await, info);

    let frame = world.ask(Method::GET, "/iframe.html#x", "").await;
    let tag = frame.headers()["etag"].clone();
    assert_eq!(frame.headers()["content-type"], "text/html; charset=UTF-8");
    let html = text(frame).await;
    assert!(html.contains("sockjs-client@1.6.1") && html.contains("SockJS.bootstrap_iframe()"), "{html}");
    let again = Request::get("/iframe.html").header("if-none-match", tag).body(Full::<Bytes>::default());
    assert_eq!(world.sockjs.call(again.unwrap()).await.unwrap().status(), StatusCode::NOT_MODIFIED);
    let quoted = world.node.sockjs().script("https://x/\"<a>&b");
    let response =
        { quoted }.call(Request::get("/iframe.html").body(Full::<Bytes>::default()).unwrap()).await.unwrap();
    assert!(text(response).await.contains("src=\"https://x/&quot;&lt;a&gt;&amp;b\""));

    for (method, path, status) in [
        (Method::GET, "/000/x/xhr", StatusCode::METHOD_NOT_ALLOWED),
        (Method::POST, "/info", StatusCode::METHOD_NOT_ALLOWED),
        (Method::POST, "/000/x/eventsource", StatusCode::METHOD_NOT_ALLOWED),
        (Method::GET, "/000/x/websocket", StatusCode::BAD_REQUEST),
        (Method::GET, "/websocket", StatusCode::BAD_REQUEST),
        (Method::POST, "/000/x/jsonp_send", StatusCode::NOT_FOUND),
        (Method::GET, "/nothing", StatusCode::NOT_FOUND),
    ] {
        assert_eq!(world.ask(method, path, "").await.status(), status, "{path}");
    }
    assert_eq!(world.node.info().counters.connections, 0, "none of them counts");
}

#[tokio::test]
async fn refused_connections_leave_no_session() {
    let mut world = world(Config { connection_limit: 1, ..Config::default() });
    let request = Request::post("/000/a/xhr").body(Full::<Bytes>::default()).unwrap();
    assert!(world.sockjs.opens(&request));
    let mut reader = world.output("/000/a/xhr_streaming").await;
    reader.until("o\n").await;
    assert!(!world.sockjs.opens(&request), "it is open");
    let refused = world.ask(Method::POST, "/000/b/xhr_streaming", "").await;
    assert_eq!(
        (refused.status(), &refused.headers()["retry-after"]),
        (StatusCode::SERVICE_UNAVAILABLE, &"1".parse().unwrap())
    );
    assert_eq!(world.send("b", CONNECT).await, StatusCode::NOT_FOUND);
    drop(reader);
    while world.node.info().counters.connections > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(world.poll("b").await, "o\n");
}

/// Through an HTTP server and a socket, as a WebSocket.
#[tokio::test]
async fn frames_go_over_a_websocket() {
    let mut world = world(Config::default());
    let app = axum::Router::new().nest_service("/connection/sockjs", world.sockjs.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    for (path, packed) in [("000/abc/websocket", true), ("websocket", false)] {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!(
            "GET /connection/sockjs/{path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        let mut until = async |end: &str, stream: &mut tokio::net::TcpStream| {
            while !text.contains(end) {
                let mut chunk = [0; 4096];
                let read = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut chunk)).await;
                let count = read.unwrap_or_else(|_| panic!("no {end:?} in {text}")).unwrap();
                assert!(count > 0, "it ended before {end:?}: {text}");
                text.push_str(&String::from_utf8_lossy(&chunk[..count]));
            }
            text.clone()
        };
        let head = until("\r\n\r\n", &mut stream).await;
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        if packed {
            until("\u{1}o", &mut stream).await;
        }
        let connect = if packed { CONNECT } else { r#"{"id":1,"connect":{}}"# };
        let mut frame = vec![0x81, 0x80 | connect.len() as u8, 0, 0, 0, 0];
        frame.extend_from_slice(connect.as_bytes());
        stream.write_all(&frame).await.unwrap();
        until(if packed { r#"a["{\"id\":1,\"connect\""# } else { r#"{"id":1,"connect""# }, &mut stream).await;
        world.publish("71").await;
        if packed {
            until(&format!("a[{}]", publication("71")), &mut stream).await;
        }
        world.node.disconnect("ann", &ClientFilter::default(), DisconnectCode::FORCE_RECONNECT);
        let all = until("force reconnect", &mut stream).await;
        assert_eq!(all.contains("c[3011,\"force reconnect\"]"), packed, "{all}");
        assert_eq!(world.end().await, 3011);
    }
}
