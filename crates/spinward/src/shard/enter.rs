//! Subscribers on their way into a channel of a remote broker.

use crate::channel::local::entrants::Entrant;
use crate::channel::local::start::StartState;
use crate::clock::Now;
use crate::engine::broker::{BrokerError, History};
use crate::engine::interest::InterestState;
use crate::mailbox::call::ShardCall;
use crate::mailbox::inbox::Entry;
use crate::publication::Position;
use crate::shard::core::{Core, Execute};
use spinward_wire::code::ErrorCode;
use std::sync::Arc;

/// Reads that are made for a subscriber before it is told that it failed.
const TRIES: u8 = 3;
/// Subscribers that are given their start in one turn.
const SERVED: usize = 64;

impl Core {
    /// The remote broker delivers a channel now, or does not: those who waited for it go on.
    pub(super) fn interest(&mut self, channel: u64, ok: bool, now: Now, exec: &mut impl Execute) {
        let Some(number) = self.local.find_id(channel) else { return };
        let Some(local) = self.local.get_mut(number) else { return };
        // The answer may be to a request of others, who have left since: those that wait now wait for their own.
        let interest = local.record.lock().interest;
        let mine = match interest {
            InterestState::Held => ok,
            InterestState::None | InterestState::Lost => !ok,
            InterestState::Asking | InterestState::Releasing | InterestState::ReleasingWanted => false,
        };
        let Some(entrants) = local.entrants().filter(|_| mine) else { return };
        let waiting = std::mem::take(&mut entrants.waiting);
        for entrant in waiting {
            if ok && entrant.params.positioned {
                self.read_for(number, entrant, now, exec);
            } else if ok {
                // A plain subscription starts with the next publication: there is nothing to read.
                let seen = self.local.get(number).map_or(0, |local| local.seen);
                self.entered(entrant, Ok(StartState::default()), seen, now, exec);
            } else {
                self.entered(entrant, Err(ErrorCode::INTERNAL), 0, now, exec);
            }
        }
        self.close_entrants_if_done(number);
    }

    fn read_for(&mut self, number: u32, entrant: Entrant, now: Now, exec: &mut impl Execute) {
        let Some(local) = self.local.get(number) else { return };
        let read = self.channels.plan_read(&local.record, self.shard, &entrant.params);
        if let Some(channel) = read.and_then(|read| self.local.read(number, entrant, read)) {
            self.run(ShardCall::Read(channel), now, exec);
        }
    }

    /// Makes a call of the shard. What is lost after a read is made is lost for those that it is for, so that the
    /// channel is watched from then on.
    pub(super) fn run(&mut self, call: ShardCall, now: Now, exec: &mut impl Execute) {
        if let ShardCall::Read(channel) = &call
            && let Some(number) = self.local.find_id(channel.id)
        {
            self.watch(number, now);
        }
        exec.run(call);
    }

    /// A read of a remote stream is here: merged with what has arrived since, it is the start of those that wait for
    /// it.
    pub(super) fn slice(
        &mut self,
        channel: u64,
        read: u32,
        slice: &Arc<Result<History, BrokerError>>,
        now: Now,
        exec: &mut impl Execute,
    ) {
        let Some(number) = self.local.find_id(channel) else { return };
        let Some(local) = self.local.get_mut(number) else { return };
        let seen = local.seen;
        let Some(entrants) = local.entrants() else { return };
        let Some(mut answered) = entrants.take_read(read, SERVED) else { return };
        if !answered.is_last {
            // The others in another turn.
            let entry = Entry::Slice { channel, read, slice: Arc::clone(slice) };
            self.hub.send(usize::from(self.shard), entry);
        }
        for mut entrant in std::mem::take(&mut answered.entrants) {
            let start = match &**slice {
                Ok(history) => self
                    .local
                    .get_mut(number)
                    .and_then(|local| local.entrants())
                    .and_then(|entrants| entrants.merge(&answered, history, &entrant.params))
                    .map(Ok),
                Err(BrokerError::UnrecoverablePosition) => None,
                Err(_) => Some(Err(ErrorCode::INTERNAL)),
            };
            match start {
                Some(start) => {
                    if let Ok(start) = &start {
                        self.take_position(number, &start.top, now, exec);
                        // It may have been given up while nobody was in.
                        self.watch(number, now);
                    }
                    self.entered(entrant, start, seen, now, exec);
                }
                None if entrant.tries + 1 < TRIES => {
                    entrant.tries += 1;
                    if let Err(BrokerError::UnrecoverablePosition) = &**slice
                        && let Some(recover) = &mut entrant.params.recover
                    {
                        // The position is of another epoch: read where the stream is now, without it.
                        recover.over = true;
                    }
                    self.read_for(number, entrant, now, exec);
                }
                None => self.entered(entrant, Err(ErrorCode::INTERNAL), 0, now, exec),
            }
        }
        self.close_entrants_if_done(number);
    }

    /// A subscriber enters a channel of a remote broker at this place.
    ///
    /// The channel itself is at its last publication: those that are in already still wait for what the one that enters
    /// was given.
    pub(super) fn take_position(&mut self, number: u32, top: &Position, now: Now, exec: &mut impl Execute) {
        let Some(local) = self.local.get_mut(number) else { return };
        match local.epoch() {
            Some(epoch) if *epoch == top.epoch => {}
            Some(_) => {
                // The others wait for publications of a stream that no longer exists.
                let others = local.positioned();
                local.set_position(top.offset, &top.epoch);
                self.tell_gap(number, others, now, exec);
            }
            None if local.is_empty() => local.set_position(top.offset, &top.epoch),
            None => {}
        }
    }

    pub(super) fn close_entrants_if_done(&mut self, number: u32) {
        if let Some(local) = self.local.get_mut(number)
            && local.entrants().is_some_and(|entrants| entrants.is_done())
        {
            local.close_entrants();
        }
    }

    pub(super) fn entered(
        &mut self,
        entrant: Entrant,
        start: Result<StartState, ErrorCode>,
        seq: u64,
        now: Now,
        exec: &mut impl Execute,
    ) {
        let Some(slot) = self.resolve(entrant.handle) else { return };
        self.with(slot, now, |session, cx| session.on_entered(cx, entrant.number, start, seq));
        self.settle(slot, now, exec);
        self.resume(slot, now, exec);
        self.settle_event(slot, now, exec);
    }
}
