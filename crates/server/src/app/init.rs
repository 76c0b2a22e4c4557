//! The endpoint that browsers ask before they connect, so that cookies and affinity are in place.

use crate::http::{Answer, BoxFuture, Endpoint, Mount, Port, empty, sharing, typed};
use crate::session::{ActiveConfig, Shared};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;

struct Init(Shared<ActiveConfig>);

/// The endpoint at a path.
pub(super) fn mount(path: &str, active: Shared<ActiveConfig>) -> Mount {
    Mount::at(path, Port::External, Init(active))
}

impl Endpoint for Init {
    fn answer<'a>(&'a self, _: &'a str, request: &'a mut Request<Incoming>) -> BoxFuture<'a, Option<Answer>> {
        Box::pin(async move {
            if request.method() != Method::GET {
                return Some(empty(StatusCode::METHOD_NOT_ALLOWED));
            }
            let mut answer = typed("application/json; charset=utf-8", "{}");
            let allowed = self.0.get().origins.admit(request.headers());
            answer.headers_mut().extend(sharing(request.headers(), allowed));
            Some(answer)
        })
    }
}
