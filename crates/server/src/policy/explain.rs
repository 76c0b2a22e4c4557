//! A decision in words: what was decided, by which rule, and what to change.

use super::decide::Rules;
use super::decision::{
    Decision, Grant, HistoryGrant, PublishGrant, SubRefreshGrant, SubscribeGrant, Verdict,
};
use super::facts::Facts;
use super::request::Request;
use super::rule::Step;
use super::words::Words;
use crate::config::typed::RecoveryMode;
use serde::Serialize;
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;

/// A decision in words. Serialises to what the server API and the console show; displays as text.
///
/// It has the channel and the user in it, but no token, no payload and no key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Requested action.
    pub action: &'static str,
    /// The channel.
    pub channel: String,
    /// The user; empty is anonymous.
    pub user: String,
    /// Place of the channel's options in the configuration; `None` if there is no such namespace.
    pub namespace: Option<String>,
    /// `allow`, `ask`, `error` or `disconnect`.
    pub verdict: &'static str,
    /// The code that the client gets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u32>,
    /// The text of the code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The stable id of the rule that decided, or of the reason for which a token was refused.
    pub rule: Cow<'static, str>,
    /// The stable reason for which a token was refused, for any rule that depends on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<Cow<'static, str>>,
    /// The reason, in a sentence.
    pub reason: String,
    /// Changes that would allow it; one of these is enough.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub change: Vec<String>,
    /// Every rule that was asked, in order.
    pub trail: Vec<ExplainedStep>,
    /// Granted permissions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub granted: Vec<String>,
    /// The proxy that is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Box<ProxyAccount>>,
    /// Proxies that are notified afterwards, and have no part in the decision.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notified: Vec<ProxyAccount>,
}

impl Explanation {
    /// Adds the proxy that is asked.
    #[must_use]
    pub(crate) fn by(self, proxy: ProxyAccount) -> Self {
        Self { proxy: Some(Box::new(proxy)), ..self }
    }
}

/// Account of a proxy that is asked about a request. It has no value of a header, no payload and no password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProxyAccount {
    /// Kind of event.
    pub event: &'static str,
    /// Name of the proxy.
    pub name: String,
    /// `http` or `grpc`.
    pub protocol: &'static str,
    /// Address, without user, password and query.
    pub endpoint: String,
    /// Names of the headers that go with the request.
    pub headers: Vec<String>,
    /// The request, with payload and connection data masked.
    pub request: Value,
    /// State of the circuit breaker: `open` or `closed`.
    pub breaker: &'static str,
    /// Milliseconds that the call took, if it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<u64>,
    /// The answer, with payloads by their size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Value>,
    /// Reason why there is no answer that can be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

impl ProxyAccount {
    fn write(&self, f: &mut fmt::Formatter<'_>, verb: &str) -> fmt::Result {
        let Self { event, name, endpoint, breaker, request, .. } = self;
        writeln!(f, "  {verb} the {event} proxy {name:?} at {endpoint}, circuit breaker {breaker}")?;
        writeln!(f, "    with {request}, headers: {}", self.headers.join(", "))
    }
}

impl fmt::Display for ProxyAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, "asks")?;
        let Some(took) = self.took_ms else {
            return writeln!(f, "    not called");
        };
        match (&self.answer, &self.failure) {
            (Some(answer), _) => writeln!(f, "    answered in {took} ms: {answer}"),
            (None, failure) => {
                writeln!(f, "    failed in {took} ms: {}", failure.as_deref().unwrap_or_default())
            }
        }
    }
}

/// A rule and what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ExplainedStep {
    /// The stable id of the rule.
    pub rule: &'static str,
    /// The stable id of what came of it.
    pub outcome: &'static str,
}

/// Puts a decision of [`super::decide()`] into words.
#[must_use]
pub fn explain<'a, A: Facts<'a>>(
    rules: &Rules,
    request: &Request<'a, A>,
    decision: &Decision<A::Grant>,
) -> Explanation {
    let namespace = rules.registry.resolve(request.channel).namespace;
    let words = Words {
        rules,
        request: &request.with(request.action.action()),
        path: namespace.map_or_else(|| "the namespace".to_owned(), |n| n.path()),
        rule: decision.rule,
        trail: &decision.trail,
    };
    let (verdict, code, message, granted) = match &decision.verdict {
        Verdict::Allow(grant) => ("allow", None, None, grant.in_words()),
        Verdict::Ask(_) => ("ask", None, None, Vec::new()),
        Verdict::Error(error) => ("error", Some(error.code), Some(error.message.to_string()), Vec::new()),
        Verdict::Disconnect(end) => ("disconnect", Some(end.code), Some(end.reason.to_string()), Vec::new()),
    };
    let reason = match &decision.verdict {
        Verdict::Ask(ask) => words.question(ask),
        _ => words.reason(code.is_some()),
    };
    let change = if code.is_some() { words.changes() } else { Vec::new() };
    Explanation {
        action: words.request.action.name(),
        channel: request.channel.to_owned(),
        user: request.user.to_owned(),
        namespace: namespace.map(|n| n.path()),
        verdict,
        code,
        message,
        rule: decision.rule.id().into(),
        fault: None,
        reason,
        change,
        trail: decision.trail.steps().iter().map(ExplainedStep::from).collect(),
        granted,
        proxy: None,
        notified: Vec::new(),
    }
}

