//! A connection's view of its subscriptions, and their end.

use super::subscriptions::{Details, Subscription};
use super::{Cx, Phase, Session};
use crate::channel::directory::Channel;
use crate::channel::local::Stand;
use crate::hooks::Refreshing;
use crate::mailbox::call::Call;
use spinward_wire::code::{DisconnectCode, UnsubscribeCode};
use spinward_wire::message::{self, Unsubscribe};
use std::sync::Arc;

/// Permission to send something of a channel to a client.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Push {
    Yes,
    /// Not before what is being put together.
    Wait,
    /// The subscription has ended before the client knew of it.
    No,
}

/// A subscription that another one takes the place of.
pub(super) struct Replaced {
    /// Place of the replaced subscription, if the other one goes on from there.
    pub(super) stand: Option<Stand>,
    pub(super) own: Details,
}

impl Session {
    /// The subscription to a channel, if there is one.
    pub(super) fn subscription(&self, cx: &Cx<'_>, channel: &str) -> Option<Subscription<'_>> {
        self.subscriptions.get(cx.channels.find(channel)?)
    }

    /// Decides whether events of a channel, given by its number, may be pushed, so that the client knows of the
    /// subscription first: a connect reply comes before everything, a subscribe reply before what it begins.
    pub(crate) fn may_push(&self, channel: u32) -> Push {
        if self.is_logging_in() || self.joins.iter().any(|join| join.is_listing(channel)) {
            Push::Wait
        } else if self.subscriptions.contains(channel) {
            Push::Yes
        } else {
            Push::No
        }
    }

    /// Returns true if the replies to its login are still being put together.
    pub(crate) fn is_logging_in(&self) -> bool {
        self.identity.is_some() && self.phase == Phase::Connecting
    }

    /// Returns true if [`Session::may_push`] may be anything but yes to its subscriptions.
    pub(crate) fn is_entering(&self) -> bool {
        !self.joins.is_empty() || self.phase == Phase::Connecting
    }

    /// Returns the question to the application whether a login may go on.
    pub(super) fn refreshing(&self, cx: &Cx<'_>, token: String) -> Refreshing {
        let name = |channel: u32| cx.channels.get(channel).map(|local| local.record.name.to_string());
        let special = |flag: u8| {
            let with_flag = self.subscriptions.special().iter().filter(move |own| own.is(flag));
            with_flag.filter_map(|own| name(own.channel)).collect()
        };
        Refreshing {
            token,
            server_side_channels: special(Details::SERVER_SIDE),
            by_login: special(Details::BY_LOGIN),
            channels: self.subscriptions.channels().iter().filter_map(|channel| name(*channel)).collect(),
        }
    }

    /// Ends the subscription to a channel, and any that is being entered. Returns true if there was one that the client
    /// knows of; the client is not notified. Waiters for one that is being entered learn that it will not come about.
    pub(super) fn leave_channel(&mut self, cx: &mut Cx<'_>, channel: &str, code: &UnsubscribeCode) -> bool {
        let mut known = true;
        while let Some(at) = self.joins.iter().position(|join| &*join.channel == channel) {
            let join = self.joins.swap_remove(at);
            known = false;
            self.cut_short(cx, join, code);
        }
        let Some(number) = cx.channels.find(channel) else { return false };
        let Some(own) = self.subscriptions.take(number) else { return false };
        self.leave(cx, own, code);
        known
    }

    /// Takes a subscription out of its channel for another one that follows at once. What others see of it stays
    /// until [`Session::withdraw`]; the channel is left by [`Session::leave_record`], once the other subscription
    /// has its own place.
    pub(super) fn make_way(&mut self, cx: &mut Cx<'_>, channel: &str) -> Option<(Arc<Channel>, Replaced)> {
        let number = cx.channels.find(channel)?;
        let own = self.subscriptions.take(number)?;
        let (slot, local) = (cx.handle.slot(), cx.channels.get_mut(number)?);
        let (record, stand) = (Arc::clone(&local.record), local.stand(slot));
        local.remove(slot);
        cx.metrics.subscriptions_down();
        #[cfg(feature = "planted-faults")]
        if crate::sim::planted::holds(crate::sim::planted::Fault::ReplacedUntold) {
            return Some((record, Replaced { stand: Some(stand), own }));
        }
        self.tell(cx, Call::Replaced(Arc::clone(&record)));
        Some((record, Replaced { stand: Some(stand), own }))
    }

    /// Takes back what others see of a subscription that ended, except for what the flags of the one that follows it
    /// keep: its place in presence, and its membership as joins and leaves show it. `token`: the session waits for the
    /// leave to be queued.
    pub(super) fn withdraw(
        &self,
        cx: &mut Cx<'_>,
        own: Details,
        channel: &Arc<Channel>,
        kept: u8,
        token: u32,
    ) {
        let shown = own.flags & !kept;
        if shown & Details::PRESENCE != 0 {
            self.tell(cx, Call::PresenceRemove { channel: Arc::clone(channel), client: self.id });
        }
        if let (Some(info), true) = (own.info, shown & Details::JOIN_LEAVE != 0) {
            let call = Call::JoinLeave { channel: Arc::clone(channel), info, join: false, told: false };
            self.call(cx, token, call);
        }
    }

    /// Gives back everything that a subscription holds.
    pub(super) fn leave(&mut self, cx: &mut Cx<'_>, own: Details, code: &UnsubscribeCode) {
        let Some(local) = cx.channels.get_mut(own.channel) else { return };
        local.remove(cx.handle.slot());
        let record = Arc::clone(&local.record);
        self.leave_record(cx, own.channel, &record);
        cx.metrics.subscriptions_down();
        // One that leaves by its own command waits until the leave is to be sent to the others.
        let announces = own.is(Details::JOIN_LEAVE) && own.info.is_some();
        let token = if announces && *code == UnsubscribeCode::CLIENT { self.announcing() } else { 0 };
        self.withdraw(cx, own, &record, 0, token);
        self.tell(cx, Call::Unsubscribed { channel: record, code: code.clone() });
    }

    /// Gives back a place in a channel: the shard's, and through it the node's.
    pub(super) fn leave_record(&self, cx: &mut Cx<'_>, number: u32, record: &Arc<Channel>) {
        let shard_empty = cx.channels.remove_idle(number).is_some();
        let (vacated, ask) = cx.hub.leave(record, cx.handle.shard() as u8, shard_empty, cx.now);
        if let Some(ask) = ask {
            self.tell(cx, Call::Interest { channel: record.clone(), ask });
        }
        if vacated {
            self.tell(cx, Call::Vacated(record.clone()));
        }
    }

    /// The server ends a subscription: the client is notified.
    pub(super) fn end_subscription(&mut self, cx: &mut Cx<'_>, channel: &str, code: &UnsubscribeCode) {
        if self.leave_channel(cx, channel, code) {
            self.tell_end(cx, channel, code);
        }
    }

    /// Tells the client that it has no subscription to a channel.
    pub(super) fn tell_end(&self, cx: &mut Cx<'_>, channel: &str, code: &UnsubscribeCode) {
        cx.metrics.server_unsubscribe(code.code);
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
        let Some(name) = cx.channels.get(channel).map(|channel| channel.record.name.clone()) else { return };
        self.end_subscription(cx, &name, &UnsubscribeCode::INSUFFICIENT_STATE);
    }
}
