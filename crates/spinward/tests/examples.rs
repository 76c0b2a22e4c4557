//! The examples, run as a reader would: started, and talked to over real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails here")]

mod common;

use common::{Client, connect, subscribe};
use spinward::wire::Protocol;
use spinward::wire::message::{
    Command, ConnectRequest, HistoryRequest, PresenceRequest, PublishRequest, RPCRequest, RefreshRequest,
};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command as Process, Stdio};
use std::time::Duration;
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

/// Peers are told by their address, and an interrupt drains the node before it ends.
#[cfg(unix)]
#[tokio::test]
async fn an_application_is_drained() {
    let mut running = start("operated");
    let mut client = at(&running.address, "/ws", "").await;
    client.send(&[connect(1), subscribe(2, "room")]).await;
    assert!(client.reply(2).await.subscribe.is_some());
    assert!(request(&running.address, "GET /ready HTTP/1.1").await.starts_with("HTTP/1.1 200"));

    let pid = running.process.id().to_string();
    assert!(Process::new("kill").args(["-INT", &pid]).status().unwrap().success());
    // Within the notice the server answers, and is not ready.
    let unready = async {
        while !request(&running.address, "GET /ready HTTP/1.1").await.starts_with("HTTP/1.1 503") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_millis(900), unready).await.expect("still ready");
    while client.next().await.is_some() {}
    assert_eq!(client.closed, Some(Some(3001)));
    assert!(running.process.wait().unwrap().success());
}

/// The body of a response.
fn body(response: &str) -> &str {
    response.split_once("\r\n\r\n").expect("a response has a body").1
}

/// A client on a connection that is upgraded.
async fn at(address: &str, path: &str, headers: &str) -> Client<TcpStream> {
    let mut client = open(address).await;
    let accepted = client.upgrade(path, headers).await;
    assert!(accepted.starts_with("HTTP/1.1 101"), "{accepted}");
    client
}

#[tokio::test]
async fn a_token_logs_in() {
    let running = start("jwt_login");
    let response = request(&running.address, "POST /token?user=ann HTTP/1.1\r\nContent-Length: 0").await;
    let token = body(&response).to_owned();
    let login = |token: &str| {
        let connect = ConnectRequest { token: token.to_owned(), ..ConnectRequest::default() };
        Command { id: 1, connect: Some(connect), ..Command::default() }
    };

    let mut ann = at(&running.address, "/connection/websocket", "").await;
    ann.send(&[login(&token), subscribe(2, "user:ann"), subscribe(3, "user:bob")]).await;
    let connected = ann.reply(1).await.connect.expect("logged in");
    assert!(connected.expires && (50..=60).contains(&connected.ttl), "{}", connected.ttl);
    assert!(ann.reply(2).await.subscribe.is_some());
    assert_eq!(ann.reply(3).await.error.expect("refused").code, 103);
    let refresh = RefreshRequest { token: token.clone() };
    ann.send(&[Command { id: 4, refresh: Some(refresh), ..Command::default() }]).await;
    assert!(ann.reply(4).await.refresh.expect("refreshed").expires);

    let mut forged = at(&running.address, "/connection/websocket", "").await;
    forged.send(&[login(&token[..token.len() - 2])]).await;
    assert!(forged.next().await.is_none());
    assert_eq!(forged.closed, Some(Some(3500)));
}

