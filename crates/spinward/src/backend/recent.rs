//! The latest parts of streams, for subscribers that recover: the storm after a restart is served by one read or two.
//!
//! A read for subscribers that recover leaves what it gave, continued by what is delivered, for a few seconds. Those who
//! come later are given their start from that, as if a read had been answered at once. They are then where the other
//! subscribers of the node are. Whatever puts continuity in doubt ends it: a gap, another epoch, a report by the broker
//! that deliveries may be missing, a position of the store that was not reached, a removal, the loss of interest.

mod slice;

use crate::backend::waves::Origin;
use crate::channel::params::SubscribeParams;
use crate::clock::Now;
use crate::engine::broker::{BrokerError, History, HistoryOptions, Read};
use crate::publication::{Position, Publication};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use parking_lot::Mutex;
use slice::RecentSlice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Channels of an engine that have a slice at a time. Others are read for as if there were no slices.
const CHANNELS: usize = 4_096;
/// Bytes of publications in the slices of an engine.
const BYTES: usize = 32 << 20;

/// The slices of an engine.
#[derive(Default)]
pub(super) struct Recent {
    /// There are some. Deliveries look at the table only then.
    any: AtomicBool,
    table: Mutex<Table>,
}

/// By the id of the channel.
#[derive(Default)]
struct Table {
    /// Number of the last slice.
    last: u64,
    slices: HashMap<u64, RecentSlice, FixedState>,
    bytes: usize,
}

impl Recent {
    /// A read for subscribers begins. Returns the number of the slice that its answer is for.
    pub(super) fn begin(&self, channel: u64, read: &Read, history: HistoryOptions, now: Now) -> Option<u64> {
        // The position alone is of no use to those who missed something.
        if !matches!(read, Read::After { .. } | Read::Latest { .. }) {
            return None;
        }
        let mut table = self.table.lock();
        table.remove_if(channel, |slice| slice.is_over(now.mono));
        if table.slices.len() >= CHANNELS && !table.slices.contains_key(&channel) {
            return None;
        }
        self.any.store(true, Ordering::Release);
        let Table { last, slices, .. } = &mut *table;
        let slice = slices.entry(channel).or_insert_with(|| {
            *last += 1;
            RecentSlice::new(*last, now.mono, history)
        });
        (slice.history == history).then_some(slice.number)
    }

    /// A read is answered. `shared`: the channel has more than one subscriber, others may come.
    pub(super) fn answered(
        &self,
        channel: u64,
        number: u64,
        read: &Read,
        answer: &Result<History, BrokerError>,
        shared: bool,
    ) {
        self.change(channel, |slice| {
            // Of another number: it began after this read did.
            slice.number != number
                || shared && answer.as_ref().is_ok_and(|history| slice.answered(read, history))
        });
    }

    /// A publication is about to be delivered. The record of its channel is locked.
    pub(super) fn deliver(&self, channel: u64, publication: &Arc<Publication>, epoch: Option<&Arc<str>>) {
        if publication.offset > 0 {
            self.change(channel, |slice| slice.keep(publication, epoch));
        }
    }

    /// Returns what a read for a subscriber would give, if that is known.
    pub(super) fn read(
        &self,
        channel: u64,
        params: &SubscribeParams,
        history: HistoryOptions,
        now: Now,
    ) -> Option<History> {
        self.look(channel, |slice| slice.read(params, history, now))
    }

    /// Returns what a read for several subscribers would give, if that is known.
    pub(super) fn cover(
        &self,
        channel: u64,
        read: &Read,
        origin: &Origin,
        history: HistoryOptions,
        now: Now,
    ) -> Option<History> {
        self.look(channel, |slice| slice.cover(read, origin, history, now))
    }

    /// The store reported the top of a stream.
    pub(super) fn position_told(&self, channel: u64, top: &Position) {
        self.change(channel, |slice| slice.has_reached(top));
    }

    /// Ends the slice of a channel: its continuity is in doubt.
    pub(super) fn forget(&self, channel: u64) {
        self.change(channel, |_| false);
    }

    /// Ends every slice.
    pub(super) fn forget_all(&self) {
        let mut table = self.table.lock();
        let last = table.last;
        *table = Table { last, ..Table::default() };
        self.any.store(false, Ordering::Release);
    }

    /// Drops what is too old to be used.
    pub(super) fn expire(&self, now: u64) {
        if self.any.load(Ordering::Acquire) {
            let mut table = self.table.lock();
            let Table { slices, bytes, .. } = &mut *table;
            slices.extract_if(|_, slice| slice.is_over(now)).for_each(|(_, slice)| *bytes -= slice.bytes());
            self.emptied(&mut table);
        }
    }

    fn look<T>(&self, channel: u64, answer: impl FnOnce(&RecentSlice) -> Option<T>) -> Option<T> {
        if self.any.load(Ordering::Acquire) {
            self.table.lock().slices.get(&channel).and_then(answer)
        } else {
            None
        }
    }

