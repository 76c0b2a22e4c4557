//! The subscriptions of one connection, and how they end.

use super::expiry::Expiry;
use super::{Cx, Phase, Session};
use crate::hooks::Refreshing;
use crate::hub::directory::Channel;
use crate::hub::local::Stand;
use crate::node::call::Call;
use crate::publication::ClientInfo;
use spinward_wire::code::{DisconnectCode, UnsubscribeCode};
use spinward_wire::message::{self, Unsubscribe};
use std::sync::Arc;

/// One subscription of a connection.
pub(super) struct Subscription {
    /// Number of the channel in the shard's table.
    pub(super) channel: u32,
    /// Most subscriptions are plain, and every one pays for the size.
    details: Option<Box<Details>>,
}

/// What is not plain of a subscription.
#[derive(Default)]
pub(super) struct Details {
    pub(super) flags: u8,
    /// The last question whether it may go on. An answer to another one is about a subscription that is gone.
    pub(super) asked: u32,
    pub(super) expiry: Expiry,
    /// What others see with it, where anything of it is seen.
    pub(super) info: Option<Arc<ClientInfo>>,
}

impl Subscription {
    /// Made by the server: its loss is told by a disconnect, since the client cannot subscribe again.
    pub(super) const SERVER_SIDE: u8 = 1;
    /// Listed in the channel's presence.
    pub(super) const PRESENCE: u8 = 2;
    /// The channel is told of its coming and going.
    pub(super) const JOIN_LEAVE: u8 = 4;
    /// The application is asked when it expires; the client is not told.
    pub(super) const SERVER_REFRESH: u8 = 8;
    /// The application is being asked.
    pub(super) const REFRESHING: u8 = 16;

    pub(super) fn new(channel: u32, details: Details) -> Self {
        let plain = details.flags == 0 && details.expiry == Expiry::NEVER && details.info.is_none();
        Self { channel, details: (!plain).then(|| Box::new(details)) }
    }

    pub(super) fn is(&self, flag: u8) -> bool {
        self.details.as_ref().is_some_and(|details| details.flags & flag != 0)
    }

    pub(super) fn expiry(&self) -> Expiry {
        self.details.as_ref().map_or(Expiry::NEVER, |details| details.expiry)
    }

    pub(super) fn asked(&self) -> u32 {
        self.details.as_ref().map_or(0, |details| details.asked)
    }

    pub(super) fn info(&self) -> Option<&Arc<ClientInfo>> {
        self.details.as_ref()?.info.as_ref()
    }

    /// What is not plain, to be changed.
    pub(super) fn details(&mut self) -> &mut Details {
        self.details.get_or_insert_default()
    }
}

/// Whether something of a channel may be sent to a client.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Push {
    Yes,
    /// Not before what is being put together.
    Wait,
    /// The subscription has ended before the client knew of it.
    No,
}

impl Session {
    /// Adds a subscription. Most connections have one, and some have hundreds: the list grows by a quarter.
    pub(super) fn keep(&mut self, own: Subscription) {
        let len = self.subscriptions.len();
        if len == self.subscriptions.capacity() {
            self.subscriptions.reserve_exact(len / 4 + 1);
        }
        self.subscriptions.push(own);
    }

    /// The subscription to a channel, if there is one.
    pub(super) fn subscription(&self, cx: &Cx<'_>, channel: &str) -> Option<&Subscription> {
        let number = cx.channels.find(channel)?;
        self.subscriptions.iter().find(|own| own.channel == number)
    }

    /// Whether the client knows of the subscription by this number of its channel, so that what happens in it
    /// may be pushed: a connect reply comes before everything, a subscribe reply before what it begins.
    pub(crate) fn may_push(&self, channel: u32) -> Push {
        if self.is_logging_in() || self.joins.iter().any(|join| join.is_listing(channel)) {
            Push::Wait
        } else if self.subscriptions.iter().any(|own| own.channel == channel) {
            Push::Yes
        } else {
            Push::No
        }
    }

    /// Whether the answers to its login are still being put together.
    pub(crate) fn is_logging_in(&self) -> bool {
        self.identity.is_some() && self.phase == Phase::Connecting
    }

