//! Connections whose output is the body of a response: HTTP streaming and server-sent events.

use crate::plan::Plan;
use crate::protocol::Kind;
use std::fmt::Write as _;

/// Transport of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    WebSocket,
    HttpStream,
    Sse,
    UniHttpStream,
    UniSse,
}

impl Transport {
    pub(crate) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "websocket" => Self::WebSocket,
            "http_stream" => Self::HttpStream,
            "sse" => Self::Sse,
            "uni_http_stream" => Self::UniHttpStream,
            "uni_sse" => Self::UniSse,
            _ => return None,
        })
    }

    /// Path of the endpoint; `None` for WebSocket.
    const fn path(self) -> Option<&'static str> {
        match self {
            Self::WebSocket => None,
            Self::HttpStream => Some("/connection/http_stream"),
            Self::Sse => Some("/connection/sse"),
            Self::UniHttpStream => Some("/connection/uni_http_stream"),
            Self::UniSse => Some("/connection/uni_sse"),
        }
    }

    pub(crate) const fn is_unidirectional(self) -> bool {
        matches!(self, Self::UniHttpStream | Self::UniSse)
    }
}

/// The request that opens a stream, and the number of replies that it brings. `commands` are those of a bidirectional
/// client.
pub(crate) fn request(plan: &Plan, index: usize, commands: &[u8]) -> Option<(Vec<u8>, u32)> {
    let path = plan.transport.path()?;
    let (body, replies) = if plan.transport.is_unidirectional() {
        let mut subs = String::new();
        for subscription in 0..plan.subscriptions {
            let comma = if subscription > 0 { "," } else { "" };
            // Writing to a string does not fail.
            let _ = write!(subs, "{comma}\"{}\":{{}}", plan.channel(index, subscription));
        }
        let token = plan.signer.as_ref().map_or_else(String::new, |signer| signer.token(&plan.user(index)));
        (format!("{{\"token\":\"{token}\",\"subs\":{{{subs}}}}}").into_bytes(), 1)
    } else {
        (commands.to_vec(), u32::try_from(plan.subscriptions + 1).unwrap_or(u32::MAX))
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
        let kind = match line {
            b"{}" => Kind::Ping,
            line if line.starts_with(b"{\"push\"") || line.starts_with(b"{\"channel\"") => Kind::Push,
            _ => Kind::Reply,
        };
        each(kind, line);
    }
    used
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
}
