//! A client over any byte stream, just enough for these tests.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails here")]

pub(crate) mod broker;

use spinward::wire::message::{Command, ConnectRequest, Push, Reply, SubscribeRequest};
use spinward::wire::ws::{
    Compression, Deflater, Event, Inflater, Limits, Opcode, Reader, append_masked_deflated,
    append_masked_frame,
};
use spinward::wire::{Protocol, Replies, append_command};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

pub(crate) struct Client<S> {
    stream: S,
    reader: Reader,
    buffered: Vec<u8>,
    replies: VecDeque<Reply>,
    protocol: Protocol,
    pub(crate) closed: Option<Option<u16>>,
    deflate: Option<(Deflater, Inflater)>,
    /// Compressed messages received.
    pub(crate) compressed: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) fn new(stream: S, protocol: Protocol) -> Self {
        let (reader, buffered, replies) = (Reader::client(), Vec::new(), VecDeque::new());
        Self { stream, reader, buffered, replies, protocol, closed: None, deflate: None, compressed: 0 }
    }

    /// The same, on a connection with permessage-deflate.
    pub(crate) fn with_deflate(mut self) -> Self {
        self.reader = self.reader.with_deflate();
        let deflater = Deflater::new(Compression::default(), Compression::default());
        self.deflate = Some((deflater, Inflater::default()));
        self
    }

    /// Sends an upgrade request; answers the head of the response.
    pub(crate) async fn upgrade(&mut self, path: &str, headers: &str) -> String {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
        );
        self.stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            assert_eq!(self.stream.read(&mut byte).await.unwrap(), 1, "the server hung up");
            head.push(byte[0]);
        }
        String::from_utf8(head).unwrap()
    }

    pub(crate) async fn send(&mut self, commands: &[Command]) {
        let mut payload = Vec::new();
        for (at, command) in commands.iter().enumerate() {
            append_command(self.protocol, command, &mut payload, at == 0);
        }
        let opcode = if self.protocol == Protocol::Json { Opcode::Text } else { Opcode::Binary };
        let mut frame = Vec::new();
        match &mut self.deflate {
            Some((deflater, _)) => {
                append_masked_deflated(opcode, [1, 2, 3, 4], &payload, deflater, &mut frame);
            }
            None => append_masked_frame(opcode, [1, 2, 3, 4], &payload, &mut frame),
        }
        self.stream.write_all(&frame).await.unwrap();
    }

    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next reply that is not a ping; `None` once the connection is closed.
    pub(crate) async fn next(&mut self) -> Option<Reply> {
        tokio::time::timeout(Duration::from_secs(5), self.receive())
            .await
            .expect("no reply within five seconds")
    }

    async fn receive(&mut self) -> Option<Reply> {
        loop {
            if let Some(reply) = self.replies.pop_front() {
                if reply == Reply::default() {
                    self.send(&[Command::default()]).await;
                    continue;
                }
                return Some(reply);
            }
            if self.closed.is_some() {
                return None;
            }
            let mut chunk = [0; 4096];
            let count = self.stream.read(&mut chunk).await.unwrap_or(0);
            if count == 0 {
                self.closed.get_or_insert(None);
                continue;
            }
            self.buffered.extend_from_slice(&chunk[..count]);
            let mut bytes = std::mem::take(&mut self.buffered);
            let mut at = 0;
            while at < bytes.len() {
                let (used, event) = self.reader.read(&Limits::of(1 << 24), &mut bytes[at..]);
                at += used;
                match event.expect("the server speaks WebSocket") {
                    Some(Event::Text(payload) | Event::Binary(payload)) => {
                        self.replies.extend(Replies::new(self.protocol, &payload).map(Result::unwrap));
                    }
                    Some(Event::Compressed(message)) => {
                        self.compressed += 1;
                        let (_, inflater) = self.deflate.as_mut().expect("agreed on");
                        let payload = inflater.inflate(&Limits::of(1 << 24), &message).expect("it inflates");
                        self.replies.extend(Replies::new(self.protocol, &payload).map(Result::unwrap));
                    }
                    Some(Event::Close(code)) => self.closed = Some(code),
                    _ => {}
                }
            }
        }
    }

    pub(crate) async fn reply(&mut self, id: u32) -> Reply {
        loop {
            let reply = self.next().await.expect("a reply");
            if reply.id == id {
                return reply;
            }
        }
    }

    pub(crate) async fn push(&mut self) -> Push {
        loop {
            if let Some(push) = self.next().await.expect("a push").push {
                return push;
            }
        }
    }
}

pub(crate) fn connect(id: u32) -> Command {
    Command { id, connect: Some(ConnectRequest::default()), ..Command::default() }
}

pub(crate) fn subscribe(id: u32, channel: &str) -> Command {
    let request = SubscribeRequest { channel: channel.to_owned(), ..SubscribeRequest::default() };
    Command { id, subscribe: Some(request), ..Command::default() }
}
