//! `/livez` and `/readyz`: whether to restart the process, and whether to send it clients.

use super::serve::typed;
use crate::admission::Reason;
use crate::api::http::Answer;
use http::{HeaderValue, StatusCode, header::CACHE_CONTROL};
use serde_json::json;
use spinward::engine::EngineHealth;
use spinward::{Health, Node, ShardState};

/// The answer to a probe; `None` for other paths.
pub(super) fn answer(path: &str, node: &Node, overload: Option<Reason>) -> Option<Answer> {
    match path {
        // That it is answered is the answer. A shard that hangs may only be busy, and one that failed ends the
        // process by itself.
        "/livez" => Some(fresh(typed("application/json", "{}"))),
        "/readyz" => Some(ready(&failing(&node.health(), overload))),
        _ => None,
    }
}

/// A part of the server that keeps it from being ready.
#[derive(Debug, PartialEq, Eq)]
struct Failing {
    part: &'static str,
    detail: String,
}

fn failing(health: &Health, overload: Option<Reason>) -> Vec<Failing> {
    let mut failing = Vec::new();
    if health.stopping {
        failing.push(Failing { part: "shutdown", detail: "the server is shutting down".to_owned() });
    }
    if health.draining {
        failing.push(Failing { part: "drain", detail: "connections are moving to other nodes".to_owned() });
    }
    for (number, shard) in health.shards.iter().enumerate() {
        let detail = match shard.state {
            ShardState::Unresponsive => {
                format!("shard {number} has not responded for {:.1} s", shard.lag.as_secs_f64())
            }
            ShardState::Failed => format!("shard {number} has failed"),
            // One that stopped did so with its node.
            _ => continue,
        };
        failing.push(Failing { part: "shards", detail });
    }
    let engines = [
        ("broker", Some(&health.broker)),
        ("presence", Some(&health.presence)),
        ("controller", health.controller.as_ref()),
    ];
    for (part, engine) in engines {
        if let Some(EngineHealth::Down { reason }) = engine {
            failing.push(Failing { part, detail: reason.clone() });
        }
    }
    if let Some(reason) = overload {
        let detail = format!("no new clients are taken: {} is exceeded", reason.option());
        failing.push(Failing { part: "overload", detail });
    }
    failing
}

fn ready(failing: &[Failing]) -> Answer {
    let parts: Vec<_> =
        failing.iter().map(|failing| json!({ "part": failing.part, "detail": failing.detail })).collect();
    let mut answer =
        typed("application/json", json!({ "ready": failing.is_empty(), "failing": parts }).to_string());
    if !failing.is_empty() {
        *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    fresh(answer)
}

/// A probe is about this moment.
fn fresh(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
