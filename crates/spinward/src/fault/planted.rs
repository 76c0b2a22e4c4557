//! The switch, chosen per thread, since a simulation is one thread.

use super::Fault;
use bytes::Bytes;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicU8, Ordering};

impl Fault {
    /// Those that touch how long access lasts.
    pub const LIFETIME: [Self; 10] = [
        Self::LoginOutlives,
        Self::SubscriptionOutlives,
        Self::RefusedClears,
        Self::NoGrace,
        Self::StepUnseen,
        Self::LapsedStays,
        Self::FailureUntold,
        Self::FailureSubscribes,
        Self::ReplacedUntold,
        Self::RefusedProlongs,
    ];

    /// Those that touch what nodes are to each other.
    pub const CLUSTER: [Self; 6] = [
        Self::OperationRepeats,
        Self::OperationUnapplied,
        Self::MissingUnnamed,
        Self::EndlessWait,
        Self::LostStays,
        Self::HeartbeatsStop,
    ];

    /// Those that touch what a connection may have waiting, and have done for it at a time.
    pub const BOUNDS: [Self; 4] =
        [Self::OutputUncounted, Self::NeverResumed, Self::EndlessTurn, Self::PendingDropped];

    /// Those that touch what is delivered.
    pub const ALL: [Self; 14] = [
        Self::LocalDrop,
        Self::LocalRepeat,
        Self::LocalSwap,
        Self::InboxDrop,
        Self::InboxRepeat,
        Self::InboxSwap,
        Self::MergeDrop,
        Self::MergeRepeat,
        Self::MergeSwap,
        Self::RecentAcrossGap,
        Self::RecentOfAnotherEpoch,
        Self::FalseRecovered,
        Self::ReusedEpoch,
        Self::LostSubscriber,
    ];
}

/// An inbox and a channel.
type Way = (usize, u64);

thread_local! {
    static CHOSEN: Cell<Option<Fault>> = const { Cell::new(None) };
    static AFTER: Cell<u32> = const { Cell::new(0) };
    static STRUCK: Cell<bool> = const { Cell::new(false) };
    static HELD_FRAME: RefCell<Option<(u64, u32, Bytes)>> = const { RefCell::new(None) };
    static HELD_ENTRY: RefCell<Option<(Way, Box<dyn Any>)>> = const { RefCell::new(None) };
}

/// Chooses the fault of this thread, to happen once `after` occasions have passed.
pub fn plant(fault: Option<Fault>, after: u32) {
    CHOSEN.set(fault);
    AFTER.set(after);
    STRUCK.set(false);
    HELD_FRAME.take();
    HELD_ENTRY.take();
}

/// Returns true if the fault has happened.
#[must_use]
pub fn struck() -> bool {
    STRUCK.get()
}

/// Returns true once, when this fault is to happen.
pub(crate) fn strikes(fault: Fault) -> bool {
    if CHOSEN.get() != Some(fault) || STRUCK.get() {
        return false;
    }
    if AFTER.get() > 0 {
        AFTER.set(AFTER.get() - 1);
        return false;
    }
    STRUCK.set(true);
    true
}

/// Returns true from the moment that this fault is to happen.
pub(crate) fn holds(fault: Fault) -> bool {
    CHOSEN.get() == Some(fault) && (STRUCK.get() || strikes(fault))
}

/// A fault of one shard of this process, for nodes with threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ShardFault {
    /// It panics.
    Panic = 1,
    /// It has a turn that does not end.
    Stall = 2,
}

static SHARD_FAULT: AtomicU8 = AtomicU8::new(0);

/// Has this happen to the shard that has the next turn.
pub fn plant_in_shard(fault: ShardFault) {
    SHARD_FAULT.store(fault as u8, Ordering::Relaxed);
}

/// A turn of a shard begins.
pub(crate) fn on_turn() {
    const PANIC: u8 = ShardFault::Panic as u8;
    const STALL: u8 = ShardFault::Stall as u8;
    match SHARD_FAULT.swap(0, Ordering::Relaxed) {
        PANIC => panic!("a planted fault"),
        STALL => loop {
            std::thread::park();
        },
        _ => {}
    }
}

/// A frame on its way to a subscriber.
pub(crate) fn on_frame(channel: u64, slot: u32, frame: Bytes) -> Option<Bytes> {
    let same = |held: &Option<(u64, u32, Bytes)>| {
        held.as_ref().is_some_and(|held| (held.0, held.1) == (channel, slot))
    };
    if HELD_FRAME.with_borrow(same) {
        let held = HELD_FRAME.take().map(|held| held.2).unwrap_or_default();
        return Some([&frame[..], &held[..]].concat().into());
    }
    if strikes(Fault::LocalDrop) {
        return None;
    }
    if strikes(Fault::LocalRepeat) {
        return Some([&frame[..], &frame[..]].concat().into());
    }
    if strikes(Fault::LocalSwap) {
        HELD_FRAME.replace(Some((channel, slot, frame)));
        return None;
    }
    Some(frame)
}

/// A publication on its way into an inbox, `again` makes the same publication under the next delivery
/// number.
pub(crate) fn on_entry<T: 'static>(
    way: Way,
    entry: T,
    again: impl FnOnce(&T) -> T,
    mut push: impl FnMut(T) -> u16,
) -> u16 {
    if HELD_ENTRY.with_borrow(|held| held.as_ref().is_some_and(|held| held.0 == way)) {
        let held = HELD_ENTRY.take().and_then(|held| held.1.downcast::<T>().ok());
        return push(entry) + held.map_or(0, |held| push(*held));
    }
    if strikes(Fault::InboxDrop) {
        return 0;
    }
    if strikes(Fault::InboxRepeat) {
        let again = again(&entry);
        return push(entry) + push(again);
    }
    if strikes(Fault::InboxSwap) {
        HELD_ENTRY.replace(Some((way, Box::new(entry))));
        return 0;
    }
    push(entry)
}

/// Changes the result of merging history and ring.
pub(crate) fn on_merged<T: Clone>(publications: &mut Vec<T>) {
    if !publications.is_empty() && strikes(Fault::MergeDrop) {
        publications.remove(publications.len() / 2);
    }
    if !publications.is_empty() && strikes(Fault::MergeRepeat) {
        let at = publications.len() / 2;
        publications.insert(at, publications[at].clone());
    }
    if publications.len() > 1 && strikes(Fault::MergeSwap) {
        publications.swap(0, 1);
    }
}
