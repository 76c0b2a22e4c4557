//! The latest part of one stream: read once, and continued by what is delivered.

use crate::backend::waves::Origin;
use crate::channel::params::SubscribeParams;
use crate::clock::Now;
use crate::engine::broker::{History, HistoryOptions, Limit, Read};
use crate::fault::{self, Fault};
use crate::publication::{Position, Publication};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of publications of one channel.
pub(super) const CHANNEL_BYTES: usize = 1 << 20;
/// Time that a slice is used, from the moment at which its first read began.
pub(super) const LIFE: Duration = Duration::from_secs(5);

/// The latest part of one stream.
///
/// Collected from before its first read begins, so that nothing is missing between what is read and what is delivered.
/// It ends with the first doubt: [`RecentSlice::keep`] and [`RecentSlice::answered`] return false then.
pub(super) struct RecentSlice {
    /// Told apart from an earlier slice of the channel.
    pub(super) number: u64,
    /// Time at which its first read began, on the monotonic clock.
    pub(super) begun: u64,
    /// Options of its reads.
    pub(super) history: HistoryOptions,
    /// Consecutive, up to the top.
    publications: VecDeque<Arc<Publication>>,
    bytes: usize,
    epoch: Option<Arc<str>>,
    /// Known once a read is answered.
    reach: Option<Reach>,
}

/// The positions that a slice serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reach {
    /// Everything after this offset is there.
    after: u64,
    /// The store has not everything after an offset below this one.
    lost_before: u64,
}

