//! Headers that go with a request to the back end.
//!
//! Of three sources, the first that has a header counts: the client's request, where the option lists it; the headers
//! of its connect command, which the client chooses freely and which have a list of their own; the constant headers of
//! the options. A header of a connect command never stands for one of the request.

use super::request::Origin;
use crate::secret::Secret;
use http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName,
    HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
    USER_AGENT,
};
use spinward::identity::Transport;
use std::collections::BTreeMap;
use thiserror::Error;

/// Headers of a connection (RFC 9110 §7.6.1), and those that describe the request itself.
fn is_reserved(name: &HeaderName) -> bool {
    const RESERVED: [HeaderName; 12] = [
        CONNECTION,
        HOST,
        CONTENT_LENGTH,
        CONTENT_TYPE,
        CONTENT_ENCODING,
        ACCEPT_ENCODING,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ];
    RESERVED.contains(name) || matches!(name.as_str(), "keep-alive" | "proxy-connection")
}

/// The same for gRPC, whose library has names of its own.
fn is_reserved_in_grpc(name: &HeaderName) -> bool {
    is_reserved(name) || *name == USER_AGENT || name.as_str().starts_with("grpc-") || is_binary(name)
}

fn is_binary(name: &HeaderName) -> bool {
    name.as_str().ends_with("-bin")
}

/// A header of the options that cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not a header that can be sent")]
pub(super) struct BadHeader(pub(super) String);

/// The headers that go with requests of one proxy.
#[derive(Debug, Default)]
pub(super) struct Headers {
    http: Vec<HeaderName>,
    grpc: Vec<HeaderName>,
    emulated: Vec<HeaderName>,
    constant: HeaderMap,
    /// The back end is called by gRPC.
    to_grpc: bool,
}

/// Headers for a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Selected {
    pub(super) headers: HeaderMap,
    /// Headers that gRPC cannot carry, and that were left out.
    pub(super) left_out: u32,
}

fn names(listed: &[String]) -> Result<Vec<HeaderName>, BadHeader> {
    listed.iter().map(|name| name.trim().parse().map_err(|_| BadHeader(name.clone()))).collect()
}

impl Headers {
    pub(super) fn new(
        (http, grpc, emulated): (&[String], &[String], &[String]),
        constant: &BTreeMap<String, Secret>,
        to_grpc: bool,
    ) -> Result<Self, BadHeader> {
        let mut headers = Self {
            http: names(http)?,
            grpc: names(grpc)?,
            emulated: names(emulated)?,
            constant: HeaderMap::new(),
            to_grpc,
        };
        for (name, value) in constant {
            headers.add(name, value)?;
        }
        Ok(headers)
    }

    /// Adds a constant header.
    pub(super) fn add(&mut self, name: &str, value: &Secret) -> Result<(), BadHeader> {
        let bad = || BadHeader(name.to_owned());
        let header: HeaderName = name.trim().parse().map_err(|_| bad())?;
        let mut value = HeaderValue::from_bytes(value.expose().as_bytes()).map_err(|_| bad())?;
        if self.to_grpc && value.to_str().is_err() {
            return Err(bad());
        }
        value.set_sensitive(true);
        if !self.is_reserved(&header) {
            self.constant.insert(header, value);
        }
        Ok(())
    }

    fn is_reserved(&self, name: &HeaderName) -> bool {
        if self.to_grpc { is_reserved_in_grpc(name) } else { is_reserved(name) }
    }

    /// Selects the headers of a request.
    ///
    /// # Errors
    /// A header of the connect command has a value that no header can have, such as a line break.
    pub(super) fn select(&self, origin: &Origin<'_>) -> Result<Selected, BadHeader> {
        let mut selected = Selected { headers: self.constant.clone(), left_out: 0 };
        let usable = |name: &&HeaderName| !self.is_reserved(name);
        for name in self.emulated.iter().filter(usable) {
            if let Some(value) = origin.emulated.and_then(|emulated| emulated.get(name.as_str())) {
                let value = HeaderValue::from_bytes(value.as_bytes());
                let value = value.map_err(|_| BadHeader(name.to_string()))?;
                self.put(&mut selected, name, std::iter::once(value));
            }
        }
        let listed = if origin.transport == Transport::UniGrpc { &self.grpc } else { &self.http };
        for name in listed.iter().filter(usable) {
            let values = origin.headers.map(|headers| headers.get_all(name));
            self.put(&mut selected, name, values.iter().flatten().cloned());
        }
        Ok(selected)
    }

    /// Replaces a header, if there is a value.
    fn put(&self, selected: &mut Selected, name: &HeaderName, values: impl Iterator<Item = HeaderValue>) {
        let mut first = true;
        for value in values {
            if self.to_grpc && value.to_str().is_err() {
                // Metadata is ASCII. Centrifugo v6.9 fails each call that has such a value.
                selected.left_out += 1;
            } else if std::mem::take(&mut first) {
                selected.headers.insert(name, value);
            } else {
                selected.headers.append(name, value);
            }
        }
    }

