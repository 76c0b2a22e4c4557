//! The catalogue of codes that clients see: errors in replies, unsubscribe pushes, disconnects.
//!
//! The numbers and texts are Centrifugo's; every official SDK acts on them. No code is defined
//! anywhere else: see `catalogue.rs`, which also has the cause and the remedy that the manual prints.

mod catalogue;

use std::borrow::Cow;
use thiserror::Error;

/// Entry of the catalogue, with what the manual says about the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The number.
    pub code: u32,
    /// The text that clients receive.
    pub text: &'static str,
    /// True if an SDK tries again: the command, the subscription or the connection.
    pub again: bool,
    /// Cause, in a sentence or two. Markdown.
    pub cause: &'static str,
    /// Remedy, in Markdown.
    pub remedy: &'static str,
}

/// An error that a command is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorCode {
    /// The number that SDKs switch on: 100 to 399 are the protocol's own, 400 to 1999 an application's.
    pub code: u32,
    /// A short text for people.
    pub message: Cow<'static, str>,
    /// True when the same command may succeed later, so that an SDK repeats it.
    pub temporary: bool,
}

/// The end of one subscription, sent to the client in an `unsubscribe` push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsubscribeCode {
    /// 2000 to 2499 are final, from 2500 on an SDK subscribes again.
    pub code: u32,
    /// A short text for people.
    pub reason: Cow<'static, str>,
}

/// The end of a connection, sent in the WebSocket close frame or in a `disconnect` push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisconnectCode {
    /// 3000 to 3499, 4000 to 4499 and from 5000 on an SDK connects again; the others are final.
    pub code: u32,
    /// A short text for people, at most 123 bytes (a WebSocket close frame holds no more).
    pub reason: Cow<'static, str>,
}

impl DisconnectCode {
    /// Returns true if an SDK reconnects after this code.
    #[must_use]
    pub const fn reconnects(&self) -> bool {
        reconnects_after(self.code)
    }
}

const fn reconnects_after(code: u32) -> bool {
    !matches!(code, 3500..=3999 | 4500..=4999)
}

/// Reason that a code cannot be an application's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CodeError {
    /// The number belongs to the protocol, or to another kind of code.
    #[error("code {code} is out of range: an application's are {least} to {most}")]
    Range {
        /// The number.
        code: u32,
        /// The least that is possible.
        least: u32,
        /// The greatest that is possible.
        most: u32,
    },
    /// The text does not fit into a WebSocket close frame.
    #[error("the reason has {0} bytes: at most 123 are possible")]
    Reason(usize),
}

/// Most bytes of a close frame's reason (RFC 6455 §5.5).
const MAX_REASON: usize = 123;

const fn in_range(code: u32, least: u32, most: u32) -> Result<u32, CodeError> {
    if code < least || code > most { Err(CodeError::Range { code, least, most }) } else { Ok(code) }
}

impl ErrorCode {
    /// Makes an error of the application: 400 to 1999.
    ///
    /// # Errors
    /// The number is out of this range.
    pub fn new(code: u32, message: impl Into<Cow<'static, str>>) -> Result<Self, CodeError> {
        Ok(Self { code: in_range(code, 400, 1999)?, message: message.into(), temporary: false })
    }

    /// Makes an error of the application whose number is checked by the compiler.
    ///
    /// ```
    /// # use spinward_wire::code::ErrorCode;
    /// const NOT_A_MEMBER: ErrorCode = ErrorCode::of::<1001>("not a member");
    /// ```
    ///
    /// ```compile_fail
    /// # use spinward_wire::code::ErrorCode;
    /// const RESERVED: ErrorCode = ErrorCode::of::<100>("of the protocol");
    /// ```
    #[must_use]
    pub const fn of<const CODE: u32>(message: &'static str) -> Self {
        const { assert!(CODE >= 400 && CODE <= 1999, "an application's errors are 400 to 1999") };
        Self { code: CODE, message: Cow::Borrowed(message), temporary: false }
    }
}

impl UnsubscribeCode {
    /// Makes the end of a subscription: 2000 to 2499 are final, after 2500 to 2999 an SDK subscribes again.
    ///
    /// # Errors
    /// The number is out of these ranges.
    pub fn new(code: u32, reason: impl Into<Cow<'static, str>>) -> Result<Self, CodeError> {
        Ok(Self { code: in_range(code, 2000, 2999)?, reason: reason.into() })
    }
}

impl DisconnectCode {
    /// Makes a disconnect of the application: after 4000 to 4499 an SDK connects again, 4500 to 4999 are final.
    ///
    /// # Errors
    /// The number is out of these ranges, or the reason is longer than 123 bytes.
    pub fn new(code: u32, reason: impl Into<Cow<'static, str>>) -> Result<Self, CodeError> {
        let (code, reason) = (in_range(code, 4000, 4999)?, reason.into());
        if reason.len() > MAX_REASON {
            return Err(CodeError::Reason(reason.len()));
        }
        Ok(Self { code, reason })
    }

    /// Makes a disconnect of the application whose number is checked by the compiler. A reason longer than 123 bytes is
    /// cut when it is sent.
    ///
    /// ```
    /// # use spinward_wire::code::DisconnectCode;
    /// const BANNED: DisconnectCode = DisconnectCode::of::<4500>("banned");
    /// ```
    ///
    /// ```compile_fail
    /// # use spinward_wire::code::DisconnectCode;
    /// const RESERVED: DisconnectCode = DisconnectCode::of::<3000>("of the protocol");
    /// ```
    #[must_use]
    pub const fn of<const CODE: u32>(reason: &'static str) -> Self {
        const { assert!(CODE >= 4000 && CODE <= 4999, "an application's disconnects are 4000 to 4999") };
        Self { code: CODE, reason: Cow::Borrowed(reason) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_an_application_are_in_their_ranges() {
        const NOT_A_MEMBER: ErrorCode = ErrorCode::of::<1001>("not a member");
        assert_eq!(ErrorCode::new(1001, "not a member"), Ok(NOT_A_MEMBER));
        for code in [399, 2000] {
            assert_eq!(ErrorCode::new(code, "x"), Err(CodeError::Range { code, least: 400, most: 1999 }));
        }
        assert_eq!(DisconnectCode::new(4500, "banned"), Ok(DisconnectCode::of::<4500>("banned")));
        assert!(!DisconnectCode::of::<4500>("banned").reconnects());
        assert!(DisconnectCode::of::<4499>("later").reconnects());
        assert!(DisconnectCode::new(3999, "x").is_err() && DisconnectCode::new(5000, "x").is_err());
        assert_eq!(DisconnectCode::new(4000, "x".repeat(124)), Err(CodeError::Reason(124)));
        assert!(UnsubscribeCode::new(2000, "x").is_ok() && UnsubscribeCode::new(3000, "x").is_err());
    }
}
