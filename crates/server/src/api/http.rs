//! The server API over HTTP: a path per method, `batch`, and the old single endpoint.

use super::command::Command;
use super::reply::{ApiError, Reply, append_error};
use super::table::{by_any_name, by_name, by_number, of_batch};
use super::{Api, all};
use crate::params::{Malformed, Params};
use crate::secret::Secret;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, Response, StatusCode, Uri};
use http_body_util::Full;
use serde_json::value::RawValue;
use spinward::Done;
use spinward::transport::websocket::query_value;
use std::borrow::Cow;

/// Settings of the HTTP endpoint.
#[derive(Debug)]
pub struct HttpSettings {
    /// `http_api.handler_prefix`.
    pub prefix: String,
    /// `http_api.key`; empty refuses everyone.
    pub key: Secret,
    /// `http_api.insecure`: no key is asked for.
    pub insecure: bool,
    /// `http_api.disable_query_key`: the key is not taken from the query.
    pub no_query_key: bool,
    /// `http_api.error_mode` is `transport`.
    pub transport_errors: bool,
    /// Most bytes of a body.
    pub max_body: usize,
    /// Most commands of a batch, and channels of a broadcast.
    pub max_batch: usize,
}

/// A response with its body in memory.
pub type Answer = Response<Full<Bytes>>;

impl HttpSettings {
    /// The part of a path behind the prefix: `Some("")` is the old endpoint, `Some("publish")` a method.
    #[must_use]
    pub fn strip<'a>(&self, path: &'a str) -> Option<&'a str> {
        let rest = path.strip_prefix(self.prefix.as_str())?;
        if rest.is_empty() { Some("") } else { rest.strip_prefix('/').filter(|method| !method.is_empty()) }
    }

    /// Returns true if a request has the key. Compared in constant time.
    #[must_use]
    pub fn admits(&self, headers: &HeaderMap, uri: &Uri) -> bool {
        if self.insecure {
            return true;
        }
        let header = |name: &http::HeaderName| headers.get(name).map(HeaderValue::as_bytes);
        let in_header =
            header(&http::HeaderName::from_static("x-api-key")).map(<[u8]>::to_vec).or_else(|| {
                let (scheme, key) = header(&AUTHORIZATION)?.split_at_checked(6)?;
                let parted = key.first().is_some_and(u8::is_ascii_whitespace);
                (parted && scheme.eq_ignore_ascii_case(b"apikey")).then(|| key.trim_ascii().to_vec())
            });
        let in_query = query_value(uri, "api_key").filter(|_| !self.no_query_key).map(Cow::into_owned);
        let key = self.key.expose().as_bytes();
        let is_key = |shown: &Vec<u8>| bool::from(subtle::ConstantTimeEq::ct_eq(shown.as_slice(), key));
        // A wrong key in one place does not spoil the right one in the other.
        let shown = [in_header, in_query].iter().flatten().any(is_key);
        shown && !key.is_empty()
    }
}

/// The method that a path behind the prefix names: empty for the old endpoint, `batch`, or one of the table.
fn route(path: &str) -> Option<&'static str> {
    match path {
        "" => Some(""),
        "batch" => Some("batch"),
        path => by_name(path),
    }
}

/// Returns the answer that needs neither key nor body: for a path that does not exist, or a method other than POST.
pub(crate) fn misplaced(path: &str, method: &Method) -> Option<Answer> {
    if route(path).is_none() {
        return Some(plain(StatusCode::NOT_FOUND, "404 page not found"));
    }
    (method != Method::POST).then(|| empty(StatusCode::METHOD_NOT_ALLOWED))
}

/// The answer to a malformed call. As in Centrifugo v6.9 it does not say what is wrong; the log does.
pub(crate) fn malformed() -> Answer {
    plain(StatusCode::BAD_REQUEST, "Bad Request")
}

impl Api {
    /// Answers a POST below the prefix whose key is checked and whose body is read.
    ///
    /// # Errors
    /// The call is malformed. The response is then the one of `malformed`.
    pub async fn serve(
        &self,
        settings: &HttpSettings,
        path: &str,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Answer, Malformed> {
        let transport = settings.transport_errors
            || headers.get("x-centrifugo-error-mode").is_some_and(|mode| mode.as_bytes() == b"transport");
        let Some(name) = route(path) else {
            return Ok(plain(StatusCode::NOT_FOUND, "404 page not found"));
        };
        // Bytes that are not UTF-8 are replaced, as JSON texts have none. To look for them first is faster.
        let text = str::from_utf8(body).map_or_else(|_| String::from_utf8_lossy(body), Cow::Borrowed);
        match name {
            "" => self.serve_legacy(settings, &text).await,
            "batch" => self.serve_batch(settings, &text).await,
            name => self.serve_method(settings, name, &text, transport).await,
        }
    }

    async fn serve_method(
        &self,
        settings: &HttpSettings,
        name: &'static str,
        text: &str,
        transport: bool,
    ) -> Result<Answer, Malformed> {
        let command = read(settings, name, &Params::parse(text)?)?;
        let reply = self.call(command).await;
        let mut out = Vec::with_capacity(64);
        if let (Err(error), true) = (&reply, transport) {
            append_error(error, &mut out);
            return Ok(json(
                StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
                out,
            ));
        }
        append_envelope(&reply, None, &mut out);
        Ok(json(StatusCode::OK, out))
    }

    /// Commands one after another; replies in their order. `parallel` changes nothing that a caller could see:
    /// each command is answered from memory.
    async fn serve_batch(&self, settings: &HttpSettings, text: &str) -> Result<Answer, Malformed> {
        let params = Params::parse(text)?;
        let commands = match params.raw("commands") {
            None | Some("null") => Vec::new(),
            Some(text) => serde_json::from_str::<Vec<&RawValue>>(text).map_err(|_| Malformed("commands"))?,
        };
        let _: bool = params.get("parallel")?;
        if commands.len() > settings.max_batch {
            return Err(Malformed("commands"));
        }
        let mut parsed = Vec::with_capacity(commands.len());
        for command in &commands {
            parsed.push(if command.get() == "null" {
                Err(ApiError::BAD_REQUEST)
            } else {
                one_of(settings, command.get())?
            });
        }
        let mut out = b"{".to_vec();
        let mut revoking = Vec::new();
        if !parsed.is_empty() {
            out.extend_from_slice(b"\"replies\":[");
            for (at, command) in parsed.into_iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                self.append_batch_reply(command, &mut revoking, &mut out).await;
            }
            all(&mut revoking).await;
            out.push(b']');
        }
        out.push(b'}');
        Ok(json(StatusCode::OK, out))
    }

