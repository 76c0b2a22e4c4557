//! A node that is drained closes its connections one after another, and may change its mind.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails here")]

mod common;

use common::{Client, connect};
use spinward::hooks::{Handshake, Hooks};
use spinward::identity::Credentials;
use spinward::wire::Protocol;
use spinward::{Config, Drain, DrainError, Node};
use std::time::Duration;
use tokio::io::DuplexStream;
use tokio::time::Instant;

struct Open;

impl Hooks for Open {}

const CLIENTS: usize = 200;

async fn full() -> (Node, Vec<Client<DuplexStream>>) {
    let node = Node::builder(Open).config(Config { shards: 2, ..Config::default() }).build().unwrap();
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let (far, near) = tokio::io::duplex(1 << 16);
        let credentials = Some(Credentials::default());
        node.serve_stream(near, Protocol::Json, Handshake { credentials, ..Handshake::default() });
        let mut client = Client::new(far, Protocol::Json);
        client.send(&[connect(1)]).await;
        assert_eq!(client.reply(1).await.error, None);
        clients.push(client);
    }
    (node, clients)
}

fn over(millis: u64) -> Drain {
    let mut drain = Drain::default();
    drain.over = Duration::from_millis(millis);
    drain
}

fn upgrade(node: &Node) -> http::StatusCode {
    let request = http::Request::builder()
        .uri("/ws")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .body(())
        .unwrap();
    node.websocket().upgrade(request).status()
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_closed_evenly_over_the_time() {
    let (node, mut clients) = full().await;
    let (began, draining) = (
        Instant::now(),
        tokio::spawn({
            let node = node.clone();
            async move { node.drain(over(1_500)).await }
        }),
    );
    let mut left = Vec::new();
    while !draining.is_finished() {
        left.push((began.elapsed().as_millis(), node.info().counters.clients as usize));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(draining.await.unwrap(), Ok(()));
    assert!(began.elapsed() >= Duration::from_millis(1_500));
    assert_eq!(node.info().counters.clients, 0);
    // Never faster than that; a busy machine may be slower. By the binomial distribution, 40 of 200 is more than five
    // standard deviations.
    for (at, left) in left.into_iter().filter(|(at, _)| (300..1_200).contains(at)) {
        let expected = CLIENTS - CLIENTS * at as usize / 1_500;
        assert!(left + 40 >= expected, "{left} left after {at} ms, {expected} expected");
    }
    let client = &mut clients[0];
    assert!(client.next().await.is_none());
    assert_eq!(client.closed, Some(Some(3001)));
    assert_eq!(node.drain(over(0)).await, Err(DrainError::Already));
    assert!(!node.health().is_ready() && node.health().draining);
    assert_eq!(upgrade(&node), http::StatusCode::SERVICE_UNAVAILABLE);
    node.resume();
    assert!(node.health().is_ready());
    assert_ne!(upgrade(&node), http::StatusCode::SERVICE_UNAVAILABLE);
    node.shutdown(Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_can_be_cancelled() {
    let (node, clients) = full().await;
    // By dropping its future, before the first connection is closed.
    let mut noticed = over(10);
    noticed.notice = Duration::from_secs(60);
    let waiting = tokio::time::timeout(Duration::from_millis(50), async {
        let drain = node.drain(noticed);
        tokio::pin!(drain);
        tokio::select! {
            _ = &mut drain => panic!("there is a minute of notice"),
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
        }
        assert!(!node.health().is_ready(), "readiness fails first");
        assert_ne!(upgrade(&node), http::StatusCode::SERVICE_UNAVAILABLE, "and connections are still taken");
        drain.await
    });
    assert!(waiting.await.is_err());
    assert!(node.health().is_ready());
    assert_eq!(node.info().counters.clients as usize, CLIENTS);

    // By a call, while it is under way.
    let draining = tokio::spawn({
        let node = node.clone();
        async move { node.drain(over(60_000)).await }
    });
    while node.health().is_ready() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    node.resume();
    assert_eq!(draining.await.unwrap(), Err(DrainError::Cancelled));
    assert!(node.info().counters.clients as usize > CLIENTS / 2);
    assert_ne!(upgrade(&node), http::StatusCode::SERVICE_UNAVAILABLE);
    drop(clients);
    node.shutdown(Duration::from_secs(10)).await;
}
