//! The hosts of a server and their certificates, found by the name that a client sends.

use super::CHALLENGE;
use crate::tls::load::Identity;
use parking_lot::RwLock;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::Notify;

/// Hosts that clients may add by naming them, where any is allowed.
const MAX_NAMED: usize = 100;

/// Certificates by host.
#[derive(Debug)]
pub(crate) struct Hosts {
    /// The only hosts there are. Empty where clients may name others.
    listed: Vec<String>,
    /// The host for clients that name none.
    default: String,
    state: RwLock<State>,
    asked: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Named by clients.
    named: Vec<String>,
    identities: HashMap<String, Identity>,
    /// Certificates that prove to the ACME server who this is.
    challenges: HashMap<String, Arc<CertifiedKey>>,
}

impl Hosts {
    pub(super) fn new(listed: &[String], default: &str) -> Self {
        let lower = |host: &String| host.trim_end_matches('.').to_ascii_lowercase();
        let mut listed: Vec<String> = listed.iter().map(lower).collect();
        listed.dedup();
        let default = lower(&default.to_owned());
        Self { listed, default, state: RwLock::default(), asked: Notify::new() }
    }

    /// Hosts that need a certificate.
    pub(super) fn wanted(&self) -> Vec<String> {
        if !self.listed.is_empty() {
            return self.listed.clone();
        }
        let mut wanted: Vec<String> = Vec::new();
        wanted.extend(Some(self.default.clone()).filter(|host| !host.is_empty()));
        wanted.extend(self.state.read().named.iter().cloned());
        wanted
    }

    pub(super) fn set(&self, host: &str, identity: Identity) {
        let _former = self.state.write().identities.insert(host.to_owned(), identity);
    }

    pub(super) fn valid(&self, host: &str) -> Option<Range<i64>> {
        self.state.read().identities.get(host).map(|identity| identity.valid.clone())
    }

    /// Seconds since 1970 until which the certificate of a host holds.
    pub(super) fn ends(&self, host: &str) -> Option<i64> {
        self.valid(host).map(|valid| valid.end)
    }

    /// The hosts that have a certificate, and when each ends.
    pub(crate) fn certificates(&self) -> Vec<(String, i64)> {
        let state = self.state.read();
        let mut all: Vec<(String, i64)> =
            state.identities.iter().map(|(host, identity)| (host.clone(), identity.valid.end)).collect();
        all.sort();
        all
    }

    pub(super) fn set_challenge(&self, host: &str, key: CertifiedKey) {
        self.state.write().challenges.insert(host.to_owned(), Arc::new(key));
    }

    pub(super) fn clear_challenge(&self, host: &str) {
        self.state.write().challenges.remove(host);
    }

    /// Waits until a client has named a new host.
    pub(super) async fn asked(&self) {
        self.asked.notified().await;
    }

    /// Notes a host that a client has named, if it may be one of this server.
    pub(super) fn ask(&self, host: &str) {
        // A single label or an address is no name that certificates are issued for.
        let is_name = host.contains('.') && !host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        if !self.listed.is_empty() || !is_name {
            return;
        }
        let mut state = self.state.write();
        if state.named.len() < MAX_NAMED
            && !state.named.iter().any(|named| named == host)
            && host != self.default
        {
            state.named.push(host.to_owned());
            drop(state);
            self.asked.notify_one();
        }
    }
}

impl ResolvesServerCert for Hosts {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let host = hello.server_name().map(|name| name.trim_end_matches('.').to_ascii_lowercase());
        let is_challenge = hello.alpn().is_some_and(|mut names| names.any(|name| name == CHALLENGE));
        if is_challenge {
            return self.state.read().challenges.get(&host?).cloned();
        }
        let host = host.unwrap_or_else(|| self.default.clone());
        let found = self.state.read().identities.get(&host).map(|identity| Arc::clone(&identity.key));
        if found.is_none() {
            self.ask(&host);
        }
        found
    }
}
