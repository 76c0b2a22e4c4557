//! Messages of the proxies as JSON: requests written, answers read with Centrifugo's tolerance.

use super::messages::{
    Answered, BoolValue, ChannelsCapability, ConnectResult, Disconnect, Error, Override, PublishResult,
    RefreshResult, RpcResult, SubRefreshResult, SubscribeBatch, SubscribeOptions, SubscribeResponse,
    SubscribeResult,
};
use super::request::{Payload, Request};
use crate::auth::one_line;
use crate::params::{Malformed, Params};
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use spinward::publication::Tags;

/// A result that can be read from JSON.
pub(super) trait FromJson: Sized {
    /// Reads the fields of a result.
    fn read(fields: &Params<'_>) -> Result<Self, Malformed>;
}

/// Reads an answer. `null` is one with nothing in it.
pub(super) fn read<R: FromJson>(text: &str) -> Result<Answered<R>, Malformed> {
    let fields = Params::parse(text)?;
    let result = fields.object("result")?.map(|result| R::read(&result)).transpose()?;
    let error = fields.object("error")?.map(|error| {
        Ok(Error {
            code: error.get("code")?,
            message: error.string("message")?,
            temporary: error.get("temporary")?,
        })
    });
    let disconnect = fields
        .object("disconnect")?
        .map(|end| Ok(Disconnect { code: end.get("code")?, reason: end.string("reason")? }));
    Ok(Answered { result, error: error.transpose()?, disconnect: disconnect.transpose()? })
}

/// A payload as it can go into a frame of lines.
fn payload(fields: &Params<'_>, name: &'static str) -> Bytes {
    let text = fields.raw(name).and_then(|text| serde_json::from_str::<&RawValue>(text).ok());
    text.map(one_line).unwrap_or_default()
}

fn overrides(fields: &Params<'_>) -> Result<Option<Override>, Malformed> {
    let Some(fields) = fields.object("override")? else { return Ok(None) };
    let value = |name| {
        let value = fields.object(name)?;
        value.map(|value| Ok(BoolValue { value: value.get("value")? })).transpose()
    };
    Ok(Some(Override {
        presence: value("presence")?,
        join_leave: value("join_leave")?,
        force_recovery: value("force_recovery")?,
        force_positioning: value("force_positioning")?,
        force_push_join_leave: value("force_push_join_leave")?,
    }))
}

/// Permissions. What has another form may be another application's.
fn capabilities(fields: &Params<'_>) -> Vec<ChannelsCapability> {
    fields.raw("caps").and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

impl FromJson for SubscribeOptions {
    fn read(fields: &Params<'_>) -> Result<Self, Malformed> {
        // `expire_at` has no effect in Centrifugo v6.9 either, but its type counts.
        fields.get::<i64>("expire_at")?;
        Ok(Self {
            info: payload(fields, "info"),
            b64info: fields.string("b64info")?,
            data: payload(fields, "data"),
            b64data: fields.string("b64data")?,
            r#override: overrides(fields)?,
            cache_recover: fields.get("cache_recover")?,
        })
    }
}

impl FromJson for ConnectResult {
    fn read(fields: &Params<'_>) -> Result<Self, Malformed> {
        let subs = fields.object("subs")?.unwrap_or_default();
        // A null ends the process of Centrifugo v6.9. Here it is a subscription without options.
        let subs = subs.fields().map(|(channel, text)| {
            let options = Params::parse(text).map_err(|_| Malformed("subs"))?;
            Ok((channel.to_owned(), SubscribeOptions::read(&options)?))
        });
        Ok(Self {
            user: fields.string("user")?,
            expire_at: fields.get("expire_at")?,
            info: payload(fields, "info"),
            b64info: fields.string("b64info")?,
            data: payload(fields, "data"),
            b64data: fields.string("b64data")?,
            channels: fields.strings("channels")?,
            subs: subs.collect::<Result<_, _>>()?,
            meta: payload(fields, "meta"),
            caps: capabilities(fields),
            labels: fields.texts("labels")?.into_iter().collect(),
        })
    }
}

impl FromJson for RefreshResult {
    fn read(fields: &Params<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            expired: fields.get("expired")?,
            expire_at: fields.get("expire_at")?,
            info: payload(fields, "info"),
            b64info: fields.string("b64info")?,
            meta: payload(fields, "meta"),
            caps: capabilities(fields),
        })
    }
}

impl FromJson for SubscribeResult {
    fn read(fields: &Params<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            expire_at: fields.get("expire_at")?,
            info: payload(fields, "info"),
            b64info: fields.string("b64info")?,
            data: payload(fields, "data"),
            b64data: fields.string("b64data")?,
            r#override: overrides(fields)?,
        })
    }
}

