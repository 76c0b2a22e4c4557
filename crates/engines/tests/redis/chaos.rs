//! Two nodes that publish, while connections are cut, servers stop and primaries change. Afterwards: one payload for each
//! place, order, and nothing lost that was acknowledged in the life that is left.

use super::harness::{Node, Store, installed, kept, within};
use spinward::engine::EngineHealth;
use spinward::engine::broker::{Broker as _, Limit, PublishOptions, Read, Receipt, StreamId};
use spinward_engines::redis::Config;
use spinward_testkit::servers::redis::{Cluster, Options, Sentinels};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const CHANNELS: [&str; 6] = ["a", "b", "c{d}", "}e{", "f", "g"];

/// Publications acknowledged and seen, by channel and place.
#[derive(Default)]
struct Seen {
    places: HashMap<(String, StreamId, u64), Vec<u8>>,
    acknowledged: Vec<(String, StreamId, u64)>,
}

impl Seen {
    fn see(&mut self, channel: &str, stream: &StreamId, offset: u64, data: &[u8]) {
        let place = (channel.to_owned(), stream.clone(), offset);
        let before = self.places.entry(place).or_insert_with(|| data.to_vec());
        assert_eq!(before, data, "a fork at offset {offset} of {channel}, {stream:?}");
    }
}

async fn runs_through(store: Store, faults: impl Fn(&Store, usize)) {
    let config = store.config();
    let nodes: Vec<_> = (0..2)
        .map(|number| {
            let name = format!("{}-{number}", config.prefix);
            Arc::new(Node::start(Config { client_name: name, ..config.clone() }))
        })
        .collect();
    for node in &nodes {
        node.want(&CHANNELS).await;
    }
    let (stop, number) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let publishers: Vec<_> = nodes
        .iter()
        .map(|node| {
            let (node, stop, number) = (Arc::clone(node), Arc::clone(&stop), Arc::clone(&number));
            tokio::spawn(async move {
                let (mut acknowledged, mut refused) = (Vec::new(), 0);
                while !stop.load(Ordering::Relaxed) {
                    let number = number.fetch_add(1, Ordering::Relaxed);
                    let channel = CHANNELS[number as usize % CHANNELS.len()];
                    let history =
                        spinward::engine::broker::HistoryOptions { size: 100_000, ..kept().history };
                    let options = PublishOptions { history, ..kept() };
                    let receipt =
                        node.broker.publish(channel, number.to_string().into(), options).wait().await;
                    match receipt {
                        Ok(Receipt::Stored(place)) => acknowledged.push((channel, place, number.to_string())),
                        Ok(other) => panic!("{other:?}"),
                        Err(_) => refused += 1,
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                (acknowledged, refused)
            })
        })
        .collect();
    for round in 0..8 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        tokio::task::block_in_place(|| faults(&store, round));
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let up = || nodes.iter().all(|node| node.broker.health() == EngineHealth::Up);
    within(Duration::from_secs(20), "good health", up).await;
    stop.store(true, Ordering::Relaxed);
    let (mut seen, mut refused) = (Seen::default(), 0);
    for publisher in publishers {
        let (acknowledged, failed) = publisher.await.unwrap();
        refused += failed;
        for (channel, place, data) in acknowledged {
            seen.see(channel, &place.stream, place.offset, data.as_bytes());
            seen.acknowledged.push((channel.to_owned(), place.stream, place.offset));
        }
    }
    for node in &nodes {
        node.settle().await;
        for channel in CHANNELS {
            let mut last: Option<(StreamId, u64)> = None;
            for (stream, publication) in node.recorder.publications(channel) {
                let stream = stream.unwrap();
                seen.see(channel, &stream, publication.offset, &publication.data);
                if let Some((before, offset)) = &last
                    && *before == stream
                {
                    assert!(
                        publication.offset >= *offset,
                        "{channel}: {} after {offset}",
                        publication.offset
                    );
                }
                last = Some((stream, publication.offset));
            }
            let slice = node.read(channel, Read::Oldest { limit: Limit::All }).await.unwrap();
            let offsets: Vec<_> = slice.publications.iter().map(|one| one.offset).collect();
            assert_eq!(offsets, (1..=slice.top.offset).collect::<Vec<_>>(), "history of {channel}");
            let of_this_life =
                |(name, stream, _): &&(String, StreamId, u64)| name == channel && *stream == slice.top.stream;
            for (_, _, offset) in seen.acknowledged.iter().filter(of_this_life) {
                assert!(
                    *offset <= slice.top.offset,
                    "offset {offset} of {channel} was acknowledged and is gone"
                );
            }
            for publication in &slice.publications {
                // What is kept may have been published in a former life.
                let place = (channel.to_owned(), slice.top.stream.clone(), publication.offset);
                if let Some(data) = seen.places.get(&place) {
                    assert_eq!(*data, publication.data, "offset {} of {channel}", publication.offset);
                }
            }
        }
    }
    // Deliveries go on.
    for channel in CHANNELS {
        let place = nodes[0].publish(channel, "end").await.unwrap();
        for node in &nodes {
            let told = || node.offsets(channel).last() == Some(&place.offset);
            within(Duration::from_secs(5), "delivery", told).await;
        }
    }
    let acknowledged = seen.acknowledged.len();
    println!("{acknowledged} acknowledged, {refused} refused, {:?}", nodes[0].broker.counts());
    assert!(acknowledged > 500, "{acknowledged} acknowledged");
    for node in &nodes {
        let counts = node.broker.counts();
        assert!(counts.replaced >= 3 && counts.gaps >= 2 && counts.malformed == 0, "{counts:?}");
        assert!(refused < 50, "{refused} refused: calls wait for another primary");
    }
}

fn cut(store: &Store) {
    store.servers().iter().for_each(spinward_testkit::servers::redis::Server::cut_clients);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sentinels_fail_over_under_load() {
    if !installed() {
        return;
    }
    let store = Store::Sentinels(Sentinels::start(&Options::default(), None));
    runs_through(store, |store, round| {
        let Store::Sentinels(sentinels) = store else { return };
        match round {
            0 | 3 | 6 => cut(store),
            1 | 5 => {
                sentinels.wait_for_replicas();
                sentinels.fail_over();
            }
            2 => {
                // Sentinels elect none that has not caught up.
                sentinels.wait_for_replicas();
                let primary = sentinels.primary();
                sentinels.servers[primary].pause();
                sentinels.wait_for_other(primary);
                sentinels.servers[primary].resume();
            }
            _ => {
                let primary = sentinels.primary();
                sentinels.servers[primary].call(&["SCRIPT", "FLUSH"]);
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cluster_fails_over_and_moves_slots_under_load() {
    if !installed() {
        return;
    }
    let store = Store::Cluster(Cluster::start(&Options::default(), true));
    runs_through(store, |store, round| {
        let Store::Cluster(cluster) = store else { return };
        match round {
            0 | 4 => cut(store),
            1 => cluster.fail_over(3),
            2 => {
                // Slots with keys in them.
                let server = cluster.servers.iter().find(|one| !one.call(&["KEYS", "*"]).list().is_empty());
                for key in server.unwrap().call(&["KEYS", "*"]).list().iter().take(4) {
                    let slot = cluster.slot(&key.text());
                    let to = if cluster.owner(slot) == 1 { 2 } else { 1 };
                    cluster.migrate(slot, to);
                }
            }
            3 => {
                let primary = cluster.owner(8_000);
                cluster.servers[primary].pause();
                std::thread::sleep(Duration::from_secs(1));
                cluster.servers[primary].resume();
            }
            5 => cluster.fail_over(4),
            _ => {}
        }
    })
    .await;
}
