//! The endpoint for the messages of clients whose output is a stream.

use crate::http::{Answer, BoxFuture, Endpoint, Mount, Port, empty, message, preflight, sharing};
use crate::session::{ActiveConfig, Shared};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use spinward::transport::emulation::Emulation;

struct Endpointed {
    emulation: Emulation,
    active: Shared<ActiveConfig>,
}

/// The endpoint at a path.
pub(super) fn mount(path: &str, emulation: Emulation, active: Shared<ActiveConfig>) -> Mount {
    Mount::at(path, Port::External, Endpointed { emulation, active })
}

impl Endpointed {
    async fn respond(&self, request: &mut Request<Incoming>) -> Answer {
        match *request.method() {
            Method::POST => {}
            Method::OPTIONS => return preflight(),
            _ => return empty(StatusCode::METHOD_NOT_ALLOWED),
        }
        let body = match message(request.body_mut(), self.emulation.body_limit()).await {
            Ok(body) => body,
            Err(refusal) => return empty(refusal.status()),
        };
        empty(self.emulation.take(request.headers(), &body).await)
    }
}

impl Endpoint for Endpointed {
    fn answer<'a>(&'a self, _: &'a str, request: &'a mut Request<Incoming>) -> BoxFuture<'a, Option<Answer>> {
        Box::pin(async move {
            let allowed = self.active.get().origins.admit(request.headers());
            let sharing = sharing(request.headers(), allowed);
            let mut answer = self.respond(request).await;
            answer.headers_mut().extend(sharing);
            Some(answer)
        })
    }
}
