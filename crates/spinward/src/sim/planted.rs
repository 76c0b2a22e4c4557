//! Faults on purpose: the teeth of the delivery checker are proved by having it catch each of them.
//!
//! Chosen per thread, since a simulation is one thread.

use crate::channel::delivery::Delivery;
use crate::publication::Publication;
use crate::session::expiry::Standing;
use bytes::Bytes;
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// One subscriber is not given one publication.
    LocalDrop,
    /// One subscriber is given one publication twice.
    LocalRepeat,
    /// One subscriber is given two publications in the wrong order.
    LocalSwap,
    /// A shard's inbox loses one publication.
    InboxDrop,
    /// A shard's inbox has one publication twice, under two delivery numbers.
    InboxRepeat,
    /// A shard's inbox has two publications in the wrong order.
    InboxSwap,
    /// One publication is left out when history and ring are put together.
    MergeDrop,
    /// One publication is doubled there.
    MergeRepeat,
    /// Two are swapped there.
    MergeSwap,
    /// A subscriber that cannot be brought up to date gets a reply that says it was.
    FalseRecovered,
    /// A new stream of the memory broker gets the epoch of an old one.
    ReusedEpoch,
    /// One subscriber gets nothing any more.
    LostSubscriber,
    /// A login whose time is over goes on.
    LoginOutlives,
    /// A subscription whose time is over goes on.
    SubscriptionOutlives,
    /// A refused refresh clears the expiry of a login.
    RefusedClears,
    /// A login that may still be refreshed is ended.
    NoGrace,
    /// Nobody looks again once the wall clock was set.
    StepUnseen,
    /// Nobody waits for subscribers that are behind.
    Unbounded,
    /// Output that waits to be sent is not counted.
    OutputUncounted,
    /// A client whose output held it up is not served again once it has taken that.
    NeverResumed,
    /// A turn goes on for as long as there is something to do for a connection.
    EndlessTurn,
    /// Commands of a message that had to wait are dropped.
    PendingDropped,
    /// A subscription goes on that lapsed with a refresh of the login.
    LapsedStays,
    /// A failed grant is not reported to the application.
    FailureUntold,
    /// A grant that failed is reported as a subscription.
    FailureSubscribes,
    /// The replacement of a grant is not reported to the application.
    ReplacedUntold,
    /// A refused refresh of a subscription is reported as one that took effect.
    RefusedProlongs,
}

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

    /// Those that touch what a connection may have waiting, and have done for it at a time.
    pub const BOUNDS: [Self; 4] =
        [Self::OutputUncounted, Self::NeverResumed, Self::EndlessTurn, Self::PendingDropped];

    /// Those that touch what is delivered.
    pub const ALL: [Self; 12] = [
        Self::LocalDrop,
        Self::LocalRepeat,
        Self::LocalSwap,
        Self::InboxDrop,
        Self::InboxRepeat,
        Self::InboxSwap,
        Self::MergeDrop,
        Self::MergeRepeat,
        Self::MergeSwap,
        Self::FalseRecovered,
        Self::ReusedEpoch,
        Self::LostSubscriber,
    ];
}

thread_local! {
    static CHOSEN: Cell<Option<Fault>> = const { Cell::new(None) };
    static AFTER: Cell<u32> = const { Cell::new(0) };
    static STRUCK: Cell<bool> = const { Cell::new(false) };
    static HELD_FRAME: RefCell<Option<(u64, u32, Bytes)>> = const { RefCell::new(None) };
    static HELD_ENTRY: RefCell<Option<(usize, u64, Arc<Delivery>)>> = const { RefCell::new(None) };
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

/// A publication on its way into an inbox.
pub(crate) fn on_entry(inbox: usize, channel: u64, delivery: Arc<Delivery>) -> Vec<Arc<Delivery>> {
    let same = |held: &Option<(usize, u64, Arc<Delivery>)>| {
        held.as_ref().is_some_and(|held| (held.0, held.1) == (inbox, channel))
    };
    if HELD_ENTRY.with_borrow(same) {
        return std::iter::once(delivery).chain(HELD_ENTRY.take().map(|held| held.2)).collect();
    }
    if strikes(Fault::InboxDrop) {
        return Vec::new();
    }
    if strikes(Fault::InboxRepeat) {
        let again =
            Delivery::new(Arc::clone(&delivery.publication), delivery.seq + 1, delivery.epoch.clone());
        return vec![delivery, Arc::new(again)];
    }
    if strikes(Fault::InboxSwap) {
        HELD_ENTRY.replace(Some((inbox, channel, delivery)));
        return Vec::new();
    }
    vec![delivery]
}

/// Changes the result of merging history and ring.
pub(crate) fn on_merged(publications: &mut Vec<Arc<Publication>>) {
    if !publications.is_empty() && strikes(Fault::MergeDrop) {
        publications.remove(publications.len() / 2);
    }
    if !publications.is_empty() && strikes(Fault::MergeRepeat) {
        let at = publications.len() / 2;
        publications.insert(at, Arc::clone(&publications[at]));
    }
    if publications.len() > 1 && strikes(Fault::MergeSwap) {
        publications.swap(0, 1);
    }
}

/// Changes the state of a login.
pub(crate) fn on_login(standing: Standing) -> Standing {
    match standing {
        Standing::Over if holds(Fault::LoginOutlives) => Standing::Grace,
        Standing::Grace if strikes(Fault::NoGrace) => Standing::Over,
        other => other,
    }
}

/// Changes the state of a subscription.
pub(crate) fn on_subscription(standing: Standing) -> Standing {
    match standing {
        Standing::Over if holds(Fault::SubscriptionOutlives) => Standing::Grace,
        other => other,
    }
}
