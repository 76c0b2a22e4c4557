//! The control messages of Centrifugo v6, for nodes of both on the same servers.
//!
//! Nodes of this project go on speaking to each other as they do without them. What has a counterpart there is
//! published a second time for nodes of Centrifugo, marked so that the own nodes skip it; what those publish is
//! translated into messages as if they came from an own node. Facts of the layout are from the bytes that
//! Centrifugo v6.9 publishes.
//!
//! Nodes of Centrifugo confirm nothing: an operation counts as applied there once it is published. What would do more
//! there than it was meant to is not published.

mod proto;

use self::proto::Command;
use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message;
use spinward::cluster::{
    Body, ClientFilter, Declined, Envelope, Heartbeat, Operation, Request, Response, ServerSubscribe,
};
use spinward::engine::controller::To;
use spinward::id::NodeId;
use spinward::publication::Position;
use spinward::wire::code::{DisconnectCode, UnsubscribeCode};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Silence after which nothing is expected of a node: they announce themselves every three seconds.
const SILENCE: Duration = Duration::from_secs(10);

/// Nodes that are known at once. More are those of someone else.
const MOST: usize = 1_000;

/// Code of a survey's answer that says that the node cannot answer.
const NO_ANSWER: u32 = 100;

/// Nodes of Centrifugo, and the names of what they listen to.
pub(super) struct Neighbours {
    prefix: Arc<str>,
    own: NodeId,
    nodes: Mutex<HashMap<NodeId, Known>>,
}

struct Known {
    heard: Instant,
    /// Number of the last message that was passed on as of this node.
    number: u64,
}

/// Contents of a message of another node.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Taken {
    /// The same for the own node.
    pub(super) message: Option<Bytes>,
    /// A message to publish in return: channel and bytes.
    pub(super) answer: Option<(String, Bytes)>,
}

impl Neighbours {
    pub(super) fn new(prefix: &Arc<str>, own: NodeId) -> Self {
        Self { prefix: Arc::clone(prefix), own, nodes: Mutex::default() }
    }

    /// The channel of messages to all nodes.
    pub(super) fn all(&self) -> String {
        format!("{}.control", self.prefix)
    }

    /// The channel of messages to one.
    pub(super) fn node(&self, node: NodeId) -> String {
        format!("{}.node.{node}", self.prefix)
    }

    /// The message for nodes of Centrifugo, if there is one: channel and bytes.
    pub(super) fn translate(&self, to: To, message: &Bytes) -> Option<(String, Bytes)> {
        let channel = match to {
            To::All => self.all(),
            To::Node(node) if self.nodes.lock().contains_key(&node) => self.node(node),
            To::Node(_) => return None,
        };
        let envelope = Envelope::decode(message.clone()).ok()?;
        let body = outgoing(self.own, envelope.body)?;
        Some((channel, body.encode_to_vec().into()))
    }

    /// The answers of nodes of Centrifugo to a request that was published: they give none of their own.
    pub(super) fn answers(&self, to: To, message: &Bytes, translated: bool) -> Vec<Bytes> {
        let Ok(Envelope { body: Body::Request { id, request }, .. }) = Envelope::decode(message.clone())
        else {
            return Vec::new();
        };
        if id == 0 {
            return Vec::new();
        }
        let response = match request {
            Request::Operation(_) if translated => Response::Applied,
            _ => Response::Declined(Declined::Unsupported),
        };
        let mut nodes = self.nodes.lock();
        let silent = |known: &Known| known.heard.elapsed() > SILENCE;
        let asked = nodes
            .iter_mut()
            .filter(|(node, known)| !silent(known) && (to == To::All || to == To::Node(**node)));
        let answer = |(node, known): (&NodeId, &mut Known)| {
            known.number += 1;
            let body = Body::Response { id, response: response.clone() };
            Envelope { from: *node, to: Some(self.own), number: known.number, body }.encode()
        };
        asked.map(answer).collect()
    }

