//! Epochs of the memory broker's streams, without anything stored for a channel that has no publication.
//!
//! A channel without a publication stands at offset 0, and anyone may ask for that position, of any number of
//! channels. So it is derived: its epoch names the *era* in which it was asked for. As long as no stream of the
//! channel has ended since, every era names the same empty history, and a position from any of them is good. A
//! stream is named by the era in which it was made. Once it has ended (its position has expired), that era and
//! those before it name a history that is over. The ends are noted by a hash of the name in a table of fixed size:
//! of two channels that share a place, the end of one may cost the other a position that was good, but no position
//! is ever taken for one of another history.

use crate::fault::{self, Fault};
use foldhash::fast::FixedState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// Places for ends: 1 MiB, which a node takes when the first stream ends.
pub(crate) const PLACES: usize = 1 << 17;

/// How long an era lasts, unless a stream that was made in it ends. The shorter, the fewer positions the end of
/// another channel's stream can cost; the longer, the steadier the epoch that a channel without publications shows.
const ERA_MS: u64 = 3_600_000;

/// The eras of one memory broker.
pub(crate) struct Epochs {
    /// Random per life of this process: every epoch is bound to it.
    incarnation: Box<str>,
    /// Of the table below and of epochs, which clients see: no other table may have its seed.
    names: FixedState,
    places: usize,
    current: AtomicU64,
    began_ms: AtomicU64,
    /// By the hash of a channel's name, the first era that is not over for it.
    first: OnceLock<Box<[AtomicU64]>>,
}

impl Epochs {
    /// The seed is that of the hash of names; `incarnation` tells this life of the process from any other.
    pub(crate) fn new(incarnation: u64, seed: u64, places: usize) -> Self {
        Self {
            incarnation: base36(incarnation).into(),
            names: FixedState::with_seed(seed),
            places,
            current: AtomicU64::new(0),
            began_ms: AtomicU64::new(0),
            first: OnceLock::new(),
        }
    }

    /// The present era.
    pub(crate) fn current(&self) -> u64 {
        self.current.load(Ordering::Acquire)
    }

    /// The epoch of a channel in an era. That of another channel is another one, so that a position of one is not
    /// taken for one of the other.
    pub(crate) fn epoch(&self, name: &str, era: u64) -> Arc<str> {
        if fault::holds(Fault::ReusedEpoch) {
            return "reused".into();
        }
        let channel = base36(self.names.hash_one(name) & u64::from(u32::MAX));
        format!("{}{channel:0>7}-{}", self.incarnation, base36(era)).into()
    }

    /// The first era that names the present history of a channel that has no stream.
    pub(crate) fn first(&self, name: &str) -> u64 {
        self.first.get().map_or(0, |first| first[self.place(name)].load(Ordering::Acquire))
    }

    /// A stream of this channel that had publications is dropped, its position with it. `own` is its epoch.
    ///
    /// Belongs under the lock of the channel's record, before another stream can be made.
    pub(crate) fn end(&self, name: &str, own: &str, now_ms: u64) {
        let Some(era) = era(own) else { return };
        if self.current.fetch_max(era + 1, Ordering::AcqRel) <= era {
            self.began_ms.store(now_ms, Ordering::Relaxed);
        }
        // After the era: a reader that sees this also sees an era that it does not end.
        let first = self.first.get_or_init(|| (0..self.places).map(|_| AtomicU64::new(0)).collect());
        first[self.place(name)].fetch_max(era + 1, Ordering::AcqRel);
    }

    /// Begins another era if the present one has lasted long enough.
    pub(crate) fn tick(&self, now_ms: u64) {
        if now_ms.saturating_sub(self.began_ms.load(Ordering::Relaxed)) >= ERA_MS {
            self.began_ms.store(now_ms, Ordering::Relaxed);
            self.current.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn place(&self, name: &str) -> usize {
        (self.names.hash_one(name) >> 32) as usize % self.places
    }
}

/// Whether an epoch names the history of a stream whose epoch is `own`, where all from era `first` on did before
/// the stream was made.
pub(crate) fn names(epoch: &str, own: &str, first: u64) -> bool {
    if epoch == own {
        return true;
    }
    match (split(epoch), split(own)) {
        (Some((incarnation, era)), Some((mine, last))) => {
            incarnation == mine && (first..=last).contains(&era)
        }
        _ => false,
    }
}

/// The number of the era that an epoch names.
pub(crate) fn era(epoch: &str) -> Option<u64> {
    Some(split(epoch)?.1)
}

/// What names the channel in this life of the process, and the era.
fn split(epoch: &str) -> Option<(&str, u64)> {
    let (channel, era) = epoch.rsplit_once('-')?;
    Some((channel, u64::from_str_radix(era, 36).ok()?))
}

fn base36(mut number: u64) -> String {
    let mut digits = Vec::new();
    loop {
        digits.push(char::from_digit((number % 36) as u32, 36).unwrap_or('0'));
        number /= 36;
        if number == 0 {
            return digits.iter().rev().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_era_since_the_last_end_names_the_same_empty_history() {
        let epochs = Epochs::new(7, 1, PLACES);
        let before = epochs.epoch("a", epochs.current());
        epochs.tick(ERA_MS);
        let after = epochs.epoch("a", epochs.current());
        assert_ne!(before, after);
        assert!(names(&before, &after, epochs.first("a")));
        assert!(!names(&after, &before, epochs.first("a")), "an era that came after the stream was made");
        for other in ["8-0", "7", "7-zz!", "", &*epochs.epoch("b", 0), &*Epochs::new(8, 1, 1).epoch("a", 0)] {
            assert!(!names(other, &after, 0), "{other}");
        }
    }

    #[test]
    fn an_end_is_one_of_the_channel_and_of_no_era_after() {
        let epochs = Epochs::new(7, 1, PLACES);
        let own = epochs.epoch("a", epochs.current());
        epochs.end("a", &own, 0);
        let next = epochs.epoch("a", epochs.current());
        assert_ne!(own, next, "the name has another history now");
        assert!(!names(&own, &next, epochs.first("a")));
        assert_eq!((epochs.first("a"), epochs.first("b")), (1, 0));
        // One that was made later takes nothing back.
        epochs.end("a", &own, 0);
        assert_eq!((epochs.current(), epochs.first("a")), (1, 1));
    }

    #[test]
    fn nothing_is_kept_until_a_stream_ends() {
        let epochs = Epochs::new(7, 1, PLACES);
        assert_eq!(epochs.first("a"), 0);
        assert!(epochs.first.get().is_none());
    }
}
