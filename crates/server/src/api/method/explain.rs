//! `explain`: the decision that the server would make.

use super::Method;
use crate::api::Context;
use crate::api::describe::{Describe, Schemas};
use crate::api::error::ApiError;
use crate::api::output::{ToJson, output};
use crate::api::parameter::{Arguments, Name, Parameter, parameters};
use crate::params::Malformed;
use crate::policy::explain::{ExplainedStep, Explanation};
use crate::session::{Asked, Question};
use http::HeaderMap;
use serde_json::{Value, json};
use std::borrow::Cow;

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

    async fn call(cx: &Context<'_>, question: Box<Question>) -> Result<Box<Explanation>, ApiError> {
        Ok(Box::new(Box::pin(cx.api.explainer.explain(&question)).await))
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
        json!({"enum": ["allow", "error", "disconnect"]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// It is serialised elsewhere, so the compiler does not hold the two together.
    #[test]
    fn the_schema_has_the_fields_of_an_explanation() {
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
            ..explanation
        };
        let required = schemas["Explanation"]["required"].as_array().unwrap();
        let required: BTreeSet<String> =
            required.iter().map(|name| name.as_str().unwrap().to_owned()).collect();
        assert_eq!(required, names(&serde_json::to_value(&few).unwrap()));
    }
}
