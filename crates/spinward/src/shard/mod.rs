//! A shard: one thread that holds connections, with everything that they need in its own memory.

mod body;
pub(crate) mod core;
mod deliver;
mod emit;
mod enter;
mod event_ids;
#[cfg(target_os = "linux")]
mod layered;
pub(crate) mod outbox;
mod pace;
#[cfg_attr(not(target_os = "linux"), path = "no_poll.rs")]
mod poll;
mod probe;
mod rates;
mod receive;
mod refresh;
mod request;
pub(crate) mod slots;
mod stalled;
mod stream;
mod task;
mod unsent;
mod violations;
pub(crate) mod walk;
mod wheel;
pub(crate) mod work;

use crate::backend::Channels;
use crate::clock::Now;
use crate::fault;
use crate::hub::Hub;
use crate::mailbox::accepted::{Accepted, Io};
use crate::mailbox::inbox::{Entry, Item};
use crate::metrics::add;
use body::Bodies;
use core::{Core, Execute};
use pace::Pace;
use poll::{Epoll, Poller, Watched};
use slots::SlotState;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use task::Tasks;
use work::{DELIVERY, SYSTEM_CALL};

/// Entries, reads and sends of one turn, so that none of them starves the others. Each part is bounded by time too:
/// see [`Pace`].
const ENTRIES_PER_TURN: usize = 512;
const SENDS_PER_SLICE: usize = 256;
/// Cost of an entry beside the cost of its effects.
const ENTRY: usize = 256;
/// After so many sends and more, a shard rests before it takes the next publications: what comes in that time goes out
/// with one send for each connection and not with many. It rests about as long as the sends took, so a message that
/// comes alone is never held up, and one in a stream not much longer than by what is sent before it.
const SENDS_BEFORE_REST: u32 = 128;
const REST_PER_SEND: Duration = Duration::from_micros(5);
const REST_AT_MOST: Duration = Duration::from_millis(4);
/// Milliseconds that a shard may go on with its work from before the node was to stop.
const STOP_AFTER: u64 = 100;
/// Bytes read from a socket, or sent to one, at a time.
const SCRATCH: usize = 64 << 10;

/// The part of a shard that touches sockets, around its pure core.
pub(crate) struct Driver {
    core: Core,
    exec: Box<dyn Execute + Send>,
    hub: Arc<Hub>,
    shard: usize,
    entries: VecDeque<Item>,
    scratch: Box<[u8]>,
    poller: Poller,
    bodies: Bodies,
    tasks: Tasks,
    /// Deliveries of publications since there was nothing to do.
    delivered: u32,
    /// Connections sent to since then.
    sends: u32,
    /// The inbox is not looked at.
    resting: bool,
    /// Until then, in microseconds of the monotonic clock.
    rest_until: u64,
    /// The loop sleeps until then, on the monotonic clock, if nothing wakes it.
    asleep_until: u64,
    /// Time at which connections are closed, whatever is in the inbox before that. Known once the node stops.
    stop_at: Option<u64>,
    stopping: bool,
}

/// Starts the thread of a shard.
///
/// # Errors
/// The thread or its runtime could not be made.
pub(crate) fn spawn(
    shard: usize,
    channels: Arc<Channels>,
    exec: Box<dyn Execute + Send>,
    presence_refresh: Option<Duration>,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (poller, epoll) = Poller::new()?;
    std::thread::Builder::new().name(format!("shard-{shard}")).spawn(move || {
        let hub = Arc::clone(&channels.hub);
        let _ending = Ending { hub: Arc::clone(&hub), shard };
        // Over before the end of the shard is announced.
        let runtime = runtime;
        let now = hub.clock.now();
        let driver = Driver {
            core: Core::new(shard as u8, channels, presence_refresh, now),
            exec,
            shard,
            entries: VecDeque::new(),
            scratch: vec![0; SCRATCH].into_boxed_slice(),
            poller,
            bodies: Bodies::default(),
            tasks: Tasks::default(),
            delivered: 0,
            sends: 0,
            resting: false,
            rest_until: 0,
            asleep_until: 0,
            stop_at: None,
            stopping: false,
            hub,
        };
        tokio::task::LocalSet::new().block_on(&runtime, run(driver, epoll));
    })
}

/// Closes the inbox of a shard when its thread ends, even in a panic, and announces the end.
struct Ending {
    hub: Arc<Hub>,
    shard: usize,
}

