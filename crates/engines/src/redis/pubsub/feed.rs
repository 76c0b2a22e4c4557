//! The deliveries of one server: a connection that is made again when it is lost, and the channels that it is asked
//! for.

use super::super::centrifugo;
use super::super::config::Access;
use super::super::connection::Task;
use super::super::counters::{Counters, bump};
use super::super::error::Error;
use super::super::keys::{Keys, Kind};
use super::super::lives::Lives;
use super::super::slots::slot;
use super::link::{Incoming, Link};
use super::message;
use super::parked::{Delivery, Parked};
use super::source::Source;
use crate::backoff::Backoff;
use crate::fault::{Fault, holds};
use bytes::Bytes;
use parking_lot::Mutex;
use spinward::engine::broker::{BrokerError, Event, Interest, Scope, Sink, StreamId};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, info, warn};

/// Channels of one command.
const BATCH: usize = 512;

/// Time after which a channel is asked for again that the server has sent elsewhere.
const RETRY: Duration = Duration::from_millis(200);

/// Channels up to which losses are told one by one. Above, all are: comparing each with each costs more.
const NAMED: usize = 64;

/// A change of what a feed delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The node asked for the channel, and waits for an answer.
    Want,
    /// The node gave it back, and waits for an answer.
    Drop,
    /// It was delivered before, by this server or another one.
    Again,
    /// Another server delivers it from now on.
    Leave,
}

/// Changes to make, by channel. There is no more than one change of a channel, so that these are no more than channels
/// with subscribers.
pub(super) type Changes = HashMap<Arc<str>, Change>;

/// Adds a change to others. What the node asked for comes first.
pub(super) fn add(changes: &mut Changes, channel: Arc<str>, change: Change) {
    if matches!(change, Change::Want | Change::Drop) {
        changes.insert(channel, change);
    } else {
        changes.entry(channel).or_insert(change);
    }
}

/// Everything that feeds share.
#[derive(Clone)]
pub(in super::super) struct Context {
    pub(in super::super) keys: Keys,
    pub(in super::super) access: Access,
    pub(in super::super) sink: Sink,
    pub(in super::super) counters: Arc<Counters>,
}

/// A feed. It ends with this value.
pub(super) struct Feed {
    waiting: Arc<Waiting>,
    _task: Task,
}

struct Waiting {
    asked: Mutex<Asked>,
    wake: Notify,
    /// Reason why nothing is delivered.
    down: Mutex<Option<String>>,
}

#[derive(Default)]
struct Asked {
    /// Messages to send.
    changes: Changes,
    /// Channels that the server was asked for, and has not confirmed.
    joining: Changes,
}

impl Feed {
    pub(super) fn start(context: Context, source: Source) -> Self {
        let down = Mutex::new(Some("not connected yet".to_owned()));
        let waiting = Arc::new(Waiting { asked: Mutex::default(), wake: Notify::new(), down });
        let parked = Parked::new(context.sink.clone(), Arc::clone(&context.counters));
        let state = Run {
            context,
            waiting: Arc::clone(&waiting),
            parked,
            leaving: HashMap::new(),
            regained: Vec::new(),
            retry: None,
            lives: source.lives(),
            source,
            connected_before: false,
        };
        Self { waiting, _task: Task::spawn(state.run()) }
    }

    /// Changes what is delivered.
    pub(super) fn change(&self, changes: impl IntoIterator<Item = (Arc<str>, Change)>) {
        let mut asked = self.waiting.asked.lock();
        for (channel, change) in changes {
            add(&mut asked.changes, channel, change);
        }
        drop(asked);
        self.waiting.wake.notify_one();
    }

    /// Reason why nothing is delivered, if that is so.
    pub(super) fn down(&self) -> Option<String> {
        self.waiting.down.lock().clone()
    }

    /// Takes back what is not confirmed yet, of channels that this holds for.
    pub(super) fn take(&self, mut of: impl FnMut(&str) -> bool) -> Changes {
        let mut asked = self.waiting.asked.lock();
        let Asked { changes, joining } = &mut *asked;
        let mut taken: Changes = joining.extract_if(|channel, _| of(channel)).collect();
        for (channel, change) in changes.extract_if(|channel, _| of(channel)) {
            add(&mut taken, channel, change);
        }
        taken
    }
}

/// The task of a feed.
struct Run {
    context: Context,
    source: Source,
    waiting: Arc<Waiting>,
    parked: Parked,
    /// Channels that the server was told to stop.
    leaving: Changes,
    /// Channels that were lost, and are delivered again.
    regained: Vec<Arc<str>>,
    /// Time at which changes that were refused are sent again.
    retry: Option<Instant>,
    /// The lives of the server that is connected.
    lives: Arc<Lives>,
    connected_before: bool,
}

