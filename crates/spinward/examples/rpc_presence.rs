//! Asynchronous hooks: a method that clients call, and a page with the list of those who are there.
//!
//! `cargo run -p spinward --example rpc_presence`. A client calls `move` by RPC, everyone in `board` receives it, and
//! <http://127.0.0.1:3000/players> lists who is in the channel.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{any_service, get};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use spinward::prelude::*;
use std::sync::OnceLock;
use std::time::Duration;

const BOARD: &str = "board";
const OUTSIDE: ErrorCode = ErrorCode::of::<1001>("outside of the board");

#[derive(Serialize, Deserialize)]
struct Move {
    x: u8,
    y: u8,
}

#[derive(Serialize)]
struct Moved<'a> {
    player: &'a str,
    #[serde(flatten)]
    to: Move,
}

/// The node that these are the hooks of. It keeps itself alive this way, so `main` shuts it down.
static NODE: OnceLock<Node> = OnceLock::new();

struct Game;

impl AsyncHooks for Game {
    /// Anyone may play, under the name that the client gives.
    async fn connect(&self, event: ConnectEvent) -> Result<ConnectReply, Refusal> {
        let credentials = Credentials { user: event.name, ..Credentials::default() };
        Ok(ConnectReply { credentials, ..ConnectReply::default() })
    }

    async fn subscribe(&self, _: &Client, event: SubscribeEvent) -> Result<SubscribeOptions, Refusal> {
        if event.channel != BOARD {
            return Err(ErrorCode::UNKNOWN_CHANNEL.into());
        }
        Ok(SubscribeOptions { presence: true, ..SubscribeOptions::default() })
    }

    async fn rpc(&self, client: &Client, event: RpcEvent) -> Result<Bytes, Refusal> {
        if event.method != "move" {
            return Err(ErrorCode::METHOD_NOT_FOUND.into());
        }
        let to: Move = serde_json::from_slice(&event.data).map_err(|_| ErrorCode::BAD_REQUEST)?;
        if to.x > 7 || to.y > 7 {
            return Err(OUTSIDE.into());
        }
        let moved = spinward::json(&Moved { player: client.user(), to })?;
        let node = NODE.get().ok_or(ErrorCode::INTERNAL)?;
        node.publish(BOARD, moved.clone(), PublishOptions::default())
            .await
            .map_err(|_| ErrorCode::INTERNAL)?;
        Ok(moved)
    }
}

async fn players(State(node): State<Node>) -> Result<Json<Vec<ClientInfo>>, StatusCode> {
    let members = node.presence(BOARD).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(Json(members.iter().map(|info| ClientInfo::clone(info)).collect()))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let node = Node::builder(Game.into_hooks()).build()?;
    let node = NODE.get_or_init(|| node);
    let app = Router::new()
        .route("/connection/websocket", any_service(node.websocket()))
        .route("/players", get(players))
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
