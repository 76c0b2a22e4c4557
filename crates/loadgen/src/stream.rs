//! Transports other than WebSocket: connections whose output is the body of a response, the unidirectional ones, and
//! SockJS in a WebSocket.

use crate::http2;
use crate::plan::Plan;
use crate::protocol::{self, Kind};
use std::fmt::Write as _;

/// Transport of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    WebSocket,
    HttpStream,
    Sse,
    UniHttpStream,
    UniSse,
    UniWebSocket,
    UniGrpc,
    /// A WebSocket with SockJS frames.
    SockJs,
}

impl Transport {
    pub(crate) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "websocket" => Self::WebSocket,
            "http_stream" => Self::HttpStream,
            "sse" => Self::Sse,
            "uni_http_stream" => Self::UniHttpStream,
            "uni_sse" => Self::UniSse,
            "uni_websocket" => Self::UniWebSocket,
            "uni_grpc" => Self::UniGrpc,
            "sockjs" => Self::SockJs,
            _ => return None,
        })
    }

    /// Path of the endpoint whose response is the output; `None` for the others.
    const fn path(self) -> Option<&'static str> {
        match self {
            Self::WebSocket | Self::UniWebSocket | Self::UniGrpc | Self::SockJs => None,
            Self::HttpStream => Some("/connection/http_stream"),
            Self::Sse => Some("/connection/sse"),
            Self::UniHttpStream => Some("/connection/uni_http_stream"),
            Self::UniSse => Some("/connection/uni_sse"),
        }
    }

    /// Returns true for a transport of WebSocket frames.
    pub(crate) const fn has_frames(self) -> bool {
        matches!(self, Self::WebSocket | Self::UniWebSocket | Self::SockJs)
    }
}

/// The request that opens a stream, and the number of replies that it brings. `commands` are those of a bidirectional
/// client.
pub(crate) fn request(plan: &Plan, index: usize, commands: &[u8]) -> Option<(Vec<u8>, u32)> {
    if plan.transport == Transport::UniGrpc {
        let channels = (0..plan.subscriptions).map(|subscription| plan.channel(index, subscription));
        let token = plan.signer.as_ref().map_or_else(String::new, |signer| signer.token(&plan.user(index)));
        let mut request = http2::open(http2::LARGEST_WINDOW);
        http2::consume(&mut request, 1, &plan.address.to_string(), &token, channels);
        return Some((request, 1));
    }
    let path = plan.transport.path()?;
    let (body, replies) = match plan.transport {
        Transport::UniHttpStream | Transport::UniSse => (connect_request(plan, index), 1),
        _ => (commands.to_vec(), u32::try_from(plan.subscriptions + 1).unwrap_or(u32::MAX)),
    };
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        plan.address,
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(&body);
    Some((request, replies))
}

/// The connect request of a unidirectional client, in JSON.
pub(crate) fn connect_request(plan: &Plan, index: usize) -> Vec<u8> {
    let mut subs = String::new();
    for subscription in 0..plan.subscriptions {
        let comma = if subscription > 0 { "," } else { "" };
        // Writing to a string does not fail.
        let _ = write!(subs, "{comma}\"{}\":{{}}", plan.channel(index, subscription));
    }
    let token = plan.signer.as_ref().map_or_else(String::new, |signer| signer.token(&plan.user(index)));
    format!("{{\"token\":\"{token}\",\"subs\":{{{subs}}}}}").into_bytes()
}

/// Path of the WebSocket of a connection.
pub(crate) fn socket_path(plan: &Plan, index: usize) -> String {
    match plan.transport {
        Transport::UniWebSocket => "/connection/uni_websocket".to_owned(),
        Transport::SockJs => format!("/connection/sockjs/000/{}/websocket", plan.user(index)),
        _ => protocol::WEBSOCKET.to_owned(),
    }
}

/// The SockJS frame of a text: a list of one.
pub(crate) fn packed(text: &[u8]) -> Vec<u8> {
    serde_json::json!([String::from_utf8_lossy(text)]).to_string().into_bytes()
}

/// The texts of a SockJS frame; `None` for one that holds none.
pub(crate) fn unpacked(frame: &[u8]) -> Option<Vec<String>> {
    let [b'a', list @ ..] = frame else { return None };
    serde_json::from_slice(list).ok()
}

/// Calls `each` with every whole gRPC message in the data of a stream, and returns the number of bytes used.
pub(crate) fn grpc_messages(bytes: &[u8], mut each: impl FnMut(&[u8])) -> usize {
    const HEAD: usize = 5;
    let mut used = 0;
    while let Some([_, a, b, c, d]) = bytes[used..].first_chunk::<HEAD>() {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        let Some(message) = bytes[used + HEAD..].get(..length) else { break };
        each(message);
        used += HEAD + length;
    }
    used
}

/// Calls `each` with every whole message, and returns the number of bytes used. Chunk sizes and the empty lines of an event
/// stream are lines that hold no message.
pub(crate) fn messages(bytes: &[u8], mut each: impl FnMut(Kind, &[u8])) -> usize {
    let mut used = 0;
    while let Some(end) = memchr::memchr(b'\n', &bytes[used..]) {
        let line = &bytes[used..used + end];
        used += end + 1;
        let line = line.strip_prefix(b"data: ").unwrap_or(line);
        if line.first() != Some(&b'{') {
            continue;
        }
        each(kind(line), line);
    }
    used
}

/// Kind of a message in JSON.
pub(crate) fn kind(line: &[u8]) -> Kind {
    match line {
        b"{}" => Kind::Ping,
        line if line.starts_with(b"{\"push\"") || line.starts_with(b"{\"channel\"") => Kind::Push,
        _ => Kind::Reply,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_lines_whatever_is_around_them() {
        let mut seen = Vec::new();
        let text = b"\r\n9\r\ndata: {\"id\":1}\n\n\r\n2\r\n{}\n{\"push\":{}}\ndata: {\"channel\":\"a\"}\n\ndata: {\"id\"";
        let used = messages(text, |kind, line| {
            let kind = match kind {
                Kind::Ping => "ping",
                Kind::Push => "push",
                Kind::Reply => "reply",
            };
            seen.push((kind, String::from_utf8_lossy(line).into_owned()));
        });
        let expected = [
            ("reply", "{\"id\":1}"),
            ("ping", "{}"),
            ("push", "{\"push\":{}}"),
            ("push", "{\"channel\":\"a\"}"),
        ];
        assert_eq!(seen, expected.map(|(kind, line)| (kind, line.to_owned())));
        assert_eq!(&text[used..], b"data: {\"id\"");
    }

    #[test]
    fn frames_of_sockjs_are_lists_of_texts() {
        assert_eq!(packed(b"{\"id\":1}\n{}"), br#"["{\"id\":1}\n{}"]"#);
        assert_eq!(unpacked(br#"a["{}","x"]"#).unwrap(), ["{}", "x"]);
        assert!(unpacked(b"o").is_none() && unpacked(b"h").is_none() && unpacked(b"c[3000,\"x\"]").is_none());
    }

    #[test]
    fn messages_of_grpc_are_taken_whole() {
        let bytes = [0, 0, 0, 0, 2, b'a', b'b', 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, b'c'];
        let mut seen = Vec::new();
        assert_eq!(grpc_messages(&bytes, |message| seen.push(message.to_vec())), 12);
        assert_eq!(seen, [b"ab".to_vec(), Vec::new()]);
    }
}
