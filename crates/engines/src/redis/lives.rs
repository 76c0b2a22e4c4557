//! The lives of one server, or of a group of which one is the primary.

use crate::fault::{Fault, holds};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::watch;

/// Past lives that are remembered. An answer of one that is forgotten would pass for a new life; so many fail-overs do
/// not happen while an answer is on its way.
const PAST: usize = 64;

/// The incarnation that answers of a server are of, and those that it is known to have had before.
///
/// Ids of replication histories have no order, so that a new life is one that was not seen before. Every answer and
/// every delivery names its own; this decides only which one is the present one.
#[derive(Debug)]
pub(crate) struct Lives {
    state: Mutex<State>,
    /// Changes with every new life, and with whatever else the owner counts.
    changes: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    present: Arc<str>,
    past: VecDeque<Arc<str>>,
    /// The server's count of flushes, once it was read, and the number of times that it grew.
    counted: Option<u64>,
    flushes: u64,
}

impl Lives {
    pub(crate) fn new(changes: watch::Sender<u64>) -> Arc<Self> {
        let state = State { present: "".into(), past: VecDeque::new(), counted: None, flushes: 0 };
        Arc::new(Self { state: Mutex::new(state), changes })
    }

    /// The present life; empty before the first answer.
    pub(crate) fn present(&self) -> Arc<str> {
        Arc::clone(&self.state.lock().present)
    }

    /// Number of flushes seen within a life. A life goes on over them: `FLUSHALL` leaves `master_replid` as it is.
    pub(crate) fn flushes(&self) -> u64 {
        self.state.lock().flushes
    }

    /// Takes note of the server's own count of flushes. Returns true if it grew.
    pub(crate) fn note_flushes(&self, count: u64) -> bool {
        {
            let mut state = self.state.lock();
            // A count that shrinks was reset, or is of another server.
            let grew = state.counted.replace(count).is_some_and(|before| count > before);
            if !grew {
                return false;
            }
            state.flushes += 1;
        }
        self.changes.send_modify(|count| *count += 1);
        true
    }

    /// An answer is of this life. Returns it in shared form, and whether it is a new one that follows another.
    pub(crate) fn note(&self, incarnation: &str) -> (Arc<str>, bool) {
        let incarnation = if holds(Fault::ConstantLife) { "life" } else { incarnation };
        let (noted, followed) = {
            let mut state = self.state.lock();
            if *state.present == *incarnation {
                return (Arc::clone(&state.present), false);
            }
            if let Some(past) = state.past.iter().find(|past| ***past == *incarnation) {
                return (Arc::clone(past), false);
            }
            let before = std::mem::replace(&mut state.present, incarnation.into());
            let followed = !before.is_empty();
            if followed {
                state.past.push_back(before);
                if state.past.len() > PAST {
                    state.past.pop_front();
                }
            }
            (Arc::clone(&state.present), followed)
        };
        self.changes.send_modify(|count| *count += 1);
        (noted, followed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_answer_of_a_former_life_does_not_bring_it_back() {
        let lives = Lives::new(watch::channel(0).0);
        assert!(lives.present().is_empty());
        assert!(!lives.note("a").1, "the first life replaces none");
        assert!(lives.note("b").1);
        assert_eq!(lives.note("a"), ("a".into(), false));
        assert_eq!(&*lives.present(), "b");
        assert!(lives.note("c").1);
        assert_eq!(lives.note("b"), ("b".into(), false));
        assert_eq!(&*lives.present(), "c");
    }

    #[test]
    fn a_flush_is_a_count_that_grows() {
        let (sender, mut changes) = watch::channel(0);
        let lives = Lives::new(sender);
        assert!(!lives.note_flushes(5), "the first count has none before it");
        assert!(!lives.note_flushes(5));
        assert!(!changes.has_changed().unwrap());
        assert!(lives.note_flushes(6));
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        assert!(!lives.note_flushes(0), "CONFIG RESETSTAT");
        assert!(lives.note_flushes(1));
        assert_eq!(lives.flushes(), 2);
    }
}
