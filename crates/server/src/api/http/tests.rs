//! Requests and the bytes of their responses.

use super::*;
use crate::auth::reason::Refusal;
use crate::auth::revoke::{Revocation, RevocationStore, StoreError, Subject};
use crate::auth::revoke_store::MemoryStore;
use crate::config::{Vars, from_tree};
use crate::session::{Explainer, RefusalLog, Revocations, ServerHooks, Shared};
use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::json;
use spinward::clock::Clock;
use spinward::engine::broker::{
    Broker, BrokerError, HistoryOptions, Interest, JoinLeave, Place, PublishOptions, Read, Receipt, Sink,
    Slice, StreamId,
};
use spinward::{Node, NodeBuilder};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Barrier};
use std::time::Duration;

/// The API of a node whose revocations are in `store`.
pub(in crate::api) fn api(store: impl RevocationStore + 'static) -> Api {
    api_with(store, |node| node)
}

fn api_with(
    store: impl RevocationStore + 'static,
    configure: impl FnOnce(NodeBuilder) -> NodeBuilder,
) -> Api {
    let options = json!({
        "http_api": { "insecure": true },
        "channel": {
            "without_namespace": { "history_size": 10, "history_ttl": "60s", "presence": true },
            "namespaces": [{ "name": "plain" }],
        },
    });
    let loaded = from_tree(options.as_object().unwrap().clone(), &Vars::default(), &[]).unwrap();
    let active = crate::app::active_config(&loaded.config, &crate::auth::jwks::Jwks::offline()).unwrap();
    let (active, clock) = (Shared::new(active), Clock::system());
    let revocations = Revocations::new(Arc::new(store), clock.clone());
    let refusals = Arc::new(RefusalLog::new(clock.clone()));
    let hooks = ServerHooks::new(active.clone(), clock.clone(), refusals, revocations.clone());
    let limits = spinward::Config { shards: 1, ..spinward::Config::default() };
    let node = configure(Node::builder(hooks).config(limits).name("n").version("v")).build().unwrap();
    let explainer = Explainer { active: active.clone(), revocations: revocations.clone(), clock };
    Api::new(node, active, revocations, explainer, Duration::from_secs(60))
}

fn settings() -> HttpSettings {
    HttpSettings {
        prefix: "/api".to_owned(),
        callers: Callers::single("key"),
        insecure: false,
        no_query_key: false,
        transport_errors: false,
        max_body: 1 << 20,
        max_batch: 10,
    }
}

/// Sends a request: status and body, or the field that makes it malformed.
async fn post(api: &Api, path: &str, body: &str) -> Result<(u16, String), &'static str> {
    let route = route(path, &Method::POST).unwrap();
    let headers = HeaderMap::from_iter([("x-api-key".parse().unwrap(), "key".parse().unwrap())]);
    let caller = settings().caller(&headers, &Uri::from_static("/")).await.unwrap();
    let answer = api.serve(&settings(), &caller, route, &headers, body.as_bytes()).await;
    let answer = answer.map_err(|Malformed(field)| field)?;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    Ok((status, String::from_utf8(body.to_vec()).unwrap()))
}

/// Sends a request that is answered with 200.
async fn ok(api: &Api, path: &str, body: &str) -> String {
    let (status, answer) =
        post(api, path, body).await.unwrap_or_else(|field| panic!("{path} {body}: {field}"));
    assert_eq!(status, 200, "{path} {body}");
    answer
}

const BAD_REQUEST: &str = r#"{"error":{"code":107,"message":"bad request"}}"#;

