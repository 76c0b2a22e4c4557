//! Presence.

use crate::harness::{SOON, Servers, prefix, until};
use parking_lot::Mutex;
use spinward::ClientInfo;
use spinward::engine::EngineHealth;
use spinward::engine::presence::{Member, Presence as _, PresenceStats};
use spinward::id::ClientId;
use spinward_engines::nats::{Presence, PresenceConfig};
use spinward_test::conformance::{self, PresenceHarness};
use spinward_testkit::servers::nats::installed;
use spinward_testkit::servers::within;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

const LIFE: Duration = Duration::from_secs(3);

struct Store(Arc<Presence>);

impl PresenceHarness for Store {
    fn store(&self) -> Arc<dyn spinward::engine::presence::Presence> {
        Arc::clone(&self.0) as _
    }

    async fn pass(&self, time: Duration) -> bool {
        sleep(time).await;
        true
    }

    fn time_to_live(&self) -> Option<Duration> {
        Some(LIFE)
    }
}

/// A store that is connected; the harness is made without waiting.
fn store(servers: &Arc<Mutex<Servers>>, prefix: &str) -> Arc<Presence> {
    let connection = servers.lock().config(prefix, 0);
    let config = PresenceConfig { connection, presence_ttl: LIFE, replicas: 1 };
    let store = Arc::new(Presence::new(config).unwrap());
    assert!(within(SOON, || store.health() == EngineHealth::Up), "{:?}", store.health());
    // A new stream in a cluster takes writes once its servers have found its leader.
    let one = member("warm", 0);
    let added = || store.add(&one.channel, one.client, Arc::clone(&one.info)).wait();
    let takes = || tokio::task::block_in_place(|| Handle::current().block_on(added())).is_ok();
    assert!(within(SOON, takes), "the store takes nothing");
    store
}

#[tokio::test(flavor = "multi_thread")]
async fn presence_conforms() {
    if !installed() {
        return;
    }
    let servers = Servers::one(true);
    let report = conformance::presence(|| Store(store(&servers, &prefix()))).await;
    report.assert();
    assert_eq!(report.not_tried(), [""; 0], "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn presence_conforms_in_a_cluster() {
    if !installed() {
        return;
    }
    let servers = Servers::three();
    // JetStream has no leader in the first seconds.
    let first = store(&servers, &prefix());
    let end = Instant::now() + Duration::from_secs(30);
    while first.members("c").wait().await.is_err() {
        assert!(Instant::now() < end, "JetStream has no leader");
        sleep(Duration::from_millis(100)).await;
    }
    let report = conformance::presence(|| Store(store(&servers, &prefix()))).await;
    report.assert();
}

fn member(channel: &str, number: u16) -> Member {
    let mut id = [0; 16];
    id[..2].copy_from_slice(&number.to_be_bytes());
    let client = ClientId::from_random(id);
    let info = ClientInfo {
        user: format!("u{}", number % 10).into(),
        client: client.to_string().into(),
        ..ClientInfo::default()
    };
    Member { channel: channel.into(), client, info: Arc::new(info) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_members_survive_the_memory_of_the_server() {
    const COUNT: u16 = 1_000;
    if !installed() {
        return;
    }
    let servers = Servers::one(true);
    let store = store(&servers, &prefix());
    let mut members: Vec<_> = (0..COUNT).map(|number| member("a.b", number)).collect();
    // Channels whose subjects begin alike.
    members.extend(["a", "a.b.c", "a.*", "a.>", ""].map(|channel| member(channel, 7)));
    let began = Instant::now();
    store.refresh(&members).wait().await.unwrap();
    println!("{} entries refreshed in {:?}", members.len(), began.elapsed());
    let stats = PresenceStats { clients: u32::from(COUNT), users: 10 };
    assert_eq!(store.stats("a.b").wait().await.unwrap(), stats);
    for channel in ["a", "a.b.c", "a.*", "a.>", ""] {
        assert_eq!(store.members(channel).wait().await.unwrap().len(), 1, "{channel:?}");
    }
    let restarted = Arc::clone(&servers);
    tokio::task::spawn_blocking(move || restarted.lock().restart(0)).await.unwrap();
    until("reconnected", SOON, || store.counts().reconnects == 1 && store.health() == EngineHealth::Up).await;
    assert_eq!(store.stats("a.b").wait().await.unwrap(), PresenceStats::default());
    store.refresh(&members).wait().await.unwrap();
    assert_eq!(store.stats("a.b").wait().await.unwrap(), stats);
    store.close().wait().await;
    assert!(store.members("a.b").wait().await.is_err());
}
