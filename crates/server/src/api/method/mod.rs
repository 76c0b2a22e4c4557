//! The methods of the server API, one per file.
//!
//! A method is a type with a [`Method`] implementation, and a line in the list at the end of this file. HTTP paths,
//! batches, the old form, the OpenAPI document and its page come from the list; a method that is not in it does not
//! exist anywhere.

mod block_user;
mod broadcast;
pub(super) mod channels;
pub(super) mod connections;
mod disconnect;
mod drain;
pub(crate) mod explain;
mod history;
mod history_remove;
mod info;
mod invalidate_user_tokens;
mod map_clear;
mod map_publish;
mod map_read_state;
mod map_read_stream;
mod map_remove;
mod map_stats;
mod presence;
mod presence_stats;
mod publish;
mod refresh;
mod revoke_token;
mod rpc;
mod shared;
mod shared_poll_publish;
mod subscribe;
mod target;
mod unblock_user;
mod unsubscribe;

use super::Context;
use super::describe::{Describe, Field, Schemas};
use super::error::ApiError;
use super::output::ToJson;
use super::parameter::{Parameters, Rejection, fields, read};
use crate::grpc::proto::api as proto;
use crate::params::Params;
use bytes::{Bytes, BytesMut};
use prost::{DecodeError, Message as _};
use serde_json::Value;
use std::fmt;
use std::future::Future;

/// A method of the server API.
pub(crate) trait Method {
    /// Name in paths, batches and the old form.
    const NAME: &'static str;
    /// Number in the old form. Methods that Centrifugo got later have none.
    const NUMBER: Option<u8> = None;
    /// Effect, in a sentence.
    const SUMMARY: &'static str;
    /// Errors that it answers besides [`ApiError::INTERNAL`].
    const ERRORS: &'static [ApiError];
    /// Parameters of a call, in JSON.
    const EXAMPLE: &'static str;
    /// True if it revokes something. Revocations in a row are enforced together.
    const REVOKES: bool = false;

    /// Parameters.
    type Params: Parameters + fmt::Debug + Send;
    /// Result.
    type Output: ToJson + Describe + fmt::Debug + Send;
    /// Parameters as gRPC has them.
    type Request: prost::Message + Default;
    /// Result as gRPC has it.
    type Result: prost::Message + From<Self::Output>;

    /// Returns the parameters of a call over gRPC.
    ///
    /// # Errors
    /// One of them cannot be used.
    fn params(request: Self::Request) -> Result<Self::Params, Rejection>;

    /// Returns the channels that a call is about.
    fn reach(params: &Self::Params) -> Reach<'_>;

    /// Makes the call.
    ///
    /// # Errors
    /// An error of the server API, as the caller gets it.
    fn call(
        cx: &Context<'_>,
        params: Self::Params,
    ) -> impl Future<Output = Result<Self::Output, ApiError>> + Send;
}

/// Channels that a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach<'a> {
    /// No channel is named.
    Nothing,
    /// One channel.
    Channel(&'a str),
    /// These channels.
    Channels(&'a [String]),
    /// Whichever channels there are.
    All,
}

impl<'a> Reach<'a> {
    /// The channel, where one is named.
    pub(super) const fn named(channel: &'a str) -> Self {
        if channel.is_empty() { Self::Nothing } else { Self::Channel(channel) }
    }
}

/// Description of a method, and the way to read its calls.
pub(crate) struct Descriptor {
    /// See [`Method::NAME`].
    pub(crate) name: &'static str,
    /// See [`Method::NUMBER`].
    pub(crate) number: Option<u8>,
    /// See [`Method::SUMMARY`].
    pub(crate) summary: &'static str,
    /// See [`Method::ERRORS`].
    pub(crate) errors: &'static [ApiError],
    /// See [`Method::EXAMPLE`].
    pub(crate) example: &'static str,
    /// Returns the fields of its parameters.
    pub(crate) fields: fn() -> Vec<Field>,
    /// Returns the schema of its result.
    pub(crate) output: fn(&mut Schemas) -> Value,
    /// Returns the schema of its reply.
    pub(crate) reply: fn(&mut Schemas) -> Value,
    read: fn(Params<'_>) -> Result<Command, Rejection>,
    decode: fn(Bytes) -> Result<Result<Command, Rejection>, DecodeError>,
}

impl Descriptor {
    const fn of<M: Method>(
        read: fn(Params<'_>) -> Result<Command, Rejection>,
        decode: fn(Bytes) -> Result<Result<Command, Rejection>, DecodeError>,
    ) -> Self {
        Self {
            name: M::NAME,
            number: M::NUMBER,
            summary: M::SUMMARY,
            errors: M::ERRORS,
            example: M::EXAMPLE,
            fields: fields::<M::Params>,
            output: M::Output::schema,
            reply: <Result<M::Output, ApiError>>::schema,
            read,
            decode,
        }
    }

    /// Reads a call of this method.
    ///
    /// # Errors
    /// The parameters are malformed, or one of them cannot be used.
    pub(crate) fn read(&self, params: Params<'_>) -> Result<Command, Rejection> {
        (self.read)(params)
    }

    /// Reads a call of this method over gRPC. The inner error is the answer to the call.
    ///
    /// # Errors
    /// The bytes do not have the form of the request.
    pub(crate) fn decode(&self, request: Bytes) -> Result<Result<Command, Rejection>, DecodeError> {
        (self.decode)(request)
    }

    /// Returns the name of the method in the gRPC service.
    #[must_use]
    pub(crate) fn grpc_name(&self) -> String {
        let words = self.name.split('_').map(|word| match word {
            // As the public schema has it.
            "rpc" => "RPC".to_owned(),
            word => {
                let (first, rest) = word.split_at(1);
                first.to_ascii_uppercase() + rest
            }
        });
        words.collect()
    }
}

impl fmt::Debug for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Descriptor").field(&self.name).finish()
    }
}

/// Returns the method of this name.
#[must_use]
pub(crate) fn by_name(name: &str) -> Option<&'static Descriptor> {
    METHODS.iter().find(|method| method.name == name)
}

