//! Calls over gRPC, with messages that are written by hand from the numbers of the public schema.

use super::failure::Failure;
use super::gzip;
use super::http::sent;
use super::messages::{Answered, InEnvelope};
use super::request::{Event, Payload, Request};
use super::stream::Outgoing;
use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TE};
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use prost::encoding::{btree_map as wire_map, bytes as wire_bytes, string as wire_string};
use reqwest::{Client, Url};
use std::time::Duration;
use tokio::sync::mpsc;

/// The path of the service.
const SERVICE: &str = "/centrifugal.centrifugo.proxy.CentrifugoProxy/";
/// Bytes before a message.
const HEAD: usize = 5;

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const ACCEPT: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const GZIP: HeaderValue = HeaderValue::from_static("gzip");

/// A way to a back end over gRPC.
pub(super) struct Grpc {
    client: Client,
    url: Url,
    compression: bool,
    timeout: Duration,
    max_response: usize,
}

impl Grpc {
    /// Calls the method of an event at this base address.
    pub(super) fn new(
        client: Client,
        mut url: Url,
        event: Event,
        (compression, timeout, max_response): (bool, Duration, usize),
    ) -> Self {
        url.set_path(&format!("{SERVICE}{}", event.method()));
        Self { client, url, compression, timeout, max_response }
    }

    /// The address of the method.
    pub(super) const fn url(&self) -> &Url {
        &self.url
    }

    /// Makes a call. It is never made twice.
    pub(super) async fn call<R: InEnvelope>(
        &self,
        mut headers: HeaderMap,
        message: Bytes,
    ) -> Result<Answered<R>, Failure> {
        if let Ok(timeout) = HeaderValue::from_str(&format!("{}m", self.timeout.as_millis().min(99_999_999)))
        {
            headers.insert(TIMEOUT, timeout);
        }
        let body = framed(&message, self.compression).into();
        let mut incoming = self.begin(self.url.clone(), headers, body).await?;
        let message = incoming.next().await?.ok_or(Failure::Malformed)?;
        // There is one message, and then the status.
        if incoming.next().await?.is_some() {
            return Err(Failure::Malformed);
        }
        R::answered(message).map_err(|_| Failure::Malformed)
    }

    /// Opens a stream. With `both_ways`, the client's publications go to the back end by what is returned.
    pub(super) async fn open(
        &self,
        headers: HeaderMap,
        message: Bytes,
        both_ways: bool,
    ) -> Result<(Incoming, Option<mpsc::Sender<Bytes>>), Failure> {
        let mut url = self.url.clone();
        let method = if both_ways { "SubscribeBidirectional" } else { "SubscribeUnidirectional" };
        url.set_path(&format!("{SERVICE}{method}"));
        let (body, publications) = if both_ways {
            let (body, publications) = Outgoing::new(&message, self.compression);
            (reqwest::Body::wrap(body), Some(publications))
        } else {
            (framed(&message, self.compression).into(), None)
        };
        Ok((self.begin(url, headers, body).await?, publications))
    }

    /// Sends a request, and reads the head of its response.
    async fn begin(
        &self,
        url: Url,
        mut headers: HeaderMap,
        body: reqwest::Body,
    ) -> Result<Incoming, Failure> {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(ACCEPT, HeaderValue::from_static("gzip, identity"));
        if self.compression {
            headers.insert(ENCODING, GZIP);
        }
        let mut request = reqwest::Request::new(Method::POST, url);
        *request.headers_mut() = headers;
        *request.body_mut() = Some(body);
        let response = self.client.execute(request).await.map_err(|error| sent(&error))?;
        let (parts, body) = http::Response::from(response).into_parts();
        if parts.status != StatusCode::OK {
            return Err(Failure::Status(parts.status.as_u16()));
        }
        // An outcome without a message has its status among the headers.
        if let Some(status) = parts.headers.get(STATUS) {
            succeeded(Some(status))?;
        }
        let packed = parts.headers.get(ENCODING) == Some(&GZIP);
        Ok(Incoming { body, bytes: BytesMut::new(), packed, max: self.max_response })
    }
}

/// The messages of a response.
pub(super) struct Incoming {
    body: reqwest::Body,
    bytes: BytesMut,
    /// Messages may be compressed.
    packed: bool,
    /// Size of a message, at most.
    max: usize,
}