impl Drop for Ending {
    fn drop(&mut self) {
        if std::thread::panicking() || !self.hub.is_stopping() {
            tracing::error!(shard = self.shard, "shard failed: its connections are closed");
            self.hub.pulse.fail(self.shard);
        }
        self.hub.inboxes[self.shard].close();
        self.hub.pulse.end(self.shard);
    }
}

async fn run(driver: Driver, epoll: Epoll) {
    let hub = Arc::clone(&driver.hub);
    let shard = driver.shard;
    let inbox = Arc::clone(&hub.inboxes[shard]);
    let mut watched = match epoll.watch() {
        Ok(watched) => watched,
        Err(error) => {
            tracing::error!(%error, "shard cannot watch its sockets");
            return;
        }
    };
    let driver = Rc::new(RefCell::new(driver));
    let mut rest = pin!(tokio::time::sleep(Duration::ZERO));
    loop {
        let (more, resting, deadline) = {
            let mut driver_ref = driver.borrow_mut();
            driver_ref.turn(&driver, &mut watched);
            if driver_ref.stopping && driver_ref.core.connections() == 0 || hub.pulse.is_halted(shard) {
                return;
            }
            let more = driver_ref.has_more();
            if let Some(time) = driver_ref.rest(more) {
                rest.set(tokio::time::sleep(time));
            }
            let deadline = driver_ref.core.next_deadline();
            driver_ref.asleep_until = deadline.unwrap_or(u64::MAX);
            (more, driver_ref.resting, deadline)
        };
        if more {
            // There may be something to do for as long as one client likes: sockets are looked at all the same, and
            // tasks of this shard get their turn too.
            driver.borrow_mut().poller.woken();
            tokio::task::yield_now().await;
            continue;
        }
        let now = hub.clock.now().mono;
        let sleep =
            Duration::from_millis(deadline.map_or(3_600_000, |deadline| deadline.saturating_sub(now)));
        tokio::select! {
            biased;
            () = inbox.ready(), if !resting => {}
            () = rest.as_mut(), if resting => driver.borrow_mut().resting = false,
            () = watched.ready() => driver.borrow_mut().poller.woken(),
            () = tokio::time::sleep(sleep) => {}
        }
    }
}

impl Driver {
    /// One round through everything there is to do, each part bounded.
    fn turn(&mut self, own: &Rc<RefCell<Self>>, watched: &mut Watched) {
        let now = self.hub.clock.now();
        self.hub.pulse.answer(self.shard, now.mono);
        fault::on_turn();
        self.core.tick(now, &mut self.exec);
        if !self.stopping && self.hub.is_stopping() {
            let stop_at = *self.stop_at.get_or_insert(now.mono + STOP_AFTER);
            if now.mono >= stop_at {
                self.stop(now);
            }
        }
        self.take_entries(now, own);
        self.flush();
        // Those that are read now and come to wait are served in the next turn: no connection has two in one.
        let waiting = self.core.runnable();
        self.read_sockets(watched);
        self.work(waiting);
        self.flush();
        self.resume();
    }

    /// Serves connections that had to wait.
    fn work(&mut self, count: usize) {
        let mut pace = Pace::new(&self.hub.clock);
        for _ in 0..count {
            let now = self.hub.clock.now();
            self.core.work(now, &mut self.exec);
            if !pace.may_go_on(self.core.spent) {
                return;
            }
        }
    }

    fn stop(&mut self, now: Now) {
        self.stopping = true;
        self.core.entry(Entry::Shutdown, now, &mut self.exec);
    }

    /// A task did something of which the loop, asleep, knows nothing: wakes it if it is to act on that.
    fn nudge(&self) {
        let earlier = self.core.next_deadline().is_some_and(|deadline| deadline < self.asleep_until);
        if self.stopping || earlier || self.has_more() {
            self.hub.inboxes[self.shard].wake();
        }
    }

    fn has_more(&self) -> bool {
        self.poller.has_ready()
            || !self.entries.is_empty()
            || self.core.has_dirty()
            || self.core.runnable() > 0
    }

    /// With nothing left to do, returns the time to rest first, if at all.
    fn rest(&mut self, more: bool) -> Option<Duration> {
        if more || self.resting {
            return None;
        }
        // Replies are sends too, and nothing is gained by resting after them.
        let sends = std::mem::take(&mut self.delivered).min(std::mem::take(&mut self.sends));
        // Publishers that wait bring nothing more until the shard goes on.
        let awaited = self.hub.admission.is_waiting();
        self.resting = sends >= SENDS_BEFORE_REST && !awaited && !self.stopping;
        self.resting.then(|| {
            let time = REST_AT_MOST.min(REST_PER_SEND * sends);
            self.rest_until = self.hub.clock.micros() + time.as_micros() as u64;
            time
        })
    }

