//! The list of what one connection is subscribed to.

use crate::capacity::grown;
use crate::handle::CallToken;
use crate::lazy_vec::LazyVec;
use crate::publication::ClientInfo;
use crate::session::expiry::Expiry;
use crate::session::{Cx, Session};
use smallvec::SmallVec;
use std::sync::Arc;

/// The subscriptions of one connection. Most are plain, of which there is the number of the channel alone.
#[derive(Default)]
pub(in crate::session) struct Subscriptions {
    /// Numbers of the channels in the shard's table.
    channels: SmallVec<[u32; 4]>,
    /// Details of the subscriptions that are not plain.
    details: LazyVec<Details>,
}

/// Details of a subscription that is not plain.
#[derive(Default)]
pub(in crate::session) struct Details {
    pub(in crate::session) channel: u32,
    pub(in crate::session) flags: u8,
    /// The last question whether it may go on. An answer to another one is about a subscription that is gone.
    pub(in crate::session) asked: CallToken,
    pub(in crate::session) expiry: Expiry,
    /// Info that others see with it, if they see it at all.
    pub(in crate::session) info: Option<Arc<ClientInfo>>,
}

impl Details {
    /// Made by the server: its loss is reported by a disconnect, since the client cannot subscribe again.
    pub(in crate::session) const SERVER_SIDE: u8 = 1;
    /// Listed in the channel's presence.
    pub(in crate::session) const PRESENCE: u8 = 2;
    /// Its joins and leaves are announced in the channel.
    pub(in crate::session) const JOIN_LEAVE: u8 = 4;
    /// The application is asked when it expires; the client is not notified.
    pub(in crate::session) const SERVER_REFRESH: u8 = 8;
    /// The application is being asked.
    pub(in crate::session) const REFRESHING: u8 = 16;
    /// It rests on the login.
    pub(in crate::session) const BY_LOGIN: u8 = 32;

    pub(in crate::session) const fn is(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    fn is_plain(&self) -> bool {
        self.flags == 0 && !self.asked.is_awaited() && self.expiry == Expiry::NEVER && self.info.is_none()
    }
}

/// One of the subscriptions.
#[derive(Clone, Copy)]
pub(in crate::session) struct Subscription<'a> {
    pub(in crate::session) channel: u32,
    details: Option<&'a Details>,
}

impl<'a> Subscription<'a> {
    pub(in crate::session) fn is(self, flag: u8) -> bool {
        self.details.is_some_and(|details| details.is(flag))
    }

    pub(in crate::session) fn info(self) -> Option<&'a Arc<ClientInfo>> {
        self.details?.info.as_ref()
    }
}

impl Subscriptions {
    pub(in crate::session) fn len(&self) -> usize {
        self.channels.len()
    }

    /// Numbers of their channels.
    pub(in crate::session) fn channels(&self) -> &[u32] {
        &self.channels
    }

    pub(in crate::session) fn contains(&self, channel: u32) -> bool {
        self.channels.contains(&channel)
    }

    pub(in crate::session) fn get(&self, channel: u32) -> Option<Subscription<'_>> {
        let details = || self.details.iter().find(|details| details.channel == channel);
        self.contains(channel).then(|| Subscription { channel, details: details() })
    }

    /// Those that are not plain.
    pub(in crate::session) fn special(&self) -> &[Details] {
        &self.details
    }

    pub(in crate::session) fn special_mut(&mut self) -> &mut [Details] {
        &mut self.details
    }

    /// Adds one that is not there.
    pub(in crate::session) fn add(&mut self, own: Details) {
        let len = self.channels.len();
        if len == self.channels.capacity() {
            self.channels.reserve_exact(grown(len, 4) - len);
        }
        self.channels.push(own.channel);
        if !own.is_plain() {
            self.details.push(own);
        }
    }

    /// Notes under which number it was asked whether one may go on.
    pub(in crate::session) fn set_asked(&mut self, channel: u32, asked: CallToken) {
        if let Some(own) = self.details.iter_mut().find(|own| own.channel == channel) {
            own.asked = asked;
        } else if self.contains(channel) {
            self.details.push(Details { channel, asked, ..Details::default() });
        }
    }

    /// Takes one out.
    pub(in crate::session) fn take(&mut self, channel: u32) -> Option<Details> {
        let at = self.channels.iter().position(|own| *own == channel)?;
        self.channels.swap_remove(at);
        Some(self.take_details(channel))
    }

    /// Takes the last one out.
    pub(in crate::session) fn pop(&mut self) -> Option<Details> {
        let channel = self.channels.pop()?;
        Some(self.take_details(channel))
    }

    fn take_details(&mut self, channel: u32) -> Details {
        match self.details.iter().rposition(|own| own.channel == channel) {
            Some(at) => self.details.swap_remove(at),
            None => Details { channel, ..Details::default() },
        }
    }
}

impl Session {
    /// The subscription to a channel, if there is one.
    pub(in crate::session) fn subscription(&self, cx: &Cx<'_>, channel: &str) -> Option<Subscription<'_>> {
        self.subscriptions.get(cx.local.find(channel)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Session;

    #[test]
    fn a_plain_subscription_takes_four_bytes_and_a_few_no_heap() {
        assert!(size_of::<Session>() <= 128, "{} bytes for a session", size_of::<Session>());
        assert!(size_of::<Details>() <= 32, "{} bytes for one that is not plain", size_of::<Details>());
        let mut all = Subscriptions::default();
        (0..4).for_each(|channel| all.add(Details { channel, ..Details::default() }));
        assert!(!all.channels.spilled() && all.special().is_empty());
        (4..100).for_each(|channel| all.add(Details { channel, ..Details::default() }));
        assert!(all.channels.capacity() <= 112, "room for {}", all.channels.capacity());
    }

    fn tokens() -> [CallToken; 4] {
        let first = CallToken::NOBODY.next();
        [CallToken::NOBODY, first, first.next(), first.next().next()]
    }

    #[test]
    fn what_is_not_plain_comes_and_goes_with_its_subscription() {
        let mut all = Subscriptions::default();
        for channel in 0..6 {
            let flags = if channel % 2 == 0 { Details::PRESENCE } else { 0 };
            all.add(Details { channel, flags, ..Details::default() });
        }
        let [none, first, second, third] = tokens();
        all.set_asked(3, first);
        all.set_asked(4, second);
        all.set_asked(9, third);
        assert_eq!(all.special().len(), 4);
        for (channel, asked) in [(0, none), (4, second), (3, first), (1, none)] {
            assert!(all.contains(channel));
            let own = all.take(channel).unwrap();
            assert_eq!((own.channel, own.asked), (channel, asked));
            assert_eq!(own.is(Details::PRESENCE), channel % 2 == 0);
            assert!(all.get(channel).is_none() && all.take(channel).is_none());
        }
        assert!(all.get(2).unwrap().is(Details::PRESENCE) && !all.get(5).unwrap().is(Details::PRESENCE));
        let mut left = [all.pop().unwrap(), all.pop().unwrap()];
        left.sort_by_key(|own| own.channel);
        assert_eq!(left.map(|own| (own.channel, own.flags)), [(2, Details::PRESENCE), (5, 0)]);
        assert!(all.pop().is_none() && all.special().is_empty());
    }
}