#[tokio::test]
async fn players_move_and_are_listed() {
    let running = start("rpc_presence");
    let mut players = Vec::new();
    for name in ["ann", "bob"] {
        let mut player = at(&running.address, "/connection/websocket", "").await;
        let connect = ConnectRequest { name: name.to_owned(), ..ConnectRequest::default() };
        player
            .send(&[Command { id: 1, connect: Some(connect), ..Command::default() }, subscribe(2, "board")])
            .await;
        assert!(player.reply(2).await.subscribe.is_some());
        players.push(player);
    }
    let call = |id, method: &str, data: &'static str| {
        let rpc = RPCRequest { method: method.to_owned(), data: data.into() };
        Command { id, rpc: Some(rpc), ..Command::default() }
    };
    players[0]
        .send(&[
            call(3, "move", r#"{"x":3,"y":4}"#),
            call(4, "move", r#"{"x":8,"y":0}"#),
            call(5, "jump", "{}"),
        ])
        .await;
    let moved = r#"{"player":"ann","x":3,"y":4}"#;
    assert_eq!(players[0].reply(3).await.rpc.expect("moved").data, moved);
    assert_eq!(players[0].reply(4).await.error.expect("outside").code, 1001);
    assert_eq!(players[0].reply(5).await.error.expect("unknown").code, 104);
    assert_eq!(players[1].push().await.publication.expect("told").data, moved);

    let listed = request(&running.address, "GET /players HTTP/1.1").await;
    for name in ["ann", "bob"] {
        assert!(body(&listed).contains(&format!("\"user\":\"{name}\"")), "{listed}");
    }
}

#[tokio::test]
async fn services_have_layers_of_their_own() {
    let running = start("tower_services");
    let refused = open(&running.address).await.upgrade("/staff", "").await;
    assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");
    let mut staff = at(&running.address, "/staff", "x-staff-key: for the staff alone\r\n").await;
    staff.send(&[connect(1), subscribe(2, "news")]).await;
    assert!(staff.reply(2).await.subscribe.is_some());

    let mut readers = Vec::new();
    for _ in 0..2 {
        let mut reader = at(&running.address, "/public", "").await;
        reader.send(&[connect(1), subscribe(2, "news"), subscribe(3, "plans")]).await;
        assert!(reader.reply(2).await.subscribe.is_some());
        assert_eq!(reader.reply(3).await.error.expect("refused").code, 103);
        readers.push(reader);
    }
    // The address of the peer is that of axum's connect info: the third connection of it is one too many.
    let mut third = at(&running.address, "/public", "").await;
    third.send(&[connect(1)]).await;
    assert!(third.next().await.is_none());
    assert_eq!(third.closed, Some(Some(4501)));

    let publish = PublishRequest { channel: "news".to_owned(), data: "1".into(), ..Default::default() };
    staff.send(&[Command { id: 3, publish: Some(publish), ..Command::default() }]).await;
    for client in readers.iter_mut().chain([&mut staff]) {
        assert_eq!(client.push().await.publication.expect("news").data, "1");
    }
}

/// Reads a response up to a piece of text.
async fn until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    let reading = async {
        while !text.ends_with(end.as_bytes()) {
            text.push(stream.read_u8().await.unwrap());
        }
    };
    let read = tokio::time::timeout(Duration::from_secs(10), reading).await;
    let text = String::from_utf8(text).unwrap();
    assert!(read.is_ok(), "no {end:?} in {text}");
    text
}

async fn ask(address: &str, path: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn one_application_has_every_transport() {
    let running = start("transports");
    let mut socket = at(&running.address, "/connection/websocket", "").await;
    socket.send(&[connect(1), subscribe(2, "news")]).await;
    assert!(socket.reply(2).await.subscribe.is_some());
    let commands = "{\"id\":1,\"connect\":{}}\n{\"id\":2,\"subscribe\":{\"channel\":\"news\"}}";
    let mut streams = Vec::new();
    for (path, body, ready) in [
        ("/connection/http_stream", commands, "\"id\":2,\"subscribe\":{}}"),
        ("/connection/sse", commands, "\"id\":2,\"subscribe\":{}}"),
        ("/listen", "{\"subs\":{\"news\":{}}}", "\"subs\":{\"news\":{}}"),
        ("/events", "{\"subs\":{\"news\":{}}}", "\"subs\":{\"news\":{}}"),
    ] {
        let mut stream = ask(&running.address, path, body).await;
        let begun = until(&mut stream, ready).await;
        assert!(begun.starts_with("HTTP/1.1 200 OK"), "{path}: {begun}");
        streams.push((path, begun, stream));
    }
    // A message of the first one comes by a request of its own.
    let of = |name: &str| {
        let (_, rest) = streams[0].1.split_once(&format!("\"{name}\":\"")).expect("in the reply");
        rest.split_once('"').unwrap().0.to_owned()
    };
    let body = format!(
        "{{\"node\":\"{}\",\"session\":\"{}\",\"data\":\"{{\\\"id\\\":3,\\\"unsubscribe\\\":{{\\\"channel\\\":\\\"other\\\"}}}}\"}}",
        of("node"),
        of("session")
    );
    let mut answer = ask(&running.address, "/emulation", &body).await;
    assert!(until(&mut answer, "\r\n\r\n").await.starts_with("HTTP/1.1 204 "));
    until(&mut streams[0].2, "\"id\":3,\"unsubscribe\":{}}").await;

    let mut published = ask(&running.address, "/publish", "\"hello\"").await;
    assert!(until(&mut published, "\r\n\r\n").await.starts_with("HTTP/1.1 204 "));
    assert_eq!(socket.push().await.publication.expect("news").data, "\"hello\"");
    for (path, _, stream) in &mut streams {
        let push = until(stream, "\"hello\"").await;
        assert!(push.contains("\"channel\":\"news\""), "{path}: {push}");
    }
}
