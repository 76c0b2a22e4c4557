//! Entering a channel, and leaving it: what happens in its record.

use crate::backend::{Channels, Engine};
use crate::channel::local::start::StartState;
use crate::channel::params::SubscribeParams;
use crate::channel::record::Channel;
use crate::clock::Now;
use crate::engine::broker::Interest;
use crate::engine::interest::InterestState;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A place in a channel, taken by a subscriber.
pub(crate) struct Entered {
    pub(crate) record: Arc<Channel>,
    /// The delivery at which it entered.
    pub(crate) seq: u64,
    /// This is the first subscriber of the node.
    pub(crate) occupied: bool,
    pub(crate) start: Start,
}

/// The start of a subscriber, or the way to it.
pub(crate) enum Start {
    Now(StartState),
    /// The engine has to be asked.
    Later {
        /// It delivers the channel already: only the start is to be read. Otherwise the subscriber waits until it does.
        delivered: bool,
        /// To be asked first, unless others have asked.
        ask: Option<Interest>,
    },
}

impl Channels {
    /// Enters a channel: deliveries to this shard begin.
    ///
    /// An engine that keeps the stream in the record reads the position and missed publications in the same step,
    /// under the lock of the record. What is published later has a larger delivery number, so that nothing falls
    /// between and nothing comes twice.
    pub(crate) fn enter(&self, name: &str, shard: u8, params: &SubscribeParams, now: Now) -> Entered {
        let engine = self.choose(name);
        self.hub.directory.with(name, engine, |record, state| {
            state.shards.set(shard, true);
            state.subscribers += 1;
            let occupied = state.subscribers == 1;
            if occupied {
                self.hub.metrics.occupied.fetch_add(1, Ordering::Relaxed);
            }
            let start = match self.engine_of(state) {
                Engine::Memory(memory) => {
                    let history = self.hub.with_meta_ttl(params.history);
                    Start::Now(memory.enter(record, state, params, history, now))
                }
                Engine::Remote(_) => {
                    let ask = state.interest.want();
                    let delivered = state.interest == InterestState::Held;
                    if delivered && !params.positioned {
                        // It starts with the next publication: there is nothing to read.
                        Start::Now(StartState::default())
                    } else {
                        Start::Later { delivered, ask }
                    }
                }
            };
            Entered { record: Arc::clone(record), seq: state.delivered, occupied, start }
        })
    }

    /// A subscriber leaves. `shard_empty`: it was the last of its shard. Returns whether it was the last of
    /// the node, and what to ask of the engine.
    pub(crate) fn leave(
        &self,
        record: &Arc<Channel>,
        shard: u8,
        shard_empty: bool,
        now: Now,
    ) -> (bool, Option<Interest>) {
        let mut ask = None;
        let vacated = {
            let mut state = record.lock();
            state.subscribers = state.subscribers.saturating_sub(1);
            let vacated = state.subscribers == 0;
            if shard_empty {
                state.shards.set(shard, false);
            }
            if vacated {
                self.hub.metrics.occupied.fetch_sub(1, Ordering::Relaxed);
                match self.engine_of(&state) {
                    Engine::Memory(memory) => memory.left(record, &mut state, now.mono),
                    Engine::Remote(remote) => {
                        remote.recent.forget(record.id);
                        ask = state.interest.unwant();
                    }
                }
            }
            vacated
        };
        if vacated {
            self.hub.directory.release(record);
        }
        (vacated, ask)
    }
}