    /// Takes a message of another node. `None` if it is not one.
    pub(super) fn take(&self, message: Bytes) -> Option<Taken> {
        let command = Command::decode(message).ok()?;
        if command.marked {
            return Some(Taken::default());
        }
        let from: NodeId = command.uid.parse().ok()?;
        if from == self.own {
            return Some(Taken::default());
        }
        if let Some(survey) = &command.survey_request {
            let response = proto::SurveyResponse { id: survey.id, code: NO_ANSWER };
            let answer = Command { survey_response: Some(response), ..Command::of(self.own) };
            return Some(Taken {
                message: None,
                answer: Some((self.node(from), answer.encode_to_vec().into())),
            });
        }
        let Some(body) = incoming(command)? else { return Some(Taken::default()) };
        let mut nodes = self.nodes.lock();
        if !nodes.contains_key(&from) && nodes.len() >= MOST {
            nodes.retain(|_, known| known.heard.elapsed() <= SILENCE);
            if nodes.len() >= MOST {
                return None;
            }
        }
        let known = nodes.entry(from).or_insert_with(|| Known { heard: Instant::now(), number: 0 });
        known.heard = Instant::now();
        known.number += 1;
        let number = known.number;
        if body == Body::Goodbye {
            nodes.remove(&from);
        }
        let message = Envelope { from, to: None, number, body }.encode();
        Some(Taken { message: Some(message), answer: None })
    }
}

/// A message for nodes of Centrifugo; `None` if no message does exactly the same.
fn outgoing(own: NodeId, body: Body) -> Option<Command> {
    let command = Command::of(own);
    let uid = own.to_string();
    let one =
        |filter: &ClientFilter| filter.except.is_empty().then(|| filter.client.clone().unwrap_or_default());
    let number = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    Some(match body {
        Body::Heartbeat(heartbeat) => {
            let node = proto::Node {
                uid,
                name: heartbeat.name,
                version: heartbeat.version,
                num_clients: number(heartbeat.clients),
                num_users: number(heartbeat.users),
                num_channels: number(heartbeat.channels),
                num_subs: number(heartbeat.subscriptions),
                uptime: number(heartbeat.uptime.as_secs()),
            };
            Command { node: Some(node), ..command }
        }
        Body::Goodbye => Command { shutdown: Some(proto::Shutdown {}), ..command },
        Body::Request { request: Request::Operation(operation), .. } => match operation {
            // Without a licence they take no notice of labels and of all users, and would do more.
            Operation::Disconnect { filter, .. }
            | Operation::Unsubscribe { filter, .. }
            | Operation::Subscribe { filter, .. }
            | Operation::Refresh { filter, .. }
                if filter.labels.is_some() || filter.all_users =>
            {
                return None;
            }
            Operation::Disconnect { user, filter, code } => {
                let disconnect = proto::Disconnect {
                    user,
                    whitelist: filter.except,
                    code: code.code,
                    reason: code.reason.into_owned(),
                    client: filter.client.unwrap_or_default(),
                    ..proto::Disconnect::default()
                };
                Command { disconnect: Some(disconnect), ..command }
            }
            Operation::Unsubscribe { user, filter, channel, code } => {
                let unsubscribe = proto::Unsubscribe {
                    channel: channel.unwrap_or_default(),
                    user,
                    client: one(&filter)?,
                    code: code.code,
                    reason: code.reason.into_owned(),
                    ..proto::Unsubscribe::default()
                };
                Command { unsubscribe: Some(unsubscribe), ..command }
            }
            Operation::Subscribe { user, filter, channel, subscribe } => {
                let ServerSubscribe { options, since } = *subscribe;
                let since = since.map(|Position { offset, epoch }| proto::StreamPosition {
                    offset,
                    epoch: epoch.as_ref().to_owned(),
                });
                let subscribe = proto::Subscribe {
                    user,
                    channel,
                    client: one(&filter)?,
                    emit_presence: options.presence,
                    emit_join_leave: options.join_leave,
                    push_join_leave: options.push_join_leave,
                    expire_at: options.expire_at,
                    position: options.positioning,
                    recover: options.recovery,
                    channel_info: options.info,
                    data: options.data,
                    source: options.source,
                    recover_since: since,
                    ..proto::Subscribe::default()
                };
                Command { subscribe: Some(subscribe), ..command }
            }
            Operation::Refresh { user, filter, expired, expire_at, info } => {
                let refresh = proto::Refresh {
                    user,
                    client: one(&filter)?,
                    expired,
                    expire_at,
                    info: info.unwrap_or_default(),
                    ..proto::Refresh::default()
                };
                Command { refresh: Some(refresh), ..command }
            }
            // Of this project alone.
            _ => return None,
        },
        _ => return None,
    })
}

