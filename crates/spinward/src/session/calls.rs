//! Answers to commands that the application or a store decided.

use super::expiry::Expiry;
use super::subscribe::list::Details;
use super::{Cx, Session};
use crate::channel::record::Channel;
use crate::engine::broker::History;
use crate::engine::presence::{Member, Members, PresenceStats};
use crate::event::{FailureCause, RefreshEvent, RefreshReply, Refusal, SubRefreshReply};
use crate::fault::{self, Fault};
use crate::handle::CallToken;
use crate::identity::Identity;
use crate::mailbox::call::{Call, Outcome};
use crate::publication::ClientInfo;
use crate::to_wire::{payload, to_wire};
use bytes::Bytes;
use spinward_wire::append_presence_reply;
use spinward_wire::code::{DisconnectCode, ErrorCode, UnsubscribeCode};
use spinward_wire::message::{
    HistoryResult, PresenceStatsResult, RPCResult, RefreshResult, Reply, SubRefreshResult,
};
use std::sync::Arc;

impl Session {
    pub(super) fn on_published(&mut self, cx: &mut Cx<'_>, id: u32, outcome: Result<(), Refusal>) {
        match outcome {
            Ok(()) => self.reply(cx, &Reply { id, publish: Some(Default::default()), ..Reply::default() }),
            Err(refusal) => self.refuse(cx, id, refusal),
        }
    }

    pub(super) fn on_members(&mut self, cx: &mut Cx<'_>, id: u32, outcome: Result<Members, Refusal>) {
        match outcome {
            Ok(members) => {
                let (first, encoded) = (cx.out.is_empty(), members.encoded(self.dialect.encoding()));
                append_presence_reply(self.dialect, id, encoded, cx.out, first);
            }
            Err(refusal) => self.refuse(cx, id, refusal),
        }
    }

    pub(super) fn on_stats(&mut self, cx: &mut Cx<'_>, id: u32, outcome: Result<PresenceStats, Refusal>) {
        match outcome {
            Ok(stats) => {
                let stats = PresenceStatsResult { num_clients: stats.clients, num_users: stats.users };
                self.reply(cx, &Reply { id, presence_stats: Some(stats), ..Reply::default() });
            }
            Err(refusal) => self.refuse(cx, id, refusal),
        }
    }

    pub(super) fn on_history(&mut self, cx: &mut Cx<'_>, id: u32, outcome: Result<Box<History>, Refusal>) {
        match outcome {
            Ok(history) => {
                let History { publications, top } = *history;
                let history = HistoryResult {
                    publications: publications
                        .iter()
                        .map(|one| to_wire(one, &top.epoch, self.dialect.encoding()))
                        .collect(),
                    epoch: top.epoch.as_ref().to_owned(),
                    offset: top.offset,
                };
                self.reply(cx, &Reply { id, history: Some(history), ..Reply::default() });
            }
            Err(refusal) => self.refuse(cx, id, refusal),
        }
    }

    pub(super) fn on_rpc(&mut self, cx: &mut Cx<'_>, id: u32, outcome: Result<Bytes, Refusal>) {
        match outcome {
            Ok(data) => {
                let rpc = Some(RPCResult { data: payload(&data, self.dialect.encoding()) });
                self.reply(cx, &Reply { id, rpc, ..Reply::default() });
            }
            Err(refusal) => self.refuse(cx, id, refusal),
        }
    }

    pub(super) fn on_refresh(
        &mut self,
        cx: &mut Cx<'_>,
        id: u32,
        outcome: Result<Box<RefreshReply>, Refusal>,
    ) {
        let refreshed = match outcome {
            Ok(refreshed) => *refreshed,
            Err(refusal) => {
                if fault::holds(Fault::RefusedClears) {
                    self.expiry = Expiry::NEVER;
                }
                return self.refuse(cx, id, refusal);
            }
        };
        if Expiry::at(refreshed.expire_at).is_past(cx.now) {
            return self.error(cx, id, &ErrorCode::EXPIRED);
        }
        self.prolong(cx, refreshed);
        let ttl = self.expiry.ttl(cx.now);
        let refresh = RefreshResult {
            expires: ttl.is_some(),
            ttl: ttl.unwrap_or_default(),
            ..RefreshResult::default()
        };
        let refresh = self.refresh_result(cx, refresh);
        self.reply(cx, &Reply { id, refresh: Some(refresh), ..Reply::default() });
        self.tell(cx, Call::Refreshed);
    }

