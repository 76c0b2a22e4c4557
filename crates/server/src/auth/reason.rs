//! Reasons to refuse a token, and the code that the client receives.
//!
//! A [`Refusal`] carries a [`Reason`] whose text never changes (logs, metrics and tools select by it), a
//! sentence for people and the option or claim to change. None of them holds a token, a key or a signature.
//! [`Reason::outcome`] is the only place that says what goes over the wire.

use spinward_wire::code::{DisconnectCode, ErrorCode};
use std::borrow::Cow;
use std::fmt;
use thiserror::Error;

/// Reasons to refuse a token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No token was sent, or an empty one.
    TokenMissing,
    /// The token came in a cookie or header, and the page that asked is of no origin that the configuration names.
    OriginNotNamed,
    /// A cookie or header that is to hold the token is there several times, with different values.
    TokenAmbiguous,
    /// A part of the token cannot be read.
    Malformed(Part),
    /// The header names no algorithm, one that is not supported, or one that the key is not for.
    AlgNotAllowed,
    /// The algorithm is supported, and no key for it is configured.
    NoKeyForAlg,
    /// Keys come from a key set, and the header has no `kid`.
    KidMissing,
    /// No key of the key set has this `kid`.
    UnknownKid,
    /// The key set cannot be fetched now; the same token may be good later.
    KeysUnavailable,
    /// The signature is not that of the configured key.
    SignatureMismatch,
    /// The claim `iss` is not the expected one.
    IssuerMismatch,
    /// The claim `aud` does not hold the expected one.
    AudienceMismatch,
    /// The claim `nbf` lies ahead.
    NotYetValid,
    /// The claim `exp` has passed.
    Expired,
    /// `exp` is fine, and the claim `expire_at` has passed.
    CredentialsExpired,
    /// A connection token has the claim `channel`.
    SubscriptionTokenUsedToConnect,
    /// A subscription token has no claim `channel`.
    ConnectionTokenUsedToSubscribe,
    /// The token is for another user than the connection.
    UserMismatch,
    /// The token is for another channel.
    ChannelMismatch,
    /// The token is for another connection.
    ClientMismatch,
    /// A claim that the configuration asks for is absent.
    ClaimMissing(Cow<'static, str>),
    /// A claim has a value of the wrong type.
    ClaimType(Cow<'static, str>),
    /// The token has no user, and anonymous tokens are not allowed.
    AnonymousNotAllowed,
    /// The token was revoked by its `jti`.
    Revoked,
    /// Tokens of this user issued before some time were invalidated.
    Invalidated,
    /// The user is blocked.
    UserBlocked,
    /// The id of the user makes its personal channel one of a namespace that does not exist.
    PersonalChannelUnknown,
    /// The id of the user makes its personal channel one that others may subscribe to.
    PersonalChannelShared,
}

/// A part of a token that can be unreadable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// Not three parts, or too long.
    Token,
    /// The header.
    Header,
    /// The claims.
    Payload,
    /// The signature.
    Signature,
    /// The base64 of `b64info` of the token itself.
    B64Info,
    /// The base64 of `b64data` of a subscription token.
    B64Data,
    /// The base64 within `subs`.
    Subs,
}

impl Part {
    const ALL: [Self; 7] =
        [Self::Token, Self::Header, Self::Payload, Self::Signature, Self::B64Info, Self::B64Data, Self::Subs];

    const fn code(self) -> &'static str {
        match self {
            Self::Token => "malformed:token",
            Self::Header => "malformed:header",
            Self::Payload => "malformed:payload",
            Self::Signature => "malformed:signature",
            Self::B64Info => "malformed:b64info",
            Self::B64Data => "malformed:b64data",
            Self::Subs => "malformed:subs",
        }
    }
}

/// Intended use of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Use {
    /// To connect.
    Connect,
    /// To prolong a connection.
    Refresh,
    /// To subscribe.
    Subscribe,
    /// To prolong a subscription.
    SubRefresh,
}

