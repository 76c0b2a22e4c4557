//! The two encodings of the client protocol.

/// Encoding of messages on a connection. A connection has one encoding for its whole life; the WebSocket subprotocol or
/// the URL chooses it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Protocol {
    /// Objects separated by a newline; payloads are raw JSON.
    Json,
    /// Messages behind their varint length; payloads are bytes.
    Protobuf,
}
