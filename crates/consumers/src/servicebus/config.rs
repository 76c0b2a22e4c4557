//! Settings of a consumer of Service Bus, and its errors.

use crate::http::HttpError;
use reqwest::Url;
use std::fmt;
use thiserror::Error as ThisError;

/// Settings of a [`Queues`](super::Queues) source.
#[derive(Clone, Debug)]
pub struct Config {
    /// Namespace and credentials.
    pub login: Login,
    /// Names of the queues.
    pub queues: Vec<String>,
    /// Readers of each queue, 1 to 64. More than one do not keep the order.
    pub readers: u32,
    /// Most messages that one reader holds, 1 to 100.
    pub most: u32,
}

/// A namespace and the credentials for it.
#[derive(Clone)]
pub enum Login {
    /// A connection string with `Endpoint`, `SharedAccessKeyName` and `SharedAccessKey`.
    ConnectionString(String),
    /// An application of Microsoft Entra ID.
    Client {
        /// Host of the namespace.
        namespace: String,
        /// Tenant.
        tenant: String,
        /// Id of the application.
        client: String,
        /// Its secret.
        secret: String,
    },
}

/// Shows no credentials.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConnectionString(_) => f.write_str("ConnectionString(…)"),
            Self::Client { namespace, .. } => {
                f.debug_struct("Client").field("namespace", namespace).finish_non_exhaustive()
            }
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self { login: Login::ConnectionString(String::new()), queues: Vec::new(), readers: 1, most: 1 }
    }
}

