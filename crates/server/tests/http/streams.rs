//! Clients whose output is the response to a request: SSE, HTTP streaming and their like.

use crate::server::{Client, Server, open};
use serde_json::{Value, json};
use std::io::Read;
use std::time::Duration;

const CONNECT: &str = "{\"id\":1,\"connect\":{}}";

/// Every transport on.
fn all(client: Value) -> Value {
    let mut config = open();
    for section in ["sse", "http_stream", "uni_sse", "uni_http_stream", "uni_websocket", "init"] {
        config[section] = json!({ "enabled": true });
    }
    config["client"].as_object_mut().unwrap().extend(client.as_object().unwrap().clone());
    config
}

fn post(path: &str, lines: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{lines}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// Reads up to a text.
fn until(client: &mut Client, end: &str) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(end.as_bytes()) {
        match client.0.read(&mut byte) {
            Ok(1) => text.push(byte[0]),
            other => panic!("{other:?} before {end:?}: {}", String::from_utf8_lossy(&text)),
        }
    }
    String::from_utf8(text).unwrap()
}

fn connected(mut client: Client, end: &str) -> (Client, String) {
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let reply = until(&mut client, end);
    assert!(reply.contains("\"client\":\""), "{reply}");
    (client, reply)
}

fn opened(server: &Server, path: &str, body: &str) -> (Client, String) {
    let mut client = server.connect();
    client.send(&post(path, "", body));
    connected(client, "}\n")
}

fn field<'a>(text: &'a str, name: &str) -> &'a str {
    let (_, rest) = text.split_once(&format!("\"{name}\":\"")).unwrap();
    rest.split_once('"').unwrap().0
}

/// Sends commands through the emulation endpoint, and answers the status.
fn emulate(server: &Server, reply: &str, data: &str) -> String {
    let body = json!({ "node": field(reply, "node"), "session": field(reply, "session"), "data": data });
    let mut client = server.connect();
    client.send(&post("/emulation", "Connection: close\r\n", &body.to_string()));
    client.head()[9..12].to_owned()
}

#[test]
fn a_stream_takes_commands_and_a_second_session_is_not_reached() {
    let server = Server::start(&all(json!({})));
    for (path, end) in [("/connection/http_stream", "}\n"), ("/connection/sse", "}\n\n")] {
        let (mut one, mine) = opened(&server, path, CONNECT);
        let (mut other, theirs) = opened(&server, path, CONNECT);
        assert_eq!(emulate(&server, &mine, "{\"id\":2,\"subscribe\":{\"channel\":\"a\"}}"), "204");
        assert!(until(&mut one, end).contains("\"id\":2"), "{path}");
        // The node and place of one with the secret of another.
        let secret = |reply: &str| field(reply, "session")[16..].to_owned();
        let forged = mine.replace(&secret(&mine), &secret(&theirs));
        assert_eq!(emulate(&server, &forged, "{\"id\":3,\"presence\":{\"channel\":\"a\"}}"), "204");
        assert_eq!(emulate(&server, &theirs, "{\"id\":4,\"presence\":{\"channel\":\"a\"}}"), "204");
        assert!(until(&mut other, end).contains("\"id\":4"), "the forged one reached nobody");
        assert_eq!(emulate(&server, &mine, "{\"id\":5,\"presence\":{\"channel\":\"a\"}}"), "204");
        let reply = until(&mut one, end);
        assert!(reply.contains("\"id\":5"), "{reply}");
        let lost = mine.replace(field(&mine, "node"), "11111111-1111-4111-8111-111111111111");
        assert_eq!(emulate(&server, &lost, "{}"), "404");
    }
}

