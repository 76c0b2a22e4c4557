//! Access tokens of Google: of a service account's key, or of the metadata server.

use super::config::{Credentials, Error};
use crate::http::Http;
use crate::token::{Kept, TokenError, asked, fetched};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::HeaderValue;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde_json::json;
use spinward::clock::Clock;

/// Scope of a token.
const SCOPE: &str = "https://www.googleapis.com/auth/pubsub";

/// Lifetime of an assertion, in seconds.
const LIFETIME: i64 = 3_600;

/// Form of the grant.
const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// Tokens for requests.
pub(super) struct Tokens {
    http: Http,
    kept: Kept,
    from: From,
}

enum From {
    Metadata(String),
    Key(Box<Key>),
}

/// The key of a service account.
struct Key {
    email: String,
    id: String,
    endpoint: String,
    pair: RsaKeyPair,
    clock: Clock,
}

#[derive(Deserialize)]
struct KeyFile {
    r#type: String,
    client_email: String,
    private_key: String,
    #[serde(default)]
    private_key_id: String,
    token_uri: String,
}

impl Key {
    fn read(text: &str) -> Result<Self, Error> {
        let wrong =
            "not the key of a service account: JSON with type, client_email, private_key and token_uri";
        let file: KeyFile = serde_json::from_str(text).map_err(|_| Error::Key(wrong))?;
        if file.r#type != "service_account" {
            return Err(Error::Key(
                "type must be \"service_account\": other kinds of credentials are not built",
            ));
        }
        let url = reqwest::Url::parse(&file.token_uri).ok();
        if url.is_none_or(|url| !matches!(url.scheme(), "http" | "https")) {
            return Err(Error::Key("token_uri is not a URL"));
        }
        let key = PrivatePkcs8KeyDer::from_pem_slice(file.private_key.as_bytes());
        let pair = key.ok().and_then(|key| RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).ok());
        let pair = pair.ok_or(Error::Key("private_key is not an RSA key in PEM (PKCS#8)"))?;
        Ok(Self {
            email: file.client_email,
            id: file.private_key_id,
            endpoint: file.token_uri,
            pair,
            clock: Clock::system(),
        })
    }

    /// The statement of the service account that it asks for a token (RFC 7523).
    fn assertion(&self) -> Result<String, TokenError> {
        let now = self.clock.now().wall / 1_000;
        let header = json!({ "alg": "RS256", "typ": "JWT", "kid": self.id });
        let claims = json!({
            "iss": self.email, "scope": SCOPE, "aud": self.endpoint, "iat": now, "exp": now + LIFETIME,
        });
        let encoded = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let mut text = format!("{}.{}", encoded(header), encoded(claims));
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)
            .map_err(|_| TokenError::Request("the key cannot sign"))?;
        text.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut text);
        Ok(text)
    }
}

impl Tokens {
    pub(super) fn new(credentials: &Credentials, http: Http) -> Result<Self, Error> {
        let from = match credentials {
            Credentials::ServiceAccount(text) => From::Key(Box::new(Key::read(text)?)),
            Credentials::Metadata => {
                let host = std::env::var("GCE_METADATA_HOST").ok().filter(|host| !host.is_empty());
                let host = host.as_deref().unwrap_or("metadata.google.internal");
                From::Metadata(format!(
                    "http://{host}/computeMetadata/v1/instance/service-accounts/default/token?scopes={SCOPE}"
                ))
            }
        };
        Ok(Self { http, kept: Kept::default(), from })
    }

    /// The value of the header `Authorization`.
    pub(super) async fn header(&self) -> Result<HeaderValue, TokenError> {
        let grant = || async {
            match &self.from {
                From::Metadata(url) => fetched(&self.http, url, "metadata-flavor", "Google").await,
                From::Key(key) => {
                    let form = [("grant_type", GRANT), ("assertion", &*key.assertion()?)];
                    asked(&self.http, &key.endpoint, &form).await
                }
            }
        };
        self.kept.header(grant).await
    }

    /// Forgets a token that was refused.
    pub(super) async fn forget(&self) {
        self.kept.forget().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::encoding::AsDer as _;
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
    use base64::engine::general_purpose::STANDARD;
    use serde_json::Value;

    fn file(pair: &RsaKeyPair, r#type: &str) -> String {
        let der = pair.as_der().unwrap();
        let key = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            STANDARD.encode(der.as_ref())
        );
        json!({
            "type": r#type, "client_email": "a@b", "private_key": key, "private_key_id": "one",
            "token_uri": "https://oauth2.googleapis.com/token",
        })
        .to_string()
    }

    #[test]
    fn assertions_are_signed_by_the_key_of_the_account() {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let key = Key::read(&file(&pair, "service_account")).unwrap();
        let assertion = key.assertion().unwrap();
        let (signed, signature) = assertion.rsplit_once('.').unwrap();
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref());
        public.verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
        let parts: Vec<Value> = signed
            .split('.')
            .map(|part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap())
            .collect();
        assert_eq!(parts[0], json!({ "alg": "RS256", "typ": "JWT", "kid": "one" }));
        assert_eq!((&parts[1]["iss"], &parts[1]["scope"]), (&json!("a@b"), &json!(SCOPE)));
        assert_eq!(parts[1]["aud"], "https://oauth2.googleapis.com/token");
        assert_eq!(parts[1]["exp"].as_i64().unwrap() - parts[1]["iat"].as_i64().unwrap(), LIFETIME);
    }

    #[test]
    fn keys_that_cannot_be_used_are_refused() {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let right = file(&pair, "service_account");
        for (text, named) in [
            ("canary".to_owned(), "not the key of a service account"),
            (file(&pair, "authorized_user"), "type must be"),
            (right.replace("PRIVATE", "PUBLIC"), "private_key"),
            (right.replace("https:", "ftp:"), "token_uri"),
        ] {
            let error = Key::read(&text).err().unwrap().to_string();
            assert!(error.contains(named) && !error.contains("canary"), "{error}");
        }
    }
}
