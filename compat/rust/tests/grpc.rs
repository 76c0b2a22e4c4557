//! Every method of the gRPC API, called by a `tonic` client that is made from the `.proto` file; each effect is seen over
//! HTTP or by the official SDK.

use centrifuge::{Client, Protocol};
use proto::centrifugo_api_client::CentrifugoApiClient;
use serde_json::{Value, json};
use spinward_compat::{Log, PATIENCE, SECRET, Server, Watchdog, connected, in_seconds, jwt};
use std::time::{Duration, Instant};
use tonic::metadata::MetadataValue;
use tonic::service::Interceptor;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

#[allow(clippy::all, clippy::pedantic, reason = "generated")]
mod proto {
    tonic::include_proto!("centrifugal.centrifugo.api");
}

/// Adds the key to each call.
#[derive(Clone)]
struct Key(String);

impl Interceptor for Key {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let value = MetadataValue::try_from(format!("apikey {}", self.0)).unwrap();
        request.metadata_mut().insert("authorization", value);
        Ok(request)
    }
}

type Api = CentrifugoApiClient<tonic::service::interceptor::InterceptedService<Channel, Key>>;

async fn api(server: &Server) -> Api {
    let channel = Channel::from_shared(server.grpc()).unwrap().connect().await.unwrap();
    CentrifugoApiClient::with_interceptor(channel, Key(server.key().to_owned()))
}

/// Makes a call and gives its result. The server answers with an error or a result.
macro_rules! result {
    ($api:expr, $method:ident, $request:ident { $($field:ident: $value:expr),* $(,)? }) => {{
        #[allow(clippy::needless_update, reason = "some requests have no further fields")]
        let request = proto::$request { $($field: $value,)* ..Default::default() };
        let response = $api.$method(request).await.unwrap().into_inner();
        assert_eq!(response.error, None, stringify!($method));
        response.result.expect(stringify!($method))
    }};
}

/// Makes a call and gives the code of its error.
macro_rules! refused {
    ($api:expr, $method:ident, $request:ident { $($field:ident: $value:expr),* $(,)? }) => {{
        let request = proto::$request { $($field: $value,)* ..Default::default() };
        let response = $api.$method(request).await.unwrap().into_inner();
        response.error.expect(stringify!($method)).code
    }};
}

/// A connection of a user, and what ends it.
async fn client(server: &Server, claims: &Value) -> (Client, Log<u32>) {
    let ended = Log::default();
    let log = ended.clone();
    let client = Client::builder(&server.url())
        .protocol(Protocol::Json)
        .token(jwt(claims, SECRET))
        .on_disconnected(move |_, event| log.push(event.code))
        .build()
        .unwrap();
    client.connect().unwrap();
    connected(&client).await;
    (client, ended)
}

