//! The memory engine behind the trait of remote brokers, for the suite that tests those.

use crate::answer::Answer;
use crate::backend::Channels;
use crate::channel::params::SubscribeParams;
use crate::channel::record::Channel;
use crate::clock::Clock;
use crate::config::Config;
use crate::engine::broker::{
    Broker, BrokerError, Event, Guarantee, HistoryFilter, HistoryOptions, Interest, JoinLeave, Limit, Place,
    PublishOptions, Read, Receipt, Scope, Since, Sink, Slice, StreamId,
};
use crate::hooks::Hooks;
use crate::id::Entropy;
use crate::mailbox::inbox::{Entry, Item};
use crate::node::Node;
use crate::publication::Position;
use crate::sim::{Parts, SimNode, Tasks};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// The memory engine of a node with one shard, as a broker: publications go through admission, stream and fan-out as
/// they do in a node, and are taken out of the shard's inbox in place of a shard.
pub struct MemoryEngine {
    clock: Clock,
    entropy: Entropy,
    state: Mutex<State>,
}

struct State {
    /// Lives of the engine so far. In each, everything is forgotten, as when a process starts again.
    life: u64,
    node: Node,
    interest: HashMap<String, Arc<Channel>>,
    queued: VecDeque<Item>,
    sink: Option<Sink>,
}

struct Silent;

impl Hooks for Silent {}

impl MemoryEngine {
    /// An empty engine.
    #[must_use]
    pub fn new(clock: Clock, entropy: Entropy) -> Self {
        let node = life(&clock, &entropy);
        let state = State { life: 1, node, interest: HashMap::new(), queued: VecDeque::new(), sink: None };
        Self { clock, entropy, state: Mutex::new(state) }
    }

    /// Begins another life, in which nothing of the former one is left but the interest of the node.
    pub fn restart(&self) {
        let (sink, incarnation) = {
            let mut state = self.state.lock();
            state.life += 1;
            state.node = life(&self.clock, &self.entropy);
            state.queued.clear();
            let names: Vec<String> = state.interest.keys().cloned().collect();
            for name in names {
                state.want(&name, &self.clock);
            }
            (state.sink.clone(), state.incarnation())
        };
        if let Some(sink) = sink {
            sink.replaced(Scope::All, &incarnation);
        }
    }

    /// Delivers what is queued, as far as the sink has room. Returns the number of deliveries.
    pub fn step(&self) -> usize {
        let mut delivered = 0;
        loop {
            let (sink, stream, channel, event) = {
                let mut state = self.state.lock();
                let Some(sink) = state.sink.clone() else { return delivered };
                let Some(entry) = state.take(&sink) else { return delivered };
                let (channel, share) = match &entry {
                    Entry::Publication { channel, share, .. } | Entry::JoinLeave { channel, share, .. } => {
                        (Arc::clone(channel), *share)
                    }
                    _ => continue,
                };
                let hub = &state.node.inner.hub;
                let weight = entry.weight();
                channel.lock().sent(share.lots);
                hub.inboxes[0].done(weight, Some(share));
                if hub.admission.is_waiting() {
                    hub.admission.channel_has_room(&channel);
                    hub.admission.shard_has_room(0);
                }
                match entry {
                    Entry::Publication { delivery, .. } => {
                        let stream = delivery.epoch.clone().map(|epoch| state.stream(epoch));
                        (sink, stream, channel, Event::Publication(Arc::clone(&delivery.publication)))
                    }
                    Entry::JoinLeave { info, join: true, .. } => {
                        (sink, None, channel, Event::JoinLeave(JoinLeave::Join(info)))
                    }
                    Entry::JoinLeave { info, .. } => {
                        (sink, None, channel, Event::JoinLeave(JoinLeave::Leave(info)))
                    }
                    _ => continue,
                }
            };
            sink.deliver(&channel.name, stream.as_ref(), event);
            delivered += 1;
        }
    }

    /// Drops what has expired.
    pub fn expire(&self) {
        let (channels, now) = (self.channels(), self.clock.now());
        while channels.expire(now, 256).is_some_and(|next| next <= now.mono) {}
    }

    fn channels(&self) -> Arc<Channels> {
        Arc::clone(&self.state.lock().node.inner.channels)
    }

    /// Names of the present life; also those of what it answers.
    fn stamp(&self) -> impl Fn(Position) -> Place + Send + use<> {
        let incarnation = self.state.lock().incarnation();
        move |Position { offset, epoch }| Place {
            stream: StreamId { incarnation: Arc::clone(&incarnation), epoch },
            offset,
        }
    }
}

fn life(clock: &Clock, entropy: &Entropy) -> Node {
    let node = SimNode::new(Parts {
        hooks: Arc::new(Silent),
        config: Config { shards: 1, ..Config::default() },
        clock: clock.clone(),
        entropy: entropy.clone(),
        broker: None,
        presence: None,
        cluster: None,
        tasks: Tasks::default(),
    });
    node.node
}

