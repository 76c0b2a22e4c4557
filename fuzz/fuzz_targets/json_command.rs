//! JSON messages: what is read can be written and read again, in either encoding, and means the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spinward_wire::{Commands, Protocol, Replies, append_command, append_reply, json};

fuzz_target!(|data: &[u8]| {
    let all: Vec<_> = Commands::new(Protocol::Json, data).collect();
    let error = all.iter().position(Result::is_err);
    assert!(error.is_none_or(|at| at + 1 == all.len()), "commands after an error");
    for incoming in all.into_iter().flatten() {
        let command = spinward_fuzz::command(incoming);
        for protocol in [Protocol::Json, Protocol::Protobuf] {
            let mut bytes = Vec::new();
            append_command(protocol, &command, &mut bytes, true);
            damage(&mut bytes);
            let again: Vec<_> =
                Commands::new(protocol, &bytes).map(|one| one.map(spinward_fuzz::command)).collect();
            assert_eq!(again, [Ok(command.clone())], "{protocol:?} {}", bytes.escape_ascii());
        }
    }
    for reply in Replies::new(Protocol::Json, data).flatten() {
        for protocol in [Protocol::Json, Protocol::Protobuf] {
            let mut bytes = Vec::new();
            append_reply(protocol, &reply, &mut bytes, true);
            damage(&mut bytes);
            let again: Vec<_> = Replies::new(protocol, &bytes).collect();
            assert_eq!(again, [Ok(reply.clone())], "{protocol:?} {}", bytes.escape_ascii());
        }
    }

    let payload = json::payload(data.to_vec().into());
    assert!(json::is_valid(&payload) && !payload.contains(&b'\n'), "{}", payload.escape_ascii());
    assert_eq!(json::payload(payload.clone()), payload);
    let text = json::escape_string(data);
    assert!(json::is_valid(&text) && text.starts_with(b"\""), "{}", text.escape_ascii());
});

/// With the planted fault, an escape loses its backslash.
fn damage(_bytes: &mut Vec<u8>) {
    #[cfg(planted_fault)]
    if let Some(at) = _bytes.iter().position(|byte| *byte == b'\\') {
        _bytes.remove(at);
    }
}
