//! One of two nodes is drained: its clients go to the other one, no faster than that one takes connections.

use super::Settings;
use super::arena::{Loop, common};
use super::client::{self, Client};
use super::node::{Node, merge};
use super::store::Store;
use crate::checker;
use crate::log::{Event, Line, Log, to_text};
use crate::peer::Peer;
use crate::random::Random;
use crate::servers::within;
use serde_json::json;
use spinward::clock::Clock;
use spinward_wire::Protocol;
use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Connections in a second that each node takes.
const RATE: u64 = 400;

/// Duration of the drain, which is shorter than the clients of a node need at that rate.
const DRAIN: Duration = Duration::from_secs(5);

/// Number of channels.
const CHANNELS: usize = 100;

/// Runs with `settings.clients` connections at each node, and returns the violations.
///
/// # Errors
/// Nodes cannot be started.
pub fn run(settings: &Settings) -> io::Result<Vec<String>> {
    let run = Loop::start()?;
    let store = Store::start(settings.engine, &run.handle)?;
    let mut common = common();
    merge(
        &mut common,
        &json!({
            "client": {
                "connection_rate_limit": RATE, "connection_rate_wait": "30s",
                "ping_interval": "25s", "pong_timeout": "8s", "presence_update_interval": "27s",
            },
            "channel": { "without_namespace": { "presence": false } },
            "shutdown": { "timeout": "20s", "drain_notice": "500ms", "drain_duration": format!("{}s", DRAIN.as_secs()) },
        }),
    );
    let mut nodes = Vec::new();
    for number in 0..2 {
        let sections = store.sections(settings.engine, number, Ipv4Addr::LOCALHOST);
        let mut node = Node::new(Arc::clone(&settings.launch), &sections, &common)?;
        node.start(false)?;
        nodes.push(node);
    }
    if !nodes.iter_mut().all(Node::wait) {
        return Err(io::Error::other("a node is not ready"));
    }
    let log = Log::new(Clock::system());
    let channels: Vec<String> = (0..CHANNELS).map(|number| format!("d{number}")).collect();
    for ch in &channels {
        log.add(Event::Channel { ch: ch.clone(), history: 1_000, limit: 300, lossless: false });
    }
    let shared = Arc::new(client::Shared {
        log: log.clone(),
        ports: nodes.iter().map(Node::port).collect(),
        random: Random::new(settings.seed),
        refused: AtomicU64::new(0),
        first: |c, nodes| c as usize % nodes,
    });
    let clients: Vec<Client> = (0..2 * settings.clients)
        .map(|number| {
            let mut peer = Peer::new(number as u32, Protocol::Protobuf, log.clone());
            peer.want(&channels[number % CHANNELS], false, false);
            Client::start(&run.handle, peer, Arc::clone(&shared))
        })
        .collect();
    let mut wrong = Vec::new();
    let patience = Duration::from_secs(30 + 2 * settings.clients as u64 / RATE);
    let settled = || within(patience, || clients.iter().all(|client| client.with(|peer| peer.is_settled())));
    if !settled() {
        wrong.push("not all clients came in".to_owned());
    }
    let publishing = super::publisher::one_each(1, &log, nodes[1].port(), &channels);
    run.wait(publishing.clone().publish(1));
    nodes[0].ask_to_end();
    // While the clients move.
    for number in 2..=5 {
        run.wait(publishing.clone().publish(number));
        std::thread::sleep(DRAIN / 4);
    }
    let ended = within(Duration::from_secs(25), || !nodes[0].runs());
    if !ended {
        wrong.push("the drained node does not end".to_owned());
    }
    if !settled() {
        let away = clients.iter().filter(|client| client.with(|peer| !peer.is_settled())).count();
        wrong.push(format!("{away} clients did not come to the other node"));
    }
    run.wait(publishing.publish(6));
    let level = || {
        clients.iter().enumerate().all(|(number, client)| {
            let ch = &channels[number % CHANNELS];
            client.with(|peer| peer.position(ch).is_some_and(|(_, offset)| offset == 6))
        })
    };
    if !within(Duration::from_secs(10), level) {
        wrong.push("not all clients have all publications".to_owned());
    }
    log.add(Event::Calm);
    let lines = log.lines();
    let fastest = fastest(&lines);
    // A window of the measurement is not one of the limit, which lets a second's worth pass at once.
    let most = 2 * RATE;
    if fastest > most {
        wrong.push(format!("{fastest} connections within a second at the other node: {RATE} are the limit"));
    }
    let refused = shared.refused.load(Ordering::Relaxed);
    if refused > 0 {
        wrong.push(format!("{refused} connections were refused"));
    }
    let checked = checker::check(&lines);
    if checked.counts.not_recovered > 0 {
        wrong.push(format!("{} subscriptions were not recovered", checked.counts.not_recovered));
    }
    let mut times: BTreeMap<u32, u64> = BTreeMap::new();
    let mut longest = 0;
    for line in &lines {
        match &line.event {
            Event::Disconnected { c, .. } => {
                times.insert(*c, line.t);
            }
            Event::Subscribed { c, .. } => {
                longest = longest.max(times.remove(c).map_or(0, |since| line.t - since));
            }
            _ => {}
        }
    }
    wrong.extend(checked.violations.iter().take(10).map(ToString::to_string));
    println!(
        "drain: {} connections moved, {} in all; at most {fastest} within a second (limit {RATE}); each away for at \
         most {:.1} s; {} recovered",
        checked.counts.disconnects,
        clients.len(),
        longest as f64 / 1e3,
        checked.counts.recovered
    );
    if !wrong.is_empty() {
        std::fs::create_dir_all(&settings.out)?;
        std::fs::write(settings.out.join("drain.log"), to_text(&lines))?;
        for (number, node) in nodes.iter().enumerate() {
            let _ = std::fs::copy(node.log_file(), settings.out.join(format!("drain-node{number}.log")));
        }
    }
    Ok(wrong)
}

/// Most connections that the second node took within a second once the first was being drained.
fn fastest(lines: &[Line]) -> u64 {
    let begun = lines.iter().find(|line| matches!(line.event, Event::Disconnected { .. }));
    let Some(begun) = begun.map(|line| line.t) else { return 0 };
    let opened = |line: &Line| {
        (line.t >= begun && matches!(line.event, Event::Opened { node: 1, .. })).then_some(line.t)
    };
    let times: Vec<u64> = lines.iter().filter_map(opened).collect();
    let mut start = 0;
    let mut most = 0;
    for (end, time) in times.iter().enumerate() {
        while times[start] + 1_000 <= *time {
            start += 1;
        }
        most = most.max(end - start + 1);
    }
    most as u64
}
