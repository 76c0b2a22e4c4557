//! Connections whose output is the body of an HTTP response, and whose messages come by requests.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails here")]

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use spinward::answer::Answer;
use spinward::engine::broker::{HistoryOptions, PublishOptions};
use spinward::hooks::{
    ConnectEvent, ConnectReply, Decision, Hooks, RpcEvent, SubscribeEvent, SubscribeOptions,
};
use spinward::identity::{Credentials, Transport};
use spinward::transport::body::Body;
use spinward::wire::code::DisconnectCode;
use spinward::{ClientFilter, Config, Node};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc};
use tower_service::Service;

const HISTORY: HistoryOptions =
    HistoryOptions { size: 100, ttl: Duration::from_secs(60), meta_ttl: Duration::ZERO };

/// Subscribes connections to `news`, and reports their ends. A call waits until it is let through.
struct Open {
    ends: mpsc::UnboundedSender<u32>,
    calls: Arc<Semaphore>,
}

impl Hooks for Open {
    fn connect(&self, _: ConnectEvent) -> Decision<ConnectReply> {
        let options = SubscribeOptions { recovery: true, history: HISTORY, ..SubscribeOptions::default() };
        Answer::Now(Ok(ConnectReply {
            credentials: Credentials { user: "ann".to_owned(), ..Credentials::default() },
            subscriptions: vec![("news".to_owned(), options)],
            ..ConnectReply::default()
        }))
    }

    fn subscribe(&self, _: &spinward::Client, _: SubscribeEvent) -> Decision<SubscribeOptions> {
        Answer::Now(Ok(SubscribeOptions { recovery: true, history: HISTORY, ..SubscribeOptions::default() }))
    }

    fn rpc(&self, _: &spinward::Client, call: RpcEvent) -> Decision<Bytes> {
        let calls = Arc::clone(&self.calls);
        Answer::later(async move {
            calls.acquire().await.unwrap().forget();
            Ok(call.data)
        })
    }

    fn disconnected(&self, _: &spinward::Client, code: &DisconnectCode) {
        let _ = self.ends.send(code.code);
    }
}

struct World {
    node: Node,
    ends: mpsc::UnboundedReceiver<u32>,
    calls: Arc<Semaphore>,
}

fn world(config: Config) -> World {
    let (sender, ends) = mpsc::unbounded_channel();
    let calls = Arc::new(Semaphore::new(0));
    let hooks = Open { ends: sender, calls: Arc::clone(&calls) };
    let node = Node::builder(hooks).config(Config { shards: 1, ..config }).build().unwrap();
    World { node, ends, calls }
}

impl World {
    async fn end(&mut self) -> u32 {
        tokio::time::timeout(Duration::from_secs(10), self.ends.recv()).await.expect("it goes on").unwrap()
    }

    async fn emulate(&self, session: &str, node: &str, data: &str) -> StatusCode {
        let data = data.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let body = format!("{{\"session\":\"{session}\",\"node\":\"{node}\",\"data\":\"{data}\"}}");
        let request = Request::post("/emulation").body(Full::<Bytes>::from(body)).unwrap();
        self.node.emulation().call(request).await.unwrap().status()
    }
}

fn post(body: &str) -> Request<Full<Bytes>> {
    Request::post("/").body(Full::from(body.to_owned())).unwrap()
}

fn get(uri: &str) -> Request<Full<Bytes>> {
    Request::get(uri).body(Full::default()).unwrap()
}

/// Reads the body of a response.
struct Reader {
    body: Body,
    text: String,
}

impl Reader {
    fn new(response: Response<Body>) -> Self {
        assert_eq!(response.status(), StatusCode::OK);
        Self { body: response.into_body(), text: String::new() }
    }

    /// Reads on until a piece of text, and takes everything up to the end of it.
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

    async fn rest(self) -> String {
        let rest =
            tokio::time::timeout(Duration::from_secs(10), self.body.collect()).await.expect("it goes on");
        self.text + std::str::from_utf8(&rest.unwrap().to_bytes()).unwrap()
    }
}

fn field<'a>(text: &'a str, name: &str) -> &'a str {
    let (_, rest) =
        text.split_once(&format!("\"{name}\":\"")).unwrap_or_else(|| panic!("no {name} in {text}"));
    rest.split_once('"').unwrap().0
}

