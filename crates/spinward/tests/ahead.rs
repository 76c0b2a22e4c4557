//! Several commands of a connection under way at once, and publications for one connection alone.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails here")]

mod common;

use common::{Client as Peer, connect, subscribe};
use parking_lot::Mutex;
use spinward::answer::Answer;
use spinward::hooks::{
    ConnectEvent, ConnectReply, Decision, Handshake, Hooks, RpcEvent, SubscribeEvent, SubscribeFailure,
    SubscribeOptions,
};
use spinward::wire::Protocol;
use spinward::wire::code::{ErrorCode, UnsubscribeCode};
use spinward::wire::message::{Command, RPCRequest, UnsubscribeRequest};
use spinward::{Client, Config, Node};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::DuplexStream;
use tokio::sync::oneshot;

type Deciding = oneshot::Sender<Result<SubscribeOptions, ErrorCode>>;

/// Decides about subscribes when the test says so, and notes what it is asked and told.
#[derive(Default)]
struct Slow {
    deciding: Mutex<BTreeMap<String, Deciding>>,
    batches: Mutex<Vec<Vec<String>>>,
    told: Mutex<Vec<String>>,
    client: Mutex<Option<Client>>,
}

impl Slow {
    fn decide(&self, channel: &str, decision: Result<SubscribeOptions, ErrorCode>) {
        let deciding = self.deciding.lock().remove(channel).expect(channel);
        drop(deciding.send(decision));
    }

