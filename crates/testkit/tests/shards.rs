//! Shards with a fault: the node says so, and an end has its deadline.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails here")]

#[path = "../../spinward/tests/common/mod.rs"]
#[allow(unreachable_pub, reason = "the library's tests use it as well")]
mod common;

use common::{Client, connect};
use spinward::answer::Answer;
use spinward::fault::{ShardFault, plant_in_shard};
use spinward::hooks::{ConnectEvent, ConnectReply, Decision, Handshake, Hooks};
use spinward::identity::Credentials;
use spinward::wire::Protocol;
use spinward::{Config, Node, ShardState};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadBuf};

/// One fault at a time: it strikes the shard of this process that has a turn.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

struct Open;

impl Hooks for Open {
    fn connect(&self, _: ConnectEvent) -> Decision<ConnectReply> {
        let credentials = Credentials { user: "ann".to_owned(), ..Credentials::default() };
        Answer::Now(Ok(ConnectReply { credentials, ..ConnectReply::default() }))
    }
}

fn node(shards: usize) -> Node {
    let config = Config { shards, unresponsive_after: Duration::from_secs(1), ..Config::default() };
    Node::builder(Open).config(config).build().unwrap()
}

fn handshake() -> Handshake {
    Handshake::default()
}

async fn join(node: &Node) -> Client<DuplexStream> {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    node.serve_stream(theirs, Protocol::Json, handshake());
    let mut client = Client::new(ours, Protocol::Json);
    client.send(&[connect(1)]).await;
    client.reply(1).await;
    client
}

/// The states of the shards once a condition holds.
async fn until(node: &Node, condition: impl Fn(&[ShardState]) -> bool) -> Vec<ShardState> {
    let mut states = Vec::new();
    for _ in 0..500 {
        states = node.health().shards.iter().map(|shard| shard.state).collect();
        if condition(&states) {
            return states;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{states:?}");
}

async fn status_of_an_upgrade(node: &Node) -> String {
    let app = axum::Router::new().route("/ws", axum::routing::any_service(node.websocket()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.unwrap();
    serving.abort();
    String::from_utf8_lossy(&head[9..]).into_owned()
}

#[tokio::test]
async fn a_shard_that_panics_is_told_of_and_its_connections_are_closed() {
    let _alone = ALONE.lock().await;
    let node = node(1);
    assert!(node.health().is_ready());
    assert_eq!(status_of_an_upgrade(&node).await, "101");
    let mut client = join(&node).await;
    plant_in_shard(ShardFault::Panic);
    tokio::time::timeout(Duration::from_secs(10), node.failed()).await.expect("the node says so");
    assert!(!node.health().is_ready());
    assert_eq!(until(&node, |states| states[0] == ShardState::Failed).await, [ShardState::Failed]);
    assert!(client.next().await.is_none());
    assert_eq!(status_of_an_upgrade(&node).await, "503");
    node.shutdown(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn a_shard_that_has_no_turn_is_unresponsive_and_does_not_hold_up_the_end() {
    let _alone = ALONE.lock().await;
    let node = node(2);
    until(&node, |states| *states == [ShardState::Responsive; 2]).await;
    plant_in_shard(ShardFault::Stall);
    let states = until(&node, |states| states.contains(&ShardState::Unresponsive)).await;
    assert_eq!(states.iter().filter(|state| **state == ShardState::Responsive).count(), 1, "{states:?}");
    assert!(node.loop_lag() >= Duration::from_secs(1));
    assert!(!node.health().is_ready());
    let ended =
        tokio::time::timeout(Duration::from_secs(10), node.shutdown(Duration::from_millis(300))).await;
    assert!(ended.is_ok(), "the deadline holds");
}

/// Connections that do not close by the deadline are dropped, and not kept for their two seconds.
#[tokio::test]
async fn the_connections_left_at_the_deadline_are_dropped() {
    let _alone = ALONE.lock().await;
    let node = node(1);
    // It is never read, so that its close frame is not answered.
    let client = join(&node).await;
    node.shutdown(Duration::from_millis(50)).await;
    until(&node, |states| states[0] == ShardState::Stopped).await;
    drop(client);
}

/// Panics when it is read.
struct Faulty;

impl tokio::io::AsyncRead for Faulty {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        panic!("a stream with a fault")
    }
}

impl tokio::io::AsyncWrite for Faulty {
    fn poll_write(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        std::task::Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn poll_shutdown(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_stream_that_panics_costs_its_connection() {
    let _alone = ALONE.lock().await;
    let node = node(1);
    let mut witness = join(&node).await;
    node.serve_stream(Faulty, Protocol::Json, handshake());
    for _ in 0..500 {
        if node.info().counters.task_accepted == 2 && node.info().counters.connections == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(node.info().counters.connections, 1, "it is let go of");
    assert!(node.health().is_ready());
    node.disconnect(
        "ann",
        &spinward::ClientFilter::default(),
        spinward::wire::code::DisconnectCode::FORCE_DISCONNECT,
    );
    assert!(witness.next().await.is_none());
    node.shutdown(Duration::from_secs(10)).await;
}
