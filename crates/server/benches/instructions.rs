//! Cost of a permission decision in instructions: see `spinward_testkit::counted`.

#![allow(clippy::unwrap_used, reason = "a bench may fail")]

use serde_json::{Value, json};
use spinward_server::channel::Registry;
use spinward_server::policy::{
    Capabilities, Facts, PublishFacts, Request, Rules, SubscribeFacts, SubscriptionToken, Verdict, Wishes,
    decide,
};
use spinward_testkit::counted::{self, Case, measured};
use std::hint::black_box;

const NOW: i64 = 1_800_000_000;

const CASES: &[Case] = &[
    ("decide-flag", flag),
    ("decide-publish", publish),
    ("decide-caps", caps),
    ("decide-pattern", pattern),
    ("decide-user-limited", user_limited),
    ("decide-refused", refused),
];

fn main() {
    counted::main(CASES);
}

fn rules(channel: Value) -> Rules {
    Rules::new(Registry::new(&serde_json::from_value(channel).unwrap()).unwrap())
}

fn subscribe<'a>() -> SubscribeFacts<'a> {
    SubscribeFacts { token: SubscriptionToken::None, wishes: Wishes::default() }
}

fn decided<'a, A: Facts<'a>>(rules: &Rules, request: &Request<'a, A>) -> bool {
    measured(|| matches!(decide(black_box(rules), black_box(request)).verdict, Verdict::Allow(_)))
}

/// Twenty namespaces, the last of which is asked for.
fn namespaces(options: &Value) -> Rules {
    let namespaces: Vec<Value> = (0..20)
        .map(|number| {
            let mut namespace = options.clone();
            namespace["name"] = json!(format!("ns{number}"));
            namespace
        })
        .collect();
    rules(json!({ "namespaces": namespaces }))
}

fn flag() {
    let rules = namespaces(&json!({"allow_subscribe_for_client": true}));
    assert!(decided(&rules, &Request::new(subscribe(), "ns19:room", "user-7", NOW)));
}

fn publish() {
    let rules = namespaces(&json!({"allow_publish_for_subscriber": true}));
    let facts = PublishFacts { kind: 0, data: b"{}" };
    let request = Request { subscribed: true, ..Request::new(facts, "ns19:room", "user-7", NOW) };
    assert!(decided(&rules, &request));
}

fn caps() {
    let rules = namespaces(&json!({}));
    let caps = json!([
        {"channels": ["ns1:a", "ns2:b"], "allow": ["sub", "pub"]},
        {"channels": ["ns19:*"], "match": "wildcard", "allow": ["sub"]},
    ]);
    let caps = Capabilities::parse(&caps.to_string()).unwrap();
    let request =
        Request { capabilities: Some(&caps), ..Request::new(subscribe(), "ns19:room", "user-7", NOW) };
    assert!(decided(&rules, &request));
}

fn pattern() {
    let rules = rules(json!({
        "patterns": true,
        "namespaces": [
            {"name": "user", "pattern": "/users/:name", "allow_subscribe_for_client": true},
            {"name": "room", "pattern": "/users/:name/rooms/:room", "allow_subscribe_for_client": true},
        ],
    }));
    assert!(decided(&rules, &Request::new(subscribe(), "/users/seven/rooms/eleven", "user-7", NOW)));
}

fn user_limited() {
    let rules = namespaces(&json!({"allow_user_limited_channels": true}));
    assert!(decided(&rules, &Request::new(subscribe(), "ns19:dialog#user-3,user-7", "user-7", NOW)));
}

fn refused() {
    let rules = namespaces(&json!({}));
    assert!(!decided(&rules, &Request::new(subscribe(), "ns19:room", "user-7", NOW)));
}
