//! Credentials of requests: a signature by a shared access key, or a token of Microsoft Entra ID.

use super::config::{Error, Key, Login, base};
use crate::http::Http;
use crate::token::{Kept, TokenError, asked};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use form_urlencoded::byte_serialize;
use http::header::HeaderValue;
use reqwest::Url;
use spinward::clock::Clock;

/// Scope of a token.
const SCOPE: &str = "https://servicebus.azure.net/.default";

/// Lifetime of a signature, in seconds. One is made for each request.
const LIFETIME: i64 = 300;

/// Credentials for the queues of a namespace.
pub(super) struct Credentials {
    http: Http,
    clock: Clock,
    by: By,
}

enum By {
    Key(Key),
    Client { endpoint: String, client: String, secret: String, kept: Kept },
}

impl Credentials {
    /// Credentials, and the root of the namespace.
    pub(super) fn new(login: &Login, http: Http) -> Result<(Self, Url), Error> {
        let (by, base) = match login {
            Login::ConnectionString(text) => {
                let key = Key::read(text)?;
                let base = key.base.clone();
                (By::Key(key), base)
            }
            Login::Client { namespace, tenant, client, secret } => {
                let base = base("https", namespace).ok_or(Error::Namespace)?;
                let authority = std::env::var("AZURE_AUTHORITY_HOST").ok().filter(|host| !host.is_empty());
                let authority = authority.as_deref().unwrap_or("https://login.microsoftonline.com");
                let mut endpoint = Url::parse(authority).map_err(|_| Error::Authority)?;
                let mut path = endpoint.path_segments_mut().map_err(|()| Error::Authority)?;
                path.pop_if_empty().extend([&**tenant, "oauth2", "v2.0", "token"]);
                drop(path);
                let (client, secret) = (client.clone(), secret.clone());
                (By::Client { endpoint: endpoint.into(), client, secret, kept: Kept::default() }, base)
            }
        };
        Ok((Self { http, clock: Clock::system(), by }, base))
    }

    /// The value of the header `Authorization` for a queue.
    pub(super) async fn header(&self, queue: &Url) -> Result<HeaderValue, TokenError> {
        match &self.by {
            By::Key(key) => {
                let until = self.clock.now().wall / 1_000 + LIFETIME;
                let header = HeaderValue::try_from(signature(key, queue, until));
                let mut header = header.map_err(|_| TokenError::Request("the key's name is not valid"))?;
                header.set_sensitive(true);
                Ok(header)
            }
            By::Client { endpoint, client, secret, kept } => {
                let form = [
                    ("grant_type", "client_credentials"),
                    ("client_id", client),
                    ("client_secret", secret),
                    ("scope", SCOPE),
                ];
                kept.header(|| asked(&self.http, endpoint, &form)).await
            }
        }
    }

    /// Forgets a token that was refused.
    pub(super) async fn forget(&self) {
        if let By::Client { kept, .. } = &self.by {
            kept.forget().await;
        }
    }
}

/// A shared access signature.
fn signature(key: &Key, queue: &Url, until: i64) -> String {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let resource = encoded(queue.as_str());
    let signer = hmac::Key::new(hmac::HMAC_SHA256, key.key.as_bytes());
    let signature = hmac::sign(&signer, format!("{resource}\n{until}").as_bytes());
    let signature = encoded(&STANDARD.encode(signature));
    format!("SharedAccessSignature sr={resource}&sig={signature}&se={until}&skn={}", encoded(&key.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compared with HMAC-SHA256 of Python's standard library.
    #[test]
    fn signatures() {
        let text =
            "Endpoint=sb://shop.servicebus.windows.net/;SharedAccessKeyName=all of it;SharedAccessKey=secret";
        let key = Key::read(text).unwrap();
        let queue = Url::parse("https://shop.servicebus.windows.net/events").unwrap();
        assert_eq!(
            signature(&key, &queue, 1_700_000_000),
            "SharedAccessSignature sr=https%3A%2F%2Fshop.servicebus.windows.net%2Fevents&sig=Pmm1x%2Fcstm8%2FOvkk2WeFMsofsRHL4Ws9Y1cW4KxBEqg%3D&se=1700000000&skn=all+of+it"
        );
    }
}
