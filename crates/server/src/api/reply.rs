//! Results of calls of the server API, and their JSON.

use crate::policy::explain::Explanation;
use spinward::engine::broker::{History, Published};
use spinward::engine::presence::{Members, PresenceStats};
use spinward::wire::code::ErrorCode;
use spinward::wire::json::{append_string, payload};
use spinward::{ClientInfo, Publication};
use std::fmt::Write;

/// An error of the server API.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// Number.
    pub code: u32,
    /// Text.
    pub message: &'static str,
}

impl ApiError {
    /// Something failed on the server.
    pub const INTERNAL: Self = Self { code: 100, message: "internal server error" };
    /// The channel's namespace is not configured.
    pub const UNKNOWN_CHANNEL: Self = Self { code: 102, message: "unknown channel" };
    /// No such method.
    pub const NOT_FOUND: Self = Self { code: 104, message: "not found" };
    /// The parameters make no sense.
    pub const BAD_REQUEST: Self = Self { code: 107, message: "bad request" };
    /// The channel has no such thing.
    pub const NOT_AVAILABLE: Self = Self { code: 108, message: "not available" };
    /// Too many publications wait to be delivered.
    pub const TOO_MANY_REQUESTS: Self = Self { code: 111, message: "too many requests" };
    /// The position is of another history.
    pub const UNRECOVERABLE_POSITION: Self = Self { code: 112, message: "unrecoverable position" };
    /// Something else was there first.
    pub const CONFLICT: Self = Self { code: 113, message: "conflict" };

    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::INTERNAL,
        Self::UNKNOWN_CHANNEL,
        Self::NOT_FOUND,
        Self::BAD_REQUEST,
        Self::NOT_AVAILABLE,
        Self::TOO_MANY_REQUESTS,
        Self::UNRECOVERABLE_POSITION,
        Self::CONFLICT,
    ];

    /// The HTTP status in the transport error mode.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self.code {
            102 | 104 => 404,
            107 | 108 => 400,
            111 => 503,
            112 => 416,
            113 => 409,
            _ => 500,
        }
    }
}

impl From<&ErrorCode> for ApiError {
    fn from(code: &ErrorCode) -> Self {
        Self::ALL.into_iter().find(|known| known.code == code.code).unwrap_or(Self::INTERNAL)
    }
}

/// Result of a call.
#[derive(Debug)]
pub enum Reply {
    /// Done; there is nothing to tell.
    Empty,
    /// Decision that the server would make.
    Explained(Box<Explanation>),
    /// A publish.
    Published(Published),
    /// A broadcast: one answer per channel, in their order.
    Broadcast(Vec<Result<Published, ApiError>>),
    /// Clients in the channel.
    Presence(Members),
    /// Numbers of clients and users in the channel.
    Stats(PresenceStats),
    /// A slice of a stream.
    History(History),
    /// Channels and their subscribers.
    Channels(Vec<(Box<str>, u32)>),
    /// Facts about nodes.
    Info(Box<Node>),
}

/// Facts about one node.
#[derive(Debug)]
pub struct Node {
    /// Random id of this life of the process.
    pub uid: String,
    /// `node.name`.
    pub name: String,
    /// Version of the server.
    pub version: &'static str,
    /// Logged-in connections.
    pub clients: u64,
    /// Distinct users.
    pub users: u64,
    /// Channels with subscribers.
    pub channels: u64,
    /// Subscriptions.
    pub subscriptions: u64,
    /// Seconds since the start.
    pub uptime: u64,
}

