//! Sockets that systemd listens on, and passes to the server when it starts it (`LISTEN_FDS`).
//!
//! They take the place of the addresses in `http_server`. One that is named `internal` (`FileDescriptorName=internal`)
//! is for the internal endpoints; without names the first is for clients and the second, if there is one, internal.

use super::RunError;
use super::ports::Bound;

/// Sockets that were passed on.
#[derive(Default)]
pub(super) struct Activated {
    pub(super) external: Option<Bound>,
    pub(super) internal: Option<Bound>,
}

/// The variable with the names of the sockets.
const NAMES: &str = "LISTEN_FDNAMES";
/// Name of the socket for the internal endpoints.
const INTERNAL: &str = "internal";

impl Activated {
    /// Takes the sockets that were passed to this process.
    ///
    /// # Errors
    /// One of them is not a listening stream socket, or there are more than two.
    #[cfg(unix)]
    pub(super) fn take() -> Result<Self, RunError> {
        let mut passed = listenfd::ListenFd::from_env();
        let names = std::env::var(NAMES).unwrap_or_default();
        let mut activated = Self::default();
        for (at, place) in places(passed.len(), &names).map_err(RunError::Activation)?.into_iter().enumerate()
        {
            let failed = |error: std::io::Error| RunError::Activation(format!("socket {at}: {error}"));
            let tcp = passed.take_tcp_listener(at);
            let bound = match tcp {
                Ok(Some(tcp)) => Bound::passed_tcp(tcp).map_err(failed)?,
                _ => match passed.take_unix_listener(at).map_err(failed)? {
                    Some(unix) => Bound::passed_unix(unix).map_err(failed)?,
                    None => continue,
                },
            };
            match place {
                Place::External => activated.external = Some(bound),
                Place::Internal => activated.internal = Some(bound),
            }
        }
        Ok(activated)
    }

    /// There is nothing of that kind elsewhere.
    #[cfg(not(unix))]
    pub(super) fn take() -> Result<Self, RunError> {
        Ok(Self::default())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    External,
    Internal,
}

/// The places of so many sockets with these names, which are separated by colons.
fn places(count: usize, names: &str) -> Result<Vec<Place>, String> {
    let names: Vec<&str> = names.split(':').collect();
    let named = names.contains(&INTERNAL);
    let place = |at: usize| {
        let internal = if named { names.get(at) == Some(&INTERNAL) } else { at == 1 };
        if internal { Place::Internal } else { Place::External }
    };
    let places: Vec<Place> = (0..count).map(place).collect();
    for place in [Place::External, Place::Internal] {
        if places.iter().filter(|one| **one == place).count() > 1 {
            return Err(format!(
                "{count} sockets were passed: there can be one for clients, and one for internal endpoints with \
                 FileDescriptorName=internal"
            ));
        }
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_go_by_name_or_by_order() {
        use Place::{External, Internal};
        for (count, names, expected) in [
            (0, "", Ok(vec![])),
            (1, "", Ok(vec![External])),
            (1, "spinward.socket", Ok(vec![External])),
            (1, "internal", Ok(vec![Internal])),
            (2, "", Ok(vec![External, Internal])),
            (2, "spinward.socket:spinward.socket", Ok(vec![External, Internal])),
            (2, "internal:clients", Ok(vec![Internal, External])),
            (3, "", Err(())),
            (2, "internal:internal", Err(())),
        ] {
            assert_eq!(places(count, names).map_err(drop), expected, "{count} {names}");
        }
    }
}
