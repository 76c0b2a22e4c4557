//! Real nodes on real sockets, with faults, judged by the delivery checker.
//!
//! Small enough for every change as it is; `SPINWARD_FULL=1` with an optimised build is the whole of it.

#![allow(clippy::expect_used, reason = "a test may fail")]

use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use spinward::answer::Answer;
use spinward::clock::Clock;
use spinward::engine::broker::{HistoryFilter, HistoryOptions, PublishOptions};
use spinward::hooks::{ConnectEvent, ConnectReply, Decision, Hooks, SubscribeEvent, SubscribeOptions};
use spinward::identity::Credentials;
use spinward::wire::Protocol;
use spinward::wire::code::{DisconnectCode, UnsubscribeCode};
use spinward::{ClientFilter, Config, Node};
use spinward_testkit::checker::{Counts, check};
use spinward_testkit::client::{Client, Order};
use spinward_testkit::log::{Event, Fault, Log, Seen, to_text};
use spinward_testkit::payload::{self, Message};
use spinward_testkit::peer::Peer;
use spinward_testkit::random::Random;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, sleep};

fn full() -> bool {
    std::env::var_os("SPINWARD_FULL").is_some()
}

/// The application: the query says who it is, and every channel has this history.
struct Open(HistoryOptions);

impl Hooks for Open {
    fn connect(&self, request: ConnectEvent) -> Decision<ConnectReply> {
        let query = request.handshake.uri.query().unwrap_or_default();
        let user = query.strip_prefix("user=").unwrap_or_default().to_owned();
        let credentials = Credentials { user, ..Credentials::default() };
        Answer::Now(Ok(ConnectReply { credentials, ..ConnectReply::default() }))
    }

    fn subscribe(&self, _: &spinward::Client, _: SubscribeEvent) -> Decision<SubscribeOptions> {
        Answer::Now(Ok(SubscribeOptions {
            recovery: true,
            history: self.0,
            delta: true,
            ..SubscribeOptions::default()
        }))
    }
}

async fn serve(node: &Node) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let websocket = node.websocket();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(websocket.clone());
            let connection =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection.with_upgrades());
        }
    });
    address
}

struct Run {
    node: Node,
    log: Log,
    history: HistoryOptions,
    channels: Vec<String>,
    clients: Vec<Client>,
}

impl Run {
    async fn start(
        history: HistoryOptions,
        limit: usize,
        channels: usize,
        clients: u32,
        per_client: usize,
    ) -> Self {
        let config =
            Config { recovery_max_publication_limit: limit, queue_max_size: 4 << 20, ..Config::default() };
        let node = Node::builder(Open(history)).config(config).build().expect("a node");
        let address = serve(&node).await;
        let log = Log::new(Clock::system());
        let channels: Vec<String> = (0..channels).map(|n| format!("c{n}")).collect();
        for ch in &channels {
            log.add(Event::Channel { ch: ch.clone(), history: history.size, limit, lossless: true });
        }
        let clients = (1..=clients)
            .map(|c| {
                let protocol = if c % 2 == 0 { Protocol::Json } else { Protocol::Protobuf };
                let mut peer = Peer::new(c, protocol, log.clone());
                for n in 0..per_client {
                    peer.want(&channels[(c as usize + n * 7) % channels.len()], c % 4 < 2, false);
                }
                Client::start(peer, log.clone(), address, "/")
            })
            .collect();
        let run = Self { node, log, history, channels, clients };
        run.settle().await;
        run
    }