impl Use {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Connect, Self::Refresh, Self::Subscribe, Self::SubRefresh];

    /// The name, as in the client protocol.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Refresh => "refresh",
            Self::Subscribe => "subscribe",
            Self::SubRefresh => "sub_refresh",
        }
    }
}

/// Client's answer for a refused token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The command is answered with an error.
    Error(ErrorCode),
    /// The connection is closed.
    Disconnect(DisconnectCode),
}

impl Outcome {
    /// The number of the code.
    #[must_use]
    pub const fn code(&self) -> u32 {
        match self {
            Self::Error(error) => error.code,
            Self::Disconnect(disconnect) => disconnect.code,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(error) => write!(f, "error {} {}", error.code, error.message),
            Self::Disconnect(disconnect) => write!(f, "disconnect {} {}", disconnect.code, disconnect.reason),
        }
    }
}

/// A refused token.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}: {detail}", reason.code())]
pub struct Refusal {
    /// The reason that never changes its text.
    pub reason: Reason,
    /// The fault, for people.
    pub detail: String,
    /// The option or claim to change.
    pub fix: String,
}

impl Refusal {
    /// A refusal from its parts.
    #[must_use]
    pub fn new(reason: Reason, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { reason, detail: detail.into(), fix: fix.into() }
    }

    /// Returns the client's answer.
    #[must_use]
    pub const fn outcome(&self, used: Use) -> Outcome {
        self.reason.outcome(used)
    }

    /// Returns true if the same token may be good later without the client doing anything.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        matches!(self.reason, Reason::KeysUnavailable)
    }
}

