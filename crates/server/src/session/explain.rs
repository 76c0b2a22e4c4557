//! Explanations of the server's decisions for its operator: the same for the command line and for the API.

use super::credentials::credential;
use super::explain_proxies::refreshed_by;
use super::personal::personal_channel;
use super::proxy::Sender;
use super::refusal_log::CAPS_IGNORED;
use super::rehearse::{Rehearsal, Rehearsed};
use super::subscribe::{answer, facts, is_judged};
use super::{ActiveConfig, Revocations, Shared, of_connection, of_subscription};
use crate::auth::claims::CAPS_FIX;
use crate::auth::reason::{Outcome, Reason, Refusal, Use};
use crate::auth::revoke::Subject;
use crate::auth::token::{ConnectToken, SubscribeToken};
use crate::policy::explain::{Explanation, explain};
use crate::policy::{
    Action, Ask, PublishFacts, Reply, Request, SubscribeFacts, Verdict, Wishes, decide, decide_after,
};
use http::HeaderMap;
use spinward::Client;
use spinward::clock::Clock;
use spinward::hooks::{ConnectEvent, Handshake, PublishEvent, SubscribeEvent};
use spinward::id::ClientId;
use spinward::identity::Identity;
use spinward::wire::code::{DisconnectCode, ErrorCode};
use std::fmt;

/// Action to explain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To connect.
    Connect,
    /// To prolong a connection by a new connection token.
    Refresh,
    /// To subscribe.
    Subscribe,
    /// To prolong a subscription by a new subscription token.
    SubRefresh,
    /// To publish.
    Publish,
    /// To see who is there.
    Presence,
    /// To see how many are there.
    PresenceStats,
    /// To read history.
    History,
}

impl Asked {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Connect,
        Self::Refresh,
        Self::Subscribe,
        Self::SubRefresh,
        Self::Publish,
        Self::Presence,
        Self::PresenceStats,
        Self::History,
    ];

    /// Its name, as in the client protocol.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => Use::Connect.name(),
            Self::Refresh => Use::Refresh.name(),
            Self::Subscribe => Use::Subscribe.name(),
            Self::SubRefresh => Use::SubRefresh.name(),
            Self::Publish => "publish",
            Self::Presence => "presence",
            Self::PresenceStats => "presence_stats",
            Self::History => "history",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|asked| asked.name() == name)
    }
}

/// Question for an explanation: the client, its tokens and the action.
#[derive(Clone)]
pub struct Question {
    /// The user; that of the token if `None`.
    pub user: Option<String>,
    /// The id of the connection, where a subscription token may be for one alone.
    pub client: Option<String>,
    /// The channel.
    pub channel: String,
    /// The action.
    pub action: Asked,
    /// The connection token; empty for a connection of the user that has none.
    pub token: String,
    /// Headers of the upgrade request, in which the token may be too.
    pub headers: HeaderMap,
    /// The subscription token; empty for none.
    pub subscription_token: String,
    /// The connection is subscribed to the channel already.
    pub subscribed: bool,
    /// Calls the proxy that decides.
    pub ask_proxy: bool,
}

/// Tokens are not shown.
impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question")
            .field("user", &self.user)
            .field("channel", &self.channel)
            .field("action", &self.action)
            .field("subscribed", &self.subscribed)
            .finish_non_exhaustive()
    }
}

/// Tells what the server would decide.
#[derive(Clone)]
pub struct Explainer {
    pub(crate) active: Shared<ActiveConfig>,
    pub(crate) revocations: Revocations,
    pub(crate) clock: Clock,
}

impl Explainer {
    /// Returns the decision the server would make now, the rule or token fault behind it, and what to change.
    pub async fn explain(&self, question: &Question) -> Explanation {
        let told = self.decided(question).await;
        if question.action == Asked::Subscribe && told.code.is_none() {
            return Explanation { notified: self.notified(&question.channel), ..told };
        }
        told
    }

