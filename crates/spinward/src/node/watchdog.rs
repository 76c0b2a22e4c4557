//! The watchdog: asks every shard for a sign of life, and logs which one gives none.
//!
//! It has its own thread, since what keeps a shard from its turn may keep a runtime from its tasks as well.

use crate::hub::Hub;
use crate::hub::pulse::Pulse;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Time between two questions, each of which costs a shard a turn.
const EVERY: Duration = Duration::from_millis(250);

/// Starts the watchdog of a node. It ends once the node goes down.
///
/// # Errors
/// The thread could not be started.
pub(super) fn spawn(hub: Arc<Hub>) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("watchdog".to_owned()).spawn(move || {
        let mut watch = Watch::new(&hub);
        while !hub.is_stopping() {
            std::thread::park_timeout(EVERY);
            for change in watch.look(&hub.pulse, hub.clock.now().mono) {
                match change {
                    Change::Deaf { shard, lag } => {
                        tracing::error!(shard, lag_ms = lag, "shard not responding");
                    }
                    Change::Back { shard, lag } => {
                        tracing::warn!(shard, lag_ms = lag, "shard responding again");
                    }
                }
            }
            hub.inboxes.iter().for_each(|inbox| inbox.wake());
        }
    })
}

/// State of the watchdog, about all shards.
struct Watch {
    /// The longest lag of each shard since it has not responded; 0 where it does.
    deaf: Vec<u64>,
    limit: u64,
    last: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Change {
    Deaf { shard: usize, lag: u64 },
    Back { shard: usize, lag: u64 },
}

impl Watch {
    fn new(hub: &Hub) -> Self {
        let limit = u64::try_from(hub.config.unresponsive_after.as_millis()).unwrap_or(u64::MAX);
        Self { deaf: vec![0; hub.inboxes.len()], limit, last: hub.clock.now().mono }
    }

    /// Asks every shard, and returns those that have fallen silent or come back.
    fn look(&mut self, pulse: &Pulse, now: u64) -> Vec<Change> {
        // A process that was stopped as a whole says nothing about its shards.
        let slept = now.saturating_sub(self.last) > self.limit / 2 + 2 * EVERY.as_millis() as u64;
        self.last = now;
        let mut changes = Vec::new();
        for (shard, deaf) in self.deaf.iter_mut().enumerate() {
            if slept {
                pulse.ask_again(shard, now);
                continue;
            }
            let lag = pulse.lag(shard, now);
            pulse.ask(shard, now);
            if pulse.has_ended(shard) {
                continue;
            }
            if lag >= self.limit {
                if *deaf == 0 {
                    changes.push(Change::Deaf { shard, lag });
                }
                *deaf = lag.max(*deaf);
            } else if *deaf > 0 {
                changes.push(Change::Back { shard, lag: std::mem::take(deaf) });
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch() -> Watch {
        Watch { deaf: vec![0; 2], limit: 1_000, last: 0 }
    }

    #[test]
    fn a_silent_shard_is_reported_once_and_when_it_is_back() {
        let (pulse, mut watch) = (Pulse::new(2), watch());
        let mut changes = Vec::new();
        for now in (250..=3_000).step_by(250) {
            changes.extend(watch.look(&pulse, now));
            pulse.answer(0, now);
        }
        assert_eq!(changes, [Change::Deaf { shard: 1, lag: 1_000 }]);
        pulse.answer(1, 3_100);
        assert_eq!(watch.look(&pulse, 3_250), [], "its last answer took long");
        pulse.answer(1, 3_251);
        assert_eq!(watch.look(&pulse, 3_500), [Change::Back { shard: 1, lag: 2_850 }]);
    }

    #[test]
    fn a_process_that_was_stopped_reports_nothing() {
        let (pulse, mut watch) = (Pulse::new(2), watch());
        assert_eq!(watch.look(&pulse, 250), []);
        assert_eq!(watch.look(&pulse, 60_000), []);
        pulse.answer(0, 60_001);
        pulse.answer(1, 60_001);
        assert_eq!(watch.look(&pulse, 60_250), []);
        // One that is still silent is reported in its time.
        pulse.answer(0, 60_251);
        let later = (60_500..=61_250).step_by(250).flat_map(|now| {
            pulse.answer(0, now);
            watch.look(&pulse, now)
        });
        assert_eq!(later.collect::<Vec<_>>(), [Change::Deaf { shard: 1, lag: 1_000 }]);
    }
}
