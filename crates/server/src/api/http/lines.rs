//! The old form: commands `{"id", "method", "params"}`, one or many a line each.

use super::super::Api;
use super::super::access::Caller;
use super::super::error::ApiError;
use super::super::method::{Descriptor, METHODS, Reply};
use super::super::output::Object;
use super::{Answer, HttpSettings, json};
use crate::params::{Malformed, Params};
use http::StatusCode;
use serde_json::value::RawValue;

impl Api {
    /// Answers the commands line by line.
    pub(super) async fn serve_lines(
        &self,
        settings: &HttpSettings,
        caller: &Caller,
        text: &str,
    ) -> Result<Answer, Malformed> {
        let mut commands = Vec::new();
        for value in serde_json::Deserializer::from_str(text).into_iter::<&RawValue>() {
            let value = value.map_err(|_| Malformed(""))?;
            let envelope = Params::parse(value.get())?;
            let id: u32 = envelope.get("id")?;
            let method = method_of(&envelope)?;
            // From here on the reply to the command says what is wrong.
            let command = method.ok_or(ApiError::NOT_FOUND).and_then(|method| {
                // Calls without parameters are bad requests here, except for the method that has none, as in
                // Centrifugo v6.9.
                let params = match envelope.raw("params") {
                    _ if method.name == "info" => Some("null"),
                    params => params,
                };
                let params = params.and_then(|params| Params::parse(params).ok());
                params.and_then(|params| method.read(params).ok()).ok_or(ApiError::BAD_REQUEST)
            });
            commands.push((id, command));
        }
        if commands.is_empty() || commands.len() > settings.max_batch {
            return Err(Malformed(""));
        }
        let (ids, commands): (Vec<u32>, Vec<_>) = commands.into_iter().unzip();
        let replies = self.batch(caller, commands, false).await;
        let mut out = Vec::new();
        for (at, (id, reply)) in ids.into_iter().zip(&replies).enumerate() {
            if at > 0 {
                out.push(b'\n');
            }
            append(id, reply, &mut out);
        }
        Ok(json(StatusCode::OK, out))
    }
}

/// Returns the method of a command, by name in any case or by number. `None`: no method has this number.
fn method_of(envelope: &Params<'_>) -> Result<Option<&'static Descriptor>, Malformed> {
    let malformed = Malformed("method");
    match envelope.raw("method") {
        None => Ok(by_number(0)),
        Some("null") => Err(malformed),
        Some(text) if text.starts_with('"') => {
            let name = envelope.string("method")?;
            let named = METHODS.iter().find(|method| method.name.eq_ignore_ascii_case(&name));
            named.map(Some).ok_or(malformed)
        }
        Some(_) => Ok(by_number(envelope.get("method")?)),
    }
}

fn by_number(number: i64) -> Option<&'static Descriptor> {
    METHODS.iter().find(|method| method.number.is_some_and(|own| i64::from(own) == number))
}

fn append(id: u32, reply: &Result<Reply, ApiError>, out: &mut Vec<u8>) {
    let mut object = Object::new(out);
    if id > 0 {
        object.field("\"id\":", &id);
    }
    match reply {
        Ok(reply) => object.field("\"result\":", reply),
        Err(error) => object.field("\"error\":", error),
    }
    object.end();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_centrifugo() {
        let numbered = [
            "publish",
            "broadcast",
            "unsubscribe",
            "disconnect",
            "presence",
            "presence_stats",
            "history",
            "history_remove",
            "channels",
            "info",
            "rpc",
            "subscribe",
            "refresh",
        ];
        for (number, name) in (0..).zip(numbered) {
            assert_eq!(by_number(number).map(|method| method.name), Some(name));
        }
        assert!(by_number(13).is_none() && by_number(-1).is_none());
        assert_eq!(METHODS.iter().filter(|method| method.number.is_some()).count(), numbered.len());
    }
}
