//! `subscribe`: subscribes a user's connections.

use super::shared::{IN_CHANNEL, StreamPosition};
use super::target::Target;
use super::{Method, Reach};
use crate::api::describe::{Describe, Schemas};
use crate::api::error::ApiError;
use crate::api::output::Empty;
use crate::api::parameter::{Arguments, Name, Parameter, Payload, Rejection, parameters};
use crate::api::{Context, log_missing};
use crate::grpc::proto::api as proto;
use crate::params::Malformed;
use crate::policy::server_side::{ServerSide, server_side};
use crate::policy::{Override, Source};
use crate::session::options;
use serde_json::{Value, json};
use spinward::{ServerSubscribe, SubscribeError};

/// See [`Method::SUMMARY`].
pub(crate) struct Subscribe;

parameters! {
    /// Parameters of `subscribe`.
    struct Params {
        /// The channel.
        channel: String = required,
        /// The connections.
        target: Target = flattened,
        /// End of the subscription, in Unix seconds; without it, never.
        expire_at: i64,
        /// Data that others see with the subscription.
        info: Payload,
        /// Data that the client gets with the push.
        data: Payload,
        /// Position from which the client recovers.
        recover_since: Option<StreamPosition>,
        /// Options that differ from the namespace's.
        r#override: Override,
    }
}

impl Method for Subscribe {
    const NAME: &'static str = "subscribe";
    const NUMBER: Option<u8> = Some(11);
    const SUMMARY: &'static str = "Subscribes connections of a user, or of all users, to a channel.";
    const ERRORS: &'static [ApiError] = IN_CHANNEL;
    const EXAMPLE: &'static str =
        r#"{"user": "42", "channel": "news", "override": {"presence": {"value": true}}}"#;

    type Params = Box<Params>;
    type Output = Empty;
    type Request = proto::SubscribeRequest;
    type Result = proto::SubscribeResult;

    fn params(request: proto::SubscribeRequest) -> Result<Self::Params, Rejection> {
        let proto::SubscribeRequest {
            channel,
            user,
            expire_at,
            info,
            b64info,
            client,
            data,
            b64data,
            recover_since,
            r#override,
            session,
            label_filter,
            all_users,
        } = request;
        Ok(Box::new(Params {
            channel,
            target: Target { user, client, session, label_filter: label_filter.try_into()?, all_users },
            expire_at,
            info: Payload::of(info, &b64info)?,
            data: Payload::of(data, &b64data)?,
            recover_since: recover_since.map(Into::into),
            r#override: r#override.map(Into::into).unwrap_or_default(),
        }))
    }

    fn reach(params: &Self::Params) -> Reach<'_> {
        Reach::Channel(&params.channel)
    }

    async fn call(cx: &Context<'_>, params: Box<Params>) -> Result<Empty, ApiError> {
        let Params { channel, target, expire_at, info, data, recover_since, r#override } = *params;
        let wanted = ServerSide {
            source: Source::ServerApi,
            overrides: r#override,
            expire_at: expire_at.max(0),
            info: (!info.0.is_empty()).then_some(&info.0),
            data: (!data.0.is_empty()).then_some(&data.0),
        };
        let grant =
            server_side(cx.rules(), &channel, &wanted).map_err(|refused| ApiError::from(&refused.code))?;
        let Some((user, filter)) = target.select(Vec::new())? else { return Ok(Empty {}) };
        let made = ServerSubscribe { options: options(&grant), since: recover_since.map(Into::into) };
        // An end in the past is an error of the server too, as in Centrifugo v6.9.
        match cx.node().subscribe(&user, &filter, &channel, made).await {
            Ok(applied) => {
                log_missing(Self::NAME, &applied);
                Ok(Empty {})
            }
            Err(SubscribeError::Stopped) => Err(ApiError::STOPPED),
            Err(error) => {
                tracing::warn!(%error, "API subscribe failed");
                Err(ApiError::INTERNAL)
            }
        }
    }
}

impl From<proto::SubscribeOptionOverride> for Override {
    fn from(options: proto::SubscribeOptionOverride) -> Self {
        let proto::SubscribeOptionOverride {
            presence,
            join_leave,
            force_recovery,
            force_positioning,
            force_push_join_leave,
        } = options;
        let given = |option: Option<proto::BoolValue>| option.map(|option| option.value.into());
        Self {
            presence: given(presence),
            join_leave: given(join_leave),
            force_push_join_leave: given(force_push_join_leave),
            force_positioning: given(force_positioning),
            force_recovery: given(force_recovery),
        }
    }
}

impl Parameter for Override {
    fn read(arguments: &Arguments<'_>, name: Name) -> Result<Self, Malformed> {
        Self::parse(arguments.raw(name)).map_err(|_| Malformed(name.plain))
    }
}

impl Describe for Override {
    const LABEL: &'static str = "object";

    fn schema(schemas: &mut Schemas) -> Value {
        let value = schemas
            .refer("BoolValue", |_| json!({"type": "object", "properties": {"value": {"type": "boolean"}}}));
        // Without `..`: an option that is new has to be described.
        let Self {
            presence: _,
            join_leave: _,
            force_push_join_leave: _,
            force_positioning: _,
            force_recovery: _,
        } = Self::NONE;
        schemas.refer("Override", |_| {
            json!({"type": "object", "properties": {
                "presence": value,
                "join_leave": value,
                "force_push_join_leave": value,
                "force_positioning": value,
                "force_recovery": value,
            }})
        })
    }
}
