//! Several nodes on one engine, and what channels and storms cost on it. The engine is Redis.

use super::engines::Backend;
use super::memory::{SETTLE, fresh};
use super::{figure, names, unchanged, usual, usual_floor};
use crate::bench::Bench;
use crate::bench::process::Cpu;
use crate::bench::report::{Budget, Figure, Reading};
use crate::bench::rig::{KEY, Rig, Sample, Stream, number, rounds};
use crate::bench::server::Target;
use crate::shell::Failure;
use serde_json::{Value, json};
use std::time::Duration;

const NODES: usize = 3;
/// A third is on each of three nodes.
const SUBSCRIBERS: usize = 1_998;
const STORM: usize = 10_000;
const CHANNELS: usize = 100_000;
const CONNECTIONS: usize = 1_000;

const fn plain(key: &'static str, what: &'static str, unit: &'static str) -> Figure {
    figure(key, what, unit, Reading::Plain, Budget::None)
}

/// The same subscribers and publications on one node, and on three.
pub(super) fn nodes(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    let figures = [
        plain("publish_one", "CPU of one node per publication without subscribers", "µs"),
        plain("publish_all", "CPU of three nodes together per publication", "µs"),
        plain("publish", "three nodes, of one: publications", "×"),
        plain("delivery_one", "CPU of one node per delivery, 2,000 subscribers", "µs"),
        plain("delivery_all", "CPU of three nodes together per delivery, the same subscribers", "µs"),
        plain("delivery", "three nodes, of one: deliveries", "×"),
    ];
    let backend = Backend::start("redis")?;
    let mut floor = usual_floor()?;
    // By another prefix, the one node is not of the cluster of the three.
    let node = |target: &Target, prefix: &str, subscribers: usize, first: usize| {
        let mut config = backend.config.clone();
        config["engine"]["redis"]["prefix"] = json!(prefix);
        let mut rig = Rig::new(target.start(&config)?)?;
        rig.connect(&json!({
            "count": subscribers, "subscriptions": 1, "channel": "bench", "channels": 1, "first": first,
        }))?;
        Ok::<_, Failure>(rig)
    };
    let (mut rigs, mut clusters) = (Vec::new(), Vec::new());
    for target in &bench.targets {
        let name = target.name();
        rigs.push(node(target, &format!("{name}-one"), SUBSCRIBERS, 0)?);
        let share = SUBSCRIBERS / NODES;
        let all = (0..NODES).map(|number| node(target, &format!("{name}-all"), share, number * share));
        clusters.push(all.collect::<Result<Vec<_>, _>>()?);
    }
    let mut turns = (0..clusters.len()).cycle();
    let result = rounds(bench.rounds, &mut floor, &usual(), &mut rigs, |rig| {
        let all = turns.next().and_then(|turn| clusters.get_mut(turn)).ok_or("no nodes")?;
        let one = std::slice::from_mut(rig);
        let (publish_one, delivery_one) = (publish(one)?, deliver(one)?);
        let (publish_all, delivery_all) = (publish(all)?, deliver(all)?);
        Ok(Sample::from([
            ("publish_one", publish_one),
            ("publish_all", publish_all),
            ("publish", publish_all / publish_one),
            ("delivery_one", delivery_one),
            ("delivery_all", delivery_all),
            ("delivery", delivery_all / delivery_one),
        ]))
    })?;
    bench.report.add(row, &names(bench), &figures, &result);
    Ok(())
}

/// CPU of all nodes so far.
fn cpu(nodes: &[Rig]) -> Result<Vec<Cpu>, Failure> {
    nodes.iter().map(|node| Cpu::of(node.server.pid)).collect()
}

fn spent(nodes: &[Rig], before: &[Cpu]) -> Result<f64, Failure> {
    Ok(cpu(nodes)?.iter().zip(before).map(|(now, before)| now.since(before)).sum())
}

