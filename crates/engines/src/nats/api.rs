//! Requests to JetStream, as nats-server documents them: JSON below `$JS.API`, and the headers of publishes.
//!
//! Reads are of two kinds. `STREAM.MSG.GET` is answered by the leader of a stream, one message each. `DIRECT.GET` is
//! answered by any replica, which may be behind, with many messages at once.

use super::error::NatsError;
use super::life::Life;
use async_nats::{HeaderMap, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::StreamExt;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::timeout;

/// Time that a request may take.
const PATIENCE: Duration = Duration::from_secs(4);
/// The same, for a check of a stream.
const CHECK_PATIENCE: Duration = Duration::from_secs(2);

/// Codes of errors that mean something here.
pub(super) mod code {
    pub(in crate::nats) const NO_MESSAGE: u32 = 10_037;
    pub(in crate::nats) const NAME_IN_USE: u32 = 10_058;
    pub(in crate::nats) const NO_STREAM: u32 = 10_059;
    pub(in crate::nats) const WRONG_LAST_SEQUENCE: u32 = 10_071;
    /// The same, where a cluster cannot tell the right one.
    pub(in crate::nats) const WRONG_LAST_SEQUENCE_UNKNOWN: u32 = 10_164;
    /// A publication with the same id is on its way.
    pub(in crate::nats) const DUPLICATE_IN_FLIGHT: u32 = 10_158;
}

/// A message of a stream.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) subject: String,
    pub(super) sequence: u64,
    pub(super) payload: Bytes,
}

/// Acknowledgement of a publish.
#[derive(Debug, Deserialize)]
pub(super) struct Ack {
    #[serde(rename = "seq")]
    pub(super) sequence: u64,
    #[serde(default)]
    pub(super) duplicate: bool,
}

