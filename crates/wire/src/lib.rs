//! Centrifugo's client protocol as bytes and values.
//!
//! Bytes in, values out, and back: no sockets, no clocks, no policy. [`message`] has the messages,
//! [`json`] and [`protobuf`] the two codecs over them, [`framing`] splits a transport message into
//! commands and joins replies, [`ws`] is the server side of RFC 6455, [`delta`] is Fossil delta,
//! [`filter`] matches publication tags and [`code`] is the catalogue of error, unsubscribe and disconnect codes.

pub mod code;
pub mod delta;
pub mod filter;
pub mod message;
pub mod ws;
