//! Endpoints that connections of clients begin at.

use crate::config::Config;
use crate::config::typed::ConnectCodeToHttp;
use http::StatusCode;
use spinward::Node;
use spinward::transport::http_stream::{ConnectResponse, HttpStream};
use spinward::transport::websocket::WebSocket;

/// An endpoint that connections begin at.
pub(super) struct ClientEndpoint {
    pub(super) at: String,
    pub(super) service: ClientService,
}

/// The service of an endpoint.
pub(super) enum ClientService {
    WebSocket(WebSocket),
    Stream(HttpStream),
}

/// The endpoints that are enabled.
pub(super) fn endpoints(config: &Config, node: &Node) -> Vec<ClientEndpoint> {
    let mut all = Vec::new();
    let mut add = |enabled: bool, at: &str, service: ClientService| {
        if enabled {
            all.push(ClientEndpoint { at: at.to_owned(), service });
        }
    };
    let (websocket, uni) = (&config.websocket, &config.uni_websocket);
    add(!websocket.disabled, &websocket.handler_prefix, ClientService::WebSocket(node.websocket()));
    add(uni.enabled, &uni.handler_prefix, ClientService::WebSocket(node.uni_websocket()));
    let stream = |service: HttpStream, max_body: u32, answers: Option<&ConnectCodeToHttp>| {
        let service = service.max_body(max_body as usize);
        ClientService::Stream(match answers.filter(|answers| answers.enabled) {
            Some(answers) => service.connect_responses(responses(answers)),
            None => service,
        })
    };
    let one = &config.sse;
    add(one.enabled, &one.handler_prefix, stream(node.sse(), one.max_request_body_size, None));
    let one = &config.http_stream;
    add(one.enabled, &one.handler_prefix, stream(node.http_stream(), one.max_request_body_size, None));
    let one = &config.uni_sse;
    let answers = Some(&one.connect_code_to_http_response);
    add(
        one.enabled,
        &one.handler_prefix,
        stream(node.uni_sse().event_ids(one.event_ids), one.max_request_body_size, answers),
    );
    let one = &config.uni_http_stream;
    let answers = Some(&one.connect_code_to_http_response);
    let service = stream(node.uni_http_stream(), one.max_request_body_size, answers);
    add(one.enabled, &one.handler_prefix, service);
    all
}

fn responses(answers: &ConnectCodeToHttp) -> Vec<ConnectResponse> {
    let response = |transform: &crate::config::typed::HttpTransform| ConnectResponse {
        code: transform.code,
        // The check of the configuration has seen to it that it is one.
        status: StatusCode::from_u16(transform.to.status_code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        body: transform.to.body.clone(),
    };
    answers.transforms.iter().map(response).collect()
}
