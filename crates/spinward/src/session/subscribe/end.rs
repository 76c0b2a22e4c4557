//! The end of a subscription, or of its entry.

use crate::channel::record::Channel;
use crate::event::FailureCause;
use crate::fault::{self, Fault};
use crate::handle::CallToken;
use crate::mailbox::call::{Call, Called, ShardCall};
use crate::session::subscribe::list::Details;
use crate::session::subscribe::{Entering, Purpose, Replaced, Stage};
use crate::session::{Cx, Session};
use spinward_wire::code::{DisconnectCode, ErrorCode, UnsubscribeCode};
use spinward_wire::message::{self, Unsubscribe};
use std::sync::Arc;

impl Session {
    /// Ends the subscription to a channel, and any that is being entered. Returns true if there was one that the client
    /// knows of; the client is not notified. Waiters for one that is being entered learn that it will not come about.
    pub(in crate::session) fn leave_channel(
        &mut self,
        cx: &mut Cx<'_>,
        channel: &str,
        code: &UnsubscribeCode,
    ) -> bool {
        let mut known = true;
        while let Some(at) = self.entering.iter().position(|entering| &*entering.channel == channel) {
            let entering = self.entering.swap_remove(at);
            known = false;
            self.cut_short(cx, entering, code);
        }
        let Some(number) = cx.local.find(channel) else { return false };
        let Some(own) = self.subscriptions.take(number) else { return false };
        self.leave(cx, own, code);
        known
    }

    /// Takes a subscription out of its channel for another one that follows at once. What others see of it stays
    /// until [`Session::withdraw`]; the channel is left by [`Session::leave_record`], once the other subscription
    /// has its own place.
    pub(in crate::session) fn make_way(
        &mut self,
        cx: &mut Cx<'_>,
        channel: &str,
    ) -> Option<(Arc<Channel>, Replaced)> {
        let number = cx.local.find(channel)?;
        let own = self.subscriptions.take(number)?;
        let (slot, local) = (cx.handle.slot(), cx.local.get_mut(number)?);
        let (record, cursor) = (Arc::clone(&local.record), local.cursor(slot));
        local.remove(slot);
        cx.metrics.subscriptions_down();
        if !fault::holds(Fault::ReplacedUntold) {
            self.tell(cx, Call::Replaced(Arc::clone(&record)));
        }
        Some((record, Replaced { cursor: Some(cursor), own }))
    }

    /// Takes back what others see of a subscription that ended, except for what the flags of the one that follows it
    /// keep: its place in presence, and its membership as joins and leaves show it. `token`: the session waits for the
    /// leave to be queued.
    pub(in crate::session) fn withdraw(
        &self,
        cx: &mut Cx<'_>,
        own: Details,
        channel: &Arc<Channel>,
        kept: u8,
        token: CallToken,
    ) {
        let shown = own.flags & !kept;
        if let (Some(info), true) = (&own.info, shown & Details::PRESENCE != 0) {
            let user = Arc::clone(&info.user);
            self.tell(cx, Call::PresenceRemove { channel: Arc::clone(channel), client: self.id, user });
        }
        if let (Some(info), true) = (own.info, shown & Details::JOIN_LEAVE != 0) {
            let call = Call::JoinLeave { channel: Arc::clone(channel), info, join: false, told: false };
            self.call(cx, token, call);
        }
    }

    /// Gives back everything that a subscription holds.
    pub(in crate::session) fn leave(&mut self, cx: &mut Cx<'_>, own: Details, code: &UnsubscribeCode) {
        let Some(local) = cx.local.get_mut(own.channel) else { return };
        local.remove(cx.handle.slot());
        let record = Arc::clone(&local.record);
        self.leave_record(cx, own.channel, &record);
        cx.metrics.subscriptions_down();
        // One that leaves by its own command waits until the leave is to be sent to the others.
        let announces = own.is(Details::JOIN_LEAVE) && own.info.is_some();
        let token =
            if announces && *code == UnsubscribeCode::CLIENT { self.announcing() } else { CallToken::NOBODY };
        self.withdraw(cx, own, &record, 0, token);
        self.tell(cx, Call::Unsubscribed { channel: record, code: code.clone() });
    }

