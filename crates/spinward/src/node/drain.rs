//! Emptying a node before it ends, so that its connections reach the other nodes one after another.

use crate::enforce::{Judge, Verdict};
use crate::node::Node;
use parking_lot::Mutex;
use spinward_wire::code::DisconnectCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use thiserror::Error;

/// Pace and code of [`Node::drain`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drain {
    /// Time between the moment at which the node is no longer [ready](crate::Health::is_ready) and the first connection
    /// that is closed: load balancers look at readiness now and then. New connections are accepted in this time, and
    /// refused with 503 after it.
    pub notice: Duration,
    /// Time over which the connections are closed, evenly and in random order.
    pub over: Duration,
    /// Code of the disconnects. The default has SDKs reconnect at once.
    pub code: DisconnectCode,
}

impl Default for Drain {
    fn default() -> Self {
        Self { notice: Duration::ZERO, over: Duration::from_secs(30), code: DisconnectCode::SHUTDOWN }
    }
}

/// A node was not drained to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DrainError {
    /// It is being drained already, or was.
    #[error("the node is drained already: resume it first")]
    Already,
    /// [`Node::resume`] was called. Connections that are left stay.
    #[error("draining was cancelled")]
    Cancelled,
}

/// State of a drain.
#[derive(Default)]
pub(crate) struct Draining {
    /// The drain under way or done.
    current: Mutex<Current>,
    refuses: AtomicBool,
}

#[derive(Default)]
struct Current {
    last: u64,
    active: bool,
}

impl Draining {
    /// Returns true if the node takes no new connections.
    pub(crate) fn refuses(&self) -> bool {
        self.refuses.load(Ordering::Relaxed)
    }

    pub(crate) fn is_active(&self) -> bool {
        self.current.lock().active
    }

    fn begin(&self) -> Option<u64> {
        let mut current = self.current.lock();
        if current.active {
            return None;
        }
        current.active = true;
        current.last += 1;
        Some(current.last)
    }

    /// Ends this drain, or any if none is named. One that has begun since goes on.
    fn end(&self, number: Option<u64>) {
        let mut current = self.current.lock();
        if number.is_none_or(|number| number == current.last) {
            current.active = false;
            self.refuses.store(false, Ordering::Relaxed);
        }
    }

    /// Returns true if this drain has not been cancelled. From here on new connections are refused.
    fn goes_on(&self, number: u64) -> bool {
        let current = self.current.lock();
        let goes_on = current.active && current.last == number;
        if goes_on {
            self.refuses.store(true, Ordering::Relaxed);
        }
        goes_on
    }
}

/// Cancels a drain whose future is dropped.
struct Undo<'a>(&'a Draining, Option<u64>);

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.1 {
            self.0.end(Some(number));
        }
    }
}

/// Steps over which connections are closed, where the time is long enough.
const STEPS: u32 = 256;
const SHORTEST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_secs(1);

impl Node {
    /// Closes the connections of the node over a while, before [`Node::shutdown`]: readiness fails first, then
    /// connections are closed evenly over [`Drain::over`], so that the nodes that take them over are not stormed. Each
    /// connection has a random moment, which follows from its id. Those that are not logged in are left to the
    /// shutdown.
    ///
    /// Dropping the future cancels the drain, and so does [`Node::resume`]: the node is ready again, and takes
    /// connections. Afterwards the node stays drained until it is shut down or resumed.
    ///
    /// # Errors
    /// The node is drained already, or the drain was cancelled.
    pub async fn drain(&self, drain: Drain) -> Result<(), DrainError> {
        let Drain { notice, over, code } = drain;
        let (draining, clock) = (&self.inner.draining, &self.inner.hub.clock);
        let Some(number) = draining.begin() else { return Err(DrainError::Already) };
        let mut undo = Undo(draining, Some(number));
        tokio::time::sleep(notice).await;

        let due = Arc::new(AtomicU32::new(0));
        let judge = {
            let due = Arc::clone(&due);
            Judge::new(move |identity| {
                if identity.id.spread() <= due.load(Ordering::Relaxed) {
                    Verdict::Disconnect(code.clone())
                } else {
                    Verdict::Keep
                }
            })
        };
        let (began, step) = (clock.now().mono, (over / STEPS).clamp(SHORTEST, LONGEST));
        loop {
            if !draining.goes_on(number) {
                return Err(DrainError::Cancelled);
            }
            let passed = Duration::from_millis(clock.now().mono.saturating_sub(began));
            let share = if passed >= over { 1.0 } else { passed.as_secs_f64() / over.as_secs_f64() };
            due.store((f64::from(u32::MAX) * share) as u32, Ordering::Relaxed);
            // Waited for, so that a node that is slow to close connections is not asked faster.
            self.enforce(None, &judge).await;
            if passed >= over {
                undo.1 = None;
                return Ok(());
            }
            tokio::time::sleep(step.min(over - passed)).await;
        }
    }

    /// Ends a drain, under way or done: the node is ready again, and takes connections.
    pub fn resume(&self) {
        self.inner.draining.end(None);
    }
}
