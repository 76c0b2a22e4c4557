//! Connections under a layer, as TLS is one: over sockets of the poller, and as a stream.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails here")]

mod common;

use common::{Client, connect, subscribe};
use spinward::answer::Answer;
use spinward::hooks::{
    ConnectEvent, ConnectReply, Decision, Handshake, Hooks, SubscribeEvent, SubscribeOptions,
};
use spinward::layer::{Layer, Layered, Parts};
use spinward::wire::Protocol;
use spinward::{Bytes, Config, Node};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Records of a length, a kind and bytes that are changed: 0 are bytes, 1 asks for an answer of kind 0 with nothing in
/// it, 2 is the end, 3 a violation.
#[derive(Default)]
struct Records {
    held: Vec<u8>,
    ended: bool,
    panics: Arc<AtomicBool>,
}

fn record(kind: u8, bytes: &[u8], into: &mut Vec<u8>) {
    into.extend(u16::try_from(bytes.len()).unwrap().to_be_bytes());
    into.push(kind);
    into.extend(bytes.iter().map(|byte| byte ^ 0x5a));
}

impl Layer for Records {
    fn open(&mut self, received: &mut [u8], plain: &mut Vec<u8>, sealed: &mut Vec<u8>) -> io::Result<()> {
        assert!(!self.panics.load(Ordering::Relaxed), "a layer with a fault");
        self.held.extend_from_slice(received);
        while let [high, low, kind, rest @ ..] = &self.held[..] {
            let len = usize::from(u16::from_be_bytes([*high, *low]));
            let Some(bytes) = rest.get(..len) else { break };
            match kind {
                0 => plain.extend(bytes.iter().map(|byte| byte ^ 0x5a)),
                1 => record(0, &[], sealed),
                2 => self.ended = true,
                _ => return Err(io::ErrorKind::InvalidData.into()),
            }
            self.held.drain(..3 + len);
        }
        if self.held.is_empty() {
            self.held = Vec::new();
        }
        Ok(())
    }

    fn seal(&mut self, plain: &[u8], sealed: &mut Vec<u8>) -> io::Result<()> {
        record(0, plain, sealed);
        Ok(())
    }

    fn finish(&mut self, sealed: &mut Vec<u8>) {
        record(2, &[], sealed);
    }

    fn has_ended(&self) -> bool {
        self.ended
    }
}

struct Open;

impl Hooks for Open {
    fn connect(&self, _: ConnectEvent) -> Decision<ConnectReply> {
        Answer::Now(Ok(ConnectReply::default()))
    }

    fn subscribe(&self, _: &spinward::Client, _: SubscribeEvent) -> Decision<SubscribeOptions> {
        Answer::Now(Ok(SubscribeOptions::default()))
    }
}

fn node() -> Node {
    Node::builder(Open).config(Config { shards: 1, ..Config::default() }).build().unwrap()
}

struct Pair {
    client: TcpStream,
    /// Fails once this is set.
    panics: Arc<AtomicBool>,
}

/// A connection whose handshake is done; the server's layer has opened `plain` already and not sent `sealed` yet.
async fn pair(node: &Node, plain: &[u8], sealed: Vec<u8>) -> Pair {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (theirs, _) = listener.accept().await.unwrap();
    let request = http::Request::get("/")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .body(())
        .unwrap();
    let service = node.websocket();
    let admitted = service.handshake(&request).unwrap().admit(Handshake::default()).unwrap();
    let panics = Arc::new(AtomicBool::new(false));
    let layer = Records { panics: Arc::clone(&panics), ..Records::default() };
    let stream = theirs.into_std().unwrap();
    let parts = Parts { stream, layer: Box::new(layer) as _, plain: plain.to_vec(), sealed };
    admitted.serve_layered(parts, Bytes::new());
    Pair { client, panics }
}

fn layered(stream: TcpStream) -> Client<Layered<TcpStream, Records>> {
    Client::new(Layered::new(stream, Records::default()), Protocol::Json)
}

async fn publish(node: &Node, data: String) {
    node.publish("news", data.into(), Default::default()).await.unwrap();
}

#[tokio::test]
async fn messages_pass_in_both_directions() {
    let node = node();
    let mut sealed = Vec::new();
    record(0, &[], &mut sealed);
    let mut client = layered(pair(&node, &[], sealed).await.client);
    client.send(&[connect(1)]).await;
    assert!(client.reply(1).await.connect.is_some());
    client.send(&[subscribe(2, "news")]).await;
    assert!(client.reply(2).await.subscribe.is_some());
    // Larger than a record, and many at once.
    let large = format!("\"{}\"", "x".repeat(50_000));
    for data in [large.clone(), "1".to_owned(), large].into_iter().chain((0..500).map(|at| at.to_string())) {
        publish(&node, data.clone()).await;
        let push = client.push().await;
        assert_eq!(push.publication.unwrap().data, data);
    }
    let info = node.info();
    if cfg!(target_os = "linux") {
        assert_eq!((info.counters.poller_accepted, info.counters.task_accepted), (1, 0));
    }
    node.shutdown(Duration::from_secs(5)).await;
    assert!(client.next().await.is_none());
    assert_eq!(client.closed, Some(Some(3001)));
}