#[test]
fn a_stream_may_follow_other_requests_of_its_connection() {
    let server = Server::start(&all(json!({})));
    let mut client = server.connect();
    client.send("OPTIONS /connection/http_stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(client.head().starts_with("HTTP/1.1 204 "));
    client.send("GET /connection/init HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(client.head().starts_with("HTTP/1.1 200 "));
    until(&mut client, "{}");
    client.send(&post("/connection/http_stream", "", CONNECT));
    let (mut client, reply) = connected(client, "}\n");
    // What follows the request is not another one: the response ends with the connection.
    client.send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(emulate(&server, &reply, "{\"id\":2,\"presence\":{\"channel\":\"a\"}}"), "204");
    let answer = until(&mut client, "}\n");
    assert!(answer.starts_with("{\"id\":2,\"error\":{\"code\":108"), "{answer}");
}

#[test]
fn shapes_of_requests_that_two_servers_read_in_two_ways_open_nothing() {
    let server = Server::start(&all(json!({})));
    let head = "POST /connection/uni_http_stream HTTP/1.1\r\nHost: localhost\r\n";
    for lines in [
        "Content-Length: 2\r\nContent-Length: 3\r\n",
        "Content-Length: 2\r\nTransfer-Encoding: xchunked\r\n",
        "Content-Length: +2\r\n",
        "Content-Length: 0x2\r\n",
        "Content-Length : 2\r\n",
        "Content-Length: 2\r\nHost: other\r\n",
        "X: a\r\n b\r\nContent-Length: 2\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
    ] {
        let mut client = server.connect();
        client.send(&format!("{head}{lines}\r\n{{}}"));
        let answer = client.rest();
        assert!(!answer.contains("connect"), "{lines:?}: {answer}");
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{lines:?}: {answer}");
    }
    // Both at once: the chunks count, and the length is not what the next request is found by.
    let mut client = server.connect();
    client.send(&format!(
        "{head}Content-Length: 40\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n\
         GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    ));
    client.0.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let answer = client.rest();
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
}

#[test]
fn where_a_browser_adds_the_login_pages_of_other_origins_stay_out() {
    let server = Server::start(&all(json!({
        "connect_token_cookie": "jwt", "allowed_origins": ["https://ok.example"],
    })));
    for path in
        ["/connection/sse", "/connection/http_stream", "/connection/uni_sse", "/connection/uni_http_stream"]
    {
        let body = if path.contains("uni") { "{}" } else { CONNECT };
        let ask = |lines: &str| {
            let mut client = server.connect();
            client.send(&post(path, lines, body));
            client.head()
        };
        let head = ask("Origin: https://evil.example\r\nCookie: jwt=x\r\n");
        assert!(head.starts_with("HTTP/1.1 403 "), "{path}: {head}");
        assert!(!head.contains("Access-Control"), "{path}: {head}");
        let head = ask("Origin: https://ok.example\r\n");
        assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {head}");
        assert!(head.contains("Access-Control-Allow-Origin: https://ok.example\r\n"), "{path}: {head}");
        assert!(ask("").starts_with("HTTP/1.1 200 "), "{path}");
    }
    let metric = server.metric("spinward_connections_refused_total{option=\"client.connection_limit\"}");
    assert_eq!(metric, 0);
}

#[test]
fn limits_of_connections_count_streams() {
    let server = Server::start(&all(json!({ "connection_limit": 2 })));
    let (first, _) = opened(&server, "/connection/uni_sse", "{}");
    let (_second, _) = opened(&server, "/connection/http_stream", CONNECT);
    for path in ["/connection/uni_http_stream", "/connection/sse"] {
        let mut client = server.connect();
        client.send(&post(path, "", if path.contains("uni") { "{}" } else { CONNECT }));
        let head = client.head();
        assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("\r\nRetry-After: "), "{path}: {head}");
    }
    // One that goes away makes room.
    drop(first);
    for _ in 0..500 {
        let mut client = server.connect();
        client.send(&post("/connection/uni_sse", "", "{}"));
        if client.head().starts_with("HTTP/1.1 200 ") {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("no room in ten seconds");
}

#[test]
fn streams_of_an_address_are_capped() {
    let server = Server::start(&all(json!({ "ip_connection_limit": 2 })));
    let _streams =
        [opened(&server, "/connection/uni_sse", "{}"), opened(&server, "/connection/uni_http_stream", "{}")];
    let mut client = server.connect();
    client.send(&post("/connection/uni_sse", "", "{}"));
    assert!(client.head().starts_with("HTTP/1.1 429 "));
}

#[test]
fn a_login_that_fails_may_be_answered_with_a_status() {
    let mut config = all(json!({ "insecure": false, "token": { "hmac_secret_key": "secret" } }));
    let answers = json!({ "enabled": true, "transforms": [{ "code": 3501, "to": { "status_code": 418 } }] });
    config["uni_http_stream"]["connect_code_to_http_response"] = answers.clone();
    config["uni_sse"]["connect_code_to_http_response"] = answers;
    let server = Server::start(&config);
    for path in ["/connection/uni_http_stream", "/connection/uni_sse"] {
        let mut client = server.connect();
        client.send(&post(path, "", "{}"));
        let answer = client.rest();
        assert!(answer.starts_with("HTTP/1.1 418 ") && answer.ends_with("\r\n\r\nbad request"), "{answer}");
        // The same behind another request, and with the body in chunks.
        let mut client = server.connect();
        client.send(&format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n"
        ));
        assert!(client.rest().ends_with("\r\n\r\nbad request"));
    }
}

#[test]
fn a_stream_that_nobody_reads_ends_within_seconds() {
    let mut config = all(json!({ "queue_max_size": 100 << 20 }));
    config["http_api"] = json!({ "key": "k" });
    let server = Server::start(&config);
    let paths = ["/connection/http_stream", "/connection/sse"];
    let stalled = paths.map(|path| {
        let (client, reply) = opened(&server, path, CONNECT);
        assert_eq!(emulate(&server, &reply, "{\"id\":2,\"subscribe\":{\"channel\":\"a\"}}"), "204");
        client
    });
    // More than the system takes in for a reader that does not read.
    let body = json!({ "channel": "a", "data": "x".repeat(60_000) }).to_string();
    for _ in 0..200 {
        let mut publisher = server.connect();
        publisher.send(&post("/api/publish", "X-API-Key: k\r\nConnection: close\r\n", &body));
        assert!(publisher.head().starts_with("HTTP/1.1 200 "));
    }
    let ended = "centrifugo_client_num_server_disconnects{code=\"3009\"} 2\n";
    assert!((0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        server.ask("GET /metrics HTTP/1.1\r\nHost: localhost").contains(ended)
    }));
    drop(stalled);
}

#[test]
fn a_stream_ends_with_the_server() {
    let server = Server::start(&all(json!({})));
    let (mut client, _) = opened(&server, "/connection/uni_http_stream", "{}");
    let (mut second, _) = opened(&server, "/connection/sse", CONNECT);
    server.terminate();
    assert!(client.rest().contains("{\"disconnect\":{\"code\":3001,\"reason\":\"shutdown\"}}"));
    assert!(second.rest().contains("{\"push\":{\"disconnect\":{\"code\":3001,\"reason\":\"shutdown\"}}}"));
}
