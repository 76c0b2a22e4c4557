//! HTTP responses to logins that fail.

use http::StatusCode;
use spinward_wire::code::DisconnectCode;

/// The HTTP response to a login that fails with a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectResponse {
    /// Code of the error or of the disconnect.
    pub code: u32,
    /// Status.
    pub status: StatusCode,
    /// Body. An empty one stands for the reason of the code.
    pub body: String,
}

/// The HTTP responses to logins that fail.
pub(super) struct Refusals(Vec<ConnectResponse>);

impl Refusals {
    pub(super) const fn new(responses: Vec<ConnectResponse>) -> Self {
        Self(responses)
    }

    /// The status and body for a code: those of the first response that is for it, and 500 where there is none, as in
    /// Centrifugo v6.9.
    pub(super) fn of(&self, code: &DisconnectCode) -> (StatusCode, String) {
        match self.0.iter().find(|response| response.code == code.code) {
            Some(found) if found.body.is_empty() => (found.status, code.reason.clone().into_owned()),
            Some(found) => (found.status, found.body.clone()),
            None => {
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                (status, status.canonical_reason().unwrap_or_default().to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_response_for_a_code_counts() {
        let response = |code, status, body: &str| ConnectResponse { code, status, body: body.to_owned() };
        let refusals = Refusals::new(vec![
            response(3500, StatusCode::UNAUTHORIZED, ""),
            response(109, StatusCode::FORBIDDEN, "expired"),
            response(109, StatusCode::IM_A_TEAPOT, "second"),
        ]);
        let of = |code, reason: &'static str| {
            let (status, body) = refusals.of(&DisconnectCode { code, reason: reason.into() });
            (status.as_u16(), body)
        };
        assert_eq!(of(109, "token expired"), (403, "expired".to_owned()));
        assert_eq!(of(3500, "invalid token"), (401, "invalid token".to_owned()));
        assert_eq!(of(3501, "bad request"), (500, "Internal Server Error".to_owned()));
    }
}
