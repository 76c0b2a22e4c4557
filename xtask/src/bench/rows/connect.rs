//! Storms of connections.

use super::{figure, names, rigs, unchanged, usual, usual_floor};
use crate::bench::Bench;
use crate::bench::report::{Budget, Reading};
use crate::bench::rig::{KEY, LoginFloor, Rig, Sample, number, rounds};
use crate::shell::Failure;
use serde_json::{Value, json};
use std::time::Duration;

const STORM: usize = 10_000;

pub(super) fn storm(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    with(bench, row, "json")
}

pub(super) fn storm_protobuf(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    with(bench, row, "protobuf")
}

fn with(bench: &mut Bench, row: &'static str, encoding: &str) -> Result<(), Failure> {
    let figures = [
        figure("rate", "connections per CPU second", "1/s", Reading::Rate, Budget::AtLeast(16_000.0)),
        figure("us", "CPU per connection", "µs", Reading::Cost, Budget::None),
        figure("of_floor", "CPU per connection, of a bare login's", "×", Reading::Plain, Budget::AtMost(1.4)),
        figure("wall", "connections per second, load included", "1/s", Reading::Plain, Budget::None),
        figure("anonymous", "CPU per connection, of one without token", "×", Reading::Plain, Budget::None),
    ];
    let everybody = json!({
        "client": { "allow_anonymous_connect_without_token": true },
        "channel": { "without_namespace": { "allow_subscribe_for_anonymous": true } },
    });
    let (mut floor, mut rigs) = (usual_floor()?, rigs(bench, &everybody)?);
    let bare = LoginFloor::new()?;
    let result = rounds(bench.rounds, &mut floor, &usual(), &mut rigs, |rig| {
        // The floor reads JSON alone; its cost is that of the sockets and the token.
        let login = json!({"count": STORM, "subscriptions": 1, "channel": "storm", "encoding": "json"});
        let bare = |rig: &mut Rig| {
            let spent = bare.run(&mut rig.clients, &login)?;
            rig.clients.call(&json!({"op": "drop"}), "dropped")?;
            std::thread::sleep(Duration::from_secs(1));
            Ok::<_, Failure>(spent / 1e3 / STORM as f64)
        };
        let before = bare(rig)?;
        let mut storm = |more: Value| {
            let mut plan =
                json!({"count": STORM, "subscriptions": 1, "channel": "storm", "encoding": encoding});
            if let (Some(plan), Some(more)) = (plan.as_object_mut(), more.as_object()) {
                plan.extend(more.clone());
            }
            let (answer, spent) = rig.spent(|rig| rig.connect(&plan))?;
            rig.clients.call(&json!({"op": "drop"}), "dropped")?;
            // What the end of the connections costs is not part of the figure.
            std::thread::sleep(Duration::from_secs(1));
            Ok::<_, Failure>((answer, spent / 1e3 / STORM as f64))
        };
        let (answer, us) = storm(json!({}))?;
        let (_, without) = storm(json!({"secret": null}))?;
        let floor = (before + bare(rig)?) / 2.0;
        Ok(Sample::from([
            ("us", us),
            ("of_floor", us / floor),
            ("rate", 1e6 / us),
            ("wall", STORM as f64 / number(&answer, "seconds")),
            ("anonymous", us / without),
        ]))
    })?;
    bench.report.add(row, &names(bench), &figures, &result);
    Ok(())
}

/// All sockets of one channel are cut, 50 messages are published, all come back and recover them.
pub(super) fn recover(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    const CONNECTIONS: usize = 5_000;
    const MISSED: u64 = 50;
    let figures = [
        figure("rate", "recoveries per CPU second", "1/s", Reading::Rate, Budget::None),
        figure("us", "CPU per recovery of 50 × 200 B", "µs", Reading::Cost, Budget::None),
        figure("seconds", "until all are back", "s", Reading::Plain, Budget::None),
    ];
    let (mut floor, mut rigs) = (usual_floor()?, rigs(bench, &unchanged())?);
    for rig in &mut rigs {
        let plan = json!({"count": CONNECTIONS, "subscriptions": 1, "channel": "rec:r", "channels": 1, "recover": true});
        rig.connect(&plan)?;
    }
    let result = rounds(bench.rounds, &mut floor, &usual(), &mut rigs, |rig| {
        rig.clients.call(&json!({"op": "drop"}), "dropped")?;
        rig.clients.call(&json!({"op": "reset"}), "reset")?;
        let publish = json!({
            "op": "publish", "address": rig.server.address, "key": KEY, "rate": 1000.0,
            "seconds": MISSED as f64 / 1000.0, "size": 200, "channel": "rec:r",
        });
        rig.clients.call(&publish, "published")?;
        std::thread::sleep(Duration::from_secs(1));
        let (answer, spent) = rig.spent(|rig| rig.clients.call(&json!({"op": "again"}), "connected"))?;
        let due = CONNECTIONS as f64;
        if number(&answer, "recovered") != due
            || number(&answer, "recovered_publications") != due * MISSED as f64
        {
            return Err(format!("{}: not everything was recovered: {answer}", rig.server.name).into());
        }
        let us = spent / 1e3 / due;
        Ok(Sample::from([("us", us), ("rate", 1e6 / us), ("seconds", number(&answer, "seconds"))]))
    })?;
    bench.report.add(row, &names(bench), &figures, &result);
    Ok(())
}
