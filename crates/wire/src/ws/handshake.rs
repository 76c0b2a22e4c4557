//! The opening handshake, server side (RFC 6455 §4.2), over plain header values.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use sha1::{Digest as _, Sha1};

/// The one protocol version there is, for the `Sec-WebSocket-Version` header of a refusal.
pub const VERSION: &str = "13";

/// Appended to the client's key before hashing (RFC 6455 §1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Reason that a request is not a WebSocket handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The request is not a GET.
    #[error("a WebSocket handshake is a GET request")]
    Method,
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
    /// The HTTP status to refuse with: that of Centrifugo v6.9, which has 400 for the version too, where
    /// RFC 6455 §4.4 would have 426. The header with [`VERSION`] belongs to it all the same.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Method => 405,
            Self::Connection | Self::Upgrade | Self::Version | Self::Key => 400,
        }
    }
}

/// Judges the headers `Sec-WebSocket-Version`, `Sec-WebSocket-Key`, `Upgrade` and `Connection` of an
/// HTTP/1.1 request. Where a header has several lines, join them with commas.
///
/// # Errors
/// The first thing that is wrong, in the order connection, upgrade, method, version, key.
pub fn check(
    is_get: bool,
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
    if !is_get {
        return Err(HandshakeError::Method);
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
/// [`HandshakeError::Version`] unless it lists 13.
pub fn check_version(version: Option<&str>) -> Result<(), HandshakeError> {
    if lists(version, VERSION) { Ok(()) } else { Err(HandshakeError::Version) }
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
    // Spare bits do not count, as in Centrifugo v6.9.
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
    );
    // One byte more than needed, so that a longer key is seen as such; decode_slice asks for room in whole
    // groups of three.
    let mut bytes = [0; 18];
    matches!(LENIENT.decode_slice(key.trim(), &mut bytes), Ok(16))
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
            assert_eq!(check(true, Some("13"), Some(KEY), Some(upgrade), Some(connection)), Ok(()));
        }
    }

    #[test]
    fn bad_handshakes() {
        use HandshakeError::{Connection, Key, Method, Upgrade, Version};
        let (v, k, u, c) = (Some("13"), Some(KEY), Some("websocket"), Some("Upgrade"));
        for (got, expected) in [
            (check(true, v, k, u, None), Connection),
            (check(true, v, k, u, Some("keep-alive")), Connection),
            (check(true, v, k, u, Some("upgrades")), Connection),
            (check(true, v, k, None, c), Upgrade),
            (check(true, v, k, Some("web socket"), c), Upgrade),
            (check(true, None, k, u, c), Version),
            (check(true, Some("8"), k, u, c), Version),
            (check(true, Some("18, 3"), k, u, c), Version),
            (check(false, v, k, u, c), Method),
            (check(false, v, k, None, c), Upgrade),
            (check(false, None, k, u, c), Method),
            (check(true, v, None, u, c), Key),
            (check(true, v, Some(""), u, c), Key),
            (check(true, v, Some("dGhlIHNhbXBsZSBub25jZQ"), u, c), Key),
            (check(true, v, Some("dGhlIHNhbXBsZSBub25j"), u, c), Key),
            (check(true, v, Some("dGhlIHNhbXBsZSBub25jZWU="), u, c), Key),
            (check(true, v, Some("dGhlIHNhbXBsZSBub25jZWVl"), u, c), Key),
            (check(true, v, Some("dGhlIHNhbXBsZSBub25jZWVlZWVlZWVlZWVl"), u, c), Key),
            (check(true, v, Some("!!!!IHNhbXBsZSBub25jZQ=="), u, c), Key),
        ] {
            assert_eq!(got, Err(expected));
        }
        assert_eq!((Method.status(), Version.status(), Key.status()), (405, 400, 400));
        assert_eq!(check(true, Some("8, 13"), k, u, c), Ok(()));
    }
}
