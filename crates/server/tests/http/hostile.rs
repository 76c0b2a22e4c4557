//! Connections that take and give nothing.

use crate::server::{Client, Server, handshake, open};
use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

/// Waits until so many of the connections are left, and answers how many are.
fn left_after(clients: &mut Vec<Client>, patience: Duration) -> usize {
    let mut scratch = [0; 1 << 16];
    let step = Duration::from_millis(200);
    for _ in 0..patience.as_millis() / step.as_millis() {
        clients.retain_mut(|client| {
            // A peer that never reads notices the end when it writes.
            match client.0.write_all(b"x") {
                Ok(()) => true,
                Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
            }
        });
        if clients.is_empty() {
            break;
        }
        std::thread::sleep(step);
    }
    for client in clients.iter_mut() {
        let _ = client.0.read(&mut scratch);
    }
    clients.len()
}

#[test]
fn a_thousand_that_pipeline_and_never_read_are_closed() {
    let server = Server::start(&open());
    let requests = "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n".repeat(500);
    let mut clients: Vec<Client> = (0..1_000)
        .map(|_| {
            let client = server.connect();
            client.0.set_nonblocking(true).unwrap();
            client
        })
        .collect();
    // Until the system takes no more from any of them.
    let mut busy = true;
    while busy {
        busy = false;
        for client in &mut clients {
            busy |= client.0.write(requests.as_bytes()).is_ok_and(|written| written > 0);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(left_after(&mut clients, Duration::from_secs(60)), 0);
    assert!(server.ask("GET /health HTTP/1.1\r\nHost: x").starts_with("HTTP/1.1 200 "));
}

#[cfg(target_os = "linux")]
#[test]
fn heads_that_never_end_cost_32_kib_each_and_not_for_long() {
    let server = Server::start(&open());
    let before = server.resident();
    let head =
        format!("GET /connection/websocket HTTP/1.1\r\nUpgrade: websocket\r\nX: {}", "x".repeat(31_000));
    let long = format!("POST / HTTP/1.1\r\nX: {}", "x".repeat(380_000));
    let mut clients = Vec::new();
    for text in [&head, &long] {
        for _ in 0..300 {
            let client = server.connect();
            client.0.set_nonblocking(true).unwrap();
            // It may be refused before it is all sent.
            let _ = (&client.0).write_all(text.as_bytes());
            clients.push(client);
        }
    }
    std::thread::sleep(Duration::from_secs(1));
    let grown = server.resident().saturating_sub(before);
    assert!(grown < 600 * (64 << 10), "{grown} bytes");
    assert_eq!(left_after(&mut clients, Duration::from_secs(40)), 0);
}

#[cfg(target_os = "linux")]
#[test]
fn headers_of_handshakes_are_not_kept_until_the_login() {
    let server = Server::start(&open());
    let request = handshake(&format!("X: {}\r\nY: {}\r\n", "x".repeat(15_000), "y".repeat(15_000)));
    let open = |count| {
        (0..count)
            .map(|_| {
                let mut client = server.connect();
                client.send(&request);
                assert!(client.head().starts_with("HTTP/1.1 101 "));
                client
            })
            .collect::<Vec<_>>()
    };
    let _warm = open(100);
    let before = server.resident();
    let _clients = open(500);
    let grown = server.resident().saturating_sub(before);
    assert!(grown < 500 * (10 << 10), "{grown} bytes for 500 connections");
}

#[test]
fn a_burst_of_connections_does_not_wait_for_the_backlog() {
    let server = Server::start(&open());
    let clients: Vec<_> = (0..400)
        .map(|_| {
            let address = server.address;
            std::thread::spawn(move || {
                let mut client = Client::to(address);
                client.send(&handshake(""));
                client.head()
            })
        })
        .collect();
    for client in clients {
        assert!(client.join().unwrap().starts_with("HTTP/1.1 101 "));
    }
}
