//! Counts of what the engine does, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Counts since the start of the engine.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Counts {
            $($(#[$doc])* pub $name: u64,)*
        }

        /// The same, while they count.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: AtomicU64,)*
        }

        impl Counters {
            pub(crate) fn counts(&self) -> Counts {
                Counts { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Calls to servers.
    calls,
    /// Calls that failed.
    errors,
    /// Connections made again after one was lost, those of Pub/Sub included.
    reconnects,
    /// Times that deliveries may have been lost.
    gaps,
    /// Deliveries dropped because subscribers were behind for too long.
    dropped,
    /// Messages received by Pub/Sub.
    messages,
    /// Messages received by Pub/Sub that this version does not understand, or that are for another channel.
    malformed,
    /// Times that the node was told of a new life of a store: a failover, a restart, a hash slot on another node.
    replaced,
    /// Calls that a node of a cluster sent on to another one.
    redirects,
    /// Scripts that a server did not know, and was given.
    scripts_loaded,
}

pub(crate) fn bump(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
