//! Requests that the application's backend answers.

use super::{figure, names, rigs, usual, usual_floor};
use crate::bench::Bench;
use crate::bench::process::Agent;
use crate::bench::report::{Budget, Reading};
use crate::bench::rig::{Sample, number, rounds};
use crate::shell::Failure;
use serde_json::{Value, json};
use std::time::Duration;

const LOGINS: usize = 5_000;
const CONNECTIONS: usize = 200;
const SECONDS: f64 = 2.0;

/// Starts a backend that answers at once. It ends with this value.
fn backend() -> Result<(Agent, String), Failure> {
    let mut backend = Agent::start("backend")?;
    let answers = json!({
        "/connect": {"result": {"user": "u"}},
        "/rpc": {"result": {"data": {}}},
    });
    let answer = backend.call(&json!({"answers": answers}), "address")?;
    let address = answer.get("address").and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok((backend, address))
}

pub(super) fn connect(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    let figures = [
        figure("rate", "connections per CPU second", "1/s", Reading::Rate, Budget::None),
        figure("us", "CPU per connection", "µs", Reading::Cost, Budget::None),
        figure(
            "wall",
            "connections per second, load and backend included",
            "1/s",
            Reading::Plain,
            Budget::None,
        ),
        figure("of_token", "CPU per connection, of one with a token", "×", Reading::Plain, Budget::None),
    ];
    let (_backend, address) = backend()?;
    let proxied = json!({"client": {"proxy": {"connect": {
        "enabled": true, "endpoint": format!("http://{address}/connect"), "timeout": "5s",
    }}}});
    let (mut floor, mut rigs) = (usual_floor()?, rigs(bench, &proxied)?);
    let result = rounds(bench.rounds, &mut floor, &usual(), &mut rigs, |rig| {
        let mut storm = |more: Value| {
            let mut plan = json!({"count": LOGINS, "window": CONNECTIONS});
            if let (Some(plan), Some(more)) = (plan.as_object_mut(), more.as_object()) {
                plan.extend(more.clone());
            }
            let (answer, spent) = rig.spent(|rig| rig.connect(&plan))?;
            rig.clients.call(&json!({"op": "drop"}), "dropped")?;
            // What the end of the connections costs is not part of the figure.
            std::thread::sleep(Duration::from_secs(1));
            Ok::<_, Failure>((answer, spent / 1e3 / LOGINS as f64))
        };
        let (answer, us) = storm(json!({"secret": null}))?;
        let (_, token) = storm(json!({}))?;
        Ok(Sample::from([
            ("us", us),
            ("rate", 1e6 / us),
            ("wall", LOGINS as f64 / number(&answer, "seconds")),
            ("of_token", us / token),
        ]))
    })?;
    bench.report.add(row, &names(bench), &figures, &result);
    Ok(())
}

pub(super) fn rpc(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    let figures = [
        figure("rate", "calls per CPU second", "1/s", Reading::Rate, Budget::None),
        figure("wall", "calls per second, load and backend included", "1/s", Reading::Plain, Budget::None),
    ];
    let (_backend, address) = backend()?;
    let proxied = json!({"rpc": {
        "proxy": {"endpoint": format!("http://{address}/rpc"), "timeout": "5s"},
        "without_namespace": {"proxy_enabled": true},
    }});
    let (mut floor, mut rigs) = (usual_floor()?, rigs(bench, &proxied)?);
    for rig in &mut rigs {
        rig.connect(&json!({"count": CONNECTIONS}))?;
    }
    let load = json!({"op": "load", "command": "rpc", "channel": "m", "seconds": SECONDS});
    let result = rounds(bench.rounds, &mut floor, &usual(), &mut rigs, |rig| {
        rig.clients.call(&json!({"op": "reset"}), "reset")?;
        let (answer, spent) = rig.spent(|rig| rig.clients.call(&load, "load"))?;
        if answer.get("errors").and_then(Value::as_object).is_none_or(|errors| !errors.is_empty()) {
            return Err(format!("{}: calls were refused: {answer}", rig.server.name).into());
        }
        let replies = number(&answer, "replies");
        Ok(Sample::from([("rate", replies / (spent / 1e9)), ("wall", replies / number(&answer, "seconds"))]))
    })?;
    bench.report.add(row, &names(bench), &figures, &result);
    Ok(())
}
