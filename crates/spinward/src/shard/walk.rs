//! Work on many connections, a slice at a time.
//!
//! A slice is one entry of the inbox. The next one is queued behind what has arrived in between, so a walk over
//! every connection of a shard holds nothing else up. Walks run one after another, in the order in which they were
//! asked for, so that a later one never overtakes an earlier one on the same connection.

use crate::clock::Now;
use crate::handle::Handle;
use crate::mailbox::inbox::{Control, ENTRY_BYTES, Entry};
use crate::shard::core::{Core, Execute};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Connections per slice where each is only asked about.
const ASKED_PER_SLICE: usize = 256;
/// Connections per slice where each is changed, which may queue replies, pushes and calls.
const CHANGED_PER_SLICE: usize = 64;

/// Held while something is under way; its waiter continues when the last clone is dropped.
pub(crate) type Doing = Arc<oneshot::Sender<Infallible>>;

/// One thing to do to many connections of a shard.
pub(crate) struct Walk {
    over: Over,
    /// Only the client with this id.
    only: Option<Arc<str>>,
    /// Not the clients with these ids.
    except: Option<Arc<[String]>>,
    control: Control,
    begun: bool,
    /// More than one where calls were merged.
    doing: Vec<Doing>,
}

/// The connections of a walk that have not been visited.
enum Over {
    /// Every slot from this one on.
    All(u32),
    These(std::vec::IntoIter<Handle>),
}

impl Walk {
    /// A walk over every connection of the shard.
    pub(crate) fn all(control: Control, doing: Doing) -> Self {
        Self { over: Over::All(0), only: None, except: None, control, begun: false, doing: vec![doing] }
    }

    /// A walk over these connections.
    pub(crate) fn these(
        handles: Vec<Handle>,
        only: Option<Arc<str>>,
        except: Option<Arc<[String]>>,
        control: Control,
        doing: Doing,
    ) -> Self {
        let over = Over::These(handles.into_iter());
        Self { over, only, except, control, begun: false, doing: vec![doing] }
    }

    /// Bytes that it takes while it waits or runs, for the budget of an inbox.
    pub(crate) fn weight(&self) -> usize {
        let handles = if let Over::These(handles) = &self.over { handles.len() } else { 0 };
        ENTRY_BYTES + handles * size_of::<Handle>()
    }

    /// Returns true if this walk, which has not begun, does everything that the other one would.
    fn covers(&self, other: &Self) -> bool {
        match (&self.control, &other.control, &self.over, &other.over) {
            (Control::Enforce(judge), Control::Enforce(same), Over::All(_), Over::All(_)) => {
                !self.begun && judge.is(same)
            }
            _ => false,
        }
    }
}

impl Core {
    /// Begins a walk, or queues it behind those that were asked for before.
    pub(super) fn walk(&mut self, walk: Walk, now: Now, exec: &mut impl Execute) {
        let weight = walk.weight();
        if let Some(waiting) = self.walks.iter_mut().find(|(waiting, _)| waiting.covers(&walk)) {
            waiting.0.doing.extend(walk.doing);
            self.hub.inboxes[usize::from(self.shard)].done(weight, 0);
            return;
        }
        self.walks.push_back((walk, weight));
        if self.walks.len() == 1 {
            self.walk_on(now, exec);
        }
    }

    /// Visits the next connections of the walk that is under way.
    pub(super) fn walk_on(&mut self, now: Now, exec: &mut impl Execute) {
        let Some((mut walk, weight)) = self.walks.pop_front() else { return };
        walk.begun = true;
        let slice = if let Control::Enforce(_) = walk.control { ASKED_PER_SLICE } else { CHANGED_PER_SLICE };
        let mut done = false;
        for _ in 0..slice {
            let next = match &mut walk.over {
                Over::These(handles) => handles.next(),
                Over::All(slot) => {
                    let at = *slot;
                    *slot += 1;
                    ((at as usize) < self.slots.len()).then(|| self.handle(at))
                }
            };
            let Some(handle) = next else {
                done = true;
                break;
            };
            if self.is_meant(handle, walk.only.as_deref(), walk.except.as_deref()) {
                self.control(handle, walk.control.clone(), now, exec);
            }
        }
        done |= matches!(&walk.over, Over::These(handles) if handles.len() == 0);
        if done {
            self.hub.inboxes[usize::from(self.shard)].done(weight, 0);
        } else {
            self.walks.push_front((walk, weight));
        }
        if !self.walks.is_empty() {
            self.hub.send(usize::from(self.shard), Entry::WalkOn);
        }
    }

    /// Returns true if the connection is there and not narrowed out.
    fn is_meant(&self, handle: Handle, client: Option<&str>, except: Option<&[String]>) -> bool {
        let Some(session) = self.resolve(handle).and_then(|slot| self.slots[slot as usize].session.as_ref())
        else {
            return false;
        };
        if client.is_none() && except.is_none() {
            return true;
        }
        let id = session.id().to_string();
        client.is_none_or(|client| client == id) && !except.is_some_and(|except| except.contains(&id))
    }
}
