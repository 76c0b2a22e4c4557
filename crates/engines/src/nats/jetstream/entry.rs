//! Messages of a channel's history, and what each says of the whole stream of the channel.
//!
//! Every message carries the state of its stream after it: epoch, offset, the publications that are no longer kept, when
//! they expire, and the version. So the last message of a subject is all that a publish or a read has to know, and the
//! check of the last sequence makes a publish one atomic step. A *mark* is a message without a publication: it begins a
//! stream, forgets publications, or prolongs the position.

use bytes::{BufMut, Bytes};
use prost::Message;
use spinward::engine::broker::{HistoryOptions, Place, PublishOptions, StreamId};
use std::ops::RangeInclusive;
use std::time::Duration;

/// First byte of an entry, on the subject where unstored events arrive too.
pub(super) const ENTRY: u8 = b'2';

/// A message of the history.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Entry {
    /// The incarnation of the partition.
    #[prost(string, tag = "1")]
    pub(super) life: String,
    #[prost(string, tag = "2")]
    pub(super) epoch: String,
    /// Offset of the last publication.
    #[prost(uint64, tag = "3")]
    pub(super) offset: u64,
    /// Publications up to this offset are dropped.
    #[prost(uint64, tag = "4")]
    pub(super) floor: u64,
    /// Most publications kept.
    #[prost(uint64, tag = "5")]
    pub(super) size: u64,
    /// Unix milliseconds of the server at which the publications expire.
    #[prost(int64, tag = "6")]
    pub(super) expires_at: i64,
    /// The same for the position.
    #[prost(int64, tag = "7")]
    pub(super) position_expires_at: i64,
    /// Version of the last publication; 0 for none.
    #[prost(uint64, tag = "8")]
    pub(super) version: u64,
    #[prost(string, tag = "9")]
    pub(super) version_epoch: String,
    /// The publication that has this offset; absent in a mark.
    #[prost(bytes = "bytes", optional, tag = "10")]
    pub(super) publication: Option<Bytes>,
}

/// Time that a position is kept, which is no shorter than that of publications.
fn position_ttl(history: &HistoryOptions) -> Duration {
    history.meta_ttl.max(history.ttl)
}

fn after(now: i64, time: Duration) -> i64 {
    now.saturating_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
}

impl Entry {
    /// The mark that begins a stream.
    pub(super) fn beginning(life: &str, epoch: String, history: &HistoryOptions, now: i64) -> Self {
        let position_expires_at = after(now, position_ttl(history));
        Self { life: life.to_owned(), epoch, position_expires_at, ..Self::default() }
    }

    /// The entry after this one, with a publication.
    pub(super) fn next(&self, publication: Bytes, options: &PublishOptions, now: i64) -> Self {
        let offset = self.offset.saturating_add(1);
        let size = options.history.size as u64;
        let floor = if now >= self.expires_at { self.offset } else { self.floor };
        Self {
            life: self.life.clone(),
            epoch: self.epoch.clone(),
            offset,
            floor: floor.max(offset.saturating_sub(size)),
            size,
            expires_at: after(now, options.history.ttl),
            position_expires_at: after(now, position_ttl(&options.history)),
            version: options.version,
            version_epoch: if options.version > 0 { options.version_epoch.clone() } else { String::new() },
            publication: Some(publication),
        }
    }

    /// The mark that drops what is kept.
    pub(super) fn forgotten(&self) -> Self {
        Self { floor: self.offset, publication: None, ..self.clone() }
    }

    /// The mark that prolongs the position, if half of its time has passed.
    pub(super) fn prolonged(&self, history: &HistoryOptions, now: i64) -> Option<Self> {
        let position_expires_at = after(now, position_ttl(history));
        let half = after(now, position_ttl(history) / 2);
        (self.position_expires_at < half).then(|| Self {
            position_expires_at,
            publication: None,
            ..self.clone()
        })
    }

    /// Returns true if the stream is over: the next publication begins another one.
    pub(super) const fn is_over(&self, now: i64) -> bool {
        now >= self.position_expires_at
    }

    /// Returns true if a publication is not new enough to be stored.
    pub(super) fn suppresses(&self, options: &PublishOptions) -> bool {
        let comparable = options.version_epoch.is_empty() || options.version_epoch == self.version_epoch;
        options.version > 0 && comparable && options.version <= self.version
    }

