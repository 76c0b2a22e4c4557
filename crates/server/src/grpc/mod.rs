//! gRPC over hyper's HTTP/2. Its framing is thin: a call is a request, its message has a head of five bytes, and its
//! outcome is in the trailers. What is here serves every gRPC port of the server.

pub(crate) mod descriptors;
mod health;
mod message;
pub(crate) mod proto;
mod reflection;
mod status;
mod stream;

pub(crate) use health::Health;
pub(crate) use message::Messages;
pub(crate) use reflection::Reflection;
pub(crate) use status::{Code, Status};
pub(crate) use stream::{stream, unary};

use crate::http::{Answer, Limits};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{Method, StatusCode, Version};
use std::time::Duration;

/// Most bytes of a message, unless an option says otherwise.
pub(crate) const MAX_MESSAGE: usize = 4 << 20;

/// Limits of a connection of a gRPC port. A client has many calls on one connection: one of them that is not read must
/// not cost the others theirs, and has limits of its own. A peer that is gone is noticed by pings.
pub(crate) fn limits(limits: Limits) -> Limits {
    let keep_alive = Some((Duration::from_secs(25), Duration::from_secs(5)));
    Limits { http2: true, streams: 1_000, answer: None, keep_alive, ..limits }
}

/// Returns service and method of a call, or the answer to a request that is not a call.
#[allow(clippy::result_large_err, reason = "it is the answer, and moved once")]
pub(crate) fn called(parts: &Parts) -> Result<(&str, &str), Answer> {
    if parts.version < Version::HTTP_2 {
        return Err(Status::of_http(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "gRPC needs HTTP/2"));
    }
    if parts.method != Method::POST {
        return Err(Status::of_http(StatusCode::METHOD_NOT_ALLOWED, "gRPC calls are POST requests"));
    }
    let kind = parts.headers.get(CONTENT_TYPE).map_or(&b""[..], |kind| kind.as_bytes());
    // `application/grpc+json` and others name codecs that are not here.
    let is_grpc = kind.strip_prefix(b"application/grpc").is_some_and(|rest| {
        rest.is_empty() || rest.starts_with(b";") || rest == b"+proto" || rest.starts_with(b"+proto;")
    });
    if !is_grpc {
        return Err(Status::of_http(StatusCode::UNSUPPORTED_MEDIA_TYPE, "invalid gRPC request content-type"));
    }
    let path = parts.uri.path();
    let named = path.strip_prefix('/').and_then(|path| path.rsplit_once('/'));
    named.ok_or_else(|| Status::new(Code::Unimplemented, format!("malformed method name: {path:?}")).answer())
}

/// The outcome of a call to a service that the port does not have.
pub(crate) fn unknown_service(service: &str) -> Status {
    Status::new(Code::Unimplemented, format!("unknown service {service}"))
}

/// The outcome of a call to a method that the service does not have.
pub(crate) fn unknown_method(service: &str, method: &str) -> Status {
    Status::new(Code::Unimplemented, format!("unknown method {method} for service {service}"))
}

/// The outcome of a call whose message does not have the form of the schema.
pub(crate) fn undecodable(error: &prost::DecodeError) -> Status {
    Status::new(Code::Internal, format!("error unmarshalling request: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn parts(method: &str, path: &str, kind: &str) -> Parts {
        let request = Request::builder().method(method).version(Version::HTTP_2).uri(path);
        request.header(CONTENT_TYPE, kind).body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_call_names_service_and_method() {
        for kind in ["application/grpc", "application/grpc+proto", "application/grpc;a=b"] {
            assert_eq!(called(&parts("POST", "/a.b.C/D", kind)).unwrap(), ("a.b.C", "D"), "{kind}");
        }
        let status = |method, path, kind| called(&parts(method, path, kind)).unwrap_err().status().as_u16();
        assert_eq!(status("GET", "/a/b", "application/grpc"), 405);
        for kind in ["", "application/json", "application/grpc-web", "application/grpc+json"] {
            assert_eq!(status("POST", "/a/b", kind), 415, "{kind}");
        }
        assert_eq!(status("POST", "/a", "application/grpc"), 200, "an outcome of gRPC");
        let mut old = parts("POST", "/a/b", "application/grpc");
        old.version = Version::HTTP_11;
        assert_eq!(called(&old).unwrap_err().status().as_u16(), 505);
    }
}
