//! Calls over HTTP: POST requests with JSON.

use super::failure::Failure;
use super::gzip;
use super::json::{self, FromJson};
use super::messages::{Answered, Disconnect, Error};
use crate::config::typed::StatusTransform;
use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use reqwest::{Client, Request, Response, Url};

/// A way to a back end over HTTP.
pub(super) struct Http {
    pub(super) client: Client,
    pub(super) url: Url,
    /// User and password of the endpoint.
    pub(super) basic: Option<HeaderValue>,
    pub(super) transforms: Vec<StatusTransform>,
    pub(super) max_response: usize,
}

impl Http {
    /// Makes a call. It is never made twice.
    pub(super) async fn call<R: FromJson>(
        &self,
        mut headers: HeaderMap,
        body: Vec<u8>,
    ) -> Result<Answered<R>, Failure> {
        if let Some(basic) = &self.basic
            && !headers.contains_key(AUTHORIZATION)
        {
            headers.insert(AUTHORIZATION, basic.clone());
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        let mut request = Request::new(Method::POST, self.url.clone());
        *request.headers_mut() = headers;
        *request.body_mut() = Some(body.into());
        let response = self.client.execute(request).await.map_err(|error| sent(&error))?;
        if response.status() != StatusCode::OK {
            return self.transformed(response.status().as_u16());
        }
        let packed = response.headers().get(CONTENT_ENCODING).is_some_and(|coding| coding == "gzip");
        let mut body = whole(response, self.max_response).await?;
        if packed {
            body = gzip::unpack(&body, self.max_response).ok_or(Failure::Malformed)?.into();
        }
        // Go reads what is not UTF-8 like this.
        json::read(&String::from_utf8_lossy(&body)).map_err(|_| Failure::Malformed)
    }

    /// The answer that stands for a status. The first one that fits counts.
    fn transformed<R>(&self, status: u16) -> Result<Answered<R>, Failure> {
        let fits = |transform: &&StatusTransform| transform.status_code == status;
        let transform = self.transforms.iter().find(fits).ok_or(Failure::Status(status))?;
        let error = &transform.to_error;
        let disconnect = &transform.to_disconnect;
        Ok(Answered {
            error: (error.code > 0).then(|| Error {
                code: error.code,
                message: error.message.clone(),
                temporary: error.temporary,
            }),
            disconnect: (disconnect.code > 0)
                .then(|| Disconnect { code: disconnect.code, reason: disconnect.reason.clone() }),
            ..Answered::EMPTY
        })
    }
}

/// The fault of a request that has no response.
pub(super) fn sent(error: &reqwest::Error) -> Failure {
    if error.is_timeout() {
        Failure::Timeout
    } else if error.is_connect() {
        Failure::Connect
    } else {
        Failure::Broken
    }
}

/// Reads a body of at most `max` bytes.
async fn whole(mut response: Response, max: usize) -> Result<Bytes, Failure> {
    if response.content_length().is_some_and(|length| length > max as u64) {
        return Err(Failure::TooLarge);
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| sent(&error))? {
        if body.len() + chunk.len() > max {
            return Err(Failure::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}
