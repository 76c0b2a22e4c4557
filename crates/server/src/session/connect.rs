//! Logging in, and staying in.

use super::credentials::credential;
use super::explain::no_token;
use super::personal::{PERSONAL, personal_channel};
use super::proxy::{ConnectResult, POSTPONED, RefreshResult, Renewal, Sender, kept, kept_emulated};
use super::revocations::{NO_TOKEN, of_connection};
use super::{ActiveConfig, Inner, State, options};
use crate::admission::{Login, Permit};
use crate::auth::claims::ConnectToken;
use crate::auth::reason::{self, Outcome, Use};
use crate::policy::server_side::{ServerSide, requested, server_side};
use crate::policy::{
    Capabilities, Refused, Reply, Request, Rule, Rules, Source, SubscribeFacts, Verdict, decide,
};
use spinward::Client;
use spinward::answer::Answer;
use spinward::hooks::{
    ConnectEvent, ConnectReply, Decision, Handshake, RefreshEvent, RefreshReply, Refusal, SubscribeOptions,
};
use spinward::identity::{Credentials, Extension};
use spinward::wire::code::{DisconnectCode, ErrorCode, UnsubscribeCode};
use std::sync::Arc;

impl Inner {
    pub(super) fn connect(self: &Arc<Self>, request: ConnectEvent) -> Decision<ConnectReply> {
        let active = self.active.get();
        let credential = match credential(&active, &request.token, &request.handshake.headers) {
            Ok(Some(credential)) => credential,
            Ok(None) => return self.connect_without_token(active, request),
            Err(refusal) => {
                return Answer::Now(Err(self.refused(&active, Use::Connect, ("", ""), &refusal)));
            }
        };
        let inner = Arc::clone(self);
        let verified = active.keys.connection.verify_connection(&credential.token, self.now());
        verified.then(move |verified| {
            let now = inner.now();
            let token = verified.and_then(|token| {
                token.usable(!active.settings.no_anonymous_tokens, now)?;
                inner.revocations.check(&of_connection(&token))?;
                Ok(token)
            });
            Answer::Now(match token {
                Ok(token) => {
                    inner.connect_with(&active, token, &request).map(|connected| ConnectReply {
                        // The client has no token that it could renew, so it does not learn of the end: it is
                        // closed then, and comes back with what the cookie or header holds by that time.
                        server_side_refresh: credential.is_ambient() || active.proxies.refreshes(),
                        ..connected
                    })
                }
                Err(refusal) => {
                    Err(inner.refused(&active, Use::Connect, ("", ""), &credential.place(refusal)))
                }
            })
        })
    }

    /// Anonymous means that there is no credential at all, or a token without a user; never one that failed.
    fn connect_without_token(
        self: &Arc<Self>,
        active: Arc<ActiveConfig>,
        request: ConnectEvent,
    ) -> Decision<ConnectReply> {
        if let Some(known) = self.known_without_token(&active, &request) {
            return Answer::Now(known);
        }
        let emulated = kept_emulated(&*active.proxies, &request.headers);
        let Some(reply) = active.proxies.connect(&request, emulated.as_ref()) else {
            return Answer::Now(self.nobody(&active, &request));
        };
        let inner = Arc::clone(self);
        reply.map(move |reply| match reply {
            Reply::Result(Some(result)) => inner.connect_by_proxy(&active, result, &request),
            // The back end does not know the client, either.
            Reply::Result(None) | Reply::NoProxy => inner.nobody(&active, &request),
            Reply::Error(code) => Err(code.into()),
            Reply::Disconnect(code) => Err(code.into()),
        })
    }

    /// A login by something else than a token, if there is any.
    fn known_without_token(
        &self,
        active: &ActiveConfig,
        request: &ConnectEvent,
    ) -> Option<Result<ConnectReply, Refusal>> {
        let settings = &active.settings;
        let from_header = (!settings.user_header.is_empty())
            .then(|| request.handshake.headers.get(&settings.user_header))
            .flatten()
            .and_then(|value| value.to_str().ok())
            .filter(|user| !user.is_empty());
        if let Some(user) = from_header {
            let user = user.to_owned();
            return Some(self.connected_without_token(active, user, ConnectReply::default(), request));
        }
        let credentials = request.handshake.credentials.as_ref()?;
        let connected = ConnectReply { credentials: credentials.clone(), ..ConnectReply::default() };
        Some(self.connected_without_token(active, credentials.user.clone(), connected, request))
    }

