//! `explain`: the decision that the server would make.

use super::{Method, Reach};
use crate::api::Context;
use crate::api::describe::{Describe, Schemas};
use crate::api::error::ApiError;
use crate::api::output::{ToJson, output};
use crate::api::parameter::{Arguments, Name, Parameter, Rejection, parameters};
use crate::grpc::proto::api as proto;
use crate::params::Malformed;
use crate::policy::explain::{ExplainedStep, Explanation, ProxyAccount};
use crate::session::{Asked, Question};
use http::HeaderMap;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::HashMap;

/// See [`Method::SUMMARY`].
pub(crate) struct Explain;

parameters! {
    impl Question {
        /// The action.
        action: Asked = required,
        /// The channel; connect and refresh need none.
        channel: String,
        /// The user; that of the token without it.
        user: Option<String>,
        /// The id of the connection, for tokens that are bound to one.
        client: Option<String>,
        /// The connection token.
        token: String,
        /// Headers of the upgrade request, where the token is in a header or cookie.
        headers: HeaderMap,
        /// The subscription token.
        subscription_token: String,
        /// The connection is subscribed to the channel.
        subscribed: bool,
        /// Calls the proxy that decides, as for a client; otherwise it is only named.
        ask_proxy: bool,
    }
}

impl Parameter for Asked {
    fn read(arguments: &Arguments<'_>, name: Name) -> Result<Self, Malformed> {
        let action = Self::by_name(&arguments.text(name)?);
        if action.is_none() {
            arguments.refuse();
        }
        // The call is not made without an action.
        Ok(action.unwrap_or(Self::Subscribe))
    }
}

impl Describe for Asked {
    const LABEL: &'static str = "text";

    fn schema(_: &mut Schemas) -> Value {
        json!({"enum": Self::ALL.map(Self::name)})
    }
}

impl Method for Explain {
    const NAME: &'static str = "explain";
    const SUMMARY: &'static str =
        "Returns the decision that the server would make, the rule behind it, and what to change.";
    const ERRORS: &'static [ApiError] = &[ApiError::BAD_REQUEST];
    const EXAMPLE: &'static str = r#"{"user": "42", "channel": "news", "action": "subscribe"}"#;

    type Params = Box<Question>;
    type Output = Box<Explanation>;
    type Request = proto::ExplainRequest;
    type Result = proto::ExplainResult;

    fn params(request: proto::ExplainRequest) -> Result<Self::Params, Rejection> {
        let proto::ExplainRequest {
            action,
            channel,
            user,
            client,
            token,
            headers,
            subscription_token,
            subscribed,
            ask_proxy,
        } = request;
        let refused = Rejection::Refused(ApiError::BAD_REQUEST);
        let headers: HashMap<String, String> = headers.into_iter().collect();
        let (Some(action), Ok(headers)) = (Asked::by_name(&action), HeaderMap::try_from(&headers)) else {
            return Err(refused);
        };
        Ok(Box::new(Question {
            user,
            client,
            channel,
            action,
            token,
            headers,
            subscription_token,
            subscribed,
            ask_proxy,
        }))
    }

    fn reach(params: &Self::Params) -> Reach<'_> {
        Reach::named(&params.channel)
    }

    async fn call(cx: &Context<'_>, question: Box<Question>) -> Result<Box<Explanation>, ApiError> {
        Ok(Box::new(Box::pin(cx.api.explainer.explain(&question)).await))
    }
}

impl From<Box<Explanation>> for proto::ExplainResult {
    fn from(explanation: Box<Explanation>) -> Self {
        let Explanation {
            action,
            channel,
            user,
            namespace,
            verdict,
            code,
            message,
            rule,
            fault,
            reason,
            change,
            trail,
            granted,
            proxy,
            notified,
        } = *explanation;
        let step = |ExplainedStep { rule, outcome }| proto::ExplainedStep {
            rule: rule.into(),
            outcome: outcome.into(),
        };
        Self {
            action: action.into(),
            channel,
            user,
            namespace,
            verdict: verdict.into(),
            code: code.unwrap_or_default(),
            message: message.unwrap_or_default(),
            rule: rule.into_owned(),
            fault: fault.map(Cow::into_owned).unwrap_or_default(),
            reason,
            change,
            trail: trail.into_iter().map(step).collect(),
            granted,
            proxy: proxy.map(|proxy| (*proxy).into()),
            notified: notified.into_iter().map(proto::ExplainedProxy::from).collect(),
        }
    }
}

impl From<ProxyAccount> for proto::ExplainedProxy {
    fn from(account: ProxyAccount) -> Self {
        let ProxyAccount {
            event,
            name,
            protocol,
            endpoint,
            headers,
            request,
            breaker,
            took_ms,
            answer,
            failure,
        } = account;
        Self {
            event: event.into(),
            name,
            protocol: protocol.into(),
            endpoint,
            headers,
            request: request.to_string().into(),
            breaker: breaker.into(),
            took_ms,
            answer: answer.map(|answer| answer.to_string().into()).unwrap_or_default(),
            failure: failure.unwrap_or_default(),
        }
    }
}

