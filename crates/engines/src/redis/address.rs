//! Addresses of servers, as people write them.

use super::config::Endpoint;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// Port of servers, and of Sentinels.
const PORTS: (u16, u16) = (6379, 26379);

/// An address that cannot be read. It shows no part that may be secret.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressError {
    /// Not a known scheme.
    #[error(
        "unknown scheme `{0}`: use redis, rediss, redis+sentinel, redis+cluster, unix, redis+unix or host:port"
    )]
    Scheme(String),
    /// No host, or an empty path.
    #[error("the host or path is missing")]
    Host,
    /// Not a number from 1 to 65535.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// Not the number of a database.
    #[error("the path is not the number of a database")]
    Database,
    /// `%` without two hexadecimal digits, or bytes that are not UTF-8.
    #[error("the {0} is not percent-encoded UTF-8: write `%` as `%25`")]
    Encoding(&'static str),
    /// An unknown parameter.
    #[error("unknown parameter `{0}`")]
    Parameter(String),
    /// A parameter's value.
    #[error("parameter `{0}` is not {1}")]
    Value(String, &'static str),
}

/// Kind of what an address names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Single,
    Sentinel,
    Cluster,
}

/// Options that an address gives by its parameters. They come before the options of their names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) io_timeout: Option<Duration>,
    pub(crate) db: Option<u32>,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) client_name: Option<String>,
    pub(crate) force_resp2: Option<bool>,
    pub(crate) tls_enabled: Option<bool>,
    pub(crate) sentinel_user: Option<String>,
    pub(crate) sentinel_password: Option<String>,
    pub(crate) sentinel_master_name: Option<String>,
    pub(crate) sentinel_client_name: Option<String>,
    pub(crate) sentinel_tls_enabled: Option<bool>,
}

/// An address.
pub(crate) struct Address {
    pub(crate) scheme: Scheme,
    pub(crate) endpoints: Vec<Endpoint>,
    /// User and password.
    pub(crate) login: Option<(String, String)>,
    pub(crate) db: Option<u32>,
    /// The scheme says that TLS is used.
    pub(crate) tls: Option<bool>,
    pub(crate) given: Given,
}

/// Reads an address. `plain` is the kind of one without a scheme.
pub(crate) fn read(text: &str, plain: Scheme) -> Result<Address, AddressError> {
    let text = text.trim();
    let mut address = Address {
        scheme: plain,
        endpoints: Vec::new(),
        login: None,
        db: None,
        tls: None,
        given: Given::default(),
    };
    let Some((scheme, rest)) = text.split_once("://") else {
        address.endpoints.push(if text.starts_with(['/', '.']) {
            Endpoint::Unix(text.into())
        } else {
            endpoint(text, plain)?
        });
        return Ok(address);
    };
    // A password may contain `?`, `/` and `#` unescaped as long as an `@` follows, as people write them.
    let (login, rest) = match rest.rsplit_once('@') {
        // An `@` in a parameter is not the end of credentials.
        Some((login, _)) if is_in_parameters(login) => (None, rest),
        Some((login, rest)) => (Some(login), rest),
        None => (None, rest),
    };
    if let Some(login) = login {
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        address.login = Some((decoded(user, "user")?, decoded(password, "password")?));
    }
    let (place, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let place = match scheme {
        "unix" | "redis+unix" | "redis+socket" => {
            if place.is_empty() {
                return Err(AddressError::Host);
            }
            address.endpoints.push(Endpoint::Unix(decoded(place, "path")?.into()));
            ""
        }
        "redis" | "tcp" => place,
        "rediss" => {
            address.tls = Some(true);
            place
        }
        "redis+sentinel" | "rediss+sentinel" => {
            address.scheme = Scheme::Sentinel;
            address.tls = scheme.starts_with("rediss").then_some(true);
            place
        }
        "redis+cluster" | "rediss+cluster" => {
            address.scheme = Scheme::Cluster;
            address.tls = scheme.starts_with("rediss").then_some(true);
            place
        }
        _ => return Err(AddressError::Scheme(scheme.chars().take(32).collect())),
    };
    if !place.is_empty() || address.endpoints.is_empty() {
        let (hosts, path) = place.split_once('/').unwrap_or((place, ""));
        if !path.is_empty() {
            address.db = Some(path.trim_end_matches('/').parse().map_err(|_| AddressError::Database)?);
        }
        for host in hosts.split(',') {
            address.endpoints.push(endpoint(host, address.scheme)?);
        }
    }
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        address.parameter(parameter)?;
    }
    Ok(address)
}