    /// Offsets that are kept.
    pub(super) fn kept(&self, now: i64) -> RangeInclusive<u64> {
        let floor = if now >= self.expires_at { self.offset } else { self.floor };
        floor.saturating_add(1)..=self.offset
    }

    pub(super) fn stream(&self) -> StreamId {
        StreamId { incarnation: self.life.as_str().into(), epoch: self.epoch.as_str().into() }
    }

    pub(super) fn place(&self) -> Place {
        Place { stream: self.stream(), offset: self.offset }
    }

    /// Whole seconds after which the server may remove the message.
    pub(super) fn seconds(&self, now: i64) -> i64 {
        (self.position_expires_at.saturating_sub(now) / 1_000).clamp(1, i64::from(i32::MAX)) + 1
    }

    pub(super) fn encoded(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(1 + self.encoded_len());
        bytes.put_u8(ENTRY);
        self.encode_raw(&mut bytes);
        bytes.into()
    }

    /// Reads an entry. `None` if it is not one.
    pub(super) fn read(mut bytes: Bytes) -> Option<Self> {
        if bytes.first() != Some(&ENTRY) {
            return None;
        }
        Self::decode(bytes.split_off(1)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn history(size: usize, ttl: u64) -> PublishOptions {
        let ttl = Duration::from_millis(ttl);
        let history = HistoryOptions { size, ttl, meta_ttl: Duration::from_secs(1) };
        PublishOptions { history, ..PublishOptions::default() }
    }

    fn begun() -> Entry {
        Entry::beginning("l", "e".to_owned(), &history(1, 1).history, 0)
    }

    fn publish(entry: &Entry, options: &PublishOptions, now: i64) -> Entry {
        entry.next("p".into(), options, now)
    }

    #[test]
    fn the_size_bounds_what_is_kept() {
        let mut entry = begun();
        assert!(entry.kept(0).is_empty());
        for _ in 0..7 {
            entry = publish(&entry, &history(3, 100), 0);
        }
        assert_eq!(entry.kept(99), 5..=7);
        assert_eq!(publish(&entry, &history(10, 100), 1).kept(2), 5..=8, "what was dropped stays dropped");
    }

    #[test]
    fn what_has_expired_does_not_return() {
        let first = publish(&begun(), &history(10, 100), 0);
        let prolonged = publish(&first, &history(10, 100), 99);
        assert_eq!(prolonged.kept(198), 1..=2);
        assert!(prolonged.kept(199).is_empty());
        let later = publish(&first, &history(10, 100), 100);
        assert_eq!(later.kept(101), 2..=2);
        assert!(later.forgotten().kept(101).is_empty());
        assert_eq!(publish(&later.forgotten(), &history(10, 100), 102).kept(103), 3..=3);
    }

    #[test]
    fn a_position_outlives_its_publications() {
        let entry = publish(&begun(), &history(10, 100), 0);
        assert!(!entry.is_over(999) && entry.is_over(1_000));
        let options = history(10, 100).history;
        assert_eq!(entry.prolonged(&options, 499), None);
        let prolonged = entry.prolonged(&options, 600).unwrap();
        assert!(!prolonged.is_over(1_599) && prolonged.is_over(1_600));
        assert_eq!((prolonged.offset, prolonged.kept(99)), (1, 1..=1));
        assert_eq!(entry.seconds(0), 2);
    }

    #[test]
    fn versions_compare_within_an_epoch() {
        let versioned = |version, epoch: &str| PublishOptions {
            version,
            version_epoch: epoch.to_owned(),
            ..history(10, 100)
        };
        let entry = publish(&begun(), &versioned(5, "a"), 0);
        assert!(entry.suppresses(&versioned(5, "a")) && entry.suppresses(&versioned(4, "")));
        assert!(!entry.suppresses(&versioned(6, "a")) && !entry.suppresses(&versioned(1, "b")));
        assert!(!entry.suppresses(&history(10, 100)), "no version is always new");
        assert!(!publish(&entry, &history(10, 100), 0).suppresses(&versioned(1, "a")));
    }

    proptest! {
        #[test]
        fn no_bytes_cause_a_panic(bytes: Vec<u8>, first: bool) {
            let mut bytes = bytes;
            if first {
                bytes.insert(0, ENTRY);
            }
            if let Some(entry) = Entry::read(bytes.into()) {
                prop_assert_eq!(Entry::read(entry.encoded()), Some(entry));
            }
        }
    }
}