#[tokio::test]
async fn pushes_come_as_lines_of_a_body() {
    let world = world(Config::default());
    let response = world.node.uni_http_stream().call(post("{\n\"name\":\"x\"}")).await.unwrap();
    let headers = response.headers();
    assert_eq!(headers["content-type"], "text/plain; charset=utf-8");
    assert_eq!(headers["cache-control"], "private, no-cache, no-store, must-revalidate, max-age=0");
    assert_eq!(headers["x-accel-buffering"], "no");
    let mut reader = Reader::new(response);
    let connected = reader.until("\n").await;
    assert!(connected.starts_with("{\"connect\":{\"client\":") && connected.contains("\"session\":\""));
    assert!(!connected.contains("\"pong\"") && !connected.contains("\"node\""));
    let options = PublishOptions { history: HISTORY, ..PublishOptions::default() };
    for number in 0..1000 {
        world.node.publish("news", number.to_string().into(), options.clone()).await.unwrap();
        let line = reader.until("\n").await;
        assert!(
            line.starts_with(&format!("{{\"channel\":\"news\",\"pub\":{{\"data\":{number},\"offset\":")),
            "{line}"
        );
    }
    world.node.disconnect("ann", &ClientFilter::default(), DisconnectCode::FORCE_RECONNECT);
    assert_eq!(reader.rest().await, "{\"disconnect\":{\"code\":3011,\"reason\":\"force reconnect\"}}\n");
    let counters = world.node.info().counters;
    assert_eq!(counters.body_accepted, 1);
    let counted = counters.by_transport.iter().find(|one| one.transport == Transport::UniHttpStream).unwrap();
    assert_eq!(counted.messages_received, 1);
    assert!(counted.sends > 0 && counted.bytes_sent == counters.bytes_sent);
}

#[tokio::test]
async fn pushes_come_as_events() {
    let world = world(Config::default());
    for request in [get("/?cf_connect=%7B%7D"), get("/"), get("/?cf_connect="), post("{}")] {
        let response = world.node.uni_sse().call(request).await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream; charset=utf-8");
        let mut reader = Reader::new(response);
        assert!(reader.until("\n\n").await.starts_with("\r\ndata: {\"connect\":{\"client\":\""));
        world.node.publish("news", "{\"a\":\r\n1}".into(), PublishOptions::default()).await.unwrap();
        assert_eq!(
            reader.until("\n\n").await,
            "data: {\"channel\":\"news\",\"pub\":{\"data\":{\"a\": 1}}}\n\n"
        );
    }
}

/// A client that was away gets what it missed in the connect push.
#[tokio::test]
async fn a_client_in_one_direction_recovers() {
    let world = world(Config::default());
    let options = PublishOptions { history: HISTORY, ..PublishOptions::default() };
    let mut epoch = String::new();
    for number in 1..=3 {
        let published = world.node.publish("news", number.to_string().into(), options.clone()).await.unwrap();
        epoch = published.position.epoch.to_string();
    }
    let request =
        format!("{{\"subs\":{{\"news\":{{\"recover\":true,\"epoch\":\"{epoch}\",\"offset\":1}}}}}}");
    let mut reader = Reader::new(world.node.uni_http_stream().call(post(&request)).await.unwrap());
    let connected = reader.until("\n").await;
    assert!(connected.contains("\"recovered\":true"), "{connected}");
    assert!(
        connected.contains("\"publications\":[{\"data\":2,\"offset\":2},{\"data\":3,\"offset\":3}]"),
        "{connected}"
    );
}

