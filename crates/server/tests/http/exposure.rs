//! Endpoints that must not be reachable, and peers that must not be trusted.

use crate::server::{Client, Server, handshake, open};
use serde_json::json;
use spinward_testkit::servers::free_port;
use std::net::SocketAddr;

/// Logs in with a header that names the user, and answers the reply.
fn log_in(server: &Server, lines: &str) -> String {
    let mut client = server.connect();
    client.send(&handshake(lines));
    assert!(client.head().starts_with("HTTP/1.1 101 "));
    client.log_in()
}

#[test]
fn a_user_header_is_believed_from_trusted_proxies_alone() {
    let mut config = json!({
        "client": { "user_id_http_header": "X-User", "allowed_origins": ["https://app.example"] },
        "http_server": { "trusted_proxies": ["127.0.0.1"] },
    });
    let server = Server::start(&config);
    assert!(log_in(&server, "X-User: bob\r\n").contains(r#""client":"#));
    assert!(log_in(&server, "X-User: bob\r\nOrigin: https://app.example\r\n").contains(r#""client":"#));
    config["http_server"] = json!({ "trusted_proxies": ["10.0.0.0/8", "192.0.2.1"] });
    let server = Server::start(&config);
    for lines in ["X-User: bob\r\n", "x-user: bob\r\nX-Forwarded-For: 10.0.0.1\r\n"] {
        assert!(log_in(&server, lines).starts_with("closed: "), "{lines}");
    }
}

#[test]
fn a_user_header_without_trusted_proxies_has_no_effect_and_the_start_says_so() {
    let config = json!({ "client": { "user_id_http_header": "X-User" } });
    let server = Server::start(&config);
    let text = "client.user_id_http_header: has no effect without `http_server.trusted_proxies`";
    assert!(server.log().contains(text), "{}", server.log());
    assert!(log_in(&server, "X-User: bob\r\n").starts_with("closed: "));
}

/// As in Centrifugo v6.9: a server without the log that it is told to write is worse than none.
#[test]
fn a_log_file_that_cannot_be_written_is_refused() {
    for file in ["/nonexistent/spinward.log", "/"] {
        let log = Server::try_run(&[], &json!({ "log": { "file": file } })).err().unwrap();
        assert!(log.contains(&format!("log.file: cannot write {file}: ")), "{log}");
    }
}

#[test]
fn trusting_everybody_is_open_and_what_is_no_network_is_refused() {
    let config = json!({
        "production": true, "client": { "user_id_http_header": "X-User" },
        "http_server": { "trusted_proxies": ["0.0.0.0/0"] },
    });
    let log = Server::try_run(&[], &config).err().unwrap();
    assert!(log.contains("http_server.trusted_proxies[0]: every address is a trusted proxy"), "{log}");
    let config = json!({ "http_server": { "trusted_proxies": ["proxy.local"] } });
    let log = Server::try_run(&[], &config).err().unwrap();
    assert!(log.contains("http_server.trusted_proxies: entry 0, \"proxy.local\""), "{log}");
}

#[cfg(target_os = "linux")] // Where all of 127.0.0.0/8 is this machine.
#[test]
fn an_internal_address_parts_endpoints_without_an_internal_port() {
    let port = free_port();
    let mut config = open();
    config["http_api"] = json!({ "key": "keep-this-long-and-random-too-83b1f6" });
    config["http_server"] = json!({ "address": "127.0.0.2", "internal_address": "127.0.0.1", "port": port });
    let server = Server::start(&config);
    let ask = |host: [u8; 4], head: &str| {
        let mut client = Client::to(SocketAddr::from((host, port)));
        client.send(&format!("{head} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"));
        client.head()[9..12].to_owned()
    };
    for (head, inside) in [("GET /health", "200"), ("GET /metrics", "200"), ("POST /api/info", "401")] {
        assert_eq!(ask([127, 0, 0, 2], head), "404", "{head}");
        assert_eq!(ask([127, 0, 0, 1], head), inside, "{head}");
    }
    assert_eq!(ask([127, 0, 0, 1], "GET /connection/websocket"), "404");
    assert!(server.log().contains("serving internal endpoints"));
    // The same port on all addresses leaves none for the internal ones.
    config["http_server"] = json!({ "address": "", "internal_address": "127.0.0.1", "port": 0 });
    config["http_server"]["port"] = json!(free_port());
    let log = Server::try_run(&[], &config).err().unwrap();
    assert!(log.contains("http_server.internal_address: cannot listen on 127.0.0.1:"), "{log}");
}

#[test]
fn pages_of_dev_that_tell_something_are_for_this_machine() {
    let server = Server::run(&["dev"], &open());
    let explain = "POST /dev/explain HTTP/1.1\r\nContent-Length: 2\r\nHost: ";
    for (head, status) in
        [("GET /dev/info HTTP/1.1\r\nHost: ", 200), ("GET /metrics HTTP/1.1\r\nHost: ", 200), (explain, 401)]
    {
        for (host, status) in [("localhost:8000", status), ("127.0.0.1", status), ("evil.example:8000", 403)]
        {
            let mut client = server.connect();
            client.send(&format!("{head}{host}\r\n\r\n{}", if head == explain { "{}" } else { "" }));
            let answer = client.head();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{head}{host}: {answer}");
        }
    }
}

#[test]
fn questions_of_the_console_need_its_key() {
    let server = Server::run(&["dev"], &open());
    let info = server.ask("GET /dev/info HTTP/1.1\r\nHost: localhost");
    let info: serde_json::Value = serde_json::from_str(info.split_once("\r\n\r\n").unwrap().1).unwrap();
    let key = info["console_key"].as_str().unwrap();
    for path in ["/dev/explain", "/dev/probe"] {
        for (header, status) in [
            (String::new(), 401),
            ("X-Console-Key: \r\n".to_owned(), 401),
            (format!("X-Console-Key: {}\r\n", key.to_uppercase()), 401),
            (format!("X-API-Key: {key}\r\n"), 401),
            (format!("X-Console-Key: {key}\r\n"), 400),
        ] {
            let mut client = server.connect();
            client.send(&format!(
                "POST {path} HTTP/1.1\r\nHost: localhost\r\n{header}Content-Length: 2\r\n\r\n{{}}"
            ));
            let answer = client.head();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path} {header}: {answer}");
        }
    }
}

#[test]
fn outside_of_development_there_is_nothing_of_the_console() {
    let mut config = open();
    config["swagger"] = json!({ "enabled": true });
    let server = Server::start(&config);
    for line in [
        "GET /",
        "GET /app.js",
        "GET /dev/info",
        "POST /dev/info",
        "GET /dev/explain",
        "POST /dev/explain",
        "GET /dev/probe",
        "POST /dev/probe",
    ] {
        let answer = server.ask(&format!("{line} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0"));
        assert!(answer.starts_with("HTTP/1.1 404 "), "{line}: {answer}");
    }
    let page = server.ask("GET /swagger HTTP/1.1\r\nHost: localhost");
    assert!(page.contains("$KEY") && !page.contains("/dev/info"), "{page}");
}
