//! An application in operation: peers by their addresses, readiness for a load balancer, and an end in three steps.
//!
//! `cargo run -p spinward --example operated`, then connect a client of this machine to `ws://127.0.0.1:3000/ws`, look
//! at <http://127.0.0.1:3000/ready>, and interrupt it.

use axum::Router;
use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::routing::get;
use spinward::Drain;
use spinward::prelude::*;
use std::future::IntoFuture as _;
use std::net::SocketAddr;
use std::time::Duration;

struct Local;

impl Hooks for Local {
    fn connect(&self, event: ConnectEvent) -> Decision<ConnectReply> {
        match event.handshake.peer {
            Some(peer) if peer.ip().is_loopback() => {
                let credentials = Credentials { user: peer.ip().to_string(), ..Credentials::default() };
                Answer::allow(ConnectReply { credentials, ..ConnectReply::default() })
            }
            _ => DisconnectCode::PERMISSION_DENIED.into(),
        }
    }

    fn subscribe(&self, _: &Client, _: SubscribeEvent) -> Decision<SubscribeOptions> {
        Answer::allow(SubscribeOptions::default())
    }
}

/// Request of a load balancer.
async fn ready(State(node): State<Node>) -> StatusCode {
    if node.health().is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

fn app(node: &Node) -> Router {
    let websocket = node
        .websocket()
        .with_peer(|extensions| extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0));
    Router::new().route_service("/ws", websocket).route("/ready", get(ready)).with_state(node.clone())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let node = Node::builder(Local).build()?;
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);

    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let service = app(&node).into_make_service_with_connect_info::<SocketAddr>();
    let server = axum::serve(listener, service).with_graceful_shutdown(async { drop(stopped.await) });
    let server = tokio::spawn(server.into_future());

    tokio::select! {
        () = interrupted() => {}
        () = node.failed() => eprintln!("a shard has failed"),
    }
    // `/ready` fails from here on. A second interrupt ends the wait.
    let mut drain = Drain::default();
    drain.notice = Duration::from_secs(1);
    drain.over = Duration::from_secs(2);
    tokio::select! {
        drained = node.drain(drain) => drained?,
        () = interrupted() => {}
    }
    drop(stop);
    server.await??;
    node.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

/// Resolves when the process is interrupted.
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
