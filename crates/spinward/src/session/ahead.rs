//! Commands under way beside the one that the next command waits for.
//!
//! A connection has one command under way, unless one of two options says otherwise. With
//! [`concurrency`](crate::Config::concurrency) several are, and their replies come as they are decided. With
//! [`subscribe_batch`](crate::Config::subscribe_batch) the subscribe commands of one message are decided together: their
//! questions go out at once, and their outcomes are taken up one after another, in the order of the commands. What is
//! under way beside the one command is kept with the extras of the shard, so that nobody else pays for it.

use crate::event::FailureCause;
use crate::handle::CallToken;
use crate::mailbox::call::{Call, Called, Outcome, SessionCall};
use crate::session::{Busy, Cx, Phase, Session, Waiting};
use spinward_wire::message::SubscribeRequest;
use std::sync::Arc;

/// A command under way.
pub(crate) struct UnderWay {
    pub(super) token: CallToken,
    pub(super) id: u32,
    /// The channel that a subscribe command asks for.
    channel: Option<Arc<str>>,
}

/// A subscribe command whose turn comes after the one under way.
pub(crate) struct Ahead {
    pub(super) token: CallToken,
    id: u32,
    channel: Arc<str>,
    /// The decision, if it is there before its turn.
    outcome: Option<Outcome>,
}

impl UnderWay {
    pub(super) const fn is_subscribe(&self) -> bool {
        self.channel.is_some()
    }

    pub(super) fn asks_for(&self, channel: &str) -> bool {
        self.channel.as_deref() == Some(channel)
    }
}

impl Ahead {
    pub(super) fn asks_for(&self, channel: &str) -> bool {
        *self.channel == *channel
    }
}

impl Session {
    /// The command goes on beside others, until there are as many as may be.
    #[cold]
    pub(super) fn goes_along(&mut self, cx: &mut Cx<'_>, token: CallToken, id: u32, call: &Call) {
        let channel =
            if let Call::Subscribe { channel, .. } = call { Some(Arc::clone(channel)) } else { None };
        let under_way = cx.extras.under_way(cx.handle.slot());
        under_way.push(UnderWay { token, id, channel });
        if under_way.len() >= cx.config.concurrency {
            let token = self.token();
            self.busy = Some(Box::new(Busy { token, id: 0, what: Waiting::Place }));
        }
    }

    /// Returns the id of the command beside others that an outcome is for. Its place is free.
    pub(super) fn came_along(&mut self, cx: &mut Cx<'_>, token: CallToken) -> Option<u32> {
        if cx.config.concurrency < 2 {
            return None;
        }
        let id = cx.extras.take_under_way(cx.handle.slot(), token)?;
        self.busy.take_if(|busy| matches!(busy.what, Waiting::Place));
        Some(id)
    }

    /// Returns true if a subscribe command that is not decided yet asks for the channel.
    pub(super) fn is_asked_for(&self, cx: &Cx<'_>, channel: &str) -> bool {
        cx.config.has_further_commands() && cx.extras.is_asked_for(cx.handle.slot(), channel)
    }

    /// The number of subscribe commands that are not decided yet, beside the one that the next command waits for.
    pub(super) fn asked_for(&self, cx: &Cx<'_>) -> usize {
        if cx.config.has_further_commands() { cx.extras.asked_for(cx.handle.slot()) } else { 0 }
    }
}

impl Session {
    /// Returns true if subscribe commands of this connection may be decided together.
    pub(crate) fn may_gather(&self) -> bool {
        self.phase == Phase::Connected && !self.dialect.is_v1() && self.busy.is_none()
    }

    /// Takes the question of a subscribe command, which was just handled, for others to go with it. `None` if it has
    /// been answered without one.
    pub(crate) fn take_question(&mut self, cx: &mut Cx<'_>) -> Option<SessionCall> {
        let is_question = |called: &mut Called| {
            matches!(called, Called::Session(SessionCall { call: Call::Subscribe { .. }, .. }))
        };
        let Some(Called::Session(question)) = cx.calls.pop_back_if(is_question) else { return None };
        // The further ones wait for it, whatever other commands do.
        if let Some(id) = cx.extras.take_under_way(cx.handle.slot(), question.token) {
            self.busy = Some(Box::new(Busy { token: question.token, id, what: Waiting::Outcome }));
        }
        Some(question)
    }

    /// Returns true if a subscribe command can be asked about before its turn: one that is refused without a question
    /// waits for it.
    pub(crate) fn may_ask_ahead(&self, cx: &Cx<'_>, id: u32, request: &SubscribeRequest) -> bool {
        id != 0
            && !request.channel.is_empty()
            && (request.r#type != 0 || matches!(request.delta.as_str(), "" | "fossil"))
            && !self.has_channel(cx, &request.channel)
            && !self.is_full(cx)
    }

    /// Makes the question of a further subscribe command.
    pub(crate) fn ask_ahead(
        &mut self,
        cx: &mut Cx<'_>,
        id: u32,
        request: Box<SubscribeRequest>,
    ) -> SessionCall {
        let token = self.token();
        let (channel, call) = Self::question(request);
        cx.extras.add_ahead(cx.handle.slot(), Ahead { token, id, channel, outcome: None });
        SessionCall { handle: cx.handle, token, identity: self.identity.clone(), call }
    }

    /// Keeps the outcome of a further subscribe command until its turn. Returns any other.
    pub(super) fn keep_ahead(cx: &mut Cx<'_>, token: CallToken, outcome: Outcome) -> Option<Outcome> {
        if cx.config.subscribe_batch < 2 {
            return Some(outcome);
        }
        let Some(ahead) = cx.extras.find_ahead(cx.handle.slot(), token) else { return Some(outcome) };
        ahead.outcome = Some(outcome);
        None
    }

    /// The turn of the next subscribe command that was asked about ahead. Returns true if it was decided already and
    /// has been taken up.
    pub(crate) fn next_ahead(&mut self, cx: &mut Cx<'_>) -> bool {
        if self.busy.is_some() || self.phase != Phase::Connected {
            return false;
        }
        let Some(Ahead { token, id, outcome, .. }) = cx.extras.take_ahead(cx.handle.slot()) else {
            return false;
        };
        match outcome {
            Some(outcome) => self.on_answer(cx, id, token, outcome),
            None => {
                self.busy = Some(Box::new(Busy { token, id, what: Waiting::Outcome }));
                return false;
            }
        }
        true
    }

    /// The connection ends: subscriptions that were granted ahead of their turn do not come about.
    pub(super) fn drop_ahead(&self, cx: &mut Cx<'_>) {
        if !cx.config.has_further_commands() {
            return;
        }
        while let Some(ahead) = cx.extras.take_ahead(cx.handle.slot()) {
            if let Some(Outcome::Subscribe { channel, outcome: Ok(_), .. }) = ahead.outcome {
                self.grant_failed(cx, channel, false, FailureCause::Disconnected);
            }
        }
    }
}
