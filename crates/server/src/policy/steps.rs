//! Single rules, which the decisions of [`super::decide`] put in order.

use super::ask::{Ask, ProxyKind, Reply};
use super::caps::Allow;
use super::decide::{Case, Code, Stopped};
use super::decision::Verdict;
use super::facts::Facts;
use super::request::{SubscriptionToken, TokenClaims};
use super::rule::{Outcome, Rule};
use crate::channel::{NameFault, Namespace, Resolved};
use crate::config::typed::SubscriptionType;
use spinward_wire::code::{DisconnectCode, ErrorCode};
use std::sync::Arc;

impl<'a, A: Facts<'a>> Case<'_, 'a, A> {
    pub(super) fn name_required(&mut self) -> Result<(), Stopped> {
        let named = !self.request.channel.is_empty();
        self.require(Rule::ChannelRequired, named, || Code::Disconnect(DisconnectCode::BAD_REQUEST))
    }

    /// The name is short enough for a node to keep.
    pub(super) fn name_fits(&self) -> Result<(), Stopped> {
        if self.request.channel.len() > self.rules.registry.longest_name() {
            return Err(Stopped { rule: Rule::ChannelLength, verdict: Code::Error(ErrorCode::BAD_REQUEST) });
        }
        Ok(())
    }

    /// A shared poll is told from everything else before anything is looked up, as in Centrifugo v6.9.
    /// `None`: the number is unknown.
    pub(super) fn known_type(
        &mut self,
        resolved: &Resolved<'_>,
        number: i32,
    ) -> Result<Option<SubscriptionType>, Stopped> {
        let rule = Rule::KnownSubscriptionType;
        let kind = SubscriptionType::from_number(number);
        let polled = |namespace: &Arc<Namespace>| {
            namespace.options().subscription_type == SubscriptionType::SharedPoll
        };
        let asked = kind == SubscriptionType::SharedPoll;
        let has = resolved.namespace.is_some_and(polled);
        self.require(rule, asked == has, || {
            Code::Error(if asked { ErrorCode::NOT_AVAILABLE } else { ErrorCode::BAD_REQUEST })
        })?;
        Ok(Some(kind).filter(|kind| !matches!(kind, SubscriptionType::Unknown(_))))
    }

