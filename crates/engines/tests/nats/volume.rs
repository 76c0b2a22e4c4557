//! Many channels, and channels whose subscribers are behind.

use crate::harness::{SOON, Servers, core, prefix, until};
use parking_lot::Mutex;
use spinward::answer::BoxFuture;
use spinward::engine::broker::{
    Broker, BrokerError, Event, Interest, PublishOptions, Receive, Scope, Sink, StreamId,
};
use spinward_engines::nats;
use spinward_testkit::servers::nats::installed;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// A node whose channel `slow` has room only while it is open.
#[derive(Default)]
struct Slow {
    open: AtomicBool,
    opened: Notify,
    interrupted: Mutex<Vec<String>>,
    delivered: Mutex<HashMap<String, Vec<String>>>,
    confirmed: AtomicUsize,
}

impl Slow {
    fn count(&self, channel: &str) -> usize {
        self.delivered.lock().get(channel).map_or(0, Vec::len)
    }
}

impl Receive for Slow {
    fn deliver(&self, channel: &str, _: Option<&StreamId>, event: Event) {
        if let Event::Publication(publication) = event {
            let data = String::from_utf8_lossy(&publication.data).into_owned();
            self.delivered.lock().entry(channel.to_owned()).or_default().push(data);
        }
    }

    fn interest(&self, _: &str, _: Interest, result: Result<(), BrokerError>) {
        assert!(result.is_ok(), "{result:?}");
        self.confirmed.fetch_add(1, SeqCst);
    }

    fn interrupted(&self, scope: Scope<'_>) {
        match scope {
            Scope::All => self.interrupted.lock().push("*".to_owned()),
            Scope::Channels(channels) => {
                self.interrupted.lock().extend(channels.iter().map(|one| (*one).to_owned()));
            }
        }
    }

    fn replaced(&self, _: Scope<'_>, _: &str) {}

    fn wanted(&self) -> Vec<Arc<str>> {
        Vec::new()
    }

    fn has_room(&self, channel: &str) -> bool {
        channel != "slow" || self.open.load(SeqCst)
    }

    fn room(self: Arc<Self>, channel: &str) -> BoxFuture<()> {
        let channel = channel.to_owned();
        Box::pin(async move {
            let opened = self.opened.notified();
            if !self.has_room(&channel) {
                opened.await;
            }
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_is_behind_holds_back_no_other() {
    const SENT: usize = 3_000;
    if !installed() {
        return;
    }
    let servers = Servers::one(false);
    let config = servers.lock().config(&prefix(), 0);
    let publisher = core(config.clone()).await;
    let slow = Arc::<Slow>::default();
    let broker = nats::Broker::new(config).unwrap();
    broker.start(Sink::new(&slow)).unwrap();
    until("healthy", SOON, || broker.health() == spinward::engine::EngineHealth::Up).await;
    broker.interest(&[("slow".into(), Interest::Wanted), ("quick".into(), Interest::Wanted)]);
    until("confirmed", SOON, || slow.confirmed.load(SeqCst) == 2).await;
    for number in 0..SENT {
        for channel in ["slow", "quick"] {
            let data = number.to_string().into();
            let answer = publisher.broker.publish(channel, data, PublishOptions::default());
            // Many at once, as a node does.
            tokio::spawn(answer.wait());
        }
    }
    until("delivered", SOON, || slow.count("quick") == SENT).await;
    assert!(slow.count("slow") <= 1);
    until("dropped", SOON, || broker.counts().dropped > 0).await;
    assert_eq!(*slow.interrupted.lock(), [""; 0], "said before what waits is delivered");
    slow.open.store(true, SeqCst);
    slow.opened.notify_waiters();
    until("told", SOON, || !slow.interrupted.lock().is_empty()).await;
    assert_eq!(*slow.interrupted.lock(), ["slow"]);
    let counts = broker.counts();
    assert_eq!(slow.count("slow") as u64 + counts.dropped, SENT as u64, "{counts:?}");
    assert_eq!(counts.gaps, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_channels() {
    const COUNT: usize = 10_000;
    if !installed() {
        return;
    }
    let servers = Servers::one(false);
    let config = servers.lock().config(&prefix(), 0);
    let (node, publisher) = (core(config.clone()).await, core(config).await);
    let before = resident();
    let began = Instant::now();
    let changes: Vec<_> =
        (0..COUNT).map(|number| (Arc::from(format!("c{number}")), Interest::Wanted)).collect();
    node.broker.interest(&changes);
    let last = format!("c{}", COUNT - 1);
    until("confirmed", SOON, || node.recorder.answers(&last) == [(Interest::Wanted, true)]).await;
    let subscribed = began.elapsed();
    let bytes = resident().saturating_sub(before) / COUNT;
    println!("{COUNT} channels subscribed to in {subscribed:?}, {bytes} bytes of memory each");
    let began = Instant::now();
    let mut sent = tokio::task::JoinSet::new();
    for (channel, _) in &changes {
        sent.spawn(publisher.broker.publish(channel, "x".into(), PublishOptions::default()).wait());
    }
    while let Some(done) = sent.join_next().await {
        done.unwrap().unwrap();
    }
    println!("{COUNT} publications confirmed in {:?}", began.elapsed());
    node.delivered(&last, 1).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    for (channel, _) in changes.iter().step_by(101) {
        assert_eq!(node.publications(channel).len(), 1, "{channel}");
    }
    assert_eq!(node.broker.counts().dropped, 0);
    assert!(subscribed < Duration::from_secs(5), "subscribed in {subscribed:?}");
}

/// Bytes of this process in memory.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or(0) * 4_096
}
