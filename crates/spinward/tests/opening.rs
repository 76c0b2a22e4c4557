//! Connections over transports of the host's own.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails here")]

use http_body_util::BodyExt;
use spinward::answer::Answer;
use spinward::hooks::{
    ConnectEvent, ConnectReply, Decision, Handshake, Hooks, SubscribeEvent, SubscribeOptions,
};
use spinward::identity::{Credentials, Transport};
use spinward::transport::opening::NotAdmitted;
use spinward::wire::code::DisconnectCode;
use spinward::wire::framing::grpc_connect;
use spinward::wire::{Direction, Form, Protocol};
use spinward::{ClientFilter, Config, Node};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream};

/// Lets everybody in as the user that the token names, subscribed to `news` over gRPC.
struct Open;

impl Hooks for Open {
    fn connect(&self, event: ConnectEvent) -> Decision<ConnectReply> {
        let credentials = Credentials { user: event.token, ..Credentials::default() };
        let subscriptions = match event.transport {
            Transport::UniGrpc => vec![("news".to_owned(), SubscribeOptions::default())],
            _ => Vec::new(),
        };
        Answer::allow(ConnectReply { credentials, subscriptions, ..ConnectReply::default() })
    }

    fn subscribe(&self, _: &spinward::Client, _: SubscribeEvent) -> Decision<SubscribeOptions> {
        Answer::allow(SubscribeOptions::default())
    }
}

fn node(config: Config) -> Node {
    Node::builder(Open).config(Config { shards: 1, ..config }).build().unwrap()
}

async fn line(stream: &mut BufReader<DuplexStream>) -> String {
    let mut line = String::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_line(&mut line)).await;
    read.expect("it says nothing").unwrap();
    line
}

/// A connection over a stream, logged in as `ann`.
async fn ann(node: &Node, stream: DuplexStream, peer: DuplexStream) -> BufReader<DuplexStream> {
    let form = Form::delimited(Protocol::Json);
    node.open(Transport::WebTransport, form, Handshake::default()).unwrap().serve(stream);
    let mut peer = BufReader::new(peer);
    peer.write_all(b"{\"id\":1,\"connect\":{\"token\":\"ann\"}}\n").await.unwrap();
    assert!(line(&mut peer).await.starts_with("{\"id\":1,\"connect\":{\"client\":"));
    peer
}

#[tokio::test]
async fn a_stream_counts_under_the_name_of_its_transport() {
    let node = node(Config::default());
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let mut peer = ann(&node, theirs, ours).await;
    peer.write_all(b"{\"id\":2,\"subscribe\":{\"channel\":\"news\"}}\n").await.unwrap();
    assert_eq!(line(&mut peer).await, "{\"id\":2,\"subscribe\":{}}\n");
    node.publish("news", "1".into(), Default::default()).await.unwrap();
    assert_eq!(line(&mut peer).await, "{\"push\":{\"channel\":\"news\",\"pub\":{\"data\":1}}}\n");
    let counters = node.info().counters;
    let of = |transport| counters.by_transport.iter().find(|one| one.transport == transport).unwrap();
    assert_eq!(of(Transport::WebTransport).messages_received, 2);
    assert_eq!(of(Transport::Stream).messages_received, 0);
}

#[tokio::test]
async fn a_transport_learns_the_code_before_the_end_of_the_stream() {
    let node = node(Config::default());
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let form = Form::delimited(Protocol::Json);
    let mut opening = node.open(Transport::WebTransport, form, Handshake::default()).unwrap();
    let code = opening.close_code();
    opening.serve(theirs);
    let mut peer = BufReader::new(ours);
    peer.write_all(b"{\"id\":1,\"connect\":{\"token\":\"ann\"}}\n").await.unwrap();
    line(&mut peer).await;
    assert_eq!(code.get(), None);
    node.disconnect("ann", &ClientFilter::default(), DisconnectCode::FORCE_DISCONNECT);
    assert_eq!(
        line(&mut peer).await,
        "{\"push\":{\"disconnect\":{\"code\":3503,\"reason\":\"force disconnect\"}}}\n"
    );
    assert_eq!(code.get(), Some(&DisconnectCode::FORCE_DISCONNECT));
    assert_eq!(peer.read(&mut [0]).await.unwrap(), 0, "the stream ends");

    // A client that goes by itself is told nothing.
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let mut opening = node.open(Transport::WebTransport, form, Handshake::default()).unwrap();
    let code = opening.close_code();
    opening.serve(theirs);
    drop(ours);
    tokio::time::timeout(Duration::from_secs(10), async {
        while node.info().counters.connections > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("it stays");
    assert_eq!(code.get(), None);
}

#[tokio::test]
async fn a_stream_has_a_message_limit_of_its_own() {
    let node = node(Config { stream_message_size_limit: 100, ..Config::default() });
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let mut peer = ann(&node, theirs, ours).await;
    peer.write_all("x".repeat(101).as_bytes()).await.unwrap();
    assert!(line(&mut peer).await.contains("{\"disconnect\":{\"code\":3501,"));
}

#[tokio::test]
async fn an_output_is_pulled_in_whole_messages_of_grpc() {
    let node = node(Config::default());
    let form = Form::grpc(Direction::Unidirectional);
    let first = grpc_connect(b"\x0a\x03ann").unwrap();
    let mut output = node.open(Transport::UniGrpc, form, Handshake::default()).unwrap().body(first.into());
    let mut next = async || {
        let frame = tokio::time::timeout(Duration::from_secs(10), output.frame()).await;
        frame.expect("it says nothing").map(|frame| frame.unwrap().into_data().unwrap())
    };
    let connect = next().await.unwrap();
    assert_eq!(connect[..3], [0, 0, 0]);
    assert_eq!(u32::from_be_bytes(connect[1..5].try_into().unwrap()) as usize, connect.len() - 5);
    assert_eq!(connect[5], 10 << 3 | 2, "a connect push");
    node.publish("news", "1".into(), Default::default()).await.unwrap();
    assert_eq!(next().await.unwrap()[..], *b"\0\0\0\0\x0B\x12\x04news\x22\x03\x22\x011");
    node.disconnect("ann", &ClientFilter::default(), DisconnectCode::FORCE_DISCONNECT);
    assert_eq!(next().await.unwrap()[..], *b"\0\0\0\0\x17\x5A\x15\x08\xAF\x1B\x12\x10force disconnect");
    assert_eq!(next().await, None, "it ends in order");
}

#[tokio::test]
async fn what_is_opened_counts_until_it_is_dropped() {
    let node = node(Config { connection_limit: 1, ..Config::default() });
    let open = || node.open(Transport::Stream, Form::delimited(Protocol::Json), Handshake::default());
    let first = open().unwrap();
    assert_eq!(open().err(), Some(NotAdmitted::Connections));
    drop(first);
    assert!(open().is_ok());
}