    /// Returns the question to the application whether a login may go on.
    pub(super) fn refreshing(&self, cx: &Cx<'_>, token: String) -> RefreshEvent {
        let name = |channel: u32| cx.local.get(channel).map(|local| local.record.name.to_string());
        let special = |flag: u8| {
            let with_flag = self.subscriptions.special().iter().filter(move |own| own.is(flag));
            with_flag.filter_map(|own| name(own.channel)).collect()
        };
        RefreshEvent {
            token,
            server_side_channels: special(Details::SERVER_SIDE),
            by_login: special(Details::BY_LOGIN),
            channels: self.subscriptions.channels().iter().filter_map(|channel| name(*channel)).collect(),
        }
    }

    /// The login goes on, perhaps with less.
    pub(super) fn prolong(&mut self, cx: &mut Cx<'_>, refreshed: RefreshReply) {
        self.expiry = Expiry::at(refreshed.expire_at);
        if let Some(identity) = &self.identity
            && (refreshed.info.is_some() || refreshed.meta.is_some() || refreshed.extension.is_some())
        {
            self.identity = Some(Arc::new(Identity {
                id: identity.id,
                user: identity.user.clone(),
                info: refreshed.info.unwrap_or_else(|| identity.info.clone()),
                meta: refreshed.meta.unwrap_or_else(|| identity.meta.clone()),
                labels: identity.labels.clone(),
                application: identity.application.clone(),
                transport: identity.transport,
                protocol: identity.protocol,
                version: identity.version,
                extension: refreshed.extension.or_else(|| identity.extension.clone()),
            }));
            self.show_anew(cx);
        }
        for channel in refreshed.unsubscribe {
            self.end_subscription(cx, &channel, &UnsubscribeCode::SERVER);
        }
        for channel in refreshed.lapsed {
            let by_login = self.subscription(cx, &channel).is_some_and(|own| own.is(Details::BY_LOGIN));
            if by_login && !fault::holds(Fault::LapsedStays) {
                self.end_subscription(cx, &channel, &UnsubscribeCode::EXPIRED);
            }
        }
    }

    /// Updates what others see of this client: in presence now, and in its leaves later.
    fn show_anew(&mut self, cx: &mut Cx<'_>) {
        let Some(identity) = self.identity.clone() else { return };
        let mut listed = Vec::new();
        for own in self.subscriptions.special_mut() {
            let Some(old) = &own.info else { continue };
            let info = Arc::new(identity.client_info(old.chan_info.clone()));
            own.info = Some(Arc::clone(&info));
            if own.is(Details::PRESENCE) {
                listed.push((own.channel, info));
            }
        }
        for (channel, info) in listed {
            self.list_anew(cx, channel, info);
        }
    }

    /// Appends the presence entries of this connection.
    pub(crate) fn list_presence(&self, cx: &Cx<'_>, members: &mut Vec<Member>) {
        for own in self.subscriptions.special() {
            if let (true, Some(info), Some(local)) =
                (own.is(Details::PRESENCE), &own.info, cx.local.get(own.channel))
            {
                let channel = Arc::from(&*local.record.name);
                members.push(Member { channel, client: self.id, info: Arc::clone(info) });
            }
        }
    }

    fn list_anew(&self, cx: &mut Cx<'_>, channel: u32, info: Arc<ClientInfo>) {
        if let Some(channel) = cx.local.get(channel).map(|local| local.record.clone()) {
            self.tell(cx, Call::PresenceAdd { channel, client: self.id, info });
        }
    }

