//! One connection that is for Pub/Sub alone: what is sent, how answers match it, and whether the server still answers.

use super::super::config::{Access, Endpoint};
use super::super::error::Error;
use super::super::net::{Socket, within};
use super::super::server::PATIENCE;
use super::resp::{Frame, take};
use bytes::{Bytes, BytesMut};
use redis::{Cmd, cmd};
use std::collections::VecDeque;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::{Instant, sleep_until};

/// Time between two questions of whether the server answers.
const PING: Duration = Duration::from_secs(1);

/// Bytes that are read at once.
const READ: usize = 64 << 10;

/// Something that the server sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// A message to a channel.
    Message { channel: Bytes, payload: Bytes },
    /// The channel is subscribed from here on.
    Subscribed(Bytes),
    /// The channel is not subscribed any more. `asked`: because that was asked for.
    Unsubscribed { channel: Bytes, asked: bool },
    /// The server refused to subscribe these channels, or to unsubscribe them.
    Refused { channels: Vec<Bytes>, code: String, detail: String },
}

/// A command that is not answered yet. Answers come in the order of commands.
enum Sent {
    Subscribe(VecDeque<Bytes>),
    Unsubscribe(VecDeque<Bytes>),
    Ping,
}

/// A connection that is set up.
pub(crate) struct Link {
    endpoint: Endpoint,
    reader: ReadHalf<Socket>,
    writer: WriteHalf<Socket>,
    input: BytesMut,
    output: BytesMut,
    unflushed: bool,
    sent: VecDeque<Sent>,
    /// Time of the last ping.
    pinged: Instant,
    /// Last sign of life.
    heard: Instant,
    patience: Duration,
}

impl Link {
    /// Connects, authenticates and names the connection, within `connect_timeout`.
    pub(crate) async fn open(endpoint: &Endpoint, access: &Access) -> Result<Self, Error> {
        let opened = Box::pin(async {
            let socket = Socket::connect(endpoint, access).await?;
            let (reader, writer) = tokio::io::split(socket);
            let now = Instant::now();
            let mut link = Self {
                endpoint: endpoint.clone(),
                reader,
                writer,
                input: BytesMut::with_capacity(READ),
                output: BytesMut::new(),
                unflushed: false,
                sent: VecDeque::new(),
                pinged: now,
                heard: now,
                patience: PATIENCE.min(access.io_timeout),
            };
            for command in greeting(access) {
                link.send(&command);
                link.greeted().await?;
            }
            Ok(link)
        });
        within(access.connect_timeout, endpoint, "not connected within `connect_timeout`", opened).await
    }

    pub(crate) const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Asks for channels. Sharded ones have to be of one slot.
    pub(crate) fn subscribe(&mut self, sharded: bool, channels: Vec<Bytes>) {
        self.send_names(if sharded { "SSUBSCRIBE" } else { "SUBSCRIBE" }, &channels);
        self.sent.push_back(Sent::Subscribe(channels.into()));
    }

    /// Gives channels back. Sharded ones have to be of one slot.
    pub(crate) fn unsubscribe(&mut self, sharded: bool, channels: Vec<Bytes>) {
        self.send_names(if sharded { "SUNSUBSCRIBE" } else { "UNSUBSCRIBE" }, &channels);
        self.sent.push_back(Sent::Unsubscribe(channels.into()));
    }

    fn send_names(&mut self, name: &str, channels: &[Bytes]) {
        let mut command = cmd(name);
        for channel in channels {
            command.arg(&**channel);
        }
        self.send(&command);
    }

    fn send(&mut self, command: &Cmd) {
        self.output.extend_from_slice(&command.get_packed_command());
    }

    /// Sends what waits, and returns the next thing that the server sent. Dropping the future loses nothing.
    ///
    /// An error is the end of the connection: it was closed, or the server has not answered for a while.
    pub(crate) async fn next(&mut self) -> Result<Incoming, Error> {
        loop {
            match self.frame()? {
                Some(frame) => {
                    if let Some(incoming) = self.understand(frame)? {
                        return Ok(incoming);
                    }
                }
                None => self.exchange().await?,
            }
        }
    }

    /// Waits for the answer to a command of the greeting.
    async fn greeted(&mut self) -> Result<(), Error> {
        loop {
            match self.frame()? {
                Some(Frame::Error(error)) => {
                    let (code, detail) = words(&error);
                    return Err(Error::refused(&self.endpoint, &code, Some(&detail)));
                }
                Some(_) => return Ok(()),
                None => self.exchange().await?,
            }
        }
    }

    fn frame(&mut self) -> Result<Option<Frame>, Error> {
        take(&mut self.input).map_err(|error| Error::connection(&self.endpoint, error))
    }

    /// Moves bytes, or waits until something is due.
    async fn exchange(&mut self) -> Result<(), Error> {
        let waits = self.sent.iter().any(|sent| matches!(sent, Sent::Ping));
        let due = if waits { self.pinged.max(self.heard) + self.patience } else { self.pinged + PING };
        self.input.reserve(READ);
        let (wants, unflushed) = (!self.output.is_empty(), self.unflushed);
        let failed = |error| Error::connection(&self.endpoint, error);
        tokio::select! {
            read = self.reader.read_buf(&mut self.input) => {
                if read.map_err(failed)? == 0 {
                    return Err(failed(io::ErrorKind::UnexpectedEof.into()));
                }
                self.heard = Instant::now();
            }
            pushed = push(&mut self.writer, &mut self.output), if wants || unflushed => {
                pushed.map_err(failed)?;
                self.unflushed = wants;
            }
            () = sleep_until(due) => {
                if waits {
                    return Err(Error::io(&self.endpoint, io::ErrorKind::TimedOut, "the server does not answer"));
                }
                self.pinged = Instant::now();
                self.sent.push_back(Sent::Ping);
                self.send(&cmd("PING"));
            }
        }
        Ok(())
    }