#[tokio::test]
async fn a_value_that_cannot_be_used_fails_the_call_and_a_wrong_type_the_request() {
    let api = api(MemoryStore::new(10));
    for (method, unusable) in [
        ("publish", r#""channel":"c","b64data":"!""#),
        ("broadcast", r#""channels":["c"],"b64data":"aGk""#),
        ("subscribe", r#""channel":"c","b64info":"!","b64data":"aGk=""#),
        ("explain", r#""action":"dance","channel":"c""#),
    ] {
        assert_eq!(ok(&api, method, &format!("{{{unusable}}}")).await, BAD_REQUEST, "{method}");
        // The wrong type counts wherever it is.
        for body in [format!(r#"{{"channel":5,{unusable}}}"#), format!(r#"{{{unusable},"channel":5}}"#)] {
            let malformed = if method == "broadcast" {
                body.replace("\"channel\":5", "\"version\":-1")
            } else {
                body.replace("\"channel\":\"c\",", "").replace(",\"channel\":\"c\"", "")
            };
            assert!(post(&api, method, &malformed).await.is_err(), "{method} {malformed}");
        }
        let batch =
            format!(r#"{{"commands":[{{"{method}":{{{unusable}}}}},{{"unblock_user":{{"user":"u"}}}}]}}"#);
        let replies = format!(r#"{{"replies":[{BAD_REQUEST},{{"unblock_user":{{}}}}]}}"#);
        assert_eq!(ok(&api, "batch", &batch).await, replies, "{method}");
    }
}

#[tokio::test]
async fn one_malformed_command_refuses_the_whole_batch() {
    let api = api(MemoryStore::new(10));
    let publish = r#"{"publish":{"channel":"c","data":1}}"#;
    let wrong = r#"{"publish":{"channel":5}}"#;
    assert_eq!(post(&api, "batch", &format!(r#"{{"commands":[{publish},{wrong}]}}"#)).await, Err("channel"));
    let history = ok(&api, "history", r#"{"channel":"c"}"#).await;
    assert!(history.contains("\"offset\":0"), "nothing was published: {history}");
    let eleven = format!(r#"{{"commands":[{}]}}"#, [publish; 11].join(","));
    assert_eq!(post(&api, "batch", &eleven).await, Err("commands"));
}

#[tokio::test]
async fn results_are_written_as_before() {
    let api = api(MemoryStore::new(10));
    let published = ok(&api, "publish", r#"{"channel":"c","data":{"a": "<&>"},"tags":{"k":"<v>"}}"#).await;
    let (_, epoch) = published.split_once("\"epoch\":\"").unwrap();
    let (epoch, _) = epoch.split_once('"').unwrap();
    assert_eq!(published, format!(r#"{{"result":{{"offset":1,"epoch":"{epoch}"}}}}"#));
    for (path, body, expected) in [
        ("publish", r#"{"channel":"plain:c","data":1}"#, r#"{"result":{}}"#),
        ("publish", "{}", BAD_REQUEST),
        ("publish", r#"{"channel":"nowhere:c"}"#, r#"{"error":{"code":102,"message":"unknown channel"}}"#),
        (
            "broadcast",
            r#"{"channels":["plain:c","nowhere:c",""],"b64data":"aGk="}"#,
            r#"{"result":{"responses":[{"result":{}},{"error":{"code":102,"message":"unknown channel"}},{"error":{"code":107,"message":"bad request"}}]}}"#,
        ),
        (
            "history",
            r#"{"channel":"c","limit":-1}"#,
            r#"{"result":{"publications":[{"data":{"a": "<&>"},"offset":1,"tags":{"k":"<v>"}}],"epoch":"EPOCH","offset":1}}"#,
        ),
        ("presence", r#"{"channel":"c"}"#, r#"{"result":{"presence":{}}}"#),
        ("presence_stats", r#"{"channel":"c"}"#, r#"{"result":{"num_clients":0,"num_users":0}}"#),
        ("presence", r#"{"channel":"plain:c"}"#, r#"{"error":{"code":108,"message":"not available"}}"#),
        ("channels", "{}", r#"{"result":{"channels":{}}}"#),
        ("rpc", r#"{"method":"m"}"#, r#"{"error":{"code":104,"message":"not found"}}"#),
        ("map_publish", r#"{"channel":"c","key":"k"}"#, BAD_REQUEST),
        ("batch", "{}", "{}"),
        (
            "",
            r#"{"id":3,"method":"Presence_Stats","params":{"channel":"c"}}{"method":14}"#,
            "{\"id\":3,\"result\":{\"num_clients\":0,\"num_users\":0}}\n{\"error\":{\"code\":104,\"message\":\"not found\"}}",
        ),
    ] {
        assert_eq!(ok(&api, path, body).await, expected.replace("EPOCH", epoch), "{path} {body}");
    }
    let info = ok(&api, "info", "{}").await;
    let (_, uid) = info.split_once("\"uid\":\"").unwrap();
    let (uid, _) = uid.split_once('"').unwrap();
    let expected = format!(
        r#"{{"result":{{"nodes":[{{"uid":"{uid}","name":"n","version":"v","num_clients":0,"num_users":0,"num_channels":0,"uptime":0,"num_subs":0}}]}}}}"#
    );
    assert_eq!(info, expected);
}

#[tokio::test]
async fn in_transport_mode_an_error_has_its_status_and_is_the_body() {
    let api = api(MemoryStore::new(10));
    let mut headers = HeaderMap::new();
    headers.insert("x-centrifugo-error-mode", HeaderValue::from_static("transport"));
    let route = route("presence", &Method::POST).unwrap();
    let settings = settings();
    let caller = settings.callers.with_key(b"key").unwrap();
    let body = br#"{"channel":"nowhere:c"}"#;
    let answer = api.serve(&settings, &caller, route, &headers, body).await.unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, r#"{"code":102,"message":"unknown channel"}"#);
}

/// A store in which as many revocations have to meet before any of them is stored.
struct Meeting(Barrier);

impl RevocationStore for Meeting {
    fn check(&self, _: &Subject<'_>, _: i64) -> Result<(), Refusal> {
        Ok(())
    }

    fn revoke(&self, _: Revocation, _: i64) -> Result<(), StoreError> {
        self.0.wait();
        Ok(())
    }

    fn unblock_user(&self, _: &str, _: i64) -> Result<(), StoreError> {
        Ok(())
    }
}

#[tokio::test]
async fn commands_of_a_parallel_batch_are_under_way_together() {
    let api = api(Meeting(Barrier::new(4)));
    let commands: Vec<String> = (0..9)
        .map(|n| match n {
            1 => r#"{"presence_stats":{"channel":"c"}}"#.to_owned(),
            n => format!(r#"{{"revoke_token":{{"uid":"t{n}"}}}}"#),
        })
        .collect();
    let batch = format!(r#"{{"commands":[{}],"parallel":true}}"#, commands.join(","));
    let replies = tokio::time::timeout(Duration::from_secs(30), ok(&api, "batch", &batch)).await;
    let expected: Vec<&str> = (0..9)
        .map(|n| match n {
            1 => r#"{"presence_stats":{"num_clients":0,"num_users":0}}"#,
            _ => r#"{"revoke_token":{}}"#,
        })
        .collect();
    assert_eq!(replies.unwrap(), format!(r#"{{"replies":[{}]}}"#, expected.join(",")));
}

#[tokio::test]
async fn commands_of_another_batch_see_what_those_before_them_did() {
    let api = api(MemoryStore::new(10));
    let batch = r#"{"commands":[{"publish":{"channel":"c","data":1}},{"history_remove":{"channel":"c"}},{"publish":{"channel":"c","data":2}},{"history":{"channel":"c","limit":-1}}]}"#;
    let replies = ok(&api, "batch", batch).await;
    assert!(replies.contains(r#""publications":[{"data":2,"offset":2}]"#), "{replies}");
}

/// It is moved with each request of a connection.
#[tokio::test]
async fn the_future_of_a_call_is_small() {
    let (api, settings, headers) = (api(MemoryStore::new(10)), settings(), HeaderMap::new());
    let route = route("publish", &Method::POST).unwrap();
    let caller = settings.callers.with_key(b"key").unwrap();
    let size = size_of_val(&api.serve(&settings, &caller, route, &headers, b"{}"));
    assert!(size <= 2416, "{size} bytes");
}

/// A broker that takes its time, and counts the publishes that wait for it.
#[derive(Clone, Default)]
struct Slow(Arc<Counts>);

#[derive(Default)]
struct Counts {
    waiting: AtomicUsize,
    most: AtomicUsize,
}

impl Broker for Slow {
    fn name(&self) -> &'static str {
        "slow"
    }

    fn start(&self, _: Sink) -> Result<(), BrokerError> {
        Ok(())
    }

    fn incarnation(&self, _: &str) -> Arc<str> {
        "i".into()
    }

    fn publish(
        &self,
        channel: &str,
        _: Bytes,
        _: PublishOptions,
    ) -> spinward::Answer<Result<Receipt, BrokerError>> {
        let (slow, number) = (Arc::clone(&self.0), channel.trim_start_matches('c').parse().unwrap());
        let stream = StreamId { incarnation: "i".into(), epoch: "e".into() };
        spinward::Answer::later(async move {
            let waiting = slow.waiting.fetch_add(1, Relaxed) + 1;
            slow.most.fetch_max(waiting, Relaxed);
            tokio::time::sleep(Duration::from_millis(10 - number % 10)).await;
            slow.waiting.fetch_sub(1, Relaxed);
            Ok(Receipt::Stored(Place { stream, offset: number }))
        })
    }

    fn announce(&self, _: &str, _: JoinLeave) -> spinward::Answer<Result<(), BrokerError>> {
        Ok(()).into()
    }

    fn read(&self, _: &str, _: Read, _: HistoryOptions) -> spinward::Answer<Result<Slice, BrokerError>> {
        Err(BrokerError::NotSupported).into()
    }

    fn forget(&self, _: &str) -> spinward::Answer<Result<(), BrokerError>> {
        Err(BrokerError::NotSupported).into()
    }

    fn interest(&self, _: &[(Arc<str>, Interest)]) {}
}

#[tokio::test]
async fn publishes_of_a_broadcast_are_under_way_together_and_answered_in_order() {
    let slow = Slow::default();
    let api = api_with(MemoryStore::new(10), |node| node.broker(Arc::new(slow.clone())));
    let channels: Vec<String> = (0..200).map(|n| format!("c{n}")).collect();
    let replies = ok(&api, "broadcast", &json!({ "channels": channels, "data": 1 }).to_string()).await;
    let replies: serde_json::Value = serde_json::from_str(&replies).unwrap();
    let offsets: Vec<u64> = replies["result"]["responses"]
        .as_array()
        .unwrap()
        .iter()
        .map(|reply| reply["result"]["offset"].as_u64().unwrap())
        .collect();
    assert_eq!(offsets, (0..200).collect::<Vec<_>>());
    assert_eq!(slow.0.most.load(Relaxed), crate::api::CONCURRENCY);
}
