//! The methods of the server API, one per file.
//!
//! A method is a type with a [`Method`] implementation, and a line in the list at the end of this file. HTTP paths,
//! batches, the old form, the OpenAPI document and its page come from the list; a method that is not in it does not
//! exist anywhere.

mod block_user;
mod broadcast;
pub(super) mod channels;
mod disconnect;
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
mod unblock_user;
mod unsubscribe;

use super::Context;
use super::describe::{Describe, Field, Schemas};
use super::error::ApiError;
use super::output::ToJson;
use super::parameter::{Parameters, Rejection, fields, read};
use crate::params::Params;
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

    /// Makes the call.
    ///
    /// # Errors
    /// An error of the server API, as the caller gets it.
    fn call(
        cx: &Context<'_>,
        params: Self::Params,
    ) -> impl Future<Output = Result<Self::Output, ApiError>> + Send;
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
}

impl Descriptor {
    const fn of<M: Method>(read: fn(Params<'_>) -> Result<Command, Rejection>) -> Self {
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
        }
    }

    /// Reads a call of this method.
    ///
    /// # Errors
    /// The parameters are malformed, or one of them cannot be used.
    pub(crate) fn read(&self, params: Params<'_>) -> Result<Command, Rejection> {
        (self.read)(params)
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

macro_rules! methods {
    ($($module:ident::$method:ident),+ $(,)?) => {
        /// Every method. Where a command of a batch names several, the first of them counts.
        pub(crate) static METHODS: &[Descriptor] = &[$(
            Descriptor::of::<$module::$method>(|params| read(params).map(Command::$method)),
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
            /// See [`Method::REVOKES`].
            #[must_use]
            pub(crate) const fn revokes(&self) -> bool {
                match self {
                    $(Self::$method(_) => $module::$method::REVOKES,)+
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
    block_user::BlockUser,
    unblock_user::UnblockUser,
    revoke_token::RevokeToken,
    invalidate_user_tokens::InvalidateUserTokens,
    explain::Explain,
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
