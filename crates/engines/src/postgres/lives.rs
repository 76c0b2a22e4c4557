//! The life of the store, by what answers say.
//!
//! Every answer names the incarnation that it is of: a random name that is in the database, and the timeline that the
//! server writes. The name is drawn when the tables are made, and another one when they are found in another cluster,
//! database or timeline than they were made in.

use crate::fault::{Fault, holds};
use parking_lot::Mutex;
use spinward::engine::broker::{Scope, Sink};
use std::sync::Arc;

/// The incarnation that is named while none is known.
const UNKNOWN: &str = "unknown";

/// The present life.
#[derive(Debug)]
pub(super) struct Lives(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Number of the latest question.
    asked: u64,
    /// Number of the question by which the present life is known; 0 before the first.
    known_by: u64,
    present: Arc<str>,
}

impl Default for Lives {
    fn default() -> Self {
        Self(Mutex::new(State { asked: 0, known_by: 0, present: UNKNOWN.into() }))
    }
}

impl Lives {
    pub(super) fn present(&self) -> Arc<str> {
        Arc::clone(&self.0.lock().present)
    }

    /// A question is about to be sent. Returns its number.
    pub(super) fn ask(&self) -> u64 {
        let mut state = self.0.lock();
        state.asked += 1;
        state.asked
    }

    /// An answer named an incarnation. One that was asked for before the present life was known does not replace it:
    /// it is late, and of a former primary. Returns true if another life began.
    pub(super) fn heard(&self, question: u64, incarnation: &str, sink: Option<&Sink>) -> (Arc<str>, bool) {
        let mut state = self.0.lock();
        if holds(Fault::ConstantLife) && state.known_by > 0 {
            return (Arc::clone(&state.present), false);
        }
        if *state.present == *incarnation {
            state.known_by = state.known_by.max(question);
            return (Arc::clone(&state.present), false);
        }
        let named: Arc<str> = incarnation.into();
        if question < state.known_by {
            return (named, false);
        }
        let first = state.known_by == 0;
        state.known_by = question;
        state.present = Arc::clone(&named);
        drop(state);
        if first {
            return (named, false);
        }
        tracing::warn!(incarnation, "PostgreSQL was restored or failed over: epochs change");
        if let Some(sink) = sink {
            sink.replaced(Scope::All, incarnation);
        }
        (named, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_answers_of_a_former_life_change_nothing() {
        let lives = Lives::default();
        let (first, second, third) = (lives.ask(), lives.ask(), lives.ask());
        assert_eq!(lives.heard(second, "b", None), ("b".into(), false), "the first life replaces none");
        assert_eq!(lives.heard(first, "a", None), ("a".into(), false));
        assert_eq!(*lives.present(), *"b");
        assert_eq!(lives.heard(third, "c", None), ("c".into(), true));
        assert_eq!(lives.heard(third, "c", None), ("c".into(), false));
        assert_eq!(lives.heard(second, "b", None), ("b".into(), false));
        assert_eq!(*lives.present(), *"c");
    }
}