    /// Gives back a place in a channel: the shard's, and through it the node's.
    pub(in crate::session) fn leave_record(&self, cx: &mut Cx<'_>, number: u32, record: &Arc<Channel>) {
        let shard_empty = cx.local.remove_idle(number).is_some();
        let (vacated, ask) = cx.channels.leave(record, cx.handle.shard() as u8, shard_empty, cx.now);
        if let Some(ask) = ask {
            cx.calls.push_back(Called::Shard(ShardCall::Interest { channel: Arc::clone(record), ask }));
        }
        if vacated {
            self.tell(cx, Call::Vacated(record.clone()));
        }
    }

    /// The server ends a subscription: the client is notified.
    pub(in crate::session) fn end_subscription(
        &mut self,
        cx: &mut Cx<'_>,
        channel: &str,
        code: &UnsubscribeCode,
    ) {
        if self.leave_channel(cx, channel, code) {
            self.tell_end(cx, channel, code);
        }
    }

    /// Tells the client that it has no subscription to a channel.
    pub(in crate::session) fn tell_end(&mut self, cx: &mut Cx<'_>, channel: &str, code: &UnsubscribeCode) {
        cx.metrics.server_unsubscribe(code.code);
        if let Some(end) = self.end_for(code) {
            return self.close(cx, end);
        }
        let unsubscribe = Unsubscribe { code: code.code, reason: code.reason.as_ref().to_owned() };
        let push = message::Push {
            channel: channel.to_owned(),
            unsubscribe: Some(unsubscribe),
            ..message::Push::default()
        };
        self.push(cx, &push);
    }

    /// Publications of a channel were lost on the way to this connection.
    pub(crate) fn on_gap(&mut self, cx: &mut Cx<'_>, channel: u32) {
        let Some(own) = self.subscriptions.get(channel) else { return };
        if own.is(Details::SERVER_SIDE) {
            return self.close(cx, DisconnectCode::INSUFFICIENT_STATE);
        }
        let Some(name) = cx.local.get(channel).map(|channel| channel.record.name.clone()) else { return };
        self.end_subscription(cx, &name, &UnsubscribeCode::INSUFFICIENT_STATE);
    }

    /// The server ends a subscription that is on its way.
    pub(in crate::session) fn cut_short(
        &mut self,
        cx: &mut Cx<'_>,
        entering: Entering,
        code: &UnsubscribeCode,
    ) {
        let token = match entering.stage {
            Stage::Entering { .. } => entering.number,
            Stage::Listing { token, .. } => token,
        };
        let purpose = entering.purpose;
        self.abandon(cx, entering, FailureCause::Unsubscribed(code.clone()));
        match purpose {
            Purpose::Command(id) => {
                self.busy.take_if(|busy| busy.token == token);
                // As with the unsubscribe codes: from 2500 on the client is to try again.
                let error = if code.code < 2500 { ErrorCode::PERMISSION_DENIED } else { ErrorCode::INTERNAL };
                self.error(cx, id, &error);
            }
            Purpose::Connect => self.connect_goes_on(cx, None),
            Purpose::Server => {}
        }
    }

    /// Gives back what a subscription on its way holds.
    pub(in crate::session) fn abandon(&self, cx: &mut Cx<'_>, entering: Entering, cause: FailureCause) {
        // One that is only being listed is in its channel, and ends as every other one does.
        let Stage::Entering { record, local } = entering.stage else { return };
        if let Some(replaced) = entering.requested.replaces {
            self.withdraw(cx, replaced.own, &record, 0, CallToken::NOBODY);
        }
        self.grant_failed(cx, entering.channel, !matches!(entering.purpose, Purpose::Command(_)), cause);
        let mut done = false;
        if let Some(entrants) = cx.local.get_mut(local).and_then(|channel| channel.entrants()) {
            entrants
                .waiting
                .retain(|entrant| (entrant.handle, entrant.number) != (cx.handle, entering.number));
            for read in &mut entrants.reads {
                read.entrants
                    .retain(|entrant| (entrant.handle, entrant.number) != (cx.handle, entering.number));
            }
            entrants.reads.retain(|read| !read.entrants.is_empty());
            done = entrants.is_done();
        }
        if done && let Some(channel) = cx.local.get_mut(local) {
            channel.close_entrants();
        }
        self.leave_record(cx, local, &record);
    }
}
