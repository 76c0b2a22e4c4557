//! The only source of time. Everything else is given the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// One reading of both clocks.
///
/// Token times compare with `wall`; every timer runs on `mono`, so that a jump of the wall clock
/// disconnects nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Now {
    /// Milliseconds since some fixed moment of this process, never going back.
    pub mono: u64,
    /// Unix time in milliseconds.
    pub wall: i64,
}

impl Now {
    /// Unix time in whole seconds, as token claims have it.
    #[must_use]
    pub const fn unix(self) -> i64 {
        self.wall.div_euclid(1000)
    }
}

/// A source of time.
#[derive(Clone)]
pub struct Clock(Inner);

#[derive(Clone)]
enum Inner {
    System(Instant),
    Manual(Arc<Manual>),
}

#[derive(Default)]
struct Manual {
    mono: AtomicU64,
    wall: AtomicI64,
}

impl Clock {
    /// The clocks of the operating system.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn system() -> Self {
        Self(Inner::System(Instant::now()))
    }

    /// A clock that moves only when advanced: for simulations and tests.
    #[must_use]
    pub fn manual(start: Now) -> Self {
        let manual = Manual { mono: AtomicU64::new(start.mono), wall: AtomicI64::new(start.wall) };
        Self(Inner::Manual(Arc::new(manual)))
    }

    /// Moves both hands of a manual clock forward by `millis`; a system clock is left alone.
    pub fn advance(&self, millis: u64) {
        if let Inner::Manual(manual) = &self.0 {
            manual.mono.fetch_add(millis, Ordering::Relaxed);
            manual.wall.fetch_add(i64::try_from(millis).unwrap_or(i64::MAX), Ordering::Relaxed);
        }
    }

    /// Sets the wall clock of a manual clock forward, or back, while the other hand does not move, as an operator
    /// or a machine that slept does; a system clock is left alone.
    pub fn step(&self, millis: i64) {
        if let Inner::Manual(manual) = &self.0 {
            manual.wall.fetch_add(millis, Ordering::Relaxed);
        }
    }

    /// Microseconds of the monotonic clock, for measuring how long something takes.
    #[must_use]
    pub fn micros(&self) -> u64 {
        match &self.0 {
            Inner::System(start) => u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX),
            Inner::Manual(manual) => manual.mono.load(Ordering::Relaxed).saturating_mul(1_000),
        }
    }

    /// Reads both clocks.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn now(&self) -> Now {
        match &self.0 {
            Inner::System(start) => Now {
                mono: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
                wall: SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .map_or(0, |past| i64::try_from(past.as_millis()).unwrap_or(i64::MAX)),
            },
            Inner::Manual(manual) => {
                Now { mono: manual.mono.load(Ordering::Relaxed), wall: manual.wall.load(Ordering::Relaxed) }
            }
        }
    }
}