/// As the console and the command line have it.
impl ToJson for Explanation {
    fn append(&self, out: &mut Vec<u8>) {
        // Plain texts and numbers: writing them to memory does not fail.
        let _ = serde_json::to_writer(out, self);
    }
}

output! {
    /// A decision, and the reasons for it.
    describe Explanation as "Explanation" {
        /// The action.
        action: &'static str,
        /// The channel.
        channel: String,
        /// The user; empty is anonymous.
        user: String,
        /// The place of the channel's options in the configuration.
        namespace: Nullable,
        /// The outcome.
        verdict: Outcome,
        /// The code that the client gets.
        code: Option<u32> = optional,
        /// The text of the code.
        message: Option<String> = optional,
        /// The rule that decided, or the reason for which a token was refused.
        rule: Cow<'static, str>,
        /// The stable reason for which a token was refused.
        fault: Option<Cow<'static, str>> = optional,
        /// The reason, in a sentence.
        reason: String,
        /// Changes, each of which would allow it.
        change: Vec<String> = optional,
        /// The rules that were asked, in order.
        trail: Vec<ExplainedStep>,
        /// Granted permissions.
        granted: Vec<String> = optional,
        /// The proxy that is asked.
        proxy: Option<Box<ProxyAccount>> = optional,
        /// Proxies that a subscribe may notify, and that have no part in the decision.
        notified: Vec<ProxyAccount> = optional,
    }
}

output! {
    /// A proxy that is asked, without secrets.
    describe ProxyAccount as "ExplainedProxy" {
        /// The kind of event.
        event: &'static str,
        /// The name of the proxy.
        name: String,
        /// Its protocol, `http` or `grpc`.
        protocol: &'static str,
        /// Its address, without user, password and query.
        endpoint: String,
        /// Names of the headers that go with the request.
        headers: Vec<String>,
        /// The request; payloads are masked.
        request: Shown,
        /// The state of the circuit breaker, `open` or `closed`.
        breaker: &'static str,
        /// Milliseconds that the call took.
        took_ms: Option<u64> = optional,
        /// The answer; payloads are shown by their size.
        answer: Shown = optional,
        /// The reason why there is no answer that can be used.
        failure: Option<String> = optional,
    }
}

/// Any JSON.
struct Shown;

impl Describe for Shown {
    const LABEL: &'static str = "object";

    fn schema(_: &mut Schemas) -> Value {
        json!({})
    }
}

output! {
    /// A rule and its outcome.
    describe ExplainedStep as "ExplainedStep" {
        /// The rule.
        rule: &'static str,
        /// Its outcome.
        outcome: &'static str,
    }
}

/// A text or null.
struct Nullable;

impl Describe for Nullable {
    const LABEL: &'static str = "text";

    fn schema(_: &mut Schemas) -> Value {
        json!({"type": ["string", "null"]})
    }
}

/// `verdict` of an [`Explanation`].
struct Outcome;

impl Describe for Outcome {
    const LABEL: &'static str = "text";

    fn schema(_: &mut Schemas) -> Value {
        json!({"enum": ["allow", "ask", "error", "disconnect"]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// It is serialised elsewhere, so the compiler does not hold the two together.
    #[test]
    fn the_schema_has_the_fields_of_an_explanation() {
        let account = ProxyAccount {
            event: "subscribe",
            name: String::new(),
            protocol: "http",
            endpoint: String::new(),
            headers: Vec::new(),
            request: json!({}),
            breaker: "closed",
            took_ms: Some(1),
            answer: Some(json!({})),
            failure: Some(String::new()),
        };
        let explanation = Explanation {
            action: "subscribe",
            channel: String::new(),
            user: String::new(),
            namespace: None,
            verdict: "error",
            code: Some(103),
            message: Some("permission denied".to_owned()),
            rule: "token".into(),
            fault: Some("expired".into()),
            reason: String::new(),
            change: vec![String::new()],
            trail: vec![ExplainedStep { rule: "", outcome: "" }],
            granted: vec![String::new()],
            proxy: Some(Box::new(account.clone())),
            notified: vec![account],
        };
        let mut schemas = Schemas::default();
        Explanation::schema(&mut schemas);
        let schemas = schemas.into_value();
        let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
        let written = serde_json::to_value(&explanation).unwrap();
        assert_eq!(names(&schemas["Explanation"]["properties"]), names(&written));
        assert_eq!(names(&schemas["ExplainedStep"]["properties"]), names(&written["trail"][0]));
        let few = Explanation {
            code: None,
            message: None,
            fault: None,
            change: Vec::new(),
            granted: Vec::new(),
            proxy: None,
            notified: Vec::new(),
            ..explanation
        };
        let required = schemas["Explanation"]["required"].as_array().unwrap();
        let required: BTreeSet<String> =
            required.iter().map(|name| name.as_str().unwrap().to_owned()).collect();
        assert_eq!(required, names(&serde_json::to_value(&few).unwrap()));
    }
}
