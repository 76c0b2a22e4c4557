//! Subscribing, and staying subscribed.

use super::proxy::{POSTPONED, Renewal, Sender, SubRefreshResult};
use super::{ActiveConfig, Inner, State, options};
use crate::auth::claims::SubscribeToken;
use crate::auth::reason::{self, Reason, Use};
use crate::config::typed::DeltaType;
use crate::policy::{
    Ask, Decision as Decided, ProxyKind, Reply, Request, Rule, SubscribeFacts, SubscribeGrant,
    SubscribeResult, SubscriptionToken, Verdict, Wishes, decide, decide_after,
};
use spinward::Client;
use spinward::answer::Answer;
use spinward::hooks::{
    Decision, Refusal, SubRefreshEvent, SubRefreshReply, SubscribeEvent, SubscribeOptions,
};
use spinward::wire::Version;
use spinward::wire::code::ErrorCode;
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
    fn is_old(&self) -> bool {
        is_old(&self.client)
    }

    fn request(&self) -> Request<'_, SubscribeFacts<'_>> {
        let wishes = Wishes {
            positioned: self.request.positioned,
            recoverable: self.request.recoverable,
            join_leave: self.request.join_leave,
            delta: self.request.delta.map_or("", DeltaType::name),
            tags_filter: self.request.filter.is_some(),
            kind: self.request.kind.number(),
        };
        let subscribe = SubscribeFacts { token: facts(&self.token, self.is_old()), wishes };
        let mut asked = Request::new(subscribe, &self.request.channel, self.client.user(), self.now);
        asked.client = Some(&self.id);
        asked.old_client = self.is_old();
        asked.capabilities = self.state.as_ref().and_then(|state| state.capabilities.as_ref());
        asked
    }
}

