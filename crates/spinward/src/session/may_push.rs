//! The order of replies and pushes: the client knows of a subscription before it receives from it.

use crate::session::{Phase, Session};

/// Permission to send something of a channel to a client.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum MayPush {
    Yes,
    /// Not before what is being put together.
    Wait,
    /// The subscription has ended before the client knew of it.
    No,
}

impl Session {
    /// Decides whether events of a channel, given by its number, may be pushed, so that the client knows of the
    /// subscription first: a connect reply comes before everything, a subscribe reply before what it begins.
    pub(crate) fn may_push(&self, channel: u32) -> MayPush {
        if self.is_logging_in() || self.entering.iter().any(|join| join.is_listing(channel)) {
            MayPush::Wait
        } else if self.subscriptions.contains(channel) {
            MayPush::Yes
        } else {
            MayPush::No
        }
    }

    /// Returns true if the replies to its login are still being put together.
    /// Numbers of the channels that it is subscribed to.
    pub(crate) fn channels(&self) -> &[u32] {
        self.subscriptions.channels()
    }

    pub(crate) fn is_logging_in(&self) -> bool {
        self.identity.is_some() && self.phase == Phase::Connecting
    }

    /// Returns true if [`Session::may_push`] may be anything but yes to its subscriptions.
    pub(crate) fn is_entering(&self) -> bool {
        !self.entering.is_empty() || self.phase == Phase::Connecting
    }
}
