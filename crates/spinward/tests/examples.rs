//! The examples, run as a reader would: started, and talked to over real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails here")]

mod common;

use common::{Client, connect, subscribe};
use spinward::wire::Protocol;
use spinward::wire::message::{Command, HistoryRequest, PresenceRequest, PublishRequest};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command as Process, Stdio};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

struct Running {
    process: Child,
    address: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts an example, which cargo has built beside this test.
fn start(name: &str) -> Running {
    let mut path = std::env::current_exe().expect("the test has a path");
    path.pop();
    path.pop();
    path.push("examples");
    path.push(name);
    let mut process = Process::new(&path)
        .arg("127.0.0.1:0")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{} does not start: {error}", path.display()));
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().rsplit(' ').next().unwrap().to_owned();
    Running { process, address }
}

async fn request(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(format!("{request}\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response
}

async fn open(address: &str) -> Client<TcpStream> {
    Client::new(TcpStream::connect(address).await.unwrap(), Protocol::Json)
}

#[tokio::test]
async fn a_cookie_logs_in() {
    let running = start("cookie_login");
    let refused = open(&running.address).await.upgrade("/connection/websocket", "").await;
    assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");
    let refused =
        open(&running.address).await.upgrade("/connection/websocket", "Cookie: session=guess\r\n").await;
    assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");

    let response = request(&running.address, "POST /login?user=ann HTTP/1.1\r\nContent-Length: 0").await;
    let cookie = response.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a cookie");
    let cookie = cookie.split(';').next().unwrap();
    let mut client = open(&running.address).await;
    let accepted = client.upgrade("/connection/websocket", &format!("Cookie: {cookie}\r\n")).await;
    assert!(accepted.starts_with("HTTP/1.1 101"), "{accepted}");
    let presence = PresenceRequest { channel: "room".to_owned() };
    client
        .send(&[
            connect(1),
            subscribe(2, "room"),
            Command { id: 3, presence: Some(presence), ..Command::default() },
        ])
        .await;
    let members = client.reply(3).await.presence.expect("presence").presence;
    let users: Vec<&str> = members.values().map(|info| info.user.as_str()).collect();
    assert_eq!(users, ["ann"]);

    let gauge = request(&running.address, &format!("GET /metrics HTTP/1.1\r\nCookie: {cookie}")).await;
    let mover = if cfg!(target_os = "linux") { "poller" } else { "task" };
    assert!(gauge.contains(&format!("connections{{mover=\"{mover}\"}} 1")), "{gauge}");
}

#[tokio::test]
async fn people_chat() {
    let running = start("chat");
    let (mut ann, mut bob) = (open(&running.address).await, open(&running.address).await);
    for (client, user) in [(&mut ann, "ann"), (&mut bob, "bob")] {
        client.upgrade(&format!("/ws?user={user}"), "").await;
        client.send(&[connect(1), subscribe(2, "room:main")]).await;
        assert!(client.reply(2).await.subscribe.is_some());
    }
    let publish = PublishRequest {
        channel: "room:main".to_owned(),
        data: "{\"text\":\"hi\"}".into(),
        ..Default::default()
    };
    ann.send(&[Command { id: 3, publish: Some(publish), ..Command::default() }]).await;
    let said = loop {
        if let Some(publication) = bob.push().await.publication {
            break publication;
        }
    };
    assert_eq!(said.data, "{\"text\":\"hi\"}");
    assert_eq!(said.info.expect("who said it").user, "ann");
    let history = HistoryRequest { channel: "room:main".to_owned(), limit: 10, ..Default::default() };
    bob.send(&[Command { id: 4, history: Some(history), ..Command::default() }]).await;
    assert_eq!(bob.reply(4).await.history.expect("history").publications.len(), 1);
    let elsewhere = subscribe(5, "elsewhere");
    bob.send(&[elsewhere]).await;
    assert_eq!(bob.reply(5).await.error.expect("refused").code, 102);
}
