//! The end of a connection over a socket: seen at once, also where it arrives together with data.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails here")]

mod common;

use common::{Client, connect};
use spinward::answer::Answer;
use spinward::hooks::{ConnectEvent, ConnectReply, Decision, Handshake, Hooks, RpcEvent};
use spinward::identity::Credentials;
use spinward::wire::Protocol;
use spinward::wire::code::DisconnectCode;
use spinward::wire::message::{Command, RPCRequest};
use spinward::wire::ws::{Opcode, append_masked_frame};
use spinward::{ClientFilter, Config, Node};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Lets everybody in as `ann`. Blocks the shard for a moment when asked to; the method `never` is never answered.
struct Blocking;

/// Calls of the method `later`.
static LATER: AtomicU32 = AtomicU32::new(0);

impl Hooks for Blocking {
    fn connect(&self, _: ConnectEvent) -> Decision<ConnectReply> {
        let credentials = Credentials { user: "ann".to_owned(), ..Credentials::default() };
        Answer::Now(Ok(ConnectReply { credentials, ..ConnectReply::default() }))
    }

    fn rpc(&self, _: &spinward::Client, event: RpcEvent) -> Decision<bytes::Bytes> {
        if event.method == "never" {
            return Answer::later(std::future::pending());
        }
        if event.method == "later" {
            LATER.fetch_add(1, SeqCst);
            return Answer::later(async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Ok("1".into())
            });
        }
        std::thread::sleep(Duration::from_millis(150));
        Answer::Now(Ok("1".into()))
    }
}

async fn serve() -> (Node, SocketAddr) {
    let node = Node::builder(Blocking).config(Config { shards: 1, ..Config::default() }).build().unwrap();
    let app = axum::Router::new().route("/ws", axum::routing::any_service(node.websocket()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    (node, address)
}

/// A client that is logged in, and its id.
async fn join(address: SocketAddr) -> (Client<TcpStream>, String) {
    let mut client = Client::new(TcpStream::connect(address).await.unwrap(), Protocol::Json);
    client.upgrade("/ws", "").await;
    client.send(&[connect(1)]).await;
    let id = client.reply(1).await.connect.expect("logged in").client;
    (client, id)
}

fn rpc(method: &str) -> Command {
    let rpc = RPCRequest { method: method.to_owned(), data: "1".into() };
    Command { id: 2, rpc: Some(rpc), ..Command::default() }
}

/// Has the shard blocked by one client while `act` is done with another, so that all of it arrives at once.
async fn while_blocked(blocker: &mut Client<TcpStream>, act: impl Future<Output = ()>) {
    blocker.send(&[rpc("block")]).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    act.await;
    blocker.reply(2).await;
}

/// Waits until one connection is left: well within the two seconds of a closing one, and within a ping interval.
async fn only_the_blocker_is_left(node: &Node) {
    for _ in 0..70 {
        if node.info().counters.connections == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the end of the stream was not seen");
}

#[tokio::test]
async fn an_end_of_stream_that_arrives_with_data_is_seen() {
    let (node, address) = serve().await;
    let (mut blocker, _) = join(address).await;
    let mut frame = Vec::new();
    append_masked_frame(Opcode::Text, [1, 2, 3, 4], b"{}", &mut frame);
    // A whole message; and half of one, as a machine leaves behind that goes down.
    for bytes in [&frame[..], &frame[..3]] {
        let (mut client, _) = join(address).await;
        while_blocked(&mut blocker, async {
            client.raw(bytes).await;
            drop(client);
        })
        .await;
        only_the_blocker_is_left(&node).await;
    }
    node.shutdown(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn a_client_that_answers_the_close_frame_and_goes_is_released_at_once() {
    let (node, address) = serve().await;
    let (mut blocker, _) = join(address).await;
    let (mut client, id) = join(address).await;
    let filter = ClientFilter { client: Some(id), ..ClientFilter::default() };
    node.disconnect("ann", &filter, DisconnectCode::FORCE_DISCONNECT);
    assert!(client.next().await.is_none());
    assert_eq!(client.closed, Some(Some(3503)));
    let mut answer = Vec::new();
    append_masked_frame(Opcode::Close, [1, 2, 3, 4], &3503_u16.to_be_bytes(), &mut answer);
    while_blocked(&mut blocker, async {
        client.raw(&answer).await;
        drop(client);
    })
    .await;
    only_the_blocker_is_left(&node).await;
    node.shutdown(Duration::from_secs(10)).await;
}

fn close_frame() -> Vec<u8> {
    let mut frame = Vec::new();
    append_masked_frame(Opcode::Close, [1, 2, 3, 4], &1000_u16.to_be_bytes(), &mut frame);
    frame
}

#[tokio::test]
async fn a_client_that_goes_is_not_kept_for_an_answer_that_is_due() {
    let (node, address) = serve().await;
    let (_other, _) = join(address).await;
    let (mut client, _) = join(address).await;
    client.send(&[rpc("never")]).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(client);
    only_the_blocker_is_left(&node).await;
    node.shutdown(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn a_close_frame_is_answered_while_a_command_waits() {
    let (node, address) = serve().await;
    let (_other, _) = join(address).await;
    // By a socket, and by a stream that a task carries.
    for carried in [false, true] {
        for pause in [false, true] {
            let closed = if carried {
                let (ours, theirs) = tokio::io::duplex(1 << 16);
                node.serve_stream(theirs, Protocol::Json, Handshake::default());
                let mut client = Client::new(ours, Protocol::Json);
                client.send(&[connect(1)]).await;
                client.reply(1).await;
                close_while_waiting(client, pause).await
            } else {
                close_while_waiting(join(address).await.0, pause).await
            };
            assert_eq!(closed, Some(Some(1000)), "carried by a task: {carried}, a pause before: {pause}");
            only_the_blocker_is_left(&node).await;
        }
    }
    node.shutdown(Duration::from_secs(10)).await;
}

async fn close_while_waiting<S: AsyncRead + AsyncWrite + Unpin>(
    mut client: Client<S>,
    pause: bool,
) -> Option<Option<u16>> {
    client.send(&[rpc("never")]).await;
    if pause {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    client.raw(&close_frame()).await;
    assert!(client.next().await.is_none());
    client.closed
}

/// A client that closes behind its commands wants them handled. It hears no more of the last one.
#[tokio::test]
async fn commands_before_a_close_frame_are_handled() {
    let (node, address) = serve().await;
    let (mut client, _) = join(address).await;
    let mut frames = Vec::new();
    for id in [2, 3] {
        let mut text = Vec::new();
        spinward::wire::append_command(Protocol::Json, &Command { id, ..rpc("later") }, &mut text, true);
        append_masked_frame(Opcode::Text, [1, 2, 3, 4], &text, &mut frames);
    }
    frames.extend(close_frame());
    client.raw(&frames).await;
    client.reply(2).await;
    assert!(client.next().await.is_none());
    assert_eq!(client.closed, Some(Some(1000)));
    assert_eq!(LATER.load(SeqCst), 2, "both were asked");
    node.shutdown(Duration::from_secs(10)).await;
}