impl State {
    fn incarnation(&self) -> Arc<str> {
        format!("life{}", self.life).into()
    }

    fn stream(&self, epoch: Arc<str>) -> StreamId {
        StreamId { incarnation: self.incarnation(), epoch }
    }

    fn want(&mut self, name: &str, clock: &Clock) {
        let channels = &self.node.inner.channels;
        let entered = channels.enter(name, 0, &SubscribeParams::default(), clock.now());
        self.interest.insert(name.to_owned(), entered.record);
    }

    /// The next entry that the sink has room for.
    fn take(&mut self, sink: &Sink) -> Option<Entry> {
        if self.queued.is_empty() {
            self.node.inner.hub.inboxes[0].drain(&mut self.queued);
        }
        match self.queued.front() {
            Some(Item::Entry(Entry::Publication { channel, .. })) if !sink.has_room(&channel.name) => None,
            _ => match self.queued.pop_front()? {
                Item::Entry(entry) => Some(entry),
                Item::Connection(_) | Item::Pulled(_) => None,
            },
        }
    }
}

impl Broker for MemoryEngine {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn start(&self, sink: Sink) -> Result<(), BrokerError> {
        self.state.lock().sink = Some(sink);
        Ok(())
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::Gapless
    }

    fn incarnation(&self, _: &str) -> Arc<str> {
        self.state.lock().incarnation()
    }

    fn publish(
        &self,
        channel: &str,
        data: Bytes,
        options: PublishOptions,
    ) -> Answer<Result<Receipt, BrokerError>> {
        let place = self.stamp();
        self.channels().publish(channel, data, options).map(move |published| {
            let published = published?;
            let position = published.position;
            Ok(match (published.suppressed, position.epoch.is_empty()) {
                (true, true) => Receipt::Suppressed(None),
                (true, false) => Receipt::Suppressed(Some(place(position))),
                (false, true) => Receipt::Sent,
                (false, false) => Receipt::Stored(place(position)),
            })
        })
    }

    fn announce(&self, channel: &str, change: JoinLeave) -> Answer<Result<(), BrokerError>> {
        let (JoinLeave::Join(info) | JoinLeave::Leave(info)) = change.clone();
        let (record, channels) = {
            let state = self.state.lock();
            (state.interest.get(channel).cloned(), Arc::clone(&state.node.inner.channels))
        };
        // Without interest nobody is there to be told.
        if let Some(record) = record {
            channels.announce(&record, info, matches!(change, JoinLeave::Join(_)), None);
        }
        Answer::Now(Ok(()))
    }

    fn read(&self, channel: &str, read: Read, history: HistoryOptions) -> Answer<Result<Slice, BrokerError>> {
        let place = self.stamp();
        self.channels().history(channel, filter(read), history).map(move |history| {
            let history = history?;
            Ok(Slice { publications: history.publications, top: place(history.top) })
        })
    }

    fn forget(&self, channel: &str) -> Answer<Result<(), BrokerError>> {
        self.channels().remove_history(channel)
    }

    fn interest(&self, changes: &[(Arc<str>, Interest)]) {
        let sink = {
            let mut state = self.state.lock();
            for (channel, asked) in changes {
                match asked {
                    Interest::Wanted => state.want(channel, &self.clock),
                    Interest::Unwanted => {
                        if let Some(record) = state.interest.remove(&**channel) {
                            state.node.inner.channels.leave(&record, 0, true, self.clock.now());
                        }
                    }
                }
            }
            state.sink.clone()
        };
        let Some(sink) = sink else { return };
        changes.iter().for_each(|(channel, asked)| sink.interest(channel, *asked, Ok(())));
    }

    fn close(&self) -> Answer<()> {
        self.state.lock().sink = None;
        Answer::Now(())
    }
}

fn filter(read: Read) -> HistoryFilter {
    let count = |limit| match limit {
        Limit::All => -1,
        Limit::Most(count) => i64::try_from(count.get()).unwrap_or(i64::MAX),
    };
    let position =
        |Since { offset, epoch }| Some(Position { offset, epoch: epoch.unwrap_or_else(|| "".into()) });
    match read {
        Read::Top => HistoryFilter { limit: 0, since: None, reverse: false },
        Read::Oldest { limit } => HistoryFilter { limit: count(limit), since: None, reverse: false },
        Read::Latest { limit } => HistoryFilter { limit: count(limit), since: None, reverse: true },
        Read::After { since, limit } => {
            HistoryFilter { limit: count(limit), since: position(since), reverse: false }
        }
        Read::Before { since, limit } => {
            HistoryFilter { limit: count(limit), since: position(since), reverse: true }
        }
    }
}
