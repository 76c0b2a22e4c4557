//! From the configuration to the callers of the server API.

use super::build::BuildError;
use super::tokens::{certificates, expect};
use crate::api::access::{Caller, Callers, Scope, Tokens, Usages};
use crate::auth::jwks::Jwks;
use crate::auth::settings::{FetchSettings, IssuerSettings, JwksSettings, KeySettings, TokenSettings};
use crate::auth::verify::Verifier;
use crate::config::Config;
use crate::config::typed::ApiJwks;
use crate::secret::Secret;
use spinward::clock::Clock;
use std::sync::Arc;
use thiserror::Error;

/// Material that the callers of the API are made with. It outlives reloads of the configuration.
#[derive(Clone)]
pub(super) struct Ledger {
    pub(super) usages: Usages,
    pub(super) jwks: Jwks,
    pub(super) clock: Clock,
}

/// A key that cannot be used.
#[derive(Debug, Error)]
#[error("api_keys[{key}].methods: there is no method {method:?}")]
pub struct KeyError {
    key: String,
    method: String,
}

/// The callers of the HTTP API.
pub(super) fn http(config: &Config, ledger: &Ledger) -> Result<Callers, BuildError> {
    let api = &config.http_api;
    let mut callers = ledger.callers(config, "http_api", &api.key, &api.jwks)?;
    if api.insecure {
        callers.open_to(ledger.whole("http_api.insecure"));
    }
    Ok(callers)
}

/// The callers of the gRPC API. Without keys and tokens, everyone is one.
pub(super) fn grpc(config: &Config, ledger: &Ledger) -> Result<Callers, BuildError> {
    let api = &config.grpc_api;
    let mut callers = ledger.callers(config, "grpc_api", &api.key, &api.jwks)?;
    if api.key.is_empty() && !api.jwks.enabled && config.api_keys.is_empty() {
        callers.open_to(ledger.whole("grpc_api"));
    }
    Ok(callers)
}

impl Ledger {
    /// Those who have the endpoint's own key, one of the keys with scopes, or a token.
    fn callers(
        &self,
        config: &Config,
        endpoint: &str,
        own: &Secret,
        jwks: &ApiJwks,
    ) -> Result<Callers, BuildError> {
        let mut callers = Callers::new(self.clock.clone());
        callers.add(own, None, self.whole(&format!("{endpoint}.key")));
        for key in &config.api_keys {
            let scope = Scope::new(&key.methods, &key.channels, key.rate_limit)
                .map_err(|method| KeyError { key: key.name.clone(), method })?;
            let caller = Caller::new(scope, self.usages.of(&key.name), self.clock.clone());
            callers.add(&key.key, (key.valid_until != 0).then_some(key.valid_until), Arc::new(caller));
        }
        if jwks.enabled {
            let path = format!("{endpoint}.jwks");
            let verifier = Verifier::new(&settings(jwks, &path)?, &self.jwks)?;
            callers.accept(Tokens { verifier, scope: jwks.scope.clone(), caller: self.whole(&path) });
        }
        Ok(callers)
    }

    /// A caller that may do everything.
    fn whole(&self, name: &str) -> Arc<Caller> {
        Arc::new(Caller::new(Scope::default(), self.usages.of(name), self.clock.clone()))
    }
}

fn settings(jwks: &ApiJwks, path: &str) -> Result<TokenSettings, BuildError> {
    let ca_pem = certificates(&jwks.server_ca_pem, format!("{path}.server_ca_pem"))?;
    let set = JwksSettings {
        option: format!("{path}.endpoint"),
        endpoint: jwks.endpoint.clone(),
        insecure_skip_endpoint_safety_check: false,
        fetch: FetchSettings { ca_pem, ..FetchSettings::default() },
    };
    let issuer = IssuerSettings {
        path: path.to_owned(),
        keys: KeySettings { jwks: Some(set), ..KeySettings::default() },
        issuer: expect(&jwks.issuer, ""),
        audience: expect(&jwks.audience, ""),
        ..IssuerSettings::default()
    };
    // A token of a machine that never ends would be a key that cannot be taken back.
    Ok(TokenSettings { issuers: vec![issuer], require_exp: true, ..TokenSettings::default() })
}
