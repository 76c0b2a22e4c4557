//! Places of endpoints.

use super::{Answer, BoxFuture};
use http::Request;
use hyper::body::Incoming;
use std::sync::Arc;

/// The port that an endpoint is served on, where the internal one is a port of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Port {
    /// That of clients.
    External,
    /// That of the application and of operators.
    Internal,
}

/// An endpoint, and where it is. The module that owns the endpoint says so.
#[derive(Clone)]
pub(crate) struct Mount {
    at: String,
    below: bool,
    port: Port,
    endpoint: Arc<dyn Endpoint>,
}

/// The part of a server that answers requests to a path.
pub(crate) trait Endpoint: Send + Sync + 'static {
    /// Answers a request. `rest` is the path behind that of the mount. `None` if there is nothing of this path here:
    /// another endpoint may have it.
    fn answer<'a>(
        &'a self,
        rest: &'a str,
        request: &'a mut Request<Incoming>,
    ) -> BoxFuture<'a, Option<Answer>>;
}

impl Mount {
    /// An endpoint at one path.
    pub(crate) fn at(path: &str, port: Port, endpoint: impl Endpoint) -> Self {
        Self { at: path.to_owned(), below: false, port, endpoint: Arc::new(endpoint) }
    }

    /// An endpoint at a path and at all paths below it.
    pub(crate) fn below(path: &str, port: Port, endpoint: impl Endpoint) -> Self {
        Self { below: true, ..Self::at(path, port, endpoint) }
    }

    /// Returns true if the endpoint is served on the internal port, if `internal`, or on the external one.
    pub(crate) fn is_on(&self, internal: bool) -> bool {
        match self.port {
            Port::External => !internal,
            Port::Internal => internal,
        }
    }

    /// The path, for people.
    pub(crate) fn shown(&self) -> String {
        if self.below { format!("{}/…", self.at) } else { self.at.clone() }
    }

    /// Returns the path behind that of the mount: empty, or with a slash first.
    fn rest<'p>(&self, path: &'p str) -> Option<&'p str> {
        let rest = path.strip_prefix(self.at.as_str())?;
        (rest.is_empty() || self.below && rest.starts_with('/')).then_some(rest)
    }
}

/// Answers a request by the first endpoint that has its path.
pub(crate) async fn find(mounts: &[Mount], path: &str, request: &mut Request<Incoming>) -> Option<Answer> {
    for mount in mounts {
        if let Some(rest) = mount.rest(path)
            && let Some(answer) = mount.endpoint.answer(rest, request).await
        {
            return Some(answer);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;

    impl Endpoint for Nothing {
        fn answer<'a>(&'a self, _: &'a str, _: &'a mut Request<Incoming>) -> BoxFuture<'a, Option<Answer>> {
            Box::pin(async { None })
        }
    }

    #[test]
    fn a_mount_has_its_path_and_perhaps_what_is_below() {
        for (at, path, exact, below) in [
            ("/api", "/api", Some(""), Some("")),
            ("/api", "/api/", None, Some("/")),
            ("/api", "/api/publish", None, Some("/publish")),
            ("/api", "/apis", None, None),
            ("/api", "/ap", None, None),
            ("/api/", "/api/", Some(""), Some("")),
            ("/api/", "/api/publish", None, None),
            ("", "/anything", None, Some("/anything")),
        ] {
            assert_eq!(Mount::at(at, Port::External, Nothing).rest(path), exact, "{at} {path}");
            assert_eq!(Mount::below(at, Port::External, Nothing).rest(path), below, "{at} {path}");
        }
    }

    #[test]
    fn a_mount_is_on_its_port() {
        for (port, external, internal) in [(Port::External, true, false), (Port::Internal, false, true)] {
            let mount = Mount::at("/", port, Nothing);
            assert_eq!((mount.is_on(false), mount.is_on(true)), (external, internal), "{port:?}");
        }
    }
}
