//! The way into a shard: one queue, first in, first out.

use crate::capacity::reduced;
use crate::channel::delivery::Delivery;
use crate::channel::record::Channel;
use crate::enforce::Judge;
use crate::engine::broker::{BrokerError, History};
use crate::fault;
use crate::handle::{CallToken, Handle};
use crate::mailbox::accepted::Accepted;
use crate::mailbox::call::Outcome;
use crate::mailbox::fan_out::{Load, Share};
use crate::mailbox::walk::Walk;
use crate::publication::{ClientInfo, Position, Publication};
use crate::session_id::Secret;
use bytes::Bytes;
use parking_lot::Mutex;
use spinward_wire::code::{DisconnectCode, UnsubscribeCode};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::{Notify, mpsc};

/// Something in the queue of a shard.
pub(crate) enum Item {
    /// A connection to take over. This is for the mover, which has the sockets, and not for the core.
    Connection(Box<Accepted>),
    /// The body of a connection has room again, or nobody reads it any more. For the mover too.
    Pulled(Handle),
    Entry(Entry),
}

/// Something for the core of a shard to do.
pub(crate) enum Entry {
    /// A message of a client that came by a request of its own. The secret proves that the connection is the client's.
    Input { handle: Handle, secret: Secret, message: Bytes },
    /// Deliver a publication to the local subscribers of a channel.
    Publication { channel: Arc<Channel>, delivery: Arc<Delivery>, share: Share },
    /// Tell the local subscribers of a channel that somebody joined or left.
    JoinLeave { channel: Arc<Channel>, info: Arc<ClientInfo>, join: bool, share: Share },
    /// The answer to a call is here.
    Outcome { handle: Handle, token: CallToken, outcome: Box<Outcome> },
    /// The remote broker answered whether it delivers a channel now.
    Interest { channel: u64, ok: bool },
    /// The remote broker answered a read for subscribers that are joining a channel.
    Slice { channel: u64, read: u32, slice: Arc<Result<History, BrokerError>> },
    /// The remote broker reported the top of a channel's stream, for comparison.
    Position { channel: u64, top: Position },
    /// The remote broker named the present life of a channel's store: epochs of another one are over.
    Incarnation { channel: u64, incarnation: Arc<str> },
    /// Do something to one connection.
    Control { handle: Handle, control: Box<Control> },
    /// Do something to many connections, a slice at a time.
    Walk(Box<Walk>),
    /// The next slice of the walk under way.
    WalkOn,
    /// The node goes down: close every connection.
    Shutdown,
}

impl Entry {
    /// Weight in the byte budget of an inbox, about the memory it takes. Entries that are bounded otherwise count for
    /// nothing.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Publication { delivery, .. } => delivery.weight(),
            Self::JoinLeave { .. } => ENTRY_BYTES,
            Self::Control { control, .. } => {
                ENTRY_BYTES
                    + match control.as_ref() {
                        Control::Send(data) => data.len(),
                        Control::Deliver(delivering) => delivering.publication.weight(),
                        _ => 0,
                    }
            }
            Self::Input { message, .. } => ENTRY_BYTES + message.len(),
            Self::Walk(walk) => walk.weight(),
            Self::Outcome { .. }
            | Self::Interest { .. }
            | Self::Slice { .. }
            | Self::Position { .. }
            | Self::Incarnation { .. }
            | Self::WalkOn
            | Self::Shutdown => 0,
        }
    }
}

impl Entry {
    /// Cost in the budget of deliveries.
    pub(crate) const fn share(&self) -> Option<Share> {
        match self {
            Self::Publication { share, .. } | Self::JoinLeave { share, .. } => Some(*share),
            _ => None,
        }
    }
}

/// Deliveries that may wait in an inbox, about two milliseconds of work. Further ones wait behind them.
const DELIVERIES: usize = 4096;
/// Deliveries of channels that have little under way which may wait beside them, however much else does; and additional
/// room for the first publication of a large channel.
const RESERVE: usize = 2048;

/// Lots that a shard may have handed to connections and not sent, all channels together, before the reader of a remote
/// broker pauses: half of what may wait for a connection.
const UNSENT_LOTS: usize = 256;

/// About what an entry takes beside its payload.
pub(crate) const ENTRY_BYTES: usize = 256;

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
        options: Arc<crate::event::SubscribeOptions>,
        since: Option<Position>,
        /// The waiter for its completion.
        taken: Option<Completion>,
    },
    /// Prolong or end its login.
    Refresh { expired: bool, expire_at: i64, info: Option<Bytes> },
    /// Send it a message outside of channels.
    Send(Bytes),
    /// Deliver a publication to it alone, as a subscriber of a channel.
    Deliver(Box<Delivering>),
    /// Ask whether it may stay, and act upon the verdict.
    Enforce(Judge),
}

/// A publication for one connection.
#[derive(Clone)]
pub(crate) struct Delivering {
    pub(crate) channel: Arc<str>,
    pub(crate) publication: Publication,
    pub(crate) receipt: Receipt,
}

/// Receipt of a delivery. Dropping it without a message means that nothing was delivered.
pub(crate) type Receipt = mpsc::Sender<Delivered>;

