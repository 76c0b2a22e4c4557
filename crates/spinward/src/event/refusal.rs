//! Answers of hooks: a reply or a refusal.

use crate::answer::Answer;
use spinward_wire::code::{DisconnectCode, ErrorCode};

/// Answer of a hook: a reply or a refusal, now or later.
///
/// A hook that decides at once returns [`Answer::allow`] or [`Answer::refuse`], a code (`ErrorCode::NOT_AVAILABLE.into()`),
/// or the `Result` of a function of its own, in which `?` turns codes into refusals (`self.decide(&event).into()`).
pub type Decision<T> = Answer<Result<T, Refusal>>;

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

/// Serialisation failed: the command is answered with error 100 (internal).
impl From<serde_json::Error> for Refusal {
    fn from(_: serde_json::Error) -> Self {
        Self::Error(ErrorCode::INTERNAL)
    }
}

impl<T> Answer<Result<T, Refusal>> {
    /// Grants what a hook was asked for.
    pub const fn allow(reply: T) -> Self {
        Self::Now(Ok(reply))
    }

    /// Refuses what a hook was asked for: by an [`ErrorCode`], and the connection goes on, or by a
    /// [`DisconnectCode`], and it is closed.
    pub fn refuse(reason: impl Into<Refusal>) -> Self {
        Self::Now(Err(reason.into()))
    }
}

impl<T> From<Refusal> for Answer<Result<T, Refusal>> {
    fn from(refusal: Refusal) -> Self {
        Self::refuse(refusal)
    }
}

impl<T> From<ErrorCode> for Answer<Result<T, Refusal>> {
    fn from(code: ErrorCode) -> Self {
        Self::refuse(code)
    }
}

impl<T> From<DisconnectCode> for Answer<Result<T, Refusal>> {
    fn from(code: DisconnectCode) -> Self {
        Self::refuse(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn even(number: u32) -> Result<u32, Refusal> {
        if number.is_multiple_of(2) { Ok(number) } else { Err(ErrorCode::BAD_REQUEST.into()) }
    }

    fn half(number: u32) -> Result<u32, Refusal> {
        Ok(even(number)? / 2)
    }

    #[tokio::test]
    async fn codes_and_results_are_answers() {
        let answers: [(Decision<u32>, Result<u32, Refusal>); 6] = [
            (Answer::allow(1), Ok(1)),
            (Answer::refuse(DisconnectCode::EXPIRED), Err(Refusal::Disconnect(DisconnectCode::EXPIRED))),
            (ErrorCode::INTERNAL.into(), Err(Refusal::Error(ErrorCode::INTERNAL))),
            (half(4).into(), Ok(2)),
            (half(5).into(), Err(Refusal::Error(ErrorCode::BAD_REQUEST))),
            (Answer::later(async { Ok(half(8)? + even(2)?) }), Ok(6)),
        ];
        for (answer, expected) in answers {
            assert_eq!(answer.wait().await, expected);
        }
    }
}