/// A grant that can be put into words.
pub trait InWords {
    /// Returns one line for each thing that is granted and worth telling.
    fn in_words(&self) -> Vec<String> {
        Vec::new()
    }
}

impl From<&Step> for ExplainedStep {
    fn from(step: &Step) -> Self {
        Self { rule: step.rule.id(), outcome: step.outcome.id() }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user =
            if self.user.is_empty() { "the anonymous user".to_owned() } else { format!("{:?}", self.user) };
        write!(f, "{} in {:?} by {user}: {}", self.action, self.channel, self.verdict)?;
        if let (Some(code), Some(message)) = (self.code, &self.message) {
            write!(f, " {code} ({message})")?;
        }
        writeln!(
            f,
            "\n  options: {}",
            self.namespace.as_deref().unwrap_or(if self.trail.is_empty() {
                "not looked at"
            } else {
                "none, there is no such namespace"
            })
        )?;
        writeln!(f, "  decided by: {}\n  because {}", self.rule, self.reason)?;
        if let Some(fault) = self.fault.as_ref().filter(|fault| **fault != self.rule) {
            writeln!(f, "  fault of the token: {fault}")?;
        }
        for (at, change) in self.change.iter().enumerate() {
            writeln!(f, "  {} {change}", if at == 0 { "to allow it:" } else { "         or:" })?;
        }
        for granted in &self.granted {
            writeln!(f, "  with {granted}")?;
        }
        if let Some(proxy) = &self.proxy {
            write!(f, "{proxy}")?;
        }
        for proxy in &self.notified {
            proxy.write(f, "may notify")?;
        }
        if self.trail.is_empty() {
            return write!(f, "  no rule was asked");
        }
        write!(f, "  asked in turn:")?;
        for ExplainedStep { rule, outcome } in &self.trail {
            write!(f, " {rule}={outcome}")?;
        }
        Ok(())
    }
}

impl InWords for () {}
impl InWords for HistoryGrant {}
impl InWords for SubRefreshGrant<'_> {}

impl InWords for PublishGrant {
    fn in_words(&self) -> Vec<String> {
        if self.history.size == 0 {
            return Vec::new();
        }
        vec![format!("history of {} publications for {:?}", self.history.size, self.history.ttl)]
    }
}

impl InWords for SubscribeGrant<'_> {
    fn in_words(&self) -> Vec<String> {
        describe_subscription(self)
    }
}

impl InWords for Grant<'_> {
    fn in_words(&self) -> Vec<String> {
        match self {
            Self::Subscribe(grant) => grant.in_words(),
            Self::SubRefresh(grant) => grant.in_words(),
            Self::Publish(grant) => grant.in_words(),
            Self::Presence => Vec::new(),
            Self::History(grant) => grant.in_words(),
        }
    }
}

fn describe_subscription(grant: &SubscribeGrant<'_>) -> Vec<String> {
    let cache = grant.recovery && grant.recovery_mode == RecoveryMode::Cache;
    let mut granted: Vec<String> = [
        (grant.presence, "presence"),
        (grant.join_leave, "join and leave events made"),
        (grant.push_join_leave, "join and leave events received"),
        (grant.positioning || grant.recovery, "positioning"),
        (grant.recovery && !cache, "recovery of everything missed"),
        (cache, "recovery of the latest publication"),
        (grant.delta, "deltas if asked for"),
        (grant.tags_filter, "a tags filter if asked for"),
    ]
    .into_iter()
    .filter(|(on, _)| *on)
    .map(|(_, text)| text.to_owned())
    .collect();
    if grant.expire_at > 0 {
        granted.push(format!("expiry at {} (Unix seconds)", grant.expire_at));
    }
    if grant.allow != super::Allow::NONE {
        granted.push(format!("the token's allow: {}", grant.allow.names().collect::<Vec<_>>().join(", ")));
    }
    granted
}