    async fn asked(&self, count: usize) {
        while self.deciding.lock().len() < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn told(&self, what: &str) {
        while !self.told.lock().iter().any(|told| told == what) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn client(&self) -> Client {
        self.client.lock().clone().expect("a client is in")
    }
}

struct Shared(Arc<Slow>);

impl Hooks for Shared {
    fn connect(&self, _: ConnectEvent) -> Decision<ConnectReply> {
        Answer::allow(ConnectReply::default())
    }

    fn connected(&self, client: &Client) {
        *self.0.client.lock() = Some(client.clone());
    }

    fn subscribe(&self, _: &Client, request: SubscribeEvent) -> Decision<SubscribeOptions> {
        if request.channel.starts_with("now") {
            return Answer::allow(SubscribeOptions::default());
        }
        let (deciding, decided) = oneshot::channel();
        self.0.deciding.lock().insert(request.channel, deciding);
        Answer::later(async move { decided.await.unwrap_or(Err(ErrorCode::INTERNAL)).map_err(Into::into) })
    }

    fn subscribe_many(
        &self,
        client: &Client,
        requests: Vec<SubscribeEvent>,
    ) -> Vec<Decision<SubscribeOptions>> {
        self.0.batches.lock().push(requests.iter().map(|request| request.channel.clone()).collect());
        requests.into_iter().map(|request| self.subscribe(client, request)).collect()
    }

    fn rpc(&self, _: &Client, _: RpcEvent) -> Decision<bytes::Bytes> {
        Answer::allow("1".into())
    }

    fn subscribed(&self, _: &Client, channel: &str) {
        self.0.told.lock().push(format!("subscribed {channel}"));
    }

    fn subscribe_failed(&self, _: &Client, channel: &str, _: &SubscribeFailure) {
        self.0.told.lock().push(format!("failed {channel}"));
    }

    fn unsubscribed(&self, _: &Client, channel: &str, _: &UnsubscribeCode) {
        self.0.told.lock().push(format!("unsubscribed {channel}"));
    }
}

async fn open(config: Config) -> (Node, Arc<Slow>, Peer<DuplexStream>) {
    let slow = Arc::new(Slow::default());
    let node =
        Node::builder(Shared(Arc::clone(&slow))).config(Config { shards: 1, ..config }).build().unwrap();
    let (stream, theirs) = tokio::io::duplex(1 << 12);
    node.serve_stream(theirs, Protocol::Json, Handshake::default());
    let mut peer = Peer::new(stream, Protocol::Json);
    peer.send(&[connect(1)]).await;
    assert_eq!(peer.reply(1).await.error, None);
    (node, slow, peer)
}

fn rpc(id: u32) -> Command {
    Command {
        id,
        rpc: Some(RPCRequest { method: "m".into(), ..RPCRequest::default() }),
        ..Command::default()
    }
}

fn unsubscribe(id: u32, channel: &str) -> Command {
    let unsubscribe = Some(UnsubscribeRequest { channel: channel.into() });
    Command { id, unsubscribe, ..Command::default() }
}

async fn ids(peer: &mut Peer<DuplexStream>, count: usize) -> Vec<(u32, u32)> {
    let mut ids = Vec::new();
    while ids.len() < count {
        let reply = peer.next().await.expect("a reply");
        ids.push((reply.id, reply.error.map_or(0, |error| error.code)));
    }
    ids
}

#[tokio::test]
async fn subscribes_of_a_message_are_decided_together_and_answered_in_order() {
    let (_node, slow, mut peer) = open(Config { subscribe_batch: 10, ..Config::default() }).await;
    let all = [subscribe(2, "a"), subscribe(3, "now"), subscribe(4, "b"), subscribe(5, "c"), rpc(6)];
    peer.send(&all).await;
    slow.asked(3).await;
    assert_eq!(*slow.batches.lock(), [["a", "now", "b", "c"].map(str::to_owned)]);
    slow.decide("c", Ok(SubscribeOptions::default()));
    slow.decide("b", Err(ErrorCode::PERMISSION_DENIED));
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(slow.told.lock().is_empty(), "the first goes first");
    slow.decide("a", Ok(SubscribeOptions::default()));
    assert_eq!(ids(&mut peer, 5).await, [(2, 0), (3, 0), (4, 103), (5, 0), (6, 0)]);
    assert_eq!(*slow.told.lock(), ["subscribed a", "subscribed now", "subscribed c"]);
}

#[tokio::test]
async fn a_batch_ends_where_a_command_does_not_go_with_it() {
    let (_node, slow, mut peer) = open(Config { subscribe_batch: 3, ..Config::default() }).await;
    peer.send(&[
        subscribe(2, "now1"),
        subscribe(3, "now2"),
        subscribe(4, "now2"),
        subscribe(5, "now3"),
        subscribe(6, "now4"),
        subscribe(7, "now5"),
        rpc(8),
        subscribe(9, "now6"),
        unsubscribe(10, "now6"),
        subscribe(11, "now6"),
    ])
    .await;
    let expected = [(2, 0), (3, 0), (4, 105), (5, 0), (6, 0), (7, 0), (8, 0), (9, 0), (10, 0), (11, 0)];
    assert_eq!(ids(&mut peer, 10).await, expected);
    let batches = [vec!["now1", "now2"], vec!["now3", "now4", "now5"]];
    assert_eq!(
        *slow.batches.lock(),
        batches.map(|batch| batch.into_iter().map(str::to_owned).collect::<Vec<_>>())
    );
}

#[tokio::test]
async fn a_connection_that_ends_during_a_batch_gives_every_grant_back() {
    let (_node, slow, mut peer) = open(Config { subscribe_batch: 10, ..Config::default() }).await;
    peer.send(&[subscribe(2, "a"), subscribe(3, "b"), subscribe(4, "c")]).await;
    slow.asked(3).await;
    slow.decide("b", Ok(SubscribeOptions::default()));
    tokio::time::sleep(Duration::from_millis(20)).await;
    drop(peer);
    slow.told("failed b").await;
    slow.decide("c", Ok(SubscribeOptions::default()));
    slow.told("failed c").await;
    slow.decide("a", Ok(SubscribeOptions::default()));
    slow.told("failed a").await;
    assert_eq!(slow.told.lock().len(), 3, "each once");
}

#[tokio::test]
async fn with_concurrency_replies_come_as_they_are_decided() {
    let (_node, slow, mut peer) = open(Config { concurrency: 3, ..Config::default() }).await;
    peer.send(&[subscribe(2, "a"), subscribe(3, "a"), subscribe(4, "b"), rpc(5)]).await;
    assert_eq!(ids(&mut peer, 2).await, [(3, 105), (5, 0)], "the same channel is asked for already");
    peer.send(&[subscribe(6, "c"), subscribe(7, "d"), rpc(8)]).await;
    slow.asked(3).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(slow.deciding.lock().len(), 3, "no more than three at once");
    slow.decide("b", Ok(SubscribeOptions::default()));
    assert_eq!(ids(&mut peer, 1).await, [(4, 0)]);
    slow.asked(3).await;
    for channel in ["d", "c"] {
        slow.decide(channel, Ok(SubscribeOptions::default()));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(ids(&mut peer, 3).await, [(7, 0), (8, 0), (6, 0)]);
    slow.decide("a", Err(ErrorCode::PERMISSION_DENIED));
    assert_eq!(ids(&mut peer, 1).await, [(2, 103)]);
    assert!(slow.batches.lock().is_empty());
}

#[tokio::test]
async fn a_publication_for_one_connection_follows_the_reply() {
    let (node, slow, mut peer) = open(Config::default()).await;
    let client = slow.client();
    assert!(!client.deliver("now", "1".into(), None).await, "not subscribed");
    peer.send(&[subscribe(2, "now")]).await;
    assert_eq!(peer.reply(2).await.error, None);
    assert!(client.deliver("now", "2".into(), None).await);
    node.publish("now", "3".into(), Default::default()).await.unwrap();
    for (data, offset) in [("2", 0), ("3", 0)] {
        let push = peer.push().await;
        let publication = push.publication.unwrap();
        assert_eq!(
            (&*push.channel, &*publication.data, publication.offset),
            ("now", data.as_bytes(), offset)
        );
    }
    peer.send(&[unsubscribe(3, "now")]).await;
    peer.reply(3).await;
    assert!(!client.deliver("now", "4".into(), None).await, "no longer");
    drop(peer);
    assert!(!client.deliver("now", "5".into(), None).await, "gone");
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_back_what_is_for_it_alone() {
    let (_node, slow, mut peer) = open(Config { queue_max_size: 64 << 10, ..Config::default() }).await;
    peer.send(&[subscribe(2, "now")]).await;
    peer.reply(2).await;
    let (client, taken) = (slow.client(), Arc::new(Mutex::new(0)));
    let counted = Arc::clone(&taken);
    let sending = tokio::spawn(async move {
        for n in 0..1_000 {
            let data = format!("\"{n:01000}\"");
            assert!(client.deliver("now", data.into(), None).await);
            *counted.lock() += 1;
        }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let before = *taken.lock();
    assert!((10..80).contains(&before), "{before} of 64 KiB, half of which may wait");
    for n in 0..1_000 {
        let data = peer.push().await.publication.unwrap().data;
        assert_eq!(*data, *format!("\"{n:01000}\"").as_bytes());
    }
    sending.await.unwrap();
}
