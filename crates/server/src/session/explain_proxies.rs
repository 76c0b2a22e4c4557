//! Explanations of proxies that no request of a client asks: those that prolong, and those that are notified.

use super::channel_events::{self, ChannelState};
use super::explain::{asked_of_proxy, client, said};
use super::proxy::{POSTPONED, Renewal, Sender};
use super::rehearse::{Rehearsal, Rehearsed};
use super::{ActiveConfig, Asked, Explainer, Question};
use crate::policy::explain::{Explanation, ProxyAccount};
use spinward::wire::code::{DisconnectCode, UnsubscribeCode};
use std::fmt::Display;

/// Stands for what is known once there is a node.
const OF_A_NODE: &str = "…";

/// The proxy that prolongs the subscription in question. A client that has a token prolongs it by that.
pub(super) fn refreshed_by<'a>(active: &'a ActiveConfig, question: &'a Question) -> Option<&'a str> {
    if question.action != Asked::SubRefresh || !question.subscription_token.is_empty() {
        return None;
    }
    let options = active.rules.registry.resolve(&question.channel).namespace?.options();
    options.sub_refresh_proxy_enabled.then_some(options.sub_refresh_proxy_name.as_str())
}

impl Explainer {
    /// The end of a login that the refresh proxy decides.
    pub(super) async fn refresh_asked(&self, active: &ActiveConfig, question: &Question) -> Explanation {
        let user = question.user.as_deref().unwrap_or_default();
        let told = asked_of_proxy(question, user, "refresh");
        if !question.token.is_empty() {
            let (code, message) = said(DisconnectCode::BAD_REQUEST);
            let reason =
                "the refresh proxy prolongs logins: a client is told of no end, and may send no token for it";
            return Explanation { reason: reason.to_owned(), ..ended(told, "disconnect", code, message) };
        }
        let client = client(user);
        let about = Rehearsal::Refresh(sender(&client, question));
        renewed(active, question, &about, told, |told, renewal| match renewal {
            Rehearsed::Refresh(Renewal::Granted(_)) => told,
            Rehearsed::Refresh(Renewal::Broken) => {
                let (code, message) = said(DisconnectCode::SERVER_ERROR);
                ended(told, "disconnect", code, message)
            }
            _ => {
                let (code, message) = said(DisconnectCode::EXPIRED);
                ended(told, "disconnect", code, message)
            }
        })
        .await
    }

    /// The end of a subscription that the proxy of this name decides.
    pub(super) async fn sub_refresh_asked(
        &self,
        active: &ActiveConfig,
        question: &Question,
        proxy: &str,
        user: &str,
    ) -> Explanation {
        let namespace = active.rules.registry.resolve(&question.channel).namespace;
        let told = Explanation {
            namespace: namespace.map(|namespace| namespace.path()),
            ..asked_of_proxy(question, user, "sub_refresh")
        };
        let client = client(user);
        let about = Rehearsal::SubRefresh(proxy, sender(&client, question), &question.channel);
        renewed(active, question, &about, told, |told, renewal| match renewal {
            Rehearsed::SubRefresh(Renewal::Granted(_)) => told,
            _ => {
                let UnsubscribeCode { code, reason } = UnsubscribeCode::EXPIRED;
                ended(told, "error", code, reason)
            }
        })
        .await
    }

    /// Proxies that a subscribe to this channel may notify.
    pub(super) fn notified(&self, channel: &str) -> Vec<ProxyAccount> {
        let active = self.active.get();
        let registry = &active.rules.registry;
        let account =
            |about: &Rehearsal<'_>| active.proxies.rehearse(about, false).map(|(account, _)| account);
        let mut notified = Vec::new();
        if let Some(options) = registry.resolve(channel).namespace.map(|namespace| namespace.options())
            && options.cache_empty_proxy_enabled
        {
            notified.extend(account(&Rehearsal::CacheEmpty(&options.cache_empty_proxy_name, channel)));
        }
        let time_ms = self.clock.now().unix().saturating_mul(1000);
        if let Some((proxy, events)) = channel_events::example(registry, channel, time_ms) {
            let state = ChannelState { node: OF_A_NODE.into(), node_id: OF_A_NODE.into(), events };
            notified.extend(account(&Rehearsal::ChannelState(proxy, &state)));
        }
        notified
    }
}

fn sender<'a>(client: &'a spinward::Client, question: &'a Question) -> Sender<'a> {
    Sender { client, headers: Some(&question.headers), emulated: None }
}

/// Adds the proxy, and the decision by its answer where it is called.
async fn renewed(
    active: &ActiveConfig,
    question: &Question,
    about: &Rehearsal<'_>,
    told: Explanation,
    decided: impl FnOnce(Explanation, Rehearsed) -> Explanation,
) -> Explanation {
    let Some((mut account, call)) = active.proxies.rehearse(about, question.ask_proxy) else { return told };
    let Some(call) = call else { return told.by(account) };
    let tried = call.await;
    tried.tell(&mut account);
    let allowed = Explanation { verdict: "allow", reason: "the proxy decided".to_owned(), ..told };
    let told = match tried.reply {
        Ok(renewal) => decided(allowed, renewal),
        Err(_) => {
            let reason =
                format!("the proxy failed: it goes on, and the proxy is asked again in {POSTPONED} seconds");
            Explanation { reason, ..allowed }
        }
    };
    told.by(account)
}

fn ended(told: Explanation, verdict: &'static str, code: u32, message: impl Display) -> Explanation {
    Explanation { verdict, code: Some(code), message: Some(message.to_string()), ..told }
}
