//! Cost and latency of a delivery.

use super::{figure, names, rigs, unchanged, usual, usual_floor};
use crate::bench::Bench;
use crate::bench::report::{Budget, Figure, Reading};
use crate::bench::rig::{Floor, Rig, Rounds, Sample, Stream, number, rounds};
use crate::shell::Failure;
use serde_json::{Value, json};

/// Sends may fall short of deliveries by this share before a row counts as coalesced: two scrapes of the
/// counters never hit the same instant.
const TOLERANCE: f64 = 0.005;

pub(super) fn two_thousand(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    paced(bench, row, "json", &Stream { seconds: 3.0, ..usual() }, &uncoalesced())
}

pub(super) fn two_thousand_protobuf(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    paced(bench, row, "protobuf", &Stream { seconds: 3.0, ..usual() }, &uncoalesced())
}

pub(super) fn one_thousand(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    paced(
        bench,
        row,
        "json",
        &Stream { rate: 80.0, seconds: 3.0, subscribers: 1_000, ..usual() },
        &uncoalesced(),
    )
}

/// As many as two such sets fit into the limit of open files.
pub(super) fn ten_thousand(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    paced(
        bench,
        row,
        "json",
        &Stream { rate: 8.0, seconds: 3.0, subscribers: 9_500, ..usual() },
        &uncoalesced(),
    )
}

pub(super) fn five_hundred(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    let stream = Stream { rate: 1_000.0, seconds: 3.0, subscribers: 500, may_coalesce: true, ..usual() };
    let figures = [
        figure("us", "CPU per delivery", "µs", Reading::Cost, Budget::AtMost(2.0)),
        figure("p50", "latency p50", "ms", Reading::Cost, Budget::None),
        figure("p99", "latency p99", "ms", Reading::Cost, Budget::AtMost(25.0)),
    ];
    // The floor cannot keep up with 500,000 sends a second; its cost per send is what is asked of it.
    let floor = Stream { rate: 100.0, seconds: 1.0, ..stream.clone() };
    beside(bench, row, "json", &stream, &floor, &figures)
}

pub(super) fn light(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    let stream = Stream { rate: 200.0, seconds: 3.0, subscribers: 100, ..usual() };
    let figures = [
        figure("p50", "latency p50", "ms", Reading::Cost, Budget::AtMost(0.8)),
        figure("p99", "latency p99", "ms", Reading::Cost, Budget::AtMost(2.0)),
        figure("p50", "latency p50, of the floor's", "×", Reading::OfFloor, Budget::None),
        figure("p99", "latency p99, of the floor's", "×", Reading::OfFloor, Budget::None),
        figure("us", "CPU per delivery, of the floor's", "×", Reading::OfFloor, Budget::None),
    ];
    paced(bench, row, "json", &stream, &figures)
}

pub(super) fn thousand_channels(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    const CHANNELS: u64 = 1_000;
    let stream = Stream {
        rate: 4_000.0,
        seconds: 3.0,
        channels: CHANNELS,
        subscribers: 10,
        may_coalesce: true,
        ..usual()
    };
    let floor = Stream { rate: 4.0, channels: 1, subscribers: 10_000, ..stream.clone() };
    // A publication costs as such, too, and here it has but ten deliveries to share that among.
    let figures = [
        figure("us", "CPU per delivery, a tenth of a publish", "µs", Reading::Cost, Budget::None),
        figure("p50", "latency p50", "ms", Reading::Cost, Budget::None),
        figure("p99", "latency p99", "ms", Reading::Cost, Budget::None),
    ];
    beside(bench, row, "json", &stream, &floor, &figures)
}

pub(super) fn burst(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    let stream = Stream { rate: 2e6, seconds: 0.001, subscribers: 500, may_coalesce: true, ..usual() };
    let floor = Stream { rate: 100.0, seconds: 1.0, ..stream.clone() };
    let figures = [
        figure("us", "CPU per delivery", "µs", Reading::Cost, Budget::None),
        figure("p99", "latency p99", "ms", Reading::Cost, Budget::None),
    ];
    beside(bench, row, "json", &stream, &floor, &figures)
}

