//! The memory broker: streams in the channel records themselves, so that reading history and starting a
//! subscription are one step under one lock.

use super::directory::{Channel, State, Wake};
use super::encoded::Delivery;
use super::{Engine, Hub};
use crate::broker::idempotency::Idempotency;
use crate::broker::{BrokerError, History, HistoryFilter, HistoryOptions, PublishOptions, Published};
use crate::clock::Now;
use crate::expiry::ExpiryQueue;
use crate::id::Entropy;
use crate::publication::{Position, Publication};
use crate::room::fewer;
use crate::stream::{NEVER, Outcome, Stream};
use bytes::Bytes;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const PARTS: usize = 16;

/// What the memory broker keeps beside the streams.
pub(crate) struct Memory {
    /// Random per life of this process: the incarnation that every epoch is bound to.
    incarnation: Box<str>,
    streams: AtomicU64,
    idempotency: Box<[Mutex<Idempotency>]>,
    expiry: Mutex<ExpiryQueue>,
    /// Names of channels by the ids in the expiry queue.
    names: Mutex<hashbrown::HashMap<u64, std::sync::Weak<Channel>, foldhash::fast::FixedState>>,
}

impl Memory {
    pub(crate) fn new(entropy: &Entropy) -> Self {
        let seed = entropy.number();
        let share = Idempotency::DEFAULT_MAX_BYTES / PARTS;
        Self {
            incarnation: base36(entropy.number() >> 28).into(),
            streams: AtomicU64::new(0),
            idempotency: (0..PARTS).map(|_| Mutex::new(Idempotency::new(seed, share))).collect(),
            expiry: Mutex::new(ExpiryQueue::new(seed)),
            names: Mutex::new(hashbrown::HashMap::with_hasher(foldhash::fast::FixedState::with_seed(seed))),
        }
    }

    /// An epoch that no other stream of this or any other life of the process has.
    fn epoch(&self) -> Arc<str> {
        #[cfg(feature = "planted-faults")]
        if crate::sim::planted::holds(crate::sim::planted::Fault::ReusedEpoch) {
            return "reused".into();
        }
        format!("{}-{}", self.incarnation, base36(self.streams.fetch_add(1, Ordering::Relaxed))).into()
    }

    fn idempotency(&self, channel: u64) -> &Mutex<Idempotency> {
        &self.idempotency[channel as usize % PARTS]
    }

    /// The stream of a channel, made if need be; one whose position has expired is replaced by a new one.
    pub(crate) fn stream<'a>(&self, state: &'a mut State, now_ms: u64) -> &'a mut Stream {
        // While anyone is subscribed the position is in use: it must not begin anew behind their backs.
        let unused = state.subscribers == 0;
        let kept = state.kept();
        if unused && kept.stream.as_ref().is_some_and(|stream| stream.expires_at() <= now_ms) {
            kept.stream = None;
        }
        kept.stream.get_or_insert_with(|| Stream::new(self.epoch()))
    }

    /// The last subscriber has left: the position is kept for its time from now on.
    pub(crate) fn left(&self, channel: &Arc<Channel>, state: &mut State, now_ms: u64) {
        if let Some(stream) = state.stream() {
            stream.touch_again(now_ms);
            self.schedule(channel, state);
        }
    }

    /// The channel of an id that has fallen due.
    fn take_name(&self, id: u64) -> Option<Arc<Channel>> {
        let mut names = self.names.lock();
        let channel = names.remove(&id)?;
        if let Some(room) = fewer(names.len(), names.capacity()) {
            names.shrink_to(room);
        }
        drop(names);
        channel.upgrade()
    }

    /// Has the channel looked at when something of it falls due.
    pub(crate) fn schedule(&self, channel: &Arc<Channel>, state: &State) {
        let Some(kept) = &state.kept else { return };
        let used = state.subscribers > 0;
        let stream_due = kept.stream.as_ref().map_or(NEVER, |stream| {
            // One in use is looked at again when the last subscriber leaves.
            stream.entries_expire_at().unwrap_or(NEVER).min(if used { NEVER } else { stream.expires_at() })
        });
        let hold_due = if kept.hold_until > 0 { kept.hold_until } else { NEVER };
        let due = stream_due.min(hold_due);
        if due != NEVER {
            self.expiry.lock().schedule(channel.id, due);
            self.names.lock().entry(channel.id).or_insert_with(|| Arc::downgrade(channel));
        }
    }
}

fn base36(mut number: u64) -> String {
    let mut digits = Vec::new();
    loop {
        digits.push(char::from_digit((number % 36) as u32, 36).unwrap_or('0'));
        number /= 36;
        if number == 0 {
            return digits.iter().rev().collect();
        }
    }
}

