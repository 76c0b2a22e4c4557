//! Pages of other origins that may read an answer.

use super::Answer;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN, HeaderMap, HeaderValue, ORIGIN,
};

/// Lets a page of an allowed origin read the answer. Others get it as well, and their browser keeps it from
/// them: it holds nothing, and what the request was for (an affinity, a cookie) is done.
pub(crate) fn share(headers: &HeaderMap, allowed: bool, answer: &mut Answer) {
    if let (true, Some(origin)) = (allowed, headers.get(ORIGIN)) {
        let own = answer.headers_mut();
        own.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        own.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
}
