//! Asynchronous hooks, seen by a client.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

use spinward::prelude::*;
use spinward_test::client::{ClientError, TestClient};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

const FULL: ErrorCode = ErrorCode::of::<1001>("the room is full");
const BANNED: DisconnectCode = DisconnectCode::of::<4500>("banned");

/// Waits for a permit before it answers a subscribe, as for a database.
struct Rooms(Arc<Semaphore>);

impl AsyncHooks for Rooms {
    async fn subscribe(&self, client: &Client, event: SubscribeEvent) -> Result<SubscribeOptions, Refusal> {
        let permit = self.0.acquire().await.map_err(|_| ErrorCode::INTERNAL)?;
        permit.forget();
        match &*event.channel {
            "room" => {
                Ok(SubscribeOptions { data: client.user().to_owned().into(), ..SubscribeOptions::default() })
            }
            "full" => Err(FULL.into()),
            _ => Err(BANNED.into()),
        }
    }

    async fn rpc(&self, _: &Client, event: RpcEvent) -> Result<Bytes, Refusal> {
        tokio::time::sleep(Duration::from_millis(1)).await;
        Ok(spinward::json(&event.method)?)
    }
}

fn refused(error: ClientError) -> u32 {
    match error {
        ClientError::Refused(error) => error.code,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn asynchronous_hooks_answer_later() {
    let permits = Arc::new(Semaphore::new(0));
    let node = Node::builder(Rooms(Arc::clone(&permits)).into_hooks()).build().unwrap();
    let mut ann = TestClient::of_user(&node, "\"ann\"");
    ann.connect("").await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(50), ann.subscribe("room")).await;
    assert!(early.is_err(), "nobody has decided yet");

    permits.add_permits(4);
    let mut bob = TestClient::of_user(&node, "\"bob\"");
    bob.connect("").await.unwrap();
    assert_eq!(bob.subscribe("room").await.unwrap().data, "\"bob\"");
    assert_eq!(refused(bob.subscribe("full").await.unwrap_err()), 1001);
    assert_eq!(bob.rpc("echo", "{}").await.unwrap(), "\"echo\"");
    // By default everything is refused.
    assert_eq!(refused(bob.publish("room", "{}").await.unwrap_err()), ErrorCode::PERMISSION_DENIED.code);
    assert!(matches!(bob.subscribe("other").await, Err(ClientError::Closed(Some(4500)))));
    node.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_login_without_credentials_is_refused() {
    let node = Node::builder(Rooms(Arc::new(Semaphore::new(0))).into_hooks()).build().unwrap();
    let handshake = spinward::hooks::Handshake::default();
    let mut client = TestClient::open(&node, spinward::wire::Protocol::Protobuf, handshake);
    let refused = client.connect("").await.unwrap_err();
    assert!(matches!(refused, ClientError::Closed(Some(3501))), "{refused}");
    node.shutdown(Duration::from_secs(5)).await;
}

#[test]
fn a_client_without_a_connection_can_be_acted_upon() {
    let client = spinward_test::hooks::client("ann");
    assert_eq!(client.user(), "ann");
    client.send("{}".into());
    client.subscribe("room", SubscribeOptions::default());
    client.disconnect(BANNED);
}
