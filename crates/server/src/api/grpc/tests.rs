//! The schema beside the methods, and calls byte by byte.

use super::*;
use crate::api::describe::Schemas;
use crate::auth::revoke_store::MemoryStore;
use crate::grpc::descriptors::{File, Type, files};
use http_body_util::Full;
use spinward::clock::Clock;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Fields of the public schema, with the messages that are here: name, number and type of each.
const NUMBERS: &str = include_str!("numbers.txt");

fn schema() -> File {
    files().into_iter().map(|(file, _)| file).find(|file| file.name == "api.proto").unwrap()
}

fn message<'a>(schema: &'a File, name: &str) -> &'a Type {
    schema.messages.iter().find(|message| message.name == name).unwrap_or_else(|| panic!("no message {name}"))
}

/// Numbers, names and types of a message's fields, with types as `numbers.txt` writes them.
fn fields(of: &Type) -> BTreeSet<(i32, String, String)> {
    let plain = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let one = |field: &crate::grpc::descriptors::Field| {
        let kind = match field.kind {
            1 => "d".to_owned(),
            3 => "i64".to_owned(),
            4 => "u64".to_owned(),
            5 => "i32".to_owned(),
            8 => "b".to_owned(),
            9 => "s".to_owned(),
            11 => plain(&field.message),
            12 => "by".to_owned(),
            13 => "u32".to_owned(),
            other => panic!("{}: type {other}", field.name),
        };
        let kind = match of.types.iter().find(|entry| entry.name == kind) {
            Some(entry) => format!("map<{}>", map_of(entry)),
            None if field.label == 3 => format!("[]{kind}"),
            None => kind,
        };
        (field.number, field.name.clone(), kind)
    };
    of.fields.iter().map(one).collect()
}

/// Key and value of a map.
fn map_of(entry: &Type) -> String {
    match &*entry.fields[1].message {
        "" if entry.fields[1].kind == 1 => "string,double".to_owned(),
        "" => "s,s".to_owned(),
        message => format!("string,{}", message.rsplit('.').next().unwrap_or_default()),
    }
}

#[test]
fn every_method_is_in_the_schema_and_nothing_else() {
    let schema = schema();
    let package = |name: String| format!(".{}.{name}", schema.package);
    let service = &schema.services[0];
    assert_eq!(format!("{}.{}", schema.package, service.name), SERVICE);
    let calls: BTreeMap<&str, (&str, &str)> =
        service.methods.iter().map(|method| (&*method.name, (&*method.input, &*method.output))).collect();
    assert_eq!(calls.len(), METHODS.len() + 1, "the methods, and Batch");
    assert!(calls.contains_key("Batch"));
    let (command, reply) = (message(&schema, "Command"), message(&schema, "Reply"));
    assert_eq!(command.fields.len(), METHODS.len());
    assert_eq!(reply.fields.len(), METHODS.len() + 1, "the methods, and error");
    for method in METHODS {
        let name = method.grpc_name();
        let (request, response) = (package(format!("{name}Request")), package(format!("{name}Response")));
        assert_eq!(calls.get(&*name), Some(&(&*request, &*response)), "{name}");
        let in_command = command.fields.iter().find(|field| field.name == method.name).unwrap();
        let in_reply = reply.fields.iter().find(|field| field.name == method.name).unwrap();
        assert_eq!(in_command.number, in_reply.number, "{name}");
        assert_eq!(in_command.message, request, "{name}");
        assert_eq!(in_reply.message, package(format!("{name}Result")), "{name}");
        let response = fields(message(&schema, &format!("{name}Response")));
        let expected =
            [(1, "error".to_owned(), "Error".to_owned()), (2, "result".to_owned(), format!("{name}Result"))];
        assert_eq!(response, expected.into(), "{name}");
    }
}

#[test]
fn parameters_and_results_have_the_fields_of_the_schema() {
    let schema = schema();
    let names = |of: &str| -> BTreeSet<String> {
        message(&schema, of).fields.iter().map(|field| field.name.clone()).collect()
    };
    for method in METHODS {
        let name = method.grpc_name();
        let mut request = names(&format!("{name}Request"));
        // There is no method that takes any.
        if method.name == "rpc" {
            assert!(request.remove("params"));
        }
        let parameters = (method.fields)().iter().map(|field| field.name.to_owned()).collect();
        assert_eq!(request, parameters, "{name}");
        let mut schemas = Schemas::default();
        let reference = (method.output)(&mut schemas);
        let schemas = schemas.into_value();
        let output = reference["$ref"].as_str().unwrap().rsplit('/').next().unwrap();
        let output = schemas[output]["properties"].as_object().unwrap();
        // A method that refuses every call has no result yet.
        if !output.is_empty() {
            assert_eq!(names(&format!("{name}Result")), output.keys().cloned().collect(), "{name}");
        }
    }
}

