//! Connections with permessage-deflate: both directions, in any pieces, and what a peer must not send.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails here")]

mod common;

use common::{Client, connect, subscribe};
use spinward::answer::Answer;
use spinward::config::Compression;
use spinward::engine::broker::PublishOptions;
use spinward::hooks::{
    ConnectEvent, ConnectReply, Decision, Handshake, Hooks, PublishEvent, PublishReply, SubscribeEvent,
    SubscribeOptions,
};
use spinward::wire::message::{Command, PublishRequest};
use spinward::wire::ws::{
    self, Deflater, Event, Inflater, Opcode, Window, append_masked_deflated, append_masked_frame,
};
use spinward::wire::{Dialect, Direction, Form, Protocol, append_command};
use spinward::{Config, Node};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// Lets everybody in, and publishes what they say.
struct Open;

impl Hooks for Open {
    fn connect(&self, asked: ConnectEvent) -> Decision<ConnectReply> {
        let channels = (!asked.token.is_empty()).then(|| (asked.token.clone(), SubscribeOptions::default()));
        let subscriptions = channels.into_iter().collect();
        Answer::Now(Ok(ConnectReply { subscriptions, ..ConnectReply::default() }))
    }

    fn subscribe(&self, _: &spinward::Client, _: SubscribeEvent) -> Decision<SubscribeOptions> {
        Answer::Now(Ok(SubscribeOptions::default()))
    }

    fn publish(&self, _: &spinward::Client, event: PublishEvent) -> Decision<PublishReply> {
        Answer::Now(Ok(PublishReply::new(event.data)))
    }
}

fn node(compression: Compression) -> Node {
    let config = Config { shards: 1, compression, uni_compression: compression, ..Config::default() };
    Node::builder(Open).config(config).build().unwrap()
}

fn open(node: &Node, dialect: impl Into<Dialect>, window: Window) -> Client<DuplexStream> {
    let dialect = dialect.into();
    let (stream, theirs) = tokio::io::duplex(1 << 20);
    node.serve_stream(theirs, Form::deflate(dialect, window), Handshake::default());
    Client::new(stream, dialect.encoding()).with_deflate()
}

fn publish(id: u32, channel: &str, data: String) -> Command {
    let request =
        PublishRequest { channel: channel.to_owned(), data: data.into(), ..PublishRequest::default() };
    Command { id, publish: Some(request), ..Command::default() }
}

/// Data that is longer than a window.
fn data(len: usize) -> String {
    format!(
        "\"{}\"",
        (0..len / 8).map(|at| format!("{:07x} ", at * 2_654_435_761 % 0xFFF_FFFF)).collect::<String>()
    )
}

#[tokio::test]
async fn messages_are_compressed_both_ways_in_every_form() {
    let node = node(Compression::default());
    let mut clients = Vec::new();
    for protocol in [Protocol::Json, Protocol::Protobuf] {
        for window in [Window::Full, Window::Medium, Window::Small] {
            let mut client = open(&node, protocol, window);
            client.send(&[connect(1), subscribe(2, "news")]).await;
            client.reply(2).await;
            clients.push(client);
        }
    }
    for len in [8, 200, 5_000, 60_000] {
        let sent = data(len);
        clients[0].send(&[publish(3, "news", sent.clone())]).await;
        for client in &mut clients {
            let push = client.push().await;
            assert_eq!(push.publication.unwrap().data, sent);
        }
    }
    assert!(clients.iter().all(|client| client.compressed >= 5), "replies and pushes");
    assert_eq!(node.info().counters.encodings, 8, "once for each encoding");
}

#[tokio::test]
async fn small_messages_are_left_as_they_are() {
    let node = node(Compression { min_size: 500, ..Compression::default() });
    let mut client = open(&node, Protocol::Json, Window::Full);
    client.send(&[connect(1), subscribe(2, "news"), publish(3, "news", data(200))]).await;
    client.push().await;
    assert_eq!(client.compressed, 0);
    client.send(&[publish(4, "news", data(1_000))]).await;
    client.push().await;
    assert_eq!(client.compressed, 1);
}

#[tokio::test]
async fn in_one_direction_each_push_is_compressed_for_itself() {
    let node = node(Compression::default());
    let dialect = Dialect::new(Protocol::Json, Direction::Unidirectional);
    let (mut stream, theirs) = tokio::io::duplex(1 << 20);
    node.serve_stream(theirs, Form::deflate(dialect, Window::Full), Handshake::default());
    let mut bytes = Vec::new();
    append_masked_frame(Opcode::Text, [1, 2, 3, 4], b"{\"token\":\"news\"}", &mut bytes);
    stream.write_all(&bytes).await.unwrap();
    let (mut reader, mut inflater, mut input) =
        (ws::Reader::client().with_deflate(), Inflater::default(), Vec::new());
    let mut seen: Vec<String> = Vec::new();
    while seen.len() < 3 {
        if seen.len() == 1 && input.is_empty() {
            for data in ["1", "2"] {
                node.publish("news", data.into(), PublishOptions::default()).await.unwrap();
            }
        }
        input.resize(1 << 16, 0);
        let count = stream.read(&mut input).await.unwrap();
        let mut at = 0;
        while at < count {
            let (used, event) = reader.read(&ws::Limits::default(), &mut input[at..count]);
            at += used;
            if let Some(Event::Compressed(message)) = event.unwrap() {
                let message = inflater.inflate(&ws::Limits::default(), &message).unwrap();
                seen.push(String::from_utf8(message.to_vec()).unwrap());
            }
        }
        input.clear();
    }
    assert!(seen[0].starts_with("{\"connect\":{"), "{seen:?}");
    assert_eq!(seen[1..], [1, 2].map(|data| format!("{{\"channel\":\"news\",\"pub\":{{\"data\":{data}}}}}")));
}

