//! One application with five transports: WebSocket, HTTP streaming and server-sent events for clients with an SDK, and
//! two in one direction for clients without.
//!
//! `cargo run -p spinward --example transports`, then:
//!
//! ```sh
//! curl -N -d '{"subs": {"news": {}}}' http://127.0.0.1:3000/listen
//! curl -d '"hello"' http://127.0.0.1:3000/publish
//! ```
//!
//! Every transport is a tower service. The messages of clients whose output is a stream come to `/emulation`.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use spinward::prelude::*;
use std::time::Duration;

struct Open;

impl Hooks for Open {
    /// Channels that a client names when it connects are granted as they are.
    fn connect(&self, event: ConnectEvent) -> Decision<ConnectReply> {
        let grant = |channel: String| (channel, SubscribeOptions::default());
        let subscriptions =
            event.channels.into_iter().filter(|channel| channel == "news").map(grant).collect();
        Answer::allow(ConnectReply { subscriptions, ..ConnectReply::default() })
    }

    fn subscribe(&self, _: &Client, _: SubscribeEvent) -> Decision<SubscribeOptions> {
        Answer::allow(SubscribeOptions::default())
    }
}

async fn publish(State(node): State<Node>, data: Bytes) -> StatusCode {
    match node.publish("news", data, PublishOptions::default()).await {
        Ok(_) => StatusCode::NO_CONTENT,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let node = Node::builder(Open).build()?;
    let app = Router::new()
        .route_service("/connection/websocket", node.websocket())
        .route_service("/connection/http_stream", node.http_stream())
        .route_service("/connection/sse", node.sse())
        .route_service("/emulation", node.emulation())
        .route_service("/events", node.uni_sse().event_ids(true))
        .route_service("/listen", node.uni_http_stream())
        .route("/publish", post(publish))
        .with_state(node.clone());

    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, app).with_graceful_shutdown(interrupted()).await?;
    node.shutdown(Duration::from_secs(10)).await;
    Ok(())
}

/// Resolves when the process is interrupted.
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