#[test]
fn numbers_are_the_public_ones() {
    let schema = schema();
    let mut seen = BTreeSet::new();
    for line in NUMBERS.lines() {
        let (name, listed) = line.split_once(": ").unwrap();
        let listed: BTreeSet<_> = listed
            .split(", ")
            .map(|field| {
                let mut parts = field.splitn(3, ' ');
                let mut next = || parts.next().unwrap().to_owned();
                (next().parse::<i32>().unwrap(), next(), next())
            })
            .collect();
        let own: BTreeSet<_> =
            fields(message(&schema, name)).into_iter().filter(|(number, ..)| *number < 1000).collect();
        assert_eq!(own, listed, "{name}");
        seen.insert(name);
    }
    // Responses have one form, and what Spinward alone has is not in the list.
    for message in &schema.messages {
        let ours = ["Explain", "Drain"].iter().any(|ours| message.name.starts_with(ours));
        let known = seen.contains(&*message.name)
            || message.fields.is_empty()
            || message.name.ends_with("Response")
            || ours;
        assert!(known, "{} is in no list", message.name);
    }
}

#[tokio::test]
async fn the_key_is_an_exact_text() {
    let callers = Callers::single("gk");
    let settings = GrpcSettings { callers, transport_errors: false };
    let admits = async |values: &[&str]| {
        let mut metadata = HeaderMap::new();
        for value in values {
            metadata.append(AUTHORIZATION, value.parse().unwrap());
        }
        settings.caller(&metadata).await.is_ok()
    };
    assert!(admits(&["apikey gk"]).await && admits(&["apikey gk", "apikey no"]).await);
    for wrong in ["gk", "apikey", "apikey ", "apikey  gk", "APIKEY gk", "apikey gkk", "apikey g", "Bearer gk"]
    {
        assert!(!admits(&[wrong]).await, "{wrong}");
    }
    assert!(!admits(&[]).await && !admits(&["apikey no", "apikey gk"]).await);
}

#[test]
fn errors_are_statuses_with_the_error_as_a_detail() {
    for (error, code) in [
        (ApiError::UNKNOWN_CHANNEL, Code::NotFound),
        (ApiError::NOT_FOUND, Code::NotFound),
        (ApiError::BAD_REQUEST, Code::InvalidArgument),
        (ApiError::NOT_AVAILABLE, Code::InvalidArgument),
        (ApiError::TOO_MANY_REQUESTS, Code::Unavailable),
        (ApiError::UNRECOVERABLE_POSITION, Code::OutOfRange),
        (ApiError::CONFLICT, Code::AlreadyExists),
        (ApiError::INTERNAL, Code::Internal),
        (ApiError::STOPPED, Code::Unavailable),
    ] {
        let message = error.message.clone().into_owned();
        let status = status(error);
        assert_eq!((status.code, &status.message), (code, &message));
        assert!(status.trailers().contains_key("grpc-status-details-bin"));
    }
}

#[tokio::test]
async fn a_call_that_the_node_cannot_carry_out_any_more_is_unavailable() {
    let api = crate::api::http::tests::api(MemoryStore::new(1));
    let node = api.node.clone();
    let settings = GrpcSettings { callers: Callers::single("gk"), transport_errors: false };
    let refusals = Arc::new(RefusalLog::new(Clock::system()));
    let service = GrpcApi::new(api, Shared::new(settings), refusals, 0);
    let mut metadata = HeaderMap::new();
    metadata.insert(AUTHORIZATION, "apikey gk".parse().unwrap());
    let request = proto::PublishRequest {
        channel: "c".to_owned(),
        data: "1".into(),
        ..proto::PublishRequest::default()
    };
    let command = |request: &proto::PublishRequest| proto::Command {
        publish: Some(request.clone()),
        ..proto::Command::default()
    };
    let info = proto::Command { info: Some(proto::InfoRequest::default()), ..proto::Command::default() };
    let batch = |commands| proto::BatchRequest { commands, parallel: false }.encode_to_vec();
    let publishes = batch(vec![command(&request), command(&request)]);
    let mixed = batch(vec![info, command(&request)]);
    // Of an answer without a message, the status is a header.
    let status = async |method, request: &[u8]| {
        let mut message = vec![0];
        message.extend(u32::try_from(request.len()).unwrap().to_be_bytes());
        message.extend(request);
        let answer = service.answer(method, &metadata, Full::new(Bytes::from(message))).await;
        answer.unwrap().headers().get("grpc-status").map(|status| status.to_str().unwrap().to_owned())
    };
    let request = request.encode_to_vec();
    assert_eq!(status("Publish", &request).await, None);
    assert_eq!(status("Batch", &publishes).await, None);
    node.shutdown(Duration::from_secs(10)).await;
    assert_eq!(status("Publish", &request).await.as_deref(), Some("14"));
    assert_eq!(status("Batch", &publishes).await.as_deref(), Some("14"));
    // What was done must not be done again.
    assert_eq!(status("Batch", &mixed).await, None);
}
