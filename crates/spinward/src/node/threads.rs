//! The threads of a node, which end with the last handle to it.

use crate::hub::Hub;
use parking_lot::Mutex;
use std::sync::Arc;
use std::thread::JoinHandle;

/// Shared by everything that keeps a node going: its handles and its services.
pub(crate) struct Threads {
    hub: Arc<Hub>,
    shards: Mutex<Vec<JoinHandle<()>>>,
}

impl Threads {
    /// None yet: each that is added ends with this.
    pub(super) fn new(hub: Arc<Hub>) -> Self {
        Self { hub, shards: Mutex::default() }
    }

    pub(super) fn add(&self, thread: JoinHandle<()>) {
        self.shards.lock().push(thread);
    }

    /// The threads, for whoever waits for their end. The first to ask gets them.
    pub(super) fn take(&self) -> Vec<JoinHandle<()>> {
        std::mem::take(&mut *self.shards.lock())
    }
}

impl Drop for Threads {
    /// The shards close their connections and end by themselves: nobody is left to wait for that.
    fn drop(&mut self) {
        self.hub.stop();
    }
}
