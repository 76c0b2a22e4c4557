//! The memory engine: streams in the channel records themselves, so that reading history and starting a
//! subscription are one step under one lock.

use crate::channel::delivery::Delivery;
use crate::channel::local::start::{StartState, filtered, start_from_cache};
use crate::channel::params::SubscribeParams;
use crate::channel::record::{Channel, ChannelState, EngineId};
use crate::clock::Now;
use crate::engine::broker::{BrokerError, History, HistoryFilter, HistoryOptions, PublishOptions, Published};
use crate::engine::memory::epochs::{self, Epochs};
use crate::engine::memory::expiry::ExpiryQueue;
use crate::engine::memory::idempotency::Idempotency;
use crate::engine::memory::stream::{Appended, NEVER, Stream};
use crate::fault::{self, Fault};
use crate::hub::Hub;
use crate::id::Entropy;
use crate::mailbox::admission::{Full, Permit, Ticket};
use crate::mailbox::fan_out::Wake;
use crate::publication::{Position, Publication};
use bytes::Bytes;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Parts of the table of idempotency keys.
const KEY_PARTS: usize = 16;

/// Parts of the expiry queue. So many that one of them grows within milliseconds, even with millions of streams.
const QUEUES: usize = 64;

/// Channels that are taken out of a queue under one lock.
const BATCH: usize = 32;

/// Channels that are due which a publish looks at when it adds one to the queue. A channel comes up twice, for its
/// publications and for its position, so that publishers pay for what they bring, and no backlog grows however fast
/// they are.
const PAID: usize = 3;

/// Milliseconds that a stream without publications outlives its last use if its position could not be derived again.
const LINGER_MS: u64 = 60_000;

/// State of the memory engine beside the streams, which are in the records of their channels.
pub(crate) struct Memory {
    id: EngineId,
    epochs: Epochs,
    idempotency: Box<[Mutex<Idempotency>]>,
    /// Channels with a stream, by when to look at them.
    queues: Box<[Mutex<ExpiryQueue<Arc<Channel>>>]>,
    /// The queue that the next turn of expiry begins with.
    turn: AtomicUsize,
}

impl Memory {
    pub(crate) fn new(id: EngineId, entropy: &Entropy) -> Self {
        Self::with_places(id, entropy, epochs::PLACES)
    }

    fn with_places(id: EngineId, entropy: &Entropy, places: usize) -> Self {
        let seed = entropy.number();
        let share = Idempotency::DEFAULT_MAX_BYTES / KEY_PARTS;
        Self {
            id,
            epochs: Epochs::new(entropy.number() >> 28, entropy.number(), places),
            idempotency: (0..KEY_PARTS).map(|_| Mutex::new(Idempotency::new(seed, share))).collect(),
            queues: (0..QUEUES).map(|_| Mutex::new(ExpiryQueue::new(seed))).collect(),
            turn: AtomicUsize::new(0),
        }
    }

    /// The idempotency keys of a channel: the low bits of an id are those of the name.
    fn keys(&self, channel: &Channel) -> &Mutex<Idempotency> {
        &self.idempotency[channel.id as usize % KEY_PARTS]
    }

    fn queue(&self, channel: &Channel) -> &Mutex<ExpiryQueue<Arc<Channel>>> {
        &self.queues[channel.id as usize % QUEUES]
    }