#[tokio::test]
async fn commands_come_by_requests_of_their_own() {
    let mut world = world(Config::default());
    for events in [false, true] {
        let connect = "{\"id\":1,\"connect\":{}}";
        let response = if events {
            world.node.sse().call(get("/?cf_connect=%7B%22id%22%3A1%2C%22connect%22%3A%7B%7D%7D")).await
        } else {
            world.node.http_stream().call(post(connect)).await
        };
        let mut reader = Reader::new(response.unwrap());
        let connected = reader.until("}}\n").await;
        let (session, node) = (field(&connected, "session").to_owned(), field(&connected, "node").to_owned());
        assert!(connected.contains("\"pong\":true"), "{connected}");
        assert_eq!(node.len(), 36, "a UUID");

        let subscribe = "{\"id\":2,\"subscribe\":{\"channel\":\"more\"}}\n{\"id\":3,\"unsubscribe\":{\"channel\":\"more\"}}";
        assert_eq!(world.emulate(&session, &node, subscribe).await, StatusCode::NO_CONTENT);
        let replies = reader.until("{\"id\":3,\"unsubscribe\":{}}").await;
        assert!(replies.contains("{\"id\":2,\"subscribe\":{"), "{replies}");

        // While a call is under way, others wait behind it, in order.
        for id in 4..24 {
            let call = format!("{{\"id\":{id},\"rpc\":{{\"method\":\"m\",\"data\":{id}}}}}\n");
            assert_eq!(world.emulate(&session, &node, &call).await, StatusCode::NO_CONTENT);
        }
        world.calls.add_permits(20);
        for id in 4..24 {
            let answer = reader.until("}}").await;
            assert!(answer.ends_with(&format!("{{\"id\":{id},\"rpc\":{{\"data\":{id}}}}}")), "{answer}");
        }

        // An empty message is not one.
        assert_eq!(world.emulate(&session, &node, "").await, StatusCode::NO_CONTENT);
        assert!(
            reader
                .rest()
                .await
                .contains("{\"push\":{\"disconnect\":{\"code\":3501,\"reason\":\"bad request\"}}}")
        );
        assert_eq!(world.end().await, 3501);
        assert_eq!(world.emulate(&session, &node, subscribe).await, StatusCode::NO_CONTENT, "it is over");
    }
}