impl Incoming {
    /// Reads the next message. `None` is the end, with status 0. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            if let Some(message) = take(&mut self.bytes, self.packed, self.max)? {
                return Ok(Some(message));
            }
            let trailers = match self.body.frame().await.transpose().map_err(|error| sent(&error))? {
                Some(frame) => match frame.into_data() {
                    Ok(data) => {
                        self.bytes.extend_from_slice(&data);
                        continue;
                    }
                    Err(frame) => frame.into_trailers().unwrap_or_default(),
                },
                None => HeaderMap::new(),
            };
            succeeded(trailers.get(STATUS))?;
            return if self.bytes.is_empty() { Ok(None) } else { Err(Failure::Malformed) };
        }
    }
}

/// Returns an error for any status but 0.
fn succeeded(status: Option<&HeaderValue>) -> Result<(), Failure> {
    let status = status.and_then(|status| status.to_str().ok()).and_then(|status| status.parse().ok());
    match status {
        Some(0) => Ok(()),
        // Unavailable: what stands before the back end has no connection to it.
        Some(14) => Err(Failure::Connect),
        Some(4) => Err(Failure::Timeout),
        Some(status) => Err(Failure::Status(status)),
        None => Err(Failure::Malformed),
    }
}

/// A message with its head.
pub(super) fn framed(message: &[u8], compression: bool) -> Vec<u8> {
    let packed = compression.then(|| gzip::pack(message)).flatten();
    let message = packed.as_deref().unwrap_or(message);
    let mut framed = Vec::with_capacity(HEAD + message.len());
    framed.put_u8(packed.is_some().into());
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(message);
    framed
}

/// Takes the first message out of what has come, if it is whole.
fn take(bytes: &mut BytesMut, packed: bool, max: usize) -> Result<Option<Bytes>, Failure> {
    let Some([compressed, length @ ..]) = bytes.first_chunk::<HEAD>().copied() else { return Ok(None) };
    let length = u32::from_be_bytes(length) as usize;
    if length > max {
        return Err(Failure::TooLarge);
    }
    if bytes.len() < HEAD + length {
        return Ok(None);
    }
    let message = bytes.split_to(HEAD + length).freeze().slice(HEAD..);
    match compressed {
        0 => Ok(Some(message)),
        1 if packed => gzip::unpack(&message, max).map(Bytes::from).map(Some).ok_or(Failure::Malformed),
        _ => Err(Failure::Malformed),
    }
}

/// Numbers of the fields in which requests differ.
struct Numbers {
    user: u32,
    /// The channel or method.
    about: u32,
    data: u32,
    b64data: u32,
    meta: u32,
    labels: u32,
}

impl Numbers {
    /// 0 stands for a field that the message does not have.
    const fn of(event: Event) -> Self {
        match event {
            Event::Connect => Self { user: 0, about: 0, data: 10, b64data: 11, meta: 0, labels: 0 },
            Event::Refresh => Self { user: 10, about: 0, data: 0, b64data: 0, meta: 11, labels: 12 },
            Event::Subscribe | Event::SubscribeStream => {
                Self { user: 10, about: 11, data: 14, b64data: 15, meta: 13, labels: 16 }
            }
            Event::Publish | Event::Rpc => {
                Self { user: 10, about: 11, data: 12, b64data: 13, meta: 14, labels: 15 }
            }
            Event::SubRefresh => Self { user: 10, about: 11, data: 0, b64data: 0, meta: 12, labels: 13 },
            // Of no client: see `notify`.
            Event::CacheEmpty | Event::State | Event::ClientEvents => {
                Self { user: 0, about: 0, data: 0, b64data: 0, meta: 0, labels: 0 }
            }
        }
    }
}

