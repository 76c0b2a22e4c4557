//! A remote broker for several simulated nodes, which misbehaves by the seed.

use crate::log::{Fault, Log};
use crate::random::Random;
use bytes::Bytes;
use parking_lot::Mutex;
use spinward::answer::Answer;
use spinward::engine::broker::{
    Broker, BrokerError, BrokerEvent, BrokerSink, History, HistoryFilter, HistoryOptions, PublishOptions,
    Published,
};
use spinward::sim::give_way;
use spinward::{ClientInfo, Position, Publication};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// How often it misbehaves, in so many of 1,000 occasions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Misdeeds {
    /// A publication does not reach a node.
    pub lose: usize,
    /// A publication reaches a node twice.
    pub repeat: usize,
    /// A request fails, with or without having had its effect.
    pub refuse: usize,
    /// An answer takes its time.
    pub tarry: usize,
    /// A planted fault: a fail-over keeps the epochs.
    pub keep_epochs: bool,
    /// A planted fault: publications of a channel may change places.
    pub swap: bool,
}

/// The broker. Clones are the same one.
#[derive(Clone)]
pub struct SimBroker(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    random: Random,
    log: Log,
}

/// Each with the epoch of its stream.
type Queue = VecDeque<(Arc<str>, BrokerEvent)>;

#[derive(Default)]
struct State {
    incarnation: u64,
    channels: BTreeMap<String, Stream>,
    interest: BTreeSet<(usize, String)>,
    sinks: BTreeMap<usize, Arc<dyn BrokerSink>>,
    /// What is on its way, by node and channel.
    queues: BTreeMap<(usize, String), Queue>,
    misdeeds: Misdeeds,
}

struct Stream {
    epoch: Arc<str>,
    top: u64,
    kept: VecDeque<Arc<Publication>>,
}

/// The broker as one node has it.
struct Link {
    shared: Arc<Shared>,
    node: usize,
}

impl SimBroker {
    /// An empty broker.
    #[must_use]
    pub fn new(random: Random, log: Log, misdeeds: Misdeeds) -> Self {
        let state = State { incarnation: 1, misdeeds, ..State::default() };
        Self(Arc::new(Shared { state: Mutex::new(state), random, log }))
    }

    /// What a node of this number talks to.
    #[must_use]
    pub fn link(&self, node: usize) -> Arc<dyn Broker> {
        Arc::new(Link { shared: Arc::clone(&self.0), node })
    }

    /// How it misbehaves from here on.
    pub fn set_misdeeds(&self, misdeeds: Misdeeds) {
        self.0.state.lock().misdeeds = misdeeds;
    }

    /// Moves one publication on its way to a node, of a channel that the seed draws. Says whether there was one.
    pub fn step(&self) -> bool {
        let Shared { state, random, log } = &*self.0;
        let (sink, channel, epoch, event, times) = {
            let mut state = state.lock();
            let waiting: Vec<_> = state
                .queues
                .iter()
                .filter(|((node, _), queue)| {
                    !queue.is_empty() && state.sinks.get(node).is_some_and(|sink| sink.has_room())
                })
                .map(|(key, _)| key.clone())
                .collect();
            if waiting.is_empty() {
                return false;
            }
            let (node, channel) = random.one_of(&waiting).clone();
            let Misdeeds { lose, repeat, swap, .. } = state.misdeeds;
            let Some(queue) = state.queues.get_mut(&(node, channel.clone())) else { return false };
            if swap && queue.len() > 1 {
                queue.swap(0, 1);
            }
            let Some((epoch, event)) = queue.pop_front() else { return false };
            let stored = match &event {
                BrokerEvent::Publication(publication) => publication.offset,
                BrokerEvent::Join(_) | BrokerEvent::Leave(_) => 0,
            };
            if stored > 0 && random.permille(lose) {
                log.fault(Fault::Lost { node, ch: channel, offset: stored });
                return true;
            }
            let twice = stored > 0 && random.permille(repeat);
            if twice {
                log.fault(Fault::Repeated { node, ch: channel.clone() });
            }
            let Some(sink) = state.sinks.get(&node).cloned() else { return false };
            (sink, channel, epoch, event, if twice { 2 } else { 1 })
        };
        for _ in 0..times {
            sink.deliver(&channel, &epoch, event.clone());
        }
        true
    }

    /// A replica takes over that lacks the newest publications, acknowledged as they are.
    pub fn fail_over(&self) {
        let Shared { state, random, log } = &*self.0;
        log.fault(Fault::Failover);
        let mut state = state.lock();
        state.incarnation += 1;
        let incarnation = state.incarnation;
        let keep = state.misdeeds.keep_epochs;
        for (number, stream) in state.channels.values_mut().enumerate() {
            for _ in 0..random.below(4) {
                if stream.kept.pop_back().is_some() {
                    stream.top -= 1;
                }
            }
            if !keep {
                stream.epoch = format!("{incarnation}.{number}").into();
            }
        }
        for queue in state.queues.values_mut() {
            if random.permille(500) {
                queue.clear();
            }
        }
    }
}

impl State {
    fn stream(&mut self, channel: &str) -> &mut Stream {
        let epoch = format!("{}.n{}", self.incarnation, self.channels.len());
        self.channels.entry(channel.to_owned()).or_insert_with(|| Stream {
            epoch: epoch.into(),
            top: 0,
            kept: VecDeque::new(),
        })
    }

