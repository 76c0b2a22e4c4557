//! Parts that few connections have.

use crate::event_id::Positions;
use crate::handle::CallToken;
use crate::mailbox::accepted::{CloseCode, Verdict};
use crate::mailbox::inbox::Delivering;
use crate::mailbox::pipe::Source;
use crate::session::ahead::{Ahead, UnderWay};
use crate::session_id::Secret;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::collections::VecDeque;

/// State of one connection that most do without.
#[derive(Default)]
pub(crate) struct Extra {
    /// The secret of a session whose messages come by requests.
    pub(crate) secret: Option<Secret>,
    /// Receives the code that the connection ends with, for a transport that asks for it.
    pub(crate) close_code: Option<CloseCode>,
    /// Answers the request that the connection began with, until the login is decided.
    pub(crate) verdict: Option<Verdict>,
    /// Positions of the last event that the client has seen, until it has logged in.
    pub(crate) resume: Option<Box<Positions>>,
    /// The carrier takes nothing.
    pub(crate) stalled: Option<Stalled>,
    /// Publications for this connection alone that come while much waits to be sent to it.
    pub(crate) delayed: Vec<Delivering>,
    /// Commands under way beside the one that the next command waits for.
    pub(crate) under_way: Vec<UnderWay>,
    /// Subscribe commands whose turn comes after the one under way.
    pub(crate) ahead: VecDeque<Ahead>,
}

/// Time that is left for a carrier that takes nothing.
pub(crate) struct Stalled {
    /// The connection ends then, on the monotonic clock.
    pub(crate) until: u64,
    /// The body that is not pulled, and the bytes that had been pulled by the time that this was looked at.
    pub(crate) body: Option<(Source, u64)>,
}

impl Extra {
    fn is_empty(&self) -> bool {
        self.secret.is_none()
            && self.close_code.is_none()
            && self.verdict.is_none()
            && self.resume.is_none()
            && self.stalled.is_none()
            && self.delayed.is_empty()
            && self.under_way.is_empty()
            && self.ahead.is_empty()
    }
}

/// The extras of a shard, by slot. A connection without any has no entry, and pays nothing for them.
#[derive(Default)]
pub(crate) struct Extras(HashMap<u32, Extra, FixedState>);

impl Extras {
    pub(crate) fn get(&self, slot: u32) -> Option<&Extra> {
        self.0.get(&slot)
    }

    /// Keeps the extras of a new connection, if it has any.
    pub(crate) fn open(&mut self, slot: u32, extra: Extra) {
        if !extra.is_empty() {
            self.0.insert(slot, extra);
        }
    }

    /// The connection is gone.
    pub(crate) fn remove(&mut self, slot: u32) {
        if !self.0.is_empty() {
            self.0.remove(&slot);
        }
    }

    /// Returns true while the answer to the request that the connection began with depends on its login.
    pub(crate) fn has_verdict(&self, slot: u32) -> bool {
        self.get(slot).is_some_and(|extra| extra.verdict.is_some())
    }

    pub(crate) fn take_verdict(&mut self, slot: u32) -> Option<Verdict> {
        self.take(slot, |extra| extra.verdict.take())
    }

    pub(crate) fn take_resume(&mut self, slot: u32) -> Option<Box<Positions>> {
        self.take(slot, |extra| extra.resume.take())
    }

    pub(crate) fn take_stalled(&mut self, slot: u32) -> Option<Stalled> {
        self.take(slot, |extra| extra.stalled.take())
    }

    /// Keeps a publication until less waits to be sent. Each waits for its receipt, so that their sender bounds them.
    pub(crate) fn delay(&mut self, slot: u32, delivering: Delivering) {
        self.0.entry(slot).or_default().delayed.push(delivering);
    }

    /// Takes what was delayed.
    pub(crate) fn take_delayed(&mut self, slot: u32) -> Vec<Delivering> {
        let take = |extra: &mut Extra| Some(std::mem::take(&mut extra.delayed));
        if self.0.is_empty() { Vec::new() } else { self.take(slot, take).unwrap_or_default() }
    }