/// Writes a request.
pub(super) fn write(event: Event, request: &Request<'_>) -> Bytes {
    let numbers = Numbers::of(event);
    let mut out = BytesMut::new();
    let mut text = |number: u32, value: &str| {
        if number > 0 && !value.is_empty() {
            wire_string::encode(number, &value.to_owned(), &mut out);
        }
    };
    text(1, &request.client);
    text(2, request.transport);
    text(3, request.protocol);
    text(4, request.encoding());
    text(numbers.user, request.user.unwrap_or_default());
    text(numbers.about, if event == Event::Rpc { request.method } else { request.channel });
    if let Payload::Base64(data) = &request.payload {
        text(numbers.b64data, data);
    }
    if event == Event::Connect {
        text(12, request.name);
        text(13, request.version);
        wire_string::encode_repeated(14, request.channels, &mut out);
    }
    let mut data = |number: u32, value: &Bytes| {
        if number > 0 && !value.is_empty() {
            wire_bytes::encode(number, value, &mut out);
        }
    };
    if let Payload::Plain(payload) = request.payload {
        data(numbers.data, payload);
    }
    if let Some(meta) = request.meta {
        data(numbers.meta, meta);
    }
    if let Some(labels) = request.labels {
        wire_map::encode(
            wire_string::encode,
            wire_string::encoded_len,
            wire_string::encode,
            wire_string::encoded_len,
            numbers.labels,
            labels,
            &mut out,
        );
    }
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::super::messages::{Error, RpcResult};
    use super::*;
    use crate::session::Sender;
    use prost::Message;
    use spinward::Client as Peer;
    use spinward::id::ClientId;
    use spinward::identity::Identity;
    use spinward::publication::Tags;

    #[test]
    fn messages_have_a_head() {
        let taken = |bytes: &[u8], packed, max| {
            let mut bytes = BytesMut::from(bytes);
            take(&mut bytes, packed, max).map(|message| (message, bytes.len()))
        };
        let plain = framed(b"abc", false);
        assert_eq!(plain, b"\0\0\0\0\x03abc");
        assert_eq!(taken(&[&plain[..], b"\0"].concat(), false, 3), Ok((Some("abc".into()), 1)));
        for part in 0..plain.len() {
            assert_eq!(taken(&plain[..part], false, 3), Ok((None, part)), "the rest is to come");
        }
        assert_eq!(taken(&plain[..HEAD], false, 2), Err(Failure::TooLarge), "known before it has come");
        let packed = framed(b"abc", true);
        assert_eq!(taken(&packed, true, 100), Ok((Some("abc".into()), 0)));
        assert_eq!(taken(&packed, false, 100), Err(Failure::Malformed), "not agreed on");
        let bomb = framed(&[0; 10_000], true);
        assert_eq!(taken(&bomb, true, 9_999), Err(Failure::Malformed), "too large when unpacked");
        assert_eq!(taken(b"\x02\0\0\0\0", true, 10), Err(Failure::Malformed));
    }

    #[test]
    fn a_status_is_an_outcome() {
        let outcome = |status: &str| succeeded(Some(&HeaderValue::from_str(status).unwrap()));
        assert_eq!(outcome("0"), Ok(()));
        assert_eq!(outcome("5"), Err(Failure::Status(5)));
        assert_eq!(outcome("14"), Err(Failure::Connect));
        assert_eq!(outcome("x"), Err(Failure::Malformed));
        assert_eq!(succeeded(None), Err(Failure::Malformed));
    }

    /// A message of the same schema, in prost's words.
    #[derive(Clone, PartialEq, Message)]
    struct RpcRequest {
        #[prost(string, tag = "1")]
        client: String,
        #[prost(string, tag = "4")]
        encoding: String,
        #[prost(string, tag = "10")]
        user: String,
        #[prost(string, tag = "11")]
        method: String,
        #[prost(bytes = "bytes", tag = "12")]
        data: Bytes,
        #[prost(bytes = "bytes", tag = "14")]
        meta: Bytes,
        #[prost(btree_map = "string, string", tag = "15")]
        labels: Tags,
    }

    #[test]
    fn requests_have_the_numbers_of_the_schema() {
        let labels = Tags::from([("plan".to_owned(), "free".to_owned())]);
        let shared = Some(std::sync::Arc::new(labels.clone()));
        let identity = Identity {
            meta: "{}".into(),
            labels: shared,
            ..Identity::new(ClientId::from_random([1; 16]), "u")
        };
        let peer = Peer::detached(identity);
        let from = Sender { client: &peer, headers: None, emulated: None };
        let data = Bytes::from_static(b"\0\xff");
        let request = Request { method: "m", ..Request::of(&from, false, true).data(&data) };
        let read = RpcRequest::decode(write(Event::Rpc, &request)).unwrap();
        let expected = RpcRequest {
            client: peer.id().to_string(),
            encoding: "json".into(),
            user: "u".into(),
            method: "m".into(),
            data,
            meta: "{}".into(),
            labels,
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn answers_are_envelopes() {
        let error = Error { code: 1000, message: "m".into(), temporary: true };
        let mut bytes = vec![0x12];
        error.encode_length_delimited(&mut bytes).unwrap();
        let answered = RpcResult::answered(bytes.into()).unwrap();
        assert_eq!(answered, Answered { error: Some(error), ..Answered::EMPTY });
    }
}
