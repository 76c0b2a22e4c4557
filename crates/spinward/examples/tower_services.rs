//! Two nodes in one application, each behind tower layers of its own.
//!
//! `cargo run -p spinward --example tower_services`. `/public` takes anyone, two at a time from one address; `/staff`
//! takes those whose request has the header `x-staff-key`. Nothing but the layers differs between the mounts, and
//! the same services can be mounted in hyper or any other server of tower services.

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::http::{Extensions, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use spinward::prelude::*;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tower::ServiceBuilder;

const KEY: &str = "for the staff alone";
const TOO_MANY: DisconnectCode = DisconnectCode::of::<4501>("too many connections of this address");
const MOST: usize = 2;

/// Counts connections by address, which a hook finds in the handshake.
#[derive(Default)]
struct Public(Mutex<HashMap<IpAddr, usize>>);

/// Released when the connection ends: it goes with it as its extension.
struct Counted {
    all: Arc<Public>,
    address: IpAddr,
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Ok(mut counts) = self.all.0.lock()
            && let Some(count) = counts.get_mut(&self.address)
        {
            *count -= 1;
        }
    }
}

struct PublicHooks(Arc<Public>);

impl Hooks for PublicHooks {
    fn connect(&self, event: ConnectEvent) -> Decision<ConnectReply> {
        let Some(peer) = event.handshake.peer else { return DisconnectCode::BAD_REQUEST.into() };
        let Ok(mut counts) = self.0.0.lock() else { return DisconnectCode::SERVER_ERROR.into() };
        let count = counts.entry(peer.ip()).or_default();
        if *count >= MOST {
            return TOO_MANY.into();
        }
        *count += 1;
        let counted = Counted { all: Arc::clone(&self.0), address: peer.ip() };
        Answer::allow(ConnectReply { extension: Some(Arc::new(counted)), ..ConnectReply::default() })
    }

    fn subscribe(&self, _: &Client, event: SubscribeEvent) -> Decision<SubscribeOptions> {
        if event.channel == "news" {
            return Answer::allow(SubscribeOptions::default());
        }
        ErrorCode::PERMISSION_DENIED.into()
    }
}

/// Hooks behind the layer: every client that passes it may do everything.
struct StaffHooks(Node);

impl Hooks for StaffHooks {
    fn subscribe(&self, _: &Client, _: SubscribeEvent) -> Decision<SubscribeOptions> {
        Answer::allow(SubscribeOptions { presence: true, ..SubscribeOptions::default() })
    }

    /// Publishes to the node of the public as well.
    fn publish(&self, _: &Client, event: PublishEvent) -> Decision<PublishReply> {
        let (public, data) = (self.0.clone(), event.data);
        Answer::later(async move {
            let published = public.publish(&event.channel, data.clone(), PublishOptions::default()).await;
            published.map_err(|_| ErrorCode::INTERNAL)?;
            Ok(PublishReply::new(data))
        })
    }
}

async fn staff_only(mut request: Request, next: Next) -> Response {
    if request.headers().get("x-staff-key").map(HeaderValue::as_bytes) != Some(KEY.as_bytes()) {
        return StatusCode::FORBIDDEN.into_response();
    }
    request.extensions_mut().insert(Credentials { user: "staff".to_owned(), ..Credentials::default() });
    next.run(request).await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let public = Node::builder(PublicHooks(Arc::default())).build()?;
    let staff = Node::builder(StaffHooks(public.clone())).build()?;

    let peer = |extensions: &Extensions| {
        extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| *address)
    };
    // A layer of tower around the service itself: it sees requests of axum and answers of the node.
    let public_service = ServiceBuilder::new()
        .map_request(|request: Request<Body>| {
            tracing_line(&request);
            request
        })
        .service(public.websocket().with_peer(peer));
    let app = Router::new()
        .route_service("/staff", staff.websocket())
        .route_layer(middleware::from_fn(staff_only))
        .route_service("/public", public_service);

    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).with_graceful_shutdown(interrupted()).await?;
    tokio::join!(staff.shutdown(Duration::from_secs(10)), public.shutdown(Duration::from_secs(10)));
    Ok(())
}

fn tracing_line(request: &Request<Body>) {
    eprintln!("{} {}", request.method(), request.uri());
}

/// Resolves when the process is interrupted.
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
