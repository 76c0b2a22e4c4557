//! Work on many connections of a shard, as it lies in the inbox.

use crate::cluster::ClientFilter;
use crate::handle::Handle;
use crate::mailbox::inbox::{Control, ENTRY_BYTES};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Held while something is under way; its waiter continues when the last clone is dropped.
pub(crate) type Doing = Arc<oneshot::Sender<Infallible>>;

/// One thing to do to many connections of a shard.
pub(crate) struct Walk {
    pub(crate) over: Over,
    /// Narrows them down.
    pub(crate) filter: Option<Arc<ClientFilter>>,
    pub(crate) control: Control,
    pub(crate) begun: bool,
    /// More than one where calls were merged.
    pub(crate) doing: Vec<Doing>,
}

/// The connections of a walk that have not been visited.
pub(crate) enum Over {
    /// Every slot from this one on.
    All(u32),
    These(std::vec::IntoIter<Handle>),
}

impl Walk {
    /// A walk over every connection of the shard.
    pub(crate) fn all(filter: Option<Arc<ClientFilter>>, control: Control, doing: Doing) -> Self {
        Self { over: Over::All(0), filter, control, begun: false, doing: vec![doing] }
    }

    /// A walk over these connections.
    pub(crate) fn these(
        handles: Vec<Handle>,
        filter: Option<Arc<ClientFilter>>,
        control: Control,
        doing: Doing,
    ) -> Self {
        let over = Over::These(handles.into_iter());
        Self { over, filter, control, begun: false, doing: vec![doing] }
    }

    /// Bytes that it takes while it waits or runs, for the budget of an inbox.
    pub(crate) fn weight(&self) -> usize {
        let handles = if let Over::These(handles) = &self.over { handles.len() } else { 0 };
        ENTRY_BYTES + handles * size_of::<Handle>()
    }

    /// Returns true if this walk, which has not begun, does everything that the other one would.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        match (&self.control, &other.control, &self.over, &other.over) {
            (Control::Enforce(judge), Control::Enforce(same), Over::All(_), Over::All(_)) => {
                !self.begun && self.filter.is_none() && judge.is(same)
            }
            _ => false,
        }
    }
}