    /// The commands of a connection that are under way beside the one that the next waits for.
    pub(crate) fn under_way(&mut self, slot: u32) -> &mut Vec<UnderWay> {
        &mut self.0.entry(slot).or_default().under_way
    }

    /// Takes a command that is no longer under way, and returns its id.
    pub(crate) fn take_under_way(&mut self, slot: u32, token: CallToken) -> Option<u32> {
        self.take(slot, |extra| {
            let at = extra.under_way.iter().position(|command| command.token == token)?;
            Some(extra.under_way.swap_remove(at).id)
        })
    }

    /// Returns true if a connection has subscribe commands that wait for their turn.
    pub(crate) fn has_ahead(&self, slot: u32) -> bool {
        self.get(slot).is_some_and(|extra| !extra.ahead.is_empty())
    }

    /// Adds a subscribe command that waits for its turn.
    pub(crate) fn add_ahead(&mut self, slot: u32, ahead: Ahead) {
        self.0.entry(slot).or_default().ahead.push_back(ahead);
    }

    /// Finds one of them.
    pub(crate) fn find_ahead(&mut self, slot: u32, token: CallToken) -> Option<&mut Ahead> {
        self.0.get_mut(&slot)?.ahead.iter_mut().find(|ahead| ahead.token == token)
    }

    /// Takes the first of them.
    pub(crate) fn take_ahead(&mut self, slot: u32) -> Option<Ahead> {
        self.take(slot, |extra| extra.ahead.pop_front())
    }

    /// Returns true if a command that is not decided yet asks for the channel.
    pub(crate) fn is_asked_for(&self, slot: u32, channel: &str) -> bool {
        self.get(slot).is_some_and(|extra| {
            extra.under_way.iter().any(|command| command.asks_for(channel))
                || extra.ahead.iter().any(|command| command.asks_for(channel))
        })
    }

    /// The number of channels that are asked for so.
    pub(crate) fn asked_for(&self, slot: u32) -> usize {
        self.get(slot).map_or(0, |extra| {
            extra.under_way.iter().filter(|command| command.is_subscribe()).count() + extra.ahead.len()
        })
    }

    /// Notes that the carrier takes nothing.
    pub(crate) fn set_stalled(&mut self, slot: u32, stalled: Stalled) {
        self.0.entry(slot).or_default().stalled = Some(stalled);
    }

    /// Extends the time of a body of which something was pulled since this was last asked, and returns true.
    pub(crate) fn is_pulled_on(&mut self, slot: u32, until: u64) -> bool {
        let stalled = self.0.get_mut(&slot).and_then(|extra| extra.stalled.as_mut());
        let Some(Stalled { until: ends, body: Some((body, before)) }) = stalled else { return false };
        let pulled = body.pulled();
        if pulled == *before {
            return false;
        }
        (*ends, *before) = (until, pulled);
        true
    }

    fn take<T>(&mut self, slot: u32, take: impl FnOnce(&mut Extra) -> Option<T>) -> Option<T> {
        let extra = self.0.get_mut(&slot)?;
        let taken = take(extra)?;
        if extra.is_empty() {
            self.0.remove(&slot);
        }
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_goes_with_the_last_thing_in_it() {
        let mut extras = Extras::default();
        extras.open(1, Extra::default());
        assert!(extras.0.is_empty(), "nothing is kept for one without extras");
        let verdict: Verdict = Box::new(|_| bytes::Bytes::new());
        extras.open(1, Extra { verdict: Some(verdict), ..Extra::default() });
        extras.set_stalled(1, Stalled { until: 7, body: None });
        assert!(extras.has_verdict(1) && !extras.has_verdict(2));
        assert!(extras.take_verdict(1).is_some() && extras.take_verdict(1).is_none());
        assert_eq!(extras.take_stalled(1).map(|stalled| stalled.until), Some(7));
        assert!(extras.get(1).is_none() && extras.0.is_empty());
    }
}
