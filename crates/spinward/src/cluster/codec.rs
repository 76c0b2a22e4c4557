//! The bytes of messages between nodes: Protobuf, so that nodes of different versions understand each other.
//!
//! Fields and messages are only ever added. A reader skips fields that it does not know, and says so of requests
//! ([`Request::Unknown`]); [`VERSION`] goes up only for a change that older nodes would misunderstand.

mod proto;

use super::Declined;
use super::filter::{ClientFilter, LabelFilter};
use super::message::{Body, Envelope, Heartbeat, Operation, Request, Response, ServerSubscribe};
use crate::engine::broker::HistoryOptions;
use crate::engine::controller::MAX_MESSAGE;
use crate::event::SubscribeOptions;
use crate::id::NodeId;
use crate::publication::Position;
use bytes::Bytes;
use prost::Message as _;
use spinward_wire::code::{DisconnectCode, UnsubscribeCode};
use std::borrow::Cow;
use std::time::Duration;
use thiserror::Error;

/// Version of the encoding.
const VERSION: u32 = 1;

/// Most bytes of a node's name and version.
const LONGEST_NAME: usize = 256;

/// The bytes are not a message that this node understands.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// More than [`MAX_MESSAGE`] bytes.
    #[error("a message of {0} bytes is too long")]
    TooLong(usize),
    /// Not an envelope, or an incomplete one.
    #[error("not a message of a node")]
    Malformed,
    /// It is of another version of the encoding.
    #[error("a message of version {0}")]
    Version(u32),
    /// It is of a kind that this version does not know.
    #[error("a message of an unknown kind")]
    Unknown,
}

impl Envelope {
    /// The bytes of the message. They may be more than a controller carries: see [`MAX_MESSAGE`].
    #[must_use]
    pub fn encode(&self) -> Bytes {
        proto::Envelope::from(self).encode_to_vec().into()
    }

    /// Reads a message.
    ///
    /// # Errors
    /// The bytes are not one that this version understands. A request of an unknown kind is not an error, but
    /// [`Request::Unknown`], so that it can be declined.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_MESSAGE {
            return Err(DecodeError::TooLong(bytes.len()));
        }
        let envelope = proto::Envelope::decode(bytes).map_err(|_| DecodeError::Malformed)?;
        if envelope.version != VERSION {
            return Err(DecodeError::Version(envelope.version));
        }
        let to = if envelope.to.is_empty() { None } else { Some(node(&envelope.to)?) };
        let body = envelope.body.ok_or(DecodeError::Unknown)?.read()?;
        if envelope.number == 0 {
            return Err(DecodeError::Malformed);
        }
        Ok(Self { from: node(&envelope.from)?, to, number: envelope.number, body })
    }
}

fn node(bytes: &[u8]) -> Result<NodeId, DecodeError> {
    bytes.try_into().map(NodeId::from_bytes).map_err(|_| DecodeError::Malformed)
}

impl From<&Envelope> for proto::Envelope {
    fn from(envelope: &Envelope) -> Self {
        let id = |node: &NodeId| Bytes::copy_from_slice(node.as_bytes());
        Self {
            version: VERSION,
            from: id(&envelope.from),
            to: envelope.to.as_ref().map(id).unwrap_or_default(),
            number: envelope.number,
            body: Some((&envelope.body).into()),
        }
    }
}

impl From<&Body> for proto::Body {
    fn from(body: &Body) -> Self {
        match body {
            Body::Heartbeat(heartbeat) => Self::Heartbeat(heartbeat.into()),
            Body::Goodbye => Self::Goodbye(proto::Nothing {}),
            Body::Request { id, request } => {
                Self::Request(Box::new(proto::Request { id: *id, what: request.into() }))
            }
            Body::Response { id, response } => {
                Self::Response(proto::Response { id: *id, what: Some(response.into()) })
            }
        }
    }
}

impl proto::Body {
    fn read(self) -> Result<Body, DecodeError> {
        Ok(match self {
            Self::Heartbeat(heartbeat) => Body::Heartbeat(heartbeat.into()),
            Self::Goodbye(proto::Nothing {}) => Body::Goodbye,
            Self::Request(request) => Body::Request {
                id: request.id,
                request: match request.what {
                    Some(what) => what.read()?,
                    None => Request::Unknown,
                },
            },
            // A result of a newer version is one that this node does not understand.
            Self::Response(response) => Body::Response {
                id: response.id,
                response: response.what.ok_or(DecodeError::Unknown)?.into(),
            },
        })
    }
}