    fn understand(&mut self, frame: Frame) -> Result<Option<Incoming>, Error> {
        let list = match frame {
            Frame::List(list) => list,
            Frame::Error(error) => return self.refused(&error),
            // The answer to a ping, unless the version is 2 and something is subscribed.
            Frame::Text(_) | Frame::Null => return self.ponged(),
        };
        let mut parts = list.into_iter();
        let Some(Frame::Text(kind)) = parts.next() else {
            return Err(self.unexpected("a list without a kind"));
        };
        let first = match parts.next() {
            Some(Frame::Text(text)) => text,
            _ => Bytes::new(),
        };
        match &*kind {
            b"message" | b"smessage" => match parts.next() {
                Some(Frame::Text(payload)) => {
                    Ok(Some(Incoming::Message { channel: first, payload: on_its_own(payload) }))
                }
                _ => Err(self.unexpected("a message without a payload")),
            },
            b"subscribe" | b"ssubscribe" => match self.sent.front_mut() {
                Some(Sent::Subscribe(channels)) => {
                    confirmed(channels, &first);
                    self.done();
                    Ok(Some(Incoming::Subscribed(first)))
                }
                _ => Err(self.unexpected("a subscription that nobody asked for")),
            },
            b"unsubscribe" | b"sunsubscribe" => {
                // A node gives sharded channels back on its own when their slot moves away.
                let asked = match self.sent.front_mut() {
                    Some(Sent::Unsubscribe(channels)) if channels.contains(&first) => {
                        confirmed(channels, &first);
                        true
                    }
                    _ => false,
                };
                self.done();
                Ok(Some(Incoming::Unsubscribed { channel: first, asked }))
            }
            b"pong" => self.ponged(),
            // Pushes of other kinds mean nothing here.
            _ => Ok(None),
        }
    }

    /// Forgets the first command once it is fully answered.
    fn done(&mut self) {
        if let Some(Sent::Subscribe(left) | Sent::Unsubscribe(left)) = self.sent.front()
            && left.is_empty()
        {
            self.sent.pop_front();
        }
    }

    fn ponged(&mut self) -> Result<Option<Incoming>, Error> {
        match self.sent.pop_front() {
            Some(Sent::Ping) => Ok(None),
            _ => Err(self.unexpected("an answer that nobody asked for")),
        }
    }

    fn refused(&mut self, error: &[u8]) -> Result<Option<Incoming>, Error> {
        let (code, detail) = words(error);
        match self.sent.pop_front() {
            Some(Sent::Subscribe(channels) | Sent::Unsubscribe(channels)) => {
                Ok(Some(Incoming::Refused { channels: channels.into(), code, detail }))
            }
            // Not even a ping is allowed, or the server is about to end the connection.
            Some(Sent::Ping) | None => Err(Error::refused(&self.endpoint, &code, Some(&detail))),
        }
    }

    fn unexpected(&self, what: &'static str) -> Error {
        Error::unexpected(&self.endpoint, what)
    }
}

/// Writes some of what waits, or flushes what was written. Dropping the future loses nothing.
async fn push(writer: &mut WriteHalf<Socket>, output: &mut BytesMut) -> io::Result<()> {
    if output.is_empty() {
        return writer.flush().await;
    }
    match writer.write_buf(output).await? {
        0 => Err(io::ErrorKind::WriteZero.into()),
        _ => Ok(()),
    }
}

/// Takes a channel out of a command that was sent. Confirmations come in its order.
fn confirmed(channels: &mut VecDeque<Bytes>, channel: &Bytes) {
    if channels.front() == Some(channel) {
        channels.pop_front();
    } else {
        channels.retain(|one| one != channel);
    }
}

/// A payload that may be kept for long. A small one would keep the whole buffer that it was read into.
fn on_its_own(payload: Bytes) -> Bytes {
    if payload.len() < READ / 4 { Bytes::copy_from_slice(&payload) } else { payload }
}

/// The commands that open a connection.
fn greeting(access: &Access) -> Vec<Cmd> {
    let mut commands = Vec::new();
    let login = access.logs_in();
    if access.resp2 {
        if login {
            let mut auth = cmd("AUTH");
            if !access.user.is_empty() {
                auth.arg(&access.user);
            }
            auth.arg(&access.password);
            commands.push(auth);
        }
    } else {
        let mut hello = cmd("HELLO");
        hello.arg(3);
        if login {
            let user = if access.user.is_empty() { "default" } else { &access.user };
            hello.arg("AUTH").arg(user).arg(&access.password);
        }
        commands.push(hello);
    }
    if !access.client_name.is_empty() {
        let mut name = cmd("CLIENT");
        name.arg("SETNAME").arg(&access.client_name);
        commands.push(name);
    }
    commands
}

/// The code of an error, and the rest.
fn words(error: &[u8]) -> (String, String) {
    let text = String::from_utf8_lossy(error);
    let (code, detail) = text.split_once(' ').unwrap_or((&text, ""));
    (code.to_owned(), detail.to_owned())
}
