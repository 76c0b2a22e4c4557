//! Errors of decoding.

/// Reason that bytes could not be decoded. Their sender gets disconnect 3501, see [`crate::code`].
///
/// It does not contain the bytes: they may hold a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// A transport message without a single command.
    #[error("the message is empty")]
    Empty,
    /// The text is not JSON, or ends too early.
    #[error("the text is not a JSON object")]
    Syntax,
    /// JSON of another type than the field has.
    #[error("a field has the wrong type")]
    Type,
    /// An integer that its field cannot hold, or one with a fraction or an exponent.
    #[error("a number is not an integer or is out of range")]
    Number,
    /// Typed messages nested deeper than [`crate::framing::MAX_DEPTH`]. Payloads may be as deep as they like.
    #[error("a message is nested too deep")]
    Depth,
    /// A length prefix that is malformed or longer than what follows.
    #[error("the message ends before its length")]
    Length,
    /// The bytes are not a Protobuf message of this type.
    #[error("the bytes are not a Protobuf message")]
    Protobuf,
}
