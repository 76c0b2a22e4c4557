//! Work on many connections, a slice at a time.
//!
//! A slice is one entry of the inbox. The next one is queued behind what has arrived in between, so a walk over
//! every connection of a shard holds nothing else up. Walks run one after another, in the order in which they were
//! asked for, so that a later one never overtakes an earlier one on the same connection.

use crate::clock::Now;
use crate::cluster::ClientFilter;
use crate::handle::Handle;
use crate::mailbox::inbox::{Control, Entry};
use crate::mailbox::walk::{Over, Walk};
use crate::shard::core::{Core, Execute};

/// Connections per slice where each is only asked about.
const ASKED_PER_SLICE: usize = 256;

/// Connections per slice where each is changed, which may queue replies, pushes and calls.
const CHANGED_PER_SLICE: usize = 64;

impl Core {
    /// Begins a walk, or queues it behind those that were asked for before.
    pub(super) fn walk(&mut self, walk: Walk, now: Now, exec: &mut impl Execute) {
        let weight = walk.weight();
        if let Some(waiting) = self.walks.iter_mut().find(|(waiting, _)| waiting.covers(&walk)) {
            waiting.0.doing.extend(walk.doing);
            self.hub.inboxes[usize::from(self.shard)].done(weight, None);
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
            if self.is_meant(handle, walk.filter.as_deref()) {
                self.control(handle, walk.control.clone(), now, exec);
            }
        }
        done |= matches!(&walk.over, Over::These(handles) if handles.len() == 0);
        if done {
            self.hub.inboxes[usize::from(self.shard)].done(weight, None);
        } else {
            self.walks.push_front((walk, weight));
        }
        if !self.walks.is_empty() {
            self.hub.send(usize::from(self.shard), Entry::WalkOn);
        }
    }

    /// Returns true if the connection is there and not narrowed out.
    fn is_meant(&self, handle: Handle, filter: Option<&ClientFilter>) -> bool {
        let Some(session) = self.resolve(handle).and_then(|slot| self.slots[slot as usize].session.as_ref())
        else {
            return false;
        };
        filter.is_none_or(|filter| session.identity().is_some_and(|identity| filter.selects(identity)))
    }
}
