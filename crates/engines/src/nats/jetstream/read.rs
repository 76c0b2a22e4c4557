//! Reads of histories.

use super::entry::Entry;
use super::slots::Known;
use super::store::{Spot, Store, publication};
use crate::nats::api;
use crate::nats::error::NatsError;
use spinward::engine::broker::{BrokerError, HistoryOptions, Read, Slice};
use spinward::publication::Publication;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// Messages of one request.
const BATCH: usize = 256;
/// Times that a replica which is behind is asked.
const ATTEMPTS: u32 = 40;
/// Pause between two of them.
const PAUSE: Duration = Duration::from_millis(25);

impl Store {
    /// Reads a slice of a stream.
    pub(super) async fn read(
        self: Arc<Self>,
        channel: Arc<str>,
        read: Read,
        history: HistoryOptions,
    ) -> Result<Slice, BrokerError> {
        for _ in 0..ATTEMPTS {
            let spot = self.spot(&channel).await?;
            let Some(mut known) = self.last(&spot).await? else { continue };
            let Some(entry) = self.begun(&spot, &mut known, &history).await? else { continue };
            let other = |epoch: &Arc<str>| **epoch != *entry.epoch;
            if read.since().and_then(|since| since.epoch.as_ref()).is_some_and(other) {
                return Err(BrokerError::UnrecoverablePosition);
            }
            if let Some(mark) = entry.prolonged(&history, self.clock.now()) {
                // The first reader prolongs it.
                self.mark(&spot, &mut known, mark).await?;
            }
            let wanted = wanted(&read, &entry.kept(self.clock.now()));
            let mut publications = match self.publications(&spot, &entry, &known, wanted).await {
                Ok(Some(publications)) => publications,
                Ok(None) | Err(NatsError::NoResponders) => continue,
                Err(error) => return Err(error.into()),
            };
            if matches!(read, Read::Latest { .. } | Read::Before { .. }) {
                publications.reverse();
            }
            return Ok(Slice { publications, top: entry.place() });
        }
        Err(NatsError::Contended.into())
    }

    /// Publications by their offsets, as far as they are still there. `None` if the stream has gone on without those
    /// that were there.
    async fn publications(
        &self,
        spot: &Spot<'_>,
        top: &Entry,
        known: &Known,
        wanted: RangeInclusive<u64>,
    ) -> Result<Option<Vec<Arc<Publication>>>, NatsError> {
        if wanted.is_empty() {
            return Ok(Some(Vec::new()));
        }
        if *wanted.start() == top.offset
            && let Some(publication) = publication(top)
        {
            return Ok(Some(vec![Arc::new(publication)]));
        }
        let mut found: Vec<Arc<Publication>> = Vec::new();
        let (mut sequence, mut pauses) = (1, 0);
        while sequence <= known.sequence {
            let stream = &spot.partition.name;
            let (batch, more) = api::batch(&spot.connection, stream, &spot.subject, sequence, BATCH).await?;
            for stored in batch {
                sequence = stored.sequence + 1;
                let entry = Entry::read(stored.payload).ok_or(NatsError::Malformed)?;
                if entry.epoch != top.epoch || !wanted.contains(&entry.offset) {
                    continue;
                }
                let Some(publication) = publication(&entry) else { continue };
                match found.last() {
                    // They are consecutive; only the oldest may be gone by now.
                    Some(last) if last.offset + 1 != publication.offset => return Ok(None),
                    _ => found.push(Arc::new(publication)),
                }
            }
            let end = found.last().is_some_and(|last| last.offset == *wanted.end());
            if end || (!more && sequence > known.sequence) {
                break;
            }
            if !more {
                // A replica that is behind. The leader has told the last sequence.
                pauses += 1;
                if pauses > ATTEMPTS {
                    return Err(NatsError::Lost);
                }
                sleep(PAUSE).await;
            }
        }
        Ok(Some(found))
    }
}

/// Offsets that a read asks for, of those that are kept.
fn wanted(read: &Read, kept: &RangeInclusive<u64>) -> RangeInclusive<u64> {
    let (first, last) = (*kept.start(), *kept.end());
    let forward =
        |first: u64, count: usize| first..=last.min(first.saturating_add(count as u64).saturating_sub(1));
    let backward =
        |last: u64, count: usize| first.max(last.saturating_sub(count as u64).saturating_add(1))..=last;
    match read {
        Read::Top => RangeInclusive::new(1, 0),
        Read::Oldest { limit } => forward(first, limit.count()),
        Read::After { since, limit } => forward(first.max(since.offset.saturating_add(1)), limit.count()),
        Read::Latest { limit } => backward(last, limit.count()),
        Read::Before { since, limit } => backward(last.min(since.offset.saturating_sub(1)), limit.count()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spinward::engine::broker::{Limit, Since};
    use std::num::NonZeroUsize;

    #[test]
    fn a_read_asks_for_its_slice() {
        let most = |count| NonZeroUsize::new(count).map_or(Limit::All, Limit::Most);
        let since = |offset| Since { offset, epoch: None };
        let kept = 4..=9;
        for (read, right) in [
            (Read::Oldest { limit: Limit::All }, 4..=9),
            (Read::Oldest { limit: most(2) }, 4..=5),
            (Read::After { since: since(5), limit: most(2) }, 6..=7),
            (Read::After { since: since(1), limit: most(2) }, 4..=5),
            (Read::Latest { limit: most(2) }, 8..=9),
            (Read::Latest { limit: most(20) }, 4..=9),
            (Read::Before { since: since(6), limit: most(1) }, 5..=5),
            (Read::Before { since: since(60), limit: Limit::All }, 4..=9),
        ] {
            assert_eq!(wanted(&read, &kept), right, "{read:?}");
        }
        for read in [
            Read::Top,
            Read::After { since: since(9), limit: Limit::All },
            Read::After { since: since(u64::MAX), limit: Limit::All },
            Read::Before { since: since(4), limit: Limit::All },
            Read::Before { since: since(0), limit: Limit::All },
        ] {
            assert!(wanted(&read, &kept).is_empty(), "{read:?}");
        }
        assert!(wanted(&Read::Latest { limit: Limit::All }, &RangeInclusive::new(1, 0)).is_empty());
    }
}
