//! Answers of any form, in both encodings: each is refused, or holds what the session relies on.

use super::super::json;
use super::*;
use proptest::prelude::*;
use prost::Message;
use serde_json::{Value, json};

/// Names of fields, and one that no message has.
const NAMES: &[&str] = &[
    "result",
    "error",
    "disconnect",
    "code",
    "message",
    "reason",
    "temporary",
    "user",
    "expire_at",
    "expired",
    "info",
    "b64info",
    "data",
    "b64data",
    "channels",
    "subs",
    "meta",
    "caps",
    "allow",
    "match",
    "labels",
    "override",
    "presence",
    "force_recovery",
    "value",
    "cache_recover",
    "other",
];

/// Values with the names that messages have, at any depth.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0_u32..100_000).prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        "[a-zA-Z0-9+/=]{0,8}".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 8, |inner| {
        let field =
            (prop::sample::select(NAMES), inner.clone()).prop_map(|(name, value)| (name.to_owned(), value));
        prop_oneof![
            3 => prop::collection::vec(field, 0..8).prop_map(|fields| fields.into_iter().collect()),
            1 => prop::collection::vec(inner, 0..4).prop_map(Value::from),
        ]
    })
}

/// An answer: one of the three parts is there more often than not.
fn answer() -> impl Strategy<Value = Value> {
    let part =
        (prop::sample::select(&NAMES[..3]), value()).prop_map(|(name, value)| (name.to_owned(), value));
    prop::collection::vec(part, 0..3).prop_map(|parts| parts.into_iter().collect())
}

/// Reads an answer as the session does.
fn read<M: Meaning + json::FromJson>(text: &str) -> Option<Reply<Option<M::Result>>> {
    reply(json::read::<M>(text).ok()?).ok()
}

fn holds<T>(told: Option<&Reply<T>>) {
    if let Some(Reply::Disconnect(end)) = told {
        assert!(end.code <= u32::from(u16::MAX), "{end:?} does not fit a close frame");
    }
}

fn login(told: Option<Reply<Option<ConnectResult>>>) {
    holds(told.as_ref());
    if let Some(Reply::Result(Some(result))) = told {
        assert!(result.expire_at >= 0);
        assert!(crate::labels::check(&result.labels).is_ok());
    }
}

fn subscription(told: Option<Reply<Option<SubscribeResult>>>) {
    holds(told.as_ref());
    if let Some(Reply::Result(Some(result))) = told {
        assert!(result.expire_at >= 0);
        assert!(result.info.as_ref().is_none_or(|info| !info.is_empty()));
    }
}

/// A field of Protobuf: number, and bytes with their length.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    prost::encode_length_delimiter(bytes.len(), &mut out).unwrap();
    out.extend_from_slice(bytes);
    out
}

proptest! {
    #[test]
    fn json_of_any_form(answer in answer()) {
        let text = answer.to_string();
        login(read::<messages::ConnectResult>(&text));
        subscription(read::<messages::SubscribeResult>(&text));
        holds(read::<messages::PublishResult>(&text).as_ref());
        holds(read::<messages::RpcResult>(&text).as_ref());
    }

    #[test]
    fn text_of_any_form(text in any::<String>(), cut in 0_usize..200, answer in answer()) {
        login(read::<messages::ConnectResult>(&text));
        // A part of an answer is not an answer.
        let whole = answer.to_string();
        if let Some(part) = whole.get(..cut.min(whole.len())) && part.len() < whole.len() {
            prop_assert!(json::read::<messages::RpcResult>(part).is_err(), "{part}");
        }
    }

    #[test]
    fn protobuf_of_any_form(number in 1_u8..16, inner in 1_u8..16, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for message in [bytes.clone(), field(number, &bytes), field(number, &field(inner, &bytes))] {
            login(messages::ConnectResult::decode(&*message).ok().and_then(|result| {
                reply(Answered { result: Some(result), ..Answered::EMPTY }).ok()
            }));
            subscription(messages::SubscribeResult::decode(&*message).ok().and_then(|result| {
                reply(Answered { result: Some(result), ..Answered::EMPTY }).ok()
            }));
            let disconnect = messages::Disconnect::decode(&*message).ok();
            holds(reply(Answered::<messages::RpcResult> { disconnect, ..Answered::EMPTY }).ok().as_ref());
        }
    }

    /// A login means the same in both encodings.
    #[test]
    fn both_encodings_mean_the_same(user in any::<String>(), expire_at in any::<i64>(), b64 in "[a-zA-Z0-9+/=]{0,8}") {
        let text = json!({ "result": { "user": user, "expire_at": expire_at, "b64info": b64 } }).to_string();
        let message = messages::ConnectResult { user, expire_at, b64info: b64, ..Default::default() };
        let message = messages::ConnectResult::decode(&*message.encode_to_vec()).unwrap();
        let binary = reply(Answered { result: Some(message), ..Answered::EMPTY });
        let parts = |told: Option<Reply<Option<ConnectResult>>>| match told {
            Some(Reply::Result(Some(result))) => Some((result.user, result.expire_at, result.info)),
            _ => None,
        };
        prop_assert_eq!(parts(read::<messages::ConnectResult>(&text)), parts(binary.ok()));
    }
}
