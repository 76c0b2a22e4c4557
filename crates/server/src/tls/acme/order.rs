//! One order: from the account to the certificate.

use super::client::{Requests, authorities};
use super::{Acme, PATH, cache};
use crate::tls::load::{Identity, TlsError};
use crate::tls::port::provider;
use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, ExternalAccountKey, Identifier, KeyAuthorization,
    NewAccount, NewOrder, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use std::time::Duration;
use thiserror::Error;

/// Time that the ACME server may take to look, and to issue.
const PATIENCE: Duration = Duration::from_secs(120);

/// An order that brought no certificate.
#[derive(Debug, Error)]
pub(super) enum OrderError {
    #[error(transparent)]
    Acme(#[from] instant_acme::Error),
    #[error("{PATH}.eab_hmac_key: this is not base64 for URLs")]
    Binding,
    #[error("{PATH}.cache_dir: cannot write: {0}")]
    Cache(std::io::Error),
    #[error("the ACME server offers neither {0} nor another challenge that this server answers")]
    NoChallenge(&'static str),
    #[error("the ACME server refused the order: {0}")]
    Refused(String),
    #[error("a key or request could not be made: {0}")]
    Key(#[from] rcgen::Error),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("the challenge's certificate could not be made: {0}")]
    Challenge(#[from] rustls::Error),
}

/// Gets a certificate for a host.
pub(super) async fn order(acme: &Acme, host: &str) -> Result<Identity, OrderError> {
    let proof = Proof { acme, host, tokens: Vec::new() };
    ordered(acme, host, proof).await
}

async fn ordered(acme: &Acme, host: &str, mut proof: Proof<'_>) -> Result<Identity, OrderError> {
    let account = account(acme).await?;
    let identifiers = [Identifier::Dns(host.to_owned())];
    let mut order = account.new_order(&NewOrder::new(&identifiers)).await?;
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let kinds = if acme.options.http {
            [ChallengeType::Http01, ChallengeType::TlsAlpn01]
        } else {
            // Without a listener of its own, HTTP-01 cannot be answered.
            [ChallengeType::TlsAlpn01, ChallengeType::TlsAlpn01]
        };
        let offered = |kind: &&ChallengeType| authorization.challenges.iter().any(|one| one.r#type == **kind);
        let Some(kind) = kinds.iter().find(offered) else {
            return Err(OrderError::NoChallenge(if acme.options.http { "http-01" } else { "tls-alpn-01" }));
        };
        let Some(mut challenge) = authorization.challenge(kind.clone()) else { continue };
        proof.answer(kind, &challenge.token, &challenge.key_authorization())?;
        challenge.set_ready().await?;
    }
    let patience = RetryPolicy::new().initial_delay(Duration::from_millis(500)).timeout(PATIENCE);
    let status = order.poll_ready(&patience).await?;
    if status == OrderStatus::Invalid {
        return Err(OrderError::Refused(reason(&mut order).await));
    }
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec![host.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key)?;
    order.finalize_csr(request.der()).await?;
    let chain = order.poll_certificate(&patience).await?;
    // As Go's autocert writes it: the key, and the chain behind it.
    let text = format!("{}{chain}", key.serialize_pem());
    let identity = cache::parse(text.as_bytes(), "the answer of the ACME server", &provider())?;
    // The certificate serves, whether it can be kept or not.
    if let Err(error) = acme.cache.keep(host, &text) {
        tracing::error!(error = %OrderError::Cache(error), host, "ACME: the certificate is not kept");
    }
    Ok(identity)
}

/// The fault that the ACME server names.
async fn reason(order: &mut instant_acme::Order) -> String {
    let mut reasons = Vec::new();
    if let Some(problem) = &order.state().error {
        reasons.push(problem.to_string());
    }
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let _ = authorization.refresh().await;
        let faults = authorization.challenges.iter().filter_map(|one| one.error.as_ref());
        reasons.extend(faults.map(ToString::to_string));
    }
    if reasons.is_empty() { "without a reason".to_owned() } else { reasons.join("; ") }
}

/// The account of this server, created if it is missing.
async fn account(acme: &Acme) -> Result<Account, OrderError> {
    let options = &acme.options;
    let builder = || {
        Requests::new(&authorities(&options.server_ca_pem).unwrap_or_default())
            .map(|requests| Account::builder_with_http(Box::new(requests)))
    };
    if let Some(text) = acme.cache.account() {
        // One of another server is of no use here.
        let stored: Option<serde_json::Value> = serde_json::from_str(&text).ok();
        let of = stored.as_ref().and_then(|stored| stored["directory"].as_str());
        if of == Some(options.directory_url.as_str())
            && let Ok(credentials) = serde_json::from_str(&text)
        {
            return Ok(builder()?.from_credentials(credentials).await?);
        }
    }
    let contact = (!options.email.is_empty()).then(|| format!("mailto:{}", options.email));
    let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
    let external = (!options.eab_key_id.is_empty()).then(|| {
        let key = options.eab_hmac_key.expose();
        let decoded = URL_SAFE_NO_PAD.decode(key).or_else(|_| URL_SAFE.decode(key));
        decoded.map(|key| ExternalAccountKey::new(options.eab_key_id.clone(), &key))
    });
    let external = external.transpose().map_err(|_| OrderError::Binding)?;
    let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let (account, credentials) =
        builder()?.create(&new, options.directory_url.clone(), external.as_ref()).await?;
    let text = serde_json::to_string(&credentials).map_err(instant_acme::Error::from)?;
    acme.cache.keep_account(&text).map_err(OrderError::Cache)?;
    Ok(account)
}

/// Answers to challenges, which are taken back when this is dropped.
struct Proof<'a> {
    acme: &'a Acme,
    host: &'a str,
    tokens: Vec<String>,
}

impl Proof<'_> {
    fn answer(
        &mut self,
        kind: &ChallengeType,
        token: &str,
        answer: &KeyAuthorization,
    ) -> Result<(), OrderError> {
        if *kind == ChallengeType::Http01 {
            self.acme.answers.lock().insert(token.to_owned(), answer.as_str().to_owned());
            self.tokens.push(token.to_owned());
            return Ok(());
        }
        let mut params = CertificateParams::new(vec![self.host.to_owned()])?;
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(answer.digest().as_ref())];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        let secret = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let signer = provider().key_provider.load_private_key(secret)?;
        self.acme.hosts.set_challenge(self.host, CertifiedKey::new(vec![certificate.der().clone()], signer));
        Ok(())
    }
}

impl Drop for Proof<'_> {
    fn drop(&mut self) {
        self.acme.hosts.clear_challenge(self.host);
        let mut answers = self.acme.answers.lock();
        for token in &self.tokens {
            answers.remove(token);
        }
    }
}
