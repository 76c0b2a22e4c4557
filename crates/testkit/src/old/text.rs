//! JSON.

use super::{Method, Old, Position};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use spinward_wire::message::{
    Command, ConnectResult, Error, Publication, Push, Reply, SubscribeRequest, SubscribeResult, Unsubscribe,
};
use std::collections::BTreeMap;

pub(super) fn append(old: Old, command: &Command, out: &mut Vec<u8>) {
    let id = command.id;
    let value = if let Some(connect) = &command.connect {
        let mut params = Map::new();
        if !old.name().is_empty() {
            params.insert("name".to_owned(), old.name().into());
        }
        if !connect.subs.is_empty() {
            let subs = connect.subs.iter().map(|(channel, sub)| (channel.clone(), position(old, id, sub)));
            params.insert("subs".to_owned(), Value::Object(subs.collect()));
        }
        // Without anything to say, an SDK leaves all but the id out.
        if params.is_empty() { json!({ "id": id }) } else { json!({ "id": id, "params": params }) }
    } else if let Some(subscribe) = &command.subscribe {
        let mut params = position(old, id, subscribe);
        params["channel"] = subscribe.channel.as_str().into();
        json!({ "id": id, "method": Method::Subscribe as u8, "params": params })
    } else {
        let channel = command.unsubscribe.as_ref().map_or("", |request| &request.channel);
        json!({ "id": id, "method": "unsubscribe", "params": { "channel": channel } })
    };
    out.extend_from_slice(value.to_string().as_bytes());
}

fn position(old: Old, id: u32, request: &SubscribeRequest) -> Value {
    let mut params = json!({});
    if request.recover {
        let Position { seq, generation, offset } = old.position(id, request.offset);
        params["recover"] = true.into();
        params["epoch"] = request.epoch.as_str().into();
        for (key, value) in [("seq", u64::from(seq)), ("gen", u64::from(generation)), ("offset", offset)] {
            if value > 0 {
                params[key] = value.into();
            }
        }
    }
    params
}

#[derive(Deserialize)]
struct RawReply<'a> {
    #[serde(default)]
    id: u32,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    error: Option<RawError>,
}

#[derive(Deserialize)]
struct RawError {
    code: u32,
}

#[derive(Deserialize)]
struct RawPush<'a> {
    #[serde(rename = "type", default)]
    kind: u32,
    #[serde(default)]
    channel: String,
    #[serde(borrow)]
    data: &'a RawValue,
}

#[derive(Deserialize)]
struct RawPublication<'a> {
    #[serde(default)]
    seq: u32,
    #[serde(rename = "gen", default)]
    generation: u32,
    #[serde(default)]
    offset: u64,
    #[serde(borrow)]
    data: &'a RawValue,
}

#[derive(Deserialize)]
struct RawSubscription<'a> {
    #[serde(default)]
    recoverable: bool,
    #[serde(default)]
    recovered: bool,
    #[serde(default)]
    epoch: String,
    #[serde(default)]
    seq: u32,
    #[serde(rename = "gen", default)]
    generation: u32,
    #[serde(default)]
    offset: u64,
    #[serde(borrow, default)]
    publications: Vec<RawPublication<'a>>,
}

#[derive(Deserialize)]
struct RawConnect<'a> {
    client: String,
    version: String,
    #[serde(borrow, default)]
    subs: BTreeMap<String, RawSubscription<'a>>,
}

#[derive(Deserialize, Default)]
struct RawUnsub {
    #[serde(default)]
    resubscribe: bool,
}

pub(super) fn read(
    old: Old,
    frame: &[u8],
    method: impl Fn(u32) -> Option<Method>,
) -> Result<Vec<Reply>, String> {
    let text = std::str::from_utf8(frame).map_err(|error| error.to_string())?;
    let lines = text.strip_suffix('\n').ok_or("a frame without a newline at its end")?;
    lines.split('\n').map(|line| reply(old, line, &method)).collect()
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| format!("{error} in {text}"))
}

fn reply(old: Old, line: &str, method: &impl Fn(u32) -> Option<Method>) -> Result<Reply, String> {
    let RawReply { id, result, error } = parse(line)?;
    if id == 0 {
        // The first SDKs read a field of it without looking.
        let result = result.ok_or_else(|| format!("a push without a result: {line}"))?;
        return Ok(Reply { push: Some(push(old, result.get())?), ..Reply::default() });
    }
    let mut reply = Reply { id, ..Reply::default() };
    if let Some(RawError { code }) = error {
        reply.error = Some(Error { code, ..Error::default() });
        return Ok(reply);
    }
    let result = result.map_or("{}", RawValue::get);
    match method(id) {
        Some(Method::Connect) => {
            let RawConnect { client, version, subs } = parse(result)?;
            let subs = subs.into_iter().map(|(channel, sub)| Ok((channel, subscription(old, sub)?)));
            let subs = subs.collect::<Result<_, String>>()?;
            reply.connect = Some(ConnectResult { client, version, subs, ..ConnectResult::default() });
        }
        Some(Method::Subscribe) => reply.subscribe = Some(subscription(old, parse(result)?)?),
        Some(Method::Unsubscribe) => reply.unsubscribe = Some(Default::default()),
        None => return Err(format!("a reply to nothing: {line}")),
    }
    Ok(reply)
}

fn push(old: Old, text: &str) -> Result<Push, String> {
    let RawPush { kind, channel, data } = parse(text)?;
    let mut push = Push { channel, ..Push::default() };
    match kind {
        0 => {
            let (position, publication) = publication(parse(data.get())?);
            push.publication = Some(Publication { offset: old.offset(position)?, ..publication });
        }
        1 => push.join = Some(Default::default()),
        2 => push.leave = Some(Default::default()),
        3 => {
            let RawUnsub { resubscribe } = parse(data.get())?;
            let code = if resubscribe { 2999 } else { 2000 };
            push.unsubscribe = Some(Unsubscribe { code, ..Unsubscribe::default() });
        }
        4 => push.message = Some(Default::default()),
        5 => push.subscribe = Some(Default::default()),
        other => return Err(format!("a push of type {other}")),
    }
    Ok(push)
}

fn publication(raw: RawPublication<'_>) -> (Position, Publication) {
    let RawPublication { seq, generation, offset, data } = raw;
    let data = data.get().to_owned().into();
    (Position { seq, generation, offset }, Publication { data, ..Publication::default() })
}

fn subscription(old: Old, raw: RawSubscription<'_>) -> Result<SubscribeResult, String> {
    let RawSubscription { recoverable, recovered, epoch, seq, generation, offset, publications } = raw;
    Ok(SubscribeResult {
        recoverable,
        positioned: recoverable,
        recovered,
        epoch,
        offset: old.offset(Position { seq, generation, offset })?,
        publications: old.ordered(publications.into_iter().map(publication).collect())?,
        ..SubscribeResult::default()
    })
}
