//! The end of a connection over a socket: seen at once, also where it arrives together with data.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails here")]

mod common;

use common::{Client, connect};
use spinward::answer::Answer;
use spinward::hooks::{ConnectEvent, ConnectReply, Decision, Hooks, RpcEvent};
use spinward::identity::Credentials;
use spinward::wire::Protocol;
use spinward::wire::code::DisconnectCode;
use spinward::wire::message::{Command, RPCRequest};
use spinward::wire::ws::{Opcode, append_masked_frame};
use spinward::{ClientFilter, Config, Node};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;

/// Lets everybody in as `ann`, and blocks the shard for a moment when asked to.
struct Blocking;

impl Hooks for Blocking {
    fn connect(&self, _: ConnectEvent) -> Decision<ConnectReply> {
        let credentials = Credentials { user: "ann".to_owned(), ..Credentials::default() };
        Answer::Now(Ok(ConnectReply { credentials, ..ConnectReply::default() }))
    }

    fn rpc(&self, _: &spinward::Client, _: RpcEvent) -> Decision<bytes::Bytes> {
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

/// Has the shard blocked by one client while `act` is done with another, so that all of it arrives at once.
async fn while_blocked(blocker: &mut Client<TcpStream>, act: impl Future<Output = ()>) {
    let rpc = RPCRequest { method: "block".to_owned(), data: "1".into() };
    blocker.send(&[Command { id: 2, rpc: Some(rpc), ..Command::default() }]).await;
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
