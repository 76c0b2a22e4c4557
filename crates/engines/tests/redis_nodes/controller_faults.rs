//! Controllers when servers and nodes fail, and under whole nodes.

use crate::backend::{Backend, Kind, until};
use bytes::Bytes;
use spinward::answer::Answer;
use spinward::engine::EngineHealth;
use spinward::engine::controller::{ControlError, ControlSink, Controller as _, MAX_MESSAGE, Receiver, To};
use spinward::hooks::Hooks;
use spinward::id::{Entropy, NodeId};
use spinward::{ClientFilter, DisconnectCode, Node, cluster};
use spinward_engines::redis::{Config, Controller};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);

/// A node that keeps what it receives, and has no room while it is told so.
#[derive(Default)]
struct Kept {
    messages: Mutex<Vec<Bytes>>,
    interrupted: AtomicU32,
    full: Arc<AtomicBool>,
}

impl Receiver for Kept {
    fn receive(&self, message: Bytes) {
        self.messages.lock().unwrap().push(message);
    }

    fn interrupted(&self) {
        self.interrupted.fetch_add(1, Ordering::Relaxed);
    }

    fn ready(&self) -> Answer<()> {
        let full = Arc::clone(&self.full);
        Answer::later(async move {
            while full.load(Ordering::Relaxed) {
                sleep(Duration::from_millis(10)).await;
            }
        })
    }
}

struct Peer {
    id: NodeId,
    controller: Controller,
    kept: Arc<Kept>,
}

impl Peer {
    async fn start(config: &Config) -> Self {
        let (id, controller) = (Entropy::system().node_id(), Controller::new(config.clone()).unwrap());
        let kept = Arc::<Kept>::default();
        let receiver: Arc<dyn Receiver> = Arc::<Kept>::clone(&kept);
        controller.start(id, ControlSink::new(Arc::downgrade(&receiver))).unwrap();
        let peer = Self { id, controller, kept };
        peer.connected().await;
        peer
    }

    async fn connected(&self) {
        until("a connected controller", SECOND * 10, async || self.controller.health() == EngineHealth::Up)
            .await;
    }

    fn has(&self, message: &str) -> bool {
        self.kept.messages.lock().unwrap().iter().any(|one| one == message)
    }