    async fn settle(&self) {
        for _ in 0..600 {
            if self.clients.iter().all(|client| client.with(Peer::is_settled)) {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Publishes to these channels, one publisher a channel, until told to stop.
    fn publish(
        &self,
        p: u32,
        channel: &str,
        gap: Duration,
        stop: Arc<AtomicBool>,
    ) -> tokio::task::JoinHandle<()> {
        let (node, log, history, ch) =
            (self.node.clone(), self.log.clone(), self.history, channel.to_owned());
        tokio::spawn(async move {
            let random = Random::new(u64::from(p));
            let mut ticks = interval(gap);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let mut s = 0;
            while !stop.load(Ordering::Relaxed) {
                ticks.tick().await;
                s += 1;
                publish(&node, &log, history, &ch, Message { p, s, n: random.below(1 << 30) as u32 }).await;
            }
        })
    }

    /// The faults are over: waits for everybody, publishes once more, reads the streams, and judges.
    async fn end(self) -> Counts {
        self.settle().await;
        self.log.add(Event::Calm);
        for ch in &self.channels {
            publish(&self.node, &self.log, self.history, ch, Message { p: 1_000_000, s: 1, n: 1 }).await;
        }
        let mut tops = Vec::new();
        for ch in &self.channels {
            let filter = HistoryFilter { limit: -1, since: None, reverse: false };
            let read = self.node.history(ch, filter, self.history).await.expect("history");
            let pubs = read.publications.iter().map(|one| Seen::new(ch, one.offset, &one.data)).collect();
            let (epoch, offset) = (read.top.epoch.as_ref().to_owned(), read.top.offset);
            tops.push((ch.clone(), epoch.clone(), offset));
            self.log.add(Event::Final { node: 0, ch: ch.clone(), epoch, offset, pubs });
        }
        // What is missing after ten seconds will be missing for ever.
        for _ in 0..200 {
            let there = |client: &Client| {
                client.with(|peer| {
                    peer.is_settled()
                        && tops.iter().all(|(ch, epoch, offset)| {
                            peer.position(ch).is_none_or(|position| position == (epoch.as_str(), *offset))
                        })
                })
            };
            if self.clients.iter().all(there) {
                break;
            }
            sleep(Duration::from_millis(50)).await;
        }
        let lines = self.log.lines();
        for client in &self.clients {
            client.order(Order::Stop);
        }
        self.node.shutdown(Duration::from_secs(5)).await;
        let report = check(&lines);
        println!("{:?}", report.counts);
        if let Some(first) = report.violations.first() {
            let from = first.line.saturating_sub(20).min(lines.len());
            let log = to_text(&lines[from..(first.line + 1).min(lines.len())]);
            let shown: Vec<String> = report.violations.iter().take(10).map(ToString::to_string).collect();
            panic!("{} violations: {shown:#?}\n{log}", report.violations.len());
        }
        report.counts
    }
}

async fn publish(node: &Node, log: &Log, history: HistoryOptions, ch: &str, message: Message) {
    let Message { p, s, n } = message;
    log.add(Event::Invoke { p, ch: ch.to_owned(), s, n });
    let options = PublishOptions { history, delta: true, ..PublishOptions::default() };
    let done = node
        .publish(ch, payload::write(ch, message, 100), options)
        .await
        .expect("the memory broker takes it");
    let (epoch, offset) = (done.position.epoch.as_ref().to_owned(), done.position.offset);
    log.add(Event::Ok { p, ch: ch.to_owned(), s, epoch, offset });
}

const fn kept(size: usize) -> HistoryOptions {
    HistoryOptions { size, ttl: Duration::from_secs(3600), meta_ttl: Duration::ZERO }
}

/// Everybody on one channel is cut off again and again, and stays away for as long as `away` says.
async fn cut(history: usize, limit: usize, away: impl Fn(usize) -> Duration) -> Counts {
    let (clients, rate, seconds, kills) = if full() { (200, 500, 30, 5) } else { (60, 150, 8, 5) };
    let run = Run::start(kept(history), limit, 1, clients, 1).await;
    let stop = Arc::new(AtomicBool::new(false));
    let publisher = run.publish(1, "c0", Duration::from_micros(1_000_000 / rate), Arc::clone(&stop));
    let pause = Duration::from_millis(seconds * 1_000 / (u64::from(clients) * (kills + 1)));
    for _ in 0..=kills {
        for (number, client) in run.clients.iter().enumerate() {
            client.order(Order::Away(away(number)));
            sleep(pause).await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    publisher.await.expect("the publisher ends");
    let counts = run.end().await;
    assert!(counts.disconnects as u64 >= u64::from(clients) * kills, "{counts:?}");
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_cut_off_gets_all_that_was_missed() {
    let counts = cut(20_000, 20_000, |_| Duration::ZERO).await;
    assert_eq!(counts.not_recovered, 0, "{counts:?}");
    let wanted = if full() { 500 } else { 60 };
    assert!(counts.recovered_with_publications >= wanted, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recovery_is_whole_or_none() {
    // Some stay away for longer than what they miss is kept.
    let counts = cut(50, 20_000, |number| Duration::from_millis(number as u64 % 8 * 100)).await;
    assert!(counts.not_recovered > 0, "{counts:?}");
    assert!(counts.recovered_with_publications > 0, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_of_every_kind_cost_nobody_a_publication_in_silence() {
    let (clients, channels, seconds, gap) = if full() { (500, 50, 60, 50) } else { (60, 12, 8, 50) };
    let history =
        HistoryOptions { size: 200, ttl: Duration::from_secs(3600), meta_ttl: Duration::from_secs(3) };
    let run = Run::start(history, 100, channels, clients, 2).await;
    let stops: Vec<_> = run.channels.iter().map(|_| Arc::new(AtomicBool::new(false))).collect();
    let mut publishers = Vec::new();
    for (number, ch) in run.channels.iter().enumerate() {
        publishers.push(run.publish(
            number as u32 + 1,
            ch,
            Duration::from_millis(gap),
            Arc::clone(&stops[number]),
        ));
    }
    let random = Random::new(9);
    for _ in 0..seconds * 50 {
        sleep(Duration::from_millis(20)).await;
        let client = random.below(run.clients.len());
        let (c, ch) = (client as u32 + 1, random.one_of(&run.channels).clone());
        let user = format!("u{c}");
        let everyone = ClientFilter::default();
        match random.below(12) {
            0..5 => run.clients[client].order(Order::Kill),
            5 => run.clients[client]
                .order(Order::Stall(Duration::from_millis(random.between(100, 800) as u64))),
            6..8 => {
                run.node.unsubscribe(&user, &everyone, Some(&ch), UnsubscribeCode::SERVER);
                run.log.fault(Fault::Unsubscribe { c, ch });
            }
            8..10 => {
                run.node.disconnect(&user, &everyone, DisconnectCode::FORCE_RECONNECT);
                run.log.fault(Fault::Disconnect { c });
            }
            10 => {
                run.log.fault(Fault::Trimming { ch: ch.clone() });
                run.node.remove_history(&ch).await.expect("the memory broker does");
                run.log.fault(Fault::Trim { ch });
            }
            _ => {}
        }
    }
    // A channel that rests, with nobody there, for longer than its position is kept begins a new epoch.
    stops[0].store(true, Ordering::Relaxed);
    publishers.remove(0).await.expect("the publisher ends");
    run.log.fault(Fault::Reset { ch: run.channels[0].clone() });
    let rest = history.meta_ttl + Duration::from_millis(1_500);
    for client in run.clients.iter().filter(|client| client.with(|peer| peer.knows(&run.channels[0]))) {
        client.order(Order::Away(rest));
    }
    sleep(rest + Duration::from_millis(500)).await;
    let (rested, again) = (run.channels[0].clone(), Arc::new(AtomicBool::new(false)));
    publishers.push(run.publish(900, &rested, Duration::from_millis(gap), Arc::clone(&again)));
    sleep(Duration::from_millis(500)).await;
    for stop in stops.iter().chain([&again]) {
        stop.store(true, Ordering::Relaxed);
    }
    for publisher in publishers {
        publisher.await.expect("the publisher ends");
    }
    let counts = run.end().await;
    assert!(counts.recovered_with_publications > 10 && counts.not_recovered > 5, "{counts:?}");
}
