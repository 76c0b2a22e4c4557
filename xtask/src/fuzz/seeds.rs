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
        // Method, channels, version and delta, then the message as parameters.
        "consumer" => json.map(|text| [b"publish\na, b,c\n7\ntrue\n", text].concat()),
        "protobuf_command" | "operation" => hex(line),
        // Encoding, then the message.
        "v1" => match json {
            Some(text) => Some([b"\0", text].concat()),
            None => {
                let message = hex(line)?;
                let len = u8::try_from(message.len()).ok().filter(|len| *len < 128)?;
                Some([&[1, len][..], &message].concat())
            }
        },
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
        // Limit and chunk size, then the message packed twice.
        "sockjs" => {
            let text = std::str::from_utf8(json?).ok()?.replace('\\', "\\\\").replace('"', "\\\"");
            Some([&[255, 20][..], format!("[\"{text}\",\"{text}\"]").as_bytes()].concat())
        }
        // Limit and chunk size, then a masked text frame; a key of zeros leaves the text readable.
        "ws" => {
            let text = json?;
            let len = u16::try_from(text.len()).ok().filter(|len| *len > 125)?;
            let [high, low] = len.to_be_bytes();
            Some([&[0, 255, 20, 0x81, 0xFE, high, low, 0, 0, 0, 0][..], text].concat())
        }
        // Level and window, limit, then the text as a block that is not compressed.
        "inflate" => {
            let text = json?;
            let len = u16::try_from(text.len()).ok()?;
            Some([&[3, 255, 0][..], &len.to_le_bytes(), &(!len).to_le_bytes(), text, b"\0"].concat())
        }
        // Chunk size, then a handshake with the text in a header.
        "ws_request" => {
            Some([&b"\x0AGET /ws?a=b HTTP/1.1\r\nUpgrade: websocket\r\nX: "[..], json?, b"\r\n\r\n"].concat())
        }
        // A header, and what a client sends behind it.
        "proxy_protocol" => Some([&b"PROXY TCP4 192.0.2.1 198.51.100.1 443 443\r\n"[..], json?].concat()),
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
