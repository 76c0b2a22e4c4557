//! Lost publications: once in a while the position of a channel is compared with its remote broker's.
//!
//! A publication that is lost on the way is noticed by the next one that arrives. This is for channels in which
//! none does. One comparison serves all subscribers of the node, in every shard; the memory broker loses
//! nothing and is not asked.

use crate::clock::Now;
use crate::engine::is_of;
use crate::mailbox::call::ShardCall;
use crate::publication::Position;
use crate::shard::core::{Core, Execute};
use std::collections::VecDeque;
use std::sync::Arc;

/// Milliseconds between two looks at a channel whose position is not compared: to see whether it still has to be
/// watched, for brokers that say themselves that something may be lost.
const UNCOMPARED_MS: u64 = 40_000;

/// Time that publications on their way have to arrive before they count as lost.
const ARRIVAL_MS: u64 = 1_000;

/// Channels to look at, soonest first in each queue, since the delays are constant.
#[derive(Default)]
pub(super) struct Probes {
    /// Times at which to ask the broker about a channel.
    ask: VecDeque<(u64, u64)>,
    /// Times by which a channel must have reached the position that the broker reported.
    check: VecDeque<Check>,
}

/// A channel that was behind its broker.
struct Check {
    due: u64,
    channel: u64,
    told: Position,
    /// The epoch that the shard knew then. If it has changed since, the report is obsolete.
    known: Option<Arc<str>>,
    /// Subscribers were entering then, who may have read the stream before the report.
    entering: bool,
}

impl Probes {
    pub(super) fn next_deadline(&self) -> Option<u64> {
        let ask = self.ask.front().map(|(due, _)| *due);
        let check = self.check.front().map(|check| check.due);
        ask.into_iter().chain(check).min()
    }
}

impl Core {
    /// Begins to look after a channel, unless that is done already.
    pub(super) fn watch(&mut self, number: u32, now: Now) {
        let delay = self.probe_delay();
        let Some(local) = self.local.get_mut(number) else { return };
        if !local.set_watched(true) {
            self.hub.comparisons.watch(&local.record, now.mono, delay);
            self.probes.ask.push_back((now.mono + delay, local.record.id));
        }
    }

    fn probe_delay(&self) -> u64 {
        match self.config.channel_position_check_delay.as_millis() as u64 {
            0 => UNCOMPARED_MS,
            delay => delay,
        }
    }

    /// Asks and checks what is due.
    pub(super) fn probe(&mut self, now: Now, exec: &mut impl Execute) {
        while let Some((_, channel)) = self.probes.ask.pop_front_if(|(due, _)| *due <= now.mono) {
            self.ask_position(channel, now, exec);
        }
        while let Some(check) = self.probes.check.pop_front_if(|check| check.due <= now.mono) {
            self.check_position(check, now, exec);
        }
    }

    fn ask_position(&mut self, channel: u64, now: Now, exec: &mut impl Execute) {
        let local = self.local.find_id(channel).and_then(|number| self.local.get_mut(number));
        let Some(local) = local.filter(|local| !local.positioned().is_empty()) else {
            self.hub.comparisons.unwatch(channel);
            if let Some(local) = self.local.find_id(channel).and_then(|number| self.local.get_mut(number)) {
                local.set_watched(false);
            }
            return;
        };
        let record = Arc::clone(&local.record);
        let delay = self.probe_delay();
        self.probes.ask.push_back((now.mono + delay, channel));
        let compared = !self.config.channel_position_check_delay.is_zero();
        if compared && self.hub.comparisons.claim(channel, now.mono, delay) {
            exec.run(ShardCall::Compare(record));
        }
    }

    /// The broker has reported the top of a channel's stream. Publications up to it that this shard lacks may be on
    /// their way.
    pub(super) fn position_told(&mut self, channel: u64, top: Position, now: Now) {
        let Some(local) = self.local.find_id(channel).and_then(|number| self.local.get(number)) else {
            return;
        };
        let entering = local.is_reading();
        if local.is_watched() && (entering || !local.has_reached(&top)) {
            let known = local.epoch().cloned();
            let due = now.mono + ARRIVAL_MS;
            self.probes.check.push_back(Check { due, channel, told: top, known, entering });
        }
    }

    /// The broker named the present life of a channel's store. Positions in an earlier one are over: nothing that is
    /// published continues them.
    pub(super) fn incarnation_told(
        &mut self,
        channel: u64,
        incarnation: &str,
        now: Now,
        exec: &mut impl Execute,
    ) {
        let Some(number) = self.local.find_id(channel) else { return };
        let Some(local) = self.local.get_mut(number) else { return };
        if local.epoch().is_some_and(|epoch| !is_of(epoch, incarnation)) {
            let lost = local.positioned();
            local.forget_position();
            self.tell_gap(number, lost, now, exec);
        }
    }

    fn check_position(&mut self, check: Check, now: Now, exec: &mut impl Execute) {
        let Some(number) = self.local.find_id(check.channel) else { return };
        let Some(local) = self.local.get_mut(number) else { return };
        let Check { told, known, entering, .. } = &check;
        let moved_on = match known {
            // The position of the first one that entered is the first one of the shard.
            None => local.epoch().is_some_and(|epoch| *epoch != told.epoch),
            known => local.epoch() != known.as_ref(),
        };
        if moved_on {
            return;
        }
        let reading = *entering && local.is_reading();
        let reached = local.has_reached(told);
        let lost = if reached { local.lagging(told) } else { local.behind(told) };
        if !reached && local.epoch().is_some() {
            local.set_position(told.offset, &told.epoch);
        }
        if reading {
            // Those whose read takes longer are compared when they are in.
            let check = Check { due: now.mono + ARRIVAL_MS, ..check };
            self.probes.check.push_back(check);
        }
        self.tell_gap(number, lost, now, exec);
    }
}
