//! A peer that sends commands without waiting for replies, and wants every one of them, in order. It may be hostile:
//! read hardly ever, flood with pings, send what is no message.

use crate::random::Random;
use spinward_wire::message::{
    Command, ConnectRequest, HistoryRequest, PresenceRequest, PresenceStatsRequest, PublishRequest,
    SubscribeRequest, UnsubscribeRequest,
};
use spinward_wire::ws::{self, Event, Limits, Opcode, Reader};
use spinward_wire::{Protocol, Replies, append_command};
use std::collections::VecDeque;

/// Behaviour of a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// It is in one channel, and only reads.
    Member,
    /// It sends commands of every kind but subscribes to nothing, and reads what comes, if slowly.
    Reader,
    /// It subscribes too, so that what it does not read in time may end it.
    Subscriber,
    /// It hardly reads, and may send what is no message at all.
    Hostile,
}

/// A client that sends pipelines of commands.
pub struct Pipeline {
    /// Behaviour.
    pub kind: Kind,
    /// Bytes still to write.
    pub out: Vec<u8>,
    channels: [&'static str; 2],
    protocol: Protocol,
    reader: Reader,
    last_id: u32,
    /// Commands without a reply.
    awaited: VecDeque<u32>,
    pings: usize,
    /// It broke the protocol.
    broken: bool,
    closed: Option<Option<u16>>,
}

const MASK: [u8; 4] = [0x5a, 0xc3, 0x17, 0x88];

impl Pipeline {
    /// One that has its login to write. Its commands name these channels, and it subscribes to the first.
    #[must_use]
    pub fn new(protocol: Protocol, kind: Kind, channels: [&'static str; 2]) -> Self {
        let mut peer = Self {
            channels,
            kind,
            out: Vec::new(),
            protocol,
            reader: Reader::client(),
            last_id: 0,
            awaited: VecDeque::new(),
            pings: 0,
            broken: false,
            closed: None,
        };
        let connect = Some(ConnectRequest::default());
        let commands = [peer.numbered(Command { connect, ..Command::default() })];
        peer.frame(&commands, 1);
        peer
    }

    fn numbered(&mut self, command: Command) -> Command {
        self.last_id += 1;
        self.awaited.push_back(self.last_id);
        Command { id: self.last_id, ..command }
    }

    /// Subscribes to a channel.
    pub fn enter(&mut self, channel: &str) {
        let subscribe = Some(SubscribeRequest { channel: channel.to_owned(), ..Default::default() });
        let commands = [self.numbered(Command { subscribe, ..Command::default() })];
        self.frame(&commands, 1);
    }

    /// One message, in so many fragments.
    fn frame(&mut self, commands: &[Command], fragments: usize) {
        let mut payload = Vec::new();
        for (number, command) in commands.iter().enumerate() {
            append_command(self.protocol, command, &mut payload, number == 0);
        }
        let opcode = if self.protocol == Protocol::Json { Opcode::Text } else { Opcode::Binary };
        let at = self.out.len();
        let size = payload.len().div_ceil(fragments).max(1);
        let count = payload.chunks(size).len();
        for (number, part) in payload.chunks(size).enumerate() {
            let begin = self.out.len();
            let opcode = if number == 0 { opcode } else { Opcode::Continuation };
            ws::append_masked_frame(opcode, MASK, part, &mut self.out);
            if number + 1 < count {
                self.out[begin] &= 0x7f;
            }
        }
        debug_assert!(self.out.len() > at);
    }

    /// Puts something into its output.
    pub fn say(&mut self, random: &Random) {
        // More would only wait in the test.
        if self.kind == Kind::Member || self.out.len() > 64 << 10 || self.broken {
            return;
        }
        match random.below(20) {
            0..4 => {
                for _ in 0..random.between(1, 300) {
                    let payload = vec![7; random.below(if random.permille(500) { 1 } else { 126 })];
                    ws::append_masked_frame(Opcode::Ping, MASK, &payload, &mut self.out);
                    self.pings += 1;
                }
            }
            4 => ws::append_masked_frame(Opcode::Pong, MASK, b"unasked", &mut self.out),
            5 if self.kind == Kind::Hostile && random.permille(50) => {
                self.broken = true;
                match random.below(3) {
                    0 => self.out.extend([0xff; 40]),
                    1 => ws::append_masked_frame(Opcode::Text, MASK, b"{\"id\":7,\"nothing", &mut self.out),
                    _ => ws::append_masked_frame(Opcode::Binary, MASK, &[0xff; 9], &mut self.out),
                }
            }
            _ => {
                let same = random.permille(500).then(|| random.below(6));
                let mut commands: Vec<_> =
                    (0..random.between(1, 200)).map(|_| self.command(random, same)).collect();
                let size = |command: &Command| command.publish.as_ref().map_or(80, |one| one.data.len() + 80);
                // Whole messages, below the size limit.
                while !commands.is_empty() {
                    let mut room = 15 << 10;
                    let fits = |command: &&Command| {
                        let left: usize = room;
                        room = left.saturating_sub(size(command));
                        left >= size(command)
                    };
                    let count = commands.iter().take_while(fits).count().max(1);
                    let message: Vec<_> = commands.drain(..count).collect();
                    self.frame(&message, *random.one_of(&[1, 1, 3, 200]));
                }
            }
        }
    }

    fn command(&mut self, random: &Random, kind: Option<usize>) -> Command {
        let channel = (*random.one_of(&self.channels)).to_owned();
        let command = match kind.unwrap_or_else(|| random.below(6)) {
            0 => {
                let limit = *random.one_of(&[0, 1, 10, -1]);
                let history = Some(HistoryRequest { channel, limit, ..Default::default() });
                Command { history, ..Command::default() }
            }
            1 => Command { presence: Some(PresenceRequest { channel }), ..Command::default() },
            2 => {
                let presence_stats = Some(PresenceStatsRequest { channel });
                Command { presence_stats, ..Command::default() }
            }
            3 => {
                let data = format!("\"{}\"", "y".repeat(random.below(1_000))).into();
                let channel = format!("other{}", random.below(3));
                let publish = Some(PublishRequest { channel, data, ..Default::default() });
                Command { publish, ..Command::default() }
            }
            4 if matches!(self.kind, Kind::Subscriber | Kind::Hostile) => {
                let recover = random.permille(500);
                let subscribe = Some(SubscribeRequest {
                    channel: self.channels[0].to_owned(),
                    recover,
                    ..Default::default()
                });
                Command { subscribe, ..Command::default() }
            }
            _ => {
                let unsubscribe = Some(UnsubscribeRequest { channel: self.channels[0].to_owned() });
                Command { unsubscribe, ..Command::default() }
            }
        };
        self.numbered(command)
    }

    /// Takes bytes of the server. Says how many, or what is wrong with them.
    ///
    /// # Errors
    /// They are no messages, or the replies are not those that are due.
    pub fn take(&mut self, mut bytes: Vec<u8>) -> Result<usize, String> {
        const LIMITS: Limits = Limits::of(64 << 20);
        let count = bytes.len();
        let mut rest = &mut bytes[..];
        while !rest.is_empty() && self.closed.is_none() {
            let (used, event) = self.reader.read(&LIMITS, rest);
            match event.map_err(|error| error.to_string())? {
                None | Some(Event::Ping(_)) => {}
                Some(Event::Text(payload) | Event::Binary(payload)) => {
                    for reply in Replies::new(self.protocol, &payload) {
                        let reply = reply.map_err(|error| error.to_string())?;
                        if reply.push.is_some() || reply.id == 0 {
                            continue;
                        }
                        let due = self.awaited.pop_front();
                        if due != Some(reply.id) {
                            return Err(format!("{:?} got reply {} for {due:?}", self.kind, reply.id));
                        }
                    }
                }
                Some(Event::Pong) => {
                    self.pings = self.pings.checked_sub(1).ok_or("a pong without a ping")?;
                }
                Some(Event::Compressed(_)) => {
                    return Err("a compressed message without compression".to_owned());
                }
                Some(Event::Close(code)) => self.closed = Some(code),
            }
            rest = &mut rest[used..];
        }
        Ok(count)
    }

    /// The server has ended the stream. Says whether that is news.
    pub fn end(&mut self) -> bool {
        let first = self.closed.is_none();
        self.closed.get_or_insert(None);
        first
    }

    /// Everything is over: it has what it asked for, or an end that it brought about.
    ///
    /// # Errors
    /// A reply or push is missing.
    pub fn judge(&self) -> Result<(), String> {
        let kind = self.kind;
        match self.closed {
            None if !self.awaited.is_empty() => {
                Err(format!("{kind:?} misses {} replies", self.awaited.len()))
            }
            None if self.pings > 0 => Err(format!("{kind:?} misses {} pongs", self.pings)),
            None if self.broken => Err(format!("{kind:?} broke the protocol and goes on")),
            None => Ok(()),
            Some(_) if self.broken => Ok(()),
            Some(Some(3008)) if matches!(kind, Kind::Subscriber | Kind::Hostile) => Ok(()),
            Some(code) => Err(format!("{kind:?} was closed with {code:?}")),
        }
    }
}