/// Publishes through the HTTP API of the first node. Returns what one publication costs all of them, in µs.
fn publish(nodes: &mut [Rig]) -> Result<f64, Failure> {
    let before = cpu(nodes)?;
    let first = nodes.first_mut().ok_or("no node")?;
    let command = json!({
        "op": "http", "address": first.server.address, "key": KEY, "seconds": 2.0, "connections": 32, "batch": 1,
        "size": 128, "channel": "hist:nodes",
    });
    let answer = first.clients.call(&command, "http")?;
    let count = number(&answer, "results");
    if number(&answer, "failed") > 0.0 || count < 1.0 {
        return Err(format!("publications were refused: {answer}").into());
    }
    Ok(spent(nodes, &before)? / 1e3 / count)
}

/// Publishes by the first node to the subscribers of all. Returns what one delivery costs all of them, in µs.
fn deliver(nodes: &mut [Rig]) -> Result<f64, Failure> {
    for node in nodes.iter_mut() {
        node.clients.call(&json!({"op": "reset", "step": 1}), "reset")?;
    }
    let before = cpu(nodes)?;
    let count = nodes.len();
    let (first, rest) = nodes.split_first_mut().ok_or("no node")?;
    let stream = Stream { subscribers: SUBSCRIBERS / count, ..usual() };
    let own = first.publish(&stream)?;
    let mut delivered = own["delivered"];
    for node in rest {
        let settled = json!({"op": "settle", "deliveries": own["expected"] as u64, "quiet_ms": 3000});
        delivered += number(&node.clients.call(&settled, "stats")?, "deliveries");
    }
    let due = own["expected"] * count as f64;
    if delivered < due {
        return Err(format!("{delivered} deliveries of {due}").into());
    }
    Ok(spent(nodes, &before)? / 1e3 / delivered)
}

/// 100,000 channels with one idle subscriber each, on Redis and in memory.
pub(super) fn channels(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    let figures = [
        plain("rss", "RSS per channel with its subscriber, on Redis", "B"),
        plain("alone", "the same in memory", "B"),
        plain("more", "RSS per channel because of the engine", "B"),
        plain("redis", "memory of Redis per channel", "B"),
    ];
    let held = |target: &Target, config: &Value, subscriptions: usize| {
        let mut rig = Rig::new(target.start(config)?)?;
        rig.connect(&json!({"count": CONNECTIONS, "subscriptions": subscriptions, "channel": "i"}))?;
        std::thread::sleep(SETTLE);
        Ok::<_, Failure>((rig.server.rss()?, rig))
    };
    let each = CHANNELS / CONNECTIONS;
    fresh(bench, row, &figures, |target| {
        let backend = Backend::start("redis")?;
        let (bare, without) = held(target, &backend.config, 0)?;
        drop(without);
        let before = backend.info()?.number("used_memory");
        let (full, rig) = held(target, &backend.config, each)?;
        let redis = backend.info()?.number("used_memory") - before;
        drop(rig);
        let (bare_alone, without) = held(target, &unchanged(), 0)?;
        drop(without);
        let (full_alone, _rig) = held(target, &unchanged(), each)?;
        let per = |bytes: f64| bytes / CHANNELS as f64;
        let (rss, alone) = (per(full - bare), per(full_alone - bare_alone));
        Ok(Sample::from([("rss", rss), ("alone", alone), ("more", rss - alone), ("redis", per(redis))]))
    })
}

