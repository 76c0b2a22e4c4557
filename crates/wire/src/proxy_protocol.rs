//! The header by which a proxy names the client of a connection: the PROXY protocol, versions 1 and 2.
//!
//! It is the first thing on the connection, before TLS and HTTP. [`read`] says how many more bytes it needs, and never
//! asks for one that is not the header's, so that a reader that takes no more leaves the stream where the client's own
//! bytes begin.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use thiserror::Error;

/// Most bytes of a header. One of version 1 has 107 at most; of version 2, extensions may follow the addresses.
pub const MAX_HEADER: usize = 4 << 10;

/// The beginning of version 1.
const TEXT: &[u8] = b"PROXY ";

/// Bytes of the longest header of version 1, with the end of its line.
const MAX_TEXT: usize = 107;

/// Bytes of `PROXY UNKNOWN` with the end of its line: no header of either version is shorter.
const SHORTEST: usize = 15;

/// The beginning of version 2.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes of version 2 before the addresses: signature, command, family, length.
const FIXED: usize = 16;

/// The state of a header that is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// It has at least so many more bytes.
    More(usize),
    /// It is complete.
    Done(Client),
}

/// The other end of a connection, as a proxy names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// The client of the proxy, by TCP.
    Address(SocketAddr),
    /// The proxy itself, as for a health check, or a client whose address is not known or not one of TCP.
    Proxy,
}

/// Bytes that are not a header of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// They begin in another way.
    #[error("no PROXY protocol header")]
    Missing,
    /// A header of version 1 with another line than the protocol has.
    #[error("a malformed header of version 1")]
    Text,
    /// A header of version 2 with a command, or a version, that does not exist.
    #[error("an unknown version or command")]
    Command,
    /// A header of version 2 whose length leaves no room for its addresses.
    #[error("a header of version 2 without its addresses")]
    Addresses,
    /// It is longer than [`MAX_HEADER`].
    #[error("a header that is too long")]
    Length,
}

/// Reads the header that `bytes`, the beginning of a connection, may be.
///
/// # Errors
/// They are not one.
pub fn read(bytes: &[u8]) -> Result<Reading, HeaderError> {
    let begins = |beginning: &[u8]| {
        let common = beginning.len().min(bytes.len());
        bytes[..common] == beginning[..common]
    };
    match bytes {
        [] => Ok(Reading::More(SHORTEST)),
        _ if begins(TEXT) => text(bytes),
        _ if begins(&SIGNATURE) => binary(bytes),
        _ => Err(HeaderError::Missing),
    }
}

fn text(bytes: &[u8]) -> Result<Reading, HeaderError> {
    if bytes.len() < SHORTEST {
        return Ok(Reading::More(SHORTEST - bytes.len()));
    }
    match bytes.strip_suffix(b"\r\n") {
        // The line ends once.
        Some(line) if !line.contains(&b'\r') && !line.contains(&b'\n') => {
            let line = std::str::from_utf8(line).map_err(|_| HeaderError::Text)?;
            line_of(line).map(Reading::Done).ok_or(HeaderError::Text)
        }
        _ if bytes[..bytes.len() - 1].contains(&b'\n') || bytes.ends_with(b"\n") => Err(HeaderError::Text),
        _ if bytes.len() >= MAX_TEXT => Err(HeaderError::Length),
        _ => Ok(Reading::More(if bytes.ends_with(b"\r") { 1 } else { 2.min(MAX_TEXT - bytes.len()) })),
    }
}

/// The line of version 1: `PROXY TCP4 192.0.2.1 198.51.100.1 56324 443`.
fn line_of(line: &str) -> Option<Client> {
    let mut words = line.split(' ').skip(1);
    let family = words.next()?;
    // What follows may be anything, and is to be ignored.
    if family == "UNKNOWN" {
        return Some(Client::Proxy);
    }
    let source = address(family, words.next()?)?;
    address(family, words.next()?)?;
    let from = port(words.next()?)?;
    port(words.next()?)?;
    words.next().is_none().then(|| Client::Address(SocketAddr::new(source.to_canonical(), from)))
}

fn address(family: &str, text: &str) -> Option<IpAddr> {
    match family {
        "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => None,
    }
}

fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

