//! Runs the production code of nodes under a simulation: sessions, shard cores, hub and executor as they are,
//! with no thread, no socket and no runtime.
//!
//! The caller decides what happens next: which shard takes how many entries of its inbox, which answer
//! comes, how many bytes of which connection move. Everything else follows from that, the manual
//! [`Clock`] and the seeded [`Entropy`], so a run is repeated exactly by repeating the decisions.

mod memory;

pub use crate::runtime::tasks::{Tasks, give_way};
pub use memory::MemoryEngine;

use crate::backend::{Brokers, Channels};
use crate::clock::{Clock, Now};
use crate::cluster;
use crate::config::Config;
use crate::engine::broker::Broker;
use crate::engine::controller::Controller;
use crate::engine::presence::{MemoryPresence, Presence};
use crate::hooks::{Handshake, Hooks};
use crate::hub::Hub;
use crate::id::Entropy;
use crate::identity::{Credentials, Transport};
use crate::mailbox::accepted::{Accepted, Io};
use crate::mailbox::inbox::{Entry, Item};
use crate::node::ask::Executor;
use crate::node::builder::ByHooks;
use crate::node::cluster::{ClusterHandler, Link, NoHandler};
use crate::node::drain::Draining;
use crate::node::{Bulkheads, Inner, Node};
use crate::runtime::Runtime;
use crate::session_id::Secret;
use crate::shard::core::Core;
use crate::shard::slots::SlotState;
use bytes::Bytes;
use spinward_wire::{Form, Protocol};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Work that one connection may use of a turn, in about the work of a byte received or sent. The last command of a turn
/// may go beyond it.
pub const TURN: usize = crate::shard::work::TURN;

/// The parts of a simulated node.
pub struct Parts {
    /// The application's decisions.
    pub hooks: Arc<dyn Hooks>,
    /// Limits and timings; `shards` counts, 0 being one.
    pub config: Config,
    /// Shared by everything in the simulation.
    pub clock: Clock,
    /// Shared by everything in the simulation.
    pub entropy: Entropy,
    /// A simulated remote broker, or none for the memory broker.
    pub broker: Option<Arc<dyn Broker>>,
    /// A presence store, or none for the memory one.
    pub presence: Option<Arc<dyn Presence>>,
    /// A way to other nodes, or none for a node that is alone.
    pub cluster: Option<Neighbours>,
    /// Answers that come later are polled here.
    pub tasks: Tasks,
}

/// A way of a simulated node to others.
pub struct Neighbours {
    /// Carries messages.
    pub controller: Arc<dyn Controller>,
    /// Timings.
    pub config: cluster::Config,
    /// Answers messages of other nodes.
    pub handler: Arc<dyn ClusterHandler>,
}

/// One node under simulation.
pub struct SimNode {
    node: Node,
    hub: Arc<Hub>,
    shards: Vec<Shard>,
    serial: u64,
}

/// Names a connection of a simulated node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conn {
    shard: usize,
    slot: u32,
    serial: u64,
}

struct Shard {
    core: Core,
    exec: Executor,
    entries: VecDeque<Item>,
    /// By slot.
    wires: Vec<Option<Wire>>,
}

/// The bytes of one connection on their way.
struct Wire {
    serial: u64,
    to_server: VecDeque<u8>,
    to_client: VecDeque<u8>,
    /// Most bytes on their way to the client.
    room: usize,
    /// The server sends no more.
    shut: bool,
    /// Of a client whose messages come by requests.
    secret: Option<Secret>,
}