    pub(super) fn namespace<'n>(&mut self, resolved: &Resolved<'n>) -> Result<&'n Arc<Namespace>, Stopped> {
        let Some(namespace) = resolved.namespace else {
            return Err(self.refuse(Rule::Namespace, Code::Error(ErrorCode::UNKNOWN_CHANNEL)));
        };
        self.trail.push(Rule::Namespace, Outcome::Pass);
        let form = namespace.check_form(&resolved.name);
        let fits = form.is_ok() || form == Err(NameFault::NotAscii) && self.request.old_client;
        self.require(Rule::ChannelName, fits, || Code::Error(ErrorCode::BAD_REQUEST))?;
        Ok(namespace)
    }

    /// The claims of a token, if one was brought and is good. An expired one is an error, or `None`.
    pub(super) fn token(
        &mut self,
        token: &SubscriptionToken<'a>,
        invalid: impl Fn() -> Code,
        expired_is_error: bool,
    ) -> Result<Option<TokenClaims<'a>>, Stopped> {
        let code = match token {
            SubscriptionToken::Verified(claims) => return Ok(Some(*claims)),
            SubscriptionToken::None => {
                self.trail.push(Rule::SubscriptionToken, Outcome::Off);
                return Ok(None);
            }
            SubscriptionToken::Expired if !expired_is_error => return Ok(None),
            SubscriptionToken::Expired => Code::Error(ErrorCode::TOKEN_EXPIRED),
            SubscriptionToken::Invalid => invalid(),
            SubscriptionToken::Unavailable => Code::Error(ErrorCode::INTERNAL),
        };
        Err(self.refuse(Rule::SubscriptionToken, code))
    }

    /// Checks that a good token is for this request. One for another is an attempt, hence the end.
    pub(super) fn claims(&mut self, claims: &TokenClaims<'_>) -> Result<(), Stopped> {
        let invalid = || Code::Disconnect(DisconnectCode::INVALID_TOKEN);
        self.require(Rule::TokenChannel, claims.channel == self.request.channel, invalid)?;
        self.require(Rule::TokenUser, claims.user == self.request.user, invalid)?;
        let here =
            claims.client.is_empty() || self.request.client.is_none_or(|client| client == claims.client);
        self.require(Rule::TokenClient, here, invalid)?;
        let ahead = claims.expire_at == 0 || claims.expire_at > self.request.now;
        self.require(Rule::TokenExpireAt, ahead, || Code::Error(ErrorCode::EXPIRED))
    }

    /// Has a proxy decide where one is configured. Returns its result, if it has been asked and allows the request.
    pub(super) fn proxy(
        &mut self,
        kind: ProxyKind,
        enabled: bool,
        limited: bool,
        namespace: &Arc<Namespace>,
    ) -> Result<Option<&'a A::Result>, Stopped> {
        let rule = kind.rule();
        if !enabled || limited {
            self.trail.push(rule, if enabled { Outcome::UserLimited } else { Outcome::Off });
            return Ok(None);
        }
        match self.reply.take() {
            None => {
                self.trail.push(rule, Outcome::Ask);
                Err(Stopped { rule, verdict: Verdict::Ask(Ask::new(kind, Arc::clone(namespace))) })
            }
            Some(Reply::Result(result)) => {
                self.trail.push(rule, Outcome::Allow);
                Ok(Some(result))
            }
            Some(Reply::Error(code)) => Err(self.refuse(rule, Code::Error(code))),
            Some(Reply::Disconnect(code)) => Err(self.refuse(rule, Code::Disconnect(code))),
            Some(Reply::NoProxy) => Err(self.refuse(rule, Code::Error(ErrorCode::NOT_AVAILABLE))),
        }
    }

    /// The place of expressions in the order. There are none yet.
    pub(super) fn expression(&mut self) {
        self.trail.push(Rule::Expression, Outcome::Off);
    }

    /// An option that is for clients with a user id, and by a second option for the others too.
    pub(super) fn option(&mut self, rule: Rule, on: bool, anonymous: bool) -> bool {
        let outcome = if !on {
            Outcome::Off
        } else if self.request.user.is_empty() && !anonymous {
            Outcome::Anonymous
        } else {
            Outcome::Allow
        };
        self.trail.push(rule, outcome);
        outcome == Outcome::Allow
    }

    pub(super) fn capability(&mut self, wanted: Allow) -> bool {
        let outcome = match self.request.capabilities {
            None => Outcome::Off,
            Some(capabilities) if capabilities.allow(self.request.channel, wanted) => Outcome::Allow,
            Some(_) => Outcome::NotListed,
        };
        self.trail.push(Rule::Capability, outcome);
        outcome == Outcome::Allow
    }

    pub(super) fn insecure(&mut self) -> bool {
        let outcome = if self.rules.insecure { Outcome::Allow } else { Outcome::Off };
        self.trail.push(Rule::Insecure, outcome);
        self.rules.insecure
    }

    pub(super) fn wish(&mut self, rule: Rule, granted: bool) {
        self.trail.push(rule, if granted { Outcome::Pass } else { Outcome::Off });
    }

    pub(super) fn nothing_allows(&mut self) -> Stopped {
        self.refuse(Rule::NothingAllows, Code::Error(ErrorCode::PERMISSION_DENIED))
    }

    pub(super) fn require(
        &mut self,
        rule: Rule,
        holds: bool,
        code: impl FnOnce() -> Code,
    ) -> Result<(), Stopped> {
        if holds {
            self.trail.push(rule, Outcome::Pass);
            Ok(())
        } else {
            Err(self.refuse(rule, code()))
        }
    }

    pub(super) fn refuse(&mut self, rule: Rule, code: Code) -> Stopped {
        self.trail.push(rule, Outcome::Refuse);
        Stopped { rule, verdict: code }
    }
}
