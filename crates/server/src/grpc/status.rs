//! Outcomes of calls.

use crate::http::{Answer, empty, plain};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use prost::Message;
use std::fmt::Write;

/// The content type of every answer.
pub(super) const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// Status code of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Code {
    Ok = 0,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    Unauthenticated = 16,
}

/// Outcome of a call: a code, and a text for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Status {
    pub(crate) code: Code,
    pub(crate) message: String,
    /// The outcome as a message with details, in base64.
    details: Option<HeaderValue>,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
struct Detailed {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Detail>,
}

/// `google.protobuf.Any`: a message, and its name in the form of a URL.
#[derive(Clone, PartialEq, Message)]
struct Detail {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

impl Status {
    /// The outcome of a call that has succeeded.
    pub(crate) const OK: Self = Self { code: Code::Ok, message: String::new(), details: None };

    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: None }
    }

    /// Adds a message of this full name, for clients that read more than the code.
    pub(crate) fn with_detail(self, name: &str, detail: &impl Message) -> Self {
        let value = detail.encode_to_vec().into();
        let detailed = Detailed {
            code: self.code as i32,
            message: self.message.clone(),
            details: vec![Detail { type_url: format!("type.googleapis.com/{name}"), value }],
        };
        // base64 fits a header.
        let details = HeaderValue::try_from(STANDARD_NO_PAD.encode(detailed.encode_to_vec())).ok();
        Self { details, ..self }
    }

    /// The trailers of an answer.
    pub(crate) fn trailers(&self) -> HeaderMap {
        let mut trailers = HeaderMap::with_capacity(3);
        trailers.insert(STATUS, HeaderValue::from(self.code as u16));
        if let Some(message) = escaped(&self.message) {
            trailers.insert(MESSAGE, message);
        }
        if let Some(details) = &self.details {
            trailers.insert(DETAILS, details.clone());
        }
        trailers
    }

    /// The answer to a call that fails before it has an answer: the trailers alone.
    pub(crate) fn answer(&self) -> Answer {
        let mut answer = empty(StatusCode::OK);
        answer.headers_mut().insert(CONTENT_TYPE, GRPC);
        answer.headers_mut().extend(self.trailers());
        answer
    }

    /// The answer to a request that is not a call. Clients that speak HTTP alone see the status of HTTP.
    pub(super) fn of_http(status: StatusCode, message: &str) -> Response<crate::http::Body> {
        let mut answer = plain(status, message);
        answer.headers_mut().extend(Self::new(Code::Internal, message).trailers());
        answer
    }
}

/// Text as a header holds it: what is not printable ASCII, and the percent sign, as escapes of its bytes.
fn escaped(text: &str) -> Option<HeaderValue> {
    if text.is_empty() {
        return None;
    }
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    HeaderValue::from_str(&out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_escaped() {
        let shown = |text: &str| escaped(text).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(shown("unknown service a.B"), Some("unknown service a.B".to_owned()));
        assert_eq!(shown("100% of é\n"), Some("100%25 of %C3%A9%0A".to_owned()));
        assert_eq!(shown(""), None);
    }

    #[test]
    fn details_say_the_same_as_the_outcome() {
        let error = crate::grpc::proto::api::Error { code: 102, message: "unknown channel".to_owned() };
        let status = Status::new(Code::NotFound, "unknown channel").with_detail("a.Error", &error);
        let details = STANDARD_NO_PAD.decode(status.trailers()[DETAILS].as_bytes()).unwrap();
        let read = Detailed::decode(&*details).unwrap();
        assert_eq!((read.code, read.message.as_str(), read.details.len()), (5, "unknown channel", 1));
        assert_eq!(read.details[0].type_url, "type.googleapis.com/a.Error");
        assert_eq!(crate::grpc::proto::api::Error::decode(read.details[0].value.clone()), Ok(error));
    }

    #[test]
    fn trailers_of_an_outcome() {
        let trailers = Status::new(Code::Unavailable, "gone").trailers();
        assert_eq!(
            (&trailers[STATUS], &trailers[MESSAGE]),
            (&"14".parse().unwrap(), &"gone".parse().unwrap())
        );
        assert_eq!(Status::OK.trailers().len(), 1);
        let answer = Status::new(Code::Unimplemented, "no").answer();
        assert_eq!((answer.status(), &answer.headers()[STATUS]), (StatusCode::OK, &"12".parse().unwrap()));
    }
}
