//! A chat with presence and history, as a library user writes it.
//!
//! `cargo run -p spinward --example chat`, then open <http://127.0.0.1:3000> in two windows. Anyone may say who
//! they are: a real application checks.

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::{Html, Response};
use axum::routing::{any_service, get};
use spinward::prelude::*;
use std::time::Duration;

/// The last hundred messages, for a day.
const HISTORY: HistoryOptions =
    HistoryOptions { size: 100, ttl: Duration::from_secs(24 * 3600), meta_ttl: Duration::ZERO };

struct Chat;

impl Hooks for Chat {
    fn subscribe(&self, _: &Client, request: SubscribeEvent) -> Decision<SubscribeOptions> {
        if !request.channel.starts_with("room:") {
            return ErrorCode::UNKNOWN_CHANNEL.into();
        }
        Answer::allow(SubscribeOptions {
            presence: true,
            join_leave: true,
            push_join_leave: true,
            recovery: true,
            history: HISTORY,
            ..SubscribeOptions::default()
        })
    }

    fn publish(&self, _: &Client, request: PublishEvent) -> Decision<PublishReply> {
        if !request.subscribed {
            return ErrorCode::PERMISSION_DENIED.into();
        }
        let options = PublishOptions { history: HISTORY, ..PublishOptions::default() };
        Answer::allow(PublishReply { options, ..PublishReply::new(request.data) })
    }

    fn history(&self, _: &Client, _: HistoryEvent) -> Decision<HistoryOptions> {
        Answer::allow(HISTORY)
    }

    fn presence(&self, _: &Client, _: PresenceEvent) -> Decision<()> {
        Answer::allow(())
    }
}

/// Takes the name in the query for the user.
async fn name(mut request: Request, next: Next) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let user = query.split('&').find_map(|pair| pair.strip_prefix("user=")).unwrap_or("guest").to_owned();
    request.extensions_mut().insert(Credentials { user, ..Credentials::default() });
    next.run(request).await
}

/// The protocol is small enough to speak by hand; real pages use the official SDK.
const PAGE: &str = r#"<!doctype html><meta charset=utf-8><title>chat</title>
<ul id=log></ul><form id=form><input id=text autocomplete=off autofocus></form>
<script>
  const user = prompt("Your name?") || "guest", ws = new WebSocket(`ws://${location.host}/ws?user=${user}`);
  const send = (command) => ws.send(JSON.stringify(command));
  const show = (line) => { const li = document.createElement("li"); li.textContent = line; log.append(li); };
  const say = (pub) => show(`${pub.info?.user}: ${pub.data.text}`);
  let id = 3;
  ws.onopen = () => { send({ id: 1, connect: {} }); send({ id: 2, subscribe: { channel: "room:main" } });
                      send({ id: 3, history: { channel: "room:main", limit: 20 } }); };
  ws.onmessage = ({ data }) => data.split("\n").map((line) => JSON.parse(line)).forEach((reply) => {
    if (Object.keys(reply).length === 0) return ws.send("{}");
    reply.history?.publications.forEach(say);
    const push = reply.push;
    if (push?.pub) say(push.pub);
    if (push?.join) show(`${push.join.info.user} is here`);
    if (push?.leave) show(`${push.leave.info.user} has left`);
  });
  form.onsubmit = (event) => { event.preventDefault();
    send({ id: ++id, publish: { channel: "room:main", data: { text: text.value } } }); text.value = ""; };
</script>"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let node = Node::builder(Chat).build()?;
    let app = Router::new()
        .route("/ws", any_service(node.websocket()))
        .route_layer(middleware::from_fn(name))
        .route("/", get(|| async { Html(PAGE) }));
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
