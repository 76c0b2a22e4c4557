//! A client for tests: it speaks the protocol over memory or TCP, and answers pings by itself.

use spinward::hooks::Handshake;
use spinward::identity::Credentials;
use spinward::wire::message::{
    self, Command, ConnectRequest, ConnectResult, PublishRequest, Push, RPCRequest, Reply, SubscribeRequest,
    SubscribeResult,
};
use spinward::wire::ws::{Event, Limits, Opcode, Reader, append_masked_frame};
use spinward::wire::{Protocol, Replies, append_command};
use spinward::{Bytes, Node};
use std::collections::VecDeque;
use std::io;
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpStream, ToSocketAddrs};

/// Time that a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes on their way in memory.
const DUPLEX: usize = 64 << 10;
/// Most bytes of a message of the server.
const LARGEST: u32 = 1 << 24;

/// Reason that a client does not get what a test waits for.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The command was answered with an error.
    #[error("refused: {} {}", .0.code, .0.message)]
    Refused(message::Error),
    /// The connection was closed, with this code where a close frame came.
    #[error("the connection was closed with {0:?}")]
    Closed(Option<u16>),
    /// Nothing came within five seconds.
    #[error("nothing came within five seconds")]
    TimedOut,
    /// The upgrade request was answered with another status than 101; this is the response's head.
    #[error("the handshake was refused: {0}")]
    Handshake(String),
    /// The server sent something that is not the protocol.
    #[error("the server broke the protocol: {0}")]
    Protocol(Box<dyn std::error::Error + Send + Sync>),
    /// The bytes could not be sent or received.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// One connection to a node.
///
/// ```
/// use spinward::prelude::*;
/// use spinward_test::client::TestClient;
///
/// struct News;
///
/// impl Hooks for News {
///     fn subscribe(&self, _: &Client, event: SubscribeEvent) -> Decision<SubscribeOptions> {
///         match &*event.channel {
///             "news" => Answer::allow(SubscribeOptions::default()),
///             _ => ErrorCode::PERMISSION_DENIED.into(),
///         }
///     }
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let node = Node::builder(News).build()?;
/// let mut ann = TestClient::of_user(&node, "ann");
/// ann.connect("").await?;
/// ann.subscribe("news").await?;
/// assert!(ann.subscribe("secrets").await.is_err());
/// node.publish("news", "{}".into(), PublishOptions::default()).await?;
/// assert_eq!(ann.publication("news").await?.data, "{}");
/// # Ok(())
/// # }
/// ```
pub struct TestClient<S = DuplexStream> {
    stream: S,
    protocol: Protocol,
    reader: Reader,
    received: Vec<u8>,
    replies: VecDeque<Reply>,
    pushes: VecDeque<Push>,
    closed: Option<Option<u16>>,
    next_id: u32,
}

impl TestClient {
    /// Opens a connection to a node over memory. Nothing is sent before [`connect`](TestClient::connect).
    #[must_use]
    pub fn open(node: &Node, protocol: Protocol, handshake: Handshake) -> Self {
        let (own, other) = tokio::io::duplex(DUPLEX);
        node.serve_stream(other, protocol, handshake);
        Self::over(own, protocol)
    }

    /// Opens a connection of a user whom the application has logged in, as by a middleware.
    #[must_use]
    pub fn of_user(node: &Node, user: &str) -> Self {
        let credentials = Credentials { user: user.to_owned(), ..Credentials::default() };
        Self::open(node, Protocol::Json, Handshake { credentials: Some(credentials), ..Handshake::default() })
    }
}

