//! WebSocket control frames: the answers to close frames, and pings for clients that ask for them as frames.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails here")]

mod common;

use spinward::answer::Answer;
use spinward::hooks::{ConnectEvent, ConnectReply, Decision, Handshake, Hooks};
use spinward::wire::ws::{Event, Limits, Opcode, Reader, append_masked_frame};
use spinward::wire::{Protocol, Replies};
use spinward::{Config, Node};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

struct Anyone;

impl Hooks for Anyone {
    fn connect(&self, _: ConnectEvent) -> Decision<ConnectReply> {
        Answer::Now(Ok(ConnectReply::default()))
    }
}

const CONNECT: &[u8] = br#"{"id":1,"connect":{}}"#;

/// A connection read frame by frame.
struct Peer {
    stream: DuplexStream,
    reader: Reader,
    buffered: Vec<u8>,
}

#[derive(Debug, PartialEq)]
enum Frame {
    Message(Vec<u8>),
    Ping,
    Close(Option<u16>),
    End,
}

impl Peer {
    fn new(node: &Node, uri: &'static str) -> Self {
        let (stream, theirs) = tokio::io::duplex(1 << 16);
        let uri = http::Uri::from_static(uri);
        let handshake = Handshake { uri, ..Handshake::default() };
        node.serve_stream(theirs, Protocol::Json, handshake);
        Self { stream, reader: Reader::client(), buffered: Vec::new() }
    }

    async fn send(&mut self, opcode: Opcode, payload: &[u8]) {
        let mut frame = Vec::new();
        append_masked_frame(opcode, [1, 2, 3, 4], payload, &mut frame);
        self.stream.write_all(&frame).await.unwrap();
    }

    async fn next(&mut self) -> Frame {
        tokio::time::timeout(Duration::from_secs(10), self.read()).await.expect("a frame in time")
    }

    async fn read(&mut self) -> Frame {
        loop {
            let mut bytes = std::mem::take(&mut self.buffered);
            let (used, event) = self.reader.read(&Limits::of(1 << 20), &mut bytes);
            let frame = match event.unwrap() {
                Some(Event::Text(payload)) => Some(Frame::Message(payload.into_vec())),
                Some(Event::Ping(_)) => Some(Frame::Ping),
                Some(Event::Close(code)) => Some(Frame::Close(code)),
                other => other.map(|other| panic!("{other:?}")),
            };
            self.buffered = bytes.split_off(used);
            if let Some(frame) = frame {
                return frame;
            }
            let mut chunk = [0; 1024];
            match self.stream.read(&mut chunk).await.unwrap_or(0) {
                0 => return Frame::End,
                count => self.buffered.extend_from_slice(&chunk[..count]),
            }
        }
    }
}

fn node(config: Config) -> Node {
    Node::builder(Anyone).config(Config { shards: 1, ..config }).build().unwrap()
}

#[tokio::test]
async fn a_close_frame_is_answered_with_its_own_code() {
    let node = node(Config::default());
    for (payload, answer) in [
        (&b""[..], None),
        (&1000_u16.to_be_bytes()[..], Some(1000)),
        (&3000_u16.to_be_bytes()[..], Some(3000)),
        (&4999_u16.to_be_bytes()[..], Some(4999)),
    ] {
        for logged_in in [false, true] {
            let mut peer = Peer::new(&node, "/");
            if logged_in {
                peer.send(Opcode::Text, CONNECT).await;
                assert!(matches!(peer.next().await, Frame::Message(_)));
            }
            peer.send(Opcode::Close, payload).await;
            assert_eq!(peer.next().await, Frame::Close(answer), "{payload:?} {logged_in}");
            assert_eq!(peer.next().await, Frame::End);
        }
    }
    node.shutdown(Duration::from_secs(10)).await;
}

fn pinging() -> Config {
    let [ping_interval, pong_timeout] = [200, 100].map(Duration::from_millis);
    Config { ping_interval, pong_timeout, ..Config::default() }
}

#[tokio::test]
async fn a_client_that_asks_for_ping_frames_answers_with_pong_frames() {
    let node = node(pinging());
    let mut peer = Peer::new(&node, "/connection/websocket?cf_ws_frame_ping_pong=true");
    peer.send(Opcode::Text, CONNECT).await;
    let Frame::Message(connected) = peer.next().await else { panic!("no reply") };
    let reply = Replies::new(Protocol::Json, &connected).next().unwrap().unwrap();
    let connect = reply.connect.expect("connected");
    assert_eq!((connect.ping, connect.pong), (0, false), "the reply does not speak of protocol pings");
    for _ in 0..5 {
        assert_eq!(peer.next().await, Frame::Ping);
        peer.send(Opcode::Pong, b"").await;
    }
    assert_eq!(peer.next().await, Frame::Ping, "it is not answered, and ends the connection");
    assert_eq!(peer.next().await, Frame::Close(Some(3012)));
    node.shutdown(Duration::from_secs(10)).await;
}

/// Unsolicited pong frames of a peer do not count as the answer to a protocol ping.
#[tokio::test]
async fn pong_frames_answer_no_protocol_ping() {
    let node = node(pinging());
    for uri in ["/", "/?cf_ws_frame_ping_pong=1", "/?cf_ws_frame_ping_pong=false"] {
        let mut peer = Peer::new(&node, uri);
        peer.send(Opcode::Text, CONNECT).await;
        assert!(matches!(peer.next().await, Frame::Message(_)));
        assert_eq!(peer.next().await, Frame::Message(b"{}".into()), "{uri}");
        peer.send(Opcode::Pong, b"").await;
        assert_eq!(peer.next().await, Frame::Close(Some(3012)), "{uri}");
    }
    node.shutdown(Duration::from_secs(10)).await;
}
