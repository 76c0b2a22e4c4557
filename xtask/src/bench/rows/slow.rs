//! Readers that stop reading, and what it does to the others.

use super::{figure, names, unchanged, usual};
use crate::bench::Bench;
use crate::bench::process;
use crate::bench::report::{Budget, Reading};
use crate::bench::rig::{Rig, Round, Rounds, Sample, Stream, number};
use crate::bench::server::Server;
use crate::bench::settings::Settings;
use crate::shell::Failure;
use serde_json::{Value, json};

const READERS: usize = 9_000;
const STALLED_EVERY: usize = 10;
const ROUNDS: usize = 9;

/// Each round: a stream to all readers while all read, then the same while every tenth does not.
pub(super) fn run(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    let figures = [
        figure("ratio", "others' p99, stalled ones : none", "×", Reading::Plain, Budget::AtMost(1.5)),
        figure("p99", "others' p99 with stalled ones", "ms", Reading::Plain, Budget::None),
        figure("growth", "highest RSS growth per stalled reader", "B", Reading::Plain, Budget::None),
    ];
    // Left alone, the kernel takes in up to 4 MB for a reader that stalls, before a server notices anything.
    let mut settings = Settings::default();
    settings.set("/proc/sys/net/ipv4/tcp_wmem", "4096 16384 65536")?;
    // A queue of 64 KiB, so that the limit is reached within a stream of seconds.
    let mut changes = unchanged();
    changes["client"] = json!({"queue_max_size": 65_536});
    // They are to end by that, and not because they take nothing.
    changes["websocket"] = json!({"write_timeout": "60s"});
    let mut result = Rounds::default();
    for _ in 0..if bench.full { ROUNDS } else { 3 } {
        let mut samples = Vec::new();
        for target in &bench.targets {
            samples.push(round(target.start(&changes)?)?);
        }
        result.kept.push(Round { floor: Sample::new(), samples });
    }
    let stalled = (READERS / STALLED_EVERY) as f64;
    let names = names(bench);
    for (name, sample) in result.kept.iter().flat_map(|round| names.iter().zip(&round.samples)) {
        if sample["slow"] < stalled {
            let slow = sample["slow"];
            bench
                .report
                .faults
                .push(format!("{row}, {name}: {slow} of {stalled} stalled readers ended with 3008"));
        }
        if sample["short"] > 0.0 {
            bench
                .report
                .faults
                .push(format!("{row}, {name}: {} deliveries to the others are missing", sample["short"]));
        }
    }
    bench.report.add(row, &names, &figures, &result);
    Ok(())
}

fn round(server: Server) -> Result<Sample, Failure> {
    let stalled = READERS / STALLED_EVERY;
    let mut rig = Rig::new(server)?;
    rig.connect(&json!({
        "count": READERS, "subscriptions": 1, "channel": "bench", "channels": 1, "stall_every": STALLED_EVERY,
    }))?;
    let stream = Stream { rate: 5.0, seconds: 16.0, size: 4096, subscribers: READERS - stalled, ..usual() };
    let all = rig.publish(&Stream { seconds: 4.0, subscribers: READERS, ..stream.clone() })?;
    let rss = rig.server.rss()?;
    process::reset_peak(rig.server.pid)?;
    rig.clients.call(&json!({"op": "stall"}), "stall")?;
    let others = rig.publish(&stream)?;
    let growth = (process::peak(rig.server.pid)? - rss) / stalled as f64;
    let counted = disconnects(&rig.server);
    rig.clients.call(&json!({"op": "resume"}), "resume")?;
    let stats = rig.clients.call(&json!({"op": "settle", "quiet_ms": 2000}), "stats")?;
    // The close frame of a reader that stalls for long never arrives; the server's own count does.
    let closed = stats.get("closed").map_or(0.0, |closed: &Value| number(closed, "3008"));
    Ok(Sample::from([
        ("ratio", others["p99"] / all["p99"]),
        ("p99", others["p99"]),
        ("growth", growth),
        ("slow", counted.unwrap_or(0.0).max(closed)),
        ("short", others["expected"] - others["delivered"]),
    ]))
}

/// Disconnects for slowness, as the server counts them under Centrifugo's name.
fn disconnects(server: &Server) -> Option<f64> {
    server.metric("centrifugo_client_num_server_disconnects", "code=\"3008\"")
}