#[tokio::test]
async fn what_was_opened_before_is_not_lost() {
    let node = node();
    let mut before = Vec::new();
    let frame = {
        let (ours, mut theirs) = tokio::io::duplex(1 << 10);
        let mut client = Client::new(ours, Protocol::Json);
        client.send(&[connect(1)]).await;
        let mut frame = vec![0; 1 << 10];
        let count = theirs.read(&mut frame).await.unwrap();
        frame.truncate(count);
        frame
    };
    before.extend_from_slice(&frame);
    let mut client = layered(pair(&node, &before, Vec::new()).await.client);
    assert!(client.reply(1).await.connect.is_some());
}

#[tokio::test]
async fn a_peer_that_reads_late_gets_everything() {
    let node = node();
    let Pair { client, .. } = pair(&node, &[], Vec::new()).await;
    let mut client = layered(client);
    client.send(&[connect(1), subscribe(2, "news")]).await;
    assert!(client.reply(2).await.subscribe.is_some());
    let data = format!("\"{}\"", "y".repeat(8_000));
    for _ in 0..100 {
        publish(&node, data.clone()).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    for _ in 0..100 {
        assert_eq!(client.push().await.publication.unwrap().data, data);
    }
}

#[tokio::test]
async fn answers_of_the_layer_are_sent_while_nothing_else_is() {
    let node = node();
    let Pair { mut client, .. } = pair(&node, &[], Vec::new()).await;
    let mut asks = Vec::new();
    for _ in 0..100 {
        record(1, &[], &mut asks);
    }
    client.write_all(&asks).await.unwrap();
    let mut answers = vec![1; 300];
    client.read_exact(&mut answers).await.unwrap();
    assert_eq!(answers, vec![0; 300]);
}

#[tokio::test]
async fn the_end_of_the_layer_violations_and_faults_end_the_connection_alone() {
    let node = node();
    let mut witness = layered(pair(&node, &[], Vec::new()).await.client);
    witness.send(&[connect(1)]).await;
    assert!(witness.reply(1).await.connect.is_some());
    for kind in [2, 3] {
        let Pair { mut client, .. } = pair(&node, &[], Vec::new()).await;
        let mut bytes = Vec::new();
        record(kind, &[], &mut bytes);
        client.write_all(&bytes).await.unwrap();
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty(), "{rest:?}");
    }
    let Pair { mut client, panics } = pair(&node, &[], Vec::new()).await;
    panics.store(true, Ordering::Relaxed);
    client.write_all(b"anything").await.unwrap();
    let mut rest = Vec::new();
    let _ = client.read_to_end(&mut rest).await;
    witness.send(&[subscribe(2, "news")]).await;
    assert!(witness.reply(2).await.subscribe.is_some());
    for _ in 0..100 {
        if node.info().counters.connections == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("connections are left: {}", node.info().counters.connections);
}

#[tokio::test]
async fn a_layered_stream_is_a_stream() {
    let (ours, theirs) = tokio::io::duplex(100);
    let (mut one, mut other) =
        (Layered::new(ours, Records::default()), Layered::new(theirs, Records::default()));
    let bytes: Vec<u8> = (0..100_000_u32).map(|at| at as u8).collect();
    let sent = bytes.clone();
    let sending = tokio::spawn(async move {
        one.write_all(&sent).await.unwrap();
        one.shutdown().await.unwrap();
        let mut back = Vec::new();
        one.read_to_end(&mut back).await.unwrap();
        back
    });
    let mut received = Vec::new();
    other.read_to_end(&mut received).await.unwrap();
    assert!(received == bytes);
    other.write_all(b"and back").await.unwrap();
    other.shutdown().await.unwrap();
    assert_eq!(sending.await.unwrap(), b"and back");
}

#[tokio::test]
async fn a_violation_is_told_after_what_came_before_it() {
    let (mut raw, theirs) = tokio::io::duplex(1_000);
    let mut stream = Layered::new(theirs, Records::default());
    let mut bytes = Vec::new();
    record(0, b"good", &mut bytes);
    record(3, &[], &mut bytes);
    raw.write_all(&bytes).await.unwrap();
    let mut received = [0; 4];
    stream.read_exact(&mut received).await.unwrap();
    assert_eq!(&received, b"good");
    assert_eq!(stream.read(&mut received).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    assert_eq!(stream.read(&mut received).await.unwrap(), 0);
}