impl From<&Heartbeat> for proto::Heartbeat {
    fn from(heartbeat: &Heartbeat) -> Self {
        let Heartbeat { name, version, uptime, clients, users, channels, subscriptions, asks } = heartbeat;
        Self {
            name: cut(name).to_owned(),
            version: cut(version).to_owned(),
            uptime: nanos(*uptime),
            clients: *clients,
            users: *users,
            channels: *channels,
            subscriptions: *subscriptions,
            asks: *asks,
        }
    }
}

impl From<proto::Heartbeat> for Heartbeat {
    fn from(heartbeat: proto::Heartbeat) -> Self {
        let proto::Heartbeat { name, version, uptime, clients, users, channels, subscriptions, asks } =
            heartbeat;
        // Cut off here too: the memory that a node takes here is not for it to decide.
        let (name, version) = (cut(&name).to_owned(), cut(&version).to_owned());
        let uptime = Duration::from_nanos(uptime);
        Self { name, version, uptime, clients, users, channels, subscriptions, asks }
    }
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST_NAME)]
}

impl From<&Request> for Option<proto::What> {
    fn from(request: &Request) -> Self {
        Some(match request {
            Request::Operation(operation) => operation.into(),
            Request::Survey { op, data } => {
                proto::What::Survey(proto::Named { op: op.clone(), data: data.clone() })
            }
            Request::Unknown => return None,
        })
    }
}

impl From<&Operation> for proto::What {
    fn from(operation: &Operation) -> Self {
        let filters = |filter: &ClientFilter| {
            let ClientFilter { client, except, labels, all_users } = filter;
            let selection = labels.is_some() || *all_users;
            let filter = proto::Filter {
                client: client.clone(),
                except: except.clone(),
                labels: labels.as_ref().map(|labels| labels.node().clone()),
                all_users: *all_users,
            };
            if selection { (None, Some(filter)) } else { (Some(filter), None) }
        };
        match operation {
            Operation::Disconnect { user, filter: who, code } => {
                let (filter, selection) = filters(who);
                Self::Disconnect(proto::Disconnect {
                    user: user.clone(),
                    filter,
                    selection,
                    code: code.code,
                    reason: code.reason.clone().into_owned(),
                })
            }
            Operation::Unsubscribe { user, filter: who, channel, code } => {
                let (filter, selection) = filters(who);
                Self::Unsubscribe(proto::Unsubscribe {
                    user: user.clone(),
                    filter,
                    selection,
                    channel: channel.clone(),
                    code: code.code,
                    reason: code.reason.clone().into_owned(),
                })
            }
            Operation::Subscribe { user, filter: who, channel, subscribe } => {
                let ServerSubscribe { options, since } = subscribe.as_ref();
                let (filter, selection) = filters(who);
                Self::Subscribe(Box::new(proto::Subscribe {
                    user: user.clone(),
                    filter,
                    selection,
                    channel: channel.clone(),
                    options: Some(options.into()),
                    since: since.as_ref().map(|since| proto::Position {
                        offset: since.offset,
                        epoch: since.epoch.as_ref().to_owned(),
                    }),
                }))
            }
            Operation::Refresh { user, filter: who, expired, expire_at, info } => {
                let (filter, selection) = filters(who);
                Self::Refresh(proto::Refresh {
                    user: user.clone(),
                    filter,
                    selection,
                    expired: *expired,
                    expire_at: *expire_at,
                    info: info.clone(),
                })
            }
            Operation::Input { session, message } => {
                Self::Input(proto::Input { session: session.clone(), message: message.clone() })
            }
            Operation::Application { op, data } => {
                Self::Application(proto::Named { op: op.clone(), data: data.clone() })
            }
        }
    }
}

impl proto::What {
    fn read(self) -> Result<Request, DecodeError> {
        // Without a filter every connection of the user is meant. A filter that was not understood must not turn into
        // that, so the field is always there.
        let filter = |filter: Option<proto::Filter>, selection: Option<proto::Filter>| {
            let proto::Filter { client, except, labels, all_users } =
                selection.or(filter).ok_or(DecodeError::Malformed)?;
            let labels = labels.map(LabelFilter::new).transpose().map_err(|_| DecodeError::Malformed)?;
            Ok(ClientFilter { client, except, labels, all_users })
        };
        Ok(Request::Operation(match self {
            Self::Survey(proto::Named { op, data }) => return Ok(Request::Survey { op, data }),
            Self::Disconnect(proto::Disconnect { user, filter: who, selection, code, reason }) => {
                let reason =
                    known(DisconnectCode::ALL, |known| known.code == code, |known| &known.reason, reason);
                let code = DisconnectCode { code, reason };
                Operation::Disconnect { user, filter: filter(who, selection)?, code }
            }
            Self::Unsubscribe(proto::Unsubscribe { user, filter: who, selection, channel, code, reason }) => {
                let reason =
                    known(UnsubscribeCode::ALL, |known| known.code == code, |known| &known.reason, reason);
                let code = UnsubscribeCode { code, reason };
                Operation::Unsubscribe { user, filter: filter(who, selection)?, channel, code }
            }
            Self::Subscribe(subscribe) => {
                let proto::Subscribe { user, filter: who, selection, channel, options, since } = *subscribe;
                let options = options.ok_or(DecodeError::Malformed)?.into();
                let since = since.map(|since| Position { offset: since.offset, epoch: since.epoch.into() });
                let subscribe = Box::new(ServerSubscribe { options, since });
                Operation::Subscribe { user, filter: filter(who, selection)?, channel, subscribe }
            }
            Self::Refresh(proto::Refresh { user, filter: who, selection, expired, expire_at, info }) => {
                Operation::Refresh { user, filter: filter(who, selection)?, expired, expire_at, info }
            }
            Self::Input(proto::Input { session, message }) => Operation::Input { session, message },
            Self::Application(proto::Named { op, data }) => Operation::Application { op, data },
        }))
    }
}