impl Reason {
    /// The stable text: label of the metric, field of the log line, word to look up in the manual.
    ///
    /// The claims that can follow `claim_missing:` and `claim_type:` are those of the catalogue and the
    /// configured ones, so that the number of texts is bounded.
    #[must_use]
    pub fn code(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::TokenMissing => "token_missing",
            Self::OriginNotNamed => "origin_not_named",
            Self::TokenAmbiguous => "token_ambiguous",
            Self::Malformed(part) => part.code(),
            Self::AlgNotAllowed => "alg_not_allowed",
            Self::NoKeyForAlg => "no_key_for_alg",
            Self::KidMissing => "kid_missing",
            Self::UnknownKid => "unknown_kid",
            Self::KeysUnavailable => "keys_unavailable",
            Self::SignatureMismatch => "signature_mismatch",
            Self::IssuerMismatch => "issuer_mismatch",
            Self::AudienceMismatch => "audience_mismatch",
            Self::NotYetValid => "not_yet_valid",
            Self::Expired => "expired",
            Self::CredentialsExpired => "credentials_expired",
            Self::SubscriptionTokenUsedToConnect => "subscription_token_used_to_connect",
            Self::ConnectionTokenUsedToSubscribe => "connection_token_used_to_subscribe",
            Self::UserMismatch => "user_mismatch",
            Self::ChannelMismatch => "channel_mismatch",
            Self::ClientMismatch => "client_mismatch",
            Self::ClaimMissing(claim) => return Cow::Owned(format!("claim_missing:{claim}")),
            Self::ClaimType(claim) => return Cow::Owned(format!("claim_type:{claim}")),
            Self::AnonymousNotAllowed => "anonymous_not_allowed",
            Self::Revoked => "revoked",
            Self::Invalidated => "invalidated",
            Self::UserBlocked => "user_blocked",
            Self::PersonalChannelUnknown => "personal_channel_unknown",
            Self::PersonalChannelShared => "personal_channel_shared",
        })
    }

    /// Returns the client's answer to a token refused for this reason: the one table.
    ///
    /// The codes are Centrifugo v6.9's; where it never checks a thing (revocation, key sets that are away)
    /// they are chosen so that an official SDK does the right thing. One cell is deliberately not its
    /// behaviour: an expired token on `sub_refresh` ends the connection with 3006 instead of being accepted,
    /// because nothing but a valid refresh may clear an expiry.
    #[must_use]
    pub const fn outcome(&self, used: Use) -> Outcome {
        use DisconnectCode as D;
        use ErrorCode as E;
        let [connect, refresh, subscribe, sub_refresh] = match self.class() {
            Class::Absent => [
                Outcome::Disconnect(D::BAD_REQUEST),
                Outcome::Disconnect(D::BAD_REQUEST),
                Outcome::Error(E::PERMISSION_DENIED),
                Outcome::Error(E::BAD_REQUEST),
            ],
            Class::Invalid => [
                Outcome::Disconnect(D::INVALID_TOKEN),
                Outcome::Disconnect(D::INVALID_TOKEN),
                Outcome::Error(E::PERMISSION_DENIED),
                Outcome::Disconnect(D::INVALID_TOKEN),
            ],
            // Centrifugo does not count this one among the invalid tokens of a connection.
            Class::BadInfo => [
                Outcome::Error(E::INTERNAL),
                Outcome::Error(E::INTERNAL),
                Outcome::Error(E::PERMISSION_DENIED),
                Outcome::Disconnect(D::INVALID_TOKEN),
            ],
            Class::Mismatch => [
                Outcome::Disconnect(D::INVALID_TOKEN),
                Outcome::Disconnect(D::INVALID_TOKEN),
                Outcome::Disconnect(D::INVALID_TOKEN),
                Outcome::Disconnect(D::INVALID_TOKEN),
            ],
            Class::Expired => [
                Outcome::Error(E::TOKEN_EXPIRED),
                Outcome::Disconnect(D::EXPIRED),
                Outcome::Error(E::TOKEN_EXPIRED),
                Outcome::Disconnect(D::SUBSCRIPTION_EXPIRED),
            ],
            Class::CredentialsExpired => [
                Outcome::Error(E::EXPIRED),
                Outcome::Error(E::EXPIRED),
                Outcome::Error(E::EXPIRED),
                Outcome::Error(E::EXPIRED),
            ],
            // Temporary: an SDK tries again by itself, and nobody is logged out by somebody else's outage.
            Class::Unavailable => [
                Outcome::Error(E::INTERNAL),
                Outcome::Error(E::INTERNAL),
                Outcome::Error(E::INTERNAL),
                Outcome::Error(E::INTERNAL),
            ],
            Class::UnknownChannel => [
                Outcome::Error(E::UNKNOWN_CHANNEL),
                Outcome::Error(E::UNKNOWN_CHANNEL),
                Outcome::Error(E::UNKNOWN_CHANNEL),
                Outcome::Error(E::UNKNOWN_CHANNEL),
            ],
            Class::Forbidden => [
                Outcome::Disconnect(D::PERMISSION_DENIED),
                Outcome::Disconnect(D::PERMISSION_DENIED),
                Outcome::Error(E::PERMISSION_DENIED),
                Outcome::Disconnect(D::PERMISSION_DENIED),
            ],
        };
        match used {
            Use::Connect => connect,
            Use::Refresh => refresh,
            Use::Subscribe => subscribe,
            Use::SubRefresh => sub_refresh,
        }
    }

    const fn class(&self) -> Class {
        match self {
            Self::TokenMissing => Class::Absent,
            Self::Malformed(Part::B64Info) => Class::BadInfo,
            Self::TokenAmbiguous
            | Self::Malformed(_)
            | Self::AlgNotAllowed
            | Self::NoKeyForAlg
            | Self::KidMissing
            | Self::UnknownKid
            | Self::SignatureMismatch
            | Self::IssuerMismatch
            | Self::AudienceMismatch
            | Self::SubscriptionTokenUsedToConnect
            | Self::ConnectionTokenUsedToSubscribe
            | Self::ClaimMissing(_)
            | Self::ClaimType(_)
            | Self::Revoked
            | Self::Invalidated => Class::Invalid,
            Self::UserMismatch | Self::ChannelMismatch | Self::ClientMismatch => Class::Mismatch,
            Self::NotYetValid | Self::Expired => Class::Expired,
            Self::CredentialsExpired => Class::CredentialsExpired,
            Self::KeysUnavailable => Class::Unavailable,
            Self::OriginNotNamed
            | Self::AnonymousNotAllowed
            | Self::UserBlocked
            | Self::PersonalChannelShared => Class::Forbidden,
            Self::PersonalChannelUnknown => Class::UnknownChannel,
        }
    }

    /// One of each kind, to walk the table.
    #[must_use]
    pub fn examples() -> Vec<Self> {
        let mut all = vec![
            Self::TokenMissing,
            Self::OriginNotNamed,
            Self::TokenAmbiguous,
            Self::AlgNotAllowed,
            Self::NoKeyForAlg,
            Self::KidMissing,
            Self::UnknownKid,
            Self::KeysUnavailable,
            Self::SignatureMismatch,
            Self::IssuerMismatch,
            Self::AudienceMismatch,
            Self::NotYetValid,
            Self::Expired,
            Self::CredentialsExpired,
            Self::SubscriptionTokenUsedToConnect,
            Self::ConnectionTokenUsedToSubscribe,
            Self::UserMismatch,
            Self::ChannelMismatch,
            Self::ClientMismatch,
            Self::ClaimMissing(Cow::Borrowed("sub")),
            Self::ClaimType(Cow::Borrowed("exp")),
            Self::AnonymousNotAllowed,
            Self::Revoked,
            Self::Invalidated,
            Self::UserBlocked,
            Self::PersonalChannelUnknown,
            Self::PersonalChannelShared,
        ];
        all.extend(Part::ALL.map(Self::Malformed));
        all
    }
}