impl Run {
    async fn run(mut self) {
        let mut backoff = Backoff::default();
        while !self.context.sink.is_closed() {
            let error = match Box::pin(self.connect()).await {
                Ok(None) => return,
                Ok(Some(mut link)) => {
                    backoff.reset();
                    let error = Box::pin(self.deliver(&mut link)).await;
                    // What was parked is in order, but what comes next is not its continuation.
                    bump(&self.context.counters.gaps);
                    self.lost();
                    error
                }
                Err(error) => error,
            };
            warn!(server = %self.source.name(), %error, "no deliveries from Redis, trying again");
            *self.waiting.down.lock() = Some(format!("no deliveries from {}: {error}", self.source.name()));
            self.refuse(&error);
            sleep(backoff.pause()).await;
        }
    }

    /// Connects to where the server is. `None` once it is closed.
    async fn connect(&self) -> Result<Option<Link>, Error> {
        let patience = self.context.access.connect_timeout;
        let endpoint = match timeout(patience, self.source.endpoint()).await {
            Ok(Some(endpoint)) => endpoint,
            Ok(None) => return Ok(None),
            Err(_) => {
                let reason = self.source.down().unwrap_or_default();
                return Err(Error::Unavailable { server: self.source.name(), reason });
            }
        };
        Link::open(&endpoint, &self.context.access).await.map(Some)
    }

    /// Delivers until the connection is lost, and returns the reason.
    async fn deliver(&mut self, link: &mut Link) -> Error {
        if std::mem::replace(&mut self.connected_before, true) {
            bump(&self.context.counters.reconnects);
        }
        info!(server = %link.endpoint(), "deliveries from Redis begin");
        let source = self.source.clone();
        self.lives = source.lives();
        // Asked for outside of the lock: the node has locks of its own.
        let mut wanted = self.context.sink.wanted();
        wanted.retain(|channel| source.has(&self.context.keys, channel));
        if holds(Fault::ForgottenChannels) {
            wanted.clear();
        }
        {
            let mut asked = self.waiting.asked.lock();
            wanted.into_iter().for_each(|channel| add(&mut asked.changes, channel, Change::Again));
        }
        self.send(link);
        *self.waiting.down.lock() = None;
        let endpoint = link.endpoint().clone();
        let moved = source.moved_from(&endpoint);
        tokio::pin!(moved);
        loop {
            let retry = self.retry;
            tokio::select! {
                incoming = link.next() => match incoming {
                    Ok(incoming) => self.on(link, incoming),
                    Err(error) => return error,
                },
                () = self.waiting.wake.notified() => self.send(link),
                () = self.parked.go_on() => {}
                () = sleep_until(retry.unwrap_or_else(Instant::now)), if retry.is_some() => {
                    self.retry = None;
                    self.send(link);
                }
                () = &mut moved => {
                    let (server, reason) = (endpoint.to_string(), "the primary is another server now".to_owned());
                    return Error::Unavailable { server, reason };
                }
            }
            if self.context.sink.is_closed() {
                return Error::Closed;
            }
        }
    }

    /// Sends the changes that wait.
    fn send(&mut self, link: &mut Link) {
        let (mut join, mut leave) = (Batches::default(), Batches::default());
        let sharded = self.source.sharded() && !self.context.keys.is_shared();
        let mut asked = self.waiting.asked.lock();
        let Asked { changes, joining } = &mut *asked;
        for (channel, change) in changes.drain() {
            let name = self.context.keys.of(Kind::Channel, &channel);
            let group = if sharded { slot(&name) } else { 0 };
            match change {
                Change::Want | Change::Again => {
                    // A second request for a channel that is on its way waits for the same confirmation.
                    add(joining, channel, change);
                    join.push(group, name);
                }
                Change::Drop | Change::Leave => {
                    self.leaving.insert(channel, change);
                    leave.push(group, name);
                }
            }
        }
        drop(asked);
        leave.into_batches().for_each(|batch| link.unsubscribe(sharded, batch));
        join.into_batches().for_each(|batch| link.subscribe(sharded, batch));
    }

    fn on(&mut self, link: &Link, incoming: Incoming) {
        match incoming {
            Incoming::Message { channel, payload } => self.on_message(&channel, payload),
            Incoming::Subscribed(name) => {
                let Some(channel) = self.context.keys.channel(&name) else { return };
                let joined = self.waiting.asked.lock().joining.remove_entry(channel);
                match joined {
                    Some((channel, Change::Want)) => {
                        self.context.sink.interest(&channel, Interest::Wanted, Ok(()))
                    }
                    Some((channel, _)) => self.regained.push(channel),
                    None => {}
                }
                self.tell_regained();
            }
            Incoming::Unsubscribed { channel: name, asked } => {
                let Some(channel) = self.context.keys.channel(&name) else { return };
                if !asked {
                    debug!(server = %link.endpoint(), "Redis gave a channel back: its hash slot moves");
                    self.source.refresh();
                    self.again(channel.into(), Change::Again);
                } else if let Some((channel, Change::Drop)) = self.leaving.remove_entry(channel) {
                    self.context.sink.interest(&channel, Interest::Unwanted, Ok(()));
                }
            }
            Incoming::Refused { channels, code, detail } => self.on_refused(link, &channels, &code, &detail),
        }
    }

