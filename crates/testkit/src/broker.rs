//! A remote broker for several simulated nodes, which misbehaves by the seed.

use crate::log::{Fault, Log};
use crate::random::Random;
use bytes::Bytes;
use parking_lot::Mutex;
use spinward::Publication;
use spinward::answer::Answer;
use spinward::engine::broker::{
    Broker, BrokerError, Event, HistoryOptions, Interest, JoinLeave, Place, PublishOptions, Read, Receipt,
    Scope, Sink, Slice, StreamId,
};
use spinward::sim::{Tasks, give_way};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};

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
    /// A planted fault: a fail-over is not told, and the incarnation stays.
    pub keep_incarnation: bool,
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
    tasks: Tasks,
}

/// Each with its stream, if it was stored.
type Queue = VecDeque<(Option<StreamId>, Event)>;

#[derive(Default)]
struct State {
    incarnation: u64,
    channels: BTreeMap<String, Stream>,
    /// Receipts by channel and idempotency key. A run is too short for them to expire.
    keys: BTreeMap<(String, String), Receipt>,
    interest: BTreeSet<(usize, String)>,
    sinks: BTreeMap<usize, Sink>,
    /// Times that the connection of a node broke.
    interruptions: BTreeMap<usize, u64>,
    /// Reads that were asked for, by channel.
    reads: BTreeMap<String, u64>,
    /// While it is stopped, those who wait until it goes on.
    stopped: Option<Vec<Waker>>,
    /// Changes of interest that are not answered, by node and channel: they have their effect in this order.
    changes: BTreeMap<(usize, String), Changes>,
    /// What is on its way, by node and channel.
    queues: BTreeMap<(usize, String), Queue>,
    misdeeds: Misdeeds,
}

#[derive(Default)]
struct Changes {
    next: u64,
    done: u64,
    waiting: Vec<Waker>,
}

struct Stream {
    id: StreamId,
    /// The last version, and its epoch.
    version: (u64, String),
    top: u64,
    kept: VecDeque<Arc<Publication>>,
}

/// The broker as one node has it.
#[derive(Clone)]
struct Link {
    shared: Arc<Shared>,
    node: usize,
}

