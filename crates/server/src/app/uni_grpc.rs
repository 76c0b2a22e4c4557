//! The port of the unidirectional gRPC stream.

use super::handshake::kept_headers;
use crate::admission::{Admission, Entrance, Refused};
use crate::grpc::{self, Code, MAX_MESSAGE, Messages, Status};
use crate::http::{Answer, Opened, Peer, Service};
use crate::session::{ActiveConfig, Shared};
use http::Request;
use http::request::Parts;
use hyper::body::Incoming;
use spinward::Node;
use spinward::hooks::Handshake;
use spinward::identity::Transport;
use spinward::transport::opening::{NotAdmitted, Opening};
use spinward::wire::framing::grpc_connect;
use spinward::wire::ws::request::Head;
use spinward::wire::{Direction, Form};
use std::net::SocketAddr;
use std::sync::Arc;

const SERVICE: &str = "centrifugal.centrifugo.unistream.CentrifugoUniStream";
const METHOD: &str = "Consume";

/// The service of the unidirectional stream: a call with a connect request, answered by pushes.
pub(super) struct UniGrpc {
    node: Node,
    active: Shared<ActiveConfig>,
    admission: Admission,
    messages: Messages,
}

impl UniGrpc {
    /// The service, with messages of at most `max` bytes; 0 means 4 MiB.
    pub(super) fn new(node: Node, active: Shared<ActiveConfig>, admission: Admission, max: u32) -> Self {
        let max = if max == 0 { MAX_MESSAGE } else { max as usize };
        Self { node, active, admission, messages: Messages::new(max) }
    }

    async fn call(&self, request: Request<Incoming>, peer: &Peer) -> Result<Answer, Answer> {
        let (parts, body) = request.into_parts();
        let (service, method) = grpc::called(&parts)?;
        if service != SERVICE {
            return Err(grpc::unknown_service(service).answer());
        }
        if method != METHOD {
            return Err(grpc::unknown_method(service, method).answer());
        }
        self.admission.turn().await.map_err(|limit| refused(limit).answer())?;
        // Counted in before anything is read for it.
        let opening = self.admit(&parts, peer).map_err(|status| status.answer())?;
        let message = self.messages.read(body).await.map_err(|status| status.answer())?;
        let first = grpc_connect(&message).map_err(|error| {
            Status::new(Code::Internal, format!("error unmarshalling request: {error}")).answer()
        })?;
        Ok(grpc::stream(opening.body(first.into())))
    }

    /// Counts in a call: each is a client of its own.
    fn admit(&self, parts: &Parts, peer: &Peer) -> Result<Opening, Status> {
        let entrance = peer.entrance.lock().take();
        let entered = entrance.map_or_else(|| self.admission.enter(peer.address.ip()), Ok);
        let opened =
            entered.and_then(|entered| self.admission.open(&mut Some(entered), peer.address, &parts.headers));
        let (client, login) = opened.map_err(refused)?;
        let mut headers = http::HeaderMap::new();
        for name in kept_headers(&self.active.get(), &self.admission, peer.address) {
            for value in parts.headers.get_all(&name) {
                headers.append(&name, value.clone());
            }
        }
        let handshake = Handshake {
            headers,
            uri: parts.uri.clone(),
            credentials: None,
            peer: Some(client),
            extension: Some(Arc::new(login)),
        };
        let form = Form::grpc(Direction::Unidirectional);
        self.node.open(Transport::UniGrpc, form, handshake).map_err(|cause| {
            let limit = match cause {
                NotAdmitted::Connections => Refused::Connections,
                NotAdmitted::Rate => Refused::Rate,
                NotAdmitted::Stopping => {
                    return Status::new(Code::Unavailable, "the server is shutting down");
                }
            };
            self.admission.note(limit);
            refused(limit)
        })
    }
}

/// Clients try again after this code, with a pause.
fn refused(cause: Refused) -> Status {
    Status::new(Code::Unavailable, cause.status().0.canonical_reason().unwrap_or_default())
}

impl Service for UniGrpc {
    fn enter(&self, peer: SocketAddr) -> Result<Option<Entrance>, Refused> {
        self.admission.enter(peer.ip()).map(Some)
    }

    fn open(&self, _: &Head<'_>, _: &Peer) -> Opened {
        Opened::Pass
    }

    async fn answer(&self, request: Request<Incoming>, peer: &Peer) -> Answer {
        self.call(request, peer).await.unwrap_or_else(|answer| answer)
    }
}