    /// Sends until a message arrives, each attempt with another text: one may be lost.
    async fn reaches(&self, other: &Self, what: &str) -> Duration {
        let mut number = 0;
        until(what, SECOND * 15, async || {
            number += 1;
            let text = format!("{what} {number}");
            let _ = self.controller.send(To::Node(other.id), text.clone().into()).wait().await;
            sleep(Duration::from_millis(100)).await;
            other.has(&text)
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_server_is_noticed_and_its_return_is_an_interruption() {
    let Some(backend) = Backend::start(Kind::Redis) else { return };
    let config = backend.config();
    let (a, b) = (Peer::start(&config).await, Peer::start(&config).await);
    backend.servers()[0].pause();
    let lost = async || b.controller.health() != EngineHealth::Up;
    let noticed = until("the loss of a server", SECOND * 5, lost).await;
    eprintln!("a paused server is noticed after {noticed:?}");
    sleep(SECOND * 5 - noticed).await;
    assert_eq!(b.kept.interrupted.load(Ordering::Relaxed), 0, "nothing is there to announce to");
    backend.servers()[0].resume();
    until("an interruption", SECOND * 6, async || b.kept.interrupted.load(Ordering::Relaxed) > 0).await;
    a.reaches(&b, "after a pause").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_bounded_in_size_and_number() {
    let Some(backend) = Backend::start(Kind::Redis) else { return };
    let peer = Peer::start(&Config { io_timeout: SECOND * 2, ..backend.config() }).await;
    let send = |length| peer.controller.send(To::All, vec![b'x'; length].into());
    let error = send(MAX_MESSAGE + 1).wait().await.unwrap_err();
    assert!(matches!(error, ControlError::TooLong(_)), "{error}");
    backend.servers()[0].pause();
    let mut waiting = tokio::task::JoinSet::new();
    let full = loop {
        match send(MAX_MESSAGE) {
            Answer::Now(result) => break result,
            Answer::Later(future) => drop(waiting.spawn(future)),
        }
        assert!(waiting.len() < 100, "no bound");
    };
    assert!(matches!(full, Err(ControlError::Full)), "{full:?}");
    // Those that wait fail in their time, and give their room back.
    let start = Instant::now();
    for result in waiting.join_all().await {
        assert!(result.is_err());
    }
    assert!(start.elapsed() < SECOND * 6, "{:?}", start.elapsed());
    backend.servers()[0].resume();
    peer.connected().await;
    until("a message after the pause", SECOND * 5, async || send(10).wait().await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_node_is_not_taken_for_a_dead_connection() {
    let Some(backend) = Backend::start(Kind::Redis) else { return };
    let config = backend.config();
    let (a, b) = (Peer::start(&config).await, Peer::start(&config).await);
    b.kept.full.store(true, Ordering::Relaxed);
    for number in 0..5 {
        a.controller.send(To::Node(b.id), format!("{number}").into()).wait().await.unwrap();
    }
    sleep(SECOND * 6).await;
    assert_eq!(b.controller.health(), EngineHealth::Up);
    assert!(b.kept.messages.lock().unwrap().is_empty(), "it has no room");
    b.kept.full.store(false, Ordering::Relaxed);
    until("what has waited", SECOND * 2, async || b.has("4")).await;
    assert_eq!(b.kept.interrupted.load(Ordering::Relaxed), 0);
    assert_eq!(*b.kept.messages.lock().unwrap(), ["0", "1", "2", "3", "4"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_flow_after_failovers_of_sentinels() {
    let Some(backend) = Backend::start(Kind::Sentinel) else { return };
    let Backend::Sentinels(sentinels) = &backend else { return };
    let config = backend.config();
    let (a, b) = (Peer::start(&config).await, Peer::start(&config).await);
    sentinels.fail_over();
    eprintln!("graceful: {:?}", a.reaches(&b, "after a graceful failover").await);
    sentinels.wait_for_replicas();
    let former = sentinels.primary();
    sentinels.servers[former].pause();
    sentinels.wait_for_other(former);
    eprintln!("after an election: {:?}", a.reaches(&b, "after an election").await);
    assert!(b.kept.interrupted.load(Ordering::Relaxed) >= 1);
    sentinels.servers[former].resume();
    sentinels.wait_for_replicas();
    a.reaches(&b, "after the return of the former primary").await;
    b.reaches(&a, "and back").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_flow_after_the_death_of_nodes_of_a_cluster() {
    let Some(mut backend) = Backend::start(Kind::Cluster) else { return };
    let config = backend.config();
    let (a, b) = (Peer::start(&config).await, Peer::start(&config).await);
    let Backend::Cluster(cluster) = &mut backend else { return };
    for server in [0, 1] {
        cluster.servers[server].kill();
        cluster.wait_for_primary(server + 3);
        let time = a.reaches(&b, &format!("after the death of node {server}")).await;
        eprintln!("{time:?} after an election");
        b.reaches(&a, &format!("back after the death of node {server}")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_is_down_does_not_stop_messages() {
    let Some(mut backend) = Backend::start(Kind::Shards) else { return };
    let config = backend.config();
    let (a, b) = (Peer::start(&config).await, Peer::start(&config).await);
    let Backend::Servers(servers) = &mut backend else { return };
    servers[0].kill();
    a.reaches(&b, "by the second shard").await;
    servers[0].start_again();
    servers[1].kill();
    a.reaches(&b, "by the first shard").await;
}

struct Nothing;

impl Hooks for Nothing {}

/// Whole nodes: they find each other, confirm what they are asked, and survive bytes of strangers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_find_each_other_and_confirm_operations() {
    let Some(backend) = Backend::start(Kind::Redis) else { return };
    let config = backend.config();
    let node = || {
        let controller = Arc::new(Controller::new(config.clone()).unwrap());
        let mut timings = cluster::Config::default();
        timings.heartbeat_interval = SECOND / 2;
        Node::builder(Nothing).controller(controller).cluster(timings).build().unwrap()
    };
    let (one, two) = (node(), node());
    until("nodes that know each other", SECOND * 10, async || {
        one.nodes().len() == 2 && two.nodes().len() == 2
    })
    .await;
    let server = &backend.servers()[0];
    for garbage in ["", "x", "\u{0}\u{1}\u{2}", "not a message at all"] {
        server.call(&["PUBLISH", &format!("{}.n", config.prefix), garbage]);
    }
    backend.cut_clients();
    let everyone = ClientFilter::default();
    let confirmed = async || {
        let applied = one.disconnect("ann", &everyone, DisconnectCode::FORCE_DISCONNECT).await;
        one.nodes().len() == 2 && applied.is_complete()
    };
    until("an operation that is confirmed", SECOND * 10, confirmed).await;
    one.shutdown(SECOND * 5).await;
    until("a goodbye", SECOND * 5, async || two.nodes().len() == 1).await;
    two.shutdown(SECOND * 5).await;
}
