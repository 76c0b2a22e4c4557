//! Calls of consumers, carried out by the methods of the server API.

use crate::api::Api;
use crate::api::error::ApiError;
use crate::api::method::{Command, Message, by_name};
use crate::api::parameter::{Payload, Rejection};
use crate::params::Params;
use spinward::clock::Clock;
use spinward_consumers::{Call, Calling, Outcome, Publication, Target};
use std::sync::Arc;

/// The server API as the place where messages go.
pub(super) struct ApiTarget {
    api: Api,
    clock: Clock,
}

impl ApiTarget {
    pub(super) fn new(api: Api) -> Self {
        Self { api, clock: Clock::system() }
    }

    async fn carry_out(&self, call: Call) -> Outcome {
        let command = match command(call) {
            Ok(command) => command,
            Err(refused) => return refused,
        };
        // The API answers an end in the past by an internal error, which would be tried again for ever.
        if let Command::Subscribe(params) = &command
            && (1..=self.clock.now().unix()).contains(&params.expire_at)
        {
            return Outcome::Refused("expire_at has passed".into());
        }
        match self.api.call(command).await {
            Ok(reply) => of_channels(&reply.failures()),
            Err(error) => of_error(&error),
        }
    }
}

impl Target for ApiTarget {
    fn call(&self, call: Call) -> Calling<'_> {
        Box::pin(self.carry_out(call))
    }
}

/// The command of a call, or the reason why there is none.
fn command(call: Call) -> Result<Command, Outcome> {
    match call {
        Call::Publish(publication) => {
            let Publication { channels, data, tags, idempotency_key, delta, version, version_epoch } =
                publication;
            let tags = (!tags.is_empty()).then(|| Arc::new(tags));
            let data = Payload(data);
            let message =
                Message { data, skip_history: false, tags, idempotency_key, delta, version, version_epoch };
            Command::broadcast(channels, message)
                .ok_or_else(|| Outcome::Refused("too many channels: at most 10,000".into()))
        }
        Call::Api { method, params } => {
            let method = by_name(method.name()).ok_or_else(|| of_error(&ApiError::NOT_FOUND))?;
            let params =
                Params::parse(&params).map_err(|error| Outcome::Refused(error.to_string().into()))?;
            method.read(params).map_err(|rejection| match rejection {
                Rejection::Malformed(error) => Outcome::Refused(error.to_string().into()),
                Rejection::Refused(error) => of_error(&error),
            })
        }
    }
}

/// Returns true for errors that pass.
fn passes(error: &ApiError) -> bool {
    [ApiError::INTERNAL.code, ApiError::TOO_MANY_REQUESTS.code].contains(&error.code)
}

fn of_error(error: &ApiError) -> Outcome {
    let text = format!("error {}: {error}", error.code).into();
    if passes(error) { Outcome::Failed(text) } else { Outcome::Refused(text) }
}

/// The outcome of a broadcast by those of its channels, of which the others have none. It is repeated whole.
fn of_channels(failures: &[Option<&ApiError>]) -> Outcome {
    let errors = || failures.iter().copied().flatten();
    let Some(first) = errors().find(|error| passes(error)).or_else(|| errors().next()) else {
        return Outcome::Done;
    };
    if passes(first) || errors().count() == failures.len() {
        return of_error(first);
    }
    tracing::warn!(
        channels = failures.len(),
        refused = errors().count(),
        error = %first,
        "a broadcast of a consumer was refused in some channels"
    );
    Outcome::Done
}

#[cfg(test)]
mod tests {
    use super::*;
    use spinward_consumers::Method;

    #[test]
    fn errors_that_pass_are_tried_again_and_others_are_not() {
        for error in ApiError::ALL {
            let again = matches!(error.code, 100 | 111);
            assert_eq!(matches!(of_error(&error), Outcome::Failed(_)), again, "{error}");
        }
    }

    #[test]
    fn a_broadcast_is_done_unless_all_of_it_or_something_that_passes_failed() {
        let (refused, failed) = (Some(&ApiError::UNKNOWN_CHANNEL), Some(&ApiError::INTERNAL));
        assert_eq!(of_channels(&[]), Outcome::Done);
        assert_eq!(of_channels(&[None, None]), Outcome::Done);
        assert_eq!(of_channels(&[None, refused]), Outcome::Done);
        assert!(matches!(of_channels(&[refused, refused]), Outcome::Refused(_)));
        assert!(matches!(of_channels(&[None, refused, failed]), Outcome::Failed(_)));
    }

    #[test]
    fn every_method_is_one_of_the_api_and_its_example_is_read() {
        for method in Method::ALL {
            let example = by_name(method.name()).unwrap().example;
            let call = Call::Api { method: *method, params: example.to_owned() };
            assert!(command(call).is_ok(), "{}", method.name());
        }
        for params in ["", "[]", "{\"channel\": 5}", "null"] {
            let call = Call::Api { method: Method::Broadcast, params: params.to_owned() };
            let outcome = command(call).err();
            assert!(outcome.is_none() || matches!(outcome, Some(Outcome::Refused(_))), "{params}");
        }
    }
}