/// 10,000 subscribes, each of another channel with a history that is read.
pub(super) fn subscribes(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    let figures = [
        plain("us", "CPU per subscribe with its share of a login", "µs"),
        plain("memory", "the same in memory", "µs"),
        plain("seconds", "until all are subscribed", "s"),
        plain("redis", "CPU of Redis per subscribe", "µs"),
        figure("reads", "reads of Redis per subscribe", "", Reading::Plain, Budget::AtMost(1.05)),
        plain("subscribes", "commands SUBSCRIBE per subscribe", ""),
    ];
    let backend = Backend::start("redis")?;
    let (mut floor, mut rigs) = (usual_floor()?, Vec::new());
    for target in &bench.targets {
        rigs.push(Rig::new(target.start(&backend.config)?)?);
    }
    let mut alone = Rig::new(bench.targets[0].start(&unchanged())?)?;
    let plan = json!({"count": STORM / 10, "subscriptions": 10, "channel": "rec:storm"});
    let storm = |rig: &mut Rig| {
        let (answer, spent) = rig.spent(|rig| rig.connect(&plan))?;
        rig.clients.call(&json!({"op": "drop"}), "dropped")?;
        // Interest that goes away is not part of the figure.
        std::thread::sleep(SETTLE);
        Ok::<_, Failure>((spent / 1e3 / STORM as f64, number(&answer, "seconds")))
    };
    let result = rounds(bench.rounds, &mut floor, &usual(), &mut rigs, |rig| {
        let (before, cpu) = (backend.info()?, backend.cpu()?);
        let (us, seconds) = storm(rig)?;
        let (after, redis) = (backend.info()?, backend.cpu()?.since(&cpu));
        let per = |command| (after.calls(command) - before.calls(command)) / STORM as f64;
        Ok(Sample::from([
            ("us", us),
            ("seconds", seconds),
            ("memory", storm(&mut alone)?.0),
            ("redis", redis / 1e3 / STORM as f64),
            ("reads", per("evalsha")),
            ("subscribes", per("subscribe")),
        ]))
    })?;
    bench.report.add(row, &names(bench), &figures, &result);
    Ok(())
}

/// 10,000 sockets of 100 channels are cut, publications go on, all come back and recover them.
pub(super) fn recoveries(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    const SHARED: usize = 100;
    const MISSED: usize = 20;
    let figures = [
        plain("us", "CPU per recovery of 20 × 200 B with its login", "µs"),
        plain("seconds", "until all are back", "s"),
        plain("redis", "CPU of Redis per recovery", "µs"),
        plain("reads", "reads of Redis per recovery", ""),
        figure("channel", "reads of Redis per channel", "", Reading::Plain, Budget::AtMost(2.0)),
    ];
    let backend = Backend::start("redis")?;
    let (mut floor, mut rigs) = (usual_floor()?, Vec::new());
    for target in &bench.targets {
        let mut rig = Rig::new(target.start(&backend.config)?)?;
        rig.connect(&json!({
            "count": STORM, "subscriptions": 1, "channel": "rec:again", "channels": SHARED, "recover": true,
            "window": 2_000,
        }))?;
        rigs.push(rig);
    }
    let result = rounds(bench.rounds, &mut floor, &usual(), &mut rigs, |rig| {
        rig.clients.call(&json!({"op": "drop"}), "dropped")?;
        rig.clients.call(&json!({"op": "reset"}), "reset")?;
        let publish = json!({
            "op": "publish", "address": rig.server.address, "key": KEY, "rate": 2000.0,
            "seconds": (MISSED * SHARED) as f64 / 2000.0, "size": 200, "channel": "rec:again", "channels": SHARED,
        });
        rig.clients.call(&publish, "published")?;
        std::thread::sleep(Duration::from_secs(1));
        let (before, cpu) = (backend.info()?, backend.cpu()?);
        let (answer, spent) = rig.spent(|rig| rig.clients.call(&json!({"op": "again"}), "connected"))?;
        let (after, redis) = (backend.info()?, backend.cpu()?.since(&cpu));
        let due = STORM as f64;
        if number(&answer, "recovered") != due
            || number(&answer, "recovered_publications") != due * MISSED as f64
        {
            return Err(format!("{}: not everything was recovered: {answer}", rig.server.name).into());
        }
        let reads = after.calls("evalsha") - before.calls("evalsha");
        Ok(Sample::from([
            ("us", spent / 1e3 / due),
            ("seconds", number(&answer, "seconds")),
            ("redis", redis / 1e3 / due),
            ("reads", reads / due),
            ("channel", reads / SHARED as f64),
        ]))
    })?;
    bench.report.add(row, &names(bench), &figures, &result);
    Ok(())
}