/// The connection has taken it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Delivered;

/// Completion guard. Dropping the last clone wakes the waiter; a [`Refused`] sent first says why nothing was done.
pub(crate) type Completion = mpsc::Sender<Refused>;

/// The subscription would end in the past.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused;

/// The queue of one shard.
///
/// Publications, joins and leaves, what the application does to connections, and messages of clients that come by
/// requests have a budget of bytes. Where it is spent, publishers, callers of the API and those requests wait, and joins
/// and leaves are dropped. The other entries are
/// bounded by what causes them: connections by the number of files, answers by the calls in flight.
pub(crate) struct Inbox {
    queue: Mutex<Queue>,
    bytes: AtomicUsize,
    max_bytes: usize,
    deliveries: AtomicUsize,
    /// Those of them that are of channels with little under way.
    light: AtomicUsize,
    /// Lots that were handed to connections and are not sent yet, for readers of remote brokers.
    unsent: AtomicUsize,
    closed: AtomicBool,
    /// Connections of the shard, for placing new ones.
    connections: AtomicUsize,
    woken: AtomicBool,
    wake: Notify,
    room: Notify,
}

#[derive(Default)]
struct Queue {
    items: VecDeque<Item>,
    /// About how many entries there were at a time lately.
    lately: usize,
    /// The shard has ended: nobody takes anything out any more.
    closed: bool,
}

