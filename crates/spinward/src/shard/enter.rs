//! Subscribers on their way into a channel of a remote broker.

use crate::channel::local::entrants::Entrant;
use crate::channel::local::start::StartState;
use crate::clock::Now;
use crate::engine::broker::{BrokerError, History};
use crate::engine::interest::InterestState;
use crate::mailbox::call::ShardCall;
use crate::publication::Position;
use crate::shard::core::{Core, Execute};
use spinward_wire::code::ErrorCode;

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
                self.read_for(number, entrant, exec);
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

    fn read_for(&mut self, number: u32, entrant: Entrant, exec: &mut impl Execute) {
        if let Some(request) = self.local.read(number, entrant) {
            exec.run(ShardCall::Read(request));
        }
    }

    /// A read of a remote stream is here: merged with what has arrived since, it is the start of those that wait for
    /// it.
    pub(super) fn slice(
        &mut self,
        channel: u64,
        read: u32,
        slice: Result<History, BrokerError>,
        now: Now,
        exec: &mut impl Execute,
    ) {
        const TRIES: u8 = 3;
        let Some(number) = self.local.find_id(channel) else { return };
        let Some(local) = self.local.get_mut(number) else { return };
        let seen = local.seen;
        let Some(entrants) = local.entrants() else { return };
        let Some(mut read) = entrants.take_read(read) else { return };
        for mut entrant in std::mem::take(&mut read.entrants) {
            let start = match &slice {
                Ok(history) => self
                    .local
                    .get_mut(number)
                    .and_then(|local| local.entrants())
                    .and_then(|entrants| entrants.merge(&read, history, &entrant.params))
                    .map(Ok),
                Err(BrokerError::UnrecoverablePosition) => None,
                Err(_) => Some(Err(ErrorCode::INTERNAL)),
            };
            match start {
                Some(start) => {
                    if let Ok(start) = &start {
                        self.take_position(number, &start.top, now, exec);
                        self.watch(number, now);
                    }
                    self.entered(entrant, start, seen, now, exec);
                }
                None if entrant.tries + 1 < TRIES => {
                    entrant.tries += 1;
                    if let Err(BrokerError::UnrecoverablePosition) = &slice
                        && let Some(recover) = &mut entrant.params.recover
                    {
                        // The position is of another epoch: read where the stream is now, without it.
                        recover.over = true;
                    }
                    self.read_for(number, entrant, exec);
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
        self.resume(slot);
        self.settle_event(slot, now, exec);
    }
}