    /// The stream of a channel, made if need be; one whose position has expired is replaced by a new one.
    pub(crate) fn stream<'a>(
        &self,
        channel: &Channel,
        state: &'a mut ChannelState,
        now_ms: u64,
    ) -> &'a mut Stream {
        self.drop_expired(channel, state, now_ms);
        state.stream.get_or_insert_with(|| {
            let first = self.epochs.first(&channel.name);
            let epoch = self.epochs.epoch(&channel.name, self.epochs.current());
            Box::new(Stream::new(epoch, first))
        })
    }

    /// Drops a stream whose position has expired. While anyone is subscribed the position is in use: a new one must
    /// not begin behind their backs.
    fn drop_expired(&self, channel: &Channel, state: &mut ChannelState, now_ms: u64) {
        let unused = state.subscribers == 0;
        if let Some(stream) = state.stream.take_if(|stream| unused && stream.expires_at() <= now_ms)
            && !stream.is_unwritten()
        {
            self.epochs.end(&channel.name, stream.epoch(), now_ms);
        }
    }

    /// The stream that a channel without one shows: at offset 0, and not kept.
    ///
    /// `era` is one that was current before the channel was found to have none, so that a stream made since is not
    /// of an earlier one. `None`: that era is over for this channel by now, so look again.
    fn unwritten(&self, name: &str, era: u64) -> Option<Stream> {
        let first = self.epochs.first(name);
        (era >= first).then(|| Stream::new(self.epochs.epoch(name, era), first))
    }

    /// Has the channel looked at when its stream is due. One that nobody needs is dropped. To be called after every
    /// use of a stream, once the subscriber that it was for is counted.
    pub(crate) fn settle(&self, channel: &Arc<Channel>, state: &mut ChannelState, now_ms: u64) {
        self.settle_and_take(channel, state, now_ms, 0);
    }

    /// The same, and takes out at most `max` channels that are due in exchange for one that was added, to be looked at
    /// once the record is unlocked.
    fn settle_and_take(
        &self,
        channel: &Arc<Channel>,
        state: &mut ChannelState,
        now_ms: u64,
        max: usize,
    ) -> Vec<Arc<Channel>> {
        let used = state.subscribers > 0;
        let Some(stream) = &mut state.stream else { return Vec::new() };
        if !used && stream.is_unwritten() {
            let era = epochs::era(stream.epoch());
            if era.is_some_and(|era| era >= self.epochs.first(&channel.name)) {
                // A client that returns with its position finds the same history without it.
                state.stream = None;
                self.queue(channel).lock().cancel(channel.id);
                return Vec::new();
            }
            stream.expire_by(now_ms.saturating_add(LINGER_MS));
        }
        // The position of a stream in use is looked at again when the last subscriber leaves.
        let due =
            stream.entries_expire_at().unwrap_or(NEVER).min(if used { NEVER } else { stream.expires_at() });
        if due == NEVER {
            return Vec::new();
        }
        let mut queue = self.queue(channel).lock();
        let longer = queue.schedule(channel.id, due, || Arc::clone(channel));
        if longer && max > 0 { queue.pop_due(now_ms, max) } else { Vec::new() }
    }

    /// The last subscriber has left: the position is kept for its time from now on.
    pub(crate) fn left(&self, channel: &Arc<Channel>, state: &mut ChannelState, now_ms: u64) {
        if let Some(stream) = &mut state.stream {
            stream.touch_again(now_ms);
            self.settle(channel, state, now_ms);
        }
    }

    /// Looks at a channel that has come up in its queue.
    fn look_at(&self, channel: &Arc<Channel>, now_ms: u64) {
        let mut state = channel.lock();
        if let Some(stream) = &mut state.stream {
            stream.expire_entries(now_ms);
        }
        self.drop_expired(channel, &mut state, now_ms);
        self.settle(channel, &mut state, now_ms);
    }

    /// Returns the time at which the next channel or key falls due.
    fn next_due(&self) -> Option<u64> {
        let channels = self.queues.iter().filter_map(|queue| queue.lock().next_due());
        channels.chain(self.idempotency.iter().filter_map(|keys| keys.lock().next_due())).min()
    }
}

/// A publication that was not admitted.
pub(crate) struct NotAdmitted {
    /// The place of its publisher, if there is one.
    pub(crate) ticket: Result<Ticket, Full>,
    pub(crate) data: Bytes,
    pub(crate) options: PublishOptions,
}

impl NotAdmitted {
    fn new(ticket: Result<Ticket, Full>, publication: Publication, options: PublishOptions) -> Box<Self> {
        let Publication { data, info, tags, .. } = publication;
        Box::new(Self { ticket, data, options: PublishOptions { info, tags, ..options } })
    }
}

