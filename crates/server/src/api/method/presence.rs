//! `presence`: the clients in a channel.

use super::shared::{InChannel, OPTIONAL_IN_CHANNEL, allowed};
use super::{Method, Reach};
use crate::api::Context;
use crate::api::describe::{Describe, Schemas};
use crate::api::error::ApiError;
use crate::api::output::{Object, ToJson, output};
use crate::api::parameter::Rejection;
use crate::grpc::proto::api as proto;
use crate::policy::api;
use serde_json::{Value, json};
use spinward::ClientInfo;
use spinward::engine::presence::Members;

/// See [`Method::SUMMARY`].
pub(crate) struct Presence;

output! {
    /// The clients in a channel.
    struct Clients as "Presence" {
        /// Clients by their ids.
        presence: Members,
    }
}

impl Method for Presence {
    const NAME: &'static str = "presence";
    const NUMBER: Option<u8> = Some(4);
    const SUMMARY: &'static str = "Lists the clients in a channel.";
    const ERRORS: &'static [ApiError] = OPTIONAL_IN_CHANNEL;
    const EXAMPLE: &'static str = r#"{"channel": "news"}"#;

    type Params = InChannel;
    type Output = Clients;
    type Request = proto::PresenceRequest;
    type Result = proto::PresenceResult;

    fn params(proto::PresenceRequest { channel }: proto::PresenceRequest) -> Result<Self::Params, Rejection> {
        Ok(InChannel { channel })
    }

    fn reach(params: &Self::Params) -> Reach<'_> {
        Reach::Channel(&params.channel)
    }

    async fn call(cx: &Context<'_>, InChannel { channel }: InChannel) -> Result<Clients, ApiError> {
        allowed(cx.rules(), &channel, api::Presence)?;
        match cx.node().presence(&channel).await {
            Ok(presence) => Ok(Clients { presence }),
            Err(_) => Err(ApiError::INTERNAL),
        }
    }
}

impl From<Clients> for proto::PresenceResult {
    fn from(Clients { presence }: Clients) -> Self {
        Self { presence: presence.iter().map(|info| (info.client.to_string(), (&**info).into())).collect() }
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