/// A client's message in fragments, with pings between them, cut anywhere: still one message.
#[tokio::test]
async fn a_compressed_message_may_come_in_any_pieces() {
    let node = node(Compression::default());
    for protocol in [Protocol::Json, Protocol::Protobuf] {
        let mut client = open(&node, protocol, Window::Full);
        client.send(&[connect(1), subscribe(2, "news")]).await;
        client.reply(2).await;
        for (round, fragment) in [1, 2, 3, 7, 50, 1_000, 40_000].into_iter().enumerate() {
            let sent = data(if fragment < 3 { 400 } else { 20_000 });
            let mut payload = Vec::new();
            append_command(protocol, &publish(3, "news", sent.clone()), &mut payload, true);
            let opcode = if protocol == Protocol::Json { Opcode::Text } else { Opcode::Binary };
            let options = ws::Compression { level: [1, 6, -2][round % 3], min_size: 0 };
            let mut whole = Vec::new();
            let mut deflater = Deflater::new(options, options);
            append_masked_deflated(opcode, [0; 4], &payload, &mut deflater, &mut whole);
            let header =
                6 + [0, 2, 8][usize::from(whole[1] & 0x7F == 126) + 2 * usize::from(whole[1] & 0x7F == 127)];
            let mut bytes = Vec::new();
            let parts: Vec<&[u8]> = whole[header..].chunks(fragment).collect();
            for (at, part) in parts.iter().enumerate() {
                let start = bytes.len();
                append_masked_frame(
                    if at == 0 { opcode } else { Opcode::Continuation },
                    [5, 6, 7, 8],
                    part,
                    &mut bytes,
                );
                bytes[start] &= if at + 1 == parts.len() { 0xFF } else { 0x7F };
                bytes[start] |= if at == 0 { 0x40 } else { 0 };
                if at % 5 == 0 {
                    append_masked_frame(Opcode::Ping, [1; 4], b"", &mut bytes);
                }
            }
            for piece in bytes.chunks(fragment * 3 + 1) {
                client.raw(piece).await;
            }
            assert_eq!(client.push().await.publication.unwrap().data, sent, "{protocol:?} {fragment}");
        }
    }
}

#[tokio::test]
async fn what_a_peer_must_not_send_ends_its_connection_alone() {
    let node = node(Compression { decompressed_size_limit: 10_000, ..Compression::default() });
    let mut witness = open(&node, Protocol::Json, Window::Full);
    witness.send(&[connect(1), subscribe(2, "news")]).await;
    witness.reply(2).await;
    let compressed = |payload: &[u8]| {
        let mut bytes = Vec::new();
        let mut deflater = Deflater::new(ws::Compression::default(), ws::Compression::default());
        append_masked_deflated(Opcode::Text, [1, 2, 3, 4], payload, &mut deflater, &mut bytes);
        bytes
    };
    let framed = |first: u8, payload: &[u8]| {
        let mut bytes = Vec::new();
        append_masked_frame(Opcode::Text, [1, 2, 3, 4], payload, &mut bytes);
        bytes[0] = first;
        bytes
    };
    let request = |filler: usize| format!("{{\"id\":1,\"connect\":{{\"name\":\"{}\"}}}}", "n".repeat(filler));
    let fits = request(10_000 - request(0).len());
    for (bytes, code) in [
        (framed(0xC1, b"no compressed data"), 1007),
        (framed(0xC1, b""), 1007),
        (compressed(b"\xff\xff\xff\xff\xff"), 1007),
        (compressed(format!("{fits} ").as_bytes()), 1009),
        (framed(0xC1, &vec![0; 70_000]), 1009),
        (framed(0xC9, b""), 1002),
        (framed(0xA1, b"{}"), 1002),
        ([framed(0x41, b"a"), framed(0xC0, b"b")].concat(), 1002),
    ] {
        let mut client = open(&node, Protocol::Json, Window::Full);
        client.raw(&bytes).await;
        assert_eq!(client.next().await, None);
        assert_eq!(client.closed, Some(Some(code)), "{:x?}", &bytes[..16.min(bytes.len())]);
    }
    let mut client = open(&node, Protocol::Json, Window::Full);
    client.raw(&compressed(fits.as_bytes())).await;
    client.reply(1).await;
    witness.send(&[publish(3, "news", "1".to_owned())]).await;
    assert_eq!(witness.push().await.publication.unwrap().data, "1");
}
