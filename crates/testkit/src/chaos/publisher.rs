//! Publishers of numbered publications by the HTTP API.

use super::api::{self, Failed};
use crate::log::{Event, Log};
use crate::payload::{self, Message};
use crate::random::Random;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Time for one attempt.
const PATIENCE: Duration = Duration::from_secs(5);

/// State that all publishers of a run share.
pub(super) struct Shared {
    pub(super) log: Log,
    pub(super) ports: Vec<u16>,
    pub(super) random: Random,
    pub(super) channels: Vec<String>,
    /// Time between two publications of one publisher.
    pub(super) pause: Duration,
    /// A publication of which nobody knows is tried again with its key.
    pub(super) again: bool,
    pub(super) stop: AtomicBool,
    /// No further attempt at what has not succeeded yet.
    pub(super) give_up: AtomicBool,
    /// Attempts that failed, and by code those that were refused.
    pub(super) failed: AtomicU64,
}

/// Publishes until told to stop. A publisher has one publication on its way at a time, and goes on only once it is
/// acknowledged: the same number, with the same key, at any node.
pub(super) async fn run(p: u32, shared: Arc<Shared>) {
    let mut numbers: BTreeMap<&str, u64> = BTreeMap::new();
    let random = &shared.random;
    while !shared.stop.load(Ordering::Relaxed) {
        tokio::time::sleep(shared.pause).await;
        let ch = random.one_of(&shared.channels);
        let s = numbers.entry(ch).or_default();
        *s += 1;
        let (s, n) = (*s, random.below(1 << 30) as u32);
        let data = payload::write(ch, Message { p, s, n }, 40);
        let data: Value = serde_json::from_slice(&data).unwrap_or_default();
        let mut body = json!({ "channel": ch, "data": data });
        if shared.again {
            body["idempotency_key"] = format!("{p}-{ch}-{s}-{n}").into();
        }
        shared.log.add(Event::Invoke { p, ch: ch.clone(), s, n });
        loop {
            let port = *random.one_of(&shared.ports);
            let (failed, pause) = match api::call(port, "publish", &body, PATIENCE).await {
                Ok(result) => {
                    let epoch = result["epoch"].as_str().unwrap_or_default().to_owned();
                    let offset = result["offset"].as_u64().unwrap_or_default();
                    shared.log.add(Event::Ok { p, ch: ch.clone(), s, epoch, offset });
                    break;
                }
                Err(Failed::Code(_)) => (true, 200),
                Err(Failed::Unknown(_)) => (true, 50),
            };
            shared.failed.fetch_add(u64::from(failed), Ordering::Relaxed);
            if !shared.again || shared.give_up.load(Ordering::Relaxed) {
                shared.log.add(Event::Unknown { p, ch: ch.clone(), s });
                if !shared.again {
                    // Should it still arrive, then not after the next one.
                    tokio::time::sleep(PATIENCE).await;
                }
                break;
            }
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }
}

/// A publisher that publishes to every channel when it is told to.
#[derive(Clone)]
pub(super) struct OneEach {
    log: Log,
    /// Number of the publisher.
    p: u32,
    port: u16,
    channels: Vec<String>,
}

/// Makes such a publisher.
pub(super) fn one_each(p: u32, log: &Log, port: u16, channels: &[String]) -> OneEach {
    OneEach { p, log: log.clone(), port, channels: channels.to_vec() }
}

impl OneEach {
    /// Publishes the publication with this number to every channel.
    pub(super) async fn publish(self, s: u64) {
        let p = self.p;
        for ch in &self.channels {
            let n = s as u32;
            let data = payload::write(ch, Message { p, s, n }, 40);
            let data: Value = serde_json::from_slice(&data).unwrap_or_default();
            self.log.add(Event::Invoke { p, ch: ch.clone(), s, n });
            let body = json!({ "channel": ch, "data": data });
            if let Ok(result) = api::call(self.port, "publish", &body, PATIENCE).await {
                let epoch = result["epoch"].as_str().unwrap_or_default().to_owned();
                let offset = result["offset"].as_u64().unwrap_or_default();
                self.log.add(Event::Ok { p, ch: ch.clone(), s, epoch, offset });
            } else {
                self.log.add(Event::Unknown { p, ch: ch.clone(), s });
            }
        }
    }
}
