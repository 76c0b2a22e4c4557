//! Figures, for people: `cargo test -p spinward-engines --release --test redis -- --ignored --nocapture figures`.

use super::harness::{HISTORY, Node, config, installed};
use spinward::engine::broker::{Broker as _, HistoryOptions, PublishOptions};
use spinward_testkit::servers::redis::{Options, Server};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// Publishes from many tasks of one node, which is also delivered what it publishes.
#[ignore = "prints figures"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures() {
    const TASKS: usize = 128;
    if !installed() {
        return;
    }
    let server = Server::start(Options::default());
    for (name, history) in [("with history", HISTORY), ("without", HistoryOptions::default())] {
        let node = Arc::new(Node::start(config(&[server.url()])));
        let channels: Vec<String> = (0..TASKS).map(|number| format!("channel{number}")).collect();
        node.want(&channels.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let (done, started) = (Arc::new(AtomicU64::new(0)), Instant::now());
        let tasks: Vec<_> = channels
            .into_iter()
            .map(|channel| {
                let (node, done) = (Arc::clone(&node), Arc::clone(&done));
                tokio::spawn(async move {
                    while started.elapsed() < Duration::from_secs(3) {
                        let options = PublishOptions { history, ..PublishOptions::default() };
                        let data = "x".repeat(100).into();
                        node.broker.publish(&channel, data, options).wait().await.unwrap();
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let published = done.load(Ordering::Relaxed);
        node.settle().await;
        assert_eq!(node.broker.counts().messages, published, "messages received");
        println!("{name}: {} publications a second", published / 3);
    }
}
