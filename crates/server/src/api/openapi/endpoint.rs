//! The place of the description.

use super::{document, page};
use crate::api::http::HttpSettings;
use crate::http::{Answer, BoxFuture, Endpoint, Mount, Port, typed};
use crate::session::Shared;
use http::Request;
use http::header::{CONTENT_SECURITY_POLICY, HeaderValue};
use hyper::body::Incoming;

struct Description {
    /// Link from the page to the document.
    document: String,
    settings: Shared<HttpSettings>,
}

/// The description of the HTTP API: a page at `path`, and the document beside it.
pub(crate) fn mount(path: &str, settings: Shared<HttpSettings>) -> Mount {
    let document = format!("{}/openapi.json", path.trim_end_matches('/'));
    Mount::below(path, Port::Internal, Description { document, settings })
}

impl Endpoint for Description {
    fn answer<'a>(&'a self, rest: &'a str, _: &'a mut Request<Incoming>) -> BoxFuture<'a, Option<Answer>> {
        Box::pin(async move {
            let settings = self.settings.get();
            match rest {
                "" | "/" => {
                    let mut page = typed("text/html; charset=utf-8", page(&settings, &self.document));
                    page.headers_mut().insert(
                        CONTENT_SECURITY_POLICY,
                        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'"),
                    );
                    Some(page)
                }
                "/openapi.json" => {
                    Some(typed("application/json; charset=utf-8", document(&settings).to_string()))
                }
                _ => None,
            }
        })
    }
}
