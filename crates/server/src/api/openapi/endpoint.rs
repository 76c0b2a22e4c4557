//! The place of the description.

use super::page::Place;
use super::{document, page};
use crate::api::http::HttpSettings;
use crate::http::{Answer, BoxFuture, Endpoint, Mount, Port, typed};
use crate::session::Shared;
use http::Request;
use http::header::{CONTENT_SECURITY_POLICY, HOST, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::uri::Authority;
use hyper::body::Incoming;

/// The page's own script runs, and calls this server alone.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; connect-src 'self'; \
    form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

const SCRIPT: &str = include_str!("try.js");

struct Description {
    path: String,
    info: Option<&'static str>,
    settings: Shared<HttpSettings>,
}

/// The description of the HTTP API: a page at `path`, and the document beside it. In development the page finds the key
/// at `info`.
pub(crate) fn mount(path: &str, info: Option<&'static str>, settings: Shared<HttpSettings>) -> Mount {
    let at = path.trim_end_matches('/').to_owned();
    Mount::below(path, Port::Internal, Description { path: at, info, settings })
}

impl Endpoint for Description {
    fn answer<'a>(
        &'a self,
        rest: &'a str,
        request: &'a mut Request<Incoming>,
    ) -> BoxFuture<'a, Option<Answer>> {
        Box::pin(async move {
            let settings = self.settings.get();
            match rest {
                "" | "/" => {
                    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
                    let host = host.or_else(|| request.uri().authority().map(Authority::as_str));
                    let place =
                        Place { path: &self.path, host: host.unwrap_or("localhost"), info: self.info };
                    let mut page = typed("text/html; charset=utf-8", page(&settings, &place));
                    page.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
                    Some(page)
                }
                "/try.js" => {
                    let mut script = typed("text/javascript; charset=utf-8", SCRIPT);
                    script.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
                    Some(script)
                }
                "/openapi.json" => {
                    Some(typed("application/json; charset=utf-8", document(&settings).to_string()))
                }
                _ => None,
            }
        })
    }
}
