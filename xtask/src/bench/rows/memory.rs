//! Cost of idle connections.

use super::{figure, names, rigs, unchanged, usual, usual_floor};
use crate::bench::Bench;
use crate::bench::process::{Cpu, file_limit};
use crate::bench::report::{Budget, Figure, Reading};
use crate::bench::rig::{Rig, Round, Rounds, Sample, number, rounds};
use crate::bench::server::{Server, Target};
use crate::shell::Failure;
use serde_json::{Value, json};
use std::time::Duration;

const SMALL: usize = 5_000;
const LARGE: usize = 19_000;

/// Time for freed memory to go back, and for what starting leaves to end.
pub(super) const SETTLE: Duration = Duration::from_secs(2);

pub(super) fn one(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    let budget = Budget::AtMost(1024.0);
    slope(bench, row, &json!({"subscriptions": 1, "channel": "m"}), &[per_connection(budget)])
}

pub(super) fn none(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    slope(bench, row, &json!({"subscriptions": 0}), &[per_connection(Budget::None)])
}

pub(super) fn shared(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    let plan = json!({"subscriptions": 1, "channel": "m", "channels": 1});
    slope(bench, row, &plan, &[per_connection(Budget::AtMost(1024.0))])
}

pub(super) fn protobuf(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    let plan = json!({"subscriptions": 1, "channel": "m", "encoding": "protobuf"});
    slope(bench, row, &plan, &[per_connection(Budget::AtMost(1024.0))])
}

/// Connections that have negotiated compression and used it once, for their replies; and plain ones of the same server.
pub(super) fn deflate(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    let figures = [
        per_connection(Budget::None),
        figure(
            "deflate",
            "RSS per connection with compression, of plain",
            "×",
            Reading::Plain,
            Budget::AtMost(1.05),
        ),
    ];
    let compressing = json!({"websocket": {"compression": true}});
    fresh(bench, row, &figures, |target| {
        let mut plan = json!({"subscriptions": 1, "channel": "m"});
        let plain = measure_with(target, &compressing, &plan)?;
        plan["deflate"] = json!(true);
        let deflate = measure_with(target, &compressing, &plan)?;
        Ok(Sample::from([("bytes", plain), ("deflate", deflate / plain)]))
    })
}

/// A subscription with presence, in a channel of its own.
pub(super) fn presence(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    let plan = json!({"subscriptions": 1, "channel": "pres:m"});
    slope(bench, row, &plan, &[per_connection(Budget::AtMost(1126.0))])
}

/// Ten subscriptions; the budget is for each beyond the first.
pub(super) fn ten(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    let figures = [
        per_connection(Budget::None),
        figure("further", "RSS per further subscription", "B", Reading::Plain, Budget::AtMost(250.0)),
    ];
    let sample = |target: &Target| {
        let many = measure(target, &json!({"subscriptions": 10, "channel": "m"}))?;
        let one = measure(target, &json!({"subscriptions": 1, "channel": "m"}))?;
        Ok(Sample::from([("bytes", many), ("further", (many - one) / 9.0)]))
    };
    fresh(bench, row, &figures, sample)
}

/// 100,000 channels of 10 subscribers each, against the same connections without a subscription; and against
/// the same number of subscriptions in few channels, which leaves what the channels themselves cost.
pub(super) fn channels(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    const CHANNELS: usize = 100_000;
    const CONNECTIONS: usize = 10_000;
    const EACH: usize = 10 * CHANNELS / CONNECTIONS;
    let figures = [
        figure("bytes", "RSS per channel with its subscribers", "B", Reading::Plain, Budget::AtMost(250.0)),
        figure("channel", "RSS per channel without them", "B", Reading::Plain, Budget::None),
        figure("subscription", "RSS per subscription in a large channel", "B", Reading::Plain, Budget::None),
    ];
    let held = |target: &Target, subscriptions: usize, channels: usize| -> Result<f64, Failure> {
        let mut rig = Rig::new(target.start(&unchanged())?)?;
        rig.connect(&json!({
            "count": CONNECTIONS, "subscriptions": subscriptions, "channel": "c", "channels": channels,
        }))?;
        settled(&rig.server)
    };
    fresh(bench, row, &figures, |target| {
        let (without, few) = (held(target, 0, CHANNELS)?, held(target, EACH, EACH)?);
        let many = held(target, EACH, CHANNELS)?;
        Ok(Sample::from([
            ("bytes", (many - without) / CHANNELS as f64),
            ("channel", (many - few) / CHANNELS as f64),
            ("subscription", (few - without) / (EACH * CONNECTIONS) as f64),
        ]))
    })
}