/// Three sets of subscribers in one namespace: plain, with deltas, with one of ten filters that let everything pass.
/// The same publications go to each, one set after the other.
pub(super) fn kinds(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    const EACH: usize = 1_000;
    let figures = [
        figure("us", "CPU per plain delivery", "µs", Reading::Cost, Budget::None),
        figure("delta", "CPU per delta, of a plain one's", "×", Reading::Plain, Budget::None),
        figure("filters", "CPU per filtered one, of a plain one's", "×", Reading::Plain, Budget::None),
        figure("delta_bytes", "bytes per delta, of a plain one's", "×", Reading::Plain, Budget::None),
    ];
    let stream = |channel| Stream { seconds: 2.0, subscribers: EACH, channel, tag: "100", ..usual() };
    let streams = [stream("kinds:plain"), stream("kinds:delta"), stream("kinds:filters")];
    let (mut floor, mut rigs) = (usual_floor()?, rigs(bench, &unchanged())?);
    for rig in &mut rigs {
        for (number, (stream, wish)) in
            streams.iter().zip([json!({}), json!({"delta": true}), json!({"filters": 10})]).enumerate()
        {
            let mut plan = plan("json", stream, EACH * (number + 1));
            if let (Some(plan), Some(wish)) = (plan.as_object_mut(), wish.as_object()) {
                plan.extend(wish.clone());
            }
            rig.connect(&plan)?;
            rig.publish(&Stream { seconds: 0.5, ..stream.clone() })?;
        }
    }
    let result = rounds(bench.rounds, &mut floor, &usual(), &mut rigs, |rig| {
        let [plain, delta, filters] =
            [rig.publish(&streams[0])?, rig.publish(&streams[1])?, rig.publish(&streams[2])?];
        let mut sample = Sample::from([
            ("us", plain["us"]),
            ("delta", delta["us"] / plain["us"]),
            ("filters", filters["us"] / plain["us"]),
            ("delta_bytes", delta["bytes"] / plain["bytes"]),
        ]);
        for key in ["expected", "delivered", "missing", "repeated", "refused"] {
            sample.insert(key, plain[key] + delta[key] + filters[key]);
        }
        for key in ["reads_per_delivery", "sends_per_delivery"] {
            sample.extend(plain.get_key_value(key));
        }
        Ok(sample)
    })?;
    check(bench, row, &Stream { may_coalesce: true, ..usual() }, &result);
    bench.report.add(row, &names(bench), &figures, &result);
    Ok(())
}

/// Two sets of subscribers of one server, plain and with compression. Publications of 1 KB go to each, one set after the
/// other. Clients do not inflate what they get, and no two publications may share a send.
pub(super) fn deflate(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    const EACH: usize = 2_000;
    let figures = [
        figure("us", "CPU per plain delivery", "µs", Reading::Cost, Budget::None),
        figure(
            "deflate",
            "CPU per compressed one, of a plain one's",
            "×",
            Reading::Plain,
            Budget::AtMost(1.1),
        ),
        figure(
            "deflate_bytes",
            "bytes per compressed one, of a plain one's",
            "×",
            Reading::Plain,
            Budget::None,
        ),
    ];
    let stream = |channel| Stream { seconds: 2.0, size: 1_000, subscribers: EACH, channel, ..usual() };
    let streams = [stream("plain"), stream("deflate")];
    let bytes = Stream { size: 1_000, ..usual() };
    let (mut floor, mut rigs) = (usual_floor()?, rigs(bench, &json!({"websocket": {"compression": true}}))?);
    for rig in &mut rigs {
        for (number, stream) in streams.iter().enumerate() {
            let mut plan = plan("json", stream, EACH * (number + 1));
            plan["deflate"] = json!(number == 1);
            rig.connect(&plan)?;
            rig.publish(&Stream { seconds: 0.5, ..stream.clone() })?;
        }
    }
    let result = rounds(bench.rounds, &mut floor, &bytes, &mut rigs, |rig| {
        let [plain, deflate] = [rig.publish(&streams[0])?, rig.publish(&streams[1])?];
        let mut sample = Sample::from([
            ("us", plain["us"]),
            ("deflate", deflate["us"] / plain["us"]),
            ("deflate_bytes", deflate["bytes"] / plain["bytes"]),
        ]);
        for key in ["expected", "delivered", "missing", "repeated", "refused"] {
            sample.insert(key, plain[key] + deflate[key]);
        }
        for key in ["reads_per_delivery", "sends_per_delivery"] {
            sample.extend(plain.get_key_value(key));
        }
        Ok(sample)
    })?;
    check(bench, row, &Stream { may_coalesce: true, ..usual() }, &result);
    bench.report.add(row, &names(bench), &figures, &result);
    Ok(())
}

