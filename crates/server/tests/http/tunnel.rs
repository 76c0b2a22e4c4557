//! WebSockets in streams of HTTP/2 (RFC 8441), and permessage-deflate as the server negotiates it.

use crate::server::{Server, handshake, open};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::ext::Protocol;
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use spinward::wire::ws::{
    Compression, Deflater, Event, Inflater, Limits, Opcode, Reader, append_masked_deflated,
    append_masked_frame,
};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(30);

fn config() -> Value {
    let internal = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut config = open();
    config["http_server"] = json!({"h2c_external": true, "internal_port": internal.to_string()});
    config["websocket"] = json!({"compression": true});
    config["client"]["allowed_origins"] = json!(["https://ok.example"]);
    config["channel"] = json!({"without_namespace": {
        "allow_subscribe_for_client": true, "allow_subscribe_for_anonymous": true,
        "allow_publish_for_client": true, "allow_publish_for_anonymous": true,
    }});
    config
}

async fn connected(server: &Server) -> SendRequest<Empty<Bytes>> {
    let stream = TcpStream::connect(server.address).await.unwrap();
    let mut http = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    http.initial_stream_window_size(65_535).initial_connection_window_size(1 << 20);
    let (sender, connection) = http.handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn request(method: Method, protocol: Option<&'static str>) -> Request<Empty<Bytes>> {
    let mut request = Request::builder()
        .method(method)
        .uri("http://localhost/connection/websocket")
        .version(Version::HTTP_2)
        .header("sec-websocket-version", "13")
        .header("sec-websocket-extensions", "permessage-deflate; client_max_window_bits")
        .header("sec-websocket-protocol", "centrifuge-json")
        .body(Empty::new())
        .unwrap();
    if let Some(protocol) = protocol {
        request.extensions_mut().insert(Protocol::from_static(protocol));
    }
    request
}

async fn answer(
    sender: &mut SendRequest<Empty<Bytes>>,
    request: Request<Empty<Bytes>>,
) -> Response<Incoming> {
    sender.ready().await.unwrap();
    sender.send_request(request).await.unwrap()
}

struct Client {
    stream: TokioIo<Upgraded>,
    reader: Reader,
    deflater: Deflater,
    inflater: Inflater,
    buffered: Vec<u8>,
}

impl Client {
    async fn open(sender: &mut SendRequest<Empty<Bytes>>) -> Self {
        let response = answer(sender, request(Method::CONNECT, Some("websocket"))).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["sec-websocket-protocol"], "centrifuge-json");
        assert_eq!(
            response.headers()["sec-websocket-extensions"],
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
        );
        for name in ["upgrade", "connection", "sec-websocket-accept"] {
            assert!(!response.headers().contains_key(name), "{name}");
        }
        let stream = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
        Self {
            stream,
            reader: Reader::client().with_deflate(),
            deflater: Deflater::new(Compression::default(), Compression::default()),
            inflater: Inflater::default(),
            buffered: Vec::new(),
        }
    }

    async fn send(&mut self, command: &str) {
        let mut frame = Vec::new();
        append_masked_deflated(
            Opcode::Text,
            [1, 2, 3, 4],
            command.as_bytes(),
            &mut self.deflater,
            &mut frame,
        );
        self.stream.write_all(&frame).await.unwrap();
    }

    /// The next message, or the code of a close frame.
    async fn next(&mut self) -> String {
        tokio::time::timeout(PATIENCE, self.receive()).await.unwrap()
    }

    async fn receive(&mut self) -> String {
        let limits = Limits::of(1 << 24);
        loop {
            let mut bytes = std::mem::take(&mut self.buffered);
            let (used, event) = self.reader.read(&limits, &mut bytes);
            let found = match event.unwrap() {
                Some(Event::Text(payload)) => Some(payload.into_vec()),
                Some(Event::Compressed(message)) => {
                    Some(self.inflater.inflate(&limits, &message).unwrap().to_vec())
                }
                Some(Event::Close(code)) => Some(format!("closed: {code:?}").into_bytes()),
                Some(other) => panic!("{other:?}"),
                None => None,
            };
            self.buffered = bytes.split_off(used);
            if let Some(found) = found {
                return String::from_utf8(found).unwrap();
            }
            if self.stream.read_buf(&mut self.buffered).await.unwrap() == 0 {
                return "ended".to_owned();
            }
        }
    }
}

