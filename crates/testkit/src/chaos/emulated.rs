//! Clients whose messages go by requests, behind a balancer that sends each request to another node.

use super::arena::{Loop, common};
use super::client::{self, Client};
use super::node::Node;
use super::proxy::Proxy;
use super::store::Store;
use super::{Settings, api};
use crate::checker;
use crate::log::{Event, Log, to_text};
use crate::peer::{Carrier, Peer};
use crate::random::Random;
use crate::servers::within;
use serde_json::json;
use spinward::clock::Clock;
use spinward_wire::Protocol;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// Number of clients.
const CLIENTS: u32 = 60;

/// Number of channels, of which each client is in every one.
const CHANNELS: usize = 5;

/// Rounds in which each client leaves a channel and comes back.
const ROUNDS: usize = 4;

/// Time for everything that is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs, and returns the violations. Without an engine between the nodes it cannot succeed.
///
/// # Errors
/// Nodes cannot be started.
pub fn run(settings: &Settings) -> io::Result<Vec<String>> {
    let run = Loop::start()?;
    let store = Store::start(settings.engine, &run.handle)?;
    let mut nodes = Vec::new();
    for number in 0..settings.nodes {
        let sections = store.sections(settings.engine, number, Ipv4Addr::LOCALHOST);
        let mut common = common();
        common["http_stream"] = json!({ "enabled": true });
        let mut node = Node::new(Arc::clone(&settings.launch), &sections, &common)?;
        node.start(false)?;
        nodes.push(node);
    }
    if !nodes.iter_mut().all(Node::wait) {
        return Err(io::Error::other("a node is not ready"));
    }
    // A node passes messages on to those that it knows.
    let known = || {
        nodes.iter().all(|node| {
            let port = node.port();
            let info = run.wait(async move { api::call(port, "info", &json!({}), PATIENCE).await.ok() });
            let known = info.flatten().and_then(|info| info["nodes"].as_array().map(Vec::len));
            known == Some(settings.nodes)
        })
    };
    if !within(PATIENCE, known) {
        return Err(io::Error::other("the nodes do not know each other"));
    }
    let balancer = Proxy::start(&run.handle, nodes.iter().map(Node::port).collect())?;
    let log = Log::new(Clock::system());
    let channels: Vec<String> = (0..CHANNELS).map(|number| format!("e{number}")).collect();
    for ch in &channels {
        log.add(Event::Channel { ch: ch.clone(), history: 1_000, limit: 300, lossless: false });
    }
    let shared = Arc::new(client::Shared {
        log: log.clone(),
        ports: vec![balancer.port()],
        random: Random::new(settings.seed),
        refused: AtomicU64::new(0),
        first: |_, _| 0,
    });
    let clients: Vec<Client> = (0..CLIENTS)
        .map(|c| {
            let mut peer = Peer::new(c, Protocol::Json, log.clone()).over(Carrier::Requests);
            channels.iter().for_each(|ch| peer.want(ch, false, false));
            Client::start(&run.handle, peer, Arc::clone(&shared))
        })
        .collect();
    let mut wrong = Vec::new();
    let settled = |clients: &[Client]| {
        within(PATIENCE, || clients.iter().all(|one| one.with(|peer| peer.is_settled())))
    };
    if !settled(&clients) {
        wrong.push("not all clients are in their channels".to_owned());
    }
    let publishing = super::publisher::one_each(1, &log, balancer.port(), &channels);
    for round in 0..ROUNDS {
        for client in &clients {
            client.with(|peer| peer.leave(&channels[round % CHANNELS]));
        }
        std::thread::sleep(Duration::from_millis(300));
        run.wait(publishing.clone().publish(round as u64 + 1));
        for client in &clients {
            client.with(|peer| peer.want(&channels[round % CHANNELS], false, false));
        }
        if !settled(&clients) {
            wrong.push(format!("not all clients are back in round {round}"));
        }
    }
    let disconnects = |lines: &[crate::log::Line]| {
        lines.iter().filter(|line| matches!(line.event, Event::Disconnected { .. })).count()
    };
    let level = || {
        clients.iter().all(|one| {
            let top = |peer: &Peer, ch: &String| peer.position(ch).map_or(0, |(_, offset)| offset);
            one.with(|peer| channels.iter().all(|ch| top(peer, ch) == ROUNDS as u64))
        })
    };
    if !within(Duration::from_secs(10), level) {
        wrong.push("not all clients have all publications".to_owned());
    }
    log.add(Event::Calm);
    let lines = log.lines();
    if disconnects(&lines) > 0 {
        wrong.push(format!("{} connections have ended", disconnects(&lines)));
    }
    let checked = checker::check(&lines);
    wrong.extend(checked.violations.iter().map(ToString::to_string));
    println!(
        "emulated: {CLIENTS} clients of {} nodes behind a balancer: {} publications, {} deliveries, {} recoveries",
        nodes.len(),
        checked.counts.acked,
        checked.counts.delivered,
        checked.counts.recovered
    );
    if !wrong.is_empty() {
        std::fs::create_dir_all(&settings.out)?;
        std::fs::write(settings.out.join("emulated.log"), to_text(&lines))?;
    }
    Ok(wrong)
}