impl Memory {
    /// Publishes with the memory engine, or takes a place among those who wait to. With a permit it is never made
    /// to wait.
    pub(crate) fn publish(
        &self,
        hub: &Hub,
        name: &str,
        data: Bytes,
        mut options: PublishOptions,
        mut permit: Option<Permit>,
        now: Now,
    ) -> Result<Published, Box<NotAdmitted>> {
        options.history = hub.with_meta_ttl(options.history);
        let publication = Publication {
            data,
            info: options.info.take(),
            tags: options.tags.take(),
            offset: 0,
            time: now.wall,
            version: options.version,
            channel: None,
            delta: options.delta,
        };
        if !options.history.enabled() && options.idempotency_key.is_empty() {
            // Nobody here and nothing to keep: no record is made.
            let done = hub.directory.with_existing(name, |channel, state| {
                if let Err(ticket) = admit(hub, channel, state, &publication, permit.as_mut()) {
                    return Err(NotAdmitted::new(ticket, publication, options));
                }
                Ok(deliver(hub, channel, state, publication))
            });
            if let Some(wake) = done.transpose()? {
                wake.wake(&hub.inboxes);
            }
            return Ok(Published::default());
        }
        let done = hub.directory.with(name, self.id, |channel, state| {
            let key = &options.idempotency_key;
            let known =
                (!key.is_empty()).then(|| self.keys(channel).lock().get(name, key, now.mono)).flatten();
            let (published, wake, due) = match known {
                Some(published) => (published, None, Vec::new()),
                None => {
                    if let Err(ticket) = admit(hub, channel, state, &publication, permit.as_mut()) {
                        return Err(NotAdmitted::new(ticket, publication, options));
                    }
                    let (published, wake) =
                        self.store_and_deliver(hub, channel, state, publication, &options, now);
                    if !key.is_empty() {
                        self.keys(channel).lock().put(name, key, &published, now.mono);
                    }
                    (published, wake, self.settle_and_take(channel, state, now.mono, PAID))
                }
            };
            Ok((published, wake, state.is_idle().then(|| Arc::clone(channel)), due))
        });
        let (published, wake, unused, due) = done?;
        if let Some(wake) = wake {
            wake.wake(&hub.inboxes);
        }
        self.expire_channels(hub, due, now);
        // It was made for the key alone, which does not need it any more.
        if let Some(channel) = unused {
            hub.directory.release(&channel);
        }
        Ok(published)
    }

    fn store_and_deliver(
        &self,
        hub: &Hub,
        channel: &Arc<Channel>,
        state: &mut ChannelState,
        mut publication: Publication,
        options: &PublishOptions,
        now: Now,
    ) -> (Published, Option<Wake>) {
        if !options.history.enabled() {
            return (Published::default(), Some(deliver(hub, channel, state, publication)));
        }
        let stream = self.stream(channel, state, now.mono);
        // The base of a patch is the publication before in the stream, where that is still kept.
        publication.delta = publication.delta && stream.latest(now.mono).is_some();
        match stream.publish(publication, options, now.mono, now.wall) {
            Appended::Suppressed(position) => (Published { position, suppressed: true }, None),
            Appended::Stored(publication) => {
                let position = Position { offset: publication.offset, epoch: stream.top().epoch };
                let epoch = Arc::clone(&position.epoch);
                let wake = channel
                    .deliver(state, &hub.admission, |seq| Delivery::new(publication, seq, Some(epoch)));
                (Published { position, suppressed: false }, Some(wake))
            }
        }
    }

    /// Reads a slice of a stream of the memory engine.
    pub(crate) fn history(
        &self,
        hub: &Hub,
        name: &str,
        filter: &HistoryFilter,
        options: HistoryOptions,
        now: Now,
    ) -> Result<History, BrokerError> {
        loop {
            let era = self.epochs.current();
            let kept = hub.directory.with_existing(name, |channel, state| {
                self.drop_expired(channel, state, now.mono);
                let stream = state.stream.as_mut()?;
                stream.touch(options.meta_ttl, now.mono);
                let history = stream.read(filter, now.mono);
                self.settle(channel, state, now.mono);
                Some((history, state.is_idle().then(|| Arc::clone(channel))))
            });
            if let Some((history, unused)) = kept.flatten() {
                if let Some(channel) = unused {
                    hub.directory.release(&channel);
                }
                return history;
            }
            if let Some(mut stream) = self.unwritten(name, era) {
                return stream.read(filter, now.mono);
            }
        }
    }