impl SimNode {
    /// Makes a node. Nothing of it moves by itself.
    ///
    /// # Panics
    /// The controller cannot be started.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { hooks, config, clock, entropy, broker, presence, cluster, tasks } = parts;
        let count = config.shards.clamp(1, 64);
        let runtime = Runtime::Simulated(tasks);
        let hub = Arc::new(Hub::new(Arc::new(config), clock, entropy, count));
        let choose = Arc::new(ByHooks(Arc::clone(&hooks)));
        let brokers = Brokers { default: broker, named: Vec::new(), choose };
        let channels = match Channels::start(Arc::clone(&hub), &runtime, brokers) {
            Ok(channels) => channels,
            Err(error) => panic!("the broker does not start: {error}"),
        };
        let presence = presence.unwrap_or_else(|| Arc::new(MemoryPresence::new(hub.entropy.number())));
        let now = hub.clock.now();
        let (link, handler): (_, Arc<dyn ClusterHandler>) = match cluster {
            Some(Neighbours { controller, config, handler }) => {
                (Some(Arc::new(Link::new(controller, config, hub.node))), handler)
            }
            None => (None, Arc::new(NoHandler)),
        };
        let inner = Arc::new(Inner {
            hub: Arc::clone(&hub),
            channels: Arc::clone(&channels),
            hooks,
            presence,
            runtime,
            bulkheads: Bulkheads::new(hub.config.max_calls_in_flight),
            started_ms: now.mono,
            name: String::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            handler,
            draining: Draining::default(),
            link,
        });
        let shards = (0..count)
            .map(|shard| (shard, Executor::new(Arc::clone(&inner))))
            .map(|(shard, exec)| Shard {
                core: Core::new(shard as u8, Arc::clone(&channels), exec.presence_refresh(), now),
                exec,
                entries: VecDeque::new(),
                wires: Vec::new(),
            })
            .collect();
        let node = Node::simulated(inner);
        if let Some(link) = &node.inner.link {
            #[allow(
                clippy::expect_used,
                reason = "a simulation has no use for a controller that does not start"
            )]
            link.start(node.downgrade()).expect("the controller starts");
        }
        Self { node, hub, shards, serial: 0 }
    }

    /// Returns the node, for its public API. Its futures are for [`Tasks`].
    #[must_use]
    pub const fn node(&self) -> &Node {
        &self.node
    }

    /// Returns the number of shards.
    #[must_use]
    pub const fn shards(&self) -> usize {
        self.shards.len()
    }

    fn now(&self) -> Now {
        self.hub.clock.now()
    }

    /// A client connects, its WebSocket handshake done. At most `room` bytes are on their way to it at once.
    ///
    /// `None` while the node goes down.
    pub fn connect(
        &mut self,
        protocol: Protocol,
        credentials: Option<Credentials>,
        room: usize,
    ) -> Option<Conn> {
        self.begin(Form::websocket(protocol), Transport::WebSocket, credentials, room, None)
    }

    /// A client connects by a request whose response is a stream. The request holds this message; others come by
    /// [`SimNode::request`].
    ///
    /// `None` while the node goes down.
    pub fn connect_emulated(
        &mut self,
        protocol: Protocol,
        credentials: Option<Credentials>,
        room: usize,
        first: Bytes,
    ) -> Option<Conn> {
        self.begin(Form::delimited(protocol), Transport::HttpStream, credentials, room, Some(first))
    }

    fn begin(
        &mut self,
        form: Form,
        transport: Transport,
        credentials: Option<Credentials>,
        room: usize,
        first: Option<Bytes>,
    ) -> Option<Conn> {
        let now = self.now();
        let id = self.hub.entropy.client_id();
        let shard = self.hub.place(id);
        let handshake = Handshake { credentials, ..Handshake::default() };
        let secret = transport.is_emulated().then(|| Secret::new(self.hub.entropy.bytes()));
        let mut accepted = Accepted {
            id,
            form,
            transport,
            handshake: Arc::new(handshake),
            frame_pings: false,
            secret,
            close_code: None,
            io: Io::Stream(Box::new(tokio::io::empty())),
            first,
            leftover: Bytes::new(),
            verdict: None,
            resume: None,
        };
        let target = &mut self.shards[shard];
        let slot = target.core.open(&mut accepted, now)?;
        self.hub.metrics.connections.fetch_add(1, Ordering::Relaxed);
        self.serial += 1;
        let serial = self.serial;
        let (to_server, to_client) = (VecDeque::new(), VecDeque::new());
        let wire = Wire { serial, to_server, to_client, room, shut: false, secret };
        if target.wires.len() <= slot as usize {
            target.wires.resize_with(slot as usize + 1, || None);
        }
        target.wires[slot as usize] = Some(wire);
        if let Some(first) = &accepted.first {
            target.core.first(slot, first, now, &mut target.exec);
        }
        Some(Conn { shard, slot, serial })
    }

    fn wire(&mut self, conn: Conn) -> Option<&mut Wire> {
        let wire = self.shards[conn.shard].wires.get_mut(conn.slot as usize)?.as_mut()?;
        (wire.serial == conn.serial).then_some(wire)
    }

    /// The client writes. The bytes stay on their way until [`SimNode::read`].
    pub fn write(&mut self, conn: Conn, bytes: &[u8]) {
        if let Some(wire) = self.wire(conn) {
            wire.to_server.extend(bytes);
        }
    }

    /// A message of the client comes by a request of its own.
    pub fn request(&mut self, conn: Conn, message: Bytes) {
        let Some(secret) = self.wire(conn).and_then(|wire| wire.secret) else { return };
        let handle = self.shards[conn.shard].core.handle(conn.slot);
        self.hub.send(conn.shard, Entry::Input { handle, secret, message });
    }

    /// The server reads at most `max` bytes of what the client wrote. Answers how many it took.
    pub fn read(&mut self, conn: Conn, max: usize) -> usize {
        let now = self.now();
        if self.wire(conn).is_none() {
            return 0;
        }
        let shard = &mut self.shards[conn.shard];
        let Some(wire) = shard.wires[conn.slot as usize].as_mut() else { return 0 };
        if !shard.core.wants_input(conn.slot) {
            return 0;
        }
        let count = max.min(wire.to_server.len());
        let mut bytes: Vec<u8> = wire.to_server.drain(..count).collect();
        if count > 0 && shard.core.state(conn.slot) == SlotState::Open {
            shard.core.input(conn.slot, &mut bytes, now, &mut shard.exec);
        }
        count
    }

    /// Returns the number of bytes of the client that the server has yet to read.
    #[must_use]
    pub fn unread(&mut self, conn: Conn) -> usize {
        self.wire(conn).map_or(0, |wire| wire.to_server.len())
    }

    /// The client takes at most `max` bytes. `None` is the end of the stream.
    pub fn receive(&mut self, conn: Conn, max: usize) -> Option<Vec<u8>> {
        let wire = self.wire(conn)?;
        if wire.to_client.is_empty() && wire.shut {
            return None;
        }
        let count = max.min(wire.to_client.len());
        let bytes = wire.to_client.drain(..count).collect();
        if count > 0 {
            self.shards[conn.shard].core.set_blocked(conn.slot, false);
        }
        Some(bytes)
    }

    /// Returns the number of bytes that the client has yet to take.
    #[must_use]
    pub fn waiting(&mut self, conn: Conn) -> usize {
        self.wire(conn).map_or(0, |wire| wire.to_client.len())
    }

    /// Returns the number of bytes that wait in the server to be sent to the client.
    #[must_use]
    pub fn queued(&mut self, conn: Conn) -> usize {
        if self.wire(conn).is_some() { self.shards[conn.shard].core.queued_bytes(conn.slot) } else { 0 }
    }

    /// Returns the numbers of bytes of the client that the server has read and not handled: of the message under way,
    /// and of what came after it.
    #[must_use]
    pub fn stashed(&mut self, conn: Conn) -> (usize, usize) {
        if self.wire(conn).is_some() { self.shards[conn.shard].core.stashed_bytes(conn.slot) } else { (0, 0) }
    }

    /// Work that a shard did for the connection that it served last, in the unit of [`TURN`].
    #[must_use]
    pub fn spent(&self, shard: usize) -> usize {
        self.shards[shard].core.spent
    }

    /// A shard serves the next connection that had to wait. Returns true if there was one.
    pub fn work(&mut self, shard: usize) -> bool {
        let now = self.now();
        let Shard { core, exec, .. } = &mut self.shards[shard];
        let waiting = core.runnable() > 0;
        core.work(now, exec);
        waiting
    }

    /// Sets the number of bytes that may be on their way to the client at once, from here on.
    pub fn set_room(&mut self, conn: Conn, room: usize) {
        if let Some(wire) = self.wire(conn) {
            wire.room = room;
            self.shards[conn.shard].core.set_blocked(conn.slot, false);
        }
    }

    /// The client is gone; what was on its way is lost.
    pub fn drop_conn(&mut self, conn: Conn) {
        let now = self.now();
        if self.wire(conn).is_some() {
            let shard = &mut self.shards[conn.shard];
            shard.core.eof(conn.slot, now, &mut shard.exec);
        }
    }

    /// Returns the number of entries that wait for a shard.
    #[must_use]
    pub fn entries(&self, shard: usize) -> usize {
        self.shards[shard].entries.len() + self.hub.inboxes[shard].len()
    }

    /// A shard handles at most `max` entries of its inbox. Answers how many there were.
    pub fn take_entries(&mut self, shard: usize, max: usize) -> usize {
        let now = self.now();
        let target = &mut self.shards[shard];
        if target.entries.is_empty() {
            self.hub.inboxes[shard].drain(&mut target.entries);
        }
        for taken in 0..max {
            match target.entries.pop_front() {
                None => return taken,
                Some(Item::Entry(entry)) => target.core.entry(entry, now, &mut target.exec),
                // Only services of real sockets hand connections over.
                Some(Item::Connection(accepted)) => drop(accepted),
                Some(Item::Pulled(_)) => {}
            }
        }
        max
    }

    /// A shard runs the timers that are due.
    pub fn tick(&mut self, shard: usize) {
        let now = self.now();
        let target = &mut self.shards[shard];
        target.core.tick(now, &mut target.exec);
    }

    /// A shard serves connections that had to wait, once around, and sends what waits, for at most `max`
    /// connections. Answers for how many.
    pub fn flush(&mut self, shard: usize, max: usize) -> usize {
        let now = self.now();
        let Shard { core, exec, wires, .. } = &mut self.shards[shard];
        for _ in 0..core.runnable() {
            core.work(now, exec);
        }
        while core.take_resumed().is_some() {}
        for done in 0..max {
            let Some(slot) = core.take_express().or_else(|| core.take_bulk()) else { return done };
            let Some(entry) = wires.get_mut(slot as usize) else { continue };
            if core.state(slot) == SlotState::Gone {
                *entry = None;
                core.release(slot);
                continue;
            }
            let Some(wire) = entry else { continue };
            let outbox = core.outbox(slot);
            let mut room = wire.room.saturating_sub(wire.to_client.len());
            let mut sent = 0;
            for piece in outbox.iter() {
                let count = piece.len().min(room);
                wire.to_client.extend(&piece[..count]);
                (sent, room) = (sent + count, room - count);
            }
            core.sent(slot, sent);
            if !core.outbox(slot).is_empty() {
                core.set_blocked(slot, true);
            } else if core.state(slot) == SlotState::Closing {
                wire.shut = true;
            }
        }
        max
    }

    /// Returns true if a shard has entries to take or something to send.
    pub fn has_work(&mut self, shard: usize) -> bool {
        let target = &mut self.shards[shard];
        if target.entries.is_empty() {
            self.hub.inboxes[shard].drain(&mut target.entries);
        }
        !target.entries.is_empty() || target.core.has_dirty() || target.core.runnable() > 0
    }

    /// Returns the time at which a shard's next timer is due, on the monotonic clock.
    #[must_use]
    pub fn next_deadline(&self, shard: usize) -> Option<u64> {
        self.shards[shard].core.next_deadline()
    }

    /// The node does what is due between nodes: heartbeats, and the end of waits.
    pub fn tick_cluster(&self) {
        if let Some(link) = &self.node.inner.link {
            link.tick(&self.node);
        }
    }

    /// The node tells the others that it ends, and closes its controller. A node that is dropped without this has
    /// crashed.
    pub fn say_goodbye(&self) {
        if let Some(link) = self.node.inner.link.clone() {
            let node = self.node.clone();
            self.node.inner.runtime.spawn(async move { link.close(&node).await });
        }
    }

    /// Does what is due in the engine: drops all history that has expired, asks a remote broker again.
    pub fn expire(&self) {
        let now = self.now();
        self.node.inner.channels.tick();
        while self.node.inner.channels.expire(now, 256).is_some_and(|next| next <= now.mono) {}
    }
}