/// Reasons that the client cannot tell apart.
enum Class {
    Absent,
    Invalid,
    BadInfo,
    Mismatch,
    Expired,
    CredentialsExpired,
    Unavailable,
    Forbidden,
    UnknownChannel,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Codes that Centrifugo v6.9 answered with, by reason and use.
    #[test]
    fn outcomes_are_those_of_the_transcripts() {
        let claim = Reason::ClaimType(Cow::Borrowed("exp"));
        for (reason, codes) in [
            (Reason::SignatureMismatch, [3500, 3500, 103, 3500]),
            (Reason::Malformed(Part::Token), [3500, 3500, 103, 3500]),
            (Reason::Malformed(Part::B64Data), [3500, 3500, 103, 3500]),
            (Reason::Malformed(Part::B64Info), [100, 100, 103, 3500]),
            (Reason::Malformed(Part::Subs), [3500, 3500, 103, 3500]),
            (claim, [3500, 3500, 103, 3500]),
            (Reason::Expired, [109, 3005, 109, 3006]),
            (Reason::NotYetValid, [109, 3005, 109, 3006]),
            (Reason::CredentialsExpired, [110, 110, 110, 110]),
            (Reason::UserMismatch, [3500, 3500, 3500, 3500]),
            (Reason::ChannelMismatch, [3500, 3500, 3500, 3500]),
            (Reason::ClientMismatch, [3500, 3500, 3500, 3500]),
            (Reason::TokenMissing, [3501, 3501, 103, 107]),
            (Reason::AnonymousNotAllowed, [3507, 3507, 103, 3507]),
            (Reason::PersonalChannelShared, [3507, 3507, 103, 3507]),
            (Reason::PersonalChannelUnknown, [102, 102, 102, 102]),
            (Reason::SubscriptionTokenUsedToConnect, [3500, 3500, 103, 3500]),
            (Reason::ConnectionTokenUsedToSubscribe, [3500, 3500, 103, 3500]),
        ] {
            assert_eq!(Use::ALL.map(|used| reason.outcome(used).code()), codes, "{}", reason.code());
        }
    }

    #[test]
    fn texts_are_distinct_and_plain() {
        let codes: Vec<_> = Reason::examples().iter().map(Reason::code).collect();
        for (at, code) in codes.iter().enumerate() {
            assert!(code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_:".contains(&b)));
            assert!(!codes[..at].contains(code), "{code}");
        }
    }
}