/// Errors of a source. None shows a credential.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// An option is missing.
    #[error("{0} must be set")]
    Unset(&'static str),
    /// A queue is there twice.
    #[error("queues has {0:?} twice")]
    Twice(String),
    /// The connection string cannot be used.
    #[error("connection_string: {0}")]
    ConnectionString(&'static str),
    /// The namespace is no host.
    #[error("fully_qualified_namespace must be a host such as NAME.servicebus.windows.net")]
    Namespace,
    /// The authority is no URL.
    #[error("AZURE_AUTHORITY_HOST must be a URL of the form https://…")]
    Authority,
    /// An option is out of its range.
    #[error("{option} must be {range}")]
    Range {
        /// The option.
        option: &'static str,
        /// Its range.
        range: &'static str,
    },
    /// A request has no answer.
    #[error("Service Bus: {0}")]
    Http(#[from] HttpError),
    /// There is no token.
    #[error("Service Bus: no access token: {0}")]
    Token(String),
    /// A request was refused.
    #[error("Service Bus: {action} was refused with status {status}")]
    Refused {
        /// The action.
        action: &'static str,
        /// Status of the answer.
        status: u16,
    },
    /// An answer cannot be read.
    #[error("Service Bus: unexpected answer to {0}")]
    Answer(&'static str),
}

impl Config {
    /// Checks everything that can be checked without a connection.
    ///
    /// # Errors
    /// Names the option to change.
    pub fn check(&self) -> Result<(), Error> {
        match &self.login {
            Login::ConnectionString(text) => drop(Key::read(text)?),
            Login::Client { namespace, tenant, client, secret } => {
                for (option, text) in [
                    ("fully_qualified_namespace", namespace),
                    ("tenant_id", tenant),
                    ("client_id", client),
                    ("client_secret", secret),
                ] {
                    if text.is_empty() {
                        return Err(Error::Unset(option));
                    }
                }
                base("https", namespace).ok_or(Error::Namespace)?;
            }
        }
        if self.queues.is_empty() || self.queues.iter().any(String::is_empty) {
            return Err(Error::Unset("queues"));
        }
        for (at, queue) in self.queues.iter().enumerate() {
            if self.queues[..at].contains(queue) {
                return Err(Error::Twice(queue.clone()));
            }
        }
        for (option, range, fits) in [
            ("max_concurrent_calls", "from 1 to 64", (1..=64).contains(&self.readers)),
            ("max_receive_messages", "from 1 to 100", (1..=100).contains(&self.most)),
        ] {
            if !fits {
                return Err(Error::Range { option, range });
            }
        }
        Ok(())
    }
}

/// The root of a namespace.
pub(super) fn base(scheme: &str, host: &str) -> Option<Url> {
    let url = Url::parse(&format!("{scheme}://{host}/")).ok()?;
    // Nothing but a host and perhaps a port.
    (url.path() == "/" && url.query().is_none() && url.username().is_empty() && !host.contains('/'))
        .then_some(url)
}

/// A shared access key.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) base: Url,
    pub(super) name: String,
    pub(super) key: String,
}

impl Key {
    pub(super) fn read(text: &str) -> Result<Self, Error> {
        if text.is_empty() {
            return Err(Error::Unset("connection_string"));
        }
        let wrong = Error::ConnectionString;
        let (mut endpoint, mut name, mut key, mut emulator) = (None, None, None, false);
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let (option, value) =
                part.split_once('=').ok_or_else(|| wrong("each part must be NAME=VALUE"))?;
            match option.to_ascii_lowercase().as_str() {
                "endpoint" => endpoint = Some(value),
                "sharedaccesskeyname" => name = Some(value),
                "sharedaccesskey" => key = Some(value),
                "usedevelopmentemulator" => emulator = value.eq_ignore_ascii_case("true"),
                "entitypath" => return Err(wrong("leave EntityPath out, and name the queue in queues")),
                "sharedaccesssignature" => {
                    return Err(wrong(
                        "a SharedAccessSignature expires: use SharedAccessKeyName and SharedAccessKey",
                    ));
                }
                _ => {}
            }
        }
        let host = endpoint.and_then(|endpoint| endpoint.strip_prefix("sb://"));
        let host = host.ok_or_else(|| wrong("Endpoint must be of the form sb://HOST/"))?;
        // An emulator speaks without TLS.
        let scheme = if emulator { "http" } else { "https" };
        let base = base(scheme, host.trim_end_matches('/'));
        let base = base.ok_or_else(|| wrong("Endpoint must be of the form sb://HOST/"))?;
        let filled = |value: Option<&str>| value.filter(|value| !value.is_empty()).map(str::to_owned);
        let name = filled(name).ok_or_else(|| wrong("SharedAccessKeyName is missing"))?;
        let key = filled(key).ok_or_else(|| wrong("SharedAccessKey is missing"))?;
        Ok(Self { base, name, key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRING: &str =
        "Endpoint=sb://shop.servicebus.windows.net/;SharedAccessKeyName=reader;SharedAccessKey=canary==";

    #[test]
    fn options_that_cannot_be_used_are_named() {
        let login = Login::ConnectionString(STRING.to_owned());
        let right = Config { login, queues: vec!["events".to_owned()], ..Config::default() };
        right.check().unwrap();
        assert!(!format!("{right:?}").contains("canary"));
        let string = |text: &str| Login::ConnectionString(text.to_owned());
        let client = |namespace: &str, tenant: &str| Login::Client {
            namespace: namespace.to_owned(),
            tenant: tenant.to_owned(),
            client: "c".to_owned(),
            secret: "canary".to_owned(),
        };
        Config { login: client("shop.servicebus.windows.net", "t"), ..right.clone() }.check().unwrap();
        for (name, wrong) in [
            ("connection_string", Config { login: string(""), ..right.clone() }),
            ("connection_string", Config { login: string("canary"), ..right.clone() }),
            ("Endpoint", Config { login: string(&STRING.replace("sb:", "https:")), ..right.clone() }),
            ("EntityPath", Config { login: string(&format!("{STRING};EntityPath=q")), ..right.clone() }),
            ("SharedAccessKeyName", Config { login: string(&STRING.replace("reader", "")), ..right.clone() }),
            ("fully_qualified_namespace", Config { login: client("https://a/", "t"), ..right.clone() }),
            ("tenant_id", Config { login: client("a", ""), ..right.clone() }),
            ("queues", Config { queues: Vec::new(), ..right.clone() }),
            ("queues", Config { queues: vec!["a".to_owned(), "a".to_owned()], ..right.clone() }),
            ("max_concurrent_calls", Config { readers: 0, ..right.clone() }),
            ("max_receive_messages", Config { most: 0, ..right }),
        ] {
            let error = wrong.check().unwrap_err().to_string();
            assert!(error.contains(name) && !error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn an_emulator_is_spoken_to_without_tls() {
        let text = "Endpoint=sb://127.0.0.1:5300;SharedAccessKeyName=a;SharedAccessKey=b=;UseDevelopmentEmulator=true;";
        let key = Key::read(text).unwrap();
        assert_eq!((key.base.as_str(), &*key.name, &*key.key), ("http://127.0.0.1:5300/", "a", "b="));
        assert_eq!(Key::read(STRING).unwrap().base.as_str(), "https://shop.servicebus.windows.net/");
    }
}
