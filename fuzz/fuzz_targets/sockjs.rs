//! SockJS messages: what a plainer reader makes of them, and the same over a WebSocket however it is cut.
//!
//! Input: one byte of message limit, one of chunk size, then what a client sends.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spinward_wire::framing::sockjs::unpack;
use spinward_wire::framing::{Decoder, Input};
use spinward_wire::ws::Limits;
use spinward_wire::{Form, json};

fuzz_target!(|data: &[u8]| {
    let [limit, chunk, packed @ ..] = data else { return };
    let mut bytes = packed.to_vec();
    let unpacked = unpack(&mut bytes).map(|len| {
        assert!(len < packed.len());
        damaged(bytes[..len].to_vec())
    });
    match (&unpacked, plainly(packed)) {
        (Ok(unpacked), Some(plain)) => assert_eq!(unpacked.escape_ascii().to_string(), plain.escape_ascii().to_string()),
        (unpacked, plain) => assert_eq!(unpacked.is_ok(), plain.is_some(), "{unpacked:?} {plain:?}"),
    }

    let limits = Limits::of(u32::from(*limit) * 8);
    let Some(frame) = frame(packed).filter(|_| std::str::from_utf8(packed).is_ok()) else { return };
    let whole = read(&limits, &frame, frame.len());
    assert_eq!(whole, read(&limits, &frame, usize::from(*chunk) + 1), "chunks of {}", usize::from(*chunk) + 1);
    let within = packed.len() <= limits.message as usize * 2 + 1024;
    match unpacked {
        _ if packed.is_empty() => assert_eq!(whole, Ok(None)),
        Ok(message) if within && message.is_empty() => assert_eq!(whole, Ok(None)),
        Ok(message) if within && message.len() <= limits.message as usize => assert_eq!(whole, Ok(Some(message))),
        _ => assert!(whole.is_err(), "{whole:?}"),
    }
});

/// The same by string literals that are cut out and unescaped one by one.
fn plainly(packed: &[u8]) -> Option<Vec<u8>> {
    // Bytes that are not UTF-8 pass, one by one, as characters of Latin-1, and are turned back at the end.
    let text: String = packed.iter().map(|byte| char::from(*byte)).collect();
    let spaces = [' ', '\t', '\n', '\r'];
    let text = text.trim_matches(spaces);
    let mut literals = Vec::new();
    if let Some(inner) = text.strip_prefix('[') {
        let mut rest = inner.strip_suffix(']')?.trim_matches(spaces);
        while !rest.is_empty() {
            let literal = literal(rest)?;
            literals.push(literal);
            rest = rest[literal.len()..].trim_start_matches(spaces);
            if let Some(next) = rest.strip_prefix(',') {
                rest = next.trim_start_matches(spaces);
                if rest.is_empty() {
                    return None;
                }
            } else if !rest.is_empty() {
                return None;
            }
        }
    } else {
        literals.push(literal(text).filter(|literal| literal.len() == text.len())?);
    }
    let mut out: Vec<u8> = Vec::new();
    for literal in literals.into_iter().filter(|literal| literal.len() > 2) {
        if !out.is_empty() && out.last() != Some(&b'\n') {
            out.push(b'\n');
        }
        // Escapes are of ASCII characters alone in the text as it is here, and what they stand for may be any.
        let bytes: Vec<u8> = literal.chars().map(|one| one as u8).collect();
        out.extend(unescaped(&bytes[1..bytes.len() - 1]));
    }
    Some(out)
}

/// The string literal that a text begins with.
fn literal(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('"')?;
    let mut end = None;
    let mut escaped = false;
    for (at, one) in inner.char_indices() {
        match one {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => {
                end = Some(at + 2);
                break;
            }
            _ => {}
        }
    }
    let literal = &text[..end?];
    json::is_valid(literal.as_bytes()).then_some(literal)
}

/// The content of a literal, its runs of plain bytes kept.
fn unescaped(inner: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = inner;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        out.extend_from_slice(&rest[..at]);
        let is_unit = |bytes: &[u8]| bytes.starts_with(b"\\u");
        let mut len = if is_unit(&rest[at..]) { 6 } else { 2 };
        if len == 6 && rest.get(at + 6..).is_some_and(is_unit) {
            let value = |at: usize| u16::from_str_radix(std::str::from_utf8(&rest[at + 2..at + 6]).unwrap(), 16).unwrap();
            if (0xd800..=0xdbff).contains(&value(at)) && (0xdc00..=0xdfff).contains(&value(at + 6)) {
                len = 12;
            }
        }
        let literal = format!("\"{}\"", std::str::from_utf8(&rest[at..at + len]).unwrap());
        out.extend_from_slice(json::unescape_literal(&literal).unwrap().as_bytes());
        rest = &rest[at + len..];
    }
    out.extend_from_slice(rest);
    out
}

/// A masked text frame; a key of zeros leaves the text as it is.
fn frame(text: &[u8]) -> Option<Vec<u8>> {
    let mut frame = vec![0x81];
    match text.len() {
        len @ 0..=125 => frame.push(0x80 | len as u8),
        len => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&u16::try_from(len).ok()?.to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(text);
    Some(frame)
}

fn read(limits: &Limits, stream: &[u8], chunk: usize) -> Result<Option<Vec<u8>>, &'static str> {
    let form = Form::sockjs_websocket();
    let mut decoder = Decoder::new(form.framing());
    let mut scratch = stream.to_vec();
    let mut seen = None;
    for part in scratch.chunks_mut(chunk.max(1)) {
        let mut rest = part;
        while !rest.is_empty() {
            let len = rest.len();
            let (used, found) = decoder.read(form, limits, rest);
            assert!(used > 0 && used <= len);
            match found {
                Ok(None) => {}
                Ok(Some(Input::Message(message))) => {
                    assert!(seen.is_none() && message.len() <= limits.message as usize);
                    seen = Some(message.to_vec());
                }
                Ok(Some(other)) => panic!("{other:?}"),
                Err(fault) => {
                    assert!(!fault.goodbye.is_empty());
                    return Err(fault.cause);
                }
            }
            rest = &mut rest[used..];
        }
    }
    Ok(seen)
}

/// With the planted fault, a newline that an escape stands for is lost.
fn damaged(message: Vec<u8>) -> Vec<u8> {
    #[cfg(planted_fault)]
    if message.len() > 4 && message[1..message.len() - 1].contains(&b'\n') {
        return message.into_iter().filter(|byte| *byte != b'\n').collect();
    }
    message
}