fn binary(bytes: &[u8]) -> Result<Reading, HeaderError> {
    let Some((fixed, rest)) = bytes.split_at_checked(FIXED) else {
        return Ok(Reading::More(FIXED - bytes.len()));
    };
    let (command, family) = (fixed[12], fixed[13]);
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if FIXED + length > MAX_HEADER {
        return Err(HeaderError::Length);
    }
    let local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(HeaderError::Command),
    };
    // Families of other transports, and those to come, are taken without an address.
    let needed = match family {
        0x11 => 12,
        0x21 => 36,
        _ => 0,
    };
    if !local && length < needed {
        return Err(HeaderError::Addresses);
    }
    if rest.len() < length {
        return Ok(Reading::More(length - rest.len()));
    }
    Ok(Reading::Done(match rest {
        _ if local => Client::Proxy,
        [a, b, c, d, _, _, _, _, high, low, ..] if family == 0x11 => {
            let port = u16::from_be_bytes([*high, *low]);
            Client::Address(SocketAddr::new(Ipv4Addr::new(*a, *b, *c, *d).into(), port))
        }
        _ if family == 0x21 => {
            let source: [u8; 16] = rest[..16].try_into().map_err(|_| HeaderError::Addresses)?;
            let port = u16::from_be_bytes([rest[32], rest[33]]);
            Client::Address(SocketAddr::new(IpAddr::from(source).to_canonical(), port))
        }
        _ => Client::Proxy,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> Result<Reading, HeaderError> {
        Ok(Reading::Done(Client::Address(text.parse().expect("an address"))))
    }

    /// Reads as a server does: the bytes that were asked for, and no more.
    fn taken(stream: &[u8]) -> (usize, Result<Reading, HeaderError>) {
        let mut len = 0;
        loop {
            match read(&stream[..len]) {
                Ok(Reading::More(more)) if len + more <= stream.len() => len += more,
                found => return (len, found),
            }
        }
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).expect("short").to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    #[test]
    fn version_1_is_one_line() {
        for (line, expected) in [
            ("PROXY TCP4 192.0.2.1 198.51.100.1 56324 443", client("192.0.2.1:56324")),
            ("PROXY TCP6 2001:db8::7 2001:db8::1 0 65535", client("[2001:db8::7]:0")),
            ("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2", client("192.0.2.1:1")),
            ("PROXY UNKNOWN", Ok(Reading::Done(Client::Proxy))),
            ("PROXY UNKNOWN whatever there is", Ok(Reading::Done(Client::Proxy))),
            ("PROXY TCP4 2001:db8::7 198.51.100.1 1 2", Err(HeaderError::Text)),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 1", Err(HeaderError::Text)),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 1 2 3", Err(HeaderError::Text)),
            ("PROXY TCP4  192.0.2.1 198.51.100.1 1 2", Err(HeaderError::Text)),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 01 2", Err(HeaderError::Text)),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 +1 2", Err(HeaderError::Text)),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 1 65536", Err(HeaderError::Text)),
            ("PROXY UDP4 192.0.2.1 198.51.100.1 1 2", Err(HeaderError::Text)),
            ("PROXY TCP4\n192.0.2.1 198.51.100.1 1 2", Err(HeaderError::Text)),
        ] {
            let stream = format!("{line}\r\nGET / HTTP/1.1\r\n\r\n");
            let (len, found) = taken(stream.as_bytes());
            assert_eq!(found, expected, "{line}");
            if expected.is_ok() {
                assert_eq!(len, line.len() + 2, "no byte of the client is taken: {line}");
            }
        }
        let long = format!("PROXY UNKNOWN {}", "x".repeat(200));
        assert_eq!(taken(long.as_bytes()).1, Err(HeaderError::Length));
        assert_eq!(taken(b"PROXY UNKNOWN\n\n").1, Err(HeaderError::Text));
    }

    #[test]
    fn version_2_is_binary() {
        let four = [192, 0, 2, 1, 198, 51, 100, 1, 0xDC, 0x04, 1, 0xBB];
        let mut six = [0; 36];
        six[..16].copy_from_slice(&Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7).octets());
        (six[32], six[33]) = (0x12, 0x34);
        let extended = [&four[..], &[0xEE, 0, 3, 1, 2, 3]].concat();
        let proxy = Ok(Reading::Done(Client::Proxy));
        for (header, expected) in [
            (v2(0x21, 0x11, &four), client("192.0.2.1:56324")),
            (v2(0x21, 0x11, &extended), client("192.0.2.1:56324")),
            (v2(0x21, 0x21, &six), client("[2001:db8::7]:4660")),
            (v2(0x20, 0x00, &[]), proxy),
            (v2(0x20, 0x11, &four), proxy),
            (v2(0x21, 0x00, &[]), proxy),
            (v2(0x21, 0x31, &[0; 216]), proxy),
            (v2(0x21, 0x12, &four), proxy),
            (v2(0x21, 0x11, &four[..11]), Err(HeaderError::Addresses)),
            (v2(0x22, 0x11, &four), Err(HeaderError::Command)),
            (v2(0x11, 0x11, &four), Err(HeaderError::Command)),
            (v2(0x21, 0x11, &[0; 5_000]), Err(HeaderError::Length)),
        ] {
            let stream = [&header[..], b"\x16\x03\x01"].concat();
            let (len, found) = taken(&stream);
            assert_eq!(found, expected, "{header:?}");
            if expected.is_ok() {
                assert_eq!(len, header.len(), "no byte of the client is taken: {header:?}");
            }
        }
    }

    #[test]
    fn anything_else_is_no_header() {
        for stream in
            ["GET / HTTP/1.1\r\n\r\n", "\r\n\r\nGET / HTTP/1.1", "proxy UNKNOWN\r\n    ", "\x16\x03\x01"]
        {
            let padded = format!("{stream:<20}");
            assert_eq!(taken(padded.as_bytes()).1, Err(HeaderError::Missing), "{stream:?}");
            assert_eq!(read(&stream.as_bytes()[..1]).is_ok(), stream.starts_with('\r'), "{stream:?}");
        }
    }
}