    /// Whether [`Session::may_push`] may be anything but yes to its subscriptions.
    pub(crate) fn is_entering(&self) -> bool {
        !self.joins.is_empty() || self.phase == Phase::Connecting
    }

    /// What the application is asked when a login is to go on.
    pub(super) fn refreshing(&self, cx: &Cx<'_>, token: String) -> Refreshing {
        let names = |server_side_only: bool| {
            let wanted = move |own: &&Subscription| !server_side_only || own.is(Subscription::SERVER_SIDE);
            let channels =
                self.subscriptions.iter().filter(wanted).filter_map(|own| cx.channels.get(own.channel));
            channels.map(|channel| channel.record.name.to_string()).collect()
        };
        Refreshing { token, server_side_channels: names(true), channels: names(false) }
    }

    /// Ends the subscription to a channel, and any that is being entered. Says whether there was one that the
    /// client knows of; it is not told. Who waits for one that is being entered is told that it is not to be.
    pub(super) fn leave_channel(&mut self, cx: &mut Cx<'_>, channel: &str, code: &UnsubscribeCode) -> bool {
        let mut known = true;
        while let Some(at) = self.joins.iter().position(|join| &*join.channel == channel) {
            let join = self.joins.swap_remove(at);
            known = false;
            self.cut_short(cx, join, code);
        }
        let Some(number) = cx.channels.find(channel) else { return false };
        let Some(at) = self.subscriptions.iter().position(|own| own.channel == number) else { return false };
        let own = self.subscriptions.swap_remove(at);
        self.leave(cx, own, code);
        known
    }

    /// Takes a subscription out of its channel for another one that follows at once: nobody is told, the place in
    /// presence stays, and the channel is not left yet: that is done by [`Session::leave_record`] once the other one
    /// has its own place. Says where it stood, so that the other one goes on from there.
    pub(super) fn make_way(&mut self, cx: &mut Cx<'_>, channel: &str) -> Option<(u32, Arc<Channel>, Stand)> {
        let number = cx.channels.find(channel)?;
        let at = self.subscriptions.iter().position(|own| own.channel == number)?;
        self.subscriptions.swap_remove(at);
        let (slot, local) = (cx.handle.slot(), cx.channels.get_mut(number)?);
        let (record, stand) = (Arc::clone(&local.record), local.stand(slot));
        local.remove(slot);
        cx.metrics.subscriptions_down();
        Some((number, record, stand))
    }

    /// Gives back everything that a subscription holds.
    pub(super) fn leave(&self, cx: &mut Cx<'_>, own: Subscription, code: &UnsubscribeCode) {
        let Some(local) = cx.channels.get_mut(own.channel) else { return };
        local.remove(cx.handle.slot());
        let record = Arc::clone(&local.record);
        self.leave_record(cx, own.channel, &record);
        cx.metrics.subscriptions_down();
        let announced = own.is(Subscription::JOIN_LEAVE);
        if own.is(Subscription::PRESENCE) {
            self.tell(cx, Call::PresenceRemove { channel: record.clone(), client: self.id });
        }
        if let (Some(info), true) = (own.info().cloned(), announced) {
            self.tell(cx, Call::JoinLeave { channel: record.clone(), info, join: false, awaited: false });
        }
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

    /// The server ends a subscription: the client is told.
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
        let Some(own) = self.subscriptions.iter().find(|own| own.channel == channel) else { return };
        if own.is(Subscription::SERVER_SIDE) {
            return self.close(cx, DisconnectCode::INSUFFICIENT_STATE);
        }
        let Some(name) = cx.channels.get(channel).map(|channel| channel.record.name.clone()) else { return };
        self.end_subscription(cx, &name, &UnsubscribeCode::INSUFFICIENT_STATE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_subscription_owns_no_heap() {
        assert!(size_of::<Subscription>() <= 16, "{} bytes for a subscription", size_of::<Subscription>());
        assert!(Subscription::new(1, Details::default()).details.is_none());
        let mut own = Subscription::new(1, Details { expiry: Expiry::at(7), ..Details::default() });
        assert_eq!(own.expiry(), Expiry::at(7));
        own.details().flags |= Subscription::PRESENCE;
        assert!(own.is(Subscription::PRESENCE) && !own.is(Subscription::SERVER_SIDE));
    }
}
