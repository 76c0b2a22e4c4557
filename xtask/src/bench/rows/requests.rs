//! Requests and their answers: the HTTP API, and commands over WebSocket.

use super::{figure, names, rigs, unchanged, usual, usual_floor};
use crate::bench::Bench;
use crate::bench::report::{Budget, Reading};
use crate::bench::rig::{KEY, Sample, number, rounds};
use crate::shell::Failure;
use serde_json::{Value, json};

const SECONDS: f64 = 2.0;
const CONNECTIONS: usize = 1_000;

pub(super) fn http(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    api(bench, row, 1, 80_000.0)
}

pub(super) fn batch(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    api(bench, row, 100, 500_000.0)
}

fn api(bench: &mut Bench, row: &'static str, batch: u64, budget: f64) -> Result<(), Failure> {
    let figures = [
        figure("rate", "publications per CPU second", "1/s", Reading::Rate, Budget::AtLeast(budget)),
        figure("wall", "publications per second, load included", "1/s", Reading::Plain, Budget::None),
        figure("history", "with history, per CPU second", "1/s", Reading::Rate, Budget::None),
        figure("history_cost", "CPU with history, of that without", "×", Reading::Plain, Budget::None),
    ];
    let (mut floor, mut rigs) = (usual_floor()?, rigs(bench, &unchanged())?);
    let result = rounds(bench.rounds, &mut floor, &usual(), &mut rigs, |rig| {
        let mut publish = |channel: &str| {
            let command = json!({
                "op": "http", "address": rig.server.address, "key": KEY, "seconds": SECONDS, "connections": 32,
                "batch": batch, "size": 128, "channel": channel,
            });
            let (answer, spent) = rig.spent(|rig| rig.clients.call(&command, "http"))?;
            if number(&answer, "failed") > 0.0 || number(&answer, "results") < 1.0 {
                return Err(Failure::from(format!(
                    "{}: publications were refused: {answer}",
                    rig.server.name
                )));
            }
            Ok(rates(number(&answer, "results"), spent, number(&answer, "seconds")))
        };
        let (mut sample, stored) = (publish("api")?, publish("hist:api")?);
        sample.insert("history", stored["rate"]);
        sample.insert("history_cost", sample["rate"] / stored["rate"]);
        Ok(sample)
    })?;
    bench.report.add(row, &names(bench), &figures, &result);
    Ok(())
}

pub(super) fn publish(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    let plan = json!({"count": CONNECTIONS});
    let load = json!({"op": "load", "command": "publish", "channel": "pub:sink", "seconds": SECONDS});
    commands(bench, row, &plan, &load)
}

pub(super) fn history(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    let plan = json!({"count": CONNECTIONS, "subscriptions": 1, "channel": "hist:h", "channels": 1});
    let load = json!({
        "op": "load", "command": "history", "limit": 10, "channel": "hist:h", "share": CONNECTIONS, "seconds": SECONDS,
    });
    commands(bench, row, &plan, &load)
}

pub(super) fn presence(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    let plan = json!({"count": CONNECTIONS, "subscriptions": 1, "channel": "pres:p", "share": 10});
    let load =
        json!({"op": "load", "command": "presence", "channel": "pres:p", "share": 10, "seconds": SECONDS});
    commands(bench, row, &plan, &load)
}

/// Each of a thousand connections sends the next command when the reply to the last has come.
fn commands(bench: &mut Bench, row: &'static str, plan: &Value, load: &Value) -> Result<(), Failure> {
    let figures = [
        figure("rate", "commands per CPU second", "1/s", Reading::Rate, Budget::AtLeast(60_000.0)),
        figure("wall", "commands per second, load included", "1/s", Reading::Plain, Budget::None),
    ];
    let (mut floor, mut rigs) = (usual_floor()?, rigs(bench, &unchanged())?);
    for rig in &mut rigs {
        rig.connect(plan)?;
        let channel = plan.get("channel").and_then(Value::as_str).unwrap_or_default();
        if channel.starts_with("hist:") {
            let fill = json!({
                "op": "publish", "address": rig.server.address, "key": KEY, "rate": 100.0, "seconds": 0.1,
                "size": 128, "channel": channel,
            });
            rig.clients.call(&fill, "published")?;
        }
    }
    let result = rounds(bench.rounds, &mut floor, &usual(), &mut rigs, |rig| {
        rig.clients.call(&json!({"op": "reset"}), "reset")?;
        let (answer, spent) = rig.spent(|rig| rig.clients.call(load, "load"))?;
        if answer.get("errors").and_then(Value::as_object).is_none_or(|errors| !errors.is_empty()) {
            return Err(format!("{}: commands were refused: {answer}", rig.server.name).into());
        }
        Ok(rates(number(&answer, "replies"), spent, number(&answer, "seconds")))
    })?;
    bench.report.add(row, &names(bench), &figures, &result);
    Ok(())
}

fn rates(count: f64, spent: f64, seconds: f64) -> Sample {
    Sample::from([("rate", count / (spent / 1e9)), ("wall", count / seconds)])
}
