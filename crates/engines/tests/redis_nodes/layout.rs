//! The contract of brokers in the layout of Centrifugo, and what it cannot promise.

use crate::harness::{Harness, Shared, Store, installed};
use spinward_engines::redis::{Config, Layout};
use spinward_test::conformance;
use spinward_testkit::servers::redis::{Cluster, Options, Server};

/// The one rule that the layout cannot keep: its epochs go on when a store that has lost something takes over.
const BROKEN: &[&str] = &["a replaced store has another incarnation"];

async fn conforms(start: fn() -> Store, change: fn(&mut Config)) {
    if !installed() {
        return;
    }
    let shared = Shared::new(start);
    let change = |_: &Store, config: &mut Config| {
        config.layout = Layout::Centrifugo;
        change(config);
    };
    let report = conformance::broker(|| Harness::new(&shared, change)).await;
    println!("{report}");
    assert_eq!(report.violated(), BROKEN, "{report}");
}

fn one() -> Store {
    Store::Servers(vec![Server::start(Options::default())])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broker_conforms_in_the_layout_of_centrifugo_but_for_lives() {
    conforms(one, |_| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broker_conforms_in_the_layout_of_centrifugo_with_lists_but_for_lives() {
    conforms(one, |config| config.history_use_lists = true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broker_conforms_in_the_layout_of_centrifugo_in_a_cluster_but_for_lives() {
    conforms(|| Store::Cluster(Cluster::start(&Options::default(), true)), |_| {}).await;
}