    fn on_message(&mut self, name: &Bytes, payload: Bytes) {
        bump(&self.context.counters.messages);
        let read = self.context.keys.channel(name).zip(self.read(payload));
        match read {
            // Of every channel whose name ends with an odd digit.
            Some((channel, _))
                if holds(Fault::DeafChannels) && channel.ends_with(['1', '3', '5', '7', '9']) => {}
            Some((channel, (stream, event, weight))) => {
                self.parked.deliver(channel, Delivery { stream, event, weight });
            }
            None => bump(&self.context.counters.malformed),
        }
    }

    fn read(&self, payload: Bytes) -> Option<(Option<StreamId>, Event, usize)> {
        if !self.context.keys.is_shared() {
            return message::read(payload, &self.lives);
        }
        let weight = payload.len();
        let (place, event) = centrifugo::read(payload)?;
        // Its epochs say nothing of lives.
        let stream = place.map(|place| StreamId { incarnation: "".into(), epoch: place.epoch });
        Some((stream, event, weight))
    }

    /// The server refused a command. Where it says that another one serves the slot, that one is asked.
    fn on_refused(&mut self, link: &Link, channels: &[Bytes], code: &str, detail: &str) {
        let passes = self.source.redirected(link.endpoint(), code, detail);
        for name in channels {
            let Some(channel) = self.context.keys.channel(name) else { continue };
            let joining = self.waiting.asked.lock().joining.remove_entry(channel);
            if let Some((channel, change)) = joining {
                if passes {
                    self.again(channel, change);
                } else {
                    let error = Error::refused(link.endpoint(), code, Some(detail));
                    self.context.sink.interest(&channel, Interest::Wanted, Err(error.into()));
                }
            } else if let Some((channel, Change::Drop)) = self.leaving.remove_entry(channel) {
                self.context.sink.interest(&channel, Interest::Unwanted, Ok(()));
            }
        }
        self.tell_regained();
    }

    fn again(&mut self, channel: Arc<str>, change: Change) {
        add(&mut self.waiting.asked.lock().changes, channel, change);
        self.retry.get_or_insert_with(|| Instant::now() + RETRY);
    }

    /// Says that deliveries may be missing, once all that were lost go on.
    fn tell_regained(&mut self) {
        let more = || self.waiting.asked.lock().joining.values().any(|change| *change == Change::Again);
        if self.regained.is_empty() || more() {
            return;
        }
        let regained = std::mem::take(&mut self.regained);
        let names: Vec<&str> = regained.iter().map(|channel| &**channel).collect();
        let scope = if names.len() > NAMED { Scope::All } else { Scope::Channels(&names) };
        self.context.sink.interrupted(scope);
    }

    /// The connection was lost, with everything that was asked of it.
    fn lost(&mut self) {
        {
            let mut asked = self.waiting.asked.lock();
            let Asked { changes, joining } = &mut *asked;
            joining.drain().for_each(|(channel, change)| add(changes, channel, change));
        }
        for (channel, change) in self.leaving.drain() {
            if change == Change::Drop {
                self.context.sink.interest(&channel, Interest::Unwanted, Ok(()));
            }
        }
        // They are wanted, and asked for with all others.
        self.regained.clear();
        self.retry = None;
    }

    /// There is no connection: nothing is delivered, and the node asks again.
    fn refuse(&self, error: &Error) {
        let changes = std::mem::take(&mut self.waiting.asked.lock().changes);
        for (channel, change) in changes {
            match change {
                Change::Want => {
                    let error = BrokerError::from(error.clone());
                    self.context.sink.interest(&channel, Interest::Wanted, Err(error));
                }
                Change::Drop => self.context.sink.interest(&channel, Interest::Unwanted, Ok(())),
                Change::Again | Change::Leave => {}
            }
        }
    }
}

/// Names in groups, to be sent in batches of one group.
#[derive(Default)]
struct Batches(BTreeMap<u16, Vec<Bytes>>);

impl Batches {
    fn push(&mut self, group: u16, name: Bytes) {
        self.0.entry(group).or_default().push(name);
    }

    fn into_batches(self) -> impl Iterator<Item = Vec<Bytes>> {
        self.0.into_values().flat_map(|names| names.chunks(BATCH).map(<[Bytes]>::to_vec).collect::<Vec<_>>())
    }
}
