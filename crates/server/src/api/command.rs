//! The calls of the server API, read from their parameters: the same behind every endpoint.

use crate::params::{Malformed, Params};
use crate::policy::Override;
use crate::session::{Asked, Question};
use bytes::Bytes;
use http::HeaderMap;
use spinward::publication::Tags;
use std::collections::HashMap;

/// A call, its parameters read.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the fields are the parameters of Centrifugo's API, under their names")]
pub enum Command {
    /// Publish to a channel.
    Publish { channel: String, message: Message },
    /// Publish the same to many channels.
    Broadcast { channels: Vec<String>, message: Message },
    /// Subscribe a user's connections.
    Subscribe(Box<Subscribe>),
    /// End subscriptions of a user's connections.
    Unsubscribe { who: Who, channel: String },
    /// Close a user's connections.
    Disconnect { who: Who, whitelist: Vec<String>, code: Option<Disconnect> },
    /// Prolong or end logins of a user's connections.
    Refresh { who: Who, expired: bool, expire_at: i64, info: Option<Bytes> },
    /// Clients in a channel.
    Presence { channel: String },
    /// Numbers of clients and users in a channel.
    PresenceStats { channel: String },
    /// Read the stream of a channel.
    History { channel: String, limit: i32, since: Option<Since>, reverse: bool },
    /// Drop the stream of a channel.
    HistoryRemove { channel: String },
    /// Channels that match a pattern.
    Channels { pattern: String },
    /// Facts about the nodes.
    Info,
    /// Call a method that an extension registered.
    Rpc { method: String },
    /// Take back the token with this `jti`.
    RevokeToken { uid: String, expire_at: i64 },
    /// Take back the tokens of a user that were issued before a time, in Unix seconds.
    InvalidateUserTokens { user: String, issued_before: i64, expire_at: i64, channel: String },
    /// Shut a user out.
    BlockUser { user: String, expire_at: i64 },
    /// Let a user in again.
    UnblockUser { user: String },
    /// Decision that the server would make. `None`: the action is unknown.
    Explain(Option<Box<Question>>),
    /// A method of channels of other kinds than streams. `whole`: nothing that it needs is missing.
    OtherKind { channel: String, whole: bool },
}

/// Data to publish.
#[derive(Debug, Clone, Default)]
pub struct Message {
    /// Payload; `None` if its base64 is broken.
    pub data: Option<Bytes>,
    /// Store nothing.
    pub skip_history: bool,
    /// Labels.
    pub tags: Tags,
    /// See [`spinward::engine::broker::PublishOptions::idempotency_key`].
    pub idempotency_key: String,
    /// It may be sent as a delta.
    pub delta: bool,
    /// See [`spinward::engine::broker::PublishOptions::version`].
    pub version: u64,
    /// See [`spinward::engine::broker::PublishOptions::version_epoch`].
    pub version_epoch: String,
}

/// Connections that a call applies to.
#[derive(Debug, Clone, Default)]
pub struct Who {
    /// Of this user; empty is the anonymous one.
    pub user: String,
    /// Only the one with this id.
    pub client: String,
    /// Only the one with this session.
    pub session: String,
}

/// A subscription to make.
#[derive(Debug, Clone)]
pub struct Subscribe {
    /// For these connections.
    pub who: Who,
    /// To this channel.
    pub channel: String,
    /// Unix seconds at which it ends; 0 never.
    pub expire_at: i64,
    /// Information that others see with it; `None` if its base64 is broken.
    pub info: Option<Bytes>,
    /// Payload of the push; `None` if its base64 is broken.
    pub data: Option<Bytes>,
    /// Recover from here.
    pub recover_since: Option<Since>,
    /// Options that differ from the namespace's.
    pub overrides: Override,
}

/// A position.
#[derive(Debug, Clone, Default)]
pub struct Since {
    /// Offset.
    pub offset: u64,
    /// Epoch.
    pub epoch: String,
}

/// A code to close connections with.
#[derive(Debug, Clone, Default)]
pub struct Disconnect {
    /// Number.
    pub code: u32,
    /// Text.
    pub reason: String,
}

impl Command {
    /// Returns true if it revokes a token, tokens or a user.
    #[must_use]
    pub const fn revokes(&self) -> bool {
        matches!(self, Self::RevokeToken { .. } | Self::InvalidateUserTokens { .. } | Self::BlockUser { .. })
    }

