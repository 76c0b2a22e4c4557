//! Presence entries of stores that let them expire: refreshed in batches, each once per interval.

use crate::clock::Now;
use crate::mailbox::call::ShardCall;
use crate::shard::core::{Core, Execute};
use crate::shard::slots::SlotState;
use std::ops::Range;
use std::time::Duration;

/// Parts of an interval. In each, as large a part of the slots is visited.
const PARTS: usize = 16;
/// Connections visited at a time at most. A part with more goes on in the next turn.
const VISITED: usize = 512;

/// The next connections to refresh, and when.
pub(super) struct Refresh {
    /// Milliseconds between two parts.
    pause: u64,
    due: u64,
    part: usize,
    next: usize,
}

impl Refresh {
    pub(super) fn new(interval: Duration, now: Now) -> Self {
        let pause = (u64::try_from(interval.as_millis()).unwrap_or(u64::MAX) / PARTS as u64).max(1);
        Self { pause, due: now.mono.saturating_add(pause), part: 0, next: 0 }
    }

    pub(super) const fn due(&self) -> u64 {
        self.due
    }

    /// Takes the slots to visit now.
    fn take(&mut self, slots: usize, now: Now) -> Range<usize> {
        let end = slots * (self.part + 1) / PARTS;
        let visited = self.next..end.min(self.next + VISITED);
        self.next = visited.end.max(visited.start);
        if self.next >= end {
            self.due = now.mono.saturating_add(self.pause);
            self.part = (self.part + 1) % PARTS;
            if self.part == 0 {
                self.next = 0;
            }
        }
        visited
    }
}

impl Core {
    /// Refreshes the entries of the connections that are due.
    pub(super) fn refresh_presence(&mut self, now: Now, exec: &mut impl Execute) {
        let slots = self.slots.len();
        let Some(refresh) = self.refresh.as_mut().filter(|refresh| refresh.due <= now.mono) else { return };
        let visited = refresh.take(slots, now);
        let mut members = Vec::new();
        for slot in visited {
            if self.slots[slot].state == SlotState::Open {
                self.with(slot as u32, now, |session, cx| session.list_presence(cx, &mut members));
            }
        }
        if !members.is_empty() {
            exec.run(ShardCall::PresenceRefresh(members));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_slot_is_visited_once_per_interval() {
        const INTERVAL: u64 = 1_600;
        for slots in [1, 2, 15, 16, 17, 1_000, 20_000] {
            let mut now = Now { mono: 0, wall: 0 };
            let mut refresh = Refresh::new(Duration::from_millis(INTERVAL), now);
            let mut visits = vec![0; slots];
            while refresh.due() <= 3 * INTERVAL {
                now.mono = refresh.due();
                let visited = refresh.take(slots, now);
                assert!(visited.len() <= VISITED);
                visits[visited].iter_mut().for_each(|count| *count += 1);
            }
            assert!(visits.iter().all(|count| *count == 3), "{slots} slots");
        }
    }
}
