//! Centrifugo's client protocol as bytes and values.
//!
//! Bytes in, values out, and back: no sockets, no clocks, no policy. [`message`] has the messages, [`Commands`]
//! and [`Replies`] read them from a transport message in either [`Protocol`], [`append_reply`] and its like
//! write them. [`v1`] has what clients of 2018 to 2022 speak. [`form`] says how a connection's bytes look, [`framing::Decoder`] takes them apart. [`ws`] is RFC 6455, [`delta`] is Fossil delta, [`filter`] selects publications by their tags,
//! [`proxy_protocol`] reads what a proxy says before all of it, and [`code`] is the catalogue of error, unsubscribe and disconnect codes.

pub mod code;
mod command;
pub mod delta;
mod encode;
mod error;
pub mod filter;
pub mod form;
pub mod framing;
pub mod json;
mod kind;
pub mod message;
mod protobuf;
mod protocol;
pub mod proxy_protocol;
pub mod v1;
pub mod ws;

pub use command::{Incoming, Request};
pub use encode::{
    append_command, append_presence_reply, append_publication_push, append_push, append_reply,
    encode_presence, ping,
};
pub use error::DecodeError;
pub use form::{Dialect, Direction, Form, Framing, Version};
pub use framing::{Commands, Replies, decode_emulation, decode_reply};
pub use kind::{DeltaType, SubscriptionType};
pub use protocol::Protocol;
