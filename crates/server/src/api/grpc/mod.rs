//! The server API over gRPC. Messages become the same commands as JSON does, and results are those of the methods.

use super::Api;
use super::access::{Caller, Callers, Denied, Refused};
use super::batch::MAX_COMMANDS;
use super::error::ApiError;
use super::method::{Command, Descriptor, METHODS, Reply};
use super::parameter::Rejection;
use crate::grpc::proto::api as proto;
use crate::grpc::{Code, MAX_MESSAGE, Messages, Status, unary, undecodable, unknown_method};
use crate::http::Answer;
use crate::session::{RefusalLog, Shared};
use bytes::Bytes;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use hyper::body::Body;
use prost::Message;
use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;

/// The name of the service.
pub(crate) const SERVICE: &str = "centrifugal.centrifugo.api.CentrifugoApi";

/// The full name of the message that an error has in the details of a status.
const ERROR: &str = "centrifugal.centrifugo.api.Error";

/// Settings of the gRPC endpoint.
#[derive(Debug)]
pub(crate) struct GrpcSettings {
    /// Callers that are admitted.
    pub(crate) callers: Callers,
    /// `grpc_api.error_mode` is `transport`.
    pub(crate) transport_errors: bool,
}

impl GrpcSettings {
    /// Returns the caller, by its key or token: the text `apikey` in this case, one blank, and the key. Of several values
    /// of the metadata the first counts.
    ///
    /// # Errors
    /// Nobody has it.
    async fn caller(&self, metadata: &HeaderMap) -> Result<Arc<Caller>, Refused> {
        if let Some(caller) = self.callers.open() {
            return Ok(Arc::clone(caller));
        }
        let shown = metadata.get(AUTHORIZATION).map_or(&b""[..], |value| value.as_bytes());
        if let Some(key) = shown.strip_prefix(b"apikey ") {
            return self.callers.with_key(key);
        }
        let token = shown.strip_prefix(b"Bearer ").or_else(|| shown.strip_prefix(b"bearer "));
        match token.and_then(|token| std::str::from_utf8(token).ok()) {
            Some(token) => self.callers.with_token(token).await,
            None => Err(Refused::Key),
        }
    }
}

/// The service.
pub(crate) struct GrpcApi {
    api: Api,
    settings: Shared<GrpcSettings>,
    refusals: Arc<RefusalLog>,
    messages: Messages,
    methods: HashMap<String, &'static Descriptor>,
}

/// The method of a call.
#[derive(Clone, Copy)]
enum Called {
    Method(&'static Descriptor),
    /// Many calls.
    Batch,
}

impl Called {
    const fn name(self) -> &'static str {
        match self {
            Self::Method(method) => method.name,
            Self::Batch => "batch",
        }
    }
}

impl GrpcApi {
    /// The service, with requests of at most `max` bytes; 0 means 4 MiB.
    pub(crate) fn new(api: Api, settings: Shared<GrpcSettings>, refusals: Arc<RefusalLog>, max: u32) -> Self {
        let max = if max == 0 { MAX_MESSAGE } else { max as usize };
        let methods = METHODS.iter().map(|method| (method.grpc_name(), method)).collect();
        Self { api, settings, refusals, messages: Messages::new(max), methods }
    }

    /// Answers a call of a method of the service.
    ///
    /// # Errors
    /// The status is all of the answer.
    pub(crate) async fn answer<B>(
        &self,
        method: &str,
        metadata: &HeaderMap,
        body: B,
    ) -> Result<Answer, Status>
    where
        B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>>,
    {
        let called = match method {
            "Batch" => Called::Batch,
            name => match self.methods.get(name) {
                Some(method) => Called::Method(method),
                None => return Err(unknown_method(SERVICE, name)),
            },
        };
        let settings = self.settings.get();
        let caller = settings.caller(metadata).await.map_err(|refused| {
            let status = match refused {
                Refused::KeySet(_) => Status::new(Code::Unavailable, "tokens cannot be verified now"),
                _ => Status::new(Code::Unauthenticated, "unauthenticated"),
            };
            self.refusals.grpc(called.name(), status.code as u8, refused.reason(), &refused);
            status
        })?;
        let request = self.messages.read(body).await.inspect_err(|status| {
            self.refusals.grpc(called.name(), status.code as u8, "body", &status.message);
        })?;
        // In boxes: a stream has room for the answer to its call, and most of them are a publish.
        let answer = match called {
            Called::Method(method) => {
                let mode = metadata.get("x-centrifugo-error-mode");
                let transport =
                    settings.transport_errors || mode.is_some_and(|mode| mode.as_bytes() == b"transport");
                self.one(&caller, method, request, transport).await
            }
            Called::Batch => Box::pin(self.many(&caller, request)).await,
        };
        answer.inspect_err(|status| {
            self.refusals.grpc(called.name(), status.code as u8, "malformed", &status.message);
        })
    }

