//! An axum application that logs people in with a cookie of its own: no token anywhere.
//!
//! `cargo run -p spinward --example cookie_login`, then
//! `curl -i -X POST 'http://127.0.0.1:3000/login?user=ann'` gives a session cookie; a WebSocket client that
//! sends it is Ann, one that does not is refused.

use axum::Router;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any_service, get, post};
use spinward::prelude::*;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Session ids and whose they are. A real application has a database here.
#[derive(Clone, Default)]
struct Sessions(Arc<Mutex<HashMap<String, String>>>);

/// Everyone who is logged in may subscribe to everything and see who is there.
struct Rules;

impl Hooks for Rules {
    fn subscribe(&self, _: &Client, _: SubscribeEvent) -> Decision<SubscribeOptions> {
        Answer::allow(SubscribeOptions { presence: true, ..SubscribeOptions::default() })
    }

    fn presence(&self, _: &Client, _: PresenceEvent) -> Decision<()> {
        Answer::allow(())
    }
}

/// The application's own middleware: a cookie becomes credentials, which the connection inherits.
async fn require_session(State(sessions): State<Sessions>, mut request: Request, next: Next) -> Response {
    match session_of(request.headers()).and_then(|id| sessions.0.lock().ok()?.get(id).cloned()) {
        Some(user) => {
            request.extensions_mut().insert(Credentials { user, ..Credentials::default() });
            next.run(request).await
        }
        None => (StatusCode::UNAUTHORIZED, "log in first").into_response(),
    }
}

fn session_of(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get(header::COOKIE)?.to_str().ok()?;
    cookies.split(';').find_map(|cookie| cookie.trim().strip_prefix("session="))
}

async fn login(State(sessions): State<Sessions>, Query(query): Query<HashMap<String, String>>) -> Response {
    let Some(user) = query.get("user") else { return StatusCode::BAD_REQUEST.into_response() };
    let id = format!("{:x}", spinward::id::Entropy::system().number());
    if let Ok(mut sessions) = sessions.0.lock() {
        sessions.insert(id.clone(), user.clone());
    }
    ([(header::SET_COOKIE, format!("session={id}; HttpOnly; SameSite=Strict"))], "welcome").into_response()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let node = Node::builder(Rules).build()?;
    let sessions = Sessions::default();
    let connections = node.clone();
    let gauge = move || {
        let counters = connections.info().counters;
        std::future::ready(format!(
            "connections{{mover=\"poller\"}} {}\nconnections{{mover=\"task\"}} {}\n",
            counters.poller_accepted, counters.task_accepted
        ))
    };
    let app = Router::new()
        .route("/connection/websocket", any_service(node.websocket()))
        .route_layer(middleware::from_fn_with_state(sessions.clone(), require_session))
        .route("/login", post(login))
        .route("/metrics", get(gauge))
        .with_state(sessions);
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
