//! Caps of connections and the state of overload.

use crate::server::{Client, Server, handshake, open};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};

fn with(client: Value) -> Value {
    let mut config = open();
    let given = config["client"].as_object_mut().unwrap();
    given.extend(client.as_object().unwrap().clone());
    config
}

/// Sends a handshake, with further lines, and answers the connection and the head of the response.
fn upgrade(server: &Server, lines: &str) -> (Client, String) {
    let mut client = server.connect();
    client.send(&handshake(lines));
    let head = client.head();
    (client, head)
}

fn accepted(server: &Server, lines: &str) -> Client {
    let (client, head) = upgrade(server, lines);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    client
}

/// Is refused for an option, which log and metric name, and is told when to come back.
fn refused(server: &Server, lines: &str, status: u16, option: &str) {
    let metric = format!("spinward_connections_refused_total{{option=\"{option}\"}}");
    let (_client, head) = upgrade(server, lines);
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
    assert!(head.contains("\r\nRetry-After: ") && head.contains("\r\nConnection: close"), "{head}");
    server.await_log(&format!(r#""message":"connections are refused","option":"{option}""#));
    // Metrics by another way in than the refused one.
    if option.starts_with("client.ip_") {
        return;
    }
    assert!(server.metric(&metric) > 0);
}

/// Tries until it is accepted: what has ended is noticed in its time.
fn accepted_in_time(server: &Server, lines: &str) -> Client {
    for _ in 0..500 {
        let (client, head) = upgrade(server, lines);
        if head.starts_with("HTTP/1.1 101 ") {
            return client;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("not accepted in ten seconds");
}

#[test]
fn connections_of_an_address_are_capped_for_as_long_as_they_last() {
    let server = Server::start(&with(json!({ "ip_connection_limit": 2 })));
    let (mut first, mut second) = (accepted(&server, ""), accepted(&server, ""));
    assert!(first.log_in().contains("connect") && second.log_in().contains("connect"));
    refused(&server, "", 429, "client.ip_connection_limit");
    // Not to be evaded by a header that anybody can send.
    refused(&server, "X-Forwarded-For: 192.0.2.1\r\n", 429, "client.ip_connection_limit");
    // Once a second, of which one may have begun between the two.
    assert!(server.log().matches("connections are refused").count() <= 2);
    drop(second);
    let mut third = accepted_in_time(&server, "");
    assert!(third.log_in().contains("connect"));
}

#[test]
fn behind_a_trusted_proxy_the_clients_address_counts() {
    let mut config = with(json!({ "ip_connection_limit": 1 }));
    config["http_server"] = json!({ "trusted_proxies": ["127.0.0.0/8"] });
    let server = Server::start(&config);
    let mut first = accepted(&server, "X-Forwarded-For: 192.0.2.1\r\n");
    assert!(first.log_in().contains("connect"));
    let _second = accepted(&server, "X-Forwarded-For: 192.0.2.2\r\n");
    refused(&server, "X-Forwarded-For: 192.0.2.9, 192.0.2.1\r\n", 429, "client.ip_connection_limit");
    assert_eq!(server.metric("spinward_connections_refused_total{option=\"client.ip_connection_limit\"}"), 1);
}

#[test]
fn the_rate_of_an_address_is_capped() {
    let server = Server::start(&with(json!({ "ip_connection_rate_limit": 3 })));
    let heads: Vec<String> = (0..30).map(|_| upgrade(&server, "").1).collect();
    let accepted = heads.iter().filter(|head| head.starts_with("HTTP/1.1 101 ")).count();
    // More than a second may have passed.
    assert!((3..20).contains(&accepted), "{accepted}");
    assert!(
        heads.iter().any(|head| head.starts_with("HTTP/1.1 429 ") && head.contains("Retry-After: 1\r\n"))
    );
}

#[test]
fn those_who_do_not_log_in_are_capped_until_they_do_or_go() {
    let server = Server::start(&with(json!({ "ip_unauthenticated_connection_limit": 2 })));
    let (mut first, second) = (accepted(&server, ""), accepted(&server, ""));
    refused(&server, "", 429, "client.ip_unauthenticated_connection_limit");
    assert!(first.log_in().contains("connect"));
    let third = accepted_in_time(&server, "");
    refused(&server, "", 429, "client.ip_unauthenticated_connection_limit");
    drop((second, third));
    accepted_in_time(&server, "");
}

#[test]
fn a_connection_that_says_nothing_counts_as_not_logged_in() {
    let server = Server::start(&with(json!({ "unauthenticated_connection_limit": 3 })));
    let mut silent: Vec<Client> = (0..3).map(|_| server.connect()).collect();
    let mut late = server.connect();
    late.send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(late.head().starts_with("HTTP/1.1 503 "));
    // One that asks for something is not a client that has yet to log in.
    silent[0].send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(silent[0].head().starts_with("HTTP/1.1 200 "));
    let client = accepted_in_time(&server, "");
    drop(silent);
    drop(client);
    accepted_in_time(&server, "");
    refused_at_node_limit();
}

fn refused_at_node_limit() {
    let server = Server::start(&with(json!({ "connection_limit": 1 })));
    let _first = accepted(&server, "");
    refused(&server, "", 503, "client.connection_limit");
}

#[test]
fn a_refused_login_still_counts_until_its_connection_ends() {
    let config = json!({ "client": {
        "token": { "hmac_secret_key": "keep-this-long-and-random-5f2c9a71e0b84d36" },
        "ip_unauthenticated_connection_limit": 1,
    } });
    let server = Server::start(&config);
    let mut first = accepted(&server, "");
    // A token that has expired: an error, and the connection goes on for a while.
    let expired = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiIsImV4cCI6MX0.";
    first.send_message(&format!(r#"{{"id":1,"connect":{{"token":"{expired}"}}}}"#));
    let reply = first.message();
    if !reply.starts_with("closed") {
        refused(&server, "", 429, "client.ip_unauthenticated_connection_limit");
    }
    drop(first);
    accepted_in_time(&server, "");
}

#[cfg(target_os = "linux")]
#[test]
fn an_overloaded_node_takes_no_clients_and_says_so() {
    let server = Server::start(&with(json!({ "overload": { "memory_limit": 1 } })));
    server.await_log("overloaded: no new clients are taken");
    refused(&server, "", 503, "client.overload.memory_limit");
    assert_eq!(server.metric("spinward_overloaded{reason=\"memory\"}"), 1);
    assert_eq!(server.metric("spinward_overloaded{reason=\"loop_lag\"}"), 0);
    assert!(server.ask("GET /health HTTP/1.1\r\nHost: localhost").starts_with("HTTP/1.1 200 "));
    let not = Server::start(&open());
    std::thread::sleep(std::time::Duration::from_millis(1_200));
    assert_eq!(not.metric("spinward_overloaded{reason=\"memory\"}"), 0);
    accepted(&not, "");
}

/// A client that sends commands as fast as they are answered, in frames of a thousand.
fn flood(mut client: Client, over: &AtomicBool) {
    let mut replies = client.0.try_clone().unwrap();
    let body = [r#"{"id":2,"presence":{"channel":"a"}}"#; 1_000].join("\n");
    let mut frame = vec![0x81, 0xfe];
    frame.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(body.bytes());
    std::thread::scope(|scope| {
        scope.spawn(move || while replies.read(&mut [0; 1 << 16]).is_ok_and(|count| count > 0) {});
        while !over.load(Ordering::Relaxed) && client.0.write_all(&frame).is_ok() {}
        let _ = client.0.shutdown(std::net::Shutdown::Both);
    });
}

#[test]
fn a_node_whose_shards_lag_takes_no_clients() {
    // Parts of a turn have milliseconds each.
    let server = Server::start(&with(json!({ "overload": { "loop_lag_limit": "1ms" } })));
    let mut clients: Vec<Client> = (0..8).map(|_| accepted_in_time(&server, "")).collect();
    assert!(clients.iter_mut().all(|client| client.log_in().contains("connect")));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for client in clients {
            let over = &over;
            scope.spawn(move || flood(client, over));
        }
        let refused = (0..1_000).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(20));
            upgrade(&server, "").1.starts_with("HTTP/1.1 503 ")
        });
        over.store(true, Ordering::Relaxed);
        assert!(refused, "{}", server.log());
    });
    let log = server.await_log("overloaded: no new clients are taken");
    assert!(log.contains("client.overload.loop_lag_limit"), "{log}");
    accepted_in_time(&server, "");
}
