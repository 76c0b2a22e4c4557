//! Logging in with tokens.
//!
//! [`settings`] says what is expected, [`verify`] checks tokens against it, [`token`] is what comes out,
//! [`reason`] is why nothing came out and what the client is told then, [`jwks`] fetches the keys of issuers
//! that publish them, [`revoke`] takes back what was granted, [`origin`] says whose pages may ask, [`weak`] warns of secrets that
//! anyone can guess.
//!
//! Everything is told the time in Unix seconds. Nothing here shows a token or key in an error, a log or a
//! `Debug` output.

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
pub mod weak;

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
pub use weak::weak_secret;

#[cfg(test)]
pub(crate) mod testing;
