//! A rule that is applied to connections that are already there.

use crate::identity::Identity;
use spinward_wire::code::{DisconnectCode, UnsubscribeCode};
use std::fmt;
use std::sync::Arc;

/// The verdict on one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It stays as it is.
    Keep,
    /// It is closed.
    Disconnect(DisconnectCode),
    /// It loses its subscriptions to these channels.
    Unsubscribe(Vec<Box<str>>, UnsubscribeCode),
}

/// A rule for connections, for [`Node::enforce`](crate::Node::enforce). Cheap to clone; clones are the same rule.
///
/// It is asked on the threads that hold the connections and must not block. A panic closes the connection in
/// question with 3004.
#[derive(Clone)]
pub struct Judge(Arc<dyn Fn(&Identity) -> Verdict + Send + Sync>);

impl Judge {
    /// A rule.
    pub fn new(rule: impl Fn(&Identity) -> Verdict + Send + Sync + 'static) -> Self {
        Self(Arc::new(rule))
    }

    pub(crate) fn ask(&self, identity: &Identity) -> Verdict {
        (self.0)(identity)
    }

    /// Returns true if this is a clone of the other.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Judge")
    }
}
