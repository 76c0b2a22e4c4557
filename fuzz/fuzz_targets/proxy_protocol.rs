//! PROXY protocol headers: no byte behind a header is asked for or changes it, bytes are limited, and version 1 agrees
//! with a plainer reading of its line.
//!
//! Input: the stream.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spinward_wire::proxy_protocol::{Client, HeaderError, MAX_HEADER, Reading, read};
use std::net::{IpAddr, SocketAddr};

fuzz_target!(|stream: &[u8]| {
    let mut len = 0;
    let found = loop {
        match read(&stream[..len]) {
            Ok(Reading::More(more)) => {
                assert!(more > 0 && len + more <= MAX_HEADER);
                if len + more > stream.len() {
                    return;
                }
                len += more;
            }
            Ok(Reading::Done(client)) => break Ok(client),
            Err(error) => break Err(error),
        }
    };
    // A beginning that is not yet enough asks for more, or is refused for good.
    for shorter in 0..len {
        match read(&stream[..shorter]) {
            Ok(Reading::More(more)) => assert!(found.is_err() || shorter + more <= len),
            Ok(Reading::Done(_)) => panic!("complete before its end"),
            Err(_) => assert!(found.is_err()),
        }
    }
    if stream.starts_with(b"PROXY ") {
        let line = stream.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let plain = line.strip_suffix(b"\r").and_then(|line| plainly(line));
        match found {
            Ok(client) => assert_eq!(Some(client), plain),
            Err(HeaderError::Text) => assert_eq!(plain, None),
            Err(_) => assert!(len >= 107),
        }
    }
});

fn plainly(line: &[u8]) -> Option<Client> {
    let line = std::str::from_utf8(line).ok().filter(|line| line.is_ascii() || line.contains("UNKNOWN"))?;
    let words: Vec<&str> = line.split(' ').collect();
    // A fault: the port is that of the destination.
    #[cfg(planted_fault)]
    let from = 5;
    #[cfg(not(planted_fault))]
    let from = 4;
    match words[..] {
        [_, "UNKNOWN", ..] => (!line.contains('\r')).then_some(Client::Proxy),
        [_, family, source, destination, _, _] => {
            let address: IpAddr = source.parse().ok()?;
            let other: IpAddr = destination.parse().ok()?;
            let is_four = match family {
                "TCP4" => true,
                "TCP6" => false,
                _ => return None,
            };
            let ports = [words[4].parse::<u16>().ok()?, words[5].parse::<u16>().ok()?];
            let written = ports[0].to_string() == words[4] && ports[1].to_string() == words[5];
            let fits = address.is_ipv4() == is_four && other.is_ipv4() == is_four && written;
            fits.then(|| Client::Address(SocketAddr::new(address.to_canonical(), ports[from - 4])))
        }
        _ => None,
    }
}
