//! Cost of channels that hold something, and memory that they leave behind.

use super::memory::fresh;
use super::{figure, unchanged};
use crate::bench::Bench;
use crate::bench::process;
use crate::bench::report::{Budget, Reading};
use crate::bench::rig::{KEY, Rig, Sample, number};
use crate::bench::server::{Server, Target};
use crate::shell::Failure;
use serde_json::{Value, json};
use std::time::Duration;

const CHANNELS: usize = 100_000;
const CONNECTIONS: usize = 1_000;

/// Threads keep some of what they freed at hand, and the allocator counts that as in use, more of it or less from
/// one run to the next: what is in use is measured without.
const EXACT: &[(&str, &str)] = &[("_RJEM_MALLOC_CONF", "tcache:false")];

/// Time for freed memory to go back to the system.
const RETURN: Duration = Duration::from_secs(30);
const SETTLE: Duration = Duration::from_secs(2);
const META_TTL: Duration = Duration::from_secs(5);

/// Memory of a server in bytes: what it has in use, where it tells, and what the system gives it.
struct Memory {
    heap: Option<f64>,
    rss: f64,
}

impl Memory {
    fn of(server: &Server) -> Result<Self, Failure> {
        Ok(Self { heap: server.metric("spinward_heap_bytes", ""), rss: server.rss()? })
    }
}

/// 100,000 channels with one publication each.
pub(super) fn published(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    measure(bench, row, |target, sample| {
        let mut rig = Rig::new(target.start(&history("300s", "300s"))?)?;
        publish(&mut rig, 1)?;
        let empty = settled(&rig.server)?;
        publish(&mut rig, CHANNELS)?;
        per_channel(sample, &empty, &settled(&rig.server)?);

        let short = format!("{}s", META_TTL.as_secs());
        let mut rig = Rig::new(target.start_with(&history(&short, &short), EXACT)?)?;
        publish(&mut rig, 1)?;
        let start = settled(&rig.server)?;
        process::reset_peak(rig.server.pid)?;
        publish(&mut rig, CHANNELS)?;
        // What was published first has expired by the time that the last is there: the peak tells.
        let peak = process::peak(rig.server.pid)?;
        std::thread::sleep(META_TTL + RETURN);
        left(sample, &start, peak, &Memory::of(&rig.server)?);
        Ok(())
    })
}

/// 100,000 channels with one idle subscriber each.
pub(super) fn subscribed(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    measure(bench, row, |target, sample| {
        let mut rig = Rig::new(target.start_with(&unchanged(), EXACT)?)?;
        let mut connect = |count: usize, subscriptions: usize| -> Result<Memory, Failure> {
            // A load generator that ends takes its connections with it.
            rig.clients = process::Agent::start("clients")?;
            std::thread::sleep(SETTLE);
            if count > 0 {
                rig.connect(&json!({"count": count, "subscriptions": subscriptions, "channel": "i"}))?;
            }
            settled(&rig.server)
        };
        let bare = connect(CONNECTIONS, 0)?;
        // A third crowd must not leave more than the second.
        for _ in 0..2 {
            connect(CONNECTIONS, CHANNELS / CONNECTIONS)?;
        }
        let start = connect(0, 0)?;
        let full = connect(CONNECTIONS, CHANNELS / CONNECTIONS)?;
        per_channel(sample, &bare, &full);
        connect(0, 0)?;
        std::thread::sleep(RETURN - SETTLE - SETTLE);
        // Growth is measured from the connections alone: earlier connections are part of `start`.
        let before = Memory { heap: start.heap, rss: bare.rss };
        left(sample, &before, full.rss, &Memory::of(&rig.server)?);
        Ok(())
    })
}

fn measure(
    bench: &mut Bench,
    row: &'static str,
    sample: impl Fn(&Target, &mut Sample) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let figures = [
        figure("heap", "heap per channel", "B", Reading::Plain, Budget::None),
        figure("rss", "RSS per channel", "B", Reading::Plain, Budget::None),
        figure("left", "heap afterwards, of that before", "%", Reading::Plain, Budget::AtMost(102.0)),
        figure("returned", "RSS growth returned in 30 s", "%", Reading::Plain, Budget::AtLeast(80.0)),
    ];
    fresh(bench, row, &figures, |target| {
        let mut all = Sample::new();
        sample(target, &mut all)?;
        Ok(all)
    })
}

fn per_channel(sample: &mut Sample, before: &Memory, after: &Memory) {
    sample.insert("rss", (after.rss - before.rss) / CHANNELS as f64);
    if let (Some(before), Some(after)) = (before.heap, after.heap) {
        sample.insert("heap", (after - before) / CHANNELS as f64);
    }
}

fn left(sample: &mut Sample, start: &Memory, peak: f64, end: &Memory) {
    sample.insert("returned", 100.0 * (peak - end.rss) / (peak - start.rss));
    if let (Some(start), Some(end)) = (start.heap, end.heap) {
        sample.insert("left", 100.0 * end / start);
    }
}

fn publish(rig: &mut Rig, channels: usize) -> Result<(), Failure> {
    let rate = 50_000.0;
    let command = json!({
        "op": "publish", "address": rig.server.address, "key": KEY, "rate": rate,
        "seconds": channels as f64 / rate, "size": 128, "channel": "once:c", "channels": channels,
    });
    let answer = rig.clients.call(&command, "published")?;
    if number(&answer, "accepted") == channels as f64 {
        return Ok(());
    }
    Err(format!("{}: publications were refused: {answer}", rig.server.name).into())
}

fn history(ttl: &str, meta_ttl: &str) -> Value {
    let once = json!({"name": "once", "history_size": 1, "history_ttl": ttl});
    json!({"channel": {"history_meta_ttl": meta_ttl, "namespaces": [once]}})
}

fn settled(server: &Server) -> Result<Memory, Failure> {
    std::thread::sleep(SETTLE);
    Memory::of(server)
}
