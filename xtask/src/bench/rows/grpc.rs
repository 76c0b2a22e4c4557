//! The gRPC API, beside the HTTP API.

use super::{figure, names, usual, usual_floor};
use crate::bench::Bench;
use crate::bench::report::{Budget, Reading};
use crate::bench::rig::{KEY, Rig, Sample, number, rounds};
use crate::shell::{self, Failure};
use serde_json::{Value, json};
use std::collections::HashMap;

const SECONDS: f64 = 2.0;
/// Requests under way at a time, by either API.
const UNDER_WAY: usize = 32;
/// Calls of gRPC that share a connection.
const CALLS: usize = 4;

pub(super) fn publish(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    let rate = |key, what| figure(key, what, "1/s", Reading::Rate, Budget::None);
    let figures = [
        rate("rate", "publications per CPU second"),
        figure("wall", "publications per second, load included", "1/s", Reading::Plain, Budget::None),
        rate("http", "through the HTTP API, per CPU second"),
        figure("of_http", "CPU, of that through the HTTP API", "×", Reading::Plain, Budget::None),
    ];
    let mut floor = usual_floor()?;
    // The port of each server's gRPC API, by its process.
    let (mut rigs, mut ports) = (Vec::new(), HashMap::new());
    for target in &bench.targets {
        if !target.is_fresh() {
            return Err("the port of the gRPC API is given at the start: use --against-bin".into());
        }
        let port = shell::free_port()?;
        let api = json!({"grpc_api": {"enabled": true, "address": "127.0.0.1", "port": port, "key": KEY}});
        let rig = Rig::new(target.start(&api)?)?;
        ports.insert(rig.server.pid, port);
        rigs.push(rig);
    }
    let result = rounds(bench.rounds, &mut floor, &usual(), &mut rigs, |rig| {
        let call = json!({
            "op": "grpc", "address": format!("127.0.0.1:{}", ports[&rig.server.pid]), "key": KEY, "seconds": SECONDS,
            "connections": UNDER_WAY / CALLS, "calls": CALLS, "size": 128, "channel": "api",
        });
        let request = json!({
            "op": "http", "address": rig.server.address, "key": KEY, "seconds": SECONDS, "connections": UNDER_WAY,
            "batch": 1, "size": 128, "channel": "api",
        });
        let (rate, wall) = measured(rig, &call, "grpc")?;
        let (http, _) = measured(rig, &request, "http")?;
        Ok(Sample::from([("rate", rate), ("wall", wall), ("http", http), ("of_http", http / rate)]))
    })?;
    bench.report.add(row, &names(bench), &figures, &result);
    Ok(())
}

/// Publishes as `command` says. Returns publications per CPU second of the server, and per second.
pub(super) fn measured(rig: &mut Rig, command: &Value, answer: &str) -> Result<(f64, f64), Failure> {
    let (answer, spent) = rig.spent(|rig| rig.clients.call(command, answer))?;
    let results = number(&answer, "results");
    if number(&answer, "failed") > 0.0 || results < 1.0 {
        return Err(format!("{}: publications were refused: {answer}", rig.server.name).into());
    }
    Ok((results / (spent / 1e9), results / number(&answer, "seconds")))
}
