//! The messages in JSON: one table of names, from which both directions come.

use super::read::Reader;
use super::write::append_string;
use crate::error::DecodeError;
use crate::message::*;
use bytes::Bytes;
use std::collections::BTreeMap;

type Result<T> = std::result::Result<T, DecodeError>;

/// A message that has a JSON form.
pub(crate) trait JsonMessage {
    fn write(&self, out: &mut Vec<u8>);
    fn read(&mut self, reader: &mut Reader<'_>) -> Result<()>;
}

/// A type that a field may have.
trait Value {
    /// Zero values are left out.
    fn is_zero(&self) -> bool;
    fn put(&self, out: &mut Vec<u8>);
    /// Reads a value that is not `null`.
    fn take(&mut self, reader: &mut Reader<'_>) -> Result<()>;
}

impl Value for String {
    fn is_zero(&self) -> bool {
        self.is_empty()
    }

    fn put(&self, out: &mut Vec<u8>) {
        append_string(self, out);
    }

    fn take(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        *self = reader.string()?.into_owned();
        Ok(())
    }
}

/// Payloads are embedded as they are. An empty one that must be written is `null`.
impl Value for Bytes {
    fn is_zero(&self) -> bool {
        self.is_empty()
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.is_empty() { b"null" } else { self });
    }

    fn take(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        *self = Self::copy_from_slice(reader.value()?);
        Ok(())
    }
}

impl Value for bool {
    fn is_zero(&self) -> bool {
        !self
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if *self { b"true" } else { b"false" });
    }

    fn take(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        *self = reader.boolean()?;
        Ok(())
    }
}

macro_rules! numbers {
    ($($kind:ty),*) => {$(
        impl Value for $kind {
            fn is_zero(&self) -> bool {
                *self == 0
            }

            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(itoa::Buffer::new().format(*self).as_bytes());
            }

            fn take(&mut self, reader: &mut Reader<'_>) -> Result<()> {
                *self = Self::try_from(reader.integer()?).map_err(|_| DecodeError::OutOfRange)?;
                Ok(())
            }
        }
    )*};
}

numbers!(u32, u64, i32, i64);

/// A message, or its absence. The fields of one that is named twice are read over each other.
impl<M: JsonMessage + Default> Value for Option<M> {
    fn is_zero(&self) -> bool {
        self.is_none()
    }

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Some(message) => message.write(out),
            None => out.extend_from_slice(b"null"),
        }
    }

    fn take(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        self.get_or_insert_default().read(reader)
    }
}

/// What a list or a map may hold.
trait Element: Default {
    fn put_element(&self, out: &mut Vec<u8>);
    fn take_element(&mut self, reader: &mut Reader<'_>) -> Result<()>;
}

impl Element for String {
    fn put_element(&self, out: &mut Vec<u8>) {
        append_string(self, out);
    }

    fn take_element(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        self.take(reader)
    }
}

impl<T: Element> Value for Vec<T> {
    fn is_zero(&self) -> bool {
        self.is_empty()
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.push(b'[');
        for (at, element) in self.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            element.put_element(out);
        }
        out.push(b']');
    }

    fn take(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        self.clear();
        reader.array(|reader| {
            let mut element = T::default();
            if !reader.null()? {
                element.take_element(reader)?;
            }
            self.push(element);
            Ok(())
        })
    }
}

impl<T: Element> Value for BTreeMap<String, T> {
    fn is_zero(&self) -> bool {
        self.is_empty()
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        for (at, (key, element)) in self.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            append_string(key, out);
            out.push(b':');
            element.put_element(out);
        }
        out.push(b'}');
    }

    fn take(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        self.clear();
        reader.object(|key, reader| {
            let mut element = T::default();
            if !reader.null()? {
                element.take_element(reader)?;
            }
            self.insert(key.to_owned(), element);
            Ok(())
        })
    }
}