    /// A login of a client of which nothing is known.
    fn nobody(&self, active: &ActiveConfig, request: &ConnectEvent) -> Result<ConnectReply, Refusal> {
        let settings = &active.settings;
        if settings.insecure || settings.anonymous_without_token {
            let state = State::of(active, request);
            return self.connected(active, String::new(), state, ConnectReply::default(), &request.channels);
        }
        Err(self.refused(active, Use::Connect, ("", ""), &no_token()))
    }

    /// A login that the back end has granted.
    fn connect_by_proxy(
        &self,
        active: &ActiveConfig,
        result: ConnectResult,
        request: &ConnectEvent,
    ) -> Result<ConnectReply, Refusal> {
        let user = result.user;
        if let Err(refusal) = self.check_user(&user) {
            return Err(self.refused(active, Use::Connect, (&user, ""), &refusal));
        }
        let mut subs = result.subs;
        for channel in result.channels {
            subs.entry(channel).or_default();
        }
        // Centrifugo makes nothing of an empty name, and the personal channel replaces one of its name.
        subs.remove("");
        if let Ok(Some((channel, _))) = personal_channel(active, &user) {
            subs.remove(&channel);
        }
        let mut subscriptions = Vec::with_capacity(subs.len());
        for (channel, sub) in &subs {
            let wanted = ServerSide {
                source: Source::ConnectProxy,
                overrides: sub.overrides,
                expire_at: 0,
                info: sub.info.as_ref(),
                data: sub.data.as_ref(),
            };
            let granted = server_side(&active.rules, channel, &wanted).map_err(|refused| {
                self.refused_channel((&user, channel), refused, || {
                    "have the connect proxy name another channel, or configure its namespace".to_owned()
                })
            })?;
            let mut options = options(&granted);
            options.auto_recover |= sub.cache_recover && options.cache && options.recovery;
            subscriptions.push((channel.clone(), options));
        }
        let connected = ConnectReply {
            credentials: Credentials { user: String::new(), info: result.info, expire_at: result.expire_at },
            meta: result.meta,
            labels: result.labels,
            data: result.data,
            subscriptions,
            server_side_refresh: active.proxies.refreshes(),
            ..ConnectReply::default()
        };
        let state =
            State { capabilities: result.capabilities, iat: Some(NO_TOKEN), ..State::of(active, request) };
        // What the command names does not count: the back end knows of it, and has chosen.
        self.connected(active, user, state, connected, &[])
    }

    fn connected_without_token(
        &self,
        active: &ActiveConfig,
        user: String,
        connected: ConnectReply,
        request: &ConnectEvent,
    ) -> Result<ConnectReply, Refusal> {
        if let Err(refusal) = self.check_user(&user) {
            return Err(self.refused(active, Use::Connect, (&user, ""), &refusal));
        }
        let state = State { iat: Some(NO_TOKEN), ..State::of(active, request) };
        self.connected(active, user, state, connected, &request.channels)
    }

    fn connect_with(
        &self,
        active: &ActiveConfig,
        token: ConnectToken,
        request: &ConnectEvent,
    ) -> Result<ConnectReply, Refusal> {
        let rules = &active.rules;
        if token.caps_ignored {
            self.refusals.caps_ignored(Use::Connect, &token.user);
        }
        let mut subscriptions = Vec::with_capacity(token.subs.len());
        for (channel, sub) in &token.subs {
            let wanted = ServerSide {
                source: Source::ConnectionToken,
                overrides: sub.overrides,
                expire_at: 0,
                info: sub.info.as_ref(),
                data: sub.data.as_ref(),
            };
            let granted = server_side(rules, channel, &wanted).map_err(|refused| {
                self.refused_channel((&token.user, channel), refused, || {
                    "name another channel in the claims subs or channels, or configure its namespace"
                        .to_owned()
                })
            })?;
            subscriptions.push((channel.clone(), options(&granted)));
        }
        let channels = token.subs.keys().cloned().collect();
        let connected = ConnectReply {
            credentials: Credentials {
                user: String::new(),
                info: token.info.unwrap_or_default(),
                expire_at: token.expire_at.unwrap_or(0),
            },
            meta: token.meta.unwrap_or_default(),
            labels: token.labels,
            subscriptions,
            ..ConnectReply::default()
        };
        let state = State {
            capabilities: token.caps,
            channels,
            jti: token.jti.map(Into::into),
            iat: token.iat,
            ..State::of(active, request)
        };
        self.connected(active, token.user, state, connected, &request.channels)
    }