/// Returns true for text that has come to the parameters of an address: `host:port?name=value`.
fn is_in_parameters(text: &str) -> bool {
    text.split_once('?').is_some_and(|(before, after)| {
        let names = after.split('&').filter_map(|one| one.split_once('=')).map(|(name, _)| name);
        let known = |name: &str| name == "addr" || Given::default().field(name).is_some();
        !before.is_empty() && names.into_iter().any(known)
    })
}

fn endpoint(text: &str, scheme: Scheme) -> Result<Endpoint, AddressError> {
    let default = if scheme == Scheme::Sentinel { PORTS.1 } else { PORTS.0 };
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or(AddressError::Host)?;
            (host, rest.strip_prefix(':'))
        }
        None => match text.rsplit_once(':') {
            // More than one colon without brackets is an IPv6 address.
            Some((host, _)) if host.contains(':') => (text, None),
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match port {
        None => default,
        Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or(AddressError::Port)?,
    };
    let host = decoded(host, "host")?;
    if host.is_empty() || host.contains(char::is_whitespace) {
        return Err(AddressError::Host);
    }
    Ok(Endpoint::Tcp(Arc::from(host), port))
}

/// One option that a parameter can give.
enum Field<'a> {
    Text(&'a mut Option<String>),
    Time(&'a mut Option<Duration>),
    Flag(&'a mut Option<bool>),
    Number(&'a mut Option<u32>),
}

impl Given {
    fn field(&mut self, name: &str) -> Option<Field<'_>> {
        Some(match name {
            "connect_timeout" => Field::Time(&mut self.connect_timeout),
            "io_timeout" => Field::Time(&mut self.io_timeout),
            "db" => Field::Number(&mut self.db),
            "user" => Field::Text(&mut self.user),
            "password" => Field::Text(&mut self.password),
            "client_name" => Field::Text(&mut self.client_name),
            "force_resp2" => Field::Flag(&mut self.force_resp2),
            "tls_enabled" => Field::Flag(&mut self.tls_enabled),
            "sentinel_user" => Field::Text(&mut self.sentinel_user),
            "sentinel_password" => Field::Text(&mut self.sentinel_password),
            "sentinel_master_name" => Field::Text(&mut self.sentinel_master_name),
            "sentinel_client_name" => Field::Text(&mut self.sentinel_client_name),
            "sentinel_tls_enabled" => Field::Flag(&mut self.sentinel_tls_enabled),
            _ => return None,
        })
    }
}

impl Address {
    fn parameter(&mut self, text: &str) -> Result<(), AddressError> {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let value = decoded(value, "value of a parameter")?;
        if name == "addr" {
            self.endpoints.push(endpoint(&value, self.scheme)?);
            return Ok(());
        }
        let wrong = |what| AddressError::Value(name.to_owned(), what);
        match self
            .given
            .field(name)
            .ok_or_else(|| AddressError::Parameter(name.chars().take(32).collect()))?
        {
            Field::Text(field) => *field = Some(value),
            Field::Time(field) => {
                *field = Some(duration(&value).ok_or_else(|| wrong("a duration such as 4s"))?)
            }
            Field::Flag(field) => {
                *field = Some(match &*value {
                    "true" | "1" => true,
                    "false" | "0" => false,
                    _ => return Err(wrong("true or false")),
                });
            }
            Field::Number(field) => *field = Some(value.parse().map_err(|_| wrong("a number"))?),
        }
        Ok(())
    }
}

/// A duration such as `500ms`, `4s` or `1m`; a number alone is of seconds.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "" | "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number.checked_mul(60)?)),
        _ => None,
    }
}

fn decoded(text: &str, part: &'static str) -> Result<String, AddressError> {
    let wrong = || AddressError::Encoding(part);
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
            let (high, low) = (digit().ok_or_else(wrong)?, digit().ok_or_else(wrong)?);
            bytes.push((high << 4 | low) as u8);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

#[cfg(test)]
#[path = "address/tests.rs"]
mod tests;