impl TestClient<TcpStream> {
    /// Opens a WebSocket connection to a server. `headers`: further lines of the upgrade request, each with its
    /// line break (`"Cookie: session=1\r\n"`).
    ///
    /// # Errors
    /// [`ClientError::Handshake`] if the server refuses, [`ClientError::Io`] if it cannot be reached.
    pub async fn dial(address: impl ToSocketAddrs, path: &str, headers: &str) -> Result<Self, ClientError> {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).await?;
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        if !head.starts_with("HTTP/1.1 101") {
            return Err(ClientError::Handshake(head));
        }
        Ok(Self::over(stream, Protocol::Json))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TestClient<S> {
    /// Speaks over a byte stream on which the WebSocket handshake is done.
    pub fn over(stream: S, protocol: Protocol) -> Self {
        let (reader, received) = (Reader::client(), Vec::new());
        let (replies, pushes) = (VecDeque::new(), VecDeque::new());
        Self { stream, protocol, reader, received, replies, pushes, closed: None, next_id: 0 }
    }

    /// Logs in, with a token or an empty text.
    ///
    /// # Errors
    /// The login is refused, or another [`ClientError`].
    pub async fn connect(&mut self, token: &str) -> Result<ConnectResult, ClientError> {
        let connect = ConnectRequest { token: token.to_owned(), ..ConnectRequest::default() };
        let reply = self.call(Command { connect: Some(connect), ..Command::default() }).await?;
        Ok(reply.connect.unwrap_or_default())
    }

    /// Subscribes to a channel.
    ///
    /// # Errors
    /// The subscription is refused, or another [`ClientError`].
    pub async fn subscribe(&mut self, channel: &str) -> Result<SubscribeResult, ClientError> {
        let subscribe = SubscribeRequest { channel: channel.to_owned(), ..SubscribeRequest::default() };
        let reply = self.call(Command { subscribe: Some(subscribe), ..Command::default() }).await?;
        Ok(reply.subscribe.unwrap_or_default())
    }

    /// Publishes to a channel.
    ///
    /// # Errors
    /// The publication is refused, or another [`ClientError`].
    pub async fn publish(&mut self, channel: &str, data: impl Into<Bytes>) -> Result<(), ClientError> {
        let publish =
            PublishRequest { channel: channel.to_owned(), data: data.into(), ..PublishRequest::default() };
        self.call(Command { publish: Some(publish), ..Command::default() }).await.map(drop)
    }

    /// Calls a method.
    ///
    /// # Errors
    /// The call is refused, or another [`ClientError`].
    pub async fn rpc(&mut self, method: &str, data: impl Into<Bytes>) -> Result<Bytes, ClientError> {
        let rpc = RPCRequest { method: method.to_owned(), data: data.into() };
        let reply = self.call(Command { rpc: Some(rpc), ..Command::default() }).await?;
        Ok(reply.rpc.unwrap_or_default().data)
    }

    /// Sends any command under an id of its own and returns the reply. Pushes that come first are kept for
    /// [`push`](Self::push).
    ///
    /// # Errors
    /// [`ClientError::Refused`] if the reply is an error, or another [`ClientError`].
    pub async fn call(&mut self, mut command: Command) -> Result<Reply, ClientError> {
        self.next_id += 1;
        command.id = self.next_id;
        self.send(&command).await?;
        loop {
            let reply = self.receive().await?;
            match reply.push {
                Some(push) => self.pushes.push_back(push),
                None if reply.id != command.id => {}
                None => {
                    return reply
                        .error
                        .map_or(Ok(Reply { error: None, ..reply }), |e| Err(ClientError::Refused(e)));
                }
            }
        }
    }

    /// Returns the next push.
    ///
    /// # Errors
    /// Nothing comes, or the connection is closed.
    pub async fn push(&mut self) -> Result<Push, ClientError> {
        loop {
            if let Some(push) = self.pushes.pop_front() {
                return Ok(push);
            }
            let reply = self.receive().await?;
            self.pushes.extend(reply.push);
        }
    }

    /// Returns the next publication of a channel; other pushes that come first are dropped.
    ///
    /// # Errors
    /// Nothing comes, or the connection is closed.
    pub async fn publication(&mut self, channel: &str) -> Result<message::Publication, ClientError> {
        loop {
            let push = self.push().await?;
            if let (true, Some(publication)) = (push.channel == channel, push.publication) {
                return Ok(publication);
            }
        }
    }

    /// Waits until the server closes the connection and returns the code of its close frame.
    ///
    /// # Errors
    /// It stays open for five seconds without a message.
    pub async fn closed(&mut self) -> Result<Option<u16>, ClientError> {
        loop {
            match self.receive().await {
                Ok(_) => {}
                Err(ClientError::Closed(code)) => return Ok(code),
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends a command as it is.
    ///
    /// # Errors
    /// The bytes cannot be sent.
    pub async fn send(&mut self, command: &Command) -> Result<(), ClientError> {
        let mut payload = Vec::new();
        append_command(self.protocol, command, &mut payload, true);
        let opcode = if self.protocol == Protocol::Json { Opcode::Text } else { Opcode::Binary };
        let mut frame = Vec::new();
        append_masked_frame(opcode, [1, 2, 3, 4], &payload, &mut frame);
        Ok(self.stream.write_all(&frame).await?)
    }

    /// The next reply or push that is not a ping.
    async fn receive(&mut self) -> Result<Reply, ClientError> {
        let next = tokio::time::timeout(PATIENCE, self.receive_any());
        next.await.unwrap_or(Err(ClientError::TimedOut))
    }

    async fn receive_any(&mut self) -> Result<Reply, ClientError> {
        loop {
            match self.replies.pop_front() {
                // A ping is an empty reply, and an empty command its answer.
                Some(reply) if reply == Reply::default() => self.send(&Command::default()).await?,
                Some(reply) => return Ok(reply),
                None => self.read().await?,
            }
        }
    }

    async fn read(&mut self) -> Result<(), ClientError> {
        if let Some(code) = self.closed {
            return Err(ClientError::Closed(code));
        }
        if self.stream.read_buf(&mut self.received).await? == 0 {
            self.closed = Some(None);
            return Ok(());
        }
        let mut bytes = std::mem::take(&mut self.received);
        let mut at = 0;
        while at < bytes.len() {
            let (used, event) = self.reader.read(&Limits::of(LARGEST), &mut bytes[at..]);
            at += used;
            match event.map_err(|error| ClientError::Protocol(error.into()))? {
                Some(Event::Text(payload) | Event::Binary(payload)) => {
                    for reply in Replies::new(self.protocol, &payload) {
                        self.replies.push_back(reply.map_err(|error| ClientError::Protocol(error.into()))?);
                    }
                }
                Some(Event::Close(code)) => self.closed = Some(code),
                _ => {}
            }
        }
        Ok(())
    }
}
