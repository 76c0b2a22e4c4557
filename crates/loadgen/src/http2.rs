//! Frames of HTTP/2 (RFC 9113) from the client's side: just what a well-behaved server makes necessary.

/// Beginning of a connection.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RESET: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;

/// Of frames with data or headers: the last one of a stream. Of settings and pings: an answer.
pub(crate) const END: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

const HEAD: usize = 9;

/// Appends a frame. Its payload has at most 16 KiB.
pub(crate) fn write(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend([kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// One whole frame at the start of a buffer.
pub(crate) struct Frame<'a> {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: &'a [u8],
    pub(crate) length: usize,
}

/// The frame at the start of `bytes`; `None` when it is not whole yet.
pub(crate) fn read(bytes: &[u8]) -> Option<Frame<'_>> {
    let [a, b, c, kind, flags, s0, s1, s2, s3] = *bytes.first_chunk::<HEAD>()?;
    let length = HEAD + u32::from_be_bytes([0, a, b, c]) as usize;
    let stream = u32::from_be_bytes([s0, s1, s2, s3]) & (u32::MAX >> 1);
    Some(Frame { kind, flags, stream, payload: bytes.get(HEAD..length)?, length })
}

/// Appends a header that is in no table yet, with `first` as the byte before it.
pub(crate) fn header(block: &mut Vec<u8>, first: u8, name: &str, value: &str) {
    block.push(first);
    for text in [name, value] {
        // Lengths of 127 and more have another form, and none is needed.
        debug_assert!(text.len() < 127, "{text}");
        block.push(text.len() as u8);
        block.extend_from_slice(text.as_bytes());
    }
}

/// The largest window there is.
pub(crate) const LARGEST_WINDOW: u32 = u32::MAX >> 1;

/// Beginning of a connection whose streams have the given window, and all together the largest.
pub(crate) fn open(window: u32) -> Vec<u8> {
    const INITIAL_WINDOW_SIZE: u16 = 4;
    const FROM_THE_START: u32 = 65_535;
    let mut out = PREFACE.to_vec();
    let mut settings = INITIAL_WINDOW_SIZE.to_be_bytes().to_vec();
    settings.extend_from_slice(&window.to_be_bytes());
    write(&mut out, SETTINGS, 0, 0, &settings);
    write(&mut out, WINDOW_UPDATE, 0, 0, &(LARGEST_WINDOW - FROM_THE_START).to_be_bytes());
    out
}

/// Appends a call of the unidirectional gRPC stream, subscribed to the channels.
pub(crate) fn consume(
    out: &mut Vec<u8>,
    stream: u32,
    host: &str,
    token: &str,
    channels: impl Iterator<Item = String>,
) {
    const POST: u8 = 0x83;
    const HTTP: u8 = 0x86;
    let mut block = vec![POST, HTTP];
    for (name, value) in [
        (":path", "/centrifugal.centrifugo.unistream.CentrifugoUniStream/Consume"),
        (":authority", host),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ] {
        header(&mut block, 0, name, value);
    }
    let mut request = Vec::new();
    prost::encoding::bytes::encode(1, &token.as_bytes().to_vec(), &mut request);
    for channel in channels {
        // An entry of a map, whose value is an empty message.
        let mut entry = Vec::new();
        prost::encoding::bytes::encode(1, &channel.into_bytes(), &mut entry);
        prost::encoding::bytes::encode(2, &Vec::new(), &mut entry);
        prost::encoding::bytes::encode(3, &entry, &mut request);
    }
    let mut message = vec![0];
    message.extend_from_slice(&(request.len() as u32).to_be_bytes());
    message.extend_from_slice(&request);
    write(out, HEADERS, END_HEADERS, stream, &block);
    write(out, DATA, END, stream, &message);
}

/// Appends the reset of a stream.
pub(crate) fn reset(out: &mut Vec<u8>, stream: u32) {
    const CANCEL: u32 = 8;
    write(out, RESET, 0, stream, &CANCEL.to_be_bytes());
}

/// Appends a request and its reset: headers without a table, so that each stands for itself.
pub(crate) fn reset_request(out: &mut Vec<u8>, number: u64) {
    // Streams of a client have odd numbers.
    let stream = (number * 2 - 1) as u32;
    let mut block = Vec::new();
    for (name, value) in [(":method", "GET"), (":scheme", "http"), (":path", "/health"), (":authority", "a")]
    {
        header(&mut block, 0, name, value);
    }
    write(out, HEADERS, END | END_HEADERS, stream, &block);
    reset(out, stream);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_whole() {
        let mut bytes = Vec::new();
        write(&mut bytes, DATA, END, 5, b"abc");
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end]).is_none(), "{end}");
        }
        bytes.push(0);
        let frame = read(&bytes).unwrap();
        assert_eq!((frame.kind, frame.flags, frame.stream), (DATA, END, 5));
        assert_eq!((frame.payload, frame.length), (&b"abc"[..], bytes.len() - 1));
    }
}
