//! Attacks on kept state: names, streams, filters, and what clients say of themselves.

use super::super::Target;
use super::super::arena::{Arena, Bound, Outcome, QUEUE};
use crate::shell::Failure;
use serde_json::json;

pub(super) fn history_names(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &json!({}))?;
    let attack = json!({
        "units": 2_500, "outstanding": 4_000, "seconds": arena.pick(20.0, 0.8),
        "unit": {"kind": "frame", "lines": 400, "line": "{\"id\":1,\"history\":{\"channel\":\"hi:n<n>\",\"limit\":1}}"},
    });
    arena.measure(&[attack], Bound::queues(1, 0.0))
}

pub(super) fn presence_names(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &json!({}))?;
    let attack = json!({
        "units": 2_500, "outstanding": 4_000, "seconds": arena.pick(20.0, 0.8),
        "unit": {"kind": "frame", "lines": 400, "line": "{\"id\":1,\"presence\":{\"channel\":\"pr:n<n>\"}}"},
    });
    arena.measure(&[attack], Bound::queues(1, 0.0))
}

pub(super) fn subscribe_cycle(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &json!({}))?;
    let line = "{\"id\":1,\"subscribe\":{\"channel\":\"rc:s<n>\"}}\n{\"id\":2,\"unsubscribe\":{\"channel\":\"rc:s<n>\"}}";
    let attack = json!({
        "units": 1_500, "outstanding": 4_000, "seconds": arena.pick(20.0, 0.8),
        "unit": {"kind": "frame", "lines": 200, "line": line},
    });
    arena.measure(&[attack], Bound::queues(1, 0.0))
}

pub(super) fn long_names(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &json!({}))?;
    let attack = json!({
        "units": 2_000, "outstanding": 16, "again": true, "most": 2_000,
        "unit": {"kind": "frame", "line": "{\"id\":1,\"history\":{\"channel\":\"hi:<c>-<n>-<pad 60000>\"}}"},
    });
    arena.measure(&[attack], Bound::queues(1, 0.0))
}

pub(super) fn long_names_api(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &json!({}))?;
    let call = |method: &str| {
        json!({
            "opening": "tcp", "units": 1_000, "outstanding": 1, "again": true, "most": 1_000,
            "unit": {
                "kind": "api", "method": method, "after": "}",
                "before": "{\"data\":{},\"user\":\"u7\",", "line": "\"channel\":\"hi:<n><pad 60000>\"",
            },
        })
    };
    let mut attacks = ["publish", "history", "subscribe"].map(call).to_vec();
    // Who is subscribed.
    attacks.push(json!({"first": 7}));
    arena.measure(&attacks, Bound::each(3, 1e6).and(2.0 * QUEUE))
}

pub(super) fn connect_names(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &json!({}))?;
    let count = arena.pick(2_000, 200);
    let line =
        "{\"id\":1,\"connect\":{\"token\":\"<token>\",\"name\":\"<pad 30000>\",\"version\":\"<pad 30000>\"}}";
    let attack = json!({
        "opening": "websocket", "count": count, "units": 1, "unit": {"kind": "frame", "line": line},
    });
    arena.measure(&[attack], Bound::each(count, 8e3))
}

pub(super) fn ttl_channels(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &json!({}))?;
    let attack = json!({
        "opening": "tcp", "count": 4, "outstanding": 1, "pace": 50.0, "seconds": arena.pick(30.0, 0.8),
        "unit": {
            "kind": "api", "method": "batch", "before": "{\"commands\":[", "after": "]}", "lines": 1_000,
            "line": "{\"publish\":{\"channel\":\"tt:<c>-<n>\",\"data\":{}}}",
        },
    });
    // 200,000 a second, however fast the machine is: those of the last three seconds.
    arena.measure(&[attack], Bound::each(600_000, 500.0).and_back())
}

pub(super) fn filter_churn(target: &Target) -> Result<Outcome, Failure> {
    let mut arena = Arena::new(target, &json!({}))?;
    // Some on each shard, so that neither the channel nor its filters ever end.
    arena.bystanders_with(8, "tf:", &json!({"filters": 1}))?;
    let filter = "{\"key\":\"n\",\"cmp\":\"eq\",\"val\":\"<c>-<pad 50000>\"}";
    let count = arena.pick(2_000, 100);
    let attack = json!({
        "count": count,
        "first_lines": [format!("{{\"id\":2,\"subscribe\":{{\"channel\":\"tf:0\",\"tf\":{filter}}}}}")],
    });
    arena.measure(&[attack], Bound::each(count, 131_072.0).and_back())
}

pub(super) fn filter_cost(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &json!({}))?;
    let leaves: Vec<String> =
        (0..500).map(|n| format!("{{\"key\":\"n\",\"cmp\":\"ct\",\"val\":\"<c>-{n}\"}}")).collect();
    let filter = format!("{{\"op\":\"or\",\"nodes\":[{}]}}", leaves.join(","));
    let count = arena.pick(200, 50);
    let readers = json!({
        "count": count,
        "first_lines": [format!("{{\"id\":2,\"subscribe\":{{\"channel\":\"tf:cost\",\"tf\":{filter}}}}}")],
    });
    let feed = json!({
        "opening": "tcp", "first": 5_000, "pace": 100.0, "outstanding": 20,
        "unit": {
            "kind": "api", "method": "publish", "before": "{\"channel\":\"tf:cost\",\"data\":{},",
            "line": "\"tags\":{\"n\":\"<pad 200><n>\"}", "after": "}",
        },
    });
    arena.measure(&[readers, feed], Bound::queues(count, 0.0))
}

pub(super) fn filter_weight(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &json!({}))?;
    let filter = "\"tf\":{\"key\":\"n\",\"cmp\":\"eq\",\"val\":\"<c>-<n>-<pad 50000>\"}";
    let line = format!("{{\"id\":1,\"subscribe\":{{\"channel\":\"tf:<n>\",{filter}}}}}");
    let attack = json!({
        "count": 10, "units": 128, "outstanding": 4, "unit": {"kind": "frame", "line": line},
    });
    arena.measure(&[attack], Bound::queues(10, 0.0))
}
