//! Logging in with tokens.
//!
//! [`settings`] holds the configured keys and expected claims, [`verify`] checks tokens against them, [`token`] is the
//! verified result, [`reason`] lists the reasons for a refusal and the client's code for each, [`jwks`] fetches published
//! key sets, [`revoke`] revokes tokens and users, [`origin`] checks the origins of pages.
//!
//! Times are arguments, in Unix seconds. No error, log line or `Debug` output contains a token or key.

pub mod claims;
pub mod endpoint;
pub mod expect;
mod json;
pub mod jwks;
pub mod jws;
pub mod keys;
pub mod origin;
pub mod pem;
pub mod reason;
pub mod revoke;
mod revoke_log;
pub mod revoke_store;
pub mod settings;
pub mod sign;
pub mod token;
pub mod verify;

pub(crate) use json::one_line;
pub use jwks::{Jwks, JwksStats};
pub use pem::KeyFault;
pub use reason::{Outcome, Reason, Refusal, Use};
pub use revoke::{Revocation, RevocationStore, Revocations, StoreError, Subject};
pub use revoke_store::MemoryStore;
pub use settings::{
    ClaimSettings, Expect, FetchSettings, IssuerSettings, JwksSettings, KeySettings, Timed, TokenSettings,
};
pub use token::{ConnectToken, SubOptions, SubscribeToken};
pub use verify::{SettingsError, Verifier};

#[cfg(test)]
pub(crate) mod testing;
