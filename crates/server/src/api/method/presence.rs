//! `presence`: the clients in a channel.

use super::shared::{OPTIONAL_IN_CHANNEL, allowed};
use super::{Method, Reach};
use crate::api::Context;
use crate::api::describe::{Describe, Schemas};
use crate::api::error::ApiError;
use crate::api::output::{Object, ToJson, output};
use crate::api::parameter::{Rejection, parameters};
use crate::grpc::proto::api as proto;
use crate::policy::api;
use serde_json::{Value, json};
use spinward::ClientInfo;
use spinward::engine::presence::Members;

/// See [`Method::SUMMARY`].
pub(crate) struct Presence;

parameters! {
    /// Parameters of `presence`.
    struct Params {
        /// The channel.
        channel: String = required,
        /// Most clients to return; 0 returns all.
        limit: u32,
        /// The `cursor` of the page before.
        cursor: String,
    }
}

output! {
    /// The clients in a channel.
    struct Clients as "Presence" {
        /// Clients by their ids.
        presence: Members,
        /// Start of the next page; absent on the last.
        cursor: Option<String> = optional,
    }
}

/// Returns the page after a cursor, in the order of the ids, and the cursor of the next one. The store is read as a
/// whole for each: a page saves the caller bytes, not the store work.
fn page(members: &Members, limit: u32, cursor: &str) -> (Members, Option<String>) {
    let mut page: Vec<_> = members.iter().filter(|info| *info.client > *cursor).cloned().collect();
    page.sort_unstable_by(|one, other| one.client.cmp(&other.client));
    let more = page.len() > limit as usize;
    page.truncate(limit as usize);
    let cursor = page.last().filter(|_| more).map(|last| last.client.to_string());
    (page.into(), cursor)
}

impl Method for Presence {
    const NAME: &'static str = "presence";
    const NUMBER: Option<u8> = Some(4);
    const SUMMARY: &'static str = "Lists the clients in a channel.";
    const ERRORS: &'static [ApiError] = OPTIONAL_IN_CHANNEL;
    const EXAMPLE: &'static str = r#"{"channel": "news"}"#;

    type Params = Box<Params>;
    type Output = Clients;
    type Request = proto::PresenceRequest;
    type Result = proto::PresenceResult;

    fn params(request: proto::PresenceRequest) -> Result<Self::Params, Rejection> {
        let proto::PresenceRequest { channel, limit, cursor } = request;
        Ok(Box::new(Params { channel, limit, cursor }))
    }

    fn reach(params: &Self::Params) -> Reach<'_> {
        Reach::Channel(&params.channel)
    }

    async fn call(cx: &Context<'_>, params: Box<Params>) -> Result<Clients, ApiError> {
        allowed(cx.rules(), &params.channel, api::Presence)?;
        let Params { channel, limit, cursor } = &*params;
        match cx.node().presence(channel).await {
            Ok(presence) if *limit == 0 && cursor.is_empty() => Ok(Clients { presence, cursor: None }),
            Ok(presence) => {
                let limit = if *limit == 0 { u32::MAX } else { *limit };
                let (presence, cursor) = page(&presence, limit, cursor);
                Ok(Clients { presence, cursor })
            }
            Err(_) => Err(ApiError::INTERNAL),
        }
    }
}

impl From<Clients> for proto::PresenceResult {
    fn from(Clients { presence, cursor }: Clients) -> Self {
        let presence = presence.iter().map(|info| (info.client.to_string(), (&**info).into()));
        Self { presence: presence.collect(), cursor: cursor.unwrap_or_default() }
    }
}

impl From<&ClientInfo> for proto::ClientInfo {
    fn from(info: &ClientInfo) -> Self {
        let ClientInfo { user, client, conn_info, chan_info } = info;
        Self {
            user: user.to_string(),
            client: client.to_string(),
            conn_info: conn_info.clone(),
            chan_info: chan_info.clone(),
        }
    }
}

impl ToJson for Members {
    fn append(&self, out: &mut Vec<u8>) {
        let mut object = Object::new(out);
        self.iter().for_each(|info| object.entry(&info.client, info));
        object.end();
    }
}

impl Describe for Members {
    const LABEL: &'static str = "object";

    fn schema(schemas: &mut Schemas) -> Value {
        json!({"type": "object", "additionalProperties": ClientInfo::schema(schemas)})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn each_client_is_on_one_page() {
        let ids = ["d", "a", "e", "c", "b"];
        let info = |id: &&str| Arc::new(ClientInfo { client: (*id).into(), ..ClientInfo::default() });
        let members: Members = ids.iter().map(info).collect::<Vec<_>>().into();
        let (mut pages, mut after) = (Vec::new(), String::new());
        loop {
            let (one, cursor) = page(&members, 2, &after);
            pages.push(one.iter().map(|info| info.client.to_string()).collect::<String>());
            match cursor {
                Some(cursor) => after = cursor,
                None => break,
            }
        }
        assert_eq!(pages, ["ab", "cd", "e"]);
        assert_eq!(page(&members, 5, "").1, None, "the last page may be full");
    }
}
