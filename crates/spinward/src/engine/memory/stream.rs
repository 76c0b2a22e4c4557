//! The stream of one channel, kept in memory: its position, and the publications still kept.
//!
//! What is read, recovered and suppressed here is what Centrifugo v6.9 with its memory engine does. Time is given by
//! the caller; monotonic milliseconds everywhere but in the time stamp of a publication.

use crate::engine::broker::{BrokerError, History, HistoryFilter, PublishOptions};
use crate::engine::memory::epochs;
use crate::publication::{Position, Publication};
use std::collections::VecDeque;
use std::mem::size_of;
use std::sync::Arc;
use std::time::Duration;

/// A moment that never comes.
pub(crate) const NEVER: u64 = u64::MAX;

/// The stream of one channel.
///
/// Publications kept have consecutive offsets, the last of which is the top: they are only dropped from the
/// old end, or all at once.
pub(crate) struct Stream {
    epoch: Arc<str>,
    /// The first era that named this history before it was stored.
    first_era: u64,
    top: u64,
    /// Absent while nothing is kept, so that an idle stream is small.
    kept: Option<Box<Kept>>,
    version: Option<Box<Version>>,
    meta_ttl: u64,
    expires_at: u64,
}

/// The publications kept; never empty.
struct Kept {
    entries: VecDeque<Arc<Publication>>,
    expire_at: u64,
    weight: usize,
}

struct Version {
    number: u64,
    epoch: Box<str>,
}

/// Effect of a publish on a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Appended {
    /// The publication has its offset and time, and is to be delivered.
    Stored(Arc<Publication>),
    /// Its version was not new: nothing is to be delivered. The position is the present top.
    Suppressed(Position),
}

/// Publications that a subscriber missed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recovery {
    /// Everything after the position, oldest first; empty unless `complete`.
    pub(crate) publications: Vec<Arc<Publication>>,
    /// Nothing is missing between the position and the top.
    pub(crate) complete: bool,
}

impl Stream {
    /// A stream at offset 0. It never expires until it is touched. Positions in eras from `first_era` to that of
    /// `epoch` are its own.
    pub(crate) const fn new(epoch: Arc<str>, first_era: u64) -> Self {
        Self { epoch, first_era, top: 0, kept: None, version: None, meta_ttl: 0, expires_at: NEVER }
    }

    pub(crate) const fn epoch(&self) -> &Arc<str> {
        &self.epoch
    }

    /// Returns whether no publication was ever stored in it.
    pub(crate) const fn is_unwritten(&self) -> bool {
        self.top == 0
    }

    /// The position of the last publication.
    pub(crate) fn top(&self) -> Position {
        Position { offset: self.top, epoch: Arc::clone(&self.epoch) }
    }

    /// Appends a publication, unless its version is not new.
    ///
    /// Of the options, the history and the version count; history must be enabled. The publication is given
    /// its offset and time here. Suppressed or not, a publish prolongs what is kept and the position.
    pub(crate) fn publish(
        &mut self,
        mut publication: Publication,
        options: &PublishOptions,
        now_ms: u64,
        now_wall_ms: i64,
    ) -> Appended {
        debug_assert!(options.history.enabled(), "without history there is no stream");
        self.touch(options.history.meta_ttl, now_ms);
        self.expire_entries(now_ms);
        let expire_at = now_ms.saturating_add(millis(options.history.ttl));
        if let Some(kept) = &mut self.kept {
            kept.expire_at = expire_at;
        }
        if !self.take_version(options) {
            return Appended::Suppressed(self.top());
        }
        self.top += 1;
        publication.offset = self.top;
        publication.time = now_wall_ms;
        let publication = Arc::new(publication);
        let kept = self.kept.get_or_insert_with(|| Box::new(Kept::new(options.history.size, expire_at)));
        kept.push(Arc::clone(&publication), options.history.size);
        Appended::Stored(publication)
    }

