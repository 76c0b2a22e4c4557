//! The place of the HTTP API, and what is asked of a request before it is read.

use super::{HttpSettings, malformed, route};
use crate::api::Api;
use crate::api::access::Refused;
use crate::http::{Answer, BoxFuture, Endpoint, Mount, Port, empty, whole};
use crate::session::{RefusalLog, Shared};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use std::sync::Arc;

struct HttpApi {
    api: Api,
    settings: Shared<HttpSettings>,
    refusals: Arc<RefusalLog>,
}

/// The API below its prefix.
pub(crate) fn mount(
    api: Api,
    settings: Shared<HttpSettings>,
    refusals: Arc<RefusalLog>,
    external: bool,
) -> Mount {
    let prefix = settings.get().prefix.clone();
    let port = if external { Port::External } else { Port::Internal };
    Mount::below(&prefix, port, HttpApi { api, settings, refusals })
}

impl Endpoint for HttpApi {
    fn answer<'a>(
        &'a self,
        rest: &'a str,
        request: &'a mut Request<Incoming>,
    ) -> BoxFuture<'a, Option<Answer>> {
        Box::pin(async move {
            // The old endpoint, or a method.
            let path = if rest.is_empty() {
                rest
            } else {
                rest.strip_prefix('/').filter(|path| !path.is_empty())?
            };
            Some(self.serve(path, request).await)
        })
    }
}

impl HttpApi {
    async fn serve(&self, path: &str, request: &mut Request<Incoming>) -> Answer {
        let route = match route(path, request.method()) {
            Ok(route) => route,
            Err(answer) => return answer,
        };
        let settings = self.settings.get();
        let caller = match settings.caller(request.headers(), request.uri()).await {
            Ok(caller) => caller,
            Err(refused) => {
                let status = match refused {
                    Refused::KeySet(_) => StatusCode::SERVICE_UNAVAILABLE,
                    _ => StatusCode::UNAUTHORIZED,
                };
                self.refusals.api(path, status.as_u16(), refused.reason(), &refused);
                return empty(status);
            }
        };
        let body = match whole(request.body_mut(), settings.max_body).await {
            Ok(body) => body,
            Err(refused) => {
                let status = refused.status();
                self.refusals.api(path, status.as_u16(), "body", &status);
                return refused;
            }
        };
        self.api.serve(&settings, &caller, route, request.headers(), &body).await.unwrap_or_else(|error| {
            self.refusals.api(path, 400, "malformed", &error);
            malformed()
        })
    }
}