    pub(super) fn on_sub_refresh(
        &mut self,
        cx: &mut Cx<'_>,
        id: u32,
        token: CallToken,
        channel: &Arc<Channel>,
        outcome: Result<SubRefreshReply, Refusal>,
    ) {
        let refreshed = match outcome {
            Ok(refreshed) => refreshed,
            Err(refusal) => return self.refuse(cx, id, refusal),
        };
        let expiry = Expiry::at(refreshed.expire_at);
        if expiry.is_past(cx.now) {
            if fault::holds(Fault::RefusedProlongs) {
                self.tell(cx, Call::SubRefreshed(Arc::clone(channel)));
            }
            return self.error(cx, id, &ErrorCode::EXPIRED);
        }
        // It may have ended while the application was asked.
        if !self.prolong_subscription(cx, token, channel, refreshed) {
            return self.error(cx, id, &ErrorCode::PERMISSION_DENIED);
        }
        let ttl = expiry.ttl(cx.now);
        let sub_refresh =
            SubRefreshResult { expires: ttl.is_some(), ttl: ttl.unwrap_or_default(), items: Vec::new() };
        self.reply(cx, &Reply { id, sub_refresh: Some(sub_refresh), ..Reply::default() });
        self.tell(cx, Call::SubRefreshed(Arc::clone(channel)));
    }

    /// The application is asked whether a subscription may go on: the number that its answer will have.
    pub(super) fn asking(&mut self, channel: u32) -> CallToken {
        let token = self.token();
        self.subscriptions.set_asked(channel, token);
        token
    }

    /// The subscription that a question was about, if it is still there.
    fn asked_about(&mut self, cx: &Cx<'_>, token: CallToken, channel: &str) -> Option<&mut Details> {
        let number = cx.local.find(channel)?;
        self.subscriptions.special_mut().iter_mut().find(|own| own.channel == number && own.asked == token)
    }

    fn prolong_subscription(
        &mut self,
        cx: &mut Cx<'_>,
        token: CallToken,
        channel: &Arc<Channel>,
        refreshed: SubRefreshReply,
    ) -> bool {
        let identity = self.identity.clone();
        let Some(own) = self.asked_about(cx, token, &channel.name) else { return false };
        let (number, listed) = (own.channel, own.is(Details::PRESENCE));
        own.expiry = Expiry::at(refreshed.expire_at);
        own.flags &= !(Details::REFRESHING | Details::BY_LOGIN);
        // Without an info so far there may be none kept: what is published shows the connection alone then.
        let shown = own.info.as_deref().cloned();
        let shown = shown.or_else(|| identity.map(|identity| identity.client_info(Bytes::new())));
        if let (Some(chan_info), Some(shown)) = (refreshed.info, shown) {
            let info = Arc::new(ClientInfo { chan_info, ..shown });
            own.info = Some(Arc::clone(&info));
            if listed {
                self.list_anew(cx, number, info);
            }
        }
        true
    }

    /// Answers to questions that the node asked by itself.
    pub(super) fn on_unasked_outcome(&mut self, cx: &mut Cx<'_>, outcome: Outcome) {
        match outcome {
            Outcome::Panicked => self.close(cx, DisconnectCode::SERVER_ERROR),
            // Requested again at the next look, as after an error.
            Outcome::TimedOut => self.refreshing = false,
            Outcome::Refresh(outcome) if self.refreshing => {
                self.refreshing = false;
                match outcome {
                    Ok(refreshed) => {
                        self.prolong(cx, *refreshed);
                        self.tell(cx, Call::Refreshed);
                    }
                    Err(Refusal::Disconnect(code)) => self.close(cx, code),
                    // Requested again at the next look, until the grace is over.
                    Err(Refusal::Error(_)) => {}
                }
            }
            Outcome::Subscribe { channel, outcome: Ok(_), .. } => {
                self.grant_failed(cx, channel, false, FailureCause::Disconnected);
            }
            _ => {}
        }
    }

    /// The application answered for a subscription that it refreshes itself.
    pub(crate) fn on_server_sub_refresh(
        &mut self,
        cx: &mut Cx<'_>,
        token: CallToken,
        channel: &Arc<Channel>,
        outcome: Result<SubRefreshReply, Refusal>,
    ) {
        match outcome {
            Ok(refreshed) => {
                if self.prolong_subscription(cx, token, channel, refreshed) {
                    self.tell(cx, Call::SubRefreshed(Arc::clone(channel)));
                }
            }
            Err(Refusal::Disconnect(code)) => self.close(cx, code),
            Err(Refusal::Error(_)) if self.asked_about(cx, token, &channel.name).is_some() => {
                self.end_subscription(cx, &channel.name, &UnsubscribeCode::EXPIRED);
            }
            Err(Refusal::Error(_)) => {}
        }
    }
}