    /// Reads a slice.
    ///
    /// A position with an empty epoch is one of the present epoch. A position older than what is kept, or
    /// beyond the top, is not an error: the reader sees from offsets and top what it missed.
    ///
    /// # Errors
    /// [`BrokerError::UnrecoverablePosition`] if the position is of another epoch.
    pub(crate) fn read(&mut self, filter: &HistoryFilter, now_ms: u64) -> Result<History, BrokerError> {
        self.touch_again(now_ms);
        self.expire_entries(now_ms);
        let top = self.top();
        let since = match &filter.since {
            Some(since) if !self.is_mine(&since.epoch) => return Err(BrokerError::UnrecoverablePosition),
            Some(since) => Some(since.offset),
            None => None,
        };
        let limit = usize::try_from(filter.limit).unwrap_or(usize::MAX);
        let publications = match &self.kept {
            Some(kept) if filter.reverse => kept.before(since, limit),
            // After the last offset of all comes the first, as in Centrifugo v6.9.
            Some(kept) => {
                kept.after(since.filter(|since| *since < u64::MAX).unwrap_or(0), limit).cloned().collect()
            }
            None => Vec::new(),
        };
        Ok(History { publications, top })
    }

    /// Finds what a subscriber missed since its last position: all of it or nothing.
    ///
    /// A limit of 0 means no limit; a subscriber that missed more than the limit is not recovered. An empty epoch means
    /// the present one.
    pub(crate) fn recover(
        &mut self,
        since_offset: u64,
        since_epoch: &str,
        limit: usize,
        now_ms: u64,
    ) -> Recovery {
        self.touch_again(now_ms);
        self.expire_entries(now_ms);
        let nothing = |complete| Recovery { publications: Vec::new(), complete };
        if !self.is_mine(since_epoch) || since_offset > self.top {
            return nothing(false);
        }
        let missed = self.top - since_offset;
        if missed == 0 {
            return nothing(true);
        }
        if limit > 0 && missed > limit as u64 {
            return nothing(false);
        }
        match &self.kept {
            Some(kept) if since_offset + 1 >= kept.oldest() => Recovery {
                publications: kept.after(since_offset, usize::MAX).cloned().collect(),
                complete: true,
            },
            _ => nothing(false),
        }
    }

    /// The last publication, if it is still kept: the whole of a channel in cache mode, and the base of a delta.
    pub(crate) fn latest(&mut self, now_ms: u64) -> Option<Arc<Publication>> {
        self.latest_matching(1, now_ms, |_| true)
    }

    /// The last publication that passes, among the newest `limit` (0 means no limit).
    pub(crate) fn latest_matching(
        &mut self,
        limit: usize,
        now_ms: u64,
        mut pass: impl FnMut(&Publication) -> bool,
    ) -> Option<Arc<Publication>> {
        self.touch_again(now_ms);
        self.expire_entries(now_ms);
        let limit = if limit == 0 { usize::MAX } else { limit };
        self.kept.as_ref()?.entries.iter().rev().take(limit).find(|p| pass(p)).cloned()
    }

    /// Drops the publications; position and version stay.
    pub(crate) fn remove_history(&mut self) {
        self.kept = None;
    }

    /// Sets the time that the position outlives this moment; zero means for ever.
    ///
    /// A publish does this by itself, from its options (so the node's default belongs in there); a read, a
    /// recovery or a look at the latest publication repeats it with the last duration.
    pub(crate) fn touch(&mut self, meta_ttl: Duration, now_ms: u64) {
        self.meta_ttl = millis(meta_ttl);
        self.touch_again(now_ms);
    }

    /// Returns the time at which the whole stream may be dropped, its position with it, if nothing touches it until
    /// then.
    ///
    /// To drop it later is harmless. To drop it under a subscriber is not.
    pub(crate) const fn expires_at(&self) -> u64 {
        self.expires_at
    }

    /// Returns the time at which the kept publications expire; `None` while there are none.
    pub(crate) fn entries_expire_at(&self) -> Option<u64> {
        self.kept.as_ref().map(|kept| kept.expire_at)
    }

