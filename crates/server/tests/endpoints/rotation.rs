//! Keys are exchanged under live connections: each goes on with tokens of the old key and of the new one, and none
//! is lost.
//!
//! Some hundred connections at every change; `SPINWARD_FULL=1` takes 5,000.

use crate::common::{Client, subscribe};
use crate::{Place, Server, answer, now};
use serde_json::{Value, json};
use spinward::wire::Protocol;
use spinward::wire::message::{Command, ConnectRequest, RefreshRequest};
use spinward_server::auth::sign::hs256;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const OLD: &str = "the-key-before-of-the-tests-03d1c9e7f2";
const NEW: &str = "the-key-after-of-the-tests-7be21f604d5";

/// Connections of one source address: a port for each, of about 28,000, and the kernel looks for a free one.
const PER_ADDRESS: usize = 2_000;
/// Commands under way at once, so that nobody waits longer than a client of these tests does.
const AT_ONCE: usize = 50;

fn connections() -> usize {
    if std::env::var_os("SPINWARD_FULL").is_some() { 5_000 } else { 500 }
}

fn config(token: Value) -> Value {
    json!({
        "client": {
            "token": token,
            // These clients read only when they wait for an answer.
            "ping_interval": "10m", "pong_timeout": "5m", "stale_close_delay": "5m",
        },
        "channel": { "without_namespace": { "allow_subscribe_for_client": true } },
        "prometheus": { "enabled": true },
        "shards": 2,
    })
}

struct One {
    number: usize,
    client: Client<TcpStream>,
    commands: u32,
    /// Refreshes that were granted, by key.
    old: u32,
    new: u32,
}

impl One {
    async fn open(number: usize, port: u16) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        let address = Ipv4Addr::new(127, 0, 0, 2 + u8::try_from(number / PER_ADDRESS).unwrap());
        socket.bind(SocketAddr::from((address, 0))).unwrap();
        let stream = socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await.unwrap();
        let mut client = Client::new(stream, Protocol::Json);
        client.upgrade("/connection/websocket", "").await;
        let mut one = Self { number, client, commands: 2, old: 0, new: 0 };
        let connect = ConnectRequest { token: one.token(OLD), ..ConnectRequest::default() };
        let connect = Command { id: 1, connect: Some(connect), ..Command::default() };
        one.client.send(&[connect, subscribe(2, "news")]).await;
        assert_eq!(answer(&mut one.client, 1).await, None);
        assert_eq!(answer(&mut one.client, 2).await, None);
        one
    }

    /// A token that ends, or there would be nothing to prolong.
    fn token(&self, key: &str) -> String {
        hs256(key, &json!({ "sub": self.number.to_string(), "exp": now() + 3600 }))
    }

    async fn refresh(&mut self, key: &str) {
        self.commands += 1;
        let request = RefreshRequest { token: self.token(key) };
        self.client
            .send(&[Command { id: self.commands, refresh: Some(request), ..Command::default() }])
            .await;
        let reply = self.client.reply(self.commands).await;
        assert_eq!(reply.error, None, "connection {}", self.number);
        assert!(reply.refresh.expect("a refresh is answered as one").expires);
        *(if key == OLD { &mut self.old } else { &mut self.new }) += 1;
    }
}

/// Does something with every connection, some at once.
async fn with_all<F>(all: Vec<One>, act: impl Fn(One) -> F) -> Vec<One>
where
    F: Future<Output = One> + Send + 'static,
{
    let (room, mut running) = (Arc::new(Semaphore::new(AT_ONCE)), JoinSet::new());
    for one in all {
        let (acting, room) = (act(one), Arc::clone(&room));
        running.spawn(async move {
            let _room = room.acquire_owned().await;
            acting.await
        });
    }
    running.join_all().await
}

async fn refresh_all(all: Vec<One>, keys: &'static [&'static str]) -> Vec<One> {
    with_all(all, |mut one| async move {
        for key in keys {
            one.refresh(key).await;
        }
        one
    })
    .await
}

/// A metric's value; 0 if it has none.
async fn metric(server: &Server, name: &str) -> u64 {
    let page = server.page("/metrics").await;
    page.lines().filter_map(|line| line.strip_prefix(name)?.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
}

fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_exchanged_under_live_connections() {
    raise_file_limit();
    let count = connections();
    let place = Place::new();
    let server = Server::start(&place.0, config(json!({ "hmac_secret_key": OLD }))).await;
    let port = server.port;
    let (room, mut opening) = (Arc::new(Semaphore::new(AT_ONCE)), JoinSet::new());
    for number in 0..count {
        let room = Arc::clone(&room);
        opening.spawn(async move {
            let _room = room.acquire_owned().await;
            One::open(number, port).await
        });
    }
    let mut all = opening.join_all().await;
    assert_eq!(metric(&server, "centrifugo_node_num_clients").await, count as u64);

    // The change of the backend is not that of the server: tokens of both keys come before, during and after.
    let steps = [
        json!({ "hmac_secret_key": OLD, "hmac_previous_secret_key": NEW }),
        json!({ "hmac_secret_key": NEW, "hmac_previous_secret_key": OLD }),
        json!({ "keys": [
            { "type": "hmac", "key": OLD, "valid_until": now() + 3600 },
            { "type": "hmac", "key": NEW },
        ] }),
        json!({ "keys": [{ "type": "hmac", "key": NEW }], "hmac_previous_secret_key": OLD,
            "hmac_previous_secret_key_valid_until": now() + 3600 }),
    ];
    for (at, step) in steps.into_iter().enumerate() {
        let during: &[&str] = if at == 0 { &[OLD] } else { &[NEW, OLD] };
        let (refreshed, good) = tokio::join!(refresh_all(all, during), server.reload(config(step.clone())));
        assert!(good, "{step}");
        all = refresh_all(refreshed, &[OLD, NEW]).await;
    }
    assert!(server.reload(config(json!({ "hmac_secret_key": NEW }))).await);
    all = refresh_all(all, &[NEW]).await;

    let (old, new) = all.iter().fold((0, 0), |sum, one| (sum.0 + one.old, sum.1 + one.new));
    println!("{count} connections: {old} refreshes by the old key, {new} by the new one");
    assert!(all.iter().all(|one| one.old == 8 && one.new == 8));
    assert_eq!(metric(&server, "spinward_commands_total{method=\"refresh\"}").await, 16 * count as u64);
    assert_eq!(metric(&server, "spinward_refusals_total{action=\"refresh\"").await, 0);
    assert_eq!(metric(&server, "centrifugo_client_num_server_disconnects").await, 0);
    assert_eq!(metric(&server, "centrifugo_node_num_clients").await, count as u64);
    assert_eq!(server.reloads().await, (5, 0));

    // They are not only counted: each gets what is published.
    server.api("publish", json!({ "channel": "news", "data": { "n": 1 } })).await;
    let all = with_all(all, |mut one| async move {
        assert_eq!(one.client.push().await.channel, "news");
        one
    })
    .await;

    // And the old key is no longer valid, neither for new clients nor for connected ones.
    let mut one = all.into_iter().next().unwrap();
    assert_eq!(server.connect(&one.token(OLD)).await.1, Some(3500));
    let request = RefreshRequest { token: one.token(OLD) };
    one.client.send(&[Command { id: 99, refresh: Some(request), ..Command::default() }]).await;
    let refused = tokio::time::timeout(Duration::from_secs(30), answer(&mut one.client, 99)).await;
    assert_eq!(refused.unwrap(), Some(3500));
}