/// Three sets of subscribers of one server: of today's protocol, of version 1, and half of each in one channel.
pub(super) fn old(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    const EACH: usize = 2_000;
    let figures = [
        figure("us", "CPU per delivery, today's protocol", "µs", Reading::Cost, Budget::None),
        figure("old", "CPU per delivery, version 1, of today's", "×", Reading::Plain, Budget::AtMost(1.1)),
        figure(
            "mixed",
            "CPU per delivery, half of each, of today's",
            "×",
            Reading::Plain,
            Budget::AtMost(1.1),
        ),
    ];
    let stream = |channel| Stream { seconds: 2.0, subscribers: EACH, channel, ..usual() };
    let streams = [stream("today"), stream("old"), stream("mixed")];
    let sets = [
        ("json", &streams[0], EACH),
        ("old-json", &streams[1], EACH),
        ("json", &streams[2], EACH / 2),
        ("old-json", &streams[2], EACH / 2),
    ];
    let (mut floor, mut rigs) = (usual_floor()?, rigs(bench, &unchanged())?);
    for rig in &mut rigs {
        let mut count = 0;
        for (encoding, stream, more) in &sets {
            count += more;
            rig.connect(&plan(encoding, stream, count))?;
        }
        for stream in &streams {
            rig.publish(&Stream { seconds: 0.5, ..stream.clone() })?;
        }
    }
    let result = rounds(bench.rounds, &mut floor, &usual(), &mut rigs, |rig| {
        let [today, old, mixed] =
            [rig.publish(&streams[0])?, rig.publish(&streams[1])?, rig.publish(&streams[2])?];
        let mut sample = Sample::from([
            ("us", today["us"]),
            ("old", old["us"] / today["us"]),
            ("mixed", mixed["us"] / today["us"]),
        ]);
        for key in ["expected", "delivered", "missing", "repeated", "refused"] {
            sample.insert(key, today[key] + old[key] + mixed[key]);
        }
        for key in ["reads_per_delivery", "sends_per_delivery"] {
            sample.extend(today.get_key_value(key));
        }
        Ok(sample)
    })?;
    check(bench, row, &Stream { may_coalesce: true, ..usual() }, &result);
    bench.report.add(row, &names(bench), &figures, &result);
    Ok(())
}

/// Finds the rate that a server saturates at, then measures at parts of it.
pub(super) fn saturation(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    const KEYS: [(&str, &str, f64); 3] =
        [("p50_25", "p99_25", 0.25), ("p50_50", "p99_50", 0.5), ("p50_75", "p99_75", 0.75)];
    let figures = [
        figure("rate", "saturates at, messages", "1/s", Reading::Rate, Budget::None),
        figure("p50_25", "p50 at 25 %", "ms", Reading::Plain, Budget::None),
        figure("p99_25", "p99 at 25 %", "ms", Reading::Plain, Budget::None),
        figure("p50_50", "p50 at 50 %", "ms", Reading::Plain, Budget::None),
        figure("p99_50", "p99 at 50 %", "ms", Reading::Plain, Budget::None),
        figure("p50_75", "p50 at 75 %", "ms", Reading::Plain, Budget::None),
        figure("p99_75", "p99 at 75 %", "ms", Reading::Plain, Budget::None),
    ];
    let stream = Stream { seconds: 2.0, subscribers: 1_000, may_coalesce: true, ..usual() };
    let (mut floor, mut rigs) = (usual_floor()?, rigs(bench, &unchanged())?);
    rigs.iter_mut().try_for_each(|rig| subscribe(rig, "json", &stream))?;
    let result = rounds(bench.rounds.min(3), &mut floor, &usual(), &mut rigs, |rig| {
        let mut sample = Sample::new();
        let (mut rate, mut best) = (50.0, 0.0);
        // A server keeps up while the last message is not much later than the first.
        while rate < 20_000.0 {
            let got = rig.publish(&Stream { rate, ..stream.clone() })?;
            if got["p99"] > 250.0 || got["delivered"] < got["expected"] {
                break;
            }
            best = rate;
            rate *= 1.4;
        }
        sample.insert("rate", best);
        for (p50, p99, part) in KEYS {
            let got = rig.publish(&Stream { rate: (best * part).max(1.0), ..stream.clone() })?;
            sample.insert(p50, got["p50"]);
            sample.insert(p99, got["p99"]);
        }
        Ok(sample)
    })?;
    bench.report.add(row, &names(bench), &figures, &result);
    Ok(())
}

