//! A client of the protocol without a socket: bytes in, bytes out, and everything that it is told goes into
//! the log. It keeps positions and comes back with them, as the official SDKs do.

use crate::log::{Event, Log, Seen};
use crate::old::{self, Method, Old};
use bytes::Bytes;
use spinward_wire::framing::DelimitedReader;
use spinward_wire::message::{
    self, Command, ConnectRequest, Push, Reply, SubscribeRequest, SubscribeResult, UnsubscribeRequest,
};
use spinward_wire::ws::{self, Limits, Opcode, Reader};
use spinward_wire::{Protocol, Replies, delta};
use std::collections::BTreeMap;

const LIMITS: Limits = Limits::of(64 << 20);

/// One client over all of its connections.
pub struct Peer {
    /// Its number in the log.
    pub c: u32,
    protocol: Protocol,
    /// It speaks the protocol of 2018 to 2022.
    old: Option<Old>,
    carrier: Carrier,
    log: Log,
    reader: Reader,
    /// Of a stream.
    lines: DelimitedReader,
    phase: Phase,
    /// Id that the server gave the connection.
    client: String,
    /// Session and node of a connection whose messages go by requests.
    session: (String, String),
    /// Subscriptions that the server has ended.
    ended: u64,
    next_id: u32,
    asked: BTreeMap<u32, Asked>,
    subscriptions: BTreeMap<String, Subscription>,
    out: Vec<u8>,
    /// Messages that go by requests.
    messages: Vec<Bytes>,
}

/// Transport of a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Carrier {
    /// WebSocket.
    WebSocket,
    /// A response without an end, and a request for each message.
    Requests,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Off,
    Connecting,
    On,
}

enum Asked {
    Connect,
    Subscribe(String),
    Unsubscribe(String),
}

struct Subscription {
    phase: SubPhase,
    wanted: bool,
    position: Option<(String, u64)>,
    /// It asks for deltas.
    delta: bool,
    /// The last payload, while deltas are agreed on.
    base: Option<Option<Bytes>>,
    /// It never asks to recover.
    forgetful: bool,
    /// The server makes it, with the connect reply.
    server_side: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum SubPhase {
    Off,
    Asked,
    On,
    Leaving,
}

impl Peer {
    /// A client that wants no channel yet.
    #[must_use]
    pub fn new(c: u32, protocol: Protocol, log: Log) -> Self {
        Self {
            c,
            protocol,
            old: None,
            carrier: Carrier::WebSocket,
            log,
            reader: Reader::client(),
            lines: DelimitedReader::new(),
            phase: Phase::Off,
            client: String::new(),
            session: Default::default(),
            ended: 0,
            next_id: 0,
            asked: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            out: Vec::new(),
            messages: Vec::new(),
        }
    }

    /// A client with an SDK of that time, which knows of no deltas.
    #[must_use]
    pub fn of_old(c: u32, protocol: Protocol, log: Log, old: Old) -> Self {
        Self { old: Some(old), ..Self::new(c, protocol, log) }
    }

    /// The same over another transport.
    #[must_use]
    pub fn over(self, carrier: Carrier) -> Self {
        Self { carrier, ..self }
    }

    /// The transport that it uses.
    #[must_use]
    pub const fn carrier(&self) -> Carrier {
        self.carrier
    }

    /// The encoding it speaks.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Wants a channel, from the next chance on. `delta`: with deltas. `forgetful`: never with a position.
    pub fn want(&mut self, channel: &str, delta: bool, forgetful: bool) {
        let fresh = Subscription {
            phase: SubPhase::Off,
            wanted: true,
            position: None,
            delta: delta && self.old.is_none(),
            base: None,
            forgetful,
            server_side: false,
        };
        self.subscriptions.entry(channel.to_owned()).or_insert(fresh).wanted = true;
        self.subscribe_wanted();
    }

    /// Knows that the server subscribes it to a channel when it connects.
    pub fn expect(&mut self, channel: &str) {
        self.want(channel, false, false);
        if let Some(own) = self.subscriptions.get_mut(channel) {
            own.server_side = true;
        }
    }

