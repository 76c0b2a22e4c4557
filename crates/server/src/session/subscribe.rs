//! Subscribing, and staying subscribed.

use super::proxy::Sender;
use super::{ActiveConfig, Inner, State, options};
use crate::auth::claims::SubscribeToken;
use crate::auth::reason::{self, Reason, Use};
use crate::config::typed::DeltaType;
use crate::policy::{
    Decision as Decided, Request, Rule, SubscribeFacts, SubscribeGrant, SubscriptionToken, Verdict, Wishes,
    decide, decide_after,
};
use spinward::Client;
use spinward::answer::Answer;
use spinward::hooks::{
    Decision, Refusal, SubRefreshEvent, SubRefreshReply, SubscribeEvent, SubscribeOptions,
};
use std::sync::Arc;

type Verified = Option<Result<SubscribeToken, reason::Refusal>>;

/// A subscribe whose token, if it has one, is verified.
struct Asking {
    active: Arc<ActiveConfig>,
    client: Client,
    state: Option<Arc<State>>,
    id: String,
    request: SubscribeEvent,
    token: Verified,
    now: i64,
}

impl Asking {
    fn request(&self) -> Request<'_, SubscribeFacts<'_>> {
        let wishes = Wishes {
            positioned: self.request.positioned,
            recoverable: self.request.recoverable,
            join_leave: self.request.join_leave,
            delta: self.request.delta.map_or("", DeltaType::name),
            tags_filter: self.request.filter.is_some(),
            kind: self.request.kind.number(),
        };
        let subscribe = SubscribeFacts { token: facts(&self.token), wishes };
        let mut asked = Request::new(subscribe, &self.request.channel, self.client.user(), self.now);
        asked.client = Some(&self.id);
        asked.capabilities = self.state.as_ref().and_then(|state| state.capabilities.as_ref());
        asked
    }
}

impl Inner {
    pub(super) fn subscribe(
        self: &Arc<Self>,
        client: &Client,
        request: SubscribeEvent,
    ) -> Decision<SubscribeOptions> {
        let active = self.active.get();
        if request.token.is_empty() {
            self.revocations.tokens().withdraw_all(client.id());
            return self.decide_subscribe(active, client.clone(), request, None);
        }
        let (inner, client) = (Arc::clone(self), client.clone());
        self.revocations.tokens().begin(&client, &request.channel);
        let verified = active.keys.subscription.verify_subscription(&request.token, self.now());
        verified.then(move |verified| {
            let (id, channel) = (client.id(), request.channel.clone());
            let decided = inner.decide_subscribe(active, client, request, Some(verified));
            decided.map(move |decided| {
                if decided.is_err() {
                    inner.revocations.tokens().withdraw(id, &channel);
                }
                decided
            })
        })
    }

    /// Decides a subscribe, by the rules or by a proxy that they have asked.
    fn decide_subscribe(
        self: &Arc<Self>,
        active: Arc<ActiveConfig>,
        client: Client,
        request: SubscribeEvent,
        token: Verified,
    ) -> Decision<SubscribeOptions> {
        let now = self.now();
        let id = client.id().to_string();
        let token = token.map(|verified| {
            verified.and_then(|token| {
                token.usable(client.user(), &request.channel, Some(&id), now)?;
                self.revocations.offer(client.id(), &token)?;
                Ok(token)
            })
        });
        let state = client.extension::<State>();
        let asking = Asking { active, client, state, id, request, token, now };
        let decided = decide(&asking.active.rules, &asking.request());
        let Verdict::Ask(ask) = &decided.verdict else {
            return Answer::Now(self.decided(&asking, decided));
        };
        let from = Sender::new(&asking.client, asking.state.as_deref());
        let reply = asking.active.proxies.subscribe(ask, &from, &asking.request);
        let inner = Arc::clone(self);
        reply.then(move |reply| {
            let decided = decide_after(&asking.active.rules, &asking.request(), &reply);
            Answer::Now(inner.decided(&asking, decided))
        })
    }

    fn decided<'a>(
        &self,
        asking: &'a Asking,
        decision: Decided<SubscribeGrant<'a>>,
    ) -> Result<SubscribeOptions, Refusal> {
        let Asking { active, client, request, token, .. } = asking;
        let refused =
            |refusal| self.refused(active, Use::Subscribe, (client.user(), &request.channel), refusal);
        if let Some(refusal) = answer(token, &decision) {
            return Err(refused(refusal));
        }
        if let Some(Err(refusal)) = token
            && is_judged(token)
        {
            // The decision says what it means here; its fault is reported all the same.
            let _ = refused(refusal);
        }
        let (rules, asked) = (&active.rules, asking.request());
        // And then not again by the rule that took it up.
        let told = matches!(token, Some(Err(_))) && decision.rule == Rule::SubscriptionToken;
        let granted =
            if told { self.settled(rules, &asked, decision) } else { self.granted(rules, &asked, decision) };
        granted.map(|grant| options(&grant))
    }

    pub(super) fn sub_refresh(
        self: &Arc<Self>,
        client: &Client,
        request: SubRefreshEvent,
    ) -> Decision<SubRefreshReply> {
        let SubRefreshEvent { channel, token, .. } = request;
        let (inner, client) = (Arc::clone(self), client.clone());
        let active = self.active.get();
        if !token.is_empty() {
            self.revocations.tokens().begin(&client, &channel);
        }
        let verified = active.keys.subscription.verify_subscription(&token, self.now());
        verified.then(move |verified| {
            let now = inner.now();
            let id = client.id().to_string();
            let token = verified.and_then(|token| {
                token.usable(client.user(), &channel, Some(&id), now)?;
                inner.revocations.offer(client.id(), &token)?;
                Ok(token)
            });
            Answer::Now(match token {
                // A token without an info takes away what the one before had.
                Ok(token) => Ok(SubRefreshReply {
                    expire_at: token.expire_at.unwrap_or(0),
                    info: Some(token.info.unwrap_or_default()),
                }),
                Err(refusal) => {
                    inner.revocations.tokens().withdraw(client.id(), &channel);
                    Err(inner.refused(&active, Use::SubRefresh, (client.user(), &channel), &refusal))
                }
            })
        })
    }
}

/// The fault of a token that is answered by its own reason: one that does not concern permissions (another user or
/// channel, an expired or revoked token), where nothing that comes before a token has refused.
pub(super) fn answer<'a, G>(token: &'a Verified, decision: &Decided<G>) -> Option<&'a reason::Refusal> {
    let refusal = token.as_ref()?.as_ref().err()?;
    let reached = decision.rule == Rule::SubscriptionToken || matches!(decision.verdict, Verdict::Allow(_));
    (reached && !is_judged(token)).then_some(refusal)
}

/// Returns true if the decision says what a bad token means.
pub(super) fn is_judged(token: &Verified) -> bool {
    matches!(facts(token), SubscriptionToken::Invalid)
}

/// Returns the state of a token, in the decision's terms.
pub(super) fn facts(token: &Verified) -> SubscriptionToken<'_> {
    match token {
        None => SubscriptionToken::None,
        Some(Ok(token)) => SubscriptionToken::Verified(token.facts()),
        Some(Err(refusal)) if refusal.is_temporary() => SubscriptionToken::Unavailable,
        Some(Err(refusal)) => match refusal.reason {
            Reason::Expired | Reason::NotYetValid => SubscriptionToken::Expired,
            Reason::UserMismatch
            | Reason::ChannelMismatch
            | Reason::ClientMismatch
            | Reason::CredentialsExpired => SubscriptionToken::Unavailable,
            _ => SubscriptionToken::Invalid,
        },
    }
}