impl Inbox {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self {
            queue: Mutex::default(),
            bytes: AtomicUsize::new(0),
            max_bytes,
            deliveries: AtomicUsize::new(0),
            light: AtomicUsize::new(0),
            unsent: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            woken: AtomicBool::new(false),
            wake: Notify::new(),
            room: Notify::new(),
        }
    }

    /// Appends an entry. The shard does not notice until [`Inbox::wake`]. Once the shard has ended, entries are
    /// dropped, so that their waiters learn that it is over. Returns true if it was queued.
    pub(crate) fn push(&self, entry: Entry) -> bool {
        let (weight, share) = (entry.weight(), entry.share());
        let mut queue = self.queue.lock();
        if queue.closed {
            drop(queue);
            return false;
        }
        if weight > 0 {
            self.bytes.fetch_add(weight, Ordering::Relaxed);
        }
        if let Some(share) = share {
            self.reserve(share);
        }
        queue.items.push_back(Item::Entry(entry));
        true
    }

    /// Appends a connection. Returns false if the shard has ended.
    pub(crate) fn accept(&self, accepted: Box<Accepted>) -> bool {
        self.append(Item::Connection(accepted))
    }

    /// Appends a report about the body of a connection: one at a time. Returns false if the shard has ended.
    pub(crate) fn report(&self, handle: Handle) -> bool {
        self.append(Item::Pulled(handle))
    }

    fn append(&self, item: Item) -> bool {
        let mut queue = self.queue.lock();
        let open = !queue.closed;
        if open {
            queue.items.push_back(item);
        }
        open
    }

    /// Counts deliveries that are to be queued soon.
    pub(crate) fn reserve(&self, share: Share) {
        self.deliveries.fetch_add(share.deliveries as usize, Ordering::SeqCst);
        if share.load == Load::Light {
            self.light.fetch_add(share.deliveries as usize, Ordering::SeqCst);
        }
    }

    /// Returns true if one more publication, join or leave may be queued.
    pub(crate) fn takes(&self, load: Load) -> bool {
        let waiting = self.deliveries.load(Ordering::SeqCst);
        let has_reserve = match load {
            Load::Light => self.light.load(Ordering::SeqCst) < RESERVE,
            Load::First => waiting < DELIVERIES + RESERVE,
            Load::Much => false,
        };
        self.is_closed() || (waiting < DELIVERIES || has_reserve) && self.has_room()
    }

    /// Returns the number of entries that wait.
    #[cfg(feature = "simulation")]
    pub(crate) fn len(&self) -> usize {
        self.queue.lock().items.len()
    }

    /// Returns true if the shard has ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Shows how many lots the shard has handed to connections and not sent yet. The shard alone calls this.
    pub(crate) fn show_unsent(&self, lots: usize) {
        let before = self.unsent.load(Ordering::Relaxed);
        self.unsent.store(lots, Ordering::Release);
        if before >= UNSENT_LOTS && lots < UNSENT_LOTS {
            self.room.notify_waiters();
        }
    }

    /// Returns true if a reader of a remote broker may go on.
    pub(crate) fn takes_from_reader(&self) -> bool {
        self.is_closed() || self.takes(Load::Much) && self.unsent.load(Ordering::Acquire) < UNSENT_LOTS
    }

    /// Waits until a reader of a remote broker may go on.
    pub(crate) async fn reader_room(&self) {
        while !self.takes_from_reader() {
            let notified = self.room.notified();
            if self.takes_from_reader() {
                return;
            }
            notified.await;
        }
    }

    /// The shard has ended: what is left and what still comes is dropped, and nobody waits for room any longer.
    pub(crate) fn close(&self) {
        let left = {
            let mut queue = self.queue.lock();
            queue.closed = true;
            self.closed.store(true, Ordering::SeqCst);
            self.bytes.store(0, Ordering::Relaxed);
            std::mem::take(&mut queue.items)
        };
        drop(left);
        self.room.notify_waiters();
    }

    /// About how many connections the shard holds.
    pub(crate) fn load(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn connections(&self) -> &AtomicUsize {
        &self.connections
    }

    /// Appends a publication. Returns how often it was queued: once, unless the shard has ended.
    pub(crate) fn push_publication(
        &self,
        channel: &Arc<Channel>,
        delivery: &Arc<Delivery>,
        share: Share,
    ) -> u16 {
        let way = (std::ptr::from_ref(self) as usize, channel.id);
        fault::on_entry(
            way,
            Arc::clone(delivery),
            |delivery| Arc::new(delivery.repeated()),
            |delivery| {
                u16::from(self.push(Entry::Publication { channel: Arc::clone(channel), delivery, share }))
            },
        )
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
    pub(crate) fn drain(&self, into: &mut VecDeque<Item>) {
        debug_assert!(into.is_empty());
        self.woken.store(false, Ordering::Release);
        let mut queue = self.queue.lock();
        std::mem::swap(&mut queue.items, into);
        queue.lately = into.len().max(queue.lately - queue.lately.div_ceil(8));
        let (lately, capacity) = (queue.lately, queue.items.capacity());
        if let Some(capacity) = reduced(lately, capacity) {
            queue.items.shrink_to(capacity);
        }
    }

    /// An entry was handled: its bytes and deliveries count no longer.
    pub(crate) fn done(&self, bytes: usize, share: Option<Share>) {
        if let Some(share) = share {
            let deliveries = share.deliveries as usize;
            if share.load == Load::Light {
                self.light.fetch_sub(deliveries, Ordering::SeqCst);
            }
            let before = self.deliveries.fetch_sub(deliveries, Ordering::SeqCst);
            if before >= DELIVERIES && before - deliveries < DELIVERIES {
                self.room.notify_waiters();
            }
        }
        if bytes == 0 {
            return;
        }
        let before = self.bytes.fetch_sub(bytes, Ordering::SeqCst);
        if before >= self.max_bytes && before - bytes < self.max_bytes {
            self.room.notify_waiters();
        }
    }

    pub(crate) fn has_room(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) < self.max_bytes
    }

    /// Waits until there is room.
    pub(crate) async fn wait_for_capacity(&self) {
        while !self.has_room() {
            let notified = self.room.notified();
            if self.has_room() {
                return;
            }
            notified.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_done_to_connections_fills_the_inbox_too() {
        let inbox = Inbox::new(10 * ENTRY_BYTES);
        let send = |size: usize| Entry::Control {
            handle: Handle::new(0, 0, 0),
            control: Box::new(Control::Send(vec![b' '; size].into())),
        };
        inbox.push(Entry::Shutdown);
        inbox.push(send(8 * ENTRY_BYTES));
        assert!(inbox.has_room(), "nine of ten");
        inbox.push(send(0));
        assert!(!inbox.has_room());

        let mut entries = VecDeque::new();
        inbox.drain(&mut entries);
        assert!(!inbox.has_room(), "what is drained is not handled yet");
        let (room, ()) = tokio::join!(
            tokio::time::timeout(std::time::Duration::from_secs(10), inbox.wait_for_capacity()),
            async {
                for item in &entries {
                    let Item::Entry(entry) = item else { continue };
                    inbox.done(entry.weight(), None);
                }
            }
        );
        assert_eq!(room, Ok(()));
        assert_eq!(inbox.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_burst_leaves_no_room_behind() {
        let inbox = Inbox::new(usize::MAX);
        let mut entries = VecDeque::new();
        (0..100_000).for_each(|_| assert!(inbox.push(Entry::Shutdown)));
        for _ in 0..100 {
            inbox.drain(&mut entries);
            entries.clear();
        }
        let capacity = entries.capacity() + inbox.queue.lock().items.capacity();
        assert!(capacity <= 64, "{capacity}");
    }

    #[tokio::test]
    async fn nobody_waits_for_a_shard_that_has_ended() {
        let inbox = Inbox::new(ENTRY_BYTES);
        let subscribe = |taken: Completion| Entry::Control {
            handle: Handle::new(0, 0, 0),
            control: Box::new(Control::Subscribe {
                channel: "c".into(),
                options: Arc::default(),
                since: None,
                taken: Some(taken),
            }),
        };
        let (before, mut all_before) = mpsc::channel(1);
        inbox.push(subscribe(before));
        assert!(!inbox.has_room());
        let (room, (), over) = tokio::join!(
            tokio::time::timeout(std::time::Duration::from_secs(10), inbox.wait_for_capacity()),
            async { inbox.close() },
            tokio::time::timeout(std::time::Duration::from_secs(10), all_before.recv()),
        );
        assert_eq!((room, over), (Ok(()), Ok(None)), "who waited before it ended");
        let (after, mut all_after) = mpsc::channel(1);
        inbox.push(subscribe(after));
        assert_eq!(all_after.recv().await, None, "who comes later");
        assert!(inbox.has_room());
    }
}