    /// Changes the slice of a channel, which ends if that returns false.
    fn change(&self, channel: u64, change: impl FnOnce(&mut RecentSlice) -> bool) {
        if !self.any.load(Ordering::Acquire) {
            return;
        }
        let mut table = self.table.lock();
        let Table { slices, bytes, .. } = &mut *table;
        let Some(slice) = slices.get_mut(&channel) else { return };
        *bytes -= slice.bytes();
        let goes_on = change(slice);
        *bytes += slice.bytes();
        if !goes_on || *bytes > BYTES {
            table.remove_if(channel, |_| true);
            self.emptied(&mut table);
        }
    }

    fn emptied(&self, table: &mut Table) {
        if table.slices.is_empty() {
            table.slices = HashMap::default();
            self.any.store(false, Ordering::Release);
        }
    }
}

impl Table {
    fn remove_if(&mut self, channel: u64, condition: impl FnOnce(&RecentSlice) -> bool) {
        if self.slices.get(&channel).is_some_and(condition)
            && let Some(slice) = self.slices.remove(&channel)
        {
            self.bytes -= slice.bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::params::Recover;
    use crate::engine::broker::{Limit, Since};
    use std::time::Duration;

    const HISTORY: HistoryOptions =
        HistoryOptions { size: 1 << 20, ttl: Duration::from_secs(60), meta_ttl: Duration::from_secs(600) };
    const NOW: Now = Now { mono: 1_000, wall: 0 };

    fn read() -> Read {
        Read::After { since: Since { offset: 0, epoch: None }, limit: Limit::All }
    }

    fn answer(bytes: usize) -> Result<History, BrokerError> {
        let one = Publication { offset: 1, data: vec![b' '; bytes].into(), ..Publication::default() };
        let top = Position { offset: 1, epoch: "e".into() };
        Ok(History { publications: vec![Arc::new(one)], top })
    }

    fn fill(recent: &Recent, channel: u64, bytes: usize, shared: bool) {
        if let Some(number) = recent.begin(channel, &read(), HISTORY, NOW) {
            recent.answered(channel, number, &read(), &answer(bytes), shared);
        }
    }

    fn serves(recent: &Recent, channel: u64) -> bool {
        let since = Position { offset: 0, epoch: "e".into() };
        let recover = Some(Recover { since, cache: false, limit: 0, over: false });
        let params = SubscribeParams { positioned: true, recover, ..SubscribeParams::default() };
        recent.read(channel, &params, HISTORY, NOW).is_some()
    }

    #[test]
    fn nothing_is_kept_once_it_is_old() {
        let recent = Recent::default();
        (0..10).for_each(|channel| fill(&recent, channel, 100, true));
        assert!(serves(&recent, 3));
        recent.expire(NOW.mono + 4_999);
        assert!(serves(&recent, 3));
        recent.expire(NOW.mono + 5_000);
        let table = recent.table.lock();
        assert_eq!((table.slices.capacity(), table.bytes, recent.any.load(Ordering::Relaxed)), (0, 0, false));
    }

    #[test]
    fn channels_and_bytes_are_bounded() {
        let recent = Recent::default();
        (0..2 * CHANNELS as u64).for_each(|channel| fill(&recent, channel, 1, true));
        assert_eq!(recent.table.lock().slices.len(), CHANNELS);
        let recent = Recent::default();
        (0..100).for_each(|channel| fill(&recent, channel, slice::CHANNEL_BYTES - 1_000, true));
        let table = recent.table.lock();
        assert!(table.bytes <= BYTES && table.bytes > BYTES - slice::CHANNEL_BYTES, "{}", table.bytes);
    }

    #[test]
    fn a_channel_of_one_subscriber_keeps_nothing() {
        let recent = Recent::default();
        fill(&recent, 1, 100, false);
        assert!(recent.table.lock().slices.is_empty());
        assert!(recent.begin(1, &Read::Top, HISTORY, NOW).is_none());
    }

    #[test]
    fn an_answer_to_a_read_from_before_a_doubt_is_not_kept() {
        let recent = Recent::default();
        let first = recent.begin(1, &read(), HISTORY, NOW).unwrap();
        recent.forget_all();
        let second = recent.begin(1, &read(), HISTORY, NOW).unwrap();
        recent.answered(1, first, &read(), &answer(1), true);
        assert!(!serves(&recent, 1), "deliveries in between are in neither");
        recent.answered(1, second, &read(), &answer(1), true);
        assert!(serves(&recent, 1));
        fill(&recent, 1, 1, true);
        recent.answered(1, second, &read(), &Err(BrokerError::Stopped), true);
        assert!(!serves(&recent, 1), "a broker that fails");
    }
}
