//! The threads of a node, which end with the last handle to it.

use crate::hub::Hub;
use parking_lot::Mutex;
use std::sync::Arc;
use std::thread::{JoinHandle, Thread};

/// Shared by everything that keeps a node going: its handles and its services.
pub(crate) struct Threads {
    hub: Arc<Hub>,
    shards: Mutex<Vec<JoinHandle<()>>>,
    watchdog: Mutex<Option<Thread>>,
}

impl Threads {
    /// None yet: each that is added ends with this.
    pub(super) fn new(hub: Arc<Hub>) -> Self {
        Self { hub, shards: Mutex::default(), watchdog: Mutex::default() }
    }

    pub(super) fn add(&self, shard: JoinHandle<()>) {
        self.shards.lock().push(shard);
    }

    /// The watchdog ends by itself once it sees that the node goes down.
    pub(super) fn add_watchdog(&self, watchdog: &JoinHandle<()>) {
        *self.watchdog.lock() = Some(watchdog.thread().clone());
    }

    /// Has every thread end.
    pub(super) fn stop(&self) {
        self.hub.stop();
        if let Some(watchdog) = self.watchdog.lock().take() {
            watchdog.unpark();
        }
    }

    /// Joins the shards, all of which have announced their end.
    pub(super) fn join(&self) {
        for thread in std::mem::take(&mut *self.shards.lock()) {
            // One that panicked has said so itself.
            let _ = thread.join();
        }
    }
}

impl Drop for Threads {
    /// The shards close their connections and end by themselves: nobody is left to wait for that.
    fn drop(&mut self) {
        self.stop();
    }
}