impl FromJson for SubscribeBatch {
    fn read(fields: &Params<'_>) -> Result<Self, Malformed> {
        let answers = fields.raw("batch").map(serde_json::from_str::<Vec<&RawValue>>);
        let answers = answers.transpose().map_err(|_| Malformed("batch"))?.unwrap_or_default();
        let read = |text: &&RawValue| {
            let Answered { result, error, disconnect } = read::<SubscribeResult>(text.get())?;
            Ok(SubscribeResponse { result, error, disconnect })
        };
        Ok(Self { batch: answers.iter().map(read).collect::<Result<_, _>>()? })
    }
}

impl FromJson for PublishResult {
    fn read(fields: &Params<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            data: payload(fields, "data"),
            b64data: fields.string("b64data")?,
            skip_history: fields.get("skip_history")?,
            tags: fields.texts("tags")?.into_iter().collect(),
            idempotency_key: fields.string("idempotency_key")?,
            delta: fields.get("delta")?,
            version: fields.get("version")?,
            version_epoch: fields.string("version_epoch")?,
        })
    }
}

impl FromJson for RpcResult {
    fn read(fields: &Params<'_>) -> Result<Self, Malformed> {
        Ok(Self { data: payload(fields, "data"), b64data: fields.string("b64data")? })
    }
}

impl FromJson for SubRefreshResult {
    fn read(fields: &Params<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            expired: fields.get("expired")?,
            expire_at: fields.get("expire_at")?,
            info: payload(fields, "info"),
            b64info: fields.string("b64info")?,
        })
    }
}

/// A request in JSON: what is empty is left out.
#[derive(Serialize)]
struct Written<'a> {
    client: &'a str,
    transport: &'a str,
    protocol: &'a str,
    encoding: &'a str,
    /// Empty for an anonymous user, and absent in a login.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    channel: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    method: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "str::is_empty")]
    b64data: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    batch: Vec<WrittenItem<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    version: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    channels: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    meta: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<&'a Tags>,
}

/// One of several subscribes.
#[derive(Serialize)]
struct WrittenItem<'a> {
    channel: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "str::is_empty")]
    b64data: &'a str,
}

/// A payload as `data` and `b64data`, of which one is empty.
fn written<'a>(payload: &'a Payload<'a>) -> Result<(Option<&'a RawValue>, &'a str), serde_json::Error> {
    Ok(match payload {
        Payload::None => (None, ""),
        Payload::Plain(data) => (Some(serde_json::from_slice(data)?), ""),
        Payload::Base64(text) => (None, text.as_str()),
    })
}

/// Writes a request.
///
/// # Errors
/// The payload is not JSON, so that only `binary_encoding` could carry it.
pub(super) fn write(request: &Request<'_>) -> Result<Vec<u8>, serde_json::Error> {
    let (data, b64data) = written(&request.payload)?;
    let batch = request.batch.iter().map(|item| {
        let (data, b64data) = written(&item.payload)?;
        Ok(WrittenItem { channel: item.channel, data, b64data })
    });
    let batch = batch.collect::<Result<_, serde_json::Error>>()?;
    let meta = match request.meta {
        Some(meta) if !meta.is_empty() => Some(serde_json::from_slice(meta)?),
        _ => None,
    };
    serde_json::to_vec(&Written {
        client: &request.client,
        transport: request.transport,
        protocol: request.protocol,
        encoding: request.encoding(),
        user: request.user,
        channel: request.channel,
        method: request.method,
        data,
        b64data,
        batch,
        name: request.name,
        version: request.version,
        channels: request.channels,
        meta,
        labels: request.labels,
    })
}

/// The JSON form of [`ChannelsCapability`] objects.
pub(super) fn caps(caps: &[ChannelsCapability]) -> String {
    serde_json::to_string(caps).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_go_reads_them() {
        let answered: Answered<RpcResult> = read(
            r#"{"RESULT":{"DATA":{"a":
1}},"more":1,"error":null}"#,
        )
        .unwrap();
        assert_eq!(answered.result.unwrap().data, "{\"a\":1}");
        assert_eq!(answered.error, None);
        assert_eq!(read::<RpcResult>("null").unwrap(), Answered::EMPTY);
        assert_eq!(read::<RpcResult>("{}").unwrap(), Answered::EMPTY);
        for bad in ["", "{", "[]", "{} x", "\u{feff}{}", r#"{"result":[]}"#, r#"{"error":"no"}"#] {
            assert!(read::<RpcResult>(bad).is_err(), "{bad}");
        }
        for bad in [r#"{"code":-1}"#, r#"{"code":"1"}"#, r#"{"code":4294967296}"#, r#"{"temporary":"yes"}"#] {
            assert!(read::<RpcResult>(&format!(r#"{{"error":{bad}}}"#)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_null_among_subs_has_no_options() {
        let text =
            r#"{"result":{"user":"u","subs":{"a":null,"b":{"override":{"presence":{}}}},"caps":"other"}}"#;
        let result = read::<ConnectResult>(text).unwrap().result.unwrap();
        assert_eq!(result.subs["a"], SubscribeOptions::default());
        let presence = result.subs["b"].r#override.as_ref().and_then(|over| over.presence);
        assert_eq!(presence, Some(BoolValue { value: false }));
    }
}
