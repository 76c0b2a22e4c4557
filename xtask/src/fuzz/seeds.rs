//! Seeds from the golden messages of `wire` and `spinward`.

use std::error::Error;
use std::fs;
use std::path::Path;

/// The crate whose golden messages a target starts from.
pub(super) fn owner(target: &str) -> &'static str {
    if target == "operation" { "spinward" } else { "wire" }
}

/// Writes the golden messages to `to`, one file each, in the form `target` reads.
///
/// The golden files hold cases of a name behind `#`, a line of JSON and a line of Protobuf in hexadecimal.
pub(super) fn write(golden: &Path, target: &str, to: &Path) -> Result<(), Box<dyn Error>> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(golden)? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        for (number, line) in fs::read_to_string(&path)?.lines().enumerate() {
            if let Some(seed) = seed(target, line) {
                fs::write(to.join(format!("{name}-{number}")), seed)?;
            }
        }
    }
    Ok(())
}

fn seed(target: &str, line: &str) -> Option<Vec<u8>> {
    let json = line.starts_with('{').then_some(line.as_bytes());
    match target {
        "json_command" => json.map(<[u8]>::to_vec),
        "protobuf_command" | "operation" => hex(line),
        // Both protocols, the message alone.
        "framing" => {
            let message = hex(line)?;
            let len = u8::try_from(message.len()).ok()?;
            Some([&[len & 1, len][..], &message].concat())
        }
        // Encoding, limit and chunk size, then the message twice.
        "delimited" => {
            let (encoding, message) = match json {
                Some(text) => (0, [text, b"\n"].concat()),
                None => {
                    let message = hex(line)?;
                    (
                        1,
                        [&[u8::try_from(message.len()).ok().filter(|len| *len < 128)?][..], &message]
                            .concat(),
                    )
                }
            };
            Some([&[encoding, 255, 20][..], &message, &message].concat())
        }
        // Limit and chunk size, then a masked text frame; a key of zeros leaves the text readable.
        "ws" => {
            let text = json?;
            let len = u16::try_from(text.len()).ok().filter(|len| *len > 125)?;
            let [high, low] = len.to_be_bytes();
            Some([&[0, 255, 20, 0x81, 0xFE, high, low, 0, 0, 0, 0][..], text].concat())
        }
        // Chunk size, then a handshake with the text in a header.
        "ws_request" => {
            Some([&b"\x0AGET /ws?a=b HTTP/1.1\r\nUpgrade: websocket\r\nX: "[..], json?, b"\r\n\r\n"].concat())
        }
        // The first half as source, the second as target.
        "delta" => {
            let text = json?;
            let half = u16::try_from(text.len() / 2).ok()?;
            Some([&half.to_le_bytes(), text].concat())
        }
        _ => None,
    }
}

fn hex(line: &str) -> Option<Vec<u8>> {
    if line.is_empty() || !line.len().is_multiple_of(2) {
        return None;
    }
    line.as_bytes().chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()).collect()
}