impl RecentSlice {
    pub(super) const fn new(number: u64, begun: u64, history: HistoryOptions) -> Self {
        Self { number, begun, history, publications: VecDeque::new(), bytes: 0, epoch: None, reach: None }
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns true once a read is answered.
    pub(super) const fn is_ready(&self) -> bool {
        self.reach.is_some()
    }

    pub(super) fn is_over(&self, now: u64) -> bool {
        now >= self.begun.saturating_add(LIFE.as_millis() as u64)
    }

    /// Offset of the last publication; `None` before anything is known.
    fn top(&self) -> Option<u64> {
        let last = self.publications.back().map(|publication| publication.offset);
        last.or_else(|| self.reach.map(|reach| reach.after))
    }

    /// Returns true if it is known to have everything up to a place that the store reports.
    pub(super) fn has_reached(&self, top: &Position) -> bool {
        self.is_ready()
            && self.epoch.as_ref() == Some(&top.epoch)
            && self.top().is_some_and(|own| own >= top.offset)
    }

    /// Adds a publication that is delivered. Returns false if it does not continue the slice.
    pub(super) fn keep(&mut self, publication: &Arc<Publication>, epoch: Option<&Arc<str>>) -> bool {
        let Some(epoch) = epoch else { return false };
        if self.epoch.get_or_insert_with(|| Arc::clone(epoch)) != epoch {
            return false;
        }
        match self.top() {
            // Delivered a second time, or read before it was delivered.
            Some(top) if publication.offset <= top => return true,
            Some(top) if publication.offset > top + 1 && !fault::holds(Fault::RecentAcrossGap) => {
                return false;
            }
            _ => {}
        }
        self.bytes += publication.weight();
        self.publications.push_back(Arc::clone(publication));
        if !self.is_ready() && self.bytes > CHANNEL_BYTES {
            // One that has no room might be missing between the read and those that follow.
            return false;
        }
        self.trim();
        true
    }

    /// Drops the oldest publications that there is no room for.
    fn trim(&mut self) {
        while self.bytes > CHANNEL_BYTES {
            let Some(dropped) = self.publications.pop_front() else { break };
            self.bytes -= dropped.weight();
            if let Some(reach) = &mut self.reach {
                reach.after = reach.after.max(dropped.offset);
            }
        }
    }

    /// A read that began after the slice did is answered. Returns false if the two do not fit together.
    pub(super) fn answered(&mut self, read: &Read, history: &History) -> bool {
        let (top, epoch) = (history.top.offset, &history.top.epoch);
        if self.epoch.get_or_insert_with(|| Arc::clone(epoch)) != epoch {
            return false;
        }
        let (found, publications) = reach_of(read, history);
        if let Some(own) = self.reach {
            // One that gives less is of no use, unless it shows that the store has dropped something since.
            let useful = found.after <= own.after || found.lost_before > own.after;
            // top < own.after: nothing tells what is between the two.
            if !useful || top < own.after {
                return true;
            }
        }
        let newer = self.publications.partition_point(|publication| publication.offset <= top);
        let newer: Vec<_> = self.publications.drain(newer..).collect();
        if newer.first().is_some_and(|first| first.offset != top + 1) {
            return false;
        }
        self.publications = publications;
        self.publications.extend(newer);
        self.bytes = self.publications.iter().map(|publication| publication.weight()).sum();
        self.reach = Some(found);
        self.trim();
        true
    }

    /// Returns what a read for a subscriber would give, if that is known.
    pub(super) fn read(
        &self,
        params: &SubscribeParams,
        history: HistoryOptions,
        now: Now,
    ) -> Option<History> {
        let recover = params.recover.as_ref().filter(|recover| !recover.over)?;
        let (reach, own, top) = (self.reach?, self.epoch.as_ref()?, self.top()?);
        let since = &recover.since;
        // Another epoch may be the newer of the two: only the store knows.
        let other = since.epoch != *own && !fault::holds(Fault::RecentOfAnotherEpoch);
        if other || !self.is_usable(history, now) {
            return None;
        }
        let answer = |publications| {
            let top = Position { offset: top, epoch: Arc::clone(&since.epoch) };
            Some(History { publications, top })
        };
        let last = self.last(history, now);
        if recover.cache {
            // With a filter the latest publication that passes it may be anywhere.
            return answer(vec![Arc::clone(last.filter(|_| params.filter.is_none())?)]);
        }
        let missed = top.checked_sub(since.offset)?;
        let too_many = recover.limit > 0 && missed > recover.limit as u64;
        if missed == 0 || too_many || since.offset < reach.lost_before {
            // It is up to date, or cannot be brought there.
            return answer(Vec::new());
        }
        if since.offset < reach.after || missed > history.size as u64 || last.is_none() {
            return None;
        }
        answer(self.after(since.offset))
    }

    /// Returns what a read for several subscribers would give, if that is known.
    pub(super) fn cover(
        &self,
        read: &Read,
        origin: &Origin,
        history: HistoryOptions,
        now: Now,
    ) -> Option<History> {
        let Read::After { since, limit } = read else { return None };
        let (reach, epoch, top) = (self.reach?, self.epoch.as_ref()?, self.top()?);
        if origin.epoch != *epoch || origin.newest > top || !self.is_usable(history, now) {
            return None;
        }
        let missed = top.checked_sub(since.offset)?;
        let whole = since.offset >= reach.after
            && missed <= history.size as u64
            && missed <= limit.count() as u64
            && (missed == 0 || self.last(history, now).is_some());
        let top = Position { offset: top, epoch: Arc::clone(epoch) };
        whole.then(|| History { publications: self.after(since.offset), top })
    }

    /// Returns true if a read with these options would be answered by the store as the last one was.
    fn is_usable(&self, history: HistoryOptions, now: Now) -> bool {
        let life = LIFE.min(history.ttl).min(history.meta_ttl / 2).as_millis();
        let age = now.mono.saturating_sub(self.begun);
        history == self.history && history.enabled() && u128::from(age) < life
    }

    /// The last publication, if the store still has it: all of them are kept for a time after it.
    fn last(&self, history: HistoryOptions, now: Now) -> Option<&Arc<Publication>> {
        let ttl = i64::try_from(history.ttl.as_millis()).unwrap_or(i64::MAX);
        let last = self.publications.back()?;
        (last.time == 0 || last.time.saturating_add(ttl) > now.wall).then_some(last)
    }

    fn after(&self, offset: u64) -> Vec<Arc<Publication>> {
        let first = self.publications.partition_point(|publication| publication.offset <= offset);
        self.publications.range(first..).cloned().collect()
    }
}

/// Returns the positions that an answer serves, and its publications, oldest first. An answer that does not end with the
/// top serves only those who are there.
fn reach_of(read: &Read, history: &History) -> (Reach, VecDeque<Arc<Publication>>) {
    let top = history.top.offset;
    let mut publications: VecDeque<_> = history.publications.iter().cloned().collect();
    let (oldest_wanted, limit) = match read {
        Read::After { since, limit } => (since.offset, *limit),
        Read::Latest { limit } => {
            publications.make_contiguous().reverse();
            (0, *limit)
        }
        _ => (top, Limit::All),
    };
    let count = publications.len() as u64;
    let consecutive =
        publications.iter().zip(top.saturating_sub(count) + 1..).all(|(one, offset)| one.offset == offset);
    if !consecutive || count > top {
        return (Reach { after: top, lost_before: 0 }, VecDeque::new());
    }
    let after = top - count;
    // Fewer than asked for: there are none before.
    let all = publications.len() < limit.count();
    let lost_before = if all && after > oldest_wanted { after } else { 0 };
    (Reach { after, lost_before }, publications)
}

#[cfg(test)]
mod tests;
