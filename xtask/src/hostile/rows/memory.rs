//! What is kept: names, streams, filters, and what clients say of themselves.

use super::super::Target;
use super::super::arena::{Arena, Bound, Outcome, QUEUE};
use crate::shell::Failure;
use serde_json::json;

pub(super) fn history_names(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &json!({}))?;
    let attack = json!({
        "units": 2_500, "outstanding": 4_000, "seconds": arena.pick(20.0, 1.0),
        "unit": {"kind": "frame", "lines": 400, "line": "{\"id\":1,\"history\":{\"channel\":\"hi:n<n>\",\"limit\":1}}"},
    });
    arena.measure(&[attack], Bound::queues(1, 0.0))
}

pub(super) fn subscribe_cycle(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &json!({}))?;
    let line = "{\"id\":1,\"subscribe\":{\"channel\":\"rc:s<n>\"}}\n{\"id\":2,\"unsubscribe\":{\"channel\":\"rc:s<n>\"}}";
    let attack = json!({
        "units": 1_500, "outstanding": 4_000, "seconds": arena.pick(20.0, 1.0),
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
        "opening": "tcp", "count": 4, "outstanding": 1, "seconds": arena.pick(30.0, 1.0),
        "unit": {
            "kind": "api", "method": "batch", "before": "{\"commands\":[", "after": "]}", "lines": 1_000,
            "line": "{\"publish\":{\"channel\":\"tt:<c>-<n>\",\"data\":{}}}",
        },
    });
    // At 200,000 a second, those of the last three seconds.
    arena.measure(&[attack], Bound::each(600_000, 500.0).and_back())
}

pub(super) fn filter_churn(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &json!({}))?;
    let subscribe = |value: &str| {
        let filter = format!("{{\"key\":\"n\",\"cmp\":\"eq\",\"val\":\"{value}\"}}");
        format!("{{\"id\":1,\"subscribe\":{{\"channel\":\"tf:0\",\"tf\":{filter}}}}}")
    };
    // Some on each shard, so that neither the channel nor its filters ever end.
    let stay = json!({"first": 100, "count": 8, "first_lines": [subscribe("1")]});
    let line =
        format!("{}\n{{\"id\":2,\"unsubscribe\":{{\"channel\":\"tf:0\"}}}}", subscribe("<n><pad 2000>"));
    let churn = json!({"outstanding": 400, "unit": {"kind": "frame", "lines": 25, "line": line}});
    arena.measure(&[stay, churn], Bound::queues(9, 0.0))
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