/// The same for an own node. `Some(None)` where there is no counterpart.
fn incoming(command: Command) -> Option<Option<Body>> {
    let filter = |client: String, except: Vec<String>| ClientFilter {
        client: (!client.is_empty()).then_some(client),
        except,
        ..ClientFilter::default()
    };
    let operation = |operation| Some(Some(Body::Request { id: 0, request: Request::Operation(operation) }));
    if let Some(node) = command.node {
        return Some(Some(Body::Heartbeat(Heartbeat {
            name: node.name,
            version: node.version,
            uptime: Duration::from_secs(node.uptime.into()),
            clients: node.num_clients.into(),
            users: node.num_users.into(),
            channels: node.num_channels.into(),
            subscriptions: node.num_subs.into(),
            asks: false,
        })));
    }
    if command.shutdown.is_some() {
        return Some(Some(Body::Goodbye));
    }
    if let Some(one) = command.disconnect {
        // What is selected by other means would be taken for more.
        if one.is_narrower() {
            return None;
        }
        let code = DisconnectCode { code: one.code, reason: one.reason.into() };
        let filter = filter(one.client, one.whitelist);
        return operation(Operation::Disconnect { user: one.user, filter, code });
    }
    if let Some(one) = command.unsubscribe {
        if one.is_narrower() {
            return None;
        }
        let code = UnsubscribeCode { code: one.code, reason: one.reason.into() };
        let channel = (!one.channel.is_empty()).then_some(one.channel);
        let filter = filter(one.client, Vec::new());
        return operation(Operation::Unsubscribe { user: one.user, filter, channel, code });
    }
    if let Some(one) = command.subscribe {
        if one.is_narrower() {
            return None;
        }
        let mut subscribe = ServerSubscribe::default();
        let options = &mut subscribe.options;
        options.presence = one.emit_presence;
        options.join_leave = one.emit_join_leave;
        options.push_join_leave = one.push_join_leave;
        options.expire_at = one.expire_at;
        options.positioning = one.position || one.recover;
        options.recovery = one.recover;
        options.info = one.channel_info;
        options.data = one.data;
        options.source = one.source;
        subscribe.since =
            one.recover_since.map(|since| Position { offset: since.offset, epoch: since.epoch.into() });
        let filter = filter(one.client, Vec::new());
        let subscribe = Box::new(subscribe);
        return operation(Operation::Subscribe { user: one.user, filter, channel: one.channel, subscribe });
    }
    if let Some(one) = command.refresh {
        if one.is_narrower() {
            return None;
        }
        let filter = filter(one.client, Vec::new());
        let info = (!one.info.is_empty()).then_some(one.info);
        let (expired, expire_at) = (one.expired, one.expire_at);
        return operation(Operation::Refresh { user: one.user, filter, expired, expire_at, info });
    }
    // Notifications and answers to surveys.
    Some(None)
}

#[cfg(test)]
#[path = "centrifugo/tests.rs"]
mod tests;
