//! Clients that ask for more than they have read, over sockets and over streams: they wait, and lose nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails here")]

mod common;

use common::{Client, connect};
use spinward::answer::Answer;
use spinward::hooks::{ConnectEvent, ConnectReply, Decision, Handshake, Hooks, RpcEvent};
use spinward::identity::Credentials;
use spinward::wire::Protocol;
use spinward::wire::message::{Command, RPCRequest};
use spinward::wire::ws::{Opcode, append_masked_frame};
use spinward::{Config, Node};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

const COMMANDS: u32 = 3_000;
const REPLY: usize = 4_000;

/// Answers every call with 4 KB, every seventh of them later.
struct Generous;

impl Hooks for Generous {
    fn connect(&self, _: ConnectEvent) -> Decision<ConnectReply> {
        let credentials = Credentials { user: "ann".to_owned(), ..Credentials::default() };
        Answer::Now(Ok(ConnectReply { credentials, ..ConnectReply::default() }))
    }

    fn rpc(&self, _: &spinward::Client, call: RpcEvent) -> Decision<bytes::Bytes> {
        let reply = Ok(format!("\"{}\"", "x".repeat(REPLY)).into());
        if call.method == "none" {
            return Answer::Now(Ok("1".into()));
        }
        if call.method == "later" { Answer::later(async move { reply }) } else { Answer::Now(reply) }
    }
}

fn node() -> Node {
    let config = Config { shards: 1, queue_max_size: 64 << 10, ..Config::default() };
    Node::builder(Generous).config(config).build().unwrap()
}

async fn serve(node: &Node) -> SocketAddr {
    let app = axum::Router::new().route("/ws", axum::routing::any_service(node.websocket()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

fn call(id: u32) -> Command {
    let method = if id.is_multiple_of(7) { "later" } else { "now" };
    let rpc = RPCRequest { method: method.to_owned(), data: "1".into() };
    Command { id, rpc: Some(rpc), ..Command::default() }
}

/// Logs in, asks for 12 MB without reading any of it, and then reads.
async fn ask_much<S: AsyncRead + AsyncWrite + Unpin>(client: &mut Client<S>) {
    client.send(&[connect(1)]).await;
    let commands: Vec<Command> = (2..COMMANDS + 2).map(call).collect();
    for message in commands.chunks(500) {
        client.send(message).await;
    }
    assert!(client.reply(1).await.connect.is_some());
    for id in 2..COMMANDS + 2 {
        let reply = client.next().await.expect("it is not closed");
        assert_eq!(reply.id, id);
        assert_eq!(reply.rpc.expect("an answer").data.len(), REPLY + 2);
    }
}

#[tokio::test]
async fn a_client_that_asks_before_it_reads_gets_every_reply() {
    let node = node();
    let address = serve(&node).await;
    let mut socket = Client::new(TcpStream::connect(address).await.unwrap(), Protocol::Json);
    socket.upgrade("/ws", "").await;
    ask_much(&mut socket).await;

    let (ours, theirs) = tokio::io::duplex(1 << 20);
    node.serve_stream(theirs, Protocol::Protobuf, Handshake::default());
    ask_much(&mut Client::new(ours, Protocol::Protobuf)).await;
}

#[tokio::test]
async fn a_socket_that_fails_while_it_is_not_read_is_noticed() {
    let node = node();
    let address = serve(&node).await;
    let mut client = Client::new(TcpStream::connect(address).await.unwrap(), Protocol::Json);
    client.upgrade("/ws", "").await;
    client.send(&[connect(1)]).await;
    let commands: Vec<Command> = (2..COMMANDS + 2).map(call).collect();
    for message in commands.chunks(500) {
        client.send(message).await;
    }
    // Until the server has filled what the kernel holds, and stopped.
    let mut sent = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = node.info().counters.bytes_sent;
        if now > 0 && now == sent {
            break;
        }
        sent = now;
    }
    assert!(sent < u64::from(COMMANDS) * REPLY as u64, "it has stopped before the end");
    assert_eq!(node.info().counters.connections, 1);
    // What it has not read makes of its close a reset.
    drop(client);
    for _ in 0..100 {
        if node.info().counters.connections == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the connection is still there");
}

/// Writes frames of commands without an end, and drops what comes back.
async fn flood(address: SocketAddr) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let padding = "x".repeat(900);
    let line = format!("{{\"id\":2,\"rpc\":{{\"method\":\"none\",\"data\":\"{padding}\"}}}}");
    let mut frames = Vec::new();
    append_masked_frame(Opcode::Text, [1, 2, 3, 4], br#"{"id":1,"connect":{}}"#, &mut frames);
    stream.write_all(&frames).await.unwrap();
    frames.clear();
    for _ in 0..8 {
        append_masked_frame(
            Opcode::Text,
            [1, 2, 3, 4],
            vec![&line[..]; 60].join("\n").as_bytes(),
            &mut frames,
        );
    }
    let (mut reader, mut writer) = stream.into_split();
    let writing = async { while writer.write_all(&frames).await.is_ok() {} };
    let reading = async {
        let mut bytes = vec![0; 64 << 10];
        while reader.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
    };
    tokio::join!(writing, reading);
}

/// The shard has something to do for clients that are never done, and is never idle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_is_answered_while_others_flood() {
    let node = node();
    let address = serve(&node).await;
    let mut client = Client::new(TcpStream::connect(address).await.unwrap(), Protocol::Json);
    client.upgrade("/ws", "").await;
    client.send(&[connect(1)]).await;
    client.reply(1).await;
    let flooders: Vec<_> = (0..4).map(|_| tokio::spawn(flood(address))).collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    // Each reply within five seconds, or the test fails.
    for id in 2..22 {
        client.send(&[call(id)]).await;
        client.reply(id).await;
    }
    for flooder in flooders {
        assert!(!flooder.is_finished(), "it was flooding all the time");
        flooder.abort();
    }
}