    async fn append_batch_reply(
        &self,
        command: Result<(&'static str, Command), ApiError>,
        revoking: &mut Vec<Done>,
        out: &mut Vec<u8>,
    ) {
        let (name, reply) = match command {
            Ok((name, command)) => (name, self.call_one_of_many(command, revoking).await),
            Err(error) => ("", Err(error)),
        };
        match reply {
            Ok(reply) => {
                out.extend_from_slice(b"{\"");
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(b"\":");
                reply.append(out);
            }
            Err(error) => {
                out.extend_from_slice(b"{\"error\":");
                append_error(&error, out);
            }
        }
        out.push(b'}');
    }

    /// Lines of `{"id","method","params"}`, answered line by line.
    async fn serve_legacy(&self, settings: &HttpSettings, text: &str) -> Result<Answer, Malformed> {
        let mut commands = Vec::new();
        for value in serde_json::Deserializer::from_str(text).into_iter::<&RawValue>() {
            let value = value.map_err(|_| Malformed(""))?;
            let envelope = Params::parse(value.get())?;
            let id: u32 = envelope.get("id")?;
            let name = match envelope.raw("method") {
                None => Some("publish"),
                Some("null") => return Err(Malformed("method")),
                Some(text) if text.starts_with('"') => {
                    Some(by_any_name(&envelope.string("method")?).ok_or(Malformed("method"))?)
                }
                Some(_) => by_number(envelope.get("method")?),
            };
            // From here on what is wrong is told in the reply to the command.
            let command = name.ok_or(ApiError::NOT_FOUND).and_then(|name| {
                // Calls without parameters are malformed here, but for the one that has none, as in Centrifugo v6.9.
                let params = match envelope.raw("params") {
                    _ if name == "info" => Params::parse("null"),
                    Some(params) => Params::parse(params),
                    None => Err(Malformed("params")),
                };
                params.and_then(|params| read(settings, name, &params)).map_err(|_| ApiError::BAD_REQUEST)
            });
            commands.push((id, command));
        }
        if commands.is_empty() || commands.len() > settings.max_batch {
            return Err(Malformed(""));
        }
        let (mut out, mut revoking) = (Vec::new(), Vec::new());
        for (at, (id, command)) in commands.into_iter().enumerate() {
            if at > 0 {
                out.push(b'\n');
            }
            let reply = match command {
                Ok(command) => self.call_one_of_many(command, &mut revoking).await,
                Err(error) => Err(error),
            };
            append_envelope(&reply, (id > 0).then_some(id), &mut out);
        }
        all(&mut revoking).await;
        Ok(json(StatusCode::OK, out))
    }
}

fn read(settings: &HttpSettings, name: &'static str, params: &Params<'_>) -> Result<Command, Malformed> {
    match Command::read(name, params)? {
        Command::Broadcast { channels, .. } if channels.len() > settings.max_batch => {
            Err(Malformed("channels"))
        }
        command => Ok(command),
    }
}

/// A command of a batch.
fn one_of(
    settings: &HttpSettings,
    text: &str,
) -> Result<Result<(&'static str, Command), ApiError>, Malformed> {
    let params = Params::parse(text)?;
    match of_batch(&params) {
        Some((name, value)) => Ok(Ok((name, read(settings, name, &Params::parse(value)?)?))),
        None => Ok(Err(ApiError::NOT_FOUND)),
    }
}

fn append_envelope(reply: &Result<Reply, ApiError>, id: Option<u32>, out: &mut Vec<u8>) {
    out.push(b'{');
    if let Some(id) = id {
        out.extend_from_slice(format!("\"id\":{id},").as_bytes());
    }
    match reply {
        Ok(reply) => {
            out.extend_from_slice(b"\"result\":");
            reply.append(out);
        }
        Err(error) => {
            out.extend_from_slice(b"\"error\":");
            append_error(error, out);
        }
    }
    out.push(b'}');
}

fn json(status: StatusCode, body: Vec<u8>) -> Answer {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A response without a body.
pub(crate) fn empty(status: StatusCode) -> Answer {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

/// A short text for people.
pub(crate) fn plain(status: StatusCode, text: &str) -> Answer {
    plain_line(status, format!("{text}\n"))
}

/// The same without a line feed.
pub(crate) fn plain_line(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
