//! The end of a connection, as SDKs of that time read it: they look at the text, which is JSON, and not at the number.

use crate::code::DisconnectCode;
use crate::json::append_string;

/// Most bytes of the reason of a close frame (RFC 6455 §5.5).
const MAX_TEXT: usize = 123;

/// The number and the text of a close frame.
///
/// The number is that of Centrifugo v2.8 where it had one for the same end; the numbers of an application stay.
pub(crate) fn close(code: &DisconnectCode) -> (u16, String) {
    let mut reason = code.reason.as_ref();
    loop {
        let mut text = b"{\"reason\":".to_vec();
        append_string(reason, &mut text);
        text.extend_from_slice(b",\"reconnect\":");
        text.extend_from_slice(if code.reconnects() { b"true}" } else { b"false}" });
        let over = text.len().saturating_sub(MAX_TEXT);
        if over == 0 {
            // The parts are text.
            return (number(code), String::from_utf8(text).unwrap_or_default());
        }
        // An escape takes up to six bytes: less than is over may be enough.
        let cut = reason.len().saturating_sub(over.div_ceil(6));
        reason = &reason[..reason.floor_char_boundary(cut)];
    }
}

const fn number(code: &DisconnectCode) -> u16 {
    match code.code {
        // Invalid token.
        3500 => 3002,
        // Bad request.
        3501 => 3003,
        // Stale; a client that does not answer pings was one.
        3502 | 3012 => 3007,
        // Force disconnect, and every other end that is final.
        3503 | 3505..=3999 => 3012,
        // Connection limit.
        3504 => 3013,
        // Too many requests, state invalidated: ends after which a client is to come back.
        3013 | 3014 => 3011,
        other => other as u16,
    }
}
