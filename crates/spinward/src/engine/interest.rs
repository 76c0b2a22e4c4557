//! Interest of this node in a channel of a remote broker: at most one request in flight per channel.

/// State of this node's interest in a channel at the remote broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Interest {
    /// The broker sends nothing.
    #[default]
    None,
    /// Asked for, not yet answered.
    Asking,
    /// The broker sends.
    Held,
    /// The broker was asked to stop, and has not answered yet.
    Releasing,
    /// The same, but a subscriber has come since: ask again as soon as it has answered.
    ReleasingWanted,
}

/// A request to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Subscribe,
    Unsubscribe,
}

impl Interest {
    pub(crate) const fn is_none(self) -> bool {
        matches!(self, Self::None)
    }

    /// A subscriber wants the channel.
    pub(crate) fn want(&mut self) -> Option<Ask> {
        match self {
            Self::None => {
                *self = Self::Asking;
                Some(Ask::Subscribe)
            }
            Self::Releasing => {
                *self = Self::ReleasingWanted;
                None
            }
            Self::Asking | Self::Held | Self::ReleasingWanted => None,
        }
    }

    /// The last subscriber has gone.
    pub(crate) fn unwant(&mut self) -> Option<Ask> {
        match self {
            Self::Held => {
                *self = Self::Releasing;
                Some(Ask::Unsubscribe)
            }
            Self::ReleasingWanted => {
                *self = Self::Releasing;
                None
            }
            // What is asked is released when the answer is here: see `answered`.
            Self::Asking | Self::None | Self::Releasing => None,
        }
    }

    /// The broker answered the request in flight. `wanted`: somebody still wants the channel.
    pub(crate) fn answered(&mut self, ok: bool, wanted: bool) -> Option<Ask> {
        let (next, ask) = match (*self, ok, wanted) {
            (Self::Asking, true, true) => (Self::Held, None),
            (Self::Asking, true, false) => (Self::Releasing, Some(Ask::Unsubscribe)),
            (Self::Asking, false, _) | (Self::Releasing, _, false) => (Self::None, None),
            (Self::Releasing | Self::ReleasingWanted, _, true) => (Self::Asking, Some(Ask::Subscribe)),
            (Self::ReleasingWanted, _, false) => (Self::None, None),
            (Self::None | Self::Held, ..) => (*self, None),
        };
        *self = next;
        ask
    }
}