#[tokio::test]
async fn nobody_speaks_for_another_connection() {
    let world = world(Config::default());
    let mut reader =
        Reader::new(world.node.http_stream().call(post("{\"id\":1,\"connect\":{}}")).await.unwrap());
    let connected = reader.until("\n").await;
    let (session, node) = (field(&connected, "session").to_owned(), field(&connected, "node").to_owned());
    let unsubscribe = "{\"id\":2,\"unsubscribe\":{\"channel\":\"news\"}}";
    let mut forged = session.clone().into_bytes();
    for at in [16, 47] {
        forged[at] = if forged[at] == b'0' { b'1' } else { b'0' };
        let forged = String::from_utf8(forged.clone()).unwrap();
        assert_eq!(world.emulate(&forged, &node, unsubscribe).await, StatusCode::NO_CONTENT);
    }
    for stranger in ["", "11111111-1111-4111-8111-111111111111", &"f".repeat(48)] {
        assert_eq!(world.emulate(stranger, &node, unsubscribe).await, StatusCode::NO_CONTENT);
    }
    let elsewhere = "11111111-1111-4111-8111-111111111111";
    assert_eq!(world.emulate(&session, elsewhere, unsubscribe).await, StatusCode::NOT_FOUND);
    assert_eq!(world.node.info().counters.subscriptions, 1);
    assert_eq!(world.emulate(&session, &node, unsubscribe).await, StatusCode::NO_CONTENT);
    assert_eq!(reader.until("\n").await, "{\"id\":2,\"unsubscribe\":{}}\n");

    let mut emulation = world.node.emulation().max_body(100);
    let mut status = async |request| emulation.call(request).await.unwrap().status();
    assert_eq!(status(post("x")).await, StatusCode::BAD_REQUEST);
    assert_eq!(status(post(&" ".repeat(101))).await, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(status(get("/")).await, StatusCode::METHOD_NOT_ALLOWED);
}

/// The session of a client that speaks for itself is no way in for requests.
#[tokio::test]
async fn a_unidirectional_session_takes_no_commands() {
    let world = world(Config::default());
    let mut reader = Reader::new(world.node.uni_http_stream().call(post("{}")).await.unwrap());
    let connected = reader.until("\n").await;
    let mut other =
        Reader::new(world.node.http_stream().call(post("{\"id\":1,\"connect\":{}}")).await.unwrap());
    let (session, node) =
        (field(&connected, "session").to_owned(), field(&other.until("\n").await, "node").to_owned());
    drop(other);
    let unsubscribe = "{\"id\":2,\"unsubscribe\":{\"channel\":\"news\"}}";
    assert_eq!(world.emulate(&session, &node, unsubscribe).await, StatusCode::NO_CONTENT);
    world.node.publish("news", "1".into(), PublishOptions::default()).await.unwrap();
    assert_eq!(reader.until("\n").await, "{\"channel\":\"news\",\"pub\":{\"data\":1}}\n");
}

#[tokio::test]
async fn messages_that_pile_up_end_the_connection() {
    let mut world = world(Config { request_size_limit: 1000, ..Config::default() });
    let mut reader =
        Reader::new(world.node.http_stream().call(post("{\"id\":1,\"connect\":{}}")).await.unwrap());
    let connected = reader.until("\n").await;
    let (session, node) = (field(&connected, "session").to_owned(), field(&connected, "node").to_owned());
    let call = format!("{{\"id\":2,\"rpc\":{{\"data\":\"{}\"}}}}", "x".repeat(900));
    // The first one waits for the application, four and a little wait behind it.
    for _ in 0..5 {
        assert_eq!(world.emulate(&session, &node, &call).await, StatusCode::NO_CONTENT);
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(world.node.info().counters.connections, 1);
    world.emulate(&session, &node, &call).await;
    assert_eq!(world.end().await, 3013);
    assert!(reader.rest().await.ends_with("{\"code\":3013,\"reason\":\"too many requests\"}}}\n"));

    let mut reader =
        Reader::new(world.node.http_stream().call(post("{\"id\":1,\"connect\":{}}")).await.unwrap());
    let connected = reader.until("\n").await;
    let (session, node) = (field(&connected, "session").to_owned(), field(&connected, "node").to_owned());
    world.emulate(&session, &node, &" ".repeat(1001)).await;
    assert_eq!(world.end().await, 3501, "a message over the limit");
    assert!(reader.rest().await.contains("3501"));
}

/// A reader that stops is held to the same limit as a socket, and costs no more than that and a window.
#[tokio::test]
async fn a_body_that_nobody_reads_is_cut_off_as_slow() {
    const LIMIT: usize = 64 << 10;
    let mut world = world(Config { queue_max_size: LIMIT, ..Config::default() });
    let response = world.node.uni_http_stream().call(post("{}")).await.unwrap();
    let mut reader = Reader::new(response);
    reader.until("\n").await;
    let data = Bytes::from(format!("\"{}\"", "x".repeat(1000)));
    let mut published = 0;
    while world.ends.is_empty() && published < 1000 {
        world.node.publish("news", data.clone(), PublishOptions::default()).await.unwrap();
        published += 1;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(world.end().await, 3008);
    // A window of 64 KiB in the body, and as much in the outbox.
    assert!((120..140).contains(&published), "{published}");
    let mut rest = 0;
    let error = loop {
        match tokio::time::timeout(Duration::from_secs(10), reader.body.frame()).await.unwrap() {
            Some(Ok(frame)) => rest += frame.data_ref().unwrap().len(),
            Some(Err(error)) => break Some(error),
            None => break None,
        }
        // Slower than the closing may take: nothing more than the window was kept.
        if rest < 5000 {
            tokio::time::sleep(Duration::from_millis(800)).await;
        }
    };
    assert!(error.is_some() && rest <= 66 << 10, "{rest} bytes, {error:?}");
    assert_eq!(world.node.info().counters.connections, 0);
}

/// A reader that comes back in time learns why.
#[tokio::test]
async fn a_slow_reader_learns_that_it_was_slow() {
    let mut world = world(Config { queue_max_size: 16 << 10, ..Config::default() });
    let mut reader = Reader::new(world.node.uni_http_stream().call(post("{}")).await.unwrap());
    reader.until("\n").await;
    let data = Bytes::from(format!("\"{}\"", "x".repeat(1000)));
    while world.ends.is_empty() {
        world.node.publish("news", data.clone(), PublishOptions::default()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(world.end().await, 3008);
    assert!(reader.rest().await.ends_with("}}\n{\"disconnect\":{\"code\":3008,\"reason\":\"slow\"}}\n"));
}

#[tokio::test]
async fn a_reader_that_pauses_loses_nothing() {
    let world = world(Config::default());
    let mut reader = Reader::new(world.node.uni_http_stream().call(post("{}")).await.unwrap());
    reader.until("\n").await;
    let data = "x".repeat(1000);
    for number in 0..500 {
        let data = Bytes::from(format!("\"{number} {data}\""));
        world.node.publish("news", data, PublishOptions::default()).await.unwrap();
    }
    for number in 0..500 {
        let line = reader.until("\n").await;
        assert!(line.contains(&format!("\"{number} x")), "{number}: {line}");
    }
}

#[tokio::test]
async fn a_body_that_is_dropped_ends_its_connection() {
    let mut world = world(Config::default());
    let mut reader = Reader::new(world.node.uni_sse().call(get("/")).await.unwrap());
    reader.until("\n\n").await;
    drop(reader);
    assert_eq!(world.end().await, 3000);
    // Before the shard has accepted it, too.
    drop(world.node.uni_sse().call(get("/")).await.unwrap());
    for _ in 0..100 {
        if world.node.info().counters.connections == 0 {
            return world.node.shutdown(Duration::from_secs(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the connection is still counted");
}

#[tokio::test]
async fn refusals() {
    let world = world(Config { connection_limit: 1, ..Config::default() });
    let mut uni = world.node.uni_http_stream().max_body(100);
    let mut status = async |request| uni.call(request).await.unwrap().status();
    assert_eq!(status(get("/")).await, StatusCode::METHOD_NOT_ALLOWED);
    for body in ["", "hello", "[]", "{\"token\":1}"] {
        assert_eq!(status(post(body)).await, StatusCode::BAD_REQUEST, "{body}");
    }
    assert_eq!(status(post(&format!("{{{}}}", " ".repeat(99)))).await, StatusCode::PAYLOAD_TOO_LARGE);
    let mut sse = world.node.sse();
    assert_eq!(sse.call(get("/")).await.unwrap().status(), StatusCode::BAD_REQUEST);
    assert_eq!(world.node.info().counters.connections, 0, "none of them counts");

    // A bidirectional one learns in its stream what is wrong with its command.
    let reader = Reader::new(sse.call(post("hello")).await.unwrap());
    assert_eq!(
        reader.rest().await,
        "\r\ndata: {\"push\":{\"disconnect\":{\"code\":3501,\"reason\":\"bad request\"}}}\n\n"
    );
    while world.node.info().counters.connections > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let held = Reader::new(sse.call(post("{\"id\":1,\"connect\":{}}")).await.unwrap());
    let refused = sse.call(post("{\"id\":1,\"connect\":{}}")).await.unwrap();
    assert_eq!(
        (refused.status(), &refused.headers()["retry-after"]),
        (StatusCode::SERVICE_UNAVAILABLE, &"1".parse().unwrap())
    );
    drop(held);
}

/// Through an HTTP server and a socket: the end of the connection is the end of the response, and a client that goes
/// away is noticed.
#[tokio::test]
async fn a_body_is_pulled_by_an_http_server() {
    let mut world = world(Config::default());
    let app = axum::Router::new().route_service("/stream", world.node.uni_http_stream());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    for goes_away in [false, true] {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = b"POST /stream HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}";
        stream.write_all(request).await.unwrap();
        let mut text = String::new();
        let mut until = async |end: &str, stream: &mut tokio::net::TcpStream| {
            while !text.contains(end) {
                let mut chunk = [0; 4096];
                let read = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut chunk)).await;
                let count = read.unwrap_or_else(|_| panic!("no {end:?} in {text}")).unwrap();
                assert!(count > 0, "it ended before {end:?}: {text}");
                text.push_str(std::str::from_utf8(&chunk[..count]).unwrap());
            }
            text.clone()
        };
        assert!(until("{\"connect\":", &mut stream).await.contains("transfer-encoding: chunked\r\n"));
        world.node.publish("news", "71".into(), PublishOptions::default()).await.unwrap();
        until("{\"channel\":\"news\",\"pub\":{\"data\":71}}\n", &mut stream).await;
        if goes_away {
            drop(stream);
            assert_eq!(world.end().await, 3000);
        } else {
            world.node.disconnect("ann", &ClientFilter::default(), DisconnectCode::FORCE_RECONNECT);
            let all = until("\r\n0\r\n\r\n", &mut stream).await;
            assert!(
                all.contains("{\"disconnect\":{\"code\":3011,\"reason\":\"force reconnect\"}}\n"),
                "{all}"
            );
            assert_eq!(world.end().await, 3011);
        }
    }
}
