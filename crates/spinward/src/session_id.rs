//! The session of a connection whose messages come by requests: the way to it, and the proof that it is the client's.

use crate::handle::Handle;
use std::fmt;
use std::str::FromStr;

/// Random bytes that a connection and its client alone know.
#[derive(Clone, Copy)]
pub(crate) struct Secret([u8; 16]);

impl Secret {
    pub(crate) const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Compares in a time that says nothing about the bytes.
    pub(crate) fn matches(&self, other: &Self) -> bool {
        self.0.iter().zip(other.0).fold(0, |difference, (one, other)| difference | (one ^ other)) == 0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// The `session` of a connect reply. A client sends it with each message; no table is needed to find the connection.
#[derive(Clone, Copy)]
pub(crate) struct SessionId {
    pub(crate) handle: Handle,
    pub(crate) secret: Secret,
}

/// 48 hexadecimal digits.
impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:032x}", self.handle.to_bits(), u128::from_be_bytes(self.secret.0))
    }
}

/// The text is not the session of any connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoSession;

impl FromStr for SessionId {
    type Err = NoSession;

    fn from_str(text: &str) -> Result<Self, NoSession> {
        if text.len() != 48 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NoSession);
        }
        let (handle, secret) = text.split_at(16);
        let handle = u64::from_str_radix(handle, 16).map_err(|_| NoSession)?;
        let secret = u128::from_str_radix(secret, 16).map_err(|_| NoSession)?;
        Ok(Self { handle: Handle::from_bits(handle), secret: Secret(secret.to_be_bytes()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_leads_back_to_its_connection() {
        let secret = Secret::new(*b"0123456789abcdef");
        let id = SessionId { handle: Handle::new(63, 70_000, 3), secret };
        let text = id.to_string();
        let read: SessionId = text.parse().unwrap();
        assert_eq!((read.handle, read.secret.matches(&secret)), (id.handle, true));
        assert_eq!(read.to_string(), text);
        for at in 0..16 {
            let mut other = *b"0123456789abcdef";
            other[at] ^= 1;
            assert!(!Secret::new(other).matches(&secret), "{at}");
        }
        assert_eq!(format!("{secret:?}"), "Secret");
    }

    #[test]
    fn other_texts_are_no_sessions() {
        let short = "0".repeat(47);
        let sign = format!("+{}", "0".repeat(47));
        let wide = "é".repeat(24);
        for text in ["", "11111111-1111-4111-8111-111111111111", &short, &sign, &wide] {
            assert!(text.parse::<SessionId>().is_err(), "{text}");
        }
    }
}
