//! The way into a shard: one queue, first in, first out.

use crate::handle::Handle;
use crate::hub::encoded::Delivery;
use crate::node::call::Outcome;
use crate::publication::ClientInfo;
use crate::shard::Accepted;
use bytes::Bytes;
use parking_lot::Mutex;
use spinward_wire::code::{DisconnectCode, UnsubscribeCode};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::{Notify, mpsc};

/// Something for a shard to do.
pub(crate) enum Entry {
    /// Take over a connection.
    Accept(Box<Accepted>),
    /// Deliver a publication to the local subscribers of a channel.
    Publication { channel: u64, delivery: Arc<Delivery> },
    /// Tell the local subscribers of a channel that somebody joined or left.
    JoinLeave { channel: u64, info: Arc<ClientInfo>, join: bool },
    /// The answer to a call is here.
    Outcome { handle: Handle, token: u32, outcome: Box<Outcome> },
    /// The remote broker answered whether it delivers a channel now.
    Interest { channel: u64, ok: bool },
    /// The remote broker answered a read for subscribers that are joining a channel.
    Slice { channel: u64, read: u32, slice: Box<Result<crate::broker::History, crate::broker::BrokerError>> },
    /// Do something to one connection. `client` narrows it to that client id, `except` spares some.
    Control { handle: Handle, client: Option<Arc<str>>, except: Option<Arc<[String]>>, control: Box<Control> },
    /// The node goes down: close every connection.
    Shutdown,
}

/// Something to do to one connection.
#[derive(Clone)]
pub(crate) enum Control {
    /// Close it.
    Disconnect(DisconnectCode),
    /// End one subscription, or all without a channel.
    Unsubscribe { channel: Option<Arc<str>>, code: UnsubscribeCode },
    /// Subscribe it to a channel.
    Subscribe {
        channel: Arc<str>,
        options: Arc<crate::hooks::SubscribeOptions>,
        since: Option<crate::publication::Position>,
        /// Who waits until that is done.
        taken: Option<Taken>,
    },
    /// Prolong or end its login.
    Refresh { expired: bool, expire_at: i64, info: Option<Bytes> },
    /// Send it a message outside of channels.
    Send(Bytes),
    /// Close it if the judge says with which code.
    Review(Judge),
}

/// Held while something is not done yet: who waits for it hears when the last one is dropped.
pub(crate) type Taken = mpsc::Sender<Infallible>;

/// Whether a connection is to be closed.
pub(crate) type Judge = Arc<dyn Fn(&crate::identity::Identity) -> Option<DisconnectCode> + Send + Sync>;

/// The queue of one shard.
///
/// Publications have a budget of bytes that publishers look at before they publish. The other entries are
/// bounded by what causes them: connections by the number of files, outcomes by the calls in flight, control
/// entries by the callers of the server API, each of which waits for its own.
pub(crate) struct Inbox {
    queue: Mutex<VecDeque<Entry>>,
    bytes: AtomicUsize,
    max_bytes: usize,
    /// Connections of the shard, for placing new ones.
    connections: AtomicUsize,
    woken: AtomicBool,
    wake: Notify,
    room: Notify,
}

impl Inbox {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self {
            queue: Mutex::new(VecDeque::new()),
            bytes: AtomicUsize::new(0),
            max_bytes,
            connections: AtomicUsize::new(0),
            woken: AtomicBool::new(false),
            wake: Notify::new(),
            room: Notify::new(),
        }
    }

    /// Appends an entry. The shard does not notice until [`Inbox::wake`].
    pub(crate) fn push(&self, entry: Entry) {
        self.queue.lock().push_back(entry);
    }

    /// About how many connections the shard holds.
    pub(crate) fn load(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn connections(&self) -> &AtomicUsize {
        &self.connections
    }

    /// Appends a publication and counts its bytes.
    pub(crate) fn push_publication(&self, channel: u64, delivery: Arc<Delivery>) {
        #[cfg(feature = "planted-faults")]
        for delivery in crate::sim::planted::on_entry(std::ptr::from_ref(self) as usize, channel, delivery) {
            self.bytes.fetch_add(delivery.weight(), Ordering::Relaxed);
            self.push(Entry::Publication { channel, delivery });
        }
        #[cfg(not(feature = "planted-faults"))]
        {
            self.bytes.fetch_add(delivery.weight(), Ordering::Relaxed);
            self.push(Entry::Publication { channel, delivery });
        }
    }

    /// Wakes the shard, once per turn of it.
    pub(crate) fn wake(&self) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            self.wake.notify_one();
        }
    }

    /// Waits until there is something.
    pub(crate) async fn ready(&self) {
        self.wake.notified().await;
    }

    /// Takes everything there is, in exchange for an empty queue whose memory is used again.
    pub(crate) fn drain(&self, into: &mut VecDeque<Entry>) {
        debug_assert!(into.is_empty());
        self.woken.store(false, Ordering::Release);
        std::mem::swap(&mut *self.queue.lock(), into);
    }

    /// A publication was delivered: its bytes count no longer.
    pub(crate) fn done(&self, bytes: usize) {
        let before = self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        if before >= self.max_bytes && before - bytes < self.max_bytes {
            self.room.notify_waiters();
        }
    }

    pub(crate) fn has_room(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) < self.max_bytes
    }

    /// Waits until publications have room.
    pub(crate) async fn room(&self) {
        while !self.has_room() {
            let notified = self.room.notified();
            if self.has_room() {
                return;
            }
            notified.await;
        }
    }
}
