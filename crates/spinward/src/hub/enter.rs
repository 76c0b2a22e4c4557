//! Entering a channel, and leaving it: what happens in its record.

use crate::channel::local::start::{StartState, filtered, start_from_cache};
use crate::channel::params::SubscribeParams;
use crate::channel::record::{Channel, ChannelState};
use crate::clock::Now;
use crate::engine::broker::Interest;
use crate::engine::interest::InterestState;
use crate::engine::memory::Memory;
use crate::fault::{self, Fault};
use crate::hub::{Engine, Hub};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Result of entering.
pub(crate) struct Entered {
    pub(crate) record: Arc<Channel>,
    /// The delivery at which it entered.
    pub(crate) seq: u64,
    /// This is the first subscriber of the node.
    pub(crate) occupied: bool,
    pub(crate) start: StartState,
}

impl Hub {
    /// Enters a channel served by the memory broker: the position, what was missed, and the start of delivery
    /// to this shard are one step under the lock of the record, so that nothing falls between.
    pub(crate) fn enter_memory(
        &self,
        memory: &Memory,
        name: &str,
        shard: u8,
        params: &SubscribeParams,
        now: Now,
    ) -> Entered {
        self.directory.with(name, |record, state| {
            let start = if params.positioned {
                self.start_memory(memory, record, state, params, now)
            } else {
                StartState::default()
            };
            state.shards.set(shard, true);
            self.came(state);
            memory.settle(record, state, now.mono);
            Entered {
                record: Arc::clone(record),
                seq: state.delivered,
                occupied: state.subscribers == 1,
                start,
            }
        })
    }

    fn start_memory(
        &self,
        memory: &Memory,
        record: &Channel,
        state: &mut ChannelState,
        params: &SubscribeParams,
        now: Now,
    ) -> StartState {
        let stream = memory.stream(record, state, now.mono);
        stream.touch(self.with_meta_ttl(params.history).meta_ttl, now.mono);
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

    /// Enters a channel served by a remote broker, without a position: deliveries to this shard begin. Returns
    /// what to ask of the broker.
    pub(crate) fn enter_remote(&self, name: &str, shard: u8) -> (Entered, Option<Interest>, bool) {
        self.directory.with(name, |record, state| {
            state.shards.set(shard, true);
            self.came(state);
            let ask = state.interest.want();
            let held = state.interest == InterestState::Held;
            let entered = Entered {
                record: Arc::clone(record),
                seq: state.delivered,
                occupied: state.subscribers == 1,
                start: StartState::default(),
            };
            (entered, ask, held)
        })
    }

    fn came(&self, state: &mut ChannelState) {
        state.subscribers += 1;
        if state.subscribers == 1 {
            self.metrics.occupied.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A subscriber leaves. `shard_empty`: it was the last of its shard. Returns whether it was the last of
    /// the node, and what to ask of a remote broker.
    pub(crate) fn leave(
        &self,
        record: &Arc<Channel>,
        shard: u8,
        shard_empty: bool,
        now: Now,
    ) -> (bool, Option<Interest>) {
        let (vacated, ask) = {
            let mut state = record.lock();
            state.subscribers = state.subscribers.saturating_sub(1);
            if state.subscribers == 0 {
                self.metrics.occupied.fetch_sub(1, Ordering::Relaxed);
            }
            if shard_empty {
                state.shards.set(shard, false);
            }
            let vacated = state.subscribers == 0;
            let ask = match &self.engine {
                Engine::Remote(_) if vacated => state.interest.unwant(),
                Engine::Memory(memory) if vacated => {
                    memory.left(record, &mut state, now.mono);
                    None
                }
                Engine::Remote(_) | Engine::Memory(_) => None,
            };
            (vacated, ask)
        };
        if vacated {
            self.directory.release(record);
        }
        (vacated, ask)
    }
}
