//! Faults on purpose, to prove that the tests find them.
//!
//! Production code asks here at the place where a fault would happen. Without the feature `__planted-faults` every
//! question is answered by a constant and compiles to nothing.

#[cfg(not(feature = "__planted-faults"))]
mod absent;
#[cfg(feature = "__planted-faults")]
mod planted;

#[cfg(not(feature = "__planted-faults"))]
pub(crate) use absent::{holds, on_entry, on_frame, on_merged, on_turn, strikes};
#[cfg(feature = "__planted-faults")]
pub use planted::{ShardFault, plant, plant_in_shard, struck};
#[cfg(feature = "__planted-faults")]
pub(crate) use planted::{holds, on_entry, on_frame, on_merged, on_turn, strikes};

/// A fault that can be planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "__planted-faults"),
    allow(dead_code, unreachable_pub, reason = "public and complete only where faults can be planted")
)]
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
    /// A slice kept of a stream for subscribers that recover goes on after a gap in what is delivered.
    RecentAcrossGap,
    /// It serves subscribers that come from another epoch.
    RecentOfAnotherEpoch,
    /// A subscriber that cannot be brought up to date gets a reply that says it was.
    FalseRecovered,
    /// A new stream of the memory broker gets the epoch of an old one.
    ReusedEpoch,
    /// One subscriber gets nothing from now on.
    LostSubscriber,
    /// A login whose time is over goes on.
    LoginOutlives,
    /// A subscription whose time is over goes on.
    SubscriptionOutlives,
    /// A refused refresh clears the expiry of a login.
    RefusedClears,
    /// A login that may still be refreshed is ended.
    NoGrace,
    /// Timers are not set again after a step of the wall clock.
    StepUnseen,
    /// Publishers do not wait for subscribers that are behind.
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
    /// An operation is applied as often as it arrives.
    OperationRepeats,
    /// An operation of another node is confirmed and not applied.
    OperationUnapplied,
    /// The result of an operation does not name the nodes that did not confirm it.
    MissingUnnamed,
    /// A wait for other nodes does not end.
    EndlessWait,
    /// A node that is silent is not taken for lost.
    LostStays,
    /// A node sends no heartbeats any more.
    HeartbeatsStop,
}
