//! `/livez` and `/readyz`: whether to restart the process, and whether to send it clients.

use crate::admission::{Admission, Reason};
use crate::http::{Answer, BoxFuture, Endpoint, Mount, Port, typed};
use http::{HeaderValue, Request, StatusCode, header::CACHE_CONTROL};
use hyper::body::Incoming;
use serde_json::json;
use spinward::engine::EngineHealth;
use spinward::{Health, Node, ShardState};

/// A probe.
enum Probe {
    /// Says that there is a server.
    Health,
    /// The same, as Kubernetes asks for it.
    Live,
    /// Says if the server is to be sent clients.
    Ready(Node, Admission),
}

/// The probes: the health endpoint at its path, and `/livez` and `/readyz`.
pub(super) fn mounts(health: &str, node: Node, admission: Admission) -> [Mount; 3] {
    [
        Mount::at(health, Port::Internal, Probe::Health),
        Mount::at("/livez", Port::Internal, Probe::Live),
        Mount::at("/readyz", Port::Internal, Probe::Ready(node, admission)),
    ]
}

impl Endpoint for Probe {
    fn answer<'a>(&'a self, _: &'a str, _: &'a mut Request<Incoming>) -> BoxFuture<'a, Option<Answer>> {
        Box::pin(async move {
            Some(match self {
                Self::Health => typed("application/json", "{}"),
                // That it is answered is the answer. A shard that hangs may only be busy, and one that failed ends
                // the process by itself.
                Self::Live => fresh(typed("application/json", "{}")),
                Self::Ready(node, admission) => {
                    ready(&failing(&node.health(), admission.overload().overloaded()))
                }
            })
        })
    }
}

/// Returns true if the server is to be sent clients.
pub(super) fn is_ready(node: &Node, admission: &Admission) -> bool {
    failing(&node.health(), admission.overload().overloaded()).is_empty()
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