    /// Returns true if the server has ended a subscription that only a new connection restores.
    #[must_use]
    pub fn misses_server_side(&self) -> bool {
        let missing = |own: &Subscription| own.server_side && own.phase == SubPhase::Off;
        self.phase == Phase::On && self.subscriptions.values().any(missing)
    }

    /// Leaves a channel for now. The position is kept.
    pub fn leave(&mut self, channel: &str) {
        let Some(own) = self.subscriptions.get_mut(channel).filter(|own| !own.server_side) else { return };
        own.wanted = false;
        if own.phase != SubPhase::On {
            return;
        }
        own.phase = SubPhase::Leaving;
        self.log.add(Event::Unsubscribed { c: self.c, ch: channel.to_owned(), code: 0 });
        let unsubscribe = Some(UnsubscribeRequest { channel: channel.to_owned() });
        self.command(Asked::Unsubscribe(channel.to_owned()), Command { unsubscribe, ..Command::default() });
    }

    /// A connection is there: logs in, and asks for what it wants as soon as it is in.
    pub fn open(&mut self) {
        self.close(None);
        self.phase = Phase::Connecting;
        let mut subs = BTreeMap::new();
        for (channel, own) in self.subscriptions.iter_mut().filter(|(_, own)| own.server_side) {
            own.phase = SubPhase::Asked;
            let since = own.position.clone();
            if let Some((epoch, offset)) = since.clone() {
                let request =
                    SubscribeRequest { recover: true, epoch, offset, ..SubscribeRequest::default() };
                subs.insert(channel.clone(), request);
            }
            self.log.add(Event::Subscribing { c: self.c, ch: channel.clone(), since });
        }
        let connect = Some(ConnectRequest { subs, ..ConnectRequest::default() });
        self.command(Asked::Connect, Command { connect, ..Command::default() });
    }

    /// The connection is gone, with this code if one was told.
    pub fn close(&mut self, code: Option<u32>) {
        if self.phase != Phase::Off {
            self.log.add(Event::Disconnected { c: self.c, code: code.unwrap_or_default() });
        }
        self.phase = Phase::Off;
        self.reader = Reader::client();
        self.lines = DelimitedReader::new();
        self.messages.clear();
        self.next_id = 0;
        self.asked.clear();
        self.out.clear();
        for own in self.subscriptions.values_mut() {
            own.phase = SubPhase::Off;
            own.base = None;
        }
    }

    /// Id that the server gave the last connection.
    #[must_use]
    pub fn client(&self) -> &str {
        &self.client
    }

    /// Session and node of the last connection, for the messages that go by requests.
    #[must_use]
    pub fn session(&self) -> (&str, &str) {
        (&self.session.0, &self.session.1)
    }

    /// Number of subscriptions that the server has ended so far.
    #[must_use]
    pub const fn ended(&self) -> u64 {
        self.ended
    }

    /// Channels that it is subscribed to.
    pub fn subscribed_channels(&self) -> impl Iterator<Item = &str> {
        self.subscriptions
            .iter()
            .filter(|(_, own)| own.phase == SubPhase::On)
            .map(|(channel, _)| channel.as_str())
    }

    /// Returns true if there is a connection.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.phase != Phase::Off
    }