/// Waits until the HTTP API says this.
async fn until(server: &Server, method: &str, params: Value, holds: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let found = server.api(method, params.clone());
        if holds(&found) {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "{method}: {found}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Ids of a user's connections, over HTTP.
fn ids(found: &Value) -> Vec<String> {
    found["connections"].as_object().unwrap().keys().cloned().collect()
}

/// The id of the one connection of a user.
fn id(server: &Server, user: &str) -> String {
    ids(&server.api("connections", json!({ "user": user }))).remove(0)
}

/// Waits until a connection has ended. The SDK may have made another one since.
async fn gone(server: &Server, user: &str, id: &str) {
    until(server, "connections", json!({ "user": user }), |found| !ids(found).contains(&id.to_owned())).await;
}

fn of(channel: &str) -> Value {
    json!({ "channel": channel, "limit": -1 })
}

#[tokio::test(flavor = "multi_thread")]
async fn publications_and_history() {
    let _watchdog = Watchdog::over("publications_and_history");
    let server = Server::start();
    let mut api = api(&server).await;
    let made =
        result!(api, publish, PublishRequest { channel: "recov:a".into(), data: b"{\"n\": 1}".to_vec() });
    assert_eq!(made.offset, 1);
    let made = result!(
        api,
        broadcast,
        BroadcastRequest { channels: vec!["recov:a".into(), "nope:x".into()], data: b"2".to_vec() }
    );
    let codes: Vec<_> = made.responses.iter().map(|one| one.error.as_ref().map(|error| error.code)).collect();
    assert_eq!(codes, [None, Some(102)]);
    let commands = vec![
        proto::Command {
            publish: Some(proto::PublishRequest {
                channel: "recov:a".into(),
                b64data: "Mw==".into(),
                ..Default::default()
            }),
            ..Default::default()
        },
        proto::Command { info: Some(proto::InfoRequest {}), ..Default::default() },
    ];
    let batch = proto::BatchRequest { commands, parallel: false };
    let replies = api.batch(batch).await.unwrap().into_inner().replies;
    assert_eq!(replies[0].publish.as_ref().map(|made| made.offset), Some(3));
    assert_eq!(replies[1].info.as_ref().map(|info| info.nodes.len()), Some(1));
    // Over HTTP there is the same.
    let kept = server.api("history", of("recov:a"));
    let data: Vec<_> =
        kept["publications"].as_array().unwrap().iter().map(|one| one["data"].clone()).collect();
    assert_eq!(data, [json!({ "n": 1 }), json!(2), json!(3)]);
    let history =
        result!(api, history, HistoryRequest { channel: "recov:a".into(), limit: 2, reverse: true });
    assert_eq!(history.publications.iter().map(|one| one.offset).collect::<Vec<_>>(), [3, 2]);
    assert_eq!((history.offset, json!(history.epoch)), (3, kept["epoch"].clone()));
    result!(api, history_remove, HistoryRemoveRequest { channel: "recov:a".into() });
    assert_eq!(server.api("history", of("recov:a"))["publications"], json!([]));
    assert_eq!(refused!(api, publish, PublishRequest { channel: "nope:x".into(), data: b"1".to_vec() }), 102);
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_and_presence() {
    let _watchdog = Watchdog::over("subscriptions_and_presence");
    let server = Server::start();
    let mut api = api(&server).await;
    let (client, _) = client(&server, &json!({ "sub": "ann" })).await;
    result!(api, subscribe, SubscribeRequest { channel: "room:a".into(), user: "ann".into() });
    until(&server, "presence_stats", of("room:a"), |found| found["num_clients"] == 1).await;
    let members = result!(api, presence, PresenceRequest { channel: "room:a".into() }).presence;
    let members: Vec<_> = members.values().map(|info| info.user.clone()).collect();
    assert_eq!(members, ["ann"]);
    let stats = result!(api, presence_stats, PresenceStatsRequest { channel: "room:a".into() });
    assert_eq!((stats.num_clients, stats.num_users), (1, 1));
    let channels = result!(api, channels, ChannelsRequest { pattern: "room:*".into() }).channels;
    assert_eq!(channels["room:a"].num_clients, 1);
    let found = result!(api, connections, ConnectionsRequest { user: "ann".into() }).connections;
    let over_http = server.api("connections", json!({ "user": "ann" }));
    let ids: Vec<_> = found.keys().collect();
    assert_eq!(ids, over_http["connections"].as_object().unwrap().keys().collect::<Vec<_>>());
    let nodes = result!(api, info, InfoRequest {}).nodes;
    assert_eq!(nodes.len(), 1);
    assert_eq!(nodes[0].name, server.api("info", json!({}))["nodes"][0]["name"]);
    let decision = result!(
        api,
        explain,
        ExplainRequest { action: "subscribe".into(), user: Some("ann".into()), channel: "closed:a".into() }
    );
    assert_eq!(
        decision.verdict,
        server.api("explain", json!({ "action": "subscribe", "user": "ann", "channel": "closed:a" }))["verdict"]
    );
    result!(api, unsubscribe, UnsubscribeRequest { channel: "room:a".into(), user: "ann".into() });
    until(&server, "presence_stats", of("room:a"), |found| found["num_clients"] == 0).await;
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_of_connections() {
    let _watchdog = Watchdog::over("ends_of_connections");
    let server = Server::start();
    let mut api = api(&server).await;
    let (_ann, ended) = client(&server, &json!({ "sub": "ann" })).await;
    result!(
        api,
        disconnect,
        DisconnectRequest {
            user: "ann".into(),
            disconnect: Some(proto::Disconnect { code: 4501, reason: "x".into() }),
        }
    );
    assert_eq!(ended.wait(1), [4501]);
    let (_bob, _) = client(&server, &json!({ "sub": "bob", "exp": in_seconds(3_600) })).await;
    let before = id(&server, "bob");
    result!(api, refresh, RefreshRequest { user: "bob".into(), expired: true });
    gone(&server, "bob", &before).await;
    let (_cat, _) = client(&server, &json!({ "sub": "cat" })).await;
    let before = id(&server, "cat");
    result!(api, block_user, BlockUserRequest { user: "cat".into() });
    gone(&server, "cat", &before).await;
    result!(api, unblock_user, UnblockUserRequest { user: "cat".into() });
    let (_again, _) = client(&server, &json!({ "sub": "cat" })).await;
    let (_dan, _) = client(&server, &json!({ "sub": "dan", "jti": "one" })).await;
    let before = id(&server, "dan");
    result!(api, revoke_token, RevokeTokenRequest { uid: "one".into() });
    gone(&server, "dan", &before).await;
    let (_eve, _) = client(&server, &json!({ "sub": "eve", "iat": in_seconds(-60) })).await;
    let before = id(&server, "eve");
    result!(
        api,
        invalidate_user_tokens,
        InvalidateUserTokensRequest { user: "eve".into(), issued_before: in_seconds(0) }
    );
    gone(&server, "eve", &before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_without_an_effect() {
    let _watchdog = Watchdog::over("methods_without_an_effect");
    let server = Server::start();
    let mut api = api(&server).await;
    assert_eq!(refused!(api, rpc, RpcRequest { method: "x".into() }), 104);
    let channel = || "room:a".to_owned();
    for code in [
        refused!(api, map_publish, MapPublishRequest { channel: channel(), key: "k".into() }),
        refused!(api, map_remove, MapRemoveRequest { channel: channel(), key: "k".into() }),
        refused!(api, map_read_state, MapReadStateRequest { channel: channel() }),
        refused!(api, map_read_stream, MapReadStreamRequest { channel: channel() }),
        refused!(api, map_stats, MapStatsRequest { channel: channel() }),
        refused!(api, map_clear, MapClearRequest { channel: channel() }),
        refused!(api, shared_poll_publish, SharedPollPublishRequest { channel: channel() }),
    ] {
        assert_eq!(code, 107);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_moves_clients_away() {
    let _watchdog = Watchdog::over("a_drain_moves_clients_away");
    let server = Server::start();
    let mut api = api(&server).await;
    let (client, _) = client(&server, &json!({ "sub": "ann" })).await;
    result!(api, drain, DrainRequest { notice: 0, duration: 1 });
    // The SDK may come back at once, to this node: there is no other. The probe tells that it drains.
    let began = Instant::now();
    while server.probe("/readyz") == 200 {
        assert!(began.elapsed() < PATIENCE, "the node is still ready");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    result!(api, drain, DrainRequest { cancel: true });
    while server.probe("/readyz") != 200 {
        assert!(began.elapsed() < PATIENCE, "the node is not ready again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_refused() {
    let _watchdog = Watchdog::over("a_wrong_key_is_refused");
    let server = Server::start();
    let channel = Channel::from_shared(server.grpc()).unwrap().connect().await.unwrap();
    let mut api = CentrifugoApiClient::with_interceptor(channel, Key("wrong".to_owned()));
    let error = api.info(proto::InfoRequest {}).await.unwrap_err();
    assert_eq!(error.code(), Code::Unauthenticated);
}
