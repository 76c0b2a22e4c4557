//! A process that may open few files.

use crate::server::{Client, Server, handshake, open};
use std::time::Duration;

#[test]
fn without_descriptors_the_limit_is_told_once_a_second_until_there_are_some() {
    let mut config = open();
    config["client"]["unauthenticated_connection_limit"] = 1_000.into();
    let server = Server::with_files(64, &config);
    let silent: Vec<Client> = (0..90).map(|_| server.connect()).collect();
    server.await_log("cannot accept connections");
    std::thread::sleep(Duration::from_millis(2_500));
    let log = server.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("cannot accept connections")).collect();
    assert!((2..=4).contains(&lines.len()), "{log}");
    assert!(lines[0].contains(r#""open_files_limit":64"#), "{}", lines[0]);
    drop(silent);
    let mut client = server.connect();
    client.send(&handshake(""));
    assert!(client.head().starts_with("HTTP/1.1 101 "));
    assert!(client.log_in().contains("connect"));
}

#[test]
fn a_start_without_descriptors_is_an_error() {
    for files in [10, 14, 17, 20, 23] {
        let Err(log) = Server::try_with_files(files, &open()) else { continue };
        assert!(!log.contains("panicked"), "{files}: {log}");
        assert!(log.contains("error: ") || log.contains("error while loading"), "{files}: {log}");
    }
}
