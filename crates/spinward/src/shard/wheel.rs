//! One timer per connection, for a whole shard of them.

/// No connection.
const NIL: u32 = u32::MAX;
/// Length of a tick. Timers fire up to one tick late, never early.
pub(crate) const TICK_MS: u64 = 50;
const BUCKETS: usize = 1024;
/// Bits of a word.
const WORD: usize = u64::BITS as usize;

/// A hashed timing wheel over slot numbers.
///
/// Each slot has at most one deadline. A bucket is a list through the links, which cost 16 bytes a slot;
/// setting, moving and removing a deadline is constant work. A deadline more than one turn away stays in its
/// bucket and is passed over each turn.
pub(crate) struct Wheel {
    heads: Box<[u32]>,
    /// A bit for each bucket with a slot in it.
    occupied: [u64; BUCKETS / WORD],
    links: Vec<Link>,
    /// The tick that is looked at next.
    next_tick: u64,
    armed: usize,
}

#[derive(Clone, Copy)]
struct Link {
    previous: u32,
    next: u32,
    /// Tick of the deadline; 0 means no deadline.
    tick: u64,
}

impl Wheel {
    pub(crate) fn new(now_ms: u64) -> Self {
        Self {
            heads: vec![NIL; BUCKETS].into_boxed_slice(),
            occupied: [0; BUCKETS / WORD],
            links: Vec::new(),
            next_tick: now_ms / TICK_MS + 1,
            armed: 0,
        }
    }

    /// Sets the deadline of a slot, replacing any that it had. `u64::MAX` means no deadline.
    pub(crate) fn set(&mut self, slot: u32, deadline_ms: u64) {
        let index = slot as usize;
        if index >= self.links.len() {
            self.links.resize(index + 1, Link { previous: NIL, next: NIL, tick: 0 });
        }
        let tick =
            if deadline_ms == u64::MAX { 0 } else { deadline_ms.div_ceil(TICK_MS).max(self.next_tick) };
        if self.links[index].tick == tick {
            return;
        }
        self.unlink(slot);
        if tick != 0 {
            let bucket = tick as usize % BUCKETS;
            let next = self.heads[bucket];
            self.links[index] = Link { previous: NIL, next, tick };
            if next != NIL {
                self.links[next as usize].previous = slot;
            }
            self.heads[bucket] = slot;
            self.occupied[bucket / WORD] |= 1 << (bucket % WORD);
            self.armed += 1;
        }
    }

    fn unlink(&mut self, slot: u32) {
        let Link { previous, next, tick } = self.links[slot as usize];
        if tick == 0 {
            return;
        }
        if previous == NIL {
            let bucket = tick as usize % BUCKETS;
            self.heads[bucket] = next;
            if next == NIL {
                self.occupied[bucket / WORD] &= !(1 << (bucket % WORD));
            }
        } else {
            self.links[previous as usize].next = next;
        }
        if next != NIL {
            self.links[next as usize].previous = previous;
        }
        self.links[slot as usize] = Link { previous: NIL, next: NIL, tick: 0 };
        self.armed -= 1;
    }

    /// Takes out the slots whose deadlines have passed.
    pub(crate) fn expire(&mut self, now_ms: u64, due: &mut Vec<u32>) {
        let now_tick = now_ms / TICK_MS;
        if now_tick < self.next_tick {
            return;
        }
        // After a long sleep one turn of the wheel sees every bucket.
        let last = now_tick.min(self.next_tick + BUCKETS as u64 - 1);
        for tick in self.next_tick..=last {
            let mut slot = self.heads[tick as usize % BUCKETS];
            while slot != NIL {
                let link = self.links[slot as usize];
                if link.tick <= now_tick {
                    self.unlink(slot);
                    due.push(slot);
                }
                slot = link.next;
            }
        }
        self.next_tick = now_tick + 1;
    }

    /// Returns the time to call [`Wheel::expire`] next, in milliseconds; no later than the first deadline.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        if self.armed == 0 {
            return None;
        }
        let first = self.next_tick as usize % BUCKETS;
        let (word, bit) = (first / WORD, first % WORD);
        // The first word comes twice: its high bits are the next ticks, its low bits the last ones of the turn.
        (0..=self.occupied.len()).find_map(|step| {
            let bits = self.occupied[(word + step) % self.occupied.len()];
            let bits = if step == 0 { bits >> bit << bit } else { bits };
            let ahead = (step * WORD + bits.trailing_zeros() as usize).checked_sub(bit)?;
            (bits != 0).then(|| (self.next_tick + ahead as u64) * TICK_MS)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn agrees_with_a_sorted_map() {
        let mut state = 7_u64;
        let mut random = move |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % below
        };
        let mut wheel = Wheel::new(0);
        let mut model = BTreeMap::new();
        let mut now = 0;
        for _ in 0..20_000 {
            match random(3) {
                0 => {
                    let (slot, at) = (random(50) as u32, now + 1 + random(200_000));
                    wheel.set(slot, at);
                    model.insert(slot, at);
                }
                1 => {
                    let slot = random(50) as u32;
                    wheel.set(slot, u64::MAX);
                    model.remove(&slot);
                }
                _ => {
                    now += random(3_000);
                    let ahead =
                        |ahead: &u64| wheel.heads[(wheel.next_tick + ahead) as usize % BUCKETS] != NIL;
                    let found =
                        (0..BUCKETS as u64).find(ahead).map(|ahead| (wheel.next_tick + ahead) * TICK_MS);
                    assert_eq!(wheel.next_deadline(), found);
                    if let Some(next) = wheel.next_deadline() {
                        let first = model.values().min().copied().unwrap_or(u64::MAX);
                        assert!(
                            next < first + TICK_MS,
                            "asks to be called at {next}, the first is at {first}"
                        );
                    }
                    let mut due = Vec::new();
                    wheel.expire(now, &mut due);
                    due.sort_unstable();
                    let late: Vec<u32> =
                        model.iter().filter(|(_, at)| **at + TICK_MS <= now).map(|(s, _)| *s).collect();
                    assert!(late.iter().all(|slot| due.contains(slot)), "late by more than a tick");
                    for slot in due {
                        let at = model.remove(&slot).expect("fired without a deadline");
                        assert!(at <= now, "fired early: {at} at {now}");
                    }
                }
            }
        }
        assert_eq!(wheel.armed, model.len());
    }
}