    fn send(&mut self, channel: &str, epoch: &Arc<str>, event: &BrokerEvent) {
        for (node, name) in &self.interest {
            if name == channel {
                let queue = self.queues.entry((*node, name.clone())).or_default();
                queue.push_back((Arc::clone(epoch), event.clone()));
            }
        }
    }

    fn publish(&mut self, channel: &str, data: Bytes, options: PublishOptions) -> Published {
        let mut publication = Publication {
            data,
            info: options.info,
            tags: options.tags,
            delta: options.delta,
            ..Publication::default()
        };
        if !options.history.enabled() {
            self.send(channel, &"".into(), &BrokerEvent::Publication(Arc::new(publication)));
            return Published::default();
        }
        let stream = self.stream(channel);
        stream.top += 1;
        publication.offset = stream.top;
        let publication = Arc::new(publication);
        stream.kept.push_back(Arc::clone(&publication));
        while stream.kept.len() > options.history.size {
            stream.kept.pop_front();
        }
        let position = Position { offset: stream.top, epoch: Arc::clone(&stream.epoch) };
        self.send(channel, &position.epoch, &BrokerEvent::Publication(publication));
        Published { position, suppressed: false }
    }

    fn history(&mut self, channel: &str, filter: &HistoryFilter) -> Result<History, BrokerError> {
        let stream = self.stream(channel);
        let top = Position { offset: stream.top, epoch: Arc::clone(&stream.epoch) };
        let since = filter.since.as_ref();
        if since.is_some_and(|since| !since.epoch.is_empty() && since.epoch != top.epoch) {
            return Err(BrokerError::UnrecoverablePosition);
        }
        let limit = usize::try_from(filter.limit).unwrap_or(usize::MAX);
        let kept = stream.kept.iter();
        let publications = if filter.reverse {
            let below = since.map_or(u64::MAX, |since| since.offset);
            kept.rev().filter(|one| one.offset < below).take(limit).cloned().collect()
        } else {
            let above = since.map_or(0, |since| since.offset);
            kept.filter(|one| one.offset > above).take(limit).cloned().collect()
        };
        Ok(History { publications, top })
    }
}

impl Link {
    /// Answers by the seed: now or later, right or with an error, before or after the effect.
    fn answer<T: Send + 'static>(
        &self,
        channel: &str,
        effect: impl FnOnce(&mut State) -> Result<T, BrokerError> + Send + 'static,
    ) -> Answer<Result<T, BrokerError>> {
        let Shared { state, random, log } = &*self.shared;
        let Misdeeds { refuse, tarry, .. } = state.lock().misdeeds;
        let (refused, done) = (random.permille(refuse), random.permille(500));
        if refused {
            log.fault(Fault::Refused { node: self.node, ch: channel.to_owned() });
        }
        let failed = || BrokerError::Failed("refused by the seed".into());
        let act = move |shared: &Shared| match (refused, done) {
            (false, _) => effect(&mut shared.state.lock()),
            (true, true) => effect(&mut shared.state.lock()).and(Err(failed())),
            (true, false) => Err(failed()),
        };
        if !random.permille(tarry) {
            return Answer::Now(act(&self.shared));
        }
        let (before, after) = (random.below(6) as u32, random.below(6) as u32);
        let shared = Arc::clone(&self.shared);
        Answer::later(async move {
            give_way(before).await;
            let result = act(&shared);
            give_way(after).await;
            result
        })
    }
}

impl Broker for Link {
    fn attach(&self, sink: Arc<dyn BrokerSink>) {
        self.shared.state.lock().sinks.insert(self.node, sink);
    }

    fn incarnation(&self) -> Arc<str> {
        self.shared.state.lock().incarnation.to_string().into()
    }

    fn publish(
        &self,
        channel: &str,
        data: Bytes,
        options: PublishOptions,
    ) -> Answer<Result<Published, BrokerError>> {
        let name = channel.to_owned();
        self.answer(channel, move |state| Ok(state.publish(&name, data, options)))
    }

    fn publish_join_leave(
        &self,
        channel: &str,
        info: Arc<ClientInfo>,
        join: bool,
    ) -> Answer<Result<(), BrokerError>> {
        let name = channel.to_owned();
        let event = if join { BrokerEvent::Join(info) } else { BrokerEvent::Leave(info) };
        self.answer(channel, move |state| {
            state.send(&name, &"".into(), &event);
            Ok(())
        })
    }

    fn history(
        &self,
        channel: &str,
        filter: HistoryFilter,
        _: HistoryOptions,
    ) -> Answer<Result<History, BrokerError>> {
        let name = channel.to_owned();
        self.answer(channel, move |state| state.history(&name, &filter))
    }

    fn remove_history(&self, channel: &str) -> Answer<Result<(), BrokerError>> {
        let name = channel.to_owned();
        self.answer(channel, move |state| {
            state.stream(&name).kept.clear();
            Ok(())
        })
    }

    fn subscribe(&self, channel: &str) -> Answer<Result<(), BrokerError>> {
        let key = (self.node, channel.to_owned());
        self.answer(channel, move |state| {
            state.interest.insert(key);
            Ok(())
        })
    }

    fn unsubscribe(&self, channel: &str) -> Answer<Result<(), BrokerError>> {
        let key = (self.node, channel.to_owned());
        self.answer(channel, move |state| {
            state.interest.remove(&key);
            state.queues.remove(&key);
            Ok(())
        })
    }
}
