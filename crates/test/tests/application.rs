//! Tests of an application, as its author writes them: a client over memory, and hooks alone. The manual shows them.

use spinward::ClientFilter;
use spinward::prelude::*;
use spinward_test::client::{ClientError, TestClient};

struct Rooms;

impl Hooks for Rooms {
    fn subscribe(&self, client: &Client, event: SubscribeEvent) -> Decision<SubscribeOptions> {
        if event.channel == "lobby" || event.channel == format!("user:{}", client.user()) {
            return Answer::allow(SubscribeOptions { presence: true, ..SubscribeOptions::default() });
        }
        ErrorCode::PERMISSION_DENIED.into()
    }
}

#[tokio::test]
async fn members_of_the_lobby_get_what_is_published() -> Result<(), Box<dyn std::error::Error>> {
    let node = Node::builder(Rooms).build()?;
    let mut ann = TestClient::of_user(&node, "ann");
    ann.connect("").await?;
    ann.subscribe("lobby").await?;
    node.publish("lobby", r#"{"text":"hello"}"#.into(), PublishOptions::default()).await?;
    assert_eq!(ann.publication("lobby").await?.data, r#"{"text":"hello"}"#);

    let refused = ann.subscribe("user:bob").await;
    assert!(matches!(refused, Err(ClientError::Refused(error)) if error.code == 103));

    node.disconnect("ann", &ClientFilter::default(), DisconnectCode::FORCE_DISCONNECT).await;
    assert_eq!(ann.closed().await?, Some(3503));
    Ok(())
}

#[tokio::test]
async fn users_have_a_channel_of_their_own() {
    let ann = spinward_test::hooks::client("ann");
    assert!(Rooms.subscribe(&ann, SubscribeEvent::new("user:ann")).wait().await.is_ok());
    assert!(Rooms.subscribe(&ann, SubscribeEvent::new("user:bob")).wait().await.is_err());
}
