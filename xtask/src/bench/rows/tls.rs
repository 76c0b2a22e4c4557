//! TLS beside plain connections, each in the same round.

use super::memory::{fresh, measure_with};
use super::{figure, names, rigs, unchanged, usual, usual_floor};
use crate::bench::Bench;
use crate::bench::process::Agent;
use crate::bench::report::{Budget, Reading};
use crate::bench::rig::{Rig, Sample, Stream, number, rounds};
use crate::shell::{self, Failure};
use serde_json::{Value, json};
use std::time::Duration;

const STORM: usize = 4_000;

/// The configuration of a server with a certificate made for this run; clients alone use TLS.
pub(crate) fn encrypted() -> Result<Value, Failure> {
    let mut agent = Agent::start("tls")?;
    let made = agent.call(&json!({"op": "certificate"}), "certificate")?;
    let (certificate, key) = (shell::target().join("bench-cert.pem"), shell::target().join("bench-key.pem"));
    for (path, name) in [(&certificate, "certificate"), (&key, "key")] {
        std::fs::write(path, made.get(name).and_then(Value::as_str).unwrap_or_default())?;
    }
    Ok(json!({"http_server": {
        "tls": {"enabled": true, "cert_pem": certificate, "key_pem": key}, "tls_external": true,
    }}))
}

/// Memory of an idle connection over TLS, beside plain.
pub(super) fn memory(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    let figures = [
        figure("bytes", "RSS per TLS connection", "B", Reading::Plain, Budget::AtMost(7_168.0)),
        figure("plain", "RSS per plain connection", "B", Reading::Plain, Budget::None),
    ];
    let changes = encrypted()?;
    fresh(bench, row, &figures, |target| {
        let plain = measure_with(target, &unchanged(), &json!({"subscriptions": 1, "channel": "m"}))?;
        let tls =
            measure_with(target, &changes, &json!({"subscriptions": 1, "channel": "m", "tls": "full"}))?;
        Ok(Sample::from([("bytes", tls), ("plain", plain)]))
    })
}

/// CPU of a delivery over TLS, of a plain one's.
pub(super) fn fan_out(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    let figures = [
        figure("ratio", "CPU per delivery, of a plain one's", "×", Reading::Plain, Budget::AtMost(1.5)),
        figure("us", "CPU per delivery", "µs", Reading::Cost, Budget::None),
        figure("plain", "CPU per plain delivery", "µs", Reading::Cost, Budget::None),
        figure("p99", "latency p99", "ms", Reading::Plain, Budget::None),
    ];
    let stream = Stream { seconds: if bench.full { 8.0 } else { 4.0 }, ..usual() };
    let mut floor = usual_floor()?;
    let changes = encrypted()?;
    let (mut plains, mut rigs) = (rigs(bench, &unchanged())?, rigs(bench, &changes)?);
    let plan = json!({"count": stream.subscribers, "subscriptions": 1, "channel": "bench", "channels": 1});
    for rig in &mut plains {
        rig.connect(&plan)?;
    }
    let mut over = plan;
    over["tls"] = json!("full");
    for rig in &mut rigs {
        rig.connect(&over)?;
    }
    let (mut at, count) = (0, plains.len());
    let result = rounds(bench.rounds, &mut floor, &usual(), &mut rigs, |rig| {
        let plain = &mut plains[at % count];
        at += 1;
        let before = plain.publish(&stream)?;
        let mut sample = rig.publish(&stream)?;
        let after = plain.publish(&stream)?;
        let mean = (before["us"] + after["us"]) / 2.0;
        sample.insert("ratio", sample["us"] / mean);
        sample.insert("plain", mean);
        Ok(sample)
    })?;
    bench.report.add(row, &names(bench), &figures, &result);
    Ok(())
}

/// CPU of a connect over TLS, beside a plain one and beside what rustls takes for the handshake alone.
pub(super) fn connect(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    let figures = [
        figure("full", "CPU per connect, full handshake (P-256)", "µs", Reading::Cost, Budget::None),
        figure("resumed", "CPU per connect, resumed", "µs", Reading::Cost, Budget::None),
        figure("plain", "CPU per plain connect", "µs", Reading::Cost, Budget::None),
        figure("bare_full", "rustls alone, full handshake", "µs", Reading::Cost, Budget::None),
        figure("bare_resumed", "rustls alone, resumed", "µs", Reading::Cost, Budget::None),
        figure("of_bare", "full handshake, of what rustls takes for it", "×", Reading::Plain, Budget::None),
    ];
    let mut floor = usual_floor()?;
    let changes = encrypted()?;
    let (mut plains, mut rigs) = (rigs(bench, &unchanged())?, rigs(bench, &changes)?);
    let mut bare = Agent::start("tls")?;
    let (mut at, count) = (0, plains.len());
    let result = rounds(bench.rounds, &mut floor, &usual(), &mut rigs, |rig| {
        let plain = storm(&mut plains[at % count], "")?;
        at += 1;
        let alone = bare.call(&json!({"op": "handshakes", "count": 2_000}), "handshakes")?;
        let full = storm(rig, "resumable")?;
        let resumed_before = rig.server.metric("spinward_tls_handshakes_total", "resumed");
        let resumed = storm(rig, "resumed")?;
        let again = rig.server.metric("spinward_tls_handshakes_total", "resumed");
        if let (Some(before), Some(after)) = (resumed_before, again)
            && after - before < STORM as f64
        {
            return Err(
                format!("{}: of {STORM} sessions {} were resumed", rig.server.name, after - before).into()
            );
        }
        let (bare_full, bare_resumed) = (number(&alone, "full_us"), number(&alone, "resumed_us"));
        Ok(Sample::from([
            ("full", full),
            ("resumed", resumed),
            ("plain", plain),
            ("bare_full", bare_full),
            ("bare_resumed", bare_resumed),
            ("of_bare", (full - plain) / bare_full),
        ]))
    })?;
    bench.report.add(row, &names(bench), &figures, &result);
    Ok(())
}

/// CPU per connect, in microseconds.
fn storm(rig: &mut Rig, tls: &str) -> Result<f64, Failure> {
    let plan = json!({"count": STORM, "subscriptions": 1, "channel": "storm", "tls": tls});
    let (_, spent) = rig.spent(|rig| rig.connect(&plan))?;
    rig.clients.call(&json!({"op": "drop"}), "dropped")?;
    // What the end of the connections costs is not part of the figure.
    std::thread::sleep(Duration::from_secs(1));
    Ok(spent / 1e3 / STORM as f64)
}
