//! The identity of a connection.

use crate::id::ClientId;
use crate::publication::{ClientInfo, Tags};
use bytes::Bytes;
use spinward_wire::{Protocol, Version};
use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// Credentials that a host application's own middleware puts into the extensions of the HTTP request:
/// the connection is then logged in as this user, without any token.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// User id; empty is an anonymous user.
    pub user: String,
    /// JSON that others see with this connection.
    pub info: Bytes,
    /// Unix seconds at which the login ends; 0 never.
    pub expire_at: i64,
}

/// Transport of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Transport {
    /// WebSocket.
    WebSocket,
    /// HTTP streaming: a response without an end, and a request for each message of the client.
    HttpStream,
    /// Server-sent events, and a request for each message of the client.
    Sse,
    /// WebSocket in one direction.
    UniWebSocket,
    /// HTTP streaming in one direction.
    UniHttpStream,
    /// Server-sent events in one direction.
    UniSse,
    /// WebTransport, over HTTP/3.
    WebTransport,
    /// A stream of gRPC in one direction.
    UniGrpc,
    /// A byte stream that the application brought, in another framing than WebSocket's.
    Stream,
    /// SockJS, over any of its transports.
    SockJs,
}

impl Transport {
    pub(crate) const ALL: [Self; 10] = [
        Self::WebSocket,
        Self::HttpStream,
        Self::Sse,
        Self::UniWebSocket,
        Self::UniHttpStream,
        Self::UniSse,
        Self::WebTransport,
        Self::UniGrpc,
        Self::Stream,
        Self::SockJs,
    ];
    pub(crate) const COUNT: usize = Self::ALL.len();

    /// The name used in proxy requests and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::HttpStream => "http_stream",
            Self::Sse => "sse",
            Self::UniWebSocket => "uni_websocket",
            Self::UniHttpStream => "uni_http_stream",
            Self::UniSse => "uni_sse",
            Self::WebTransport => "webtransport",
            Self::UniGrpc => "uni_grpc",
            Self::Stream => "stream",
            Self::SockJs => "sockjs",
        }
    }

    /// Returns true if the messages of the client come by requests of their own, which name the connection by the
    /// session and node of its connect reply.
    #[must_use]
    pub const fn is_emulated(self) -> bool {
        matches!(self, Self::HttpStream | Self::Sse)
    }

    /// Returns true if the output is the response to a request, which holds the first message of the client.
    #[must_use]
    pub const fn is_response(self) -> bool {
        matches!(self, Self::HttpStream | Self::Sse | Self::UniHttpStream | Self::UniSse)
    }

    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

/// State that an application keeps with a connection.
pub type Extension = Arc<dyn Any + Send + Sync>;

/// Most bytes that are kept of a name or version.
const LONGEST: usize = 256;

/// A client application, as it calls itself: its name and version, each cut off after 256 bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Application {
    /// Its name.
    pub name: Box<str>,
    /// Its version.
    pub version: Box<str>,
}

impl Application {
    /// `None` if both are empty.
    pub(crate) fn new(name: String, version: String) -> Option<Box<Self>> {
        let says = !name.is_empty() || !version.is_empty();
        let cut = |text: String| Box::from(&text[..text.floor_char_boundary(LONGEST)]);
        says.then(|| Box::new(Self { name: cut(name), version: cut(version) }))
    }
}

/// Everything known about a logged-in connection that does not change while it lasts, a refresh aside.
pub struct Identity {
    /// The connection.
    pub id: ClientId,
    /// User id; empty is an anonymous user.
    pub user: Arc<str>,
    /// JSON that others see with this connection.
    pub info: Bytes,
    /// JSON that stays on the server.
    pub meta: Bytes,
    /// Labels that it was given at login, if any. They stay for its whole life.
    pub labels: Option<Arc<Tags>>,
    /// Name and version that the client application gives, if any.
    pub application: Option<Box<Application>>,
    /// Transport that it came in on.
    pub transport: Transport,
    /// The encoding it speaks.
    pub protocol: Protocol,
    /// The version of the protocol it speaks.
    pub version: Version,
    /// State that the application keeps with the connection.
    pub extension: Option<Extension>,
}

impl Identity {
    /// Returns the identity of a user's connection over WebSocket with JSON.
    #[must_use]
    pub fn new(id: ClientId, user: &str) -> Self {
        Self {
            id,
            user: user.into(),
            info: Bytes::new(),
            meta: Bytes::new(),
            labels: None,
            application: None,
            transport: Transport::WebSocket,
            protocol: Protocol::Json,
            version: Version::V2,
            extension: None,
        }
    }

    /// Returns this connection as other clients see it.
    #[must_use]
    pub fn client_info(&self, chan_info: Bytes) -> ClientInfo {
        ClientInfo {
            user: self.user.clone(),
            client: self.id.to_string().into(),
            conn_info: self.info.clone(),
            chan_info,
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("id", &self.id).field("user", &self.user).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// There is one for each idle connection. With the two counters of its `Arc` it fits an allocation of 152 bytes,
    /// which glibc gives for anything above 136.
    #[test]
    fn an_identity_keeps_to_its_size_class() {
        let counters = 2 * size_of::<usize>();
        assert!(size_of::<Identity>() + counters <= 152, "{}", size_of::<Identity>());
    }

    #[test]
    fn little_is_kept_of_what_an_application_calls_itself() {
        assert_eq!(Application::new(String::new(), String::new()), None);
        let told = Application::new("é".repeat(30_000), "1.2".to_owned()).unwrap_or_default();
        assert_eq!((told.name.len(), &*told.version), (LONGEST, "1.2"));
        let told = Application::new(format!("a{}", "é".repeat(30_000)), String::new()).unwrap_or_default();
        assert_eq!(told.name.len(), LONGEST - 1, "characters stay whole");
    }
}
