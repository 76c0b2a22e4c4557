//! A server that stands still or dies.

use crate::harness::{SOON, Servers, core, prefix, until};
use spinward::engine::EngineHealth;
use spinward::engine::broker::{Broker, Interest};
use spinward_testkit::servers::nats::{Nats, Options, installed};
use std::time::Duration;
use tokio::time::{Instant, sleep};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stands_still_is_noticed_within_five_seconds() {
    if !installed() {
        return;
    }
    let server = Nats::start(&Options::default());
    let config = spinward_engines::nats::Config { urls: vec![server.url()], ..Default::default() };
    let (a, b) = (core(config.clone()).await, core(config).await);
    a.want("c").await;
    assert!(b.publish("c", "before").await.is_ok());
    a.delivered("c", 1).await;

    let began = Instant::now();
    server.pause();
    // The signal takes a moment to reach every thread.
    sleep(Duration::from_millis(50)).await;
    let late = b.publish("c", "while").await;
    assert!(late.is_err(), "acknowledged without the server: {late:?}");
    until("down", SOON, || matches!(a.broker.health(), EngineHealth::Down { .. })).await;
    let noticed = began.elapsed();
    assert!(noticed < Duration::from_secs(5), "noticed after {noticed:?}");
    sleep(Duration::from_secs(5).saturating_sub(began.elapsed())).await;
    assert!(!a.recorder.was_interrupted("c"), "said before delivery goes on");
    // Refused at once, and not queued for later.
    let began = Instant::now();
    assert!(b.publish("c", "down").await.is_err());
    assert!(began.elapsed() < Duration::from_millis(500));

    server.resume();
    until("interrupted", SOON, || a.recorder.was_interrupted("c")).await;
    b.up().await;
    assert!(b.publish("c", "after").await.is_ok());
    until("delivered", SOON, || a.payloads("c").last().is_some_and(|last| last == "after")).await;
    // The publication that was not acknowledged may have arrived, but not after a newer one of its node.
    sleep(Duration::from_millis(300)).await;
    let payloads = a.payloads("c");
    assert!(
        payloads == ["before", "after"] || payloads == ["before", "while", "after"],
        "delivered {payloads:?}"
    );
    assert!(a.broker.counts().reconnects >= 1 && a.broker.counts().gaps >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_is_returned_to_with_every_subscription() {
    if !installed() {
        return;
    }
    let mut server = Nats::start(&Options::default());
    let config = spinward_engines::nats::Config { urls: vec![server.url()], ..Default::default() };
    let (a, b) = (core(config.clone()).await, core(config).await);
    for number in 0..100 {
        a.want(&format!("c{number}")).await;
    }
    server.kill();
    until("down", SOON, || matches!(a.broker.health(), EngineHealth::Down { .. })).await;
    // What cannot be subscribed to now is refused, and taken up with the connection.
    a.recorder.set_wanted("late", true);
    a.broker.interest(&[("late".into(), Interest::Wanted)]);
    until("refused", SOON, || a.recorder.answers("late") == [(Interest::Wanted, false)]).await;
    server.restart();
    until("interrupted", SOON, || a.recorder.was_interrupted("c0")).await;
    assert_eq!(a.recorder.answers("late").last(), Some(&(Interest::Wanted, true)));
    b.up().await;
    for channel in (0..100).map(|number| format!("c{number}")).chain(["late".to_owned()]) {
        b.publish(&channel, "x").await.unwrap();
        assert_eq!(a.delivered(&channel, 1).await.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_serves_on_when_a_server_dies() {
    if !installed() {
        return;
    }
    let servers = Servers::three();
    let name = prefix();
    let (first, second) = {
        let servers = servers.lock();
        (servers.config(&name, 0), servers.config(&name, 1))
    };
    let (a, b) = (core(first).await, core(second).await);
    a.want("c").await;
    if let Servers::Three(cluster) = &mut *servers.lock() {
        cluster.servers[0].kill();
    }
    until("interrupted", SOON, || a.recorder.was_interrupted("c")).await;
    // Interest spreads in the cluster a moment after the own server has it.
    sleep(Duration::from_millis(300)).await;
    b.publish("c", "after").await.unwrap();
    a.delivered("c", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_starts_before_its_server() {
    if !installed() {
        return;
    }
    let mut server = Nats::start(&Options::default());
    server.kill();
    let config = spinward_engines::nats::Config { urls: vec![server.url()], ..Default::default() };
    let broker = spinward_engines::nats::Broker::new(config).unwrap();
    let recorder = spinward_test::conformance::Recorder::new();
    broker.start(recorder.sink()).unwrap();
    sleep(Duration::from_millis(300)).await;
    assert!(matches!(broker.health(), EngineHealth::Down { .. }));
    assert!(broker.start(recorder.sink()).is_err(), "started twice");
    server.restart();
    until("healthy", SOON, || broker.health() == EngineHealth::Up).await;
    assert!(!recorder.was_interrupted("c"), "the first connection interrupts nothing");
    broker.close().wait().await;
    assert!(matches!(broker.health(), EngineHealth::Down { .. }));
}
