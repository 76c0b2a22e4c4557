//! Refusals.

use spinward_wire::code::{DisconnectCode, ErrorCode};

/// A decision against the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The command is answered with this error and the connection goes on.
    Error(ErrorCode),
    /// The connection is closed with this code.
    Disconnect(DisconnectCode),
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self::Error(code)
    }
}

impl From<DisconnectCode> for Refusal {
    fn from(code: DisconnectCode) -> Self {
        Self::Disconnect(code)
    }
}
