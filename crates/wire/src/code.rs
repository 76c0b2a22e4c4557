//! The catalogue of codes that clients see: errors in replies, unsubscribe pushes, disconnects.
//!
//! The numbers and texts are Centrifugo's; every official SDK acts on them. No code is defined
//! anywhere else.

use std::borrow::Cow;
use thiserror::Error;

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
        !matches!(self.code, 3500..=3999 | 4500..=4999)
    }
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

macro_rules! catalogue {
    (errors { $($(#[$em:meta])* $ename:ident = $ecode:literal, $etext:literal, $temp:literal;)* }
     unsubscribes { $($(#[$um:meta])* $uname:ident = $ucode:literal, $utext:literal;)* }
     disconnects { $($(#[$dm:meta])* $dname:ident = $dcode:literal, $dtext:literal;)* }) => {
        impl ErrorCode {
            $($(#[$em])* pub const $ename: Self = Self { code: $ecode, message: Cow::Borrowed($etext), temporary: $temp };)*
            /// Every error of the catalogue.
            pub const ALL: &'static [Self] = &[$(Self::$ename),*];
        }
        impl UnsubscribeCode {
            $($(#[$um])* pub const $uname: Self = Self { code: $ucode, reason: Cow::Borrowed($utext) };)*
            /// Every unsubscribe code of the catalogue.
            pub const ALL: &'static [Self] = &[$(Self::$uname),*];
        }
        impl DisconnectCode {
            $($(#[$dm])* pub const $dname: Self = Self { code: $dcode, reason: Cow::Borrowed($dtext) };)*
            /// Every disconnect code of the catalogue.
            pub const ALL: &'static [Self] = &[$(Self::$dname),*];
        }
    };
}

catalogue! {
    errors {
        /// Something failed that the client can do nothing about; it may try again.
        INTERNAL = 100, "internal server error", true;
        /// Credentials are missing.
        UNAUTHORIZED = 101, "unauthorized", false;
        /// The namespace of the channel is not configured.
        UNKNOWN_CHANNEL = 102, "unknown channel", false;
        /// The rules do not allow it.
        PERMISSION_DENIED = 103, "permission denied", false;
        /// No such RPC method.
        METHOD_NOT_FOUND = 104, "method not found", false;
        /// The connection is subscribed to that channel.
        ALREADY_SUBSCRIBED = 105, "already subscribed", false;
        /// The connection has as many channels as it may.
        LIMIT_EXCEEDED = 106, "limit exceeded", false;
        /// The request is well-formed but makes no sense.
        BAD_REQUEST = 107, "bad request", false;
        /// The feature is off for that channel.
        NOT_AVAILABLE = 108, "not available", false;
        /// The token was good and has expired (or is not valid yet): get a new one.
        TOKEN_EXPIRED = 109, "token expired", false;
        /// The credentials were expired when they came.
        EXPIRED = 110, "expired", false;
        /// A rate limit was hit.
        TOO_MANY_REQUESTS = 111, "too many requests", true;
        /// History no longer reaches back to the asked position.
        UNRECOVERABLE_POSITION = 112, "unrecoverable position", false;
        /// Another page of the same map channel is being read.
        CONCURRENT_PAGINATION = 113, "concurrent pagination", true;
    }
    unsubscribes {
        /// The client asked for it.
        CLIENT = 0, "client unsubscribed";
        /// The connection is gone.
        DISCONNECTED = 1, "client disconnected";
        /// The application asked for it through the server API.
        SERVER = 2000, "server unsubscribe";
        /// Publications were lost: subscribe again and recover.
        INSUFFICIENT_STATE = 2500, "insufficient state";
        /// The subscription's credentials expired.
        EXPIRED = 2501, "subscription expired";
        /// The client must drop its token and saved position.
        STATE_INVALIDATED = 2502, "state invalidated";
    }
    disconnects {
        /// The client closed.
        CONNECTION_CLOSED = 3000, "connection closed";
        /// The server goes down.
        SHUTDOWN = 3001, "shutdown";
        /// Something failed on the server.
        SERVER_ERROR = 3004, "internal server error";
        /// The connection's credentials expired.
        EXPIRED = 3005, "connection expired";
        /// A server-side subscription's credentials expired.
        SUBSCRIPTION_EXPIRED = 3006, "subscription expired";
        /// The client reads slower than it is sent to.
        SLOW = 3008, "slow";
        /// Writing to the socket failed.
        WRITE_ERROR = 3009, "write error";
        /// Publications of a server-side subscription were lost: connect again and recover.
        INSUFFICIENT_STATE = 3010, "insufficient state";
        /// The application wants the client to connect again.
        FORCE_RECONNECT = 3011, "force reconnect";
        /// The client did not answer a ping.
        NO_PONG = 3012, "no pong";
        /// A rate limit was hit.
        TOO_MANY_REQUESTS = 3013, "too many requests";
        /// The client must drop its token and saved state.
        STATE_INVALIDATED = 3014, "state invalidated";
        /// The token is not acceptable, and the same one never will be.
        INVALID_TOKEN = 3500, "invalid token";
        /// Protocol violation by the client.
        BAD_REQUEST = 3501, "bad request";
        /// The client did not log in in time.
        STALE = 3502, "stale";
        /// The application asked for it through the server API.
        FORCE_DISCONNECT = 3503, "force disconnect";
        /// The user has as many connections as it may.
        CONNECTION_LIMIT = 3504, "connection limit";
        /// More server-side channels than a connection may have.
        CHANNEL_LIMIT = 3505, "channel limit";
        /// The transport cannot carry what was asked.
        INAPPROPRIATE_PROTOCOL = 3506, "inappropriate protocol";
        /// The rules do not allow it.
        PERMISSION_DENIED = 3507, "permission denied";
        /// The feature is off.
        NOT_AVAILABLE = 3508, "not available";
        /// Too many commands were answered with an error.
        TOO_MANY_ERRORS = 3509, "too many errors";
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
