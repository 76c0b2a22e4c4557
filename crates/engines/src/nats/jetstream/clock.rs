//! The server's time, estimated.

use crate::nats::api::millis;
use spinward::clock::Clock;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// Time of the server, from answers that tell it and the monotonic clock of this node. A wall clock that is set, or
/// wrong, changes nothing once the server has been asked.
pub(in crate::nats) struct ServerClock {
    clock: Clock,
    /// Milliseconds from this node's monotonic clock to the server's time.
    ahead: AtomicI64,
}

impl ServerClock {
    pub(in crate::nats) fn new() -> Self {
        let clock = Clock::system();
        let now = clock.now();
        Self { ahead: AtomicI64::new(now.wall - mono(&clock)), clock }
    }

    /// Milliseconds, to give to [`Self::answered`] when the answer is there.
    pub(in crate::nats) fn asked(&self) -> i64 {
        mono(&self.clock)
    }

    /// Takes the time that an answer tells, as of the middle between request and answer.
    pub(in crate::nats) fn answered(&self, asked: i64, time: &str) {
        if let Some(time) = millis(time) {
            self.ahead.store(time - asked.midpoint(mono(&self.clock)), Relaxed);
        }
    }

    /// Unix milliseconds of the server.
    pub(in crate::nats) fn now(&self) -> i64 {
        mono(&self.clock) + self.ahead.load(Relaxed)
    }
}

fn mono(clock: &Clock) -> i64 {
    i64::try_from(clock.now().mono).unwrap_or(i64::MAX / 2)
}