    fn take_entries(&mut self, now: Now, own: &Rc<RefCell<Self>>) {
        // Where there is always something else to do, the end of the rest is not waited for.
        self.resting = self.resting && self.hub.clock.micros() < self.rest_until;
        if self.entries.is_empty() && !self.resting {
            self.hub.inboxes[self.shard].drain(&mut self.entries);
        }
        let mut pace = Pace::new(&self.hub.clock);
        for _ in 0..ENTRIES_PER_TURN {
            match self.entries.pop_front() {
                None => return,
                Some(Item::Connection(accepted)) => self.accept(*accepted, now, own),
                Some(Item::Pulled(handle)) => self.pulled(handle),
                Some(Item::Entry(Entry::Shutdown)) => self.stop(now),
                Some(Item::Entry(entry)) => {
                    let published = matches!(entry, Entry::Publication { .. });
                    self.core.entry(entry, now, &mut self.exec);
                    if published {
                        self.delivered = self.delivered.saturating_add((self.core.spent / DELIVERY) as u32);
                    }
                }
            }
            if !pace.may_go_on(ENTRY + self.core.spent) {
                return;
            }
        }
    }

    fn accept(&mut self, mut accepted: Accepted, now: Now, own: &Rc<RefCell<Self>>) {
        let Some(slot) = self.core.open(&mut accepted, now) else {
            self.hub.metrics.connections.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
            return;
        };
        let metrics = &self.hub.metrics.shards[self.shard];
        let mut opened = Vec::new();
        let stream = match accepted.io {
            Io::Stream(stream) => {
                add(&metrics.task_accepted, 1);
                Some(stream)
            }
            Io::Tcp(socket) => match self.poller.add(slot, socket) {
                Ok(stream) => {
                    let carried =
                        if stream.is_none() { &metrics.poller_accepted } else { &metrics.task_accepted };
                    add(carried, 1);
                    stream
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot watch a socket");
                    return self.core.eof(slot, now, &mut self.exec);
                }
            },
            Io::Layered(parts) => match self.poller.add_layered(slot, *parts, &mut opened) {
                Ok(stream) => {
                    let carried =
                        if stream.is_none() { &metrics.poller_accepted } else { &metrics.task_accepted };
                    add(carried, 1);
                    stream
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot watch a socket");
                    return self.core.eof(slot, now, &mut self.exec);
                }
            },
            Io::Body(writer) => {
                add(&metrics.body_accepted, 1);
                if !self.bodies.start(slot, self.core.handle(slot), writer) {
                    return self.core.eof(slot, now, &mut self.exec);
                }
                None
            }
        };
        if let Some(stream) = stream {
            self.tasks.start(slot, stream, own);
        }
        if let Some(first) = &accepted.first {
            self.core.first(slot, first, now, &mut self.exec);
        }
        if (!accepted.leftover.is_empty() || !opened.is_empty()) && self.core.takes_bytes(slot) {
            let mut leftover = accepted.leftover.to_vec();
            leftover.append(&mut opened);
            self.core.input(slot, &mut leftover, now, &mut self.exec);
        }
    }

    /// Slots whose command is answered read on.
    fn resume(&mut self) {
        while let Some(slot) = self.core.take_resumed() {
            if self.poller.resume(slot) {
                continue;
            }
            self.tasks.wake(slot);
        }
    }

    /// Sends what is to be sent: a slice of replies and small fan-outs, and then one of large fan-outs.
    fn flush(&mut self) {
        self.flush_queue(Core::take_express);
        self.flush_queue(Core::take_bulk);
    }

    fn flush_queue(&mut self, take: impl Fn(&mut Core) -> Option<u32>) {
        let mut pace = Pace::new(&self.hub.clock);
        for _ in 0..SENDS_PER_SLICE {
            let Some(slot) = take(&mut self.core) else { return };
            self.sends = self.sends.saturating_add(1);
            self.core.join(slot);
            if !self.tasks.wake(slot) && !self.flush_body(slot) {
                self.flush_socket(slot);
            }
            if !pace.may_go_on(SYSTEM_CALL) {
                return;
            }
        }
    }

    /// Releases the connection.
    fn release(&mut self, slot: u32) {
        self.tasks.forget(slot);
        self.bodies.forget(slot);
        self.poller.remove(slot);
        self.core.release(slot);
    }

    fn is(&self, slot: u32, state: SlotState) -> bool {
        self.core.state(slot) == state
    }
}
