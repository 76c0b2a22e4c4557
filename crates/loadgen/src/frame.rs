//! WebSocket frames from the client's side (RFC 6455): just what a well-behaved server makes necessary.

/// Opcodes met.
pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// A server that read a key of zeros as "not masked" would be seen at once; any other fixed key does.
const KEY: [u8; 4] = [0x5b, 0x17, 0xc3, 0x2e];

/// One whole frame at the start of a buffer.
pub(crate) struct Frame<'a> {
    pub(crate) opcode: u8,
    /// The frame is a compressed message.
    pub(crate) compressed: bool,
    pub(crate) body: &'a [u8],
    pub(crate) length: usize,
}

/// The frame at the start of `bytes`; `None` when it is not whole yet. An error names what no server may
/// send here: a fragment, an extension bit, a mask.
pub(crate) fn read(bytes: &[u8]) -> Result<Option<Frame<'_>>, &'static str> {
    let [first, second, ..] = *bytes else { return Ok(None) };
    if first & 0xb0 != 0x80 {
        return Err("fragment or extension bit");
    }
    let compressed = first & 0x40 != 0;
    if second & 0x80 != 0 {
        return Err("masked frame");
    }
    let (head, size): (usize, usize) = match second {
        126 => match bytes.get(2..4) {
            Some(raw) => (4, usize::from(u16::from_be_bytes([raw[0], raw[1]]))),
            None => return Ok(None),
        },
        127 => match bytes.get(2..10).and_then(|raw| <[u8; 8]>::try_from(raw).ok()) {
            Some(raw) => (10, usize::try_from(u64::from_be_bytes(raw)).unwrap_or(usize::MAX)),
            None => return Ok(None),
        },
        short => (2, usize::from(short)),
    };
    let length = head.checked_add(size).ok_or("length")?;
    Ok(bytes.get(head..length).map(|body| Frame { opcode: first & 0x0f, compressed, body, length }))
}

/// Appends one masked frame.
pub(crate) fn write(out: &mut Vec<u8>, opcode: u8, body: &[u8]) {
    write_fragment(out, opcode, true, body);
}

/// Appends one masked frame, which may leave its message unfinished.
pub(crate) fn write_fragment(out: &mut Vec<u8>, opcode: u8, last: bool, body: &[u8]) {
    out.push(if last { 0x80 | opcode } else { opcode });
    head(out, body.len(), 0x80);
    out.extend_from_slice(&KEY);
    out.extend(body.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
}

/// Appends one unmasked frame, as a server would: the floor's bytes.
pub(crate) fn write_as_server(out: &mut Vec<u8>, opcode: u8, body: &[u8]) {
    out.push(0x80 | opcode);
    head(out, body.len(), 0);
    out.extend_from_slice(body);
}

fn head(out: &mut Vec<u8>, size: usize, mask: u8) {
    match size {
        0..=125 => out.push(mask | size as u8),
        126..=0xffff => {
            out.push(mask | 126);
            out.extend_from_slice(&(size as u16).to_be_bytes());
        }
        _ => {
            out.push(mask | 127);
            out.extend_from_slice(&(size as u64).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_frame_is_read_at_every_split() {
        for size in [0, 1, 125, 126, 65_535, 65_536] {
            let body = vec![b'a'; size];
            let mut bytes = Vec::new();
            write_as_server(&mut bytes, TEXT, &body);
            for cut in (0..bytes.len().min(12)).chain([bytes.len() - 1]) {
                assert!(matches!(read(&bytes[..cut]), Ok(None)), "{size} {cut}");
            }
            bytes.push(7);
            let frame = read(&bytes).unwrap().unwrap();
            assert_eq!((frame.opcode, frame.body, frame.length), (TEXT, &body[..], bytes.len() - 1));
        }
    }

    #[test]
    fn a_client_frame_is_masked() {
        let mut bytes = Vec::new();
        write(&mut bytes, TEXT, b"hello");
        assert_eq!(bytes[..2], [0x81, 0x85]);
        assert_eq!(bytes[6] ^ bytes[2], b'h');
        assert!(read(&bytes).is_err());
    }
}
