//! WebTransport: who may open a session.

use super::build::Built;
use super::handshake::kept_headers;
use crate::admission::{Admission, Refused};
use crate::config::Config;
use crate::http::unescaped;
use crate::session::{ActiveConfig, Shared};
use crate::webtransport::{Opened, Request, Sessions};
use http::HeaderMap;
use spinward::Node;
use spinward::hooks::Handshake;
use spinward::identity::Transport;
use spinward::transport::opening::NotAdmitted;
use spinward::transport::websocket::query_value;
use spinward::wire::{Form, Protocol};
use std::sync::Arc;

/// The sessions at a path.
pub(super) struct WebTransport {
    node: Node,
    active: Shared<ActiveConfig>,
    admission: Admission,
    path: String,
}

/// The sessions of a server.
pub(super) fn sessions(config: &Config, built: &Built) -> WebTransport {
    WebTransport {
        node: built.node.clone(),
        active: built.active.clone(),
        admission: built.admission.clone(),
        path: config.webtransport.handler_prefix.clone(),
    }
}

impl Sessions for WebTransport {
    fn open(&self, request: Request) -> Opened {
        if unescaped(request.uri.path()) != self.path.as_str() {
            return Opened::NotFound;
        }
        let active = self.active.get();
        if !active.origins.admit(&request.headers) {
            return Opened::Forbidden;
        }
        // A session cannot wait here: its client tries again.
        if !self.admission.take_turn() {
            self.admission.note(Refused::Rate);
            return Opened::Refused;
        }
        let entered = self.admission.enter(request.peer.ip());
        let opened = entered
            .and_then(|entrance| self.admission.open(&mut Some(entrance), request.peer, &request.headers));
        // Counted and logged where it is decided.
        let Ok((client, login)) = opened else { return Opened::Refused };
        let mut headers = HeaderMap::new();
        for name in kept_headers(&active, &self.admission, request.peer) {
            for value in request.headers.get_all(&name) {
                headers.append(&name, value.clone());
            }
        }
        let protocol = match query_value(&request.uri, "cf_protocol").as_deref() {
            Some(b"protobuf") => Protocol::Protobuf,
            _ => Protocol::Json,
        };
        let handshake = Handshake {
            headers,
            uri: request.uri,
            credentials: None,
            peer: Some(client),
            extension: Some(Arc::new(login)),
        };
        match self.node.open(Transport::WebTransport, Form::delimited(protocol), handshake) {
            Ok(opening) => Opened::Accepted(opening),
            Err(cause) => {
                match cause {
                    NotAdmitted::Connections => self.admission.note(Refused::Connections),
                    NotAdmitted::Rate => self.admission.note(Refused::Rate),
                    NotAdmitted::Stopping => {}
                }
                Opened::Refused
            }
        }
    }
}
