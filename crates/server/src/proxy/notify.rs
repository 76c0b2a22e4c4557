//! Requests that no client makes: channels that were occupied or vacated, caches that are empty, and what became of
//! clients.
//!
//! One struct is a message in both encodings. Fields that Centrifugo's schema does not have are numbered from 1000;
//! [`ClientEventsRequest`] is ours as a whole.

use super::endpoint::Endpoint;
use super::failure::Failure;
use super::json::FromJson;
use super::messages::{Answered, CacheEmptyResult, ClientEventsResult, InEnvelope, StateResult};
use super::request::protocol;
use crate::params::{Malformed, Params};
use crate::session::{ChannelState, ClientEvent, ClientReport, Told};
use prost::Message;
use serde::Serialize;
use spinward::answer::Answer;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A channel of cache mode without a publication.
#[derive(Clone, PartialEq, Message, Serialize)]
pub(super) struct CacheEmptyRequest {
    #[prost(string, tag = "1")]
    pub(super) channel: String,
}

/// Channels that were occupied or vacated.
#[derive(Clone, PartialEq, Message, Serialize)]
pub(super) struct StateRequest {
    #[prost(message, repeated, tag = "1")]
    events: Vec<StateEvent>,
    #[prost(string, tag = "1000")]
    node: String,
    #[prost(string, tag = "1001")]
    node_id: String,
}

#[derive(Clone, PartialEq, Message, Serialize)]
struct StateEvent {
    #[prost(int64, tag = "1")]
    time_ms: i64,
    #[prost(string, tag = "2")]
    channel: String,
    #[prost(string, tag = "3")]
    r#type: String,
    #[prost(uint64, tag = "1000")]
    seq: u64,
}

impl StateRequest {
    pub(super) fn of(state: &ChannelState) -> Self {
        let events = state.events.iter().map(|event| StateEvent {
            time_ms: event.time_ms,
            channel: event.channel.to_string(),
            r#type: if event.occupied { "occupied" } else { "vacated" }.to_owned(),
            seq: event.seq,
        });
        Self { events: events.collect(), node: state.node.to_string(), node_id: state.node_id.to_string() }
    }
}

/// Clients that have come, gone, subscribed or unsubscribed.
#[derive(Clone, PartialEq, Message, Serialize)]
pub(super) struct ClientEventsRequest {
    #[prost(message, repeated, tag = "1")]
    events: Vec<ClientEventItem>,
    #[prost(string, tag = "2")]
    node: String,
    #[prost(string, tag = "3")]
    node_id: String,
}

#[derive(Clone, PartialEq, Message, Serialize)]
struct ClientEventItem {
    #[prost(uint64, tag = "1")]
    seq: u64,
    #[prost(int64, tag = "2")]
    time_ms: i64,
    #[prost(string, tag = "3")]
    r#type: String,
    #[prost(string, tag = "4")]
    client: String,
    #[prost(string, tag = "5")]
    user: String,
    #[prost(string, tag = "6")]
    #[serde(skip_serializing_if = "String::is_empty")]
    channel: String,
    #[prost(uint32, optional, tag = "7")]
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u32>,
    #[prost(string, optional, tag = "8")]
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[prost(string, tag = "9")]
    #[serde(skip_serializing_if = "String::is_empty")]
    transport: String,
    #[prost(string, tag = "10")]
    #[serde(skip_serializing_if = "String::is_empty")]
    protocol: String,
    #[prost(string, tag = "11")]
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[prost(string, tag = "12")]
    #[serde(skip_serializing_if = "String::is_empty")]
    version: String,
    #[prost(btree_map = "string, string", tag = "13")]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
}

impl ClientEventsRequest {
    fn of(report: &ClientReport) -> Self {
        let ClientReport { node, node_id, events } = report;
        let events = events.iter().map(ClientEventItem::of).collect();
        Self { events, node: node.to_string(), node_id: node_id.to_string() }
    }
}

impl ClientEventItem {
    fn of(event: &ClientEvent) -> Self {
        let (code, reason) = event.end.as_ref().map(|(code, reason)| (*code, reason.to_string())).unzip();
        let mut item = Self {
            seq: event.seq,
            time_ms: event.time_ms,
            r#type: event.kind.name().to_owned(),
            client: event.client.to_string(),
            user: event.user.to_string(),
            channel: event.channel.as_deref().unwrap_or_default().to_owned(),
            code,
            reason,
            ..Self::default()
        };
        if let Some(login) = &event.login {
            login.transport.name().clone_into(&mut item.transport);
            protocol(login.protocol).clone_into(&mut item.protocol);
            if let Some(application) = &login.application {
                (item.name, item.version) = (application.name.to_string(), application.version.to_string());
            }
            item.labels = login.labels.as_deref().cloned().unwrap_or_default();
        }
        item
    }
}

impl FromJson for ClientEventsResult {
    fn read(_: &Params<'_>) -> Result<Self, Malformed> {
        Ok(Self {})
    }
}

