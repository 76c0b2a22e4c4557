//! Servers and connections that fail.

use crate::harness::{Node, Postgres, eventually};
use crate::on_both;
use spinward::engine::EngineHealth;
use spinward::engine::broker::{Broker as _, Receipt};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

on_both!(restarts, crashes, pauses, connections_that_are_killed, unreachable_at_first, close_ends);

/// Publishes until it is told to stop. Returns the offsets that were acknowledged.
fn publish(node: &Arc<Node>, stop: &Arc<AtomicBool>) -> JoinHandle<Vec<u64>> {
    let (node, stop) = (Arc::clone(node), Arc::clone(stop));
    tokio::spawn(async move {
        let mut acknowledged = Vec::new();
        while !stop.load(Relaxed) {
            match node.publish("c", "{}").await {
                Ok(Receipt::Stored(place)) => acknowledged.push(place.offset),
                Ok(other) => panic!("{other:?}"),
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        }
        acknowledged
    })
}

/// Publishers and a subscriber go through a fault: everything that was acknowledged arrives, in order and once.
async fn survive(server: &mut Postgres, fault: impl AsyncFnOnce(&mut Postgres)) -> Vec<Arc<Node>> {
    let nodes = [Arc::new(server.node().await), Arc::new(server.node().await)];
    for node in &nodes {
        node.want("c").await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let publishers: Vec<_> =
        nodes.iter().flat_map(|node| [publish(node, &stop), publish(node, &stop)]).collect();
    sleep(Duration::from_millis(500)).await;
    fault(server).await;
    let before = nodes[0].offsets("c").len();
    eventually("delivery goes on", || nodes[0].offsets("c").len() > before + 50).await;
    stop.store(true, Relaxed);
    let mut acknowledged = Vec::new();
    for publisher in publishers {
        acknowledged.extend(publisher.await.unwrap());
    }
    let last = nodes[0].history("c").await.top.offset;
    for node in &nodes {
        node.complete("c", last).await;
        node.up().await;
        assert!(node.recorder.replaced().is_empty(), "the life goes on");
    }
    acknowledged.sort_unstable();
    let count = acknowledged.len();
    acknowledged.dedup();
    assert_eq!(acknowledged.len(), count, "an offset was given twice");
    assert!(acknowledged.last().is_some_and(|highest| *highest <= last));
    nodes.into()
}

async fn restarts(mut server: Postgres) {
    let nodes = survive(&mut server, async |server| {
        server.stop();
        sleep(Duration::from_millis(500)).await;
        server.start_again();
    })
    .await;
    for node in nodes {
        assert!(node.broker.counts().reconnects > 0);
        eventually("positions are compared", || node.recorder.was_interrupted("c")).await;
    }
}

async fn crashes(mut server: Postgres) {
    survive(&mut server, async |server| {
        for _ in 0..3 {
            server.crash();
            server.start_again();
            sleep(Duration::from_millis(700)).await;
        }
    })
    .await;
}

async fn pauses(mut server: Postgres) {
    survive(&mut server, async |server| {
        server.signal("STOP");
        sleep(Duration::from_secs(5)).await;
        server.signal("CONT");
    })
    .await;
    // One that lasts is noticed, and calls end.
    let node = server.node().await;
    server.signal("STOP");
    eventually("down", || matches!(node.broker.health(), EngineHealth::Down { .. })).await;
    let start = Instant::now();
    node.publish("c", "{}").await.unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(16), "{:?}", start.elapsed());
    server.signal("CONT");
    node.up().await;
}

async fn connections_that_are_killed(mut server: Postgres) {
    survive(&mut server, async |server| {
        let client = server.client().await;
        for _ in 0..10 {
            let text =
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'spinward'";
            client.query(text, &[]).await.unwrap();
            sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
}

async fn unreachable_at_first(mut server: Postgres) {
    let config = server.config();
    server.stop();
    let node = Node::start(config);
    node.publish("c", "{}").await.unwrap_err();
    assert!(matches!(node.broker.health(), EngineHealth::Down { .. }));
    server.start_again();
    node.up().await;
    node.want("c").await;
    node.store("c", "{}").await;
    node.complete("c", 1).await;
}

async fn close_ends(server: Postgres) {
    let node = server.node().await;
    node.want("c").await;
    node.broker.close().wait().await;
    assert!(node.publish("c", "{}").await.is_err());
    let client = server.client().await;
    let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'spinward'";
    let start = Instant::now();
    while client.query_one(count, &[]).await.unwrap().get::<_, i64>(0) > 0 {
        assert!(start.elapsed() < Duration::from_secs(10), "connections stay");
        sleep(Duration::from_millis(50)).await;
    }
}