/// The text of a code: that of the catalogue where it is the same, which takes no memory.
fn known<T>(
    all: &'static [T],
    is: impl Fn(&T) -> bool,
    text: impl Fn(&'static T) -> &'static Cow<'static, str>,
    reason: String,
) -> Cow<'static, str> {
    match all.iter().find(|one| is(one)).map(text) {
        Some(Cow::Borrowed(text)) if *text == reason => Cow::Borrowed(text),
        _ => Cow::Owned(reason),
    }
}

impl From<&SubscribeOptions> for proto::Options {
    fn from(options: &SubscribeOptions) -> Self {
        // Every field is named: one that is added has to be encoded too.
        let SubscribeOptions {
            expire_at,
            info,
            data,
            presence,
            join_leave,
            push_join_leave,
            positioning,
            recovery,
            cache,
            auto_recover,
            delta,
            tags_filter,
            history: HistoryOptions { size, ttl, meta_ttl },
            source,
            server_side_refresh,
            by_login,
        } = options;
        Self {
            expire_at: *expire_at,
            info: info.clone(),
            data: data.clone(),
            presence: *presence,
            join_leave: *join_leave,
            push_join_leave: *push_join_leave,
            positioning: *positioning,
            recovery: *recovery,
            cache: *cache,
            auto_recover: *auto_recover,
            delta: *delta,
            tags_filter: *tags_filter,
            history_size: *size as u64,
            history_ttl: nanos(*ttl),
            history_meta_ttl: nanos(*meta_ttl),
            source: *source,
            server_side_refresh: *server_side_refresh,
            by_login: *by_login,
        }
    }
}

impl From<proto::Options> for SubscribeOptions {
    fn from(options: proto::Options) -> Self {
        Self {
            expire_at: options.expire_at,
            info: options.info,
            data: options.data,
            presence: options.presence,
            join_leave: options.join_leave,
            push_join_leave: options.push_join_leave,
            positioning: options.positioning,
            recovery: options.recovery,
            cache: options.cache,
            auto_recover: options.auto_recover,
            delta: options.delta,
            tags_filter: options.tags_filter,
            history: HistoryOptions {
                size: usize::try_from(options.history_size).unwrap_or(usize::MAX),
                ttl: Duration::from_nanos(options.history_ttl),
                meta_ttl: Duration::from_nanos(options.history_meta_ttl),
            },
            source: options.source,
            server_side_refresh: options.server_side_refresh,
            by_login: options.by_login,
        }
    }
}

/// Times of more than 584 years are as good as endless.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl From<&Response> for proto::Outcome {
    fn from(response: &Response) -> Self {
        match response {
            Response::Applied => Self::Applied(proto::Nothing {}),
            Response::Expired => Self::Expired(proto::Nothing {}),
            Response::Answer(data) => Self::Answer(data.clone()),
            Response::Declined(why) => Self::Declined(match why {
                Declined::Unsupported => 1,
                Declined::Failed => 2,
                Declined::TooLong => 3,
            }),
        }
    }
}

impl From<proto::Outcome> for Response {
    fn from(outcome: proto::Outcome) -> Self {
        match outcome {
            proto::Outcome::Applied(proto::Nothing {}) => Self::Applied,
            proto::Outcome::Expired(proto::Nothing {}) => Self::Expired,
            proto::Outcome::Answer(data) => Self::Answer(data),
            proto::Outcome::Declined(1) => Self::Declined(Declined::Unsupported),
            proto::Outcome::Declined(3) => Self::Declined(Declined::TooLong),
            // 2, and reasons of newer versions.
            proto::Outcome::Declined(_) => Self::Declined(Declined::Failed),
        }
    }
}

#[cfg(test)]
mod tests;