impl FromJson for StateResult {
    fn read(_: &Params<'_>) -> Result<Self, Malformed> {
        Ok(Self {})
    }
}

impl FromJson for CacheEmptyResult {
    fn read(fields: &Params<'_>) -> Result<Self, Malformed> {
        Ok(Self { populated: fields.get("populated")? })
    }
}

/// Tells the back end of channels.
pub(super) fn channel_state(endpoint: &Arc<Endpoint>, state: &ChannelState) -> Answer<Told> {
    told::<StateResult>(endpoint, &StateRequest::of(state))
}

/// Tells the back end of clients.
pub(super) fn client_events(endpoint: &Arc<Endpoint>, report: &ClientReport) -> Answer<Told> {
    told::<ClientEventsResult>(endpoint, &ClientEventsRequest::of(report))
}

/// Tells the back end of an empty cache.
pub(super) fn cache_empty(endpoint: &Arc<Endpoint>, channel: &str) -> Answer<bool> {
    let request = CacheEmptyRequest { channel: channel.to_owned() };
    told::<CacheEmptyResult>(endpoint, &request).map(|told| told == Told::Confirmed)
}

/// Everything but an error or a disconnect in an answer is a confirmation.
fn told<R>(endpoint: &Arc<Endpoint>, request: &(impl Message + Serialize)) -> Answer<Told>
where
    R: FromJson + InEnvelope,
{
    let Ok(answered) = endpoint.notify::<R>(request) else {
        return Answer::Now(Told::Failed);
    };
    let endpoint = Arc::clone(endpoint);
    Answer::later(async move {
        match answered.await {
            Ok(Answered { error: None, disconnect: None, .. }) => Told::Confirmed,
            Ok(_) => {
                endpoint.note(Failure::Refused);
                Told::Failed
            }
            // A failed call is counted already.
            Err(_) => Told::Failed,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{ChannelEvent, ClientEventKind, Login};
    use spinward::id::ClientId;
    use spinward::identity::{Application, Transport};
    use spinward::wire::Protocol;

    /// The bytes were written by hand, by the numbers of the public schema.
    #[test]
    fn both_encodings_have_the_fields_of_the_schema() {
        let events = vec![ChannelEvent { channel: "c".into(), occupied: true, time_ms: 5, seq: 7 }];
        let state = ChannelState { node: "n".into(), node_id: "i".into(), events };
        let request = StateRequest::of(&state);
        assert_eq!(
            serde_json::to_value(&request).unwrap(),
            serde_json::json!({
                "events": [{"time_ms": 5, "channel": "c", "type": "occupied", "seq": 7}],
                "node": "n", "node_id": "i",
            })
        );
        let bytes = b"\x0a\x12\x08\x05\x12\x01c\x1a\x08occupied\xc0\x3e\x07\xc2\x3e\x01n\xca\x3e\x01i";
        assert_eq!(request.encode_to_vec(), bytes);
    }

    #[test]
    fn an_event_of_a_client_says_what_is_known_of_it() {
        let plain = ClientEvent {
            seq: 7,
            time_ms: 5,
            kind: ClientEventKind::Disconnected,
            client: ClientId::from_random([0; 16]),
            user: "ann".into(),
            channel: None,
            end: Some((3000, "gone".into())),
            login: None,
        };
        let login = Login {
            transport: Transport::WebSocket,
            protocol: Protocol::Json,
            application: Some(Box::new(Application { name: "app".into(), version: "1.0".into() })),
            labels: Some(Arc::new([("plan".to_owned(), "free".to_owned())].into())),
        };
        let (connected, left) = (
            ClientEvent {
                kind: ClientEventKind::Connected,
                end: None,
                login: Some(Box::new(login)),
                ..plain.clone()
            },
            ClientEvent {
                kind: ClientEventKind::Unsubscribed,
                channel: Some("c".into()),
                end: Some((0, "".into())),
                ..plain.clone()
            },
        );
        let client = plain.client.to_string();
        let report =
            ClientReport { node: "n".into(), node_id: "i".into(), events: vec![plain, connected, left] };
        let request = ClientEventsRequest::of(&report);
        let common = |kind: &str| serde_json::json!({"seq": 7, "time_ms": 5, "type": kind, "client": client, "user": "ann"});
        let with = |kind: &str, more: serde_json::Value| {
            let mut event = common(kind);
            event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            event
        };
        let login = serde_json::json!({
            "transport": "websocket", "protocol": "json", "name": "app", "version": "1.0", "labels": {"plan": "free"},
        });
        assert_eq!(
            serde_json::to_value(&request).unwrap(),
            serde_json::json!({
                "events": [
                    with("disconnected", serde_json::json!({"code": 3000, "reason": "gone"})),
                    with("connected", login),
                    with("unsubscribed", serde_json::json!({"channel": "c", "code": 0, "reason": ""})),
                ],
                "node": "n", "node_id": "i",
            })
        );
        let read = ClientEventsRequest::decode(request.encode_to_vec().as_slice()).unwrap();
        assert_eq!(read, request);
    }
}
