//! Clients log in with a JSON Web Token, which the application verifies.
//!
//! `cargo run -p spinward --example jwt_login`, then `curl -X POST 'http://127.0.0.1:3000/token?user=ann'` gives a
//! token of a minute. The official SDKs take it as `token`, and ask `getToken` for the next one in time.

use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::{any_service, post};
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation, decode, encode, get_current_timestamp};
use serde::{Deserialize, Serialize};
use spinward::prelude::*;
use std::collections::HashMap;
use std::time::Duration;

/// A real application reads it from its configuration.
const SECRET: &[u8] = b"a secret of 32 bytes, or longer.";
const LIFETIME: u64 = 60;

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    exp: u64,
}

struct Tokens {
    key: DecodingKey,
    rules: Validation,
}

impl Tokens {
    fn new() -> Self {
        // HS256, and `exp` is required.
        let rules = Validation { leeway: 0, ..Validation::default() };
        Self { key: DecodingKey::from_secret(SECRET), rules }
    }

    /// Expired tokens get error 109, which has an SDK ask for a new one; others are refused for good.
    fn verify(&self, token: &str) -> Result<Claims, Refusal> {
        use jsonwebtoken::errors::ErrorKind;
        decode::<Claims>(token, &self.key, &self.rules).map(|token| token.claims).map_err(|error| match error
            .kind()
        {
            ErrorKind::ExpiredSignature => ErrorCode::TOKEN_EXPIRED.into(),
            _ => DisconnectCode::INVALID_TOKEN.into(),
        })
    }
}

impl Hooks for Tokens {
    fn connect(&self, event: ConnectEvent) -> Decision<ConnectReply> {
        let reply = self.verify(&event.token).map(|claims| ConnectReply {
            credentials: Credentials {
                user: claims.sub,
                expire_at: claims.exp as i64,
                ..Credentials::default()
            },
            ..ConnectReply::default()
        });
        reply.into()
    }

    fn refresh(&self, client: &Client, event: RefreshEvent) -> Decision<RefreshReply> {
        match self.verify(&event.token) {
            Ok(claims) if claims.sub == client.user() => {
                Answer::allow(RefreshReply { expire_at: claims.exp as i64, ..RefreshReply::default() })
            }
            Ok(_) => DisconnectCode::INVALID_TOKEN.into(),
            Err(refusal) => refusal.into(),
        }
    }

    fn subscribe(&self, client: &Client, event: SubscribeEvent) -> Decision<SubscribeOptions> {
        if event.channel == format!("user:{}", client.user()) {
            return Answer::allow(SubscribeOptions::default());
        }
        ErrorCode::PERMISSION_DENIED.into()
    }
}

/// Makes a token. A real application asks for a password first.
async fn token(
    State(key): State<EncodingKey>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<String, StatusCode> {
    let sub = query.get("user").ok_or(StatusCode::BAD_REQUEST)?.clone();
    let claims = Claims { sub, exp: get_current_timestamp() + LIFETIME };
    encode(&Header::default(), &claims, &key).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let node = Node::builder(Tokens::new()).build()?;
    let app = Router::new()
        .route("/connection/websocket", any_service(node.websocket()))
        .route("/token", post(token))
        .with_state(EncodingKey::from_secret(SECRET));
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
