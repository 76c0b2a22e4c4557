//! Credentials files of NATS: the token of a user, and the seed of the key that it is bound to.

use async_nats::{Auth, AuthError};
use nkeys::KeyPair;
use std::fmt;
use std::path::Path;
use thiserror::Error;

/// Reasons why a credentials file cannot be used. None shows what is in it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum CredentialsError {
    /// The file cannot be read.
    #[error("{0}")]
    Read(String),
    /// A part of the file is missing.
    #[error("no {0} in it: expected a file as `nsc generate creds` writes it")]
    Missing(&'static str),
    /// The seed is not that of a user.
    #[error("the seed in it is not that of a user, which begins with SU")]
    Seed,
}

/// Token and seed of a user.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    jwt: String,
    seed: String,
}

/// Shows neither.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

impl Credentials {
    /// Reads a file. Those that write it may replace it, so each connection does.
    pub(super) fn read(path: &Path) -> Result<Self, CredentialsError> {
        let text = std::fs::read_to_string(path);
        text.map_err(|error| CredentialsError::Read(format!("{}: {error}", path.display())))?.parse()
    }

    /// The login of a connection whose server has sent `nonce`, to be signed.
    pub(super) fn sign(&self, nonce: &[u8], auth: &mut Auth) -> Result<(), AuthError> {
        let key = KeyPair::from_seed(&self.seed).map_err(AuthError::new)?;
        auth.signature = Some(key.sign(nonce).map_err(AuthError::new)?);
        auth.jwt = Some(self.jwt.clone());
        Ok(())
    }
}

impl std::str::FromStr for Credentials {
    type Err = CredentialsError;

    fn from_str(text: &str) -> Result<Self, CredentialsError> {
        let jwt = block(text, "NATS USER JWT").ok_or(CredentialsError::Missing("NATS USER JWT"))?;
        let seed = block(text, "USER NKEY SEED").ok_or(CredentialsError::Missing("USER NKEY SEED"))?;
        if !seed.starts_with("SU") || KeyPair::from_seed(seed).is_err() {
            return Err(CredentialsError::Seed);
        }
        Ok(Self { jwt: jwt.to_owned(), seed: seed.to_owned() })
    }
}

/// The line behind `-----BEGIN NAME-----`.
fn block<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let mut lines = text.lines().map(str::trim);
    lines.find(|line| {
        let rest = line.trim_matches('-').strip_prefix("BEGIN ");
        line.starts_with("---") && rest == Some(name)
    })?;
    lines.find(|line| !line.is_empty()).filter(|line| !line.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(seed: &str) -> String {
        format!(
            "-----BEGIN NATS USER JWT-----\neyJ0.eyJq.c2ln\n------END NATS USER JWT------\n\n\
             ************************* IMPORTANT *************************\n\
             NKEY Seed printed below can be used to sign and prove identity.\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n\n\
             *************************************************************\n"
        )
    }

    #[test]
    fn a_file_has_a_token_and_a_seed() {
        let key = KeyPair::new_user();
        let text = file(&key.seed().unwrap());
        for text in [text.replace('\n', "\r\n"), text] {
            let credentials: Credentials = text.parse().unwrap();
            let mut auth = Auth::new();
            credentials.sign(b"nonce", &mut auth).unwrap();
            assert_eq!(auth.jwt.as_deref(), Some("eyJ0.eyJq.c2ln"));
            key.verify(b"nonce", &auth.signature.unwrap()).unwrap();
            assert!(!format!("{credentials:?}").contains("eyJ"));
        }
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named_and_not_shown() {
        let account = KeyPair::new_account().seed().unwrap();
        let user = KeyPair::new_user().seed().unwrap();
        let whole = file(&user);
        let (token, seed) = whole.split_at(whole.find("****").unwrap());
        for (text, error) in [
            ("", CredentialsError::Missing("NATS USER JWT")),
            (&user, CredentialsError::Missing("NATS USER JWT")),
            (seed, CredentialsError::Missing("NATS USER JWT")),
            (token, CredentialsError::Missing("USER NKEY SEED")),
            (&file(""), CredentialsError::Missing("USER NKEY SEED")),
            (&file(&account), CredentialsError::Seed),
            (&file(&user[..57]), CredentialsError::Seed),
            (&file("SUx"), CredentialsError::Seed),
            (&file("S\u{e4}"), CredentialsError::Seed),
        ] {
            assert_eq!(text.parse::<Credentials>(), Err(error), "{text}");
        }
        let error = Credentials::read(Path::new("/nowhere")).unwrap_err().to_string();
        assert!(error.starts_with("/nowhere: "), "{error}");
    }
}
