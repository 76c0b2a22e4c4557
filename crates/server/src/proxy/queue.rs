//! The queue of a proxy: so many calls at a time, so many that wait, and so many a second.
//!
//! [`Line`] and [`Pace`] are pure; [`Queue`] is what waits.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The number of calls that have come and not ended.
#[derive(Debug)]
struct Line {
    /// Calls under way and waiting, at most.
    most: usize,
    inside: usize,
}

impl Line {
    const fn new(concurrency: usize, waiting: usize) -> Self {
        Self { most: concurrency.saturating_add(waiting), inside: 0 }
    }

    /// Takes a call in; false if there is no room.
    const fn enter(&mut self) -> bool {
        let room = self.inside < self.most;
        if room {
            self.inside += 1;
        }
        room
    }

    const fn leave(&mut self) {
        self.inside = self.inside.saturating_sub(1);
    }
}

/// Time in which no more than `rate` calls begin: a second, and a moment more, since a call may begin a little after its
/// time.
const WINDOW_MS: u64 = 1_020;

/// Calls spread over time: at most `rate` in any second. After a pause so many may come at once. Times are milliseconds.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    rate: usize,
    /// Times of the last calls, `rate` of them at most, in order.
    taken: VecDeque<u64>,
}

impl Pace {
    /// At most `rate` calls in a second; 0 sets no limit.
    pub(super) const fn new(rate: u32) -> Self {
        Self { rate: rate as usize, taken: VecDeque::new() }
    }

    /// Reserves the time of a call and returns the milliseconds until it, or `None` if it would be more than `longest`.
    pub(super) fn reserve(&mut self, now: u64, longest: u64) -> Option<u64> {
        if self.rate == 0 {
            return Some(0);
        }
        let full = self.taken.len() >= self.rate;
        let free = if full { self.taken.front().map_or(0, |first| first + WINDOW_MS) } else { 0 };
        let start = now.max(free).max(self.taken.back().copied().unwrap_or(0));
        let wait = start - now;
        if wait > longest {
            return None;
        }
        if full {
            self.taken.pop_front();
        }
        self.taken.push_back(start);
        Some(wait)
    }
}

/// The queue of a proxy.
pub(super) struct Queue {
    line: Mutex<Line>,
    total: usize,
    places: Arc<Semaphore>,
    pace: Mutex<Pace>,
}

/// A place in the queue. Dropping it gives the place back.
pub(super) struct Place {
    queue: Arc<Queue>,
    /// Time until the call may begin, in milliseconds.
    wait_ms: u64,
}

impl Queue {
    pub(super) fn new(concurrency: u32, waiting: u32, rate: u32) -> Arc<Self> {
        let places = (concurrency.max(1) as usize).min(Semaphore::MAX_PERMITS);
        Arc::new(Self {
            line: Mutex::new(Line::new(places, waiting as usize)),
            total: places,
            places: Arc::new(Semaphore::new(places)),
            pace: Mutex::new(Pace::new(rate)),
        })
    }

    /// Takes a call in, or `None` if too many wait, or if its turn would come after `longest_ms`.
    pub(super) fn enter(self: &Arc<Self>, now_ms: u64, longest_ms: u64) -> Option<Place> {
        if !self.line.lock().enter() {
            return None;
        }
        let mut place = Place { queue: Arc::clone(self), wait_ms: 0 };
        place.wait_ms = self.pace.lock().reserve(now_ms, longest_ms)?;
        Some(place)
    }

    /// Calls that have come and not ended, and those of them that wait.
    pub(super) fn counts(&self) -> (usize, usize) {
        let inside = self.line.lock().inside;
        let running = self.total - self.places.available_permits().min(self.total);
        (inside, inside.saturating_sub(running))
    }
}

impl Place {
    /// Waits for its turn.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        if self.wait_ms > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(self.wait_ms)).await;
        }
        Arc::clone(&self.queue.places).acquire_owned().await.ok()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.queue.line.lock().leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_an_end() {
        let mut line = Line::new(1, 2);
        assert!(line.enter() && line.enter() && line.enter());
        assert!(!line.enter(), "one runs and two wait");
        line.leave();
        assert!(line.enter());
    }

    #[test]
    fn a_pace_spreads_calls_over_time() {
        let mut pace = Pace::new(10);
        let at_once = (0..20).take_while(|_| pace.reserve(5_000, 0) == Some(0)).count();
        assert_eq!(at_once, 10, "a second's worth");
        assert_eq!(pace.reserve(5_500, 1_000), Some(520));
        assert_eq!(pace.reserve(5_500, 500), None, "it would wait too long, and takes no turn");
        assert_eq!(pace.reserve(5_600, 500), Some(420));
        let mut free = Pace::new(0);
        assert!((0..1_000).all(|_| free.reserve(0, 0) == Some(0)));
    }

    proptest::proptest! {
        #[test]
        fn no_second_has_more_calls_than_the_rate(
            rate in 1u32..20,
            gaps in proptest::collection::vec(0u64..400, 1..200),
        ) {
            let (mut pace, mut now, mut starts) = (Pace::new(rate), 10_000, Vec::new());
            for gap in gaps {
                now += gap;
                starts.extend(pace.reserve(now, 3_000).map(|wait| now + wait));
            }
            for first in &starts {
                let within = starts.iter().filter(|start| (*first..first + 1_000).contains(*start)).count();
                proptest::prop_assert!(within <= rate as usize);
            }
        }
    }

    #[tokio::test]
    async fn calls_run_in_their_order_and_give_their_places_back() {
        let queue = Queue::new(1, 1, 0);
        let (first, second) = (queue.enter(0, 0).unwrap(), queue.enter(0, 0).unwrap());
        assert!(queue.enter(0, 0).is_none(), "full");
        let turn = first.turn().await.unwrap();
        assert_eq!(queue.counts(), (2, 1));
        let waits = tokio::time::timeout(std::time::Duration::from_millis(20), second.turn()).await;
        assert!(waits.is_err(), "one at a time");
        drop((turn, first));
        assert!(second.turn().await.is_some());
        drop(second);
        assert_eq!(queue.counts(), (0, 0));
        assert!(queue.enter(0, 0).is_some());
    }
}
