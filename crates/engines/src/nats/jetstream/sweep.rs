//! Removal of publications that have expired in channels which nobody publishes to any more. What is read is decided by
//! entries; this only frees space in the servers.

use super::slots::Slot;
use super::store::Store;
use crate::nats::api::{self, Extent};
use crate::nats::error::NatsError;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Most channels that wait. Publications of further ones stay until their position expires.
const MOST: usize = 65_536;
/// Channels swept at once, every two seconds.
const AT_ONCE: usize = 256;
/// Milliseconds after the expiry, so that no clock decides.
const GRACE: i64 = 2_000;

/// Channels whose publications expire, by time.
#[derive(Default)]
pub(super) struct Sweep(Mutex<BTreeSet<(i64, Arc<str>)>>);

impl Sweep {
    /// Remembers a channel that was published to, once.
    pub(super) fn later(&self, channel: &Arc<str>, slot: &mut Slot) {
        if slot.swept_later {
            return;
        }
        if let Some(entry) = slot.known.as_ref().and_then(|known| known.entry.as_ref()) {
            slot.swept_later = self.add(channel, entry.expires_at);
        }
    }

    fn add(&self, channel: &Arc<str>, expires_at: i64) -> bool {
        let mut waiting = self.0.lock();
        let room = waiting.len() < MOST;
        if room {
            waiting.insert((expires_at.saturating_add(GRACE), Arc::clone(channel)));
        }
        room
    }

    fn due(&self, now: i64) -> Option<Arc<str>> {
        let mut waiting = self.0.lock();
        let due = waiting.first().is_some_and(|(at, _)| *at <= now);
        if due { waiting.pop_first().map(|(_, channel)| channel) } else { None }
    }
}

impl Store {
    /// Sweeps channels that are due.
    pub(super) async fn sweep(&self) {
        for _ in 0..AT_ONCE {
            let Some(channel) = self.sweep.due(self.clock.now()) else { return };
            if let Err(error) = self.sweep_channel(&channel).await {
                tracing::debug!(%error, "cannot remove expired publications");
                return;
            }
        }
    }

    async fn sweep_channel(&self, channel: &Arc<str>) -> Result<(), NatsError> {
        let slot = self.slots.of(channel);
        let mut slot = slot.lock().await;
        slot.swept_later = false;
        let spot = self.spot(channel).await?;
        let Some(known) = self.last(&spot).await? else { return Ok(()) };
        let Some(entry) = known.entry else { return Ok(()) };
        if self.clock.now() < entry.expires_at {
            // It was published to since, by this node or another one.
            slot.swept_later = self.sweep.add(channel, entry.expires_at);
            return Ok(());
        }
        api::purge(&spot.connection, &spot.partition.name, &spot.subject, Extent::Before(known.sequence))
            .await
    }
}