#[tokio::test]
async fn websockets_share_a_connection_of_http2() {
    let server = Server::start(&config());
    let mut sender = connected(&server).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = Client::open(&mut sender).await;
        client.send(r#"{"id":1,"connect":{}}"#).await;
        assert!(client.next().await.starts_with(r#"{"id":1,"connect":{"client":""#));
        client.send(r#"{"id":2,"subscribe":{"channel":"news"}}"#).await;
        assert_eq!(client.next().await, r#"{"id":2,"subscribe":{}}"#);
        clients.push(client);
    }
    // More than a stream's window, and nothing that compresses well.
    let data: String =
        (0..6_000_u64).map(|at| format!("{:x} ", at.wrapping_mul(0x9E37_79B9_7F4A_7C15))).collect();
    for round in 0..8 {
        let number = round % clients.len();
        let command = format!(r#"{{"id":3,"publish":{{"channel":"news","data":"{}"}}}}"#, &data[..60_000]);
        clients[number].send(&command).await;
        for (at, client) in clients.iter_mut().enumerate() {
            let push = client.next().await;
            assert!(push.starts_with(r#"{"push":{"channel":"news","pub":{"data":""#), "{round}: {push}");
            assert!(push.contains(&data[..60_000]));
            if at == number {
                assert_eq!(client.next().await, r#"{"id":3,"publish":{}}"#);
            }
        }
    }
    // The end of one is not the end of the others.
    let mut last = clients.pop().unwrap();
    last.send(r#"{"id":9,"connect":{}}"#).await;
    assert_eq!(last.next().await, "closed: Some(3501)");
    assert_eq!(last.next().await, "ended");
    clients[0].send(r#"{"id":4,"unsubscribe":{"channel":"news"}}"#).await;
    assert_eq!(clients[0].next().await, r#"{"id":4,"unsubscribe":{}}"#);
    drop(clients);
    let response = answer(&mut sender, request(Method::GET, None)).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST, "the connection goes on");
}

#[tokio::test]
async fn other_requests_for_a_websocket_are_refused_over_http2() {
    let server = Server::start(&config());
    let mut sender = connected(&server).await;
    let with = |name: &'static str, value: &'static str| {
        let mut request = request(Method::CONNECT, Some("websocket"));
        request.headers_mut().insert(name, value.parse().unwrap());
        request
    };
    for (request, status) in [
        (with("sec-websocket-version", "8"), 400),
        (with("origin", "https://other.example"), 403),
        (request(Method::CONNECT, Some("connect-udp")), 400),
        (request(Method::GET, None), 400),
        (with("origin", "https://ok.example"), 200),
    ] {
        assert_eq!(answer(&mut sender, request).await.status(), status);
    }
}

#[tokio::test]
async fn a_websocket_whose_client_does_not_read_is_slow_and_its_neighbour_is_not() {
    let mut config = config();
    config["client"]["queue_max_size"] = json!(200_000);
    let server = Server::start(&config);
    let mut sender = connected(&server).await;
    let (mut stalled, mut reading) = (Client::open(&mut sender).await, Client::open(&mut sender).await);
    for client in [&mut stalled, &mut reading] {
        client.send(r#"{"id":1,"connect":{}}"#).await;
        client.next().await;
        client.send(r#"{"id":2,"subscribe":{"channel":"news"}}"#).await;
        client.next().await;
    }
    let mut seed = 1_u64;
    let mut noise = || {
        let next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            format!("{seed:x}")
        };
        std::iter::repeat_with(next).take(2_000).collect::<String>()
    };
    for _ in 0..30 {
        let command = format!(r#"{{"id":3,"publish":{{"channel":"news","data":"{}"}}}}"#, noise());
        reading.send(&command).await;
        assert!(reading.next().await.starts_with(r#"{"push""#));
        assert_eq!(reading.next().await, r#"{"id":3,"publish":{}}"#);
    }
    let mut last = String::new();
    while !matches!(last.as_str(), "ended" | "closed: Some(3008)") {
        last = stalled.next().await;
        let expected = last.starts_with(r#"{"push""#) || !last.starts_with('{') || last == "{}";
        assert!(expected, "{last}");
    }
}

#[test]
fn compression_is_negotiated_where_it_is_on() {
    const HEADER: &str = "\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    let on = Server::start(&config());
    let off = Server::start(&open());
    for (offer, answer) in [
        ("permessage-deflate", Some("")),
        ("permessage-deflate; client_max_window_bits", Some("")),
        (
            "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12",
            Some("; server_max_window_bits=12"),
        ),
        (
            "permessage-deflate; server_max_window_bits=10\r\nSec-WebSocket-Extensions: permessage-deflate",
            Some("; server_max_window_bits=9"),
        ),
        ("permessage-deflate; foo\r\nSec-WebSocket-Extensions: permessage-deflate", Some("")),
        ("permessage-deflate; foo", None),
        ("x-webkit-deflate-frame", None),
    ] {
        let lines = format!("Sec-WebSocket-Extensions: {offer}\r\n");
        let mut client = on.connect();
        client.send(&handshake(&lines));
        let head = client.head();
        match answer {
            Some(further) => assert!(head.contains(&format!("{HEADER}{further}\r\n")), "{offer}: {head}"),
            None => {
                assert!(head.starts_with("HTTP/1.1 101 ") && !head.contains("Extensions"), "{offer}: {head}")
            }
        }
        let mut client = off.connect();
        client.send(&handshake(&lines));
        assert!(!client.head().contains("Extensions"));
    }
    let mut client = on.connect();
    client.send(&handshake(""));
    assert!(!client.head().contains("Extensions"), "not asked for");
    // The request that hyper reads is answered alike.
    let mut client = on.connect();
    client.send("GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.head();
    std::io::Read::read_exact(&mut client.0, &mut [0; 19]).unwrap();
    client.send(&handshake("Sec-WebSocket-Extensions: permessage-deflate\r\n"));
    assert!(client.head().contains(HEADER));
}

#[test]
fn a_client_that_takes_nothing_is_closed_after_the_write_timeout() {
    let mut config = config();
    config["websocket"] = json!({"write_timeout": "300ms"});
    config["client"]["queue_max_size"] = json!(100 << 20);
    config["http_server"] = json!({});
    let server = Server::start(&config);
    let (mut stalled, mut publisher) = (server.connect(), server.connect());
    for client in [&mut stalled, &mut publisher] {
        client.send(&handshake(""));
        client.head();
        client.log_in();
    }
    stalled.send_message(r#"{"id":2,"subscribe":{"channel":"news"}}"#);
    assert_eq!(stalled.message(), r#"{"id":2,"subscribe":{}}"#);
    // More than the system takes in for a reader that does not read.
    let mut frame = Vec::new();
    let command = format!(r#"{{"id":3,"publish":{{"channel":"news","data":"{}"}}}}"#, "x".repeat(60_000));
    append_masked_frame(Opcode::Text, [1, 2, 3, 4], command.as_bytes(), &mut frame);
    for _ in 0..200 {
        std::io::Write::write_all(&mut publisher.0, &frame).unwrap();
        assert_eq!(publisher.message(), r#"{"id":3,"publish":{}}"#);
    }
    let name = r#"centrifugo_client_num_server_disconnects{code="3009"}"#;
    let closed = || server.ask("GET /metrics HTTP/1.1\r\nHost: localhost").contains(&format!("{name} 1\n"));
    assert!((0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        closed()
    }));
    publisher.send_message(r#"{"id":4,"unsubscribe":{"channel":"news"}}"#);
    assert_eq!(publisher.message(), r#"{"id":4,"unsubscribe":{}}"#);
}
