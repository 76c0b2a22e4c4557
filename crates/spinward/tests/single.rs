//! A user that keeps one connection keeps exactly one, and the latest, however many come at once.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails here")]

mod common;

use common::{Client, connect};
use spinward::answer::Answer;
use spinward::hooks::{ConnectEvent, ConnectReply, Decision, Handshake, Hooks};
use spinward::identity::Credentials;
use spinward::wire::Protocol;
use spinward::wire::message::{Command, UnsubscribeRequest};
use spinward::{Config, Node};
use tokio::io::DuplexStream;

struct Single;

impl Hooks for Single {
    fn connect(&self, request: ConnectEvent) -> Decision<ConnectReply> {
        let credentials = Credentials { user: request.token, ..Credentials::default() };
        Answer::Now(Ok(ConnectReply { credentials, single_connection: true, ..ConnectReply::default() }))
    }
}

fn open(node: &Node) -> Client<DuplexStream> {
    let (ours, theirs) = tokio::io::duplex(1 << 12);
    let handshake = Handshake::default();
    node.serve_stream(theirs, Protocol::Json, handshake);
    Client::new(ours, Protocol::Json)
}

fn login(user: &str) -> Command {
    let mut command = connect(1);
    command.connect.as_mut().unwrap().token = user.to_owned();
    command
}

/// Asks for something and waits for the answer. Whether the connection is still there then.
async fn is_there(client: &mut Client<DuplexStream>) -> bool {
    let unsubscribe = Some(UnsubscribeRequest { channel: "c".to_owned() });
    client.send(&[Command { id: 2, unsubscribe, ..Command::default() }]).await;
    while let Some(reply) = client.next().await {
        if reply.id == 2 {
            return true;
        }
    }
    assert_eq!(client.closed, Some(Some(3504)));
    false
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_logins_at_once_exactly_one_stays() {
    let config = Config { shards: 2, user_connection_limit: 1, ..Config::default() };
    let node = Node::builder(Single).config(config).build().unwrap();
    for round in 0..2_000 {
        let user = format!("user {round}");
        let mut clients: Vec<_> = (0..4).map(|_| open(&node)).collect();
        let logins = clients.iter_mut().map(|client| {
            let command = login(&user);
            async move { client.send(&[command]).await }
        });
        for login in logins {
            login.await;
        }
        // All logins are decided: by a reply, or by the end.
        for client in &mut clients {
            client.next().await;
        }
        // Those that have to go may still have answered, but the one that stays answers always.
        let mut tries = 0;
        while clients.len() > 1 {
            tries += 1;
            assert!(tries < 1_000, "round {round}: {} stay", clients.len());
            let mut staying = Vec::new();
            for mut client in clients {
                if client.closed.is_none() && is_there(&mut client).await {
                    staying.push(client);
                }
            }
            clients = staying;
        }
        assert_eq!(clients.len(), 1, "round {round}");
        assert!(is_there(&mut clients[0]).await, "round {round}");
    }
}

#[tokio::test]
async fn the_latest_login_stays() {
    let config = Config { shards: 2, user_connection_limit: 2, ..Config::default() };
    let node = Node::builder(Single).config(config).build().unwrap();
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = open(&node);
        client.send(&[login("ann")]).await;
        assert!(client.reply(1).await.error.is_none());
        clients.push(client);
    }
    let mut latest = clients.pop().unwrap();
    for mut earlier in clients {
        while earlier.next().await.is_some() {}
        assert_eq!(earlier.closed, Some(Some(3504)));
    }
    assert!(is_there(&mut latest).await);
}