    /// Reads the parameters of a method of the table.
    ///
    /// # Errors
    /// The parameters are malformed.
    pub fn read(method: &'static str, params: &Params<'_>) -> Result<Self, Malformed> {
        let channel = || params.string("channel");
        Ok(match method {
            "publish" => Self::Publish { channel: channel()?, message: message(params)? },
            "broadcast" => {
                Self::Broadcast { channels: params.strings("channels")?, message: message(params)? }
            }
            "subscribe" => Self::Subscribe(Box::new(Subscribe {
                who: who(params)?,
                channel: channel()?,
                expire_at: params.get("expire_at")?,
                info: binary(params, "info", "b64info")?,
                data: binary(params, "data", "b64data")?,
                recover_since: since(params, "recover_since")?,
                overrides: Override::parse(params.raw("override").unwrap_or("null"))
                    .map_err(|_| Malformed("override"))?,
            })),
            "unsubscribe" => Self::Unsubscribe { who: who(params)?, channel: channel()? },
            "disconnect" => Self::Disconnect {
                who: who(params)?,
                whitelist: params.strings("whitelist")?,
                code: disconnect(params)?,
            },
            "refresh" => Self::Refresh {
                who: who(params)?,
                expired: params.get("expired")?,
                expire_at: params.get("expire_at")?,
                info: Some(params.payload("info")).filter(|info| !info.is_empty()),
            },
            "presence" => Self::Presence { channel: channel()? },
            "presence_stats" => Self::PresenceStats { channel: channel()? },
            "history" => Self::History {
                channel: channel()?,
                limit: params.get("limit")?,
                since: since(params, "since")?,
                reverse: params.get("reverse")?,
            },
            "history_remove" => Self::HistoryRemove { channel: channel()? },
            "channels" => Self::Channels { pattern: params.string("pattern")? },
            "info" => Self::Info,
            "rpc" => Self::Rpc { method: params.string("method")? },
            "revoke_token" => {
                Self::RevokeToken { uid: params.string("uid")?, expire_at: params.get("expire_at")? }
            }
            "invalidate_user_tokens" => Self::InvalidateUserTokens {
                user: params.string("user")?,
                issued_before: params.get("issued_before")?,
                expire_at: params.get("expire_at")?,
                channel: channel()?,
            },
            "block_user" => {
                Self::BlockUser { user: params.string("user")?, expire_at: params.get("expire_at")? }
            }
            "explain" => {
                let action = Asked::by_name(&params.string("action")?);
                let question = Question {
                    user: params.get("user")?,
                    client: params.get("client")?,
                    channel: channel()?,
                    action: action.unwrap_or(Asked::Subscribe),
                    token: params.string("token")?,
                    headers: headers(params)?,
                    subscription_token: params.string("subscription_token")?,
                    subscribed: params.get("subscribed")?,
                };
                Self::Explain(action.map(|_| Box::new(question)))
            }
            "unblock_user" => Self::UnblockUser { user: params.string("user")? },
            _ => Self::OtherKind { channel: channel()?, whole: of_other_kind(method, params)? },
        })
    }
}

/// Reads the parameters of methods that no channel has, so that a malformed call is told from a refused one. Says
/// whether what the method needs is there.
fn of_other_kind(method: &str, params: &Params<'_>) -> Result<bool, Malformed> {
    let texts: &[&'static str] = match method {
        "map_publish" => {
            params.tags()?;
            params.get::<bool>("delta")?;
            params.get::<i64>("score")?;
            params.payload("stream_data");
            &["b64stream_data", "idempotency_key", "version_epoch", "key_mode"]
        }
        "map_remove" => &["idempotency_key"],
        "map_read_state" => {
            params.get::<i32>("limit")?;
            params.get::<bool>("asc")?;
            params.get::<u64>("revision_offset")?;
            &["key", "cursor", "revision_epoch"]
        }
        "map_read_stream" => {
            params.get::<i32>("limit")?;
            params.get::<bool>("reverse")?;
            params.get::<u64>("since_offset")?;
            &["since_epoch"]
        }
        "shared_poll_publish" => &["epoch"],
        _ => &[],
    };
    for text in texts {
        params.string(text)?;
    }
    if !matches!(method, "map_publish" | "map_remove" | "shared_poll_publish") {
        return Ok(true);
    }
    let key = params.string("key")?;
    let mut whole = !key.is_empty();
    if method != "map_remove" {
        params.payload("data");
        params.string("b64data")?;
        let version = params.get::<u64>("version")?;
        whole &= method == "map_publish" || version > 0;
    }
    Ok(whole)
}

fn headers(params: &Params<'_>) -> Result<HeaderMap, Malformed> {
    let given: HashMap<String, String> = params.get("headers")?;
    HeaderMap::try_from(&given).map_err(|_| Malformed("headers"))
}

fn message(params: &Params<'_>) -> Result<Message, Malformed> {
    Ok(Message {
        data: binary(params, "data", "b64data")?,
        skip_history: params.get("skip_history")?,
        tags: params.tags()?,
        idempotency_key: params.string("idempotency_key")?,
        delta: params.get("delta")?,
        version: params.get("version")?,
        version_epoch: params.string("version_epoch")?,
    })
}

fn since(params: &Params<'_>, name: &'static str) -> Result<Option<Since>, Malformed> {
    let since = params.object(name)?;
    since.map(|since| Ok(Since { offset: since.get("offset")?, epoch: since.string("epoch")? })).transpose()
}

fn disconnect(params: &Params<'_>) -> Result<Option<Disconnect>, Malformed> {
    let code = params.object("disconnect")?;
    code.map(|code| Ok(Disconnect { code: code.get("code")?, reason: code.string("reason")? })).transpose()
}

fn who(params: &Params<'_>) -> Result<Who, Malformed> {
    Ok(Who {
        user: params.string("user")?,
        client: params.string("client")?,
        session: params.string("session")?,
    })
}

/// A payload in JSON or, preferred, in standard base64 with padding. `None`: the base64 is broken.
fn binary(
    params: &Params<'_>,
    plain: &'static str,
    encoded: &'static str,
) -> Result<Option<Bytes>, Malformed> {
    let text = params.string(encoded)?;
    if text.is_empty() {
        return Ok(Some(params.payload(plain)));
    }
    Ok(crate::params::base64(&text).map(Bytes::from))
}
