//! Publishers and subscribers on a cluster of three whose servers are killed and stopped, one after the other.

use crate::harness::{Node, Servers, jetstream, kept, prefix, until};
use spinward::engine::broker::{Broker, Receipt, StreamId};
use spinward_engines::nats::JetStreamBroker;
use spinward_testkit::servers::nats::installed;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;
use tokio::time::sleep;

const CHANNELS: usize = 4;
const ROUNDS: usize = 4;

/// An acknowledged publication: channel, stream, offset, payload.
type Acknowledged = (String, StreamId, u64, String);

/// Publishes until it is told to stop, each publication once.
async fn publisher(broker: Arc<JetStreamBroker>, name: usize, stop: Arc<AtomicBool>) -> Vec<Acknowledged> {
    let mut acknowledged = Vec::new();
    for number in 0_usize.. {
        if stop.load(SeqCst) {
            break;
        }
        let channel = format!("c{}", number % CHANNELS);
        let data = format!("{name}-{number}");
        match broker.publish(&channel, data.clone().into(), kept(100_000)).wait().await {
            Ok(Receipt::Stored(place)) => acknowledged.push((channel, place.stream, place.offset, data)),
            Ok(other) => panic!("{other:?}"),
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
        sleep(Duration::from_millis(3)).await;
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_servers_that_die_in_turn() {
    if !installed() {
        return;
    }
    let servers = Servers::three();
    let name = prefix();
    let mut nodes: Vec<Node<JetStreamBroker>> = Vec::new();
    for place in 0..3 {
        let config = servers.lock().config(&name, place);
        let node = jetstream(config, 3).await;
        for channel in 0..CHANNELS {
            node.want(&format!("c{channel}")).await;
        }
        nodes.push(node);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let publishers: Vec<_> = nodes
        .iter()
        .enumerate()
        .map(|(place, node)| tokio::spawn(publisher(Arc::clone(&node.broker), place, Arc::clone(&stop))))
        .collect();
    for round in 0..ROUNDS {
        sleep(Duration::from_secs(1)).await;
        let faulty = Arc::clone(&servers);
        tokio::task::spawn_blocking(move || {
            let Servers::Three(cluster) = &mut *faulty.lock() else { return };
            let server = &mut cluster.servers[round % 3];
            if round % 2 == 0 {
                server.kill();
                std::thread::sleep(Duration::from_secs(1));
                server.restart();
            } else {
                server.pause();
                std::thread::sleep(Duration::from_secs(5));
                server.resume();
            }
        })
        .await
        .unwrap();
        // A cluster without a majority is of no use; the next fault waits until this one is over.
        for node in &nodes {
            until("healthy", Duration::from_secs(60), || {
                node.broker.health() == spinward::engine::EngineHealth::Up
            })
            .await;
        }
        sleep(Duration::from_secs(2)).await;
    }
    stop.store(true, SeqCst);
    let mut acknowledged = Vec::new();
    for publisher in publishers {
        acknowledged.extend(publisher.await.unwrap());
    }
    println!("{} publications acknowledged", acknowledged.len());
    assert!(acknowledged.len() > 500);

    // One payload for each place, from every source.
    let mut payloads: HashMap<(String, StreamId, u64), String> = HashMap::new();
    let mut agree = |channel: &str, stream: &StreamId, offset: u64, data: &str| {
        let place = (channel.to_owned(), stream.clone(), offset);
        let known = payloads.entry(place).or_insert_with(|| data.to_owned());
        assert_eq!(known, data, "two publications at offset {offset} of {channel}");
    };
    for (channel, stream, offset, data) in &acknowledged {
        agree(channel, stream, *offset, data);
    }
    for node in &nodes {
        for channel in (0..CHANNELS).map(|channel| format!("c{channel}")) {
            let slice = node.broker.read(&channel, all(), kept(100_000).history).wait().await.unwrap();
            for one in &slice.publications {
                agree(&channel, &slice.top.stream, one.offset, &String::from_utf8_lossy(&one.data));
            }
            let offsets: Vec<_> = slice.publications.iter().map(|one| one.offset).collect();
            assert_eq!(offsets, (1..=slice.top.offset).collect::<Vec<_>>(), "{channel}");
            for (_, stream, offset, _) in acknowledged.iter().filter(|one| one.0 == channel) {
                assert_eq!(*stream, slice.top.stream, "a new life without a loss");
                assert!(*offset <= slice.top.offset, "offset {offset} of {channel} is lost");
            }
            let mut last = 0;
            for (stream, one) in node.recorder.publications(&channel) {
                assert!(one.offset > last, "{} was delivered after {last}", one.offset);
                last = one.offset;
                agree(&channel, &stream.unwrap(), one.offset, &String::from_utf8_lossy(&one.data));
            }
        }
    }
}

fn all() -> spinward::engine::broker::Read {
    spinward::engine::broker::Read::Oldest { limit: spinward::engine::broker::Limit::All }
}
