//! Two nodes on a bus, each with a store of its own.

use super::*;
use crate::auth::revoke::{RevocationStore, Subject};
use crate::auth::revoke_store::MemoryStore;
use crate::session::common::{Client, connect, subscribe};
use spinward::clock::Clock;
use spinward::cluster::LocalBus;
use spinward::hooks::{Decision, Handshake, Hooks, SubscribeEvent, SubscribeOptions};
use spinward::identity::Credentials;
use spinward::wire::Protocol;
use std::sync::Arc;
use tokio::io::DuplexStream;

struct Open;

impl Hooks for Open {
    fn subscribe(&self, _: &spinward::Client, _: SubscribeEvent) -> Decision<SubscribeOptions> {
        Answer::Now(Ok(SubscribeOptions::default()))
    }
}

fn start(bus: &LocalBus) -> (Node, Revocations) {
    let store: Arc<dyn RevocationStore> = Arc::new(MemoryStore::new(2));
    let revocations = Revocations::new(store, Clock::system());
    let config = spinward::Config { shards: 1, ..spinward::Config::default() };
    let builder = Node::builder(Open).config(config).controller(bus.controller());
    (builder.handler(Neighbours::new(revocations.clone())).build().unwrap(), revocations)
}

async fn pair() -> [(Node, Revocations); 2] {
    let bus = LocalBus::new();
    let pair: [(Node, Revocations); 2] = std::array::from_fn(|_| start(&bus));
    for (node, _) in &pair {
        while node.nodes().len() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    pair
}

/// A client of `ann` in these channels.
async fn join(node: &Node, channels: &[&str]) -> Client<DuplexStream> {
    let (far, near) = tokio::io::duplex(1 << 16);
    let credentials = Some(Credentials { user: "ann".to_owned(), ..Credentials::default() });
    node.serve_stream(near, Protocol::Json, Handshake { credentials, ..Handshake::default() });
    let mut client = Client::new(far, Protocol::Json);
    client.send(&[connect(1)]).await;
    assert_eq!(client.reply(1).await.error, None);
    for (channel, id) in channels.iter().zip(2..) {
        client.send(&[subscribe(id, channel)]).await;
        assert_eq!(client.reply(id).await.error, None);
    }
    client
}

#[tokio::test]
async fn a_revocation_holds_on_every_node_once_it_is_confirmed() {
    let [(here, _), (there, revocations)] = pair().await;
    let mut client = join(&there, &[]).await;
    let ann = Subject { user: "ann", ..Subject::default() };
    let block = Revocation::User { user: "ann".into(), expire_at: 0 };
    assert!(revoke(&here, &block).await.is_complete());
    assert!(revocations.check(&ann).is_err(), "it is in the store of the other node");
    assert_eq!(there.info().counters.clients, 0, "and enforced");
    assert!(client.next().await.is_none());

    assert!(unblock_user(&here, "ann").await.is_complete());
    assert_eq!(revocations.check(&ann), Ok(()));

    // A store that is full says so.
    for user in ["a", "b"] {
        let block = Revocation::User { user: user.into(), expire_at: 0 };
        assert!(revoke(&here, &block).await.is_complete());
    }
    let declined = revoke(&here, &block).await.declined;
    assert_eq!(declined, [(there.id(), Declined::Failed)]);
    let unknown = here.notify(To::All, REVOKE, Bytes::from_static(b"{\"newer\":1}")).await.declined;
    assert_eq!(unknown, [(there.id(), Declined::Unsupported)]);
    for node in [here, there] {
        node.shutdown(Duration::from_secs(10)).await;
    }
}

#[tokio::test]
async fn channels_are_those_of_all_nodes() {
    let [(here, _), (there, _)] = pair().await;
    let _clients = (join(&here, &["a:1", "a:2"]).await, join(&there, &["a:1", "b:1"]).await);
    let listed = async |pattern: &str| {
        let (mut channels, missing) = channels(&here, pattern).await.unwrap();
        channels.sort();
        (channels, missing)
    };
    let entry = |name: &str, clients| (Box::from(name), clients);
    assert_eq!(listed("a:*").await, (vec![entry("a:1", 2), entry("a:2", 1)], vec![]));
    assert_eq!(listed("").await.0.len(), 3);
    assert_eq!(channels(&here, "a[").await.err(), Some(ApiError::INTERNAL));
    for node in [here, there] {
        node.shutdown(Duration::from_secs(10)).await;
    }
}

/// Turns the pages of connections of `ann`, and returns the node of each by its id, and the nodes that were missing.
async fn pages(node: &Node, limit: u32) -> (Vec<(String, String)>, Vec<NodeId>) {
    let (mut listed, mut after) = (Vec::new(), String::new());
    loop {
        let query = listing::Query::new("ann".to_owned(), None, after, limit);
        let (page, missing) = listing::of_all_nodes(node, query).await;
        assert!(page.entries.len() <= limit as usize);
        listed.extend(page.entries.iter().map(|entry| (entry.id.clone(), entry.node.clone())));
        match page.cursor() {
            Some(cursor) => after = cursor.to_owned(),
            None => return (listed, missing),
        }
    }
}

#[tokio::test]
async fn connections_are_those_of_all_nodes() {
    let [(here, _), (there, _)] = pair().await;
    let mut clients = Vec::new();
    for node in [&here, &there, &there, &here, &there] {
        clients.push(join(node, &[]).await);
    }
    let (listed, missing) = pages(&here, 2).await;
    assert_eq!(missing, []);
    assert!(listed.is_sorted_by(|one, other| one.0 < other.0), "{listed:?}");
    let on = |node: &Node| listed.iter().filter(|(_, of)| *of == node.id().to_string()).count();
    assert_eq!((on(&here), on(&there)), (2, 3));

    // A node that does not understand the question is named, and the page has the others' connections.
    let filter = Bytes::from_static(b"\x12\x05\x0a\x03xor");
    let declined = here.survey(CONNECTIONS, filter, SURVEY_TIMEOUT).await.declined;
    assert_eq!(declined.len(), 2, "neither can read the filter");
    for node in [here, there] {
        node.shutdown(Duration::from_secs(10)).await;
    }
}

#[tokio::test]
async fn a_listing_names_the_nodes_that_do_not_answer() {
    let bus = LocalBus::new();
    let (here, _) = start(&bus);
    // It has no handler, and declines every question.
    let config = spinward::Config { shards: 1, ..spinward::Config::default() };
    let mute = Node::builder(Open).config(config).controller(bus.controller()).build().unwrap();
    while here.nodes().len() < 2 || mute.nodes().len() < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let _clients = (join(&here, &[]).await, join(&mute, &[]).await);
    let (listed, missing) = pages(&here, 10).await;
    assert_eq!((listed.len(), missing), (1, vec![mute.id()]));
    for node in [here, mute] {
        node.shutdown(Duration::from_secs(10)).await;
    }
}