fn uncoalesced() -> [Figure; 4] {
    [
        figure("us", "CPU per delivery, of the floor's", "×", Reading::OfFloor, Budget::AtMost(1.25)),
        figure("us", "CPU per delivery", "µs", Reading::Cost, Budget::None),
        figure("p50", "latency p50, of the floor's", "×", Reading::OfFloor, Budget::None),
        figure("p99", "latency p99, of the floor's", "×", Reading::OfFloor, Budget::None),
    ]
}

fn paced(
    bench: &mut Bench,
    row: &'static str,
    encoding: &str,
    stream: &Stream,
    figures: &[Figure],
) -> Result<(), Failure> {
    beside(bench, row, encoding, stream, &Stream { seconds: stream.seconds / 2.0, ..stream.clone() }, figures)
}

/// Publishes `stream` on each server, with the floor writing `bytes` before and after.
fn beside(
    bench: &mut Bench,
    row: &'static str,
    encoding: &str,
    stream: &Stream,
    bytes: &Stream,
    figures: &[Figure],
) -> Result<(), Failure> {
    let mut floor = Floor::new(bytes.subscribers)?;
    let mut rigs = rigs(bench, &unchanged())?;
    for rig in &mut rigs {
        subscribe(rig, encoding, stream)?;
        // What is done once, such as growing tables, is done before the first round.
        rig.publish(&Stream { seconds: (stream.seconds / 6.0).max(10.0 / stream.rate), ..stream.clone() })?;
    }
    let result = rounds(bench.rounds, &mut floor, bytes, &mut rigs, |rig| rig.publish(stream))?;
    check(bench, row, stream, &result);
    bench.report.add(row, &names(bench), figures, &result);
    Ok(())
}

fn subscribe(rig: &mut Rig, encoding: &str, stream: &Stream) -> Result<(), Failure> {
    let count = stream.subscribers * usize::try_from(stream.channels)?;
    let answer = rig.connect(&plan(encoding, stream, count))?;
    if number(&answer, "count") == count as f64 { Ok(()) } else { Err("connections are missing".into()) }
}

fn plan(encoding: &str, stream: &Stream, count: usize) -> Value {
    json!({
        "count": count, "encoding": encoding, "subscriptions": 1, "channel": stream.channel,
        "channels": stream.channels,
    })
}

/// Lost or doubled deliveries, refused publications, or coalesced sends where none may be.
pub(super) fn check(bench: &mut Bench, row: &'static str, stream: &Stream, rounds: &Rounds) {
    let names = names(bench);
    let mut counted = true;
    let when = if rounds.disturbed { " (while other work disturbed it)" } else { "" };
    for (number, round) in rounds.kept.iter().enumerate() {
        for (name, sample) in names.iter().zip(&round.samples) {
            let get = |key: &str| sample.get(key).copied().unwrap_or(0.0);
            let whole = get("delivered") == get("expected");
            if !whole || get("missing") + get("repeated") + get("refused") > 0.0 {
                bench.report.faults.push(format!(
                    "{row}, round {number}, {name}: expected {}, delivered {}, missing {}, repeated {}, publications refused {}",
                    get("expected"), get("delivered"), get("missing"), get("repeated"), get("refused"),
                ));
            }
            match sample.get("sends_per_delivery") {
                Some(sends) if !stream.may_coalesce && *sends < 1.0 - TOLERANCE => {
                    bench.report.faults.push(format!("{row}, round {number}, {name}: {sends:.3} sends per delivery where nothing may coalesce{when}"));
                }
                Some(_) => {}
                None => counted = false,
            }
        }
    }
    if !counted {
        let text = "a server here does not count its sends, so coalescing is seen only in the clients' reads";
        bench.report.note(row, text.to_owned());
    }
}
