//! `batch`: many calls in one request.

use super::super::Api;
use super::super::access::Caller;
use super::super::error::ApiError;
use super::super::method::{Command, Descriptor, METHODS, Reply};
use super::super::output::Object;
use super::{Answer, HttpSettings, json, read};
use crate::params::{Malformed, Params};
use http::StatusCode;
use serde_json::value::RawValue;

impl Api {
    /// Answers the commands of a batch, in their order. They are made one after the other, or with `parallel` at the same
    /// time.
    pub(super) async fn serve_batch(
        &self,
        settings: &HttpSettings,
        caller: &Caller,
        text: &str,
    ) -> Result<Answer, Malformed> {
        let params = Params::parse(text)?;
        let commands = match params.raw("commands") {
            None | Some("null") => Vec::new(),
            Some(text) => serde_json::from_str::<Vec<&RawValue>>(text).map_err(|_| Malformed("commands"))?,
        };
        let parallel: bool = params.get("parallel")?;
        if commands.len() > settings.max_batch {
            return Err(Malformed("commands"));
        }
        // Nothing is done if one of them is malformed.
        let commands = commands.iter().map(|command| command_of(command.get()));
        let commands = commands.collect::<Result<Vec<_>, _>>()?;
        if commands.is_empty() {
            return Ok(json(StatusCode::OK, b"{}".to_vec()));
        }
        let mut out = b"{\"replies\":[".to_vec();
        for (at, reply) in self.batch(caller, commands, parallel).await.iter().enumerate() {
            append(at, reply, &mut out);
        }
        out.extend_from_slice(b"]}");
        Ok(json(StatusCode::OK, out))
    }
}

/// Reads a command. The inner error is the reply to it.
fn command_of(text: &str) -> Result<Result<Command, ApiError>, Malformed> {
    if text == "null" {
        return Ok(Err(ApiError::BAD_REQUEST));
    }
    match named(&Params::parse(text)?) {
        Some((method, params)) => read(method, params),
        None => Ok(Err(ApiError::NOT_FOUND)),
    }
}

/// Returns the method that a command names, and its parameters.
fn named<'a>(command: &Params<'a>) -> Option<(&'static Descriptor, &'a str)> {
    let params = |method: &Descriptor| command.raw(method.name).filter(|params| *params != "null");
    METHODS.iter().find_map(|method| Some((method, params(method)?)))
}

fn append(at: usize, reply: &Result<Reply, ApiError>, out: &mut Vec<u8>) {
    if at > 0 {
        out.push(b',');
    }
    let mut object = Object::new(out);
    match reply {
        Ok(reply) => object.entry(reply.name(), reply),
        Err(error) => object.field("\"error\":", error),
    }
    object.end();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(command: &str) -> Option<&'static str> {
        named(&Params::parse(command).unwrap()).map(|(method, _)| method.name)
    }

    #[test]
    fn a_command_may_name_every_method() {
        for method in METHODS {
            let command = format!(r#"{{"unknown":1,"info":null,"{}":{{}}}}"#, method.name.to_uppercase());
            assert_eq!(first(&command), Some(method.name));
        }
        assert_eq!(first(r#"{"unknown":{}}"#), None);
    }

    /// As in Centrifugo v6.9, the one that comes first in the command.
    #[test]
    fn of_several_methods_in_a_command_the_first_of_the_list_counts() {
        let order = [
            "publish",
            "broadcast",
            "subscribe",
            "unsubscribe",
            "disconnect",
            "history",
            "history_remove",
            "presence",
            "presence_stats",
            "info",
            "rpc",
            "refresh",
            "channels",
        ];
        for pair in order.windows(2) {
            let command = format!(r#"{{"{}":{{}},"{}":{{}}}}"#, pair[1], pair[0]);
            assert_eq!(first(&command), Some(pair[0]));
        }
    }
}
