//! The state in which a node takes no more clients, so that those who are there do not suffer.

use super::memory;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Interval between measurements.
const PERIOD: Duration = Duration::from_millis(500);

/// Resource that a node has exhausted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Memory of the process.
    Memory,
    /// The time that a shard takes to come to the next event.
    LoopLag,
}

impl Reason {
    pub(crate) const ALL: [Self; 2] = [Self::Memory, Self::LoopLag];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::LoopLag => "loop_lag",
        }
    }

    pub(crate) const fn option(self) -> &'static str {
        match self {
            Self::Memory => "client.overload.memory_limit",
            Self::LoopLag => "client.overload.loop_lag_limit",
        }
    }
}

/// Measurements from which on the node is overloaded. 0 sets no limit.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OverloadLimits {
    /// Bytes.
    pub(crate) memory: u64,
    pub(crate) loop_lag: Duration,
}

/// One measurement.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    memory: u64,
    loop_lag: Duration,
}

/// Overload state of a node.
#[derive(Default)]
pub(crate) struct Overload {
    limits: OverloadLimits,
    state: Mutex<Option<Reason>>,
}

impl Overload {
    pub(crate) fn new(limits: OverloadLimits) -> Self {
        Self { limits, state: Mutex::default() }
    }

    /// The reason for which no clients are taken now.
    pub(crate) fn overloaded(&self) -> Option<Reason> {
        *self.state.lock()
    }

    /// Measures until `stop` changes. `loop_lag` answers how far the shards lag behind.
    pub(crate) async fn watch(
        self: Arc<Self>,
        loop_lag: impl Fn() -> Duration + Send,
        mut stop: watch::Receiver<bool>,
    ) {
        let limits = self.limits;
        if limits.memory == 0 && limits.loop_lag.is_zero() {
            return;
        }
        loop {
            tokio::select! {
                () = tokio::time::sleep(PERIOD) => {}
                _ = stop.changed() => return,
            }
            let memory = if limits.memory == 0 { None } else { memory::resident() };
            self.note(Load { memory: memory.unwrap_or(0), loop_lag: loop_lag() });
        }
    }

    /// Notes a measurement of memory.
    #[cfg(test)]
    pub(super) fn measured(&self, memory: u64) {
        self.note(Load { memory, ..Load::default() });
    }

    fn note(&self, load: Load) {
        let mut state = self.state.lock();
        let after = self.limits.judge(*state, load);
        if after == *state {
            return;
        }
        let (memory, loop_lag) = (load.memory, load.loop_lag);
        match after {
            Some(reason) => tracing::warn!(
                reason = reason.name(),
                option = reason.option(),
                memory,
                ?loop_lag,
                "overloaded: no new clients are taken"
            ),
            None => tracing::warn!(memory, ?loop_lag, "no longer overloaded"),
        }
        *state = after;
    }
}

impl OverloadLimits {
    /// Overload ends well below the limit at which it began, so that it does not flicker.
    fn judge(&self, before: Option<Reason>, load: Load) -> Option<Reason> {
        let memory = if before == Some(Reason::Memory) { self.memory / 20 * 19 } else { self.memory };
        let loop_lag = if before == Some(Reason::LoopLag) { self.loop_lag / 2 } else { self.loop_lag };
        if memory > 0 && load.memory >= memory {
            Some(Reason::Memory)
        } else if !loop_lag.is_zero() && load.loop_lag >= loop_lag {
            Some(Reason::LoopLag)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overload_ends_below_the_limit_at_which_it_began() {
        let overload = Overload::new(OverloadLimits { memory: 1000, loop_lag: Duration::from_secs(1) });
        for (memory, millis, expected) in [
            (999, 0, None),
            (1000, 0, Some(Reason::Memory)),
            (960, 0, Some(Reason::Memory)),
            (949, 0, None),
            (960, 999, None),
            (960, 1000, Some(Reason::LoopLag)),
            (960, 500, Some(Reason::LoopLag)),
            (1000, 500, Some(Reason::Memory)),
            (900, 500, None),
        ] {
            overload.note(Load { memory, loop_lag: Duration::from_millis(millis) });
            assert_eq!(overload.overloaded(), expected, "{memory} {millis}");
        }
    }

    #[test]
    fn a_limit_of_zero_is_none() {
        let limits = OverloadLimits::default();
        let load = Load { memory: u64::MAX, loop_lag: Duration::MAX };
        assert_eq!(limits.judge(None, load), None);
        assert_eq!(limits.judge(Some(Reason::Memory), load), None);
    }
}