    async fn one(
        &self,
        caller: &Caller,
        method: &Descriptor,
        request: Bytes,
        transport: bool,
    ) -> Result<Answer, Status> {
        let command = method.decode(request).map_err(|error| undecodable(&error))?;
        let reply = match answerable(command)? {
            Ok(command) => match caller.admit(&command) {
                Ok(()) => self.api.call(command).await,
                Err(denied) => return Ok(self::denied(&denied).answer()),
            },
            Err(refused) => Err(refused),
        };
        match reply {
            Ok(reply) => Ok(unary(|out| reply.encode(2, out))),
            // In both modes: clients try such a call again, at another node.
            Err(error) if transport || error == ApiError::STOPPED => Ok(status(error).answer()),
            Err(error) => {
                Ok(unary(|out| prost::encoding::message::encode(1, &proto::Error::from(error), out)))
            }
        }
    }

    async fn many(&self, caller: &Caller, request: Bytes) -> Result<Answer, Status> {
        let request = proto::BatchRequest::decode(request).map_err(|error| undecodable(&error))?;
        let proto::BatchRequest { commands, parallel } = request;
        if commands.len() > MAX_COMMANDS {
            let text = format!("{} commands in a batch: at most {MAX_COMMANDS} are allowed", commands.len());
            return Err(Status::new(Code::InvalidArgument, text));
        }
        // Nothing is done if one of them is malformed.
        let commands = commands.into_iter().map(|command| match Command::from_proto(command) {
            Some(command) => answerable(command),
            None => Ok(Err(ApiError::NOT_FOUND)),
        });
        let commands = commands.collect::<Result<Vec<_>, _>>()?;
        let reply = |reply: Result<Reply, ApiError>| match reply {
            Ok(reply) => reply.into_proto(),
            Err(error) => proto::Reply { error: Some(error.into()), ..proto::Reply::default() },
        };
        let replies = self.api.batch(caller, commands, parallel).await;
        // Nothing was done: clients try such a request again, at another node.
        if !replies.is_empty()
            && replies.iter().all(|one| matches!(one, Err(error) if *error == ApiError::STOPPED))
        {
            return Ok(status(ApiError::STOPPED).answer());
        }
        let replies = replies.into_iter().map(reply).collect();
        Ok(unary(|out| proto::BatchResponse { replies }.encode_raw(out)))
    }
}

/// The status of a call that the key does not allow.
fn denied(denied: &Denied) -> Status {
    let code =
        if matches!(denied, Denied::Rate { .. }) { Code::ResourceExhausted } else { Code::PermissionDenied };
    Status::new(code, denied.to_string())
}

/// Takes the answers to a single call apart from those to the request as a whole.
fn answerable(command: Result<Command, Rejection>) -> Result<Result<Command, ApiError>, Status> {
    match command {
        Ok(command) => Ok(Ok(command)),
        Err(Rejection::Refused(error)) => Ok(Err(error)),
        Err(Rejection::Malformed(error)) => Err(Status::new(Code::InvalidArgument, error.to_string())),
    }
}

/// The status that an error is in the transport error mode.
fn status(error: ApiError) -> Status {
    let code = match error.code {
        _ if error == ApiError::STOPPED => Code::Unavailable,
        102 | 104 => Code::NotFound,
        103 => Code::PermissionDenied,
        107 | 108 => Code::InvalidArgument,
        111 => Code::Unavailable,
        112 => Code::OutOfRange,
        113 => Code::AlreadyExists,
        _ => Code::Internal,
    };
    Status::new(code, error.message.clone()).with_detail(ERROR, &proto::Error::from(error))
}

#[cfg(test)]
mod tests;
