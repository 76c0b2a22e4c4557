//! Much to deliver: what one causes and many receive.

use super::super::Target;
use super::super::arena::{Arena, Bound, Outcome, QUEUE};
use crate::shell::Failure;
use serde_json::{Value, json};

/// Memory that the inboxes of the shards may take, beside the queues.
const INBOXES: f64 = 64e6;

/// Bytes that may wait for well-behaved readers while many publications come at once.
fn readers(count: usize) -> f64 {
    count as f64 * 0.25 * QUEUE
}

pub(super) fn joins(target: &Target) -> Result<Outcome, Failure> {
    let mut arena = Arena::new(target, &json!({}))?;
    let members = arena.pick(2_000, 200);
    arena.bystanders(members, "jl:")?;
    let line =
        "{\"id\":1,\"subscribe\":{\"channel\":\"jl:0\"}}\n{\"id\":2,\"unsubscribe\":{\"channel\":\"jl:0\"}}";
    let attack = json!({"unit": {"kind": "frame", "lines": 200, "line": line}});
    arena.measure(&[attack], Bound::queues(1, 0.0).and(INBOXES + readers(members)))
}

pub(super) fn client_publishes(target: &Target) -> Result<Outcome, Failure> {
    let mut arena = Arena::new(target, &json!({}))?;
    let members = arena.pick(1_000, 200);
    arena.bystanders(members, "pb:")?;
    let line = "{\"id\":1,\"publish\":{\"channel\":\"pb:0\",\"data\":{\"pad\":\"<pad 100>\"}}}";
    let attack = json!({"count": 10, "unit": {"kind": "frame", "lines": 200, "line": line}});
    arena.measure(&[attack], Bound::queues(10, 0.0).and(INBOXES + readers(members)))
}

pub(super) fn api_publishes(target: &Target) -> Result<Outcome, Failure> {
    let unit = json!({
        "kind": "api", "method": "publish", "before": "{\"channel\":\"bc0\",\"data\":\"", "line": "<pad 100>", "after": "\"}",
    });
    api(target, |arena| {
        json!({
            "opening": "tcp", "count": 4, "units": arena.pick(5_000, 200), "outstanding": 100, "unit": unit,
        })
    })
}

pub(super) fn batches(target: &Target) -> Result<Outcome, Failure> {
    let unit = json!({
        "kind": "api", "method": "batch", "before": "{\"commands\":[", "after": "]}", "lines": 1_000,
        "line": "{\"publish\":{\"channel\":\"bc0\",\"data\":\"<pad 100>\"}}",
    });
    api(target, |arena| {
        json!({
            "opening": "tcp", "count": 2, "units": arena.pick(10, 1), "outstanding": 1, "unit": unit,
        })
    })
}

fn api(target: &Target, attack: impl Fn(&Arena) -> Value) -> Result<Outcome, Failure> {
    let mut arena = Arena::new(target, &json!({}))?;
    let members = arena.pick(5_000, 200);
    arena.bystanders(members, "bc")?;
    let attack = attack(&arena);
    arena.measure(&[attack], Bound::each(4, 1e6).and(INBOXES + readers(members)))
}

pub(super) fn revocations(target: &Target) -> Result<Outcome, Failure> {
    let mut arena = Arena::new(target, &json!({}))?;
    let clients = arena.pick(10_000, 500);
    arena.bystanders(clients, "rv")?;
    let attack = json!({
        "opening": "tcp", "count": 2, "units": arena.pick(5, 1), "outstanding": 1,
        "unit": {
            "kind": "api", "method": "batch", "before": "{\"commands\":[", "after": "]}", "lines": 1_000,
            "line": "{\"revoke_token\":{\"uid\":\"j<c>-<n>\"}}",
        },
    });
    arena.measure(&[attack], Bound::each(2, 4e6))
}