impl Hub {
    /// Publishes with the memory broker.
    pub(crate) fn publish_memory(
        &self,
        memory: &Memory,
        name: &str,
        data: Bytes,
        mut options: PublishOptions,
        now: Now,
    ) -> Published {
        options.history = self.with_meta_ttl(options.history);
        let publication = Publication {
            data,
            info: options.info.take(),
            tags: options.tags.take(),
            offset: 0,
            time: now.wall,
            version: options.version,
            delta: options.delta,
        };
        if !options.history.enabled() && options.idempotency_key.is_empty() {
            // Nobody here and nothing to keep: no record is made.
            let done = self
                .directory
                .with_existing(name, |channel, state| self.deliver(channel, state, None, publication));
            if let Some(wake) = done {
                wake.wake(&self.inboxes);
            }
            return Published::default();
        }
        let (published, wake) = self.directory.with(name, |channel, state| {
            if !options.idempotency_key.is_empty() {
                let known =
                    memory.idempotency(channel.id).lock().get(channel.id, &options.idempotency_key, now.mono);
                if let Some(published) = known {
                    return (published, None);
                }
            }
            let (published, wake) =
                self.store_and_deliver(memory, channel, state, publication, &options, now);
            if !options.idempotency_key.is_empty() {
                let key = &options.idempotency_key;
                let until = memory.idempotency(channel.id).lock().put(channel.id, key, &published, now.mono);
                let kept = state.kept();
                kept.hold_until = kept.hold_until.max(until);
            }
            memory.schedule(channel, state);
            (published, wake)
        });
        if let Some(wake) = wake {
            wake.wake(&self.inboxes);
        }
        published
    }

    fn store_and_deliver(
        &self,
        memory: &Memory,
        channel: &Arc<Channel>,
        state: &mut State,
        mut publication: Publication,
        options: &PublishOptions,
        now: Now,
    ) -> (Published, Option<Wake>) {
        if !options.history.enabled() {
            return (Published::default(), Some(self.deliver(channel, state, None, publication)));
        }
        let stream = memory.stream(state, now.mono);
        // The base of a patch is the publication before in the stream, where that is still kept.
        publication.delta = publication.delta && stream.latest(now.mono).is_some();
        match stream.publish(publication, options, now.mono, now.wall) {
            Outcome::Suppressed(position) => (Published { position, suppressed: true }, None),
            Outcome::Stored(publication) => {
                let position = Position { offset: publication.offset, epoch: stream.top().epoch };
                let epoch = Arc::clone(&position.epoch);
                let wake =
                    channel.deliver(state, &self.inboxes, |seq| Delivery::new(publication, seq, Some(epoch)));
                (Published { position, suppressed: false }, Some(wake))
            }
        }
    }

    /// Delivers a publication that is not stored.
    fn deliver(
        &self,
        channel: &Arc<Channel>,
        state: &mut State,
        epoch: Option<Arc<str>>,
        publication: Publication,
    ) -> Wake {
        channel.deliver(state, &self.inboxes, |seq| Delivery::new(Arc::new(publication), seq, epoch))
    }

    /// Reads a slice of a stream of the memory broker.
    pub(crate) fn history_memory(
        &self,
        memory: &Memory,
        name: &str,
        filter: &HistoryFilter,
        options: HistoryOptions,
        now: Now,
    ) -> Result<History, BrokerError> {
        let options = self.with_meta_ttl(options);
        self.directory.with(name, |channel, state| {
            let stream = memory.stream(state, now.mono);
            stream.touch(options.meta_ttl, now.mono);
            let history = stream.read(filter, now.mono);
            memory.schedule(channel, state);
            history
        })
    }

    /// Drops the publications of a stream of the memory broker, and keeps its position.
    pub(crate) fn remove_history_memory(&self, name: &str) {
        self.directory.with_existing(name, |_, state| {
            if let Some(stream) = state.stream() {
                stream.remove_history();
            }
        });
    }

    /// Lets go of what has expired; a bounded piece of work. Returns when to come again, in milliseconds of
    /// the monotonic clock.
    pub(crate) fn expire_memory(&self, now: Now) -> Option<u64> {
        let Engine::Memory(memory) = &self.engine else { return None };
        let due = memory.expiry.lock().pop_due(now.mono, 256);
        for id in due {
            let Some(channel) = memory.take_name(id) else { continue };
            {
                let mut state = channel.lock();
                let unused = state.subscribers == 0;
                if let Some(kept) = &mut state.kept {
                    if kept.hold_until <= now.mono {
                        kept.hold_until = 0;
                    }
                    if let Some(stream) = &mut kept.stream {
                        stream.expire_entries(now.mono);
                        if stream.expires_at() <= now.mono && unused {
                            kept.stream = None;
                        }
                    }
                    if kept.stream.is_none() && kept.hold_until == 0 {
                        state.kept = None;
                    }
                }
                memory.schedule(&channel, &state);
            }
            self.directory.release(&channel, now.mono);
        }
        memory.expiry.lock().next_due()
    }
}
