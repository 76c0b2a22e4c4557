//! Access tokens of OAuth 2.0, kept until shortly before they expire.

use crate::http::{Http, HttpError, Reply};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde::Deserialize;
use std::future::Future;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Time that an answer may take.
const ANSWER: Duration = Duration::from_secs(10);

/// Longest answer.
const LONGEST: usize = 1 << 20;

/// Time before its end at which a token is replaced.
const EARLY: Duration = Duration::from_secs(60);

/// There is no token. Shows neither a credential nor an answer.
#[derive(Debug, Error)]
pub(crate) enum TokenError {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("the request was refused with status {0}")]
    Refused(u16),
    #[error("unexpected answer")]
    Answer,
    #[error("{0}")]
    Request(&'static str),
}

/// A token that is renewed.
#[derive(Default)]
pub(crate) struct Kept(Mutex<Option<(HeaderValue, Instant)>>);

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: u64,
}

impl Kept {
    /// The value of the header `Authorization`; `grant` is asked for a new token where there is none.
    pub(crate) async fn header<F>(&self, grant: impl FnOnce() -> F) -> Result<HeaderValue, TokenError>
    where
        F: Future<Output = Result<Reply, TokenError>> + Send,
    {
        // Held while a token is asked for, so that callers share one request. That takes `ANSWER` at most.
        let mut kept = self.0.lock().await;
        if let Some((header, until)) = &*kept
            && Instant::now() < *until
        {
            return Ok(header.clone());
        }
        *kept = None;
        let began = Instant::now();
        let reply = grant().await?;
        if !reply.status.is_success() {
            return Err(TokenError::Refused(reply.status.as_u16()));
        }
        let granted: Granted = serde_json::from_slice(&reply.body).map_err(|_| TokenError::Answer)?;
        let header = HeaderValue::try_from(format!("Bearer {}", granted.access_token));
        let mut header = header.map_err(|_| TokenError::Answer)?;
        header.set_sensitive(true);
        let lasts = Duration::from_secs(granted.expires_in.min(24 * 3_600)).saturating_sub(EARLY);
        *kept = Some((header.clone(), began + lasts));
        Ok(header)
    }

    /// Forgets a token that was refused.
    pub(crate) async fn forget(&self) {
        *self.0.lock().await = None;
    }
}

/// Asks for a token with a form.
pub(crate) async fn asked(http: &Http, url: &str, form: &[(&str, &str)]) -> Result<Reply, TokenError> {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let request = http::Request::post(url)
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Bytes::from(body))
        .map_err(|_| TokenError::Request("the address is not valid"))?;
    Ok(http.send(request, ANSWER, LONGEST).await?)
}

/// Asks for a token without a body.
pub(crate) async fn fetched(http: &Http, url: &str, name: &str, value: &str) -> Result<Reply, TokenError> {
    let request = http::Request::get(url).header(name, value).body(Bytes::new());
    let request = request.map_err(|_| TokenError::Request("the address is not valid"))?;
    Ok(http.send(request, ANSWER, LONGEST).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, StatusCode};
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    fn reply(status: u16, body: String) -> Reply {
        let status = StatusCode::from_u16(status).unwrap();
        Reply { status, headers: HeaderMap::new(), body: body.into() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_kept_until_shortly_before_its_end() {
        let (kept, asked) = (Kept::default(), AtomicU32::new(0));
        let grant = || async {
            let number = asked.fetch_add(1, Relaxed);
            Ok(reply(200, format!(r#"{{"access_token": "canary-{number}", "expires_in": 3600}}"#)))
        };
        let first = kept.header(grant).await.unwrap();
        assert_eq!(first, "Bearer canary-0");
        assert!(first.is_sensitive() && !format!("{first:?}").contains("canary"));
        tokio::time::advance(Duration::from_secs(3_530)).await;
        assert_eq!(kept.header(grant).await.unwrap(), first);
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!(kept.header(grant).await.unwrap(), "Bearer canary-1");
        kept.forget().await;
        assert_eq!(kept.header(grant).await.unwrap(), "Bearer canary-2");
    }

    #[tokio::test]
    async fn what_is_no_token_is_told_without_the_answer() {
        let kept = Kept::default();
        for (status, body) in [
            (401, r#"{"error": "canary"}"#),
            (200, "canary"),
            (200, r#"{"access_token": "canary\n", "expires_in": 1}"#),
        ] {
            let error = kept.header(|| async { Ok(reply(status, body.to_owned())) }).await.unwrap_err();
            assert!(!error.to_string().contains("canary"), "{error}");
        }
    }
}
