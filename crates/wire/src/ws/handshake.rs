//! The opening handshake, server side (RFC 6455 §4.2), over plain header values.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

/// The one protocol version there is, for the `Sec-WebSocket-Version` header of a refusal.
pub const VERSION: &str = "13";

/// Appended to the client's key before hashing (RFC 6455 §1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Why a request is no WebSocket handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// `Connection` does not list `upgrade`.
    #[error("header Connection must contain the token upgrade")]
    Connection,
    /// `Upgrade` does not list `websocket`.
    #[error("header Upgrade must contain the token websocket")]
    Upgrade,
    /// `Sec-WebSocket-Version` is absent or not 13. The refusal should name [`VERSION`] in that header.
    #[error("header Sec-WebSocket-Version must be 13")]
    Version,
    /// `Sec-WebSocket-Key` is absent or not 16 bytes in Base64.
    #[error("header Sec-WebSocket-Key must be 16 bytes in Base64")]
    Key,
}

impl HandshakeError {
    /// The HTTP status to refuse with: 426 for the version (RFC 6455 §4.4), else 400.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Version => 426,
            Self::Connection | Self::Upgrade | Self::Key => 400,
        }
    }
}

/// Judges the headers `Sec-WebSocket-Version`, `Sec-WebSocket-Key`, `Upgrade` and `Connection` of an
/// HTTP/1.1 GET. Where a header has several lines, join them with commas.
///
/// # Errors
/// The first thing that is wrong, in the order connection, upgrade, version, key.
pub fn check(
    version: Option<&str>,
    key: Option<&str>,
    upgrade: Option<&str>,
    connection: Option<&str>,
) -> Result<(), HandshakeError> {
    if !lists(connection, "upgrade") {
        return Err(HandshakeError::Connection);
    }
    if !lists(upgrade, "websocket") {
        return Err(HandshakeError::Upgrade);
    }
    check_version(version)?;
    if key.is_none_or(|key| !is_key(key)) {
        return Err(HandshakeError::Key);
    }
    Ok(())
}

/// Judges `Sec-WebSocket-Version` alone: all there is to check of an extended CONNECT (RFC 8441), which has
/// no key.
///
/// # Errors
/// [`HandshakeError::Version`] unless it is 13.
pub fn check_version(version: Option<&str>) -> Result<(), HandshakeError> {
    match version {
        Some(version) if version.trim() == VERSION => Ok(()),
        _ => Err(HandshakeError::Version),
    }
}

/// `Sec-WebSocket-Accept` for a client's `Sec-WebSocket-Key`.
#[must_use]
pub fn accept_key(key: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(key.trim());
    hash.update(GUID);
    STANDARD.encode(hash.finalize())
}

fn lists(header: Option<&str>, token: &str) -> bool {
    header.is_some_and(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token)))
}

fn is_key(key: &str) -> bool {
    // One byte more than needed, so that a longer key is seen as such; decode_slice asks for room in whole
    // groups of three.
    let mut bytes = [0; 18];
    matches!(STANDARD.decode_slice(key.trim(), &mut bytes), Ok(16))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    #[test]
    fn the_accept_key_is_the_one_in_the_rfc() {
        assert_eq!(accept_key(KEY), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn good_handshakes() {
        for (upgrade, connection) in
            [("websocket", "Upgrade"), ("WebSocket", "keep-alive, Upgrade"), ("h2c, websocket", " upgrade ")]
        {
            assert_eq!(check(Some("13"), Some(KEY), Some(upgrade), Some(connection)), Ok(()));
        }
    }

    #[test]
    fn bad_handshakes() {
        use HandshakeError::{Connection, Key, Upgrade, Version};
        let (v, k, u, c) = (Some("13"), Some(KEY), Some("websocket"), Some("Upgrade"));
        for (got, expected) in [
            (check(v, k, u, None), Connection),
            (check(v, k, u, Some("keep-alive")), Connection),
            (check(v, k, u, Some("upgrades")), Connection),
            (check(v, k, None, c), Upgrade),
            (check(v, k, Some("web socket"), c), Upgrade),
            (check(None, k, u, c), Version),
            (check(Some("8"), k, u, c), Version),
            (check(Some("13, 8"), k, u, c), Version),
            (check(v, None, u, c), Key),
            (check(v, Some(""), u, c), Key),
            (check(v, Some("dGhlIHNhbXBsZSBub25jZQ"), u, c), Key),
            (check(v, Some("dGhlIHNhbXBsZSBub25j"), u, c), Key),
            (check(v, Some("dGhlIHNhbXBsZSBub25jZWU="), u, c), Key),
            (check(v, Some("dGhlIHNhbXBsZSBub25jZWVl"), u, c), Key),
            (check(v, Some("dGhlIHNhbXBsZSBub25jZWVlZWVlZWVlZWVl"), u, c), Key),
            (check(v, Some("!!!!IHNhbXBsZSBub25jZQ=="), u, c), Key),
        ] {
            assert_eq!(got, Err(expected));
        }
        assert_eq!((Version.status(), Key.status()), (426, 400));
    }
}