fn begin(name: &'static str, out: &mut Vec<u8>, first: &mut bool) {
    if !std::mem::replace(first, false) {
        out.push(b',');
    }
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// `field: "name"`, with `!` before the name of a field that is written even when it is zero.
macro_rules! messages {
    ($($message:ident { $($field:ident $(: $always:tt)? = $name:literal),* $(,)? })*) => {$(
        impl JsonMessage for $message {
            fn write(&self, out: &mut Vec<u8>) {
                out.push(b'{');
                #[allow(unused_mut, unused_variables, reason = "some messages have no fields")]
                let mut first = true;
                $(if messages!(@always $($always)?) || !self.$field.is_zero() {
                    begin($name, out, &mut first);
                    self.$field.put(out);
                })*
                out.push(b'}');
            }

            fn read(&mut self, reader: &mut Reader<'_>) -> Result<()> {
                reader.object(|name, reader| {
                    $(if name == $name || name.eq_ignore_ascii_case($name) {
                        return if reader.null()? { Ok(()) } else { Value::take(&mut self.$field, reader) };
                    })*
                    let _ = name;
                    reader.value().map(|_| ())
                })
            }
        }

        impl Element for $message {
            fn put_element(&self, out: &mut Vec<u8>) {
                self.write(out);
            }

            fn take_element(&mut self, reader: &mut Reader<'_>) -> Result<()> {
                self.read(reader)
            }
        }
    )*};
    (@always) => { false };
    (@always always) => { true };
}

messages! {
    Error { code = "code", message = "message", temporary = "temporary" }
    EmulationRequest { node = "node", session = "session", data = "data" }
    Command {
        id = "id", connect = "connect", subscribe = "subscribe", unsubscribe = "unsubscribe", publish = "publish",
        presence = "presence", presence_stats = "presence_stats", history = "history", ping = "ping", send = "send",
        rpc = "rpc", refresh = "refresh", sub_refresh = "sub_refresh",
    }
    Reply {
        id = "id", error = "error", push = "push", connect = "connect", subscribe = "subscribe",
        unsubscribe = "unsubscribe", publish = "publish", presence = "presence", presence_stats = "presence_stats",
        history = "history", ping = "ping", rpc = "rpc", refresh = "refresh", sub_refresh = "sub_refresh",
    }
    Push {
        id = "id", channel = "channel", publication = "pub", join = "join", leave = "leave",
        unsubscribe = "unsubscribe", message = "message", subscribe = "subscribe", connect = "connect",
        disconnect = "disconnect", refresh = "refresh",
    }
    Dictionary { id = "id", data = "data", data_b64 = "data_b64" }
    ClientInfo { user: always = "user", client: always = "client", conn_info = "conn_info", chan_info = "chan_info" }
    Publication {
        data = "data", info = "info", offset = "offset", tags = "tags", delta = "delta", time = "time",
        channel = "channel", key = "key", removed = "removed", score = "score", epoch = "epoch",
        prev_data = "prev_data", version = "version",
    }
    Join { info = "info" }
    Leave { info = "info" }
    Unsubscribe { code = "code", reason = "reason" }
    Subscribe {
        recoverable = "recoverable", epoch = "epoch", offset = "offset", positioned = "positioned", data = "data",
    }
    Message { data = "data" }
    Connect {
        client = "client", version = "version", data = "data", subs = "subs", expires = "expires", ttl = "ttl",
        ping = "ping", pong = "pong", session = "session", node = "node", time = "time",
    }
    Disconnect { code = "code", reason = "reason", reconnect = "reconnect" }
    Refresh { expires = "expires", ttl = "ttl" }
    ConnectRequest {
        token = "token", data = "data", subs = "subs", name = "name", version = "version", headers = "headers",
        flag = "flag", dict = "dict", profile = "profile",
    }
    ConnectResult {
        client = "client", version = "version", expires = "expires", ttl = "ttl", data = "data", subs = "subs",
        ping = "ping", pong = "pong", session = "session", node = "node", time = "time", flag = "flag", dict = "dict",
    }
    RefreshRequest { token = "token" }
    RefreshResult { client = "client", version = "version", expires = "expires", ttl = "ttl" }
    SubscribeRequest {
        channel = "channel", token = "token", recover = "recover", epoch = "epoch", offset = "offset", data = "data",
        positioned = "positioned", recoverable = "recoverable", join_leave = "join_leave", delta = "delta", tf = "tf",
        flag = "flag", r#type = "type", phase = "phase", cursor = "cursor", limit = "limit", asc = "asc",
    }
    SubscribeResult {
        expires = "expires", ttl = "ttl", recoverable = "recoverable", epoch = "epoch", publications = "publications",
        recovered = "recovered", offset = "offset", positioned = "positioned", data = "data",
        was_recovering = "was_recovering", delta = "delta", id = "id", r#type = "type", phase = "phase",
        cursor = "cursor", state = "state", publish_debounce = "publish_debounce",
    }
    KeyedItem { key = "key", version = "version" }
    TrackBatch { signature = "signature", items = "items" }
    SubRefreshRequest { channel = "channel", token = "token", r#type = "type", track = "track", untrack = "untrack" }
    SubRefreshResult { expires = "expires", ttl = "ttl", items = "items" }
    UnsubscribeRequest { channel = "channel" }
    PublishRequest { channel = "channel", data = "data", r#type = "type", key = "key", removed = "removed" }
    PresenceRequest { channel = "channel" }
    PresenceResult { presence: always = "presence" }
    PresenceStatsRequest { channel = "channel" }
    PresenceStatsResult { num_clients: always = "num_clients", num_users: always = "num_users" }
    StreamPosition { offset = "offset", epoch = "epoch" }
    HistoryRequest { channel = "channel", limit = "limit", since = "since", reverse = "reverse" }
    HistoryResult { publications: always = "publications", epoch: always = "epoch", offset: always = "offset" }
    RPCRequest { data = "data", method = "method" }
    RPCResult { data = "data" }
    SendRequest { data = "data" }
    FilterNode { op = "op", key = "key", cmp = "cmp", val = "val", vals = "vals", nodes = "nodes" }
    UnsubscribeResult {}
    PublishResult {}
    PingRequest {}
    PingResult {}
}
