//! Proxies in front of the server, and sockets that were opened before it started.

use crate::server::{Client, Server, handshake, open};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};

/// Opens a connection with these bytes before the handshake, and answers the status; `None` if it is closed.
fn status(server: &Server, before: &[u8], lines: &str) -> (Client, Option<String>) {
    let mut client = server.connect();
    client.0.write_all(before).unwrap();
    client.send(&handshake(lines));
    let mut head = String::new();
    let read = BufReader::new(client.0.try_clone().unwrap()).read_line(&mut head);
    let status = read.ok().filter(|count| *count > 0).map(|_| head[9..12].to_owned());
    (client, status)
}

fn one_for_each_address() -> Value {
    let mut config = open();
    config["client"]["ip_connection_limit"] = json!(1);
    config
}

fn v1(address: &str) -> Vec<u8> {
    format!("PROXY TCP4 {address} 127.0.0.1 4711 443\r\n").into_bytes()
}

#[test]
fn limits_count_the_clients_that_the_proxy_protocol_names() {
    let mut config = one_for_each_address();
    config["http_server"] = json!({ "proxy_protocol_sources": ["127.0.0.0/8"] });
    let server = Server::start(&config);
    let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x09\x7f\0\0\x01\x12\x34\0\x50";
    let mut open = Vec::new();
    for (header, expected) in [
        (v1("203.0.113.7"), "101"),
        (v1("203.0.113.8"), "101"),
        (v1("203.0.113.7"), "429"),
        (v2.to_vec(), "101"),
        (v1("203.0.113.9"), "429"),
    ] {
        let (client, status) = status(&server, &header, "");
        assert_eq!(status.as_deref(), Some(expected), "{}", String::from_utf8_lossy(&header));
        open.push(client);
    }
    let (_client, status) = status(&server, b"", "");
    assert_eq!(status, None, "a listed proxy has to say whose connection it is");
    let log = server.await_log("it does not begin with a PROXY protocol header");
    assert!(log.contains("no PROXY protocol header") && log.contains("proxy_protocol_sources"), "{log}");
}

#[test]
fn a_header_of_anyone_else_is_not_http() {
    let mut config = open();
    config["http_server"] = json!({ "proxy_protocol_sources": ["192.0.2.0/24"] });
    let server = Server::start(&config);
    assert_eq!(status(&server, &v1("203.0.113.7"), "").1.as_deref(), Some("400"));
    let (_client, status) = status(&server, b"", "");
    assert_eq!(status.as_deref(), Some("101"), "others connect as ever");
}

#[test]
fn a_proxy_behind_another_names_the_client_in_its_header() {
    for (header, line) in [
        ("X-Forwarded-For", "X-Forwarded-For: 1.1.1.1, "),
        ("Forwarded", "Forwarded: for=1.1.1.1, for="),
        ("X-Real-IP", "X-Real-IP: "),
    ] {
        let mut config = one_for_each_address();
        config["http_server"] = json!({
            "proxy_protocol_sources": ["127.0.0.1"],
            "trusted_proxies": ["10.0.0.0/8"],
            "client_ip_header": header,
        });
        let server = Server::start(&config);
        let mut open = Vec::new();
        for (proxy, client, expected) in [
            ("10.0.0.1", "203.0.113.7", "101"),
            ("10.0.0.2", "203.0.113.8", "101"),
            ("10.0.0.2", "203.0.113.7", "429"),
            // Not a proxy: its header is not read.
            ("198.51.100.1", "203.0.113.9", "101"),
            ("198.51.100.1", "203.0.113.10", "429"),
        ] {
            let (connection, status) = status(&server, &v1(proxy), &format!("{line}{client}\r\n"));
            assert_eq!(status.as_deref(), Some(expected), "{header}: {client} by {proxy}");
            open.push(connection);
        }
    }
}

/// As systemd starts a service: with sockets that listen already. Here they take the places of standard input and
/// output.
#[cfg(unix)]
#[test]
fn sockets_are_taken_over_from_systemd() {
    use std::os::fd::OwnedFd;
    use std::os::unix::net::{UnixListener, UnixStream};
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let path = std::env::temp_dir().join(format!("spinward-activation-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let unix = UnixListener::bind(&path).unwrap();
    let file = path.with_extension("json");
    std::fs::write(&file, open().to_string()).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_spinward"))
        .arg("--config")
        .arg(&file)
        .envs([("LISTEN_FDS", "2"), ("LISTEN_FDS_FIRST_FD", "0"), ("LISTEN_FDNAMES", "clients:internal")])
        .stdin(Stdio::from(OwnedFd::from(tcp)))
        .stdout(Stdio::from(OwnedFd::from(unix)))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = String::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok) {
        log.push_str(&line);
        if line.contains(r#""message":"serving""#) {
            break;
        }
    }
    // A client that came before the server was there would have been served as well.
    let mut client = Client::to(address);
    client.send(&handshake(""));
    let accepted = client.head();
    let mut page = Client::to(address);
    page.send("GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let outside = page.rest();
    let mut internal = UnixStream::connect(&path).unwrap();
    internal.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut inside = String::new();
    std::io::Read::read_to_string(&mut internal, &mut inside).unwrap();
    let process = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
    let ended = child.wait().unwrap();
    let kept = path.exists();
    let _ = (std::fs::remove_file(&path), std::fs::remove_file(&file));
    assert!(accepted.starts_with("HTTP/1.1 101 "), "{accepted}\n{log}");
    assert!(outside.starts_with("HTTP/1.1 404 "), "{outside}");
    assert!(inside.starts_with("HTTP/1.1 200 "), "{inside}");
    assert!(ended.success() && kept, "{ended}: the socket is systemd's to remove");
}

#[test]
fn the_internal_port_has_what_is_not_external() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut config = open();
    config["http_server"] = json!({ "internal_port": port.to_string() });
    config["swagger"] = json!({ "enabled": true });
    let status = |address: SocketAddr, head: &str| {
        let mut client = Client::to(address);
        client.send(&format!("{head} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{{}}"));
        client.head()[9..12].to_owned()
    };
    let internal = SocketAddr::from(([127, 0, 0, 1], port));
    for external in [false, true] {
        config["http_api"] = json!({ "insecure": true, "external": external });
        let server = Server::start(&config);
        for (head, outside, inside) in [
            ("GET /connection/websocket", "400", "404"),
            ("GET /health", "404", "200"),
            ("GET /readyz", "404", "200"),
            ("GET /metrics", "404", "200"),
            ("GET /swagger", "404", "200"),
            ("POST /api/info", if external { "200" } else { "404" }, if external { "404" } else { "200" }),
        ] {
            assert_eq!(status(server.address, head), outside, "{head} outside, external: {external}");
            assert_eq!(status(internal, head), inside, "{head} inside, external: {external}");
        }
    }
}
