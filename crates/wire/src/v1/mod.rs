//! The client protocol of 2018 to 2022 ("version 1"), as Centrifugo v2 and v3 speak it.
//!
//! A command is an envelope of id, method and params, a reply one of id and result, and a push is a reply without an id.
//! Commands are read into the same [`Incoming`](crate::Incoming) as today's, and replies and pushes are written from the
//! same [`message`](crate::message)s, so that nothing behind this module knows of another set of messages. [`speaks`]
//! tells by the first message of a connection that it is one of these.

mod close;
mod decode;
mod encode;
mod json;
mod message;
mod protobuf;

pub(crate) use close::close;
pub use decode::speaks;
pub use encode::append_reply;
pub(crate) use encode::{append_presence_reply, append_publication_push, append_push};
pub(crate) use json::decode_command as decode_json;
pub(crate) use protobuf::decode_command as decode_protobuf;

/// Form of the positions in a stream.
///
/// The first SDKs know a pair of `seq` and `gen` alone, later ones both, the last ones only `offset`. By the form also
/// goes the order of recovered publications: newest first by `seq`, oldest first by `offset`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Positions {
    /// Both forms, oldest first: each SDK finds the one that it knows. Not for recovered publications, since SDKs tell
    /// their order by the form.
    #[default]
    Both,
    /// `seq` and `gen`, newest first.
    Seq,
    /// `offset`, oldest first.
    Offset,
}

/// Numbers of the methods, in order.
const METHODS: [&str; 12] = [
    "connect",
    "subscribe",
    "unsubscribe",
    "publish",
    "presence",
    "presence_stats",
    "history",
    "ping",
    "send",
    "rpc",
    "refresh",
    "sub_refresh",
];

#[cfg(test)]
mod tests;