    async fn decided(&self, question: &Question) -> Explanation {
        let now = self.clock.now().unix();
        let active = self.active.get();
        if question.action == Asked::Refresh && active.proxies.refreshes() {
            return self.refresh_asked(&active, question).await;
        }
        let used = if question.action == Asked::Refresh { Use::Refresh } else { Use::Connect };
        let connection = match self.connection(&active, question, used, now).await {
            Ok(connection) => connection,
            Err(refusal) => {
                let user = question.user.as_deref().unwrap_or_default();
                return refused(question, user, &refusal, used);
            }
        };
        let user = connection.user.as_str();
        if question.action == Asked::Connect
            && question.user.is_none()
            && active.proxies.connects()
            && matches!(credential(&active, &question.token, &question.headers), Ok(None))
        {
            return self.connect_asked(&active, question).await;
        }
        if matches!(question.action, Asked::Connect | Asked::Refresh) {
            let told = granted(question, user);
            let ignored = || format!("{}; {CAPS_IGNORED}: {CAPS_FIX}", told.reason);
            return if connection.caps_ignored { Explanation { reason: ignored(), ..told } } else { told };
        }
        if let Some(proxy) = refreshed_by(&active, question) {
            return self.sub_refresh_asked(&active, question, proxy, user).await;
        }
        let token = self.subscription(&active, question, user, now).await;
        if let Some(Err(refusal)) = &token
            && question.action != Asked::Subscribe
        {
            let prolongs = question.action == Asked::SubRefresh;
            return refused(question, user, refusal, if prolongs { Use::SubRefresh } else { Use::Subscribe });
        }
        let action = match question.action {
            Asked::Connect | Asked::Refresh | Asked::SubRefresh => return granted(question, user),
            Asked::Subscribe => {
                Action::Subscribe(SubscribeFacts { token: facts(&token, false), wishes: Wishes::default() })
            }
            Asked::Publish => Action::Publish(PublishFacts { kind: 0, data: b"{}" }),
            Asked::Presence => Action::Presence,
            Asked::PresenceStats => Action::PresenceStats,
            Asked::History => Action::History,
        };
        let mut request = Request::new(action, &question.channel, user, now);
        request.capabilities = connection.caps.as_ref();
        request.client = question.client.as_deref();
        request.subscribed = question.subscribed;
        if let Some(Ok(token)) = &token
            && question.action != Asked::Subscribe
        {
            request.subscribed = true;
            request.subscription_allow = token.allow;
        }
        let rules = &active.rules;
        let mut decision = decide(rules, &request);
        if let Verdict::Ask(ask) = &decision.verdict
            && !active.proxies.has(ask)
        {
            decision = decide_after(rules, &request, &Reply::NoProxy);
        }
        if let Some(refusal) = answer(&token, &decision, false) {
            return refused(question, user, refusal, Use::Subscribe);
        }
        let mut told = explain(rules, &request, &decision);
        if let Verdict::Ask(ask) = &decision.verdict {
            return self.asked(&active, question, (&request, ask), told).await;
        }
        if connection.caps_ignored && told.code.is_some() {
            told.change.push(format!("{CAPS_FIX}: {CAPS_IGNORED}"));
        }
        // Where a bad token is judged by the rules, its own fault says more than they do.
        if let Some(Err(refusal)) = &token
            && is_judged(&token, false)
            && told.code.is_some()
        {
            told.change.insert(0, refusal.fix.to_string());
            told.reason = refusal.detail.to_string();
            told.fault = Some(refusal.reason.code());
        }
        told
    }

    /// A request that a proxy decides, with the decision by its reply where it is called.
    async fn asked(
        &self,
        active: &ActiveConfig,
        question: &Question,
        (request, ask): (&Request<'_, Action<'_>>, &Ask),
        told: Explanation,
    ) -> Explanation {
        let client = client(request.user);
        let from = Sender { client: &client, headers: Some(&question.headers), emulated: None };
        let channel = question.channel.as_str();
        let (subscribe, publish) = (SubscribeEvent::new(channel), PublishEvent::new(channel, "{}"));
        let about = match request.action {
            Action::Publish(_) => Rehearsal::Publish(ask, from, &publish),
            _ => Rehearsal::Subscribe(ask, from, &subscribe),
        };
        let Some((mut account, call)) = active.proxies.rehearse(&about, question.ask_proxy) else {
            return told;
        };
        let Some(call) = call else { return told.by(account) };
        let tried = call.await;
        tried.tell(&mut account);
        let rules = &active.rules;
        let decided = match (&request.action, tried.reply) {
            (Action::Subscribe(facts), Ok(Rehearsed::Subscribe(reply))) => {
                let request = request.with(facts.clone());
                explain(rules, &request, &decide_after(rules, &request, &reply))
            }
            (Action::Publish(facts), Ok(Rehearsed::Publish(reply))) => {
                let request = request.with(*facts);
                explain(rules, &request, &decide_after(rules, &request, &reply))
            }
            // As for a client.
            _ => explain(rules, request, &decide_after(rules, request, &Reply::Error(ErrorCode::INTERNAL))),
        };
        Explanation { change: Vec::new(), reason: "the proxy decided".to_owned(), ..decided }.by(account)
    }

    /// A login that the connect proxy decides.
    async fn connect_asked(&self, active: &ActiveConfig, question: &Question) -> Explanation {
        let handshake = Handshake { headers: question.headers.clone(), ..Handshake::default() };
        let event = ConnectEvent::new(handshake);
        let told = asked_of_proxy(question, "", "connect");
        let rehearsed = active.proxies.rehearse(&Rehearsal::Connect(&event), question.ask_proxy);
        let Some((mut account, call)) = rehearsed else { return told };
        let Some(call) = call else { return told.by(account) };
        let tried = call.await;
        tried.tell(&mut account);
        let (verdict, code, user) = match tried.reply {
            Ok(Rehearsed::Connect(Reply::Result(Some(result)))) => ("allow", None, result.user),
            Ok(Rehearsed::Connect(Reply::Result(None))) if active.settings.anonymous_without_token => {
                ("allow", None, String::new())
            }
            Ok(Rehearsed::Connect(Reply::Result(None))) => {
                ("disconnect", Some(said(DisconnectCode::BAD_REQUEST)), String::new())
            }
            Ok(Rehearsed::Connect(Reply::Disconnect(end))) => ("disconnect", Some(said(end)), String::new()),
            Ok(Rehearsed::Connect(Reply::Error(error))) => {
                ("error", Some((error.code, error.message.into_owned())), String::new())
            }
            _ => {
                let ErrorCode { code, message, .. } = ErrorCode::INTERNAL;
                ("error", Some((code, message.into_owned())), String::new())
            }
        };
        let (code, message) = code.unzip();
        let reason = "the proxy decided".to_owned();
        Explanation { verdict, code, message, user, reason, ..told }.by(account)
    }