impl Inner {
    pub(super) fn subscribe(
        self: &Arc<Self>,
        client: &Client,
        mut request: SubscribeEvent,
    ) -> Decision<SubscribeOptions> {
        let active = self.active.get();
        if is_old(client) && !active.rules.registry.resolve(&request.channel).name.private {
            // Tokens were for private channels alone, and not looked at elsewhere.
            request.token.clear();
        }
        if request.token.is_empty() {
            self.revocations.tokens().withdraw(client.id(), &request.channel);
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

    /// Decides subscribes of one message. Those that a proxy takes together are asked about at once.
    pub(super) fn subscribe_many(
        self: &Arc<Self>,
        client: &Client,
        requests: Vec<SubscribeEvent>,
    ) -> Vec<Decision<SubscribeOptions>> {
        let active = self.active.get();
        let mut decisions: Vec<Option<Decision<SubscribeOptions>>> = Vec::new();
        let mut gathered: Vec<(Ask, Vec<(usize, Asking)>)> = Vec::new();
        for request in requests {
            // A token is decided about here, and an old client has more rules: each goes its own way.
            if !request.token.is_empty() || is_old(client) {
                decisions.push(Some(self.subscribe(client, request)));
                continue;
            }
            self.revocations.tokens().withdraw(client.id(), &request.channel);
            let asking = self.asking(Arc::clone(&active), client.clone(), request, None);
            let together = match decide(&asking.active.rules, &asking.request()).verdict {
                Verdict::Ask(ask) if active.proxies.batch(&ask) > 1 => Some(ask),
                _ => None,
            };
            let Some(ask) = together else {
                decisions.push(Some(self.decide_by(asking)));
                continue;
            };
            let (room, one) = (active.proxies.batch(&ask), (decisions.len(), asking));
            decisions.push(None);
            let same = |other: &&mut (Ask, Vec<(usize, Asking)>)| {
                other.0.name() == ask.name() && other.1.len() < room
            };
            match gathered.iter_mut().find(same) {
                Some((_, together)) => together.push(one),
                None => gathered.push((ask, vec![one])),
            }
        }
        for (ask, together) in gathered {
            let Some((_, Asking { client, state, .. })) = together.first() else { continue };
            let events: Vec<&SubscribeEvent> = together.iter().map(|(_, asking)| &asking.request).collect();
            let from = Sender::new(client, state.as_deref());
            let replies = active.proxies.subscribe_many(&ask, &from, &events);
            for ((at, asking), reply) in together.into_iter().zip(replies) {
                if let Some(decision) = decisions.get_mut(at) {
                    *decision = Some(self.decide_by_reply(asking, reply));
                }
            }
        }
        decisions.into_iter().map(|decision| decision.unwrap_or_else(|| ErrorCode::INTERNAL.into())).collect()
    }

    /// Decides a subscribe, by the rules or by a proxy that they have asked.
    fn decide_subscribe(
        self: &Arc<Self>,
        active: Arc<ActiveConfig>,
        client: Client,
        request: SubscribeEvent,
        token: Verified,
    ) -> Decision<SubscribeOptions> {
        self.decide_by(self.asking(active, client, request, token))
    }

    fn asking(
        &self,
        active: Arc<ActiveConfig>,
        client: Client,
        request: SubscribeEvent,
        token: Verified,
    ) -> Asking {
        let now = self.now();
        let id = client.id().to_string();
        let token = token.map(|verified| {
            verified.and_then(|mut token| {
                read_for(&client, &id, &mut token);
                token.usable(client.user(), &request.channel, Some(&id), now)?;
                self.revocations.offer(client.id(), &token)?;
                Ok(token)
            })
        });
        let state = client.extension::<State>();
        Asking { active, client, state, id, request, token, now }
    }

    fn decide_by(self: &Arc<Self>, asking: Asking) -> Decision<SubscribeOptions> {
        let decided = decide(&asking.active.rules, &asking.request());
        let Verdict::Ask(ask) = &decided.verdict else {
            let granted = self.decided(&asking, decided);
            return self.fill_cache(&asking, granted);
        };
        let from = Sender::new(&asking.client, asking.state.as_deref());
        let inner = Arc::clone(self);
        if ask.kind == ProxyKind::SubscribeStream {
            let opened = asking.active.proxies.stream(ask, &from, &asking.request);
            return opened.then(move |(reply, stream)| {
                let decided = decide_after(&asking.active.rules, &asking.request(), &reply);
                let decided = inner.decided(&asking, decided);
                if let (Ok(_), Some(stream)) = (&decided, stream) {
                    inner.streams.add(&asking.client, &asking.request.channel, stream);
                }
                Answer::Now(decided)
            });
        }
        let reply = asking.active.proxies.subscribe(ask, &from, &asking.request);
        self.decide_by_reply(asking, reply)
    }

    fn decide_by_reply(
        self: &Arc<Self>,
        asking: Asking,
        reply: Answer<Reply<SubscribeResult>>,
    ) -> Decision<SubscribeOptions> {
        let inner = Arc::clone(self);
        reply.then(move |reply| {
            let decided = decide_after(&asking.active.rules, &asking.request(), &reply);
            let granted = inner.decided(&asking, decided);
            inner.fill_cache(&asking, granted)
        })
    }

    /// Before a client gets the latest publication of a channel, has the back end told if there is none, where the
    /// namespace asks for that. If that fails, so does the subscribe.
    fn fill_cache(
        &self,
        asking: &Asking,
        granted: Result<SubscribeOptions, Refusal>,
    ) -> Decision<SubscribeOptions> {
        let Asking { active, request, .. } = asking;
        let recovers = |options: &SubscribeOptions| {
            options.cache && options.recovery && (request.recover || options.auto_recover)
        };
        let Some(options) = granted.as_ref().ok().filter(|options| recovers(options)) else {
            return Answer::Now(granted);
        };
        let namespace = active.rules.registry.resolve(&request.channel).namespace;
        let Some(namespace) = namespace.filter(|one| one.options().cache_empty_proxy_enabled) else {
            return Answer::Now(granted);
        };
        let proxy = &namespace.options().cache_empty_proxy_name;
        let filled = self.caches.fill(active, proxy, &request.channel, options.history);
        filled.map(move |filled| if filled { granted } else { Err(ErrorCode::INTERNAL.into()) })
    }

    fn decided<'a>(
        &self,
        asking: &'a Asking,
        decision: Decided<SubscribeGrant<'a>>,
    ) -> Result<SubscribeOptions, Refusal> {
        let Asking { active, client, request, token, .. } = asking;
        let refused =
            |refusal| self.refused(active, Use::Subscribe, (client.user(), &request.channel), refusal);
        let old = asking.is_old();
        if let Some(refusal) = answer(token, &decision, old) {
            return Err(refused(refusal));
        }
        if let Some(Err(refusal)) = token
            && is_judged(token, old)
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
        if token.is_empty() {
            return self.renew_subscription(&active, &client, &channel);
        }
        self.revocations.tokens().begin(&client, &channel);
        let verified = active.keys.subscription.verify_subscription(&token, self.now());
        verified.then(move |verified| {
            let now = inner.now();
            let id = client.id().to_string();
            let token = verified.and_then(|mut token| {
                read_for(&client, &id, &mut token);
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

impl Inner {
    /// The node asks whether a subscription goes on.
    fn renew_subscription(
        self: &Arc<Self>,
        active: &ActiveConfig,
        client: &Client,
        channel: &str,
    ) -> Decision<SubRefreshReply> {
        let Some(namespace) = active.rules.registry.resolve(channel).namespace else {
            return ErrorCode::EXPIRED.into();
        };
        let (state, proxy) = (client.extension::<State>(), &namespace.options().sub_refresh_proxy_name);
        let from = Sender::new(client, state.as_deref());
        let inner = Arc::clone(self);
        active.proxies.sub_refresh(proxy, channel, &from).map(move |renewal| match renewal {
            Renewal::Granted(SubRefreshResult { expire_at, info }) => Ok(SubRefreshReply { expire_at, info }),
            Renewal::Postponed => {
                Ok(SubRefreshReply { expire_at: inner.now().saturating_add(POSTPONED), info: None })
            }
            // The client may ask for it again.
            Renewal::Over | Renewal::Broken | Renewal::NoProxy => Err(ErrorCode::EXPIRED.into()),
        })
    }
}

/// The client speaks version 1 of the protocol.
fn is_old(client: &Client) -> bool {
    client.identity().version == Version::V1
}

/// Reads a token as its client means it.
fn read_for(client: &Client, id: &str, token: &mut SubscribeToken) {
    if is_old(client) {
        token.for_old_client(client.user(), id);
    }
}

/// The fault of a token that is answered by its own reason: one that does not concern permissions (another user or
/// channel, an expired or revoked token), where nothing that comes before a token has refused.
pub(super) fn answer<'a, G>(
    token: &'a Verified,
    decision: &Decided<G>,
    old: bool,
) -> Option<&'a reason::Refusal> {
    let refusal = token.as_ref()?.as_ref().err()?;
    let reached = decision.rule == Rule::SubscriptionToken || matches!(decision.verdict, Verdict::Allow(_));
    (reached && !is_judged(token, old)).then_some(refusal)
}

/// Returns true if the decision says what a bad token means.
pub(super) fn is_judged(token: &Verified, old: bool) -> bool {
    matches!(facts(token, old), SubscriptionToken::Invalid)
}

/// Returns the state of a token, in the decision's terms. To an old client one for somebody else is invalid as any other.
pub(super) fn facts(token: &Verified, old: bool) -> SubscriptionToken<'_> {
    match token {
        None => SubscriptionToken::None,
        Some(Ok(token)) => SubscriptionToken::Verified(token.facts()),
        Some(Err(refusal)) if refusal.is_temporary() => SubscriptionToken::Unavailable,
        Some(Err(refusal)) => match refusal.reason {
            Reason::Expired | Reason::NotYetValid => SubscriptionToken::Expired,
            Reason::UserMismatch | Reason::ChannelMismatch | Reason::ClientMismatch if old => {
                SubscriptionToken::Invalid
            }
            Reason::UserMismatch
            | Reason::ChannelMismatch
            | Reason::ClientMismatch
            | Reason::CredentialsExpired => SubscriptionToken::Unavailable,
            _ => SubscriptionToken::Invalid,
        },
    }
}
