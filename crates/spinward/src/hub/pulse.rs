//! The pulse of the shards: whether each one runs, and how long it takes until it has a turn.
//!
//! The watchdog asks, and a shard answers with its next turn. So it shows whatever keeps a shard from that: a turn
//! that takes long, a hook that blocks, a processor that is busy elsewhere.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::Notify;

/// The pulse of every shard of a node. Times are milliseconds on the monotonic clock.
pub(crate) struct Pulse {
    beats: Box<[Beat]>,
    /// At least one shard has failed.
    failed: AtomicBool,
    /// A shard has ended or failed.
    changed: Notify,
}

#[derive(Default)]
#[repr(align(128))]
struct Beat {
    /// The time of a question that is not answered yet, plus one; 0 if there is none.
    asked: AtomicU64,
    /// Time that the last answer took.
    lag: AtomicU64,
    /// It ended in a panic or by an error, or is about to.
    failed: AtomicBool,
    /// Its thread is over.
    ended: AtomicBool,
    /// It is to end at once, whatever its connections do.
    halted: AtomicBool,
}

impl Pulse {
    pub(crate) fn new(shards: usize) -> Self {
        let beats = (0..shards).map(|_| Beat::default()).collect();
        Self { beats, failed: AtomicBool::new(false), changed: Notify::new() }
    }

    /// Asks a shard, unless it has yet to answer.
    pub(crate) fn ask(&self, shard: usize, now: u64) {
        let _ = self.beats[shard].asked.compare_exchange(0, now + 1, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Asks a shard as if it had not been asked before.
    pub(crate) fn ask_again(&self, shard: usize, now: u64) {
        self.beats[shard].asked.store(now + 1, Ordering::Relaxed);
    }

    /// The shard has a turn.
    pub(crate) fn answer(&self, shard: usize, now: u64) {
        let beat = &self.beats[shard];
        let asked = beat.asked.load(Ordering::Relaxed);
        if asked != 0 {
            beat.lag.store(now.saturating_sub(asked - 1), Ordering::Relaxed);
            beat.asked.store(0, Ordering::Relaxed);
        }
    }

    /// Returns the time the shard took to answer, or the time it has been taking so far if that is longer.
    pub(crate) fn lag(&self, shard: usize, now: u64) -> u64 {
        let beat = &self.beats[shard];
        let waiting = match beat.asked.load(Ordering::Relaxed) {
            0 => 0,
            asked => now.saturating_sub(asked - 1),
        };
        waiting.max(beat.lag.load(Ordering::Relaxed))
    }

    /// The shard cannot go on: it ends with its next turn.
    pub(crate) fn fail(&self, shard: usize) {
        self.beats[shard].failed.store(true, Ordering::Release);
        self.beats[shard].halted.store(true, Ordering::Release);
        self.failed.store(true, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// The thread of the shard is over.
    pub(crate) fn end(&self, shard: usize) {
        self.beats[shard].ended.store(true, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Has every shard end with its next turn.
    pub(crate) fn halt(&self) {
        for beat in &self.beats {
            beat.halted.store(true, Ordering::Release);
        }
    }

    pub(crate) fn is_halted(&self, shard: usize) -> bool {
        self.beats[shard].halted.load(Ordering::Relaxed)
    }

    pub(crate) fn has_failed(&self, shard: usize) -> bool {
        self.beats[shard].failed.load(Ordering::Acquire)
    }

    pub(crate) fn has_ended(&self, shard: usize) -> bool {
        self.beats[shard].ended.load(Ordering::Acquire)
    }

    /// Returns true if any shard has failed.
    pub(crate) fn is_broken(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Waits until a shard has failed.
    pub(crate) async fn broken(&self) {
        self.until(|| self.is_broken()).await;
    }

    /// Waits until the threads of all shards are over.
    pub(crate) async fn all_ended(&self) {
        self.until(|| self.beats.iter().all(|beat| beat.ended.load(Ordering::Acquire))).await;
    }

    async fn until(&self, condition: impl Fn() -> bool) {
        loop {
            let changed = self.changed.notified();
            if condition() {
                return;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lag_is_that_of_the_last_answer_or_of_the_one_that_is_due() {
        let pulse = Pulse::new(2);
        assert_eq!(pulse.lag(0, 5), 0, "never asked");
        pulse.ask(0, 0);
        pulse.ask(0, 90);
        assert_eq!(pulse.lag(0, 100), 100, "since it was first asked");
        pulse.answer(0, 120);
        assert_eq!(pulse.lag(0, 300), 120, "until it is asked again");
        pulse.answer(0, 400);
        pulse.ask(0, 500);
        pulse.answer(0, 501);
        assert_eq!((pulse.lag(0, 900), pulse.lag(1, 900)), (1, 0));
    }

    #[tokio::test]
    async fn a_failure_is_seen_by_who_waits_for_it() {
        let pulse = Pulse::new(2);
        let (.., ended) = tokio::join!(
            pulse.broken(),
            async {
                pulse.fail(1);
                pulse.end(1);
                pulse.end(0);
            },
            tokio::time::timeout(std::time::Duration::from_secs(10), pulse.all_ended()),
        );
        assert_eq!(ended, Ok(()));
        assert!(pulse.has_failed(1) && !pulse.has_failed(0) && pulse.is_halted(1) && !pulse.is_halted(0));
    }
}