    /// Names of the client's headers that may go with a request.
    pub(super) fn of_requests(&self) -> impl Iterator<Item = &HeaderName> {
        self.http.iter().chain(&self.grpc).filter(|name| !self.is_reserved(name))
    }

    /// Names of headers of connect commands that may go with a request.
    pub(super) fn of_commands(&self) -> impl Iterator<Item = &HeaderName> {
        self.emulated.iter().filter(|name| !self.is_reserved(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(to_grpc: bool) -> Headers {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let http =
            list(&["X-Listed", "cookie", "Connection", "Host", "Content-Length", "User-Agent", "x-both"]);
        let constant =
            [("x-both", "constant"), ("x-only", "constant"), ("host", "h"), ("transfer-encoding", "chunked")];
        let constant =
            constant.into_iter().map(|(name, value)| (name.to_owned(), Secret::new(value))).collect();
        let lists = (&*http, &*list(&["x-meta"]), &*list(&["X-Emu", "x-both", "Content-Type"]));
        Headers::new(lists, &constant, to_grpc).unwrap()
    }

    fn select(
        to_grpc: bool,
        transport: Transport,
        sent: &[(&str, &str)],
        emulated: &[(&str, &str)],
    ) -> Result<Vec<String>, BadHeader> {
        let mut real = HeaderMap::new();
        for (name, value) in sent {
            real.append(
                name.parse::<HeaderName>().unwrap(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        let emulated =
            emulated.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let origin = Origin { transport, headers: Some(&real), emulated: Some(&emulated) };
        let selected = headers(to_grpc).select(&origin)?;
        let mut shown: Vec<String> = selected
            .headers
            .iter()
            .map(|(name, value)| format!("{name}={}", String::from_utf8_lossy(value.as_bytes())))
            .collect();
        shown.sort();
        Ok(shown)
    }

    #[test]
    fn headers_of_the_request_come_before_those_of_the_command() {
        let select =
            |sent: &[_], emulated: &[_]| select(false, Transport::WebSocket, sent, emulated).unwrap();
        assert_eq!(select(&[], &[]), ["x-both=constant", "x-only=constant"]);
        assert_eq!(select(&[], &[("x-both", "e")]), ["x-both=e", "x-only=constant"]);
        assert_eq!(select(&[("x-both", "r")], &[("x-both", "e")]), ["x-both=r", "x-only=constant"]);
        // Listed for requests only: a client cannot choose it.
        assert_eq!(
            select(&[], &[("x-listed", "e"), ("cookie", "e")]),
            ["x-both=constant", "x-only=constant"]
        );
        let twice = select(&[("x-listed", "1"), ("x-listed", "2"), ("x-other", "3"), ("x-emu", "4")], &[]);
        assert_eq!(twice, ["x-both=constant", "x-listed=1", "x-listed=2", "x-only=constant"]);
    }

    #[test]
    fn what_belongs_to_a_connection_is_never_sent_on() {
        let sent = [
            ("connection", "close"),
            ("host", "a"),
            ("content-length", "9"),
            ("user-agent", "b"),
            ("te", "x"),
        ];
        let shown = select(false, Transport::WebSocket, &sent, &[("content-type", "text/plain")]).unwrap();
        assert_eq!(shown, ["user-agent=b", "x-both=constant", "x-only=constant"]);
        let shown = select(true, Transport::WebSocket, &sent, &[]).unwrap();
        assert_eq!(shown, ["x-both=constant", "x-only=constant"]);
    }

    #[test]
    fn a_line_break_does_not_become_a_header() {
        for value in ["a\r\nx-injected: b", "a\nb", "a\rb", "\0"] {
            let selected = select(false, Transport::WebSocket, &[], &[("x-emu", value)]);
            assert_eq!(selected, Err(BadHeader("x-emu".to_owned())), "{value:?}");
        }
    }

    #[test]
    fn metadata_has_a_list_of_its_own() {
        let sent = [("x-meta", "m"), ("x-listed", "l")];
        let shown = select(false, Transport::UniGrpc, &sent, &[]).unwrap();
        assert_eq!(shown, ["x-both=constant", "x-meta=m", "x-only=constant"]);
        let shown = select(true, Transport::WebSocket, &[("x-listed", "ü"), ("x-both", "r")], &[]).unwrap();
        assert_eq!(shown, ["x-both=r", "x-only=constant"], "metadata is ASCII");
    }

    #[test]
    fn debug_hides_constant_headers() {
        let mut headers = Headers::default();
        headers.add("x-key", &Secret::new("canary")).unwrap();
        assert!(!format!("{headers:?}").contains("canary"));
        assert!(headers.add("x key", &Secret::new("canary")).is_err());
        let error = headers.add("x-key", &Secret::new("canary\n")).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("canary"));
    }
}