pub(crate) use shared::Message;

impl Command {
    /// A broadcast that does not come as JSON. `None`: too many channels.
    pub(crate) fn broadcast(channels: Vec<String>, message: Message) -> Option<Self> {
        broadcast::Params::new(channels, message).map(Self::Broadcast)
    }
}

impl Reply {
    /// Results of a broadcast by channel; empty for other methods.
    pub(crate) fn failures(&self) -> Vec<Option<&ApiError>> {
        match self {
            Self::Broadcast(broadcast) => broadcast.responses.iter().map(|one| one.as_ref().err()).collect(),
            _ => Vec::new(),
        }
    }
}

macro_rules! methods {
    ($($module:ident::$method:ident),+ $(,)?) => {
        /// Every method. Where a command of a batch names several, the first of them counts.
        pub(crate) static METHODS: &[Descriptor] = &[$(
            Descriptor::of::<$module::$method>(
                |params| read(params).map(Command::$method),
                |bytes| {
                    let request = <$module::$method as Method>::Request::decode(bytes)?;
                    Ok($module::$method::params(request).map(Command::$method))
                },
            ),
        )+];

        /// A call, its parameters read.
        #[derive(Debug)]
        #[allow(missing_docs, reason = "each is the method of its name")]
        pub(crate) enum Command {
            $($method(<$module::$method as Method>::Params),)+
        }

        /// Result of a call.
        #[derive(Debug)]
        #[allow(missing_docs, reason = "each is the method of its name")]
        pub(crate) enum Reply {
            $($method(<$module::$method as Method>::Output),)+
        }

        impl Command {
            /// Reads a command of a batch over gRPC. `None`: it has no method that is here.
            pub(crate) fn from_proto(command: proto::Command) -> Option<Result<Self, Rejection>> {
                $(if let Some(request) = command.$module {
                    return Some($module::$method::params(request).map(Self::$method));
                })+
                None
            }

            /// See [`Method::REVOKES`].
            #[must_use]
            pub(crate) const fn revokes(&self) -> bool {
                match self {
                    $(Self::$method(_) => $module::$method::REVOKES,)+
                }
            }

            /// See [`Method::NAME`].
            #[must_use]
            pub(crate) const fn name(&self) -> &'static str {
                match self {
                    $(Self::$method(_) => $module::$method::NAME,)+
                }
            }

            /// Returns the place of the method in the list.
            #[must_use]
            pub(crate) const fn position(&self) -> usize {
                enum Position {
                    $($method,)+
                }
                match self {
                    $(Self::$method(_) => Position::$method as usize,)+
                }
            }

            /// See [`Method::reach`].
            #[must_use]
            pub(crate) fn reach(&self) -> Reach<'_> {
                match self {
                    $(Self::$method(params) => $module::$method::reach(params),)+
                }
            }

            /// Makes the call.
            pub(super) async fn call(self, cx: &Context<'_>) -> Result<Reply, ApiError> {
                match self {
                    $(Self::$method(params) => $module::$method::call(cx, params).await.map(Reply::$method),)+
                }
            }
        }

        impl Reply {
            /// The name of the method.
            #[must_use]
            pub(crate) const fn name(&self) -> &'static str {
                match self {
                    $(Self::$method(_) => $module::$method::NAME,)+
                }
            }
        }

        impl Reply {
            /// Appends the result of a call over gRPC: the field of this number.
            pub(crate) fn encode(self, number: u32, out: &mut BytesMut) {
                match self {
                    $(Self::$method(result) => {
                        let result: <$module::$method as Method>::Result = result.into();
                        prost::encoding::message::encode(number, &result, out);
                    })+
                }
            }

            /// Returns the reply to a command of a batch over gRPC.
            pub(crate) fn into_proto(self) -> proto::Reply {
                match self {
                    $(Self::$method(result) => {
                        proto::Reply { $module: Some(result.into()), ..proto::Reply::default() }
                    })+
                }
            }
        }

        impl ToJson for Reply {
            fn append(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$method(result) => result.append(out),)+
                }
            }
        }
    };
}

// The first thirteen are in the order in which Centrifugo v6.9 looks for them in a command of a batch.
methods! {
    publish::Publish,
    broadcast::Broadcast,
    subscribe::Subscribe,
    unsubscribe::Unsubscribe,
    disconnect::Disconnect,
    history::History,
    history_remove::HistoryRemove,
    presence::Presence,
    presence_stats::PresenceStats,
    info::Info,
    rpc::Rpc,
    refresh::Refresh,
    channels::Channels,
    connections::Connections,
    block_user::BlockUser,
    unblock_user::UnblockUser,
    revoke_token::RevokeToken,
    invalidate_user_tokens::InvalidateUserTokens,
    explain::Explain,
    drain::Drain,
    map_publish::MapPublish,
    map_remove::MapRemove,
    map_read_state::MapReadState,
    map_read_stream::MapReadStream,
    map_stats::MapStats,
    map_clear::MapClear,
    shared_poll_publish::SharedPollPublish,
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
