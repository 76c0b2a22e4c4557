//! Nanoseconds since this process started, on the monotonic clock.
//!
//! Publisher and receivers of one measurement live in one process, so that a timestamp in a payload needs
//! no clock that two processes share.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Now.
pub(crate) fn now() -> u64 {
    u64::try_from(start().elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Sleeps until `at`; returns at once when that is past.
pub(crate) fn sleep_until(at: u64) {
    let left = at.saturating_sub(now());
    if left > 0 {
        std::thread::sleep(Duration::from_nanos(left));
    }
}

fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}
