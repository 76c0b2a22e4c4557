//! The node's knowledge of the streams of channels: the last message of each, so that a publish need not ask for it.

use super::entry::Entry;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// Most channels remembered. With more, those that are not in use are forgotten.
const MOST: usize = 65_536;

/// The last message of a channel, as far as it is known.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// Its sequence; 0 if there is none.
    pub(super) sequence: u64,
    /// `None` if there is no message.
    pub(super) entry: Option<Entry>,
    /// The incarnation that was asked.
    pub(super) life: Arc<str>,
}

/// A channel's place. Its lock is held during a publish: those of one node take their turns, and do not compete.
#[derive(Default)]
pub(super) struct Slot {
    pub(super) known: Option<Known>,
    /// Offset at which older messages were last removed.
    pub(super) trimmed: u64,
    /// It waits to be swept.
    pub(super) swept_later: bool,
}

/// The slots by channel.
#[derive(Default)]
pub(super) struct Slots(Mutex<HashMap<Arc<str>, Arc<tokio::sync::Mutex<Slot>>>>);

impl Slots {
    /// The slot of a channel, created if it is missing.
    pub(super) fn of(&self, channel: &str) -> Arc<tokio::sync::Mutex<Slot>> {
        let slots = &mut *self.0.lock();
        if let Some(slot) = slots.get(channel) {
            return Arc::clone(slot);
        }
        if slots.len() >= MOST {
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        let slot = Arc::default();
        slots.insert(channel.into(), Arc::clone(&slot));
        slot
    }
}