/// State of a stream.
#[derive(Debug, Deserialize)]
pub(super) struct Info {
    pub(super) config: InfoConfig,
    pub(super) state: InfoState,
    /// Time of the server, as RFC 3339 has it.
    #[serde(default, rename = "ts")]
    pub(super) time: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct InfoConfig {
    #[serde(default)]
    pub(super) metadata: HashMap<String, String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct InfoState {
    #[serde(rename = "last_seq")]
    pub(super) last_sequence: u64,
}

#[derive(Deserialize)]
struct Reply {
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    err_code: u32,
    #[serde(default)]
    description: String,
}

#[derive(Deserialize)]
struct Got {
    message: GotMessage,
}

#[derive(Deserialize)]
struct GotMessage {
    subject: String,
    seq: u64,
    #[serde(default)]
    data: String,
}

#[derive(Deserialize)]
struct Done {
    success: bool,
}

fn malformed(error: impl std::error::Error + Send + Sync + 'static) -> NatsError {
    NatsError::client(error)
}

fn read<T: DeserializeOwned>(payload: &[u8]) -> Result<T, NatsError> {
    let reply: Reply = serde_json::from_slice(payload).map_err(malformed)?;
    if let Some(Refusal { err_code, description }) = reply.error {
        return Err(NatsError::JetStream { code: err_code, description });
    }
    serde_json::from_slice(payload).map_err(malformed)
}

async fn ask<T: DeserializeOwned>(life: &Life, subject: String, request: String) -> Result<T, NatsError> {
    let answer = life.request(subject, HeaderMap::new(), request.into(), PATIENCE).await?;
    read(&answer.payload)
}

/// The reason for which a server cannot be used, if it is too old: `DIRECT.GET` of many messages and messages with a time
/// to live came with 2.11.
pub(super) fn too_old(life: &Life) -> Option<String> {
    let client = life.client();
    (!client.is_server_compatible(2, 11, 0)).then(|| {
        format!("JetStream needs nats-server 2.11 or newer, this is {}", client.server_info().version)
    })
}

/// State of a stream.
pub(super) async fn info(life: &Life, stream: &str) -> Result<Info, NatsError> {
    let subject = format!("$JS.API.STREAM.INFO.{stream}");
    let answer = life.request(subject, HeaderMap::new(), Bytes::new(), CHECK_PATIENCE).await?;
    read(&answer.payload)
}

/// Makes a stream.
pub(super) async fn create(life: &Life, stream: &str, config: &serde_json::Value) -> Result<Info, NatsError> {
    ask(life, format!("$JS.API.STREAM.CREATE.{stream}"), config.to_string()).await
}

/// Changes the settings of a stream.
pub(super) async fn update(life: &Life, stream: &str, config: &serde_json::Value) -> Result<Info, NatsError> {
    ask(life, format!("$JS.API.STREAM.UPDATE.{stream}"), config.to_string()).await
}

/// The last message of a subject, by the leader.
pub(super) async fn last(life: &Life, stream: &str, subject: &str) -> Result<Option<Stored>, NatsError> {
    get(life, stream, json!({ "last_by_subj": subject })).await
}

/// A message, by the leader.
pub(super) async fn at(life: &Life, stream: &str, sequence: u64) -> Result<Option<Stored>, NatsError> {
    get(life, stream, json!({ "seq": sequence })).await
}

async fn get(life: &Life, stream: &str, request: serde_json::Value) -> Result<Option<Stored>, NatsError> {
    let found = ask::<Got>(life, format!("$JS.API.STREAM.MSG.GET.{stream}"), request.to_string()).await;
    match found {
        Ok(Got { message: GotMessage { subject, seq, data } }) => {
            let payload = STANDARD.decode(data).map_err(malformed)?.into();
            Ok(Some(Stored { subject, sequence: seq, payload }))
        }
        Err(NatsError::JetStream { code: code::NO_MESSAGE, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Messages of the subjects that match, from a sequence on, in order; and whether there are more. By any replica.
pub(super) async fn batch(
    life: &Life,
    stream: &str,
    subject: &str,
    sequence: u64,
    most: usize,
) -> Result<(Vec<Stored>, bool), NatsError> {
    let inbox = life.client().new_inbox();
    let mut answers = life.subscribe(inbox.clone()).await?;
    let request = json!({ "next_by_subj": subject, "seq": sequence, "batch": most }).to_string();
    let send =
        life.client().publish_with_reply(format!("$JS.API.DIRECT.GET.{stream}"), inbox, request.into());
    send.await.map_err(NatsError::client)?;
    let mut found = Vec::new();
    let collect = async {
        while let Some(message) = answers.next().await {
            let header = |name: &str| message.headers.as_ref()?.get(name)?.as_str().parse::<u64>().ok();
            match message.status {
                None => {
                    let sequence = header("Nats-Sequence").ok_or(NatsError::Malformed)?;
                    let subject = message.headers.as_ref().and_then(|all| all.get("Nats-Subject"));
                    let subject = subject.ok_or(NatsError::Malformed)?.to_string();
                    found.push(Stored { subject, sequence, payload: message.payload });
                }
                Some(status) if status.as_u16() == 204 => {
                    return Ok(header("Nats-Num-Pending").unwrap_or(0) > 0);
                }
                Some(status) if status.as_u16() == 404 => return Ok(false),
                Some(StatusCode::NO_RESPONDERS) => return Err(NatsError::NoResponders),
                Some(status) => {
                    let description = message.description.clone().unwrap_or_default();
                    return Err(NatsError::JetStream { code: u32::from(status.as_u16()), description });
                }
            }
        }
        Err(NatsError::Lost)
    };
    let more = timeout(PATIENCE, collect).await.map_err(|_| NatsError::NoAnswer)??;
    Ok((found, more))
}

/// Stores a message.
pub(super) async fn publish(
    life: &Life,
    subject: String,
    headers: HeaderMap,
    payload: Bytes,
) -> Result<Ack, NatsError> {
    life.check_length(payload.len())?;
    let answer = life.request(subject, headers, payload, PATIENCE).await?;
    read(&answer.payload)
}

/// Extent of a purge of one subject.
pub(super) enum Extent {
    /// All but the latest.
    Keep(u64),
    /// Those before a sequence.
    Before(u64),
}

/// Removes messages of a subject.
pub(super) async fn purge(life: &Life, stream: &str, subject: &str, extent: Extent) -> Result<(), NatsError> {
    let request = match extent {
        Extent::Keep(count) => json!({ "filter": subject, "keep": count }),
        Extent::Before(sequence) => json!({ "filter": subject, "seq": sequence }),
    };
    let done: Done = ask(life, format!("$JS.API.STREAM.PURGE.{stream}"), request.to_string()).await?;
    if done.success { Ok(()) } else { Err(NatsError::Malformed) }
}

/// Unix milliseconds of a time such as `2026-11-30T05:55:59.892896995Z`.
pub(super) fn millis(text: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let fraction = text.get(19..)?.strip_suffix('Z')?.trim_start_matches('.');
    let digits: String = fraction.chars().chain("000".chars()).take(3).collect();
    // Days since 1 March of the year 0, so that a leap day is the last of its year.
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - 719_468;
    Some(((days * 24 + hour) * 60 + minute) * 60_000 + second * 1_000 + digits.parse::<i64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_the_server_are_read() {
        for (text, right) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00.5Z", 951_825_600_500),
            ("2026-11-30T05:55:59.892896995Z", 1_796_018_159_892),
            ("2100-03-01T00:00:00.000001Z", 4_107_542_400_000),
        ] {
            assert_eq!(millis(text), Some(right), "{text}");
        }
        for text in [
            "",
            "2026-11-30",
            "2026-11-30T05:55:59+01:00",
            "\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}",
        ] {
            assert_eq!(millis(text), None, "{text}");
        }
    }

    #[test]
    fn a_refusal_keeps_its_code() {
        let refused =
            br#"{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 1"},"seq":0}"#;
        let error = read::<Ack>(refused).unwrap_err();
        assert!(matches!(error, NatsError::JetStream { code: code::WRONG_LAST_SEQUENCE, .. }), "{error:?}");
        let ack: Ack = read(br#"{"stream":"s","seq":7,"duplicate":true}"#).unwrap();
        assert_eq!((ack.sequence, ack.duplicate), (7, true));
        assert!(read::<Ack>(b"{}").is_err());
    }
}
