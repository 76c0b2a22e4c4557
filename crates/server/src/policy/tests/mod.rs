//! Tests of decisions: against what Centrifugo v6.9 answered, against every combination of options, and
//! against what must hold whatever the options.

use super::*;
use crate::channel::Registry;
use serde_json::{Value, json};

mod compat;
mod explained;
mod length;
mod matrix;
mod properties;
mod proxies;
mod serverside;

/// The present, in Unix seconds.
const NOW: i64 = 1_800_000_000;

fn rules(channel: Value) -> Rules {
    Rules::new(Registry::new(&serde_json::from_value(channel).unwrap()).unwrap())
}

/// Rules whose only namespace `ns` has these options.
fn one(options: Value) -> Rules {
    let mut namespace = options;
    namespace["name"] = json!("ns");
    rules(json!({"namespaces": [namespace]}))
}

fn subscribe<'a>(token: SubscriptionToken<'a>, wishes: Wishes<'a>) -> Action<'a> {
    Action::Subscribe(SubscribeFacts { token, wishes })
}

fn plain<'a>() -> Action<'a> {
    subscribe(SubscriptionToken::None, Wishes::default())
}

fn publish(data: &[u8]) -> Action<'_> {
    Action::Publish(PublishFacts { kind: 0, data })
}

fn granted<'a>(decision: &Decision<Grant<'a>>) -> SubscribeGrant<'a> {
    match &decision.verdict {
        Verdict::Allow(Grant::Subscribe(grant)) => *grant,
        other => panic!("no subscription: {other:?}, {:?}", decision.trail),
    }
}

/// The code of a refusal.
fn code<G>(decided: &Result<G, Refused>) -> Option<u32> {
    decided.as_ref().err().map(|refused| refused.code.code)
}