/// CPU of idle connections over at least one interval of pings.
pub(super) fn idle(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    let count = LARGE.min(file_limit().saturating_sub(500));
    let seconds = if bench.full { 50 } else { 25 };
    let figures = [figure("us", "CPU per connection and second", "µs", Reading::Cost, Budget::AtMost(0.5))];
    let (mut floor, mut rigs) = (usual_floor()?, rigs(bench, &unchanged())?);
    for rig in &mut rigs {
        rig.connect(&json!({"count": count, "subscriptions": 1, "channel": "m"}))?;
    }
    std::thread::sleep(SETTLE);
    let wanted = if bench.full { bench.rounds } else { 1 };
    let result = rounds(wanted, &mut floor, &usual(), &mut rigs, |rig| {
        rig.clients.call(&json!({"op": "reset"}), "reset")?;
        let before = Cpu::of(rig.server.pid)?;
        std::thread::sleep(Duration::from_secs(seconds));
        let spent = Cpu::of(rig.server.pid)?.since(&before);
        let stats = rig.clients.call(&json!({"op": "stats"}), "stats")?;
        let (pings, due) = (number(&stats, "pings"), (count as u64 * seconds / 25) as f64);
        if pings < due * 0.9 || number(&stats, "connections") < count as f64 {
            return Err(format!("{}: {pings} pings where {due} were due: {stats}", rig.server.name).into());
        }
        Ok(Sample::from([("us", spent / 1e3 / count as f64 / seconds as f64)]))
    })?;
    bench.report.add(row, &names(bench), &figures, &result);
    Ok(())
}

fn per_connection(budget: Budget) -> Figure {
    figure("bytes", "RSS per connection", "B", Reading::Plain, budget)
}

fn slope(bench: &mut Bench, row: &'static str, plan: &Value, figures: &[Figure]) -> Result<(), Failure> {
    fresh(bench, row, figures, |target| Ok(Sample::from([("bytes", measure(target, plan)?)])))
}

/// Bytes are not disturbed by other load: rounds without a floor, each with fresh servers. A server that
/// somebody else started has a past, so only the first round counts for it.
pub(super) fn fresh(
    bench: &mut Bench,
    row: &'static str,
    figures: &[Figure],
    sample: impl Fn(&Target) -> Result<Sample, Failure>,
) -> Result<(), Failure> {
    let mut result = Rounds::default();
    let wanted = if bench.full { bench.rounds } else { bench.rounds.min(2) };
    for number in 0..wanted {
        let targets = bench.targets.iter().filter(|target| number == 0 || target.is_fresh());
        let samples = targets.map(&sample).collect::<Result<_, _>>()?;
        result.kept.push(Round { floor: Sample::new(), samples });
    }
    bench.report.add(row, &names(bench), figures, &result);
    Ok(())
}

/// Bytes per connection, as the slope between two numbers of them.
fn measure(target: &Target, plan: &Value) -> Result<f64, Failure> {
    measure_with(target, &unchanged(), plan)
}

/// The same, of a server whose configuration differs in `changes`.
pub(super) fn measure_with(target: &Target, changes: &Value, plan: &Value) -> Result<f64, Failure> {
    let mut rig = Rig::new(target.start(changes)?)?;
    let large = LARGE.min(file_limit().saturating_sub(500));
    let mut at = |count: usize| -> Result<f64, Failure> {
        let mut plan = plan.clone();
        plan["count"] = json!(count);
        rig.connect(&plan)?;
        settled(&rig.server)
    };
    let small = at(SMALL)?;
    Ok((at(large)? - small) / (large - SMALL) as f64)
}

fn settled(server: &Server) -> Result<f64, Failure> {
    std::thread::sleep(SETTLE);
    server.rss()
}