    /// Returns true if it is subscribed to every channel that it wants.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.phase == Phase::On
            && self.asked.is_empty()
            && self.subscriptions.values().all(|own| (own.phase == SubPhase::On) == own.wanted)
    }

    /// Returns its position in a channel: epoch and offset.
    #[must_use]
    pub fn position(&self, channel: &str) -> Option<(&str, u64)> {
        let own = self.subscriptions.get(channel)?;
        own.position.as_ref().map(|(epoch, offset)| (epoch.as_str(), *offset))
    }

    /// Has it come back from another place than it stands at.
    pub fn set_position(&mut self, channel: &str, position: Option<(String, u64)>) {
        if let Some(own) = self.subscriptions.get_mut(channel) {
            own.position = position;
        }
    }

    /// Returns true if it ever wanted the channel.
    #[must_use]
    pub fn knows(&self, channel: &str) -> bool {
        self.subscriptions.contains_key(channel)
    }

    /// Returns true if it is subscribed to the channel.
    #[must_use]
    pub fn is_subscribed(&self, channel: &str) -> bool {
        self.subscriptions.get(channel).is_some_and(|own| own.phase == SubPhase::On)
    }

    /// Takes the messages to send, each by a request.
    pub fn take_messages(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.messages)
    }

    /// Takes the bytes to write.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Takes what it was sent. Says whether the connection is still good.
    pub fn input(&mut self, bytes: &mut [u8]) -> bool {
        if self.carrier == Carrier::Requests {
            return self.stream_input(bytes);
        }
        let mut rest = bytes;
        while !rest.is_empty() && self.phase != Phase::Off {
            let mut reader = std::mem::take(&mut self.reader);
            let (used, event) = reader.read(&LIMITS, rest);
            match event {
                Ok(None) => {}
                Ok(Some(ws::Event::Text(payload))) if self.protocol == Protocol::Json => {
                    self.message(&payload)
                }
                Ok(Some(ws::Event::Binary(payload))) if self.protocol == Protocol::Protobuf => {
                    self.message(&payload)
                }
                Ok(Some(ws::Event::Ping(payload))) => {
                    ws::append_masked_frame(Opcode::Pong, MASK, &payload, &mut self.out);
                }
                Ok(Some(ws::Event::Close(code))) => {
                    let code = u32::from(code.unwrap_or(1005));
                    self.close(Some(if self.old.is_some() { old::code_of(code) } else { code }));
                }
                Ok(Some(other)) => self.broken(format!("unexpected frame {other:?}")),
                Err(error) => self.broken(error.to_string()),
            }
            if self.phase != Phase::Off {
                self.reader = reader;
            }
            rest = &mut rest[used..];
        }
        self.phase != Phase::Off
    }

    fn stream_input(&mut self, bytes: &mut [u8]) -> bool {
        let mut rest = bytes;
        while !rest.is_empty() && self.phase != Phase::Off {
            let mut lines = std::mem::take(&mut self.lines);
            let (used, message) = lines.read(self.protocol, &LIMITS, rest);
            match message {
                Ok(None) => {}
                Ok(Some(message)) => self.message(&message),
                Err(error) => self.broken(error.to_owned()),
            }
            if self.phase != Phase::Off {
                self.lines = lines;
            }
            rest = &mut rest[used..];
        }
        self.phase != Phase::Off
    }

    fn broken(&mut self, what: String) {
        self.log.add(Event::Broken { c: self.c, what });
        self.close(None);
    }

    fn command(&mut self, asked: Asked, command: Command) {
        self.next_id += 1;
        self.asked.insert(self.next_id, asked);
        let mut payload = Vec::new();
        let command = Command { id: self.next_id, ..command };
        match self.old {
            Some(old) => old.append(self.protocol, &command, &mut payload),
            None => spinward_wire::append_command(self.protocol, &command, &mut payload, true),
        }
        self.frame(&payload);
    }

    fn frame(&mut self, payload: &[u8]) {
        if self.carrier == Carrier::Requests {
            return self.messages.push(Bytes::copy_from_slice(payload));
        }
        let opcode = if self.protocol == Protocol::Json { Opcode::Text } else { Opcode::Binary };
        ws::append_masked_frame(opcode, MASK, payload, &mut self.out);
    }

    /// Takes a message of the old protocol. Today's result has some fields more, which follow from what was asked.
    fn old_message(&mut self, old: Old, payload: &[u8]) {
        let asked = &self.asked;
        let replies = old.read(self.protocol, payload, |id| {
            asked.get(&id).map(|asked| match asked {
                Asked::Connect => Method::Connect,
                Asked::Subscribe(_) => Method::Subscribe,
                Asked::Unsubscribe(_) => Method::Unsubscribe,
            })
        });
        let replies = match replies {
            Ok(replies) => replies,
            Err(what) => return self.broken(what),
        };
        for mut reply in replies {
            let channel = match asked_channel(self.asked.get(&reply.id)) {
                Some(channel) if reply.subscribe.is_some() => channel.to_owned(),
                _ => String::new(),
            };
            let subs = reply.connect.iter_mut().flat_map(|connect| connect.subs.iter_mut());
            let sub = reply.subscribe.iter_mut().map(|result| (&channel, result));
            let mut wrong = None;
            for (channel, result) in subs.chain(sub) {
                let Some(own) = self.subscriptions.get(channel.as_str()) else { continue };
                let since = own.position.as_ref().filter(|_| !own.forgetful);
                result.was_recovering = since.is_some();
                if result.recovered {
                    // An old server tells its top, to which the publications must lead.
                    let since = since.map_or(0, |(_, offset)| *offset);
                    let reached = result.publications.last().map_or(since, |last| last.offset);
                    if reached != result.offset {
                        wrong = Some(format!("recovered to {reached} of {}", result.offset));
                    }
                    result.offset = since;
                }
            }
            match wrong {
                Some(what) => self.broken(what),
                None => self.reply(reply),
            }
            if self.phase == Phase::Off {
                return;
            }
        }
    }

    fn message(&mut self, payload: &[u8]) {
        if let Some(old) = self.old {
            return self.old_message(old, payload);
        }
        for reply in Replies::new(self.protocol, payload) {
            match reply {
                Ok(reply) => self.reply(reply),
                Err(error) => self.broken(error.to_string()),
            }
            if self.phase == Phase::Off {
                return;
            }
        }
    }

    fn reply(&mut self, reply: Reply) {
        if let Some(push) = reply.push {
            // A stream has no close frame.
            if let Some(disconnect) = &push.disconnect {
                return self.close(Some(disconnect.code));
            }
            return self.push(push);
        }
        if reply.id == 0 && self.old.is_none() {
            // A ping is answered by an empty command.
            return self.frame(spinward_wire::ping(self.protocol));
        }
        let Some(asked) = self.asked.remove(&reply.id) else {
            return self.broken(format!("reply to nothing: {}", reply.id));
        };
        match asked {
            Asked::Connect if let Some(connect) = reply.connect => {
                self.phase = Phase::On;
                self.client = connect.client;
                self.session = (connect.session, connect.node);
                self.log.add(Event::Connected { c: self.c });
                for (channel, result) in connect.subs {
                    self.subscribed(&channel, result);
                }
                for (channel, own) in &mut self.subscriptions {
                    if own.server_side && own.phase == SubPhase::Asked {
                        own.phase = SubPhase::Off;
                        self.log.add(Event::Refused { c: self.c, ch: channel.clone(), code: 0 });
                    }
                }
                self.subscribe_wanted();
            }
            Asked::Connect => self.broken(format!("login refused: {:?}", reply.error)),
            Asked::Subscribe(channel) => match (reply.subscribe, reply.error) {
                (Some(result), None) => self.subscribed(&channel, result),
                (None, Some(error)) => {
                    if let Some(own) = self.subscriptions.get_mut(&channel) {
                        own.phase = SubPhase::Off;
                    }
                    self.log.add(Event::Refused { c: self.c, ch: channel, code: error.code });
                }
                _ => self.broken("a subscribe reply without result or error".to_owned()),
            },
            Asked::Unsubscribe(channel) => {
                if let Some(own) = self.subscriptions.get_mut(&channel) {
                    own.phase = SubPhase::Off;
                }
                self.subscribe_wanted();
            }
        }
    }

    /// Asks again for what it wants and has not.
    pub fn subscribe_wanted(&mut self) {
        if self.phase != Phase::On {
            return;
        }
        let missing: Vec<String> = self
            .subscriptions
            .iter()
            .filter(|(_, own)| own.wanted && !own.server_side && own.phase == SubPhase::Off)
            .map(|(channel, _)| channel.clone())
            .collect();
        for channel in missing {
            let Some(own) = self.subscriptions.get_mut(&channel) else { continue };
            own.phase = SubPhase::Asked;
            let since = own.position.clone().filter(|_| !own.forgetful);
            let (epoch, offset) = since.clone().unwrap_or_default();
            let subscribe = Some(SubscribeRequest {
                channel: channel.clone(),
                recover: since.is_some(),
                epoch,
                offset,
                delta: if own.delta { "fossil".to_owned() } else { String::new() },
                ..SubscribeRequest::default()
            });
            self.log.add(Event::Subscribing { c: self.c, ch: channel.clone(), since });
            self.command(Asked::Subscribe(channel), Command { subscribe, ..Command::default() });
        }
    }

    fn subscribed(&mut self, channel: &str, result: SubscribeResult) {
        let Some(own) = self.subscriptions.get_mut(channel) else { return };
        let SubscribeResult { recovered, was_recovering, epoch, offset, publications, positioned, .. } =
            result;
        own.phase = SubPhase::On;
        own.base = result.delta.then_some(None);
        let mut pubs = Vec::new();
        for publication in &publications {
            let Some(data) = own.payload(self.protocol, publication) else {
                return self.broken("a delta that does not fit".to_owned());
            };
            pubs.push(Seen::new(channel, publication.offset, &data));
        }
        let Some(own) = self.subscriptions.get_mut(channel) else { return };
        own.position = positioned.then(|| (epoch.clone(), pubs.last().map_or(offset, |last| last.offset)));
        let ch = channel.to_owned();
        self.log.add(Event::Subscribed { c: self.c, ch, was_recovering, recovered, epoch, offset, pubs });
        if !self.subscriptions[channel].wanted {
            self.leave(channel);
        }
    }

    fn push(&mut self, push: Push) {
        let channel = push.channel;
        if let Some(publication) = push.publication {
            if self.phase != Phase::On {
                return self.broken("a push before the connect reply".to_owned());
            }
            let Some(own) = self.subscriptions.get_mut(&channel) else {
                return self.broken(format!("a push for {channel}, which nobody asked for"));
            };
            match own.phase {
                SubPhase::Leaving => return,
                SubPhase::On => {}
                SubPhase::Asked | SubPhase::Off => {
                    return self.broken(format!("a push for {channel} before the subscribe reply"));
                }
            }
            let Some(data) = own.payload(self.protocol, &publication) else {
                return self.broken("a delta that does not fit".to_owned());
            };
            if let Some((_, offset)) = &mut own.position
                && publication.offset > 0
            {
                *offset = publication.offset;
            }
            let seen = Seen::new(&channel, publication.offset, &data);
            self.log.add(Event::Pub { c: self.c, ch: channel, seen });
        } else if let Some(unsubscribe) = push.unsubscribe {
            let Some(own) = self.subscriptions.get_mut(&channel) else { return };
            if own.phase != SubPhase::On {
                return;
            }
            own.phase = SubPhase::Off;
            own.base = None;
            self.ended += 1;
            self.log.add(Event::Unsubscribed { c: self.c, ch: channel, code: unsubscribe.code });
        } else if let Some(disconnect) = push.disconnect {
            self.close(Some(disconnect.code));
        }
    }
}

fn asked_channel(asked: Option<&Asked>) -> Option<&str> {
    match asked {
        Some(Asked::Subscribe(channel)) => Some(channel),
        _ => None,
    }
}

impl Subscription {
    /// The payload, put together from a delta where it is one.
    fn payload(&mut self, protocol: Protocol, publication: &message::Publication) -> Option<Bytes> {
        let Some(base) = &mut self.base else { return Some(publication.data.clone()) };
        let data: Bytes = match protocol {
            // Under deltas the payload travels as a string.
            Protocol::Json => serde_json::from_slice::<String>(&publication.data).ok()?.into(),
            Protocol::Protobuf => publication.data.clone(),
        };
        let whole = if publication.delta {
            delta::apply(base.as_deref()?, &data, DELTA_LIMIT).ok()?.into()
        } else {
            data
        };
        *base = Some(Bytes::clone(&whole));
        Some(whole)
    }
}

/// Longest payload that a delta may give.
const DELTA_LIMIT: usize = 16 << 20;

/// Any key will do: what is masked is not secret.
const MASK: [u8; 4] = [0x5a, 0xc3, 0x17, 0x88];