    /// Drops what is kept once its time is up. Every other call does this first; a timer may, to give the
    /// memory back.
    pub(crate) fn expire_entries(&mut self, now_ms: u64) {
        if self.kept.as_ref().is_some_and(|kept| kept.expire_at <= now_ms) {
            self.kept = None;
        }
    }

    /// Bytes held, in constant time.
    #[allow(dead_code, reason = "a measure for tests and gauges")]
    pub(crate) fn weight(&self) -> usize {
        let kept = self.kept.as_ref().map_or(0, |kept| kept.weight());
        let version = self.version.as_ref().map_or(0, |version| size_of::<Version>() + version.epoch.len());
        size_of::<Self>() + kept + version
    }

    fn is_mine(&self, epoch: &str) -> bool {
        epoch.is_empty() || epochs::names(epoch, &self.epoch, self.first_era)
    }

    pub(crate) const fn touch_again(&mut self, now_ms: u64) {
        self.expires_at = if self.meta_ttl == 0 { NEVER } else { now_ms.saturating_add(self.meta_ttl) };
    }

    /// Has the position expire at this moment at the latest, unless it is used again.
    pub(crate) fn expire_by(&mut self, at_ms: u64) {
        self.expires_at = self.expires_at.min(at_ms);
    }

    /// Decides whether a publication is new, and remembers its version if so.
    ///
    /// Without a version epoch, a version compares with the last one whatever epoch that had. A publication stored
    /// without a version makes the stream forget the last one (both as Centrifugo v6.9 does in memory).
    fn take_version(&mut self, options: &PublishOptions) -> bool {
        if options.version == 0 {
            self.version = None;
            return true;
        }
        if let Some(last) = &self.version {
            let comparable = options.version_epoch.is_empty() || *options.version_epoch == *last.epoch;
            if comparable && options.version <= last.number {
                return false;
            }
        }
        self.version =
            Some(Box::new(Version { number: options.version, epoch: options.version_epoch.as_str().into() }));
        true
    }
}

impl Kept {
    fn new(size: usize, expire_at: u64) -> Self {
        Self { entries: VecDeque::with_capacity(size.min(4)), expire_at, weight: 0 }
    }

    /// Makes room first, so that a stream of one publication never has room for two.
    fn push(&mut self, publication: Arc<Publication>, size: usize) {
        let size = size.max(1);
        while self.entries.len() >= size {
            if let Some(old) = self.entries.pop_front() {
                self.weight -= old.weight();
            }
        }
        if self.entries.capacity() / 4 > size {
            self.entries.shrink_to(size);
        }
        self.weight += publication.weight();
        self.entries.push_back(publication);
    }

    fn oldest(&self) -> u64 {
        self.entries.front().map_or(0, |publication| publication.offset)
    }

    /// Oldest first, from the first one kept after `offset`.
    fn after(&self, offset: u64, limit: usize) -> impl Iterator<Item = &Arc<Publication>> {
        let skip = offset.saturating_add(1).saturating_sub(self.oldest());
        let skip = usize::try_from(skip).unwrap_or(usize::MAX).min(self.entries.len());
        self.entries.range(skip..).take(limit)
    }

    /// Newest first, from the one just before `offset`; nothing if that one is not kept.
    fn before(&self, offset: Option<u64>, limit: usize) -> Vec<Arc<Publication>> {
        let count = match offset {
            None => self.entries.len() as u64,
            Some(offset) => offset.saturating_sub(self.oldest()),
        };
        match usize::try_from(count) {
            Ok(count) if count <= self.entries.len() => {
                self.entries.range(..count).rev().take(limit).cloned().collect()
            }
            _ => Vec::new(),
        }
    }

    fn weight(&self) -> usize {
        size_of::<Self>() + self.entries.capacity() * size_of::<Arc<Publication>>() + self.weight
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(NEVER)
}

#[cfg(test)]
pub(crate) mod tests;