    /// Adds what every login gets, and of the channels that the client named those that it may subscribe to.
    fn connected(
        &self,
        active: &ActiveConfig,
        user: String,
        state: State,
        mut connected: ConnectReply,
        wanted: &[String],
    ) -> Result<ConnectReply, Refusal> {
        let (rules, settings) = (&active.rules, &active.settings);
        let personal = personal_channel(active, &user)
            .map_err(|refusal| self.refused(active, Use::Connect, (&user, ""), &refusal))?;
        if let Some((channel, granted)) = personal
            && !connected.subscriptions.iter().any(|(name, _)| *name == channel)
        {
            let granted = granted.map_err(|refused| {
                self.refused_channel((&user, &channel), refused, || {
                    format!("set {PERSONAL}.personal_channel_namespace to a namespace of streams")
                })
            })?;
            connected.subscriptions.push((channel, options(&granted)));
            connected.single_connection = settings.single_connection;
        }
        let mut granted_too = Vec::new();
        for channel in wanted {
            // Centrifugo makes nothing of an empty name.
            if channel.is_empty() || connected.subscriptions.iter().any(|(name, _)| name == channel) {
                continue;
            }
            let mut asked = Request::new(SubscribeFacts::default(), channel, &user, self.now());
            asked.capabilities = state.capabilities.as_ref();
            let decided = requested(decide(rules, &asked));
            match decided.verdict {
                Verdict::Allow(grant) => {
                    let by_login = decided.rule == Rule::Capability;
                    granted_too.push((channel.clone(), SubscribeOptions { by_login, ..options(&grant) }));
                }
                // Such a channel is left out, and one that a proxy would decide as well.
                Verdict::Ask(_) | Verdict::Error(_) => {}
                Verdict::Disconnect(code) => return Err(code.into()),
            }
        }
        connected.subscriptions.append(&mut granted_too);
        connected.credentials.user = user;
        connected.extension = state.extension();
        Ok(connected)
    }

    pub(super) fn refresh(
        self: &Arc<Self>,
        client: &Client,
        request: RefreshEvent,
    ) -> Decision<RefreshReply> {
        if request.token.is_empty() {
            return self.renew(client, request);
        }
        let (inner, client, active) = (Arc::clone(self), client.clone(), self.active.get());
        if active.proxies.refreshes() {
            // The client was told of no end, so there is nothing for it to prolong: as in Centrifugo v6.9.
            return DisconnectCode::BAD_REQUEST.into();
        }
        let verified = active.keys.connection.verify_connection(&request.token, self.now());
        verified.then(move |verified| {
            let now = inner.now();
            let token = verified.and_then(|token| {
                token.refreshes(client.user())?;
                token.usable(!active.settings.no_anonymous_tokens, now)?;
                inner.revocations.check(&of_connection(&token))?;
                Ok(token)
            });
            Answer::Now(match token {
                Ok(token) => inner.refreshed(&active.rules, &client, &request, token),
                Err(refusal) => Err(inner.refused(&active, Use::Refresh, (client.user(), ""), &refusal)),
            })
        })
    }

    /// The node asks whether a login goes on.
    fn renew(self: &Arc<Self>, client: &Client, request: RefreshEvent) -> Decision<RefreshReply> {
        let (active, state) = (self.active.get(), client.extension::<State>());
        let renewal = active.proxies.refresh(&Sender::new(client, state.as_deref()));
        let (inner, client) = (Arc::clone(self), client.clone());
        renewal.map(move |renewal| match renewal {
            Renewal::Granted(RefreshResult { expire_at, info, meta, capabilities }) => {
                let reply = RefreshReply { expire_at, info, meta, ..RefreshReply::default() };
                let Some(capabilities) = capabilities else { return Ok(reply) };
                let (rules, none) = (&active.rules, |_: &str| false);
                let lapsed = inner.lapsed(rules, &client, &request, Some(&capabilities), none);
                let kept = state.as_deref().map(State::kept).unwrap_or_default();
                let fresh = State { capabilities: Some(capabilities), ..kept };
                Ok(RefreshReply { extension: fresh.extension(), lapsed, ..reply })
            }
            Renewal::Postponed => {
                let expire_at = inner.now().saturating_add(POSTPONED);
                Ok(RefreshReply { expire_at, ..RefreshReply::default() })
            }
            Renewal::Broken => Err(DisconnectCode::SERVER_ERROR.into()),
            // The token was in a cookie or header: only a new request has a new one.
            Renewal::Over | Renewal::NoProxy => Err(DisconnectCode::EXPIRED.into()),
        })
    }