impl SimBroker {
    /// An empty broker.
    #[must_use]
    pub fn new(random: Random, log: Log, misdeeds: Misdeeds, tasks: Tasks) -> Self {
        let state = State { incarnation: 1, misdeeds, ..State::default() };
        Self(Arc::new(Shared { state: Mutex::new(state), random, log, tasks }))
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

    /// Returns the number of reads of a channel that nodes have asked for.
    #[must_use]
    pub fn reads(&self, channel: &str) -> u64 {
        self.0.state.lock().reads.get(channel).copied().unwrap_or_default()
    }

    /// Stops: nothing is answered, and nothing is delivered. What it is asked meanwhile has its effect once it goes on.
    pub fn stop(&self) {
        self.0.state.lock().stopped.get_or_insert_default();
    }

    /// Goes on after a stop.
    pub fn go_on(&self) {
        let waiting = self.0.state.lock().stopped.take();
        waiting.into_iter().flatten().for_each(Waker::wake);
    }

    /// Returns the channels that it delivers to a node.
    #[must_use]
    pub fn interest(&self, node: usize) -> BTreeSet<String> {
        let state = self.0.state.lock();
        state.interest.iter().filter(|(of, _)| *of == node).map(|(_, channel)| channel.clone()).collect()
    }

    /// Forgets a node that is gone.
    pub fn forget(&self, node: usize) {
        let mut state = self.0.state.lock();
        state.sinks.remove(&node);
        state.interest.retain(|(of, _)| *of != node);
        state.queues.retain(|(of, _), _| *of != node);
    }

    /// Moves one publication on its way to a node, of a channel that the seed draws. Says whether there was one.
    pub fn step(&self) -> bool {
        let Shared { state, random, log, .. } = &*self.0;
        let (sink, channel, stream, event, times) = {
            let mut state = state.lock();
            if state.stopped.is_some() {
                return false;
            }
            let waiting: Vec<_> = state
                .queues
                .iter()
                .filter(|((node, channel), queue)| {
                    !queue.is_empty() && state.sinks.get(node).is_some_and(|sink| sink.has_room(channel))
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
            let Some((stream, event)) = queue.pop_front() else { return false };
            let stored = match &event {
                Event::Publication(publication) => publication.offset,
                Event::JoinLeave(_) => 0,
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
            (sink, channel, stream, event, if twice { 2 } else { 1 })
        };
        for _ in 0..times {
            sink.deliver(&channel, stream.as_ref(), event.clone());
        }
        true
    }

    /// A replica takes over that lacks the newest publications, acknowledged as they are.
    pub fn fail_over(&self) {
        let Shared { state, random, log, .. } = &*self.0;
        log.fault(Fault::Failover);
        let told = {
            let mut state = state.lock();
            state.fail_over(random);
            let told = random.permille(500) && !state.misdeeds.keep_incarnation;
            told.then(|| (state.incarnation(), state.sinks.values().cloned().collect::<Vec<_>>()))
        };
        if let Some((incarnation, sinks)) = told {
            sinks.iter().for_each(|sink| sink.replaced(Scope::All, &incarnation));
        }
    }

    /// The connection of a node breaks: what is on its way to it is lost. It says so once it has connected again.
    pub fn interrupt(&self, node: usize) {
        let Shared { state, log, .. } = &*self.0;
        log.fault(Fault::Interrupted { node });
        let sink = {
            let mut state = state.lock();
            *state.interruptions.entry(node).or_default() += 1;
            for ((_, channel), queue) in state.queues.iter_mut().filter(|((of, _), _)| *of == node) {
                for (_, event) in queue.drain(..) {
                    if let Event::Publication(publication) = event
                        && publication.offset > 0
                    {
                        log.fault(Fault::Lost { node, ch: channel.clone(), offset: publication.offset });
                    }
                }
            }
            state.sinks.get(&node).cloned()
        };
        let Some(sink) = sink else { return };
        // It asks again for all that is wanted; no more than that was delivered before.
        let wanted = sink.wanted();
        state
            .lock()
            .interest
            .retain(|(of, channel)| *of != node || wanted.iter().any(|one| **one == **channel));
        sink.interrupted(Scope::All);
    }
}

impl State {
    fn incarnation(&self) -> Arc<str> {
        format!("i{}", self.incarnation).into()
    }

    fn fail_over(&mut self, random: &Random) {
        if !self.misdeeds.keep_incarnation {
            self.incarnation += 1;
        }
        let incarnation = self.incarnation();
        for stream in self.channels.values_mut() {
            for _ in 0..random.below(4) {
                if stream.kept.pop_back().is_some() {
                    stream.top -= 1;
                }
            }
            // The replica knows the stream by the same name.
            stream.id.incarnation = Arc::clone(&incarnation);
        }
        for queue in self.queues.values_mut() {
            if random.permille(500) {
                queue.clear();
            }
        }
    }
}

impl State {
    fn stream(&mut self, channel: &str) -> &mut Stream {
        let epoch = format!("n{}", self.channels.len()).into();
        let id = StreamId { incarnation: self.incarnation(), epoch };
        self.channels.entry(channel.to_owned()).or_insert_with(|| Stream {
            id,
            version: (0, String::new()),
            top: 0,
            kept: VecDeque::new(),
        })
    }

    fn send(&mut self, channel: &str, stream: Option<&StreamId>, event: &Event) {
        for (node, name) in &self.interest {
            if name == channel {
                let queue = self.queues.entry((*node, name.clone())).or_default();
                queue.push_back((stream.cloned(), event.clone()));
            }
        }
    }

    fn publish(&mut self, channel: &str, data: Bytes, options: PublishOptions) -> Receipt {
        let key = (channel.to_owned(), options.idempotency_key.clone());
        if let Some(receipt) = self.keys.get(&key) {
            return match receipt {
                Receipt::Stored(place) => Receipt::Suppressed(Some(place.clone())),
                Receipt::Sent => Receipt::Suppressed(None),
                Receipt::Suppressed(place) => Receipt::Suppressed(place.clone()),
            };
        }
        let receipt = self.publish_new(channel, data, options);
        if !key.1.is_empty() {
            self.keys.insert(key, receipt.clone());
        }
        receipt
    }

    fn publish_new(&mut self, channel: &str, data: Bytes, options: PublishOptions) -> Receipt {
        let mut publication = Publication {
            data,
            version: options.version,
            info: options.info,
            tags: options.tags,
            delta: options.delta,
            ..Publication::default()
        };
        if !options.history.enabled() {
            self.send(channel, None, &Event::Publication(Arc::new(publication)));
            return Receipt::Sent;
        }
        let stream = self.stream(channel);
        let (last, epoch) = &stream.version;
        let comparable = options.version_epoch.is_empty() || options.version_epoch == *epoch;
        if options.version > 0 && comparable && options.version <= *last {
            return Receipt::Suppressed(Some(stream.place()));
        }
        stream.version = (options.version, options.version_epoch.clone());
        stream.top += 1;
        publication.offset = stream.top;
        let publication = Arc::new(publication);
        stream.kept.push_back(Arc::clone(&publication));
        while stream.kept.len() > options.history.size {
            stream.kept.pop_front();
        }
        let place = stream.place();
        self.send(channel, Some(&place.stream), &Event::Publication(publication));
        Receipt::Stored(place)
    }

    fn read(&mut self, channel: &str, read: &Read) -> Result<Slice, BrokerError> {
        let stream = self.stream(channel);
        let top = stream.place();
        let since = read.since();
        if since.and_then(|since| since.epoch.as_ref()).is_some_and(|epoch| *epoch != top.stream.epoch) {
            return Err(BrokerError::UnrecoverablePosition);
        }
        let offset = since.map(|since| since.offset);
        let kept = stream.kept.iter();
        let publications = match read {
            Read::Top => Vec::new(),
            Read::Oldest { limit } | Read::After { limit, .. } => {
                let above = offset.unwrap_or(0);
                kept.filter(|one| one.offset > above).take(limit.count()).cloned().collect()
            }
            Read::Latest { limit } | Read::Before { limit, .. } => {
                let newest = kept.rev().filter(|one| offset.is_none_or(|below| one.offset < below));
                newest.take(limit.count()).cloned().collect()
            }
        };
        Ok(Slice { publications, top })
    }
}

impl Stream {
    fn place(&self) -> Place {
        Place { stream: self.id.clone(), offset: self.top }
    }
}

impl Shared {
    /// Ready while it is not stopped.
    async fn running(&self) {
        poll_fn(|cx| match &mut self.state.lock().stopped {
            None => Poll::Ready(()),
            Some(waiting) => {
                waiting.push(cx.waker().clone());
                Poll::Pending
            }
        })
        .await;
    }

    /// Returns true once all changes of interest before this one are answered.
    fn is_turn(&self, key: &(usize, String), number: u64) -> bool {
        self.state.lock().changes.get(key).is_none_or(|changes| changes.done >= number)
    }

    /// Ready once that is true.
    async fn turn(&self, key: &(usize, String), number: u64) {
        poll_fn(|cx| {
            if self.is_turn(key, number) {
                return Poll::Ready(());
            }
            if let Some(changes) = self.state.lock().changes.get_mut(key) {
                changes.waiting.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    /// A change of interest is answered.
    fn end_turn(&self, key: &(usize, String)) {
        let mut state = self.state.lock();
        let Some(changes) = state.changes.get_mut(key) else { return };
        changes.done += 1;
        changes.waiting.drain(..).for_each(Waker::wake);
        if changes.done == changes.next {
            state.changes.remove(key);
        }
    }
}

impl Link {
    /// Answers by the seed: now or later, right or with an error, before or after the effect.
    fn answer<T: Send + 'static>(
        &self,
        channel: &str,
        effect: impl FnOnce(&mut State) -> Result<T, BrokerError> + Send + 'static,
    ) -> Answer<Result<T, BrokerError>> {
        let Shared { state, random, log, .. } = &*self.shared;
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
        let tarries = random.permille(tarry);
        if !tarries && state.lock().stopped.is_none() {
            return Answer::Now(act(&self.shared));
        }
        let (before, after) = if tarries { (random.below(6) as u32, random.below(6) as u32) } else { (0, 0) };
        let shared = Arc::clone(&self.shared);
        Answer::later(async move {
            give_way(before).await;
            shared.running().await;
            let result = act(&shared);
            give_way(after).await;
            result
        })
    }
}

impl Broker for Link {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn start(&self, sink: Sink) -> Result<(), BrokerError> {
        self.shared.state.lock().sinks.insert(self.node, sink);
        Ok(())
    }

    fn incarnation(&self, _: &str) -> Arc<str> {
        self.shared.state.lock().incarnation()
    }

    fn publish(
        &self,
        channel: &str,
        data: Bytes,
        options: PublishOptions,
    ) -> Answer<Result<Receipt, BrokerError>> {
        let name = channel.to_owned();
        self.answer(channel, move |state| Ok(state.publish(&name, data, options)))
    }

    fn announce(&self, channel: &str, change: JoinLeave) -> Answer<Result<(), BrokerError>> {
        let name = channel.to_owned();
        self.answer(channel, move |state| {
            state.send(&name, None, &Event::JoinLeave(change));
            Ok(())
        })
    }

    fn read(&self, channel: &str, read: Read, _: HistoryOptions) -> Answer<Result<Slice, BrokerError>> {
        let name = channel.to_owned();
        *self.shared.state.lock().reads.entry(name.clone()).or_default() += 1;
        self.answer(channel, move |state| state.read(&name, &read))
    }

    fn forget(&self, channel: &str) -> Answer<Result<(), BrokerError>> {
        let name = channel.to_owned();
        self.answer(channel, move |state| {
            state.stream(&name).kept.clear();
            Ok(())
        })
    }

    fn interest(&self, changes: &[(Arc<str>, Interest)]) {
        for (channel, asked) in changes {
            let (key, asked) = ((self.node, channel.to_string()), *asked);
            let number = {
                let mut state = self.shared.state.lock();
                let changes = state.changes.entry(key.clone()).or_default();
                changes.next += 1;
                changes.next - 1
            };
            let (link, name, of) = (self.clone(), Arc::clone(channel), key.clone());
            let change = move || {
                link.answer(&name, move |state| {
                    if asked == Interest::Wanted {
                        state.interest.insert(of);
                    } else {
                        state.interest.remove(&of);
                        state.queues.remove(&of);
                    }
                    Ok(())
                })
            };
            // A former request for the channel may be on its way still, if it was given up.
            let answer = if self.shared.is_turn(&key, number) {
                change()
            } else {
                let (shared, key) = (Arc::clone(&self.shared), key.clone());
                Answer::later(async move {
                    shared.turn(&key, number).await;
                    change().wait().await
                })
            };
            let sink = self.shared.state.lock().sinks.get(&self.node).cloned();
            let Some(sink) = sink else { continue };
            let channel = Arc::clone(channel);
            match answer {
                Answer::Now(result) => {
                    self.shared.end_turn(&key);
                    sink.interest(&channel, asked, result);
                }
                Answer::Later(future) => {
                    let (shared, node) = (Arc::clone(&self.shared), self.node);
                    let interruptions = move |shared: &Shared| {
                        shared.state.lock().interruptions.get(&node).copied().unwrap_or_default()
                    };
                    let before = interruptions(&shared);
                    self.shared.tasks.spawn(async move {
                        let result = future.await;
                        // What was asked for before the connection broke may have been dropped with it.
                        let broken = asked == Interest::Wanted && interruptions(&shared) != before;
                        let lost = || Err(BrokerError::Failed("the connection broke".into()));
                        sink.interest(&channel, asked, if broken { lost() } else { result });
                        shared.end_turn(&key);
                    })
                }
            }
        }
    }

    fn close(&self) -> Answer<()> {
        self.shared.state.lock().sinks.remove(&self.node);
        Answer::Now(())
    }
}
