//! Framing: messages joined in a transport message come apart as they were, and reading can stop and go on
//! after each.
//!
//! Input: one byte of protocol, then commands, each with one byte of length before it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use prost::Message as _;
use spinward_wire::message::{Command, Publication, Push, Reply};
use spinward_wire::{
    Commands, DecodeError, Protocol, append_command, append_publication_push, append_push, append_reply,
};

fuzz_target!(|data: &[u8]| {
    let Some((protocol, mut rest)) = data.split_first() else {
        return;
    };
    let protocol = if protocol & 1 == 0 { Protocol::Json } else { Protocol::Protobuf };
    stop_and_go(protocol, rest);

    let (mut joined, mut commands) = (Vec::new(), Vec::new());
    while let Some((len, after)) = rest.split_first() {
        let (piece, after) = after.split_at(usize::from(*len).min(after.len()));
        rest = after;
        let command = Command::decode(piece)
            .unwrap_or_else(|_| Command { id: piece.len() as u32, ..Command::default() });
        append_command(protocol, &command, &mut joined, commands.is_empty());
        // The planted fault loses what separates messages, or a byte of them.
        #[cfg(planted_fault)]
        if commands.len() == 3 {
            joined.pop();
        }
        // As it reads when it is alone: JSON may change payloads.
        let mut alone = Vec::new();
        append_command(protocol, &command, &mut alone, true);
        commands.extend(read(protocol, &alone));
    }
    if !commands.is_empty() {
        assert_eq!(read(protocol, &joined), commands, "{protocol:?} {}", joined.escape_ascii());
        stop_and_go(protocol, &joined);
    }

    publications(protocol, data);
});

fn read(protocol: Protocol, bytes: &[u8]) -> Vec<Result<Command, DecodeError>> {
    Commands::new(protocol, bytes).map(|one| one.map(spinward_fuzz::command)).collect()
}

/// Going on from the rest gives what reading in one go gives.
fn stop_and_go(protocol: Protocol, bytes: &[u8]) {
    let all = read(protocol, bytes);
    assert!(!all.is_empty() && all.len() <= bytes.len() + 1);
    let mut messages = Commands::new(protocol, bytes);
    let mut left = bytes.len();
    for at in 0..all.len() {
        assert_eq!(messages.next().map(|one| one.map(spinward_fuzz::command)).as_ref(), Some(&all[at]));
        let rest = messages.rest();
        assert!(bytes.ends_with(rest) && (rest.len() < left || rest.is_empty()), "no progress");
        left = rest.len();
        if !rest.is_empty() {
            assert_eq!(read(protocol, rest), all[at + 1..], "from {left} bytes before the end");
        }
    }
    assert!(messages.next().is_none());
}

/// The direct way to a publication's push and the one by way of messages give the same bytes.
fn publications(protocol: Protocol, data: &[u8]) {
    let Ok(publication) = Publication::decode(&data[1..]) else {
        return;
    };
    let channel = &publication.key;
    let push = Push { channel: channel.clone(), publication: Some(publication.clone()), ..Push::default() };
    let (mut direct, mut by_push, mut by_reply) = (Vec::new(), Vec::new(), Vec::new());
    append_publication_push(protocol, channel, &publication, &mut direct, true);
    append_push(protocol, &push, &mut by_push, true);
    append_reply(protocol, &Reply { push: Some(push), ..Reply::default() }, &mut by_reply, true);
    assert_eq!(direct, by_push, "{publication:?}");
    assert_eq!(by_push, by_reply);
}
