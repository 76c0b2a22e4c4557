//! Requests that no client makes: channels that were occupied or vacated, and caches that are empty.
//!
//! One struct is a message in both encodings. Fields that Centrifugo's schema does not have are numbered from 1000.

use super::endpoint::Endpoint;
use super::failure::Failure;
use super::json::FromJson;
use super::messages::{Answered, CacheEmptyResult, InEnvelope, StateResult};
use crate::params::{Malformed, Params};
use crate::session::{ChannelState, Told};
use prost::Message;
use serde::Serialize;
use spinward::answer::Answer;
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
    use crate::session::ChannelEvent;

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
}