impl Reply {
    /// Appends the result object.
    pub fn append(&self, out: &mut Vec<u8>) {
        match self {
            Self::Empty => out.extend_from_slice(b"{}"),
            Self::Explained(told) => {
                // Plain texts and numbers: writing them to memory does not fail.
                let _ = serde_json::to_writer(out, told);
            }
            Self::Published(published) => append_published(published, out),
            Self::Broadcast(responses) => {
                out.extend_from_slice(b"{\"responses\":[");
                for (at, response) in responses.iter().enumerate() {
                    comma(at, out);
                    match response {
                        Ok(published) => {
                            out.extend_from_slice(b"{\"result\":");
                            append_published(published, out);
                            out.push(b'}');
                        }
                        Err(error) => {
                            out.extend_from_slice(b"{\"error\":");
                            append_error(error, out);
                            out.push(b'}');
                        }
                    }
                }
                out.extend_from_slice(b"]}");
            }
            Self::Presence(members) => {
                out.extend_from_slice(b"{\"presence\":{");
                for (at, info) in members.iter().enumerate() {
                    comma(at, out);
                    append_string(&info.client, out);
                    out.push(b':');
                    append_info(info, out);
                }
                out.extend_from_slice(b"}}");
            }
            Self::Stats(stats) => {
                append_format(
                    out,
                    format_args!("{{\"num_clients\":{},\"num_users\":{}}}", stats.clients, stats.users),
                );
            }
            Self::History(history) => {
                out.extend_from_slice(b"{\"publications\":[");
                for (at, publication) in history.publications.iter().enumerate() {
                    comma(at, out);
                    append_publication(publication, out);
                }
                out.extend_from_slice(b"],\"epoch\":");
                append_string(&history.top.epoch, out);
                append_format(out, format_args!(",\"offset\":{}}}", history.top.offset));
            }
            Self::Channels(channels) => {
                out.extend_from_slice(b"{\"channels\":{");
                for (at, (channel, clients)) in channels.iter().enumerate() {
                    comma(at, out);
                    append_string(channel, out);
                    append_format(out, format_args!(":{{\"num_clients\":{clients}}}"));
                }
                out.extend_from_slice(b"}}");
            }
            Self::Info(node) => {
                out.extend_from_slice(b"{\"nodes\":[{\"uid\":");
                append_string(&node.uid, out);
                out.extend_from_slice(b",\"name\":");
                append_string(&node.name, out);
                out.extend_from_slice(b",\"version\":");
                append_string(node.version, out);
                append_format(
                    out,
                    format_args!(
                        ",\"num_clients\":{},\"num_users\":{},\"num_channels\":{},\"uptime\":{},\"num_subs\":{}}}]}}",
                        node.clients, node.users, node.channels, node.uptime, node.subscriptions
                    ),
                );
            }
        }
    }
}

/// Appends an error object.
pub fn append_error(error: &ApiError, out: &mut Vec<u8>) {
    append_format(out, format_args!("{{\"code\":{},\"message\":\"{}\"}}", error.code, error.message));
}

fn append_published(published: &Published, out: &mut Vec<u8>) {
    let position = &published.position;
    if position.epoch.is_empty() {
        return out.extend_from_slice(b"{}");
    }
    append_format(out, format_args!("{{\"offset\":{},\"epoch\":", position.offset));
    append_string(&position.epoch, out);
    out.push(b'}');
}

fn append_publication(publication: &Publication, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"data\":");
    out.extend_from_slice(&payload(publication.data.clone()));
    if let Some(info) = &publication.info {
        out.extend_from_slice(b",\"info\":");
        append_info(info, out);
    }
    append_format(out, format_args!(",\"offset\":{}", publication.offset));
    if let Some(tags) = publication.tags.as_ref().filter(|tags| !tags.is_empty()) {
        out.extend_from_slice(b",\"tags\":{");
        for (at, (key, value)) in tags.iter().enumerate() {
            comma(at, out);
            append_string(key, out);
            out.push(b':');
            append_string(value, out);
        }
        out.push(b'}');
    }
    out.push(b'}');
}

fn append_info(info: &ClientInfo, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"user\":");
    append_string(&info.user, out);
    out.extend_from_slice(b",\"client\":");
    append_string(&info.client, out);
    for (name, value) in [("conn_info", &info.conn_info), ("chan_info", &info.chan_info)] {
        if !value.is_empty() {
            append_format(out, format_args!(",\"{name}\":"));
            out.extend_from_slice(&payload(value.clone()));
        }
    }
    out.push(b'}');
}

fn comma(at: usize, out: &mut Vec<u8>) {
    if at > 0 {
        out.push(b',');
    }
}

fn append_format(out: &mut Vec<u8>, arguments: std::fmt::Arguments<'_>) {
    struct Sink<'a>(&'a mut Vec<u8>);

    impl Write for Sink<'_> {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            self.0.extend_from_slice(text.as_bytes());
            Ok(())
        }
    }

    // Writing to memory does not fail.
    let _ = Sink(out).write_fmt(arguments);
}
