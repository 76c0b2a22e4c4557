//! Subscribing, and staying subscribed.

use super::{InForce, Inner, State, options};
use crate::auth::claims::SubscribeToken;
use crate::auth::reason::{self, Reason, Use};
use crate::policy::{
    Action, Decision as Decided, Grant, Request, Rule, SubscribeFacts, SubscriptionToken, Verdict, Wishes,
    decide,
};
use spinward::Client;
use spinward::answer::Answer;
use spinward::hooks::{Decision, Refusal, SubRefreshed, SubscribeOptions, Subscribing};
use spinward::wire::code::ErrorCode;
use std::sync::Arc;

type Verified = Option<Result<SubscribeToken, reason::Refusal>>;

impl Inner {
    pub(super) fn subscribe(
        self: &Arc<Self>,
        client: &Client,
        request: Subscribing,
    ) -> Decision<SubscribeOptions> {
        let in_force = self.in_force.get();
        if request.token.is_empty() {
            self.taken.held().withdraw_all(client.id());
            return Answer::Now(self.decide_subscribe(&in_force, client, &request, None));
        }
        let (inner, client) = (Arc::clone(self), client.clone());
        self.taken.held().begin(&client, &request.channel);
        let verified = in_force.keys.subscription.verify_subscription(&request.token, self.now());
        verified.then(move |verified| {
            let decided = inner.decide_subscribe(&in_force, &client, &request, Some(verified));
            if decided.is_err() {
                inner.taken.held().withdraw(client.id(), &request.channel);
            }
            Answer::Now(decided)
        })
    }

    fn decide_subscribe(
        &self,
        in_force: &InForce,
        client: &Client,
        request: &Subscribing,
        token: Verified,
    ) -> Result<SubscribeOptions, Refusal> {
        let now = self.now();
        let id = client.id().to_string();
        let token = token.map(|verified| {
            verified.and_then(|token| {
                token.usable(client.user(), &request.channel, Some(&id), now)?;
                self.taken.offer(client.id(), &token)?;
                Ok(token)
            })
        });
        let state = client.extension::<State>();
        let rules = &in_force.rules;
        let wishes = Wishes {
            positioned: request.positioned,
            recoverable: request.recoverable,
            join_leave: request.join_leave,
            delta: &request.delta,
            tags_filter: request.filter.is_some(),
            kind: request.kind,
        };
        let subscribe = SubscribeFacts { token: facts(&token), wishes };
        let mut asked = Request::new(Action::Subscribe(subscribe), &request.channel, client.user(), now);
        asked.client = Some(&id);
        asked.capabilities = state.as_ref().and_then(|state| state.capabilities.as_ref());
        let decision = decide(rules, &asked);
        let refused =
            |refusal| self.refused(in_force, Use::Subscribe, (client.user(), &request.channel), refusal);
        if let Some(refusal) = answer(&token, &decision) {
            return Err(refused(refusal));
        }
        if let Some(Err(refusal)) = &token
            && is_judged(&token)
        {
            // The decision says what it means here; its fault is reported all the same.
            let _ = refused(refusal);
        }
        // And then not again by the rule that took it up.
        let told = matches!(&token, Some(Err(_))) && decision.rule == Rule::SubscriptionToken;
        let refuse = |code: u32| {
            if !told {
                self.refused_by_rule(rules, &asked, &decision, code);
            }
        };
        match &decision.verdict {
            Verdict::Allow(Grant::Subscribe(grant)) => Ok(options(grant)),
            Verdict::Allow(_) => Err(ErrorCode::INTERNAL.into()),
            Verdict::Error(code) => {
                refuse(code.code);
                Err(code.clone().into())
            }
            Verdict::Disconnect(code) => {
                refuse(code.code);
                Err(code.clone().into())
            }
        }
    }

    pub(super) fn sub_refresh(
        self: &Arc<Self>,
        client: &Client,
        channel: &str,
        token: &str,
    ) -> Decision<SubRefreshed> {
        let (inner, client, channel) = (Arc::clone(self), client.clone(), channel.to_owned());
        let in_force = self.in_force.get();
        if !token.is_empty() {
            self.taken.held().begin(&client, &channel);
        }
        let verified = in_force.keys.subscription.verify_subscription(token, self.now());
        verified.then(move |verified| {
            let now = inner.now();
            let id = client.id().to_string();
            let token = verified.and_then(|token| {
                token.usable(client.user(), &channel, Some(&id), now)?;
                inner.taken.offer(client.id(), &token)?;
                Ok(token)
            });
            Answer::Now(match token {
                // A token without an info takes away what the one before had.
                Ok(token) => Ok(SubRefreshed {
                    expire_at: token.expire_at.unwrap_or(0),
                    info: Some(token.info.unwrap_or_default()),
                }),
                Err(refusal) => {
                    inner.taken.held().withdraw(client.id(), &channel);
                    Err(inner.refused(&in_force, Use::SubRefresh, (client.user(), &channel), &refusal))
                }
            })
        })
    }
}

/// The fault of a token that is answered by its own reason: one that does not concern permissions (another user or
/// channel, an expired or revoked token), where nothing that comes before a token has refused.
pub(super) fn answer<'a>(token: &'a Verified, decision: &Decided<'_>) -> Option<&'a reason::Refusal> {
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