    fn refreshed(
        &self,
        rules: &Rules,
        client: &Client,
        request: &RefreshEvent,
        token: ConnectToken,
    ) -> Result<RefreshReply, Refusal> {
        if token.subs.keys().any(|channel| rules.registry.resolve(channel).namespace.is_none()) {
            return Err(ErrorCode::UNKNOWN_CHANNEL.into());
        }
        let state = client.extension::<State>();
        let before = state.as_ref().map(|state| &*state.channels).unwrap_or_default();
        // Channels of the new token may be there by any wish; those it no longer names must not be by the old one.
        let more = token.subs.keys().any(|channel| !request.channels.contains(channel));
        let made = |channel| request.server_side_channels.contains(channel);
        let fewer = before.iter().any(|channel| !token.subs.contains_key(channel) && made(channel));
        if more || fewer {
            // Only a new connection gets the new set of subscriptions.
            return Err(DisconnectCode::INSUFFICIENT_STATE.into());
        }
        if token.caps_ignored {
            self.refusals.caps_ignored(Use::Refresh, &token.user);
        }
        let named = |channel: &str| token.subs.contains_key(channel);
        let lapsed = self.lapsed(rules, client, request, token.caps.as_ref(), named);
        // What the old token allowed must not outlive it, so a state is replaced even by an empty one.
        let fresh = State {
            capabilities: token.caps,
            jti: token.jti.map(Into::into),
            iat: token.iat,
            ..state.as_deref().map(State::kept).unwrap_or_default()
        };
        let extension = if state.is_some() { Some(Arc::new(fresh) as Extension) } else { fresh.extension() };
        let expire_at = token.expire_at.unwrap_or(0);
        Ok(RefreshReply {
            expire_at,
            // Centrifugo v6.9 takes the info with an end only.
            info: token.info.filter(|_| expire_at > 0),
            meta: None,
            extension,
            unsubscribe: Vec::new(),
            lapsed,
        })
    }

    /// Channels whose subscriptions rest on the former capabilities, and that neither the new ones, nor the new token's
    /// list, nor anything else allows now.
    fn lapsed(
        &self,
        rules: &Rules,
        client: &Client,
        request: &RefreshEvent,
        capabilities: Option<&Capabilities>,
        named: impl Fn(&str) -> bool,
    ) -> Vec<String> {
        let now = self.now();
        let is_over = |channel: &&String| {
            let mut asked = Request::new(SubscribeFacts::default(), channel, client.user(), now);
            asked.capabilities = capabilities;
            let decision = decide(rules, &asked);
            let over = decision.grant().is_none();
            if over {
                self.refused_by_rule(rules, &asked, &decision, UnsubscribeCode::EXPIRED.code);
            }
            over
        };
        request
            .by_login
            .iter()
            .filter(|channel| !named(channel.as_str()) && is_over(channel))
            .cloned()
            .collect()
    }

    /// Tells the operator why a channel that comes with a login cannot be had, and returns the refusal of the login.
    fn refused_channel(
        &self,
        whose: (&str, &str),
        Refused { rule, code }: Refused,
        change: impl FnOnce() -> String,
    ) -> Refusal {
        self.refusals.permission("connect", whose, rule.id(), code.code, change);
        code.into()
    }

    /// Tells why, and gives what the client is told.
    pub(super) fn refused(
        &self,
        active: &ActiveConfig,
        used: Use,
        (user, channel): (&str, &str),
        refusal: &reason::Refusal,
    ) -> Refusal {
        let outcome = refusal.outcome(used);
        self.refusals.token(used, user, channel, refusal, outcome.code());
        match outcome {
            Outcome::Error(code) => Refusal::Error(code),
            Outcome::Disconnect(code) if active.settings.explain => Refusal::Disconnect(DisconnectCode {
                code: code.code,
                reason: explained(&code.reason, refusal).into(),
            }),
            Outcome::Disconnect(code) => Refusal::Disconnect(code),
        }
    }
}

impl State {
    /// The part of the state that a refresh leaves as it is, but for the token: that is the caller's.
    fn kept(&self) -> Self {
        Self {
            capabilities: None,
            channels: self.channels.clone(),
            jti: self.jti.clone(),
            iat: self.iat,
            counted: self.counted.clone(),
            headers: self.headers.clone(),
            emulated: self.emulated.clone(),
        }
    }

    /// The part of the state that comes from the handshake and the connect command.
    fn of(active: &ActiveConfig, request: &ConnectEvent) -> Self {
        let headers = kept(&*active.proxies, &request.handshake.headers);
        let emulated = kept_emulated(&*active.proxies, &request.headers);
        Self { counted: counted(&request.handshake), headers, emulated, ..Self::default() }
    }
}

/// Returns the permit that a connection counts by after its login.
fn counted(handshake: &Handshake) -> Option<Arc<Permit>> {
    handshake.extension.as_ref()?.downcast_ref::<Login>()?.connection()
}

/// The close reason of development mode, cut to what a close frame holds.
fn explained(reason: &str, refusal: &reason::Refusal) -> String {
    let mut text = format!("{reason}: {} ({})", refusal.reason.code(), refusal.detail);
    let mut end = text.len().min(123);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}
