//! Timers of a connection.

use super::expiry::Standing;
use super::subscribe::list::Details;
use super::{Cx, Phase, Session};
use crate::fault::{self, Fault};
use crate::identity::Transport;
use crate::mailbox::call::Call;
use spinward_wire::code::{DisconnectCode, UnsubscribeCode};
use std::time::Duration;

/// A time on the monotonic clock that does not come.
pub(super) const NEVER: u64 = u64::MAX;

/// Delay before the application is asked again whether an expired login may go on.
const ASK_AGAIN_MS: u64 = 1_000;

impl Session {
    /// Returns the time to call [`Session::on_timer`], on the monotonic clock; `u64::MAX` is never.
    pub(crate) fn deadline(&self, cx: &Cx<'_>) -> u64 {
        if self.phase == Phase::Closed {
            return NEVER;
        }
        let mut deadline = self.login_by.min(self.ping_at);
        // While a command waits nothing is read, so a pong cannot arrive: its deadline is suspended.
        if self.busy.is_none() {
            deadline = deadline.min(self.pong_by);
        }
        deadline = deadline.min(self.expiry.deadline(cx.now, millis(cx.config.expired_close_delay)));
        if self.server_side_refresh && !self.refreshing {
            deadline = deadline.min(self.expiry.question(cx.now, ASK_AGAIN_MS));
        }
        for own in self.subscriptions.special() {
            let asks = own.is(Details::SERVER_REFRESH) && !own.is(Details::REFRESHING);
            let grace = if asks { 0 } else { millis(cx.config.expired_sub_close_delay) };
            deadline = deadline.min(own.expiry.deadline(cx.now, grace));
        }
        deadline
    }

    /// The clock has moved to the deadline or past it. `behind`: what the client sent is being taken, but not all of
    /// it is yet.
    pub(crate) fn on_timer(&mut self, cx: &mut Cx<'_>, behind: bool) {
        match self.phase {
            Phase::Closed => return,
            // In `Connecting` it is the application that has not answered in time. The client is told the same.
            Phase::New | Phase::Connecting | Phase::Refused if cx.now.mono >= self.login_by => {
                return self.close(cx, DisconnectCode::STALE);
            }
            Phase::New | Phase::Connecting | Phase::Refused | Phase::Connected => {}
        }
        self.check_pong_and_ping(cx, behind);
        if self.phase != Phase::Closed {
            self.check_expiry(cx);
        }
        if self.phase != Phase::Closed {
            self.check_subscriptions(cx);
        }
    }

    /// The first ping comes after a part of the interval that depends on the connection, so that many that
    /// came at once are not pinged at once ever after.
    pub(super) fn start_pings(&mut self, cx: &Cx<'_>) {
        let interval = self.ping_interval(cx);
        self.ping_at = if interval == 0 {
            NEVER
        } else {
            let part = interval * u64::from(self.id.spread()) / u64::from(u32::MAX);
            cx.now.mono + interval / 2 + part / 2
        };
    }

    /// Milliseconds between pings. SockJS has an interval of its own for clients that are pinged by nothing else.
    fn ping_interval(&self, cx: &Cx<'_>) -> u64 {
        let own = self.transport == Transport::SockJs && self.dialect.is_v1();
        millis(if own { cx.config.sockjs_heartbeat_delay } else { self.announced_ping_interval(cx) })
    }

    /// The interval that the client is told.
    pub(super) fn announced_ping_interval(&self, cx: &Cx<'_>) -> Duration {
        let config = cx.config;
        if self.transport == Transport::UniGrpc {
            config.uni_grpc_ping_interval
        } else {
            config.ping_interval
        }
    }

    fn check_pong_and_ping(&mut self, cx: &mut Cx<'_>, behind: bool) {
        if cx.now.mono >= self.pong_by {
            if self.busy.is_none() && !behind {
                return self.close(cx, DisconnectCode::NO_PONG);
            }
            // The pong may be in what is not read yet.
            self.pong_by = cx.now.mono + millis(cx.config.pong_timeout);
        }
        if self.phase == Phase::Connected && cx.now.mono >= self.ping_at {
            self.ping_at = cx.now.mono + self.ping_interval(cx);
            let timeout = millis(cx.config.pong_timeout);
            if timeout != 0 && self.expects_pongs() {
                // Special than one may be outstanding where a command takes long: each is answered in the end.
                self.pongs_due = self.pongs_due.saturating_add(1);
                if self.pong_by == NEVER {
                    self.pong_by = cx.now.mono + timeout;
                }
            }
            self.ping(cx);
        }
    }

    fn check_expiry(&mut self, cx: &mut Cx<'_>) {
        match self.expiry.standing(cx.now, millis(cx.config.expired_close_delay)) {
            Standing::Valid => {}
            Standing::Grace if fault::strikes(Fault::NoGrace) => self.close(cx, DisconnectCode::EXPIRED),
            Standing::Over if fault::holds(Fault::LoginOutlives) => {}
            Standing::Grace
                if self.server_side_refresh && !self.refreshing && self.phase == Phase::Connected =>
            {
                self.refreshing = true;
                let token = self.token();
                let request = self.refreshing(cx, String::new());
                self.call(cx, token, Call::Refresh(request));
            }
            Standing::Grace => {}
            Standing::Over => self.close(cx, DisconnectCode::EXPIRED),
        }
    }

    fn check_subscriptions(&mut self, cx: &mut Cx<'_>) {
        let grace = millis(cx.config.expired_sub_close_delay);
        let mut over = Vec::new();
        let mut asks = Vec::new();
        for own in self.subscriptions.special_mut() {
            match own.expiry.standing(cx.now, grace) {
                Standing::Valid => {}
                Standing::Over if fault::holds(Fault::SubscriptionOutlives) => {}
                Standing::Grace if own.is(Details::SERVER_REFRESH) && !own.is(Details::REFRESHING) => {
                    own.flags |= Details::REFRESHING;
                    asks.push(own.channel);
                }
                Standing::Grace => {}
                Standing::Over if own.is(Details::SERVER_SIDE) => {
                    return self.close(cx, DisconnectCode::SUBSCRIPTION_EXPIRED);
                }
                Standing::Over => over.push(own.channel),
            }
        }
        for number in asks {
            let Some(channel) = cx.local.get(number).map(|local| local.record.clone()) else { continue };
            let token = self.asking(number);
            self.call(cx, token, Call::SubRefresh { channel, token: None });
        }
        for channel in over {
            if let Some(name) = cx.local.get(channel).map(|local| local.record.name.clone()) {
                self.end_subscription(cx, &name, &UnsubscribeCode::EXPIRED);
            }
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
