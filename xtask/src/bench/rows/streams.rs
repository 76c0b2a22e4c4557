//! Cost of connections whose output is the response to a request.

use super::memory::{fresh, measure_with};
use super::{figure, names, usual, usual_floor};
use crate::bench::Bench;
use crate::bench::report::{Budget, Reading};
use crate::bench::rig::{Rig, Sample, Stream, number, rounds};
use crate::shell::Failure;
use serde_json::{Value, json};

/// The transports, and the names of their figures.
const TRANSPORTS: [&str; 4] = ["sse", "http_stream", "uni_sse", "uni_http_stream"];

/// The transports on, and pings far away: nobody answers those of a stream here.
fn changes() -> Value {
    let on = json!({"enabled": true});
    json!({
        "sse": on, "http_stream": on, "uni_sse": on, "uni_http_stream": on,
        "client": {"ping_interval": "600s"},
    })
}

/// Memory of an idle connection with one subscription on a channel of its own.
pub(super) fn memory(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    let figures =
        TRANSPORTS.map(|name| figure(name, name, "B", Reading::Plain, Budget::AtMost(6.0 * 1024.0)));
    fresh(bench, row, &figures, |target| {
        let mut sample = Sample::new();
        for name in TRANSPORTS {
            let plan = json!({"subscriptions": 1, "channel": "m", "transport": name});
            sample.insert(name, measure_with(target, &changes(), &plan)?);
        }
        Ok(sample)
    })
}

/// The same publications to as many subscribers over each transport, one set after the other.
pub(super) fn fanout(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    const EACH: usize = 2_000;
    const SETS: [(&str, &str); 3] =
        [("websocket", "st-websocket-"), ("sse", "st-sse-"), ("http_stream", "st-http-stream-")];
    let figures = [
        figure("us", "CPU per delivery over WebSocket", "µs", Reading::Cost, Budget::None),
        figure("sse", "over SSE, of WebSocket's", "×", Reading::Plain, Budget::AtMost(1.3)),
        figure("http_stream", "over HTTP streams, of WebSocket's", "×", Reading::Plain, Budget::AtMost(1.3)),
    ];
    let streams = SETS.map(|(_, channel)| Stream { seconds: 2.0, subscribers: EACH, channel, ..usual() });
    let mut floor = usual_floor()?;
    let targets = bench.targets.iter();
    let mut rigs: Vec<Rig> =
        targets.map(|target| Rig::new(target.start(&changes())?)).collect::<Result<_, Failure>>()?;
    for rig in &mut rigs {
        for (at, ((transport, channel), stream)) in SETS.iter().zip(&streams).enumerate() {
            let count = EACH * (at + 1);
            let answer = rig.connect(&json!({
                "count": count, "subscriptions": 1, "channel": channel, "channels": 1, "transport": transport,
            }))?;
            if number(&answer, "count") != count as f64 {
                return Err(format!("{transport}: connections are missing: {answer}").into());
            }
            rig.publish(&Stream { seconds: 0.5, ..stream.clone() })?;
        }
    }
    let result = rounds(bench.rounds, &mut floor, &usual(), &mut rigs, |rig| {
        let [websocket, sse, lines] =
            [rig.publish(&streams[0])?, rig.publish(&streams[1])?, rig.publish(&streams[2])?];
        let mut sample = Sample::from([
            ("us", websocket["us"]),
            ("sse", sse["us"] / websocket["us"]),
            ("http_stream", lines["us"] / websocket["us"]),
        ]);
        for key in ["expected", "delivered", "missing", "repeated", "refused"] {
            sample.insert(key, websocket[key] + sse[key] + lines[key]);
        }
        sample.extend(websocket.get_key_value("reads_per_delivery"));
        Ok(sample)
    })?;
    super::fanout::check(bench, row, &Stream { may_coalesce: true, ..usual() }, &result);
    bench.report.add(row, &names(bench), &figures, &result);
    Ok(())
}