    /// Drops the publications of a stream of the memory engine, and keeps its position.
    pub(crate) fn remove_history(&self, hub: &Hub, name: &str) {
        hub.directory.with_existing(name, |_, state| {
            if let Some(stream) = &mut state.stream {
                stream.remove_history();
            }
        });
    }

    /// Drops what has expired, of about `max` channels. Returns when there is more to do, in milliseconds of the
    /// monotonic clock: at once, where the present is not later than that.
    pub(crate) fn expire(&self, hub: &Hub, now: Now, max: usize) -> Option<u64> {
        self.epochs.tick(now.mono);
        for keys in &self.idempotency {
            keys.lock().forget_expired(now.mono, BATCH);
        }
        let mut left = max;
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        for queue in (0..QUEUES).map(|at| &self.queues[(first + at) % QUEUES]) {
            while left > 0 {
                let due = queue.lock().pop_due(now.mono, BATCH.min(left));
                if due.is_empty() {
                    break;
                }
                left -= due.len();
                self.expire_channels(hub, due, now);
            }
        }
        self.next_due()
    }

    fn expire_channels(&self, hub: &Hub, due: Vec<Arc<Channel>>, now: Now) {
        for channel in due {
            self.look_at(&channel, now.mono);
            hub.directory.release(&channel);
        }
    }

    /// A subscriber has been counted in the record. Returns its start.
    pub(super) fn enter(
        &self,
        record: &Arc<Channel>,
        state: &mut ChannelState,
        params: &SubscribeParams,
        history: HistoryOptions,
        now: Now,
    ) -> StartState {
        let start = if params.positioned {
            self.start(record, state, params, history, now)
        } else {
            StartState::default()
        };
        self.settle(record, state, now.mono);
        start
    }

    fn start(
        &self,
        record: &Channel,
        state: &mut ChannelState,
        params: &SubscribeParams,
        history: HistoryOptions,
        now: Now,
    ) -> StartState {
        let stream = self.stream(record, state, now.mono);
        stream.touch(history.meta_ttl, now.mono);
        match &params.recover {
            None => StartState { top: stream.top(), ..StartState::default() },
            Some(recover) if recover.cache => start_from_cache(stream, recover, params.filter.as_ref(), now),
            Some(recover) => {
                let found =
                    stream.recover(recover.since.offset, &recover.since.epoch, recover.limit, now.mono);
                StartState {
                    top: stream.top(),
                    last: found.publications.last().cloned(),
                    publications: filtered(found.publications, params.filter.as_ref()),
                    recovered: found.complete || fault::holds(Fault::FalseRecovered),
                }
            }
        }
    }
}

/// Admits a publication to the queue of a channel, or returns a place to wait, unless too many do.
fn admit(
    hub: &Hub,
    channel: &Arc<Channel>,
    state: &mut ChannelState,
    publication: &Publication,
    permit: Option<&mut Permit>,
) -> Result<(), Result<Ticket, Full>> {
    if let Some(permit) = permit {
        permit.spend(channel, state);
        return Ok(());
    }
    // Nothing to deliver, and nobody to be served first: the usual case of a channel without subscribers.
    if state.shards.is_empty() && !hub.admission.is_waiting() {
        return Ok(());
    }
    let bytes = publication.weight();
    if hub.admission.admits(channel, state, state.share(&hub.admission, bytes)) {
        return Ok(());
    }
    Err(hub.admission.wait(channel, state, bytes))
}

/// Delivers a publication that is not stored.
fn deliver(hub: &Hub, channel: &Arc<Channel>, state: &mut ChannelState, publication: Publication) -> Wake {
    channel.deliver(state, &hub.admission, |seq| Delivery::new(Arc::new(publication), seq, None))
}

#[cfg(test)]
mod tests;
