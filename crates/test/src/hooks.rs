//! Clients without a connection, for unit tests of hooks.

use spinward::Client;
use spinward::id::Entropy;
use spinward::identity::Identity;

/// Returns a client of a user. Whatever a hook sends to it is dropped.
///
/// ```
/// use spinward::prelude::*;
///
/// struct Own;
///
/// impl Hooks for Own {
///     fn subscribe(&self, client: &Client, event: SubscribeEvent) -> Decision<SubscribeOptions> {
///         if event.channel == format!("user:{}", client.user()) {
///             return Answer::allow(SubscribeOptions::default());
///         }
///         ErrorCode::PERMISSION_DENIED.into()
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let ann = spinward_test::hooks::client("ann");
/// assert!(Own.subscribe(&ann, SubscribeEvent::new("user:ann")).wait().await.is_ok());
/// assert!(Own.subscribe(&ann, SubscribeEvent::new("user:bob")).wait().await.is_err());
/// # }
/// ```
#[must_use]
pub fn client(user: &str) -> Client {
    client_with(Identity::new(Entropy::system().client_id(), user))
}

/// Returns a client with this identity, such as one with an extension.
#[must_use]
pub fn client_with(identity: Identity) -> Client {
    Client::detached(identity)
}
