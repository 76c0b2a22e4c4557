//! Handshakes of clients and proxies as they are, and the answer to the letter.

use crate::server::{Client, Server, handshake, open};

const ANSWER: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

/// The handshake is accepted, and the protocol works.
fn accepts(client: &mut Client, request: &str) {
    client.send(request);
    let head = client.head();
    assert_eq!(head, format!("{ANSWER}\r\n"), "to {request}");
    assert!(client.log_in().starts_with(r#"{"id":1,"connect":{"client":""#));
}

#[test]
fn the_answer_is_spelled_as_in_the_rfc_whatever_was_asked() {
    let server = Server::start(&open());
    let plain = handshake("");
    let many: String = (0..120).map(|at| format!("X-H{at}: v\r\n")).collect();
    for request in [
        plain.clone(),
        plain
            .to_lowercase()
            .replace("get /", "GET /")
            .replace("http/1.1", "HTTP/1.1")
            .replace("dghlihnhbxbszsbub25jzq==", "dGhlIHNhbXBsZSBub25jZQ=="),
        plain.replace("Connection: Upgrade", "Connection: close, Upgrade"),
        plain.replace("Connection: Upgrade", "Connection: keep-alive\r\nConnection: upgrade"),
        plain.replace("HTTP/1.1", "HTTP/1.0"),
        plain.replace("HTTP/1.1\r\nHost: localhost\r\n", "HTTP/1.0\r\n"),
        plain.replace("websocket HTTP", "websocket?a=\"<b>\"&c=# HTTP"),
        plain.replace("/connection", "/%63onnection"),
        plain.replace("\r\n", "\n"),
        handshake(&many),
    ] {
        accepts(&mut server.connect(), &request);
    }
}

#[test]
fn the_subprotocol_is_named() {
    let server = Server::start(&open());
    let mut client = server.connect();
    client.send(&handshake("Sec-WebSocket-Protocol: other, centrifuge-json\r\n"));
    assert_eq!(client.head(), format!("{ANSWER}Sec-WebSocket-Protocol: centrifuge-json\r\n\r\n"));
}

#[test]
fn a_request_in_pieces_and_a_message_that_comes_with_it() {
    let server = Server::start(&open());
    let request = handshake("");
    let mut client = server.connect();
    client.0.set_nodelay(true).unwrap();
    for byte in request.as_bytes().chunks(7) {
        client.send(std::str::from_utf8(byte).unwrap());
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    assert_eq!(client.head(), format!("{ANSWER}\r\n"));
    let mut client = server.connect();
    // A frame of a kind that does not exist.
    client.send(&format!("{request}\u{3}\u{1}"));
    assert_eq!(client.head(), format!("{ANSWER}\r\n"));
    assert_eq!(client.message(), "closed: 1002", "what came behind the head was read as a frame");
}

#[test]
fn a_connection_that_served_requests_opens_a_websocket() {
    let server = Server::start(&open());
    let mut client = server.connect();
    for _ in 0..2 {
        client.send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert!(client.head().starts_with("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"));
        let mut body = [0; 2];
        std::io::Read::read_exact(&mut client.0, &mut body).unwrap();
        assert_eq!(&body, b"{}");
    }
    client.send(&handshake("Sec-WebSocket-Protocol: centrifuge-json\r\n"));
    let head = client.head();
    assert!(
        head.starts_with(ANSWER) && head.contains("\r\nSec-WebSocket-Protocol: centrifuge-json\r\n"),
        "{head}"
    );
    assert!(client.log_in().contains("connect"));
    assert_eq!(server.metric(r#"spinward_connections_accepted_total{mover="task"}"#), 0);
}

#[test]
fn what_is_wrong_is_answered_as_ever() {
    let server = Server::start(&open());
    let plain = handshake("");
    let second = handshake("Host: other\r\n");
    for (request, status) in [
        (plain.replace("Version: 13", "Version: 8"), 400),
        (plain.replace("dGhl", "dGh"), 400),
        (plain.replace("GET", "POST"), 405),
        (plain.replace("Upgrade: websocket", "Upgrade: h2c"), 400),
        (plain.replace("/connection/websocket", "/connection/other"), 404),
        (plain.replace("/connection", "//connection"), 307),
        (plain.replace("Host: localhost\r\n", ""), 400),
        (second, 400),
        (handshake("Origin: https://other.example\r\n"), 403),
        (handshake("Bad Name: x\r\n"), 400),
        (handshake(&format!("A: {}\r\n", "x".repeat(40_000))), 431),
    ] {
        let mut client = server.connect();
        client.send(&request);
        let head = client.head();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head} to {request}");
    }
}
