//! A configuration of the server in an application: tokens, namespaces and event proxies decide about clients, beside
//! routes of the application.
//!
//! `cargo run -p spinward-server --example embedded -- config.json`, then connect a client to
//! `ws://127.0.0.1:3000/connection/websocket`.

#![allow(clippy::print_stdout, reason = "a program for people")]

use axum::Router;
use axum::routing::get;
use spinward_server::app::Embedded;
use spinward_server::config::{self, Source};
use std::path::PathBuf;
use std::time::Duration;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = PathBuf::from(arguments.next().unwrap_or_else(|| "config.json".to_owned()));
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:3000".to_owned());

    let loaded = config::load(&Source { file: Some(&file), ..Source::default() })?;
    let embedded = Embedded::start(&loaded.config)?;
    let app = Router::new()
        .route_service("/connection/websocket", embedded.node().websocket())
        .route("/", get(|| async { "a page of the application" }));

    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    let interrupted = async { drop(tokio::signal::ctrl_c().await) };
    axum::serve(listener, app).with_graceful_shutdown(interrupted).await?;
    embedded.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
