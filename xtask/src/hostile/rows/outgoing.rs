//! Answers without end: what waits to go out, and the work of making it.

use super::super::Target;
use super::super::arena::{Arena, Bound, Outcome};
use crate::shell::Failure;
use serde_json::{Value, json};

/// Bytes of one reply with 300 publications of 1 KB.
const DEEP: f64 = 300.0 * 1_100.0;

/// Bytes of one member in a reply to `presence`.
const MEMBER: f64 = 150.0;

pub(super) const SMALL_WINDOW: usize = 4096;

pub(super) fn pings(target: &Target) -> Result<Outcome, Failure> {
    pings_of(target, 0)
}

pub(super) fn large_pings(target: &Target) -> Result<Outcome, Failure> {
    pings_of(target, 125)
}

fn pings_of(target: &Target, size: usize) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &json!({}))?;
    let attack = json!({
        "opening": "websocket", "deaf": true, "receive_buffer": SMALL_WINDOW, "bytes": 200_000_000,
        "unit": {"kind": "ping", "size": size, "lines": 5_000},
    });
    arena.measure(&[attack], Bound::queues(1, 0.0))
}

pub(super) fn history(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &json!({}))?;
    arena.fill("hi:1", 1, 1_000)?;
    let attack = json!({
        "deaf": true, "receive_buffer": SMALL_WINDOW,
        "unit": {"kind": "commands", "command": "history", "channel": "hi:1", "limit": 1, "lines": 4_500},
    });
    arena.measure(&[attack], Bound::queues(1, 1_100.0))
}

pub(super) fn deep(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &json!({}))?;
    arena.fill("hi:300", 300, 1_000)?;
    let mut attack = deep_history();
    attack["deaf"] = json!(true);
    attack["receive_buffer"] = json!(SMALL_WINDOW);
    arena.measure(&[attack], Bound::queues(1, DEEP))
}

pub(super) fn deep_reading(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &json!({}))?;
    arena.fill("hi:300", 300, 1_000)?;
    arena.measure(&[deep_history()], Bound::queues(1, DEEP))
}

fn deep_history() -> Value {
    json!({"unit": {
        "kind": "frame", "lines": 1_200,
        "line": "{\"id\":1,\"history\":{\"channel\":\"hi:300\",\"limit\":300}}",
    }})
}

pub(super) fn presence(target: &Target) -> Result<Outcome, Failure> {
    presences(target, false)
}

pub(super) fn presence_deaf(target: &Target) -> Result<Outcome, Failure> {
    presences(target, true)
}

fn presences(target: &Target, deaf: bool) -> Result<Outcome, Failure> {
    let mut arena = Arena::new(target, &json!({}))?;
    let members = arena.pick(8_000, 500);
    arena.bystanders(members, "pr:")?;
    let attack = json!({
        "deaf": deaf, "receive_buffer": if deaf { SMALL_WINDOW } else { 0 },
        "unit": {"kind": "frame", "lines": 1_400, "line": "{\"id\":1,\"presence\":{\"channel\":\"pr:0\"}}"},
    });
    // One reply in the making beside the one that waits.
    arena.measure(&[attack], Bound::queues(1, 2.0 * MEMBER * members as f64))
}

pub(super) fn pipelined(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &json!({}))?;
    arena.fill("hi:1", 1, 10)?;
    let attack = json!({
        "count": 8,
        "unit": {"kind": "frame", "lines": 500, "line": "{\"id\":1,\"history\":{\"channel\":\"hi:1\"}}"},
    });
    arena.measure(&[attack], Bound::queues(8, 100.0))
}

pub(super) fn recovery(target: &Target) -> Result<Outcome, Failure> {
    recoveries(target, "")
}

pub(super) fn deltas(target: &Target) -> Result<Outcome, Failure> {
    recoveries(target, ",\"delta\":\"fossil\"")
}

fn recoveries(target: &Target, wish: &str) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &json!({}))?;
    arena.fill("rc:300", 300, 1_000)?;
    let history = arena.api("history", &json!({"channel": "rc:300"}))?;
    let epoch = history.pointer("/result/epoch").and_then(Value::as_str).unwrap_or_default();
    let line = format!(
        "{{\"id\":1,\"subscribe\":{{\"channel\":\"rc:300\",\"recover\":true,\"epoch\":\"{epoch}\",\"offset\":0{wish}}}}}\n\
         {{\"id\":2,\"unsubscribe\":{{\"channel\":\"rc:300\"}}}}"
    );
    let attack = json!({"unit": {"kind": "frame", "lines": 350, "line": line}});
    arena.measure(&[attack], Bound::queues(1, DEEP))
}

/// Long runs of the same byte, which look alike at every place.
pub(super) fn hard_deltas(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &json!({}))?;
    let count = 20;
    let readers = json!({
        "count": count,
        "first_lines": ["{\"id\":2,\"subscribe\":{\"channel\":\"rc:hard\",\"delta\":\"fossil\"}}"],
    });
    let feed = json!({
        "opening": "tcp", "first": 5_000, "pace": 50.0, "outstanding": 10,
        "unit": {
            "kind": "api", "method": "publish", "before": "{\"channel\":\"rc:hard\",\"data\":\"",
            "line": "<pad 20000><n><pad 10000>y<n><pad 20000>", "after": "\"}",
        },
    });
    // 300 of them are kept.
    arena.measure(&[readers, feed], Bound::queues(count, 50_000.0).and(300.0 * 2.0 * 50_100.0))
}

pub(super) fn deaf_subscribers(target: &Target) -> Result<Outcome, Failure> {
    let mut arena = Arena::new(target, &json!({}))?;
    arena.bystanders(50, "feed")?;
    let count = 50;
    let deaf = json!({
        "count": count, "deaf": true, "receive_buffer": SMALL_WINDOW,
        "first_lines": ["{\"id\":2,\"subscribe\":{\"channel\":\"feed0\"}}"],
    });
    let feed = json!({
        "opening": "tcp", "first": 5_000, "pace": 500.0, "outstanding": 50,
        "unit": {"kind": "api", "method": "publish", "before": "{\"channel\":\"feed0\",\"data\":\"", "line": "<pad 10000>", "after": "\"}"},
    });
    arena.measure(&[deaf, feed], Bound::queues(count, 10_000.0).and(50.0 * 2e6))
}

pub(super) fn fragments(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &json!({}))?;
    let unit = |endless: bool| json!({"kind": "fragments", "size": usize::from(!endless), "lines": 60_000, "endless": endless});
    let attacks = [
        json!({"count": 4, "unit": unit(false)}),
        json!({"count": 4, "first": 4, "opening": "websocket", "units": 1, "unit": unit(true)}),
    ];
    arena.measure(&attacks, Bound::queues(8, 0.0))
}

pub(super) fn deadline(target: &Target) -> Result<Outcome, Failure> {
    let mut arena = Arena::new(target, &json!({"shutdown": {"timeout": "2s"}}))?;
    arena.fill("hi:300", 300, 1_000)?;
    let members = arena.pick(2_000, 200);
    arena.bystanders(members, "pr:")?;
    let mut deaf = deep_history();
    deaf["first"] = json!(10);
    deaf["count"] = json!(4);
    deaf["deaf"] = json!(true);
    let mut reading = deep_history();
    reading["count"] = json!(4);
    arena.measure(&[reading, deaf], Bound::queues(8, DEEP))
}
