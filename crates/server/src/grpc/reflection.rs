//! The reflection service: tools such as grpcurl ask it for services and their schema.

use super::descriptors::Schema;
use super::message::{Incoming, framed};
use super::proto::reflection::server_reflection_request::MessageRequest;
use super::proto::reflection::server_reflection_response::MessageResponse;
use super::proto::reflection::{
    ErrorResponse, ExtensionNumberResponse, FileDescriptorResponse, ListServiceResponse,
    ServerReflectionRequest, ServerReflectionResponse, ServiceResponse,
};
use super::status::{Code, Status};
use super::stream::frames;
use super::{undecodable, unknown_method};
use crate::http::Answer;
use bytes::Bytes;
use hyper::body::Body;
use prost::Message;
use std::error::Error;
use std::sync::Arc;
use tokio::sync::watch;

/// The service, and its name in an older version whose messages were the same.
const SERVICES: [&str; 2] =
    ["grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"];
const METHOD: &str = "ServerReflectionInfo";

/// Most bytes of a question.
const MAX_QUESTION: usize = 16 << 10;

/// The reflection service.
pub(crate) struct Reflection {
    schema: Arc<Schema>,
}

impl Reflection {
    /// The service, for the schema of this server.
    pub(crate) fn new() -> Self {
        Self { schema: Arc::new(Schema::new()) }
    }

    /// Returns true if the service has this name.
    pub(crate) fn is_named(service: &str) -> bool {
        SERVICES.contains(&service)
    }

    /// Answers questions until the client has no more of them, or `stop` changes.
    pub(crate) fn answer<B>(
        &self,
        method: &str,
        body: B,
        stop: watch::Receiver<bool>,
    ) -> Result<Answer, Status>
    where
        B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        if method != METHOD {
            return Err(unknown_method(SERVICES[0], method));
        }
        let schema = Arc::clone(&self.schema);
        let questions = Incoming::new(body, MAX_QUESTION);
        Ok(frames(futures_util::stream::unfold((questions, stop), move |(mut questions, mut stop)| {
            let schema = Arc::clone(&schema);
            async move {
                let answer = tokio::select! {
                    question = questions.next() => match question {
                        Ok(question) => answer_to(&schema, question?),
                        Err(status) => Err(status),
                    },
                    _ = stop.changed() => Err(Status::new(Code::Unavailable, "the server is shutting down")),
                };
                Some((answer, (questions, stop)))
            }
        })))
    }
}

fn answer_to(schema: &Schema, question: Bytes) -> Result<Bytes, Status> {
    let question = ServerReflectionRequest::decode(question).map_err(|error| undecodable(&error))?;
    let answer = ServerReflectionResponse {
        valid_host: question.host.clone(),
        message_response: Some(found(schema, question.message_request.as_ref())),
        original_request: Some(question),
    };
    Ok(framed(|out| answer.encode_raw(out)))
}

fn found(schema: &Schema, question: Option<&MessageRequest>) -> MessageResponse {
    let file = |file: Option<Bytes>, name: &str| match file {
        // A file of this server needs no other.
        Some(file) => MessageResponse::FileDescriptorResponse(FileDescriptorResponse {
            file_descriptor_proto: vec![file],
        }),
        None => error(Code::NotFound, format!("not found: {name}")),
    };
    match question {
        Some(MessageRequest::FileByFilename(name)) => file(schema.file(name), name),
        Some(MessageRequest::FileContainingSymbol(symbol)) => file(schema.file_of(symbol), symbol),
        Some(MessageRequest::FileContainingExtension(extension)) => file(None, &extension.containing_type),
        // There are no extensions in proto3.
        Some(MessageRequest::AllExtensionNumbersOfType(name)) if schema.has(name) => {
            MessageResponse::AllExtensionNumbersResponse(ExtensionNumberResponse {
                base_type_name: name.clone(),
                extension_number: Vec::new(),
            })
        }
        Some(MessageRequest::AllExtensionNumbersOfType(name)) => file(None, name),
        Some(MessageRequest::ListServices(_)) => {
            let service = schema.services.iter().map(|name| ServiceResponse { name: name.clone() });
            MessageResponse::ListServicesResponse(ListServiceResponse { service: service.collect() })
        }
        None => error(Code::InvalidArgument, "a question of an unknown kind".to_owned()),
    }
}

fn error(code: Code, error_message: String) -> MessageResponse {
    MessageResponse::ErrorResponse(ErrorResponse { error_code: code as i32, error_message })
}

#[cfg(test)]
mod tests {
    use super::*;

    const API: &str = "centrifugal.centrifugo.api";

    fn ask(question: MessageRequest) -> MessageResponse {
        found(&Schema::new(), Some(&question))
    }

    #[test]
    fn services_and_everything_in_them_are_found() {
        let MessageResponse::ListServicesResponse(services) =
            ask(MessageRequest::ListServices(String::new()))
        else {
            panic!("not a list");
        };
        let names: Vec<&str> = services.service.iter().map(|service| service.name.as_str()).collect();
        let api = format!("{API}.CentrifugoApi");
        assert_eq!(names, [api.as_str(), "grpc.health.v1.Health", SERVICES[0]]);
        let MessageResponse::FileDescriptorResponse(file) =
            ask(MessageRequest::FileByFilename("api.proto".to_owned()))
        else {
            panic!("not a file");
        };
        for symbol in ["CentrifugoApi", "CentrifugoApi.RPC", "PublishRequest", "PublishRequest.channel"] {
            let asked = ask(MessageRequest::FileContainingSymbol(format!("{API}.{symbol}")));
            assert_eq!(asked, MessageResponse::FileDescriptorResponse(file.clone()), "{symbol}");
        }
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        for question in [
            MessageRequest::FileByFilename("other.proto".to_owned()),
            MessageRequest::FileContainingSymbol(format!("{API}.Other")),
            MessageRequest::AllExtensionNumbersOfType("a.B".to_owned()),
        ] {
            let MessageResponse::ErrorResponse(error) = ask(question.clone()) else {
                panic!("{question:?} is found");
            };
            assert_eq!(error.error_code, 5);
        }
        let MessageResponse::ErrorResponse(error) = found(&Schema::new(), None) else { panic!("is found") };
        assert_eq!(error.error_code, 3);
    }
}
