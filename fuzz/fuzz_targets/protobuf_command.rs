//! Protobuf messages: what is read can be written and read again, and survives a journey through JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spinward_wire::message::{Command, Reply};
use spinward_wire::{Commands, DecodeError, Protocol, Replies, append_command, append_reply, json};

fuzz_target!(|data: &[u8]| {
    // With its length before it too, so that any message is one.
    let mut framed = Vec::new();
    prost::encoding::encode_varint(data.len() as u64, &mut framed);
    framed.extend_from_slice(data);
    for bytes in [data, &framed] {
        for command in read_commands(Protocol::Protobuf, bytes).into_iter().flatten() {
            journey(&command, read_commands, |protocol, command, out| {
                append_command(protocol, command, out, true)
            });
        }
        for reply in read_replies(Protocol::Protobuf, bytes).into_iter().flatten() {
            journey(&reply, read_replies, |protocol, reply, out| append_reply(protocol, reply, out, true));
        }
    }
});

fn read_commands(protocol: Protocol, bytes: &[u8]) -> Vec<Result<Command, DecodeError>> {
    Commands::new(protocol, bytes).map(|one| one.map(spinward_fuzz::command)).collect()
}

fn read_replies(protocol: Protocol, bytes: &[u8]) -> Vec<Result<Reply, DecodeError>> {
    Replies::new(protocol, bytes).collect()
}

fn journey<M: prost::Message + Clone + PartialEq + Default + std::fmt::Debug>(
    message: &M,
    read: impl Fn(Protocol, &[u8]) -> Vec<Result<M, DecodeError>>,
    append: impl Fn(Protocol, &M, &mut Vec<u8>),
) {
    let write = |protocol, message: &M| {
        let mut out = Vec::new();
        append(protocol, message, &mut out);
        out
    };
    let binary = write(Protocol::Protobuf, message);
    assert_eq!(read(Protocol::Protobuf, &binary), [Ok(message.clone())]);

    // JSON may change payloads that are not JSON, once.
    let text = write(Protocol::Json, message);
    assert!(json::is_valid(&text) && !text.contains(&b'\n'), "{}", text.escape_ascii());
    match &read(Protocol::Json, &text)[..] {
        [Ok(once)] => {
            let again = write(Protocol::Json, &damage(once));
            // Not the same text: blanks around a payload, which stay when it is written, are not read.
            assert_eq!(
                read(Protocol::Json, &again),
                [Ok(once.clone())],
                "{} was {}",
                again.escape_ascii(),
                text.escape_ascii()
            );
        }
        other => panic!("{other:?} in {}", text.escape_ascii()),
    }
}

/// With the planted fault, a message is lost on the way where its length is of a certain kind.
fn damage<M: prost::Message + Clone + Default>(message: &M) -> M {
    #[cfg(planted_fault)]
    if message.encoded_len() % 16 == 15 {
        return M::default();
    }
    message.clone()
}
