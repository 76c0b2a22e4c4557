//! Reasons for which a source takes no further messages.

use crate::worker::Stopped;

/// End of taking messages.
pub(crate) enum End<E> {
    /// The consumer is to stop.
    Stopped,
    /// The source failed.
    Failed(E),
}

impl<E> From<Stopped> for End<E> {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}