    async fn connection(
        &self,
        active: &ActiveConfig,
        question: &Question,
        used: Use,
        now: i64,
    ) -> Result<ConnectToken, Refusal> {
        let none = HeaderMap::new();
        // Headers are of the upgrade request, which a refresh is not.
        let headers = if used == Use::Refresh { &none } else { &question.headers };
        let Some(credential) = credential(active, &question.token, headers)? else {
            let settings = &active.settings;
            let asks = active.proxies.connects() && question.action == Asked::Connect;
            let open =
                settings.insecure || settings.anonymous_without_token || asks || question.user.is_some();
            if used == Use::Refresh || question.action == Asked::Connect && !open {
                return Err(no_token());
            }
            let user = question.user.clone().unwrap_or_default();
            self.revocations.check(&Subject { user: &user, iat: Some(i64::MAX), ..Subject::default() })?;
            personal_channel(active, &user)?;
            return Ok(ConnectToken { user, ..ConnectToken::default() });
        };
        let verified = active.keys.connection.verify_connection(&credential.token, now).wait().await;
        let token = verified.and_then(|token| {
            token.usable(!active.settings.no_anonymous_tokens, now)?;
            self.revocations.check(&of_connection(&token))?;
            if let Some(user) = &question.user {
                token.refreshes(user)?;
            }
            personal_channel(active, &token.user)?;
            Ok(token)
        });
        token.map_err(|refusal| credential.place(refusal))
    }

    async fn subscription(
        &self,
        active: &ActiveConfig,
        question: &Question,
        user: &str,
        now: i64,
    ) -> Option<Result<SubscribeToken, Refusal>> {
        let token = &question.subscription_token;
        if token.is_empty() && question.action != Asked::SubRefresh {
            return None;
        }
        let verified = active.keys.subscription.verify_subscription(token, now).wait().await;
        Some(verified.and_then(|token| {
            token.usable(user, &question.channel, question.client.as_deref(), now)?;
            self.revocations.check(&of_subscription(&token))?;
            Ok(token)
        }))
    }
}

/// A login with no token where one is needed.
pub(super) fn no_token() -> Refusal {
    Refusal::new(
        Reason::TokenMissing,
        "the client sent no token",
        "give the client a token, or set client.allow_anonymous_connect_without_token to true",
    )
}

/// A token that does what it is for.
pub(super) fn granted(question: &Question, user: &str) -> Explanation {
    Explanation {
        action: question.action.name(),
        channel: question.channel.clone(),
        user: user.to_owned(),
        namespace: None,
        verdict: "allow",
        code: None,
        message: None,
        rule: "token".into(),
        fault: None,
        reason: "the token is good for it".to_owned(),
        change: Vec::new(),
        trail: Vec::new(),
        granted: Vec::new(),
        proxy: None,
        notified: Vec::new(),
    }
}

/// A decision that is left to the proxy for this kind of event.
pub(super) fn asked_of_proxy(question: &Question, user: &str, event: &str) -> Explanation {
    Explanation {
        verdict: "ask",
        rule: format!("{event}_proxy").into(),
        reason: format!("the {event} proxy decides"),
        ..granted(question, user)
    }
}

/// A connection that does not exist, for dry runs.
pub(super) fn client(user: &str) -> Client {
    Client::detached(Identity::new(ClientId::from_random([0; 16]), user))
}

pub(super) fn said(end: DisconnectCode) -> (u32, String) {
    (end.code, end.reason.into_owned())
}

fn refused(question: &Question, user: &str, refusal: &Refusal, used: Use) -> Explanation {
    let (verdict, code, message) = match refusal.outcome(used) {
        Outcome::Error(error) => ("error", error.code, error.message),
        Outcome::Disconnect(end) => ("disconnect", end.code, end.reason),
    };
    Explanation {
        action: question.action.name(),
        channel: question.channel.clone(),
        user: user.to_owned(),
        namespace: None,
        verdict,
        code: Some(code),
        message: Some(message.into_owned()),
        rule: refusal.reason.code(),
        fault: Some(refusal.reason.code()),
        reason: refusal.detail.to_string(),
        change: vec![refusal.fix.to_string()],
        trail: Vec::new(),
        granted: Vec::new(),
        proxy: None,
        notified: Vec::new(),
    }
}
