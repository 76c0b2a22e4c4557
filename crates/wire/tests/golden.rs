//! Every message in both encodings, byte for byte and both ways. The Protobuf bytes were made by an encoder
//! that shares nothing with this crate.

#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

use prost::Message;
use spinward_wire::message::{Command, Push, Reply};
use spinward_wire::*;

struct Case<'a> {
    name: &'a str,
    json: &'a str,
    protobuf: Vec<u8>,
}

fn cases(text: &str) -> Vec<Case<'_>> {
    text.split("\n# ")
        .skip(1)
        .map(|case| {
            let mut lines = case.lines();
            let (name, json) = (lines.next().unwrap(), lines.next().unwrap());
            Case { name, json, protobuf: unhex(lines.next().unwrap_or_default()) }
        })
        .collect()
}

#[test]
fn replies() {
    let cases = cases(include_str!("golden/replies.txt"));
    assert_eq!(cases.len(), 36);
    for case in &cases {
        let reply = decode_reply(Protocol::Json, case.json.as_bytes()).unwrap();
        assert_eq!(decode_reply(Protocol::Protobuf, &case.protobuf), Ok(reply.clone()), "{}", case.name);
        assert_written(case, |protocol, out, first| append_reply(protocol, &reply, out, first));
        if let Reply { id: 0, push: Some(push), .. } = &reply {
            assert_written(case, |protocol, out, first| append_push(protocol, push, out, first));
            assert_bare(case, push);
            if let (0, Some(publication)) = (push.id, &push.publication) {
                assert_written(case, |protocol, out, first| {
                    append_publication_push(protocol, &push.channel, publication, out, first);
                });
            }
        }
    }
}

#[test]
fn commands() {
    let cases = cases(include_str!("golden/commands.txt"));
    assert_eq!(cases.len(), 25);
    for case in &cases {
        let command = Command::decode(case.protobuf.as_slice()).unwrap();
        assert_written(case, |protocol, out, first| append_command(protocol, &command, out, first));
        let wanted = Incoming::from(command);
        let mut framed = Vec::new();
        prost::encode_length_delimiter(case.protobuf.len(), &mut framed).unwrap();
        framed.extend_from_slice(&case.protobuf);
        for (protocol, bytes) in [(Protocol::Json, case.json.as_bytes()), (Protocol::Protobuf, &framed)] {
            let mut commands = Commands::new(protocol, bytes);
            let got = commands.next().unwrap().unwrap();
            // Debug shows only the name: say which case it was, then compare whole values.
            assert!(got == wanted, "{} in {protocol:?}", case.name);
            assert!(commands.next().is_none(), "{}", case.name);
            let name = got.request.as_ref().map(Request::name);
            assert_eq!(name, case.name.split(',').next().filter(|name| *name != "pong"), "{}", case.name);
        }
    }
}

#[test]
fn pings_are_empty_messages() {
    for protocol in [Protocol::Json, Protocol::Protobuf] {
        let mut out = Vec::new();
        append_reply(protocol, &Reply::default(), &mut out, true);
        assert_eq!(out, ping(protocol));
    }
}

/// `write` gives the golden bytes, alone and behind another message.
fn assert_written(case: &Case<'_>, write: impl Fn(Protocol, &mut Vec<u8>, bool)) {
    let mut json = Vec::new();
    write(Protocol::Json, &mut json, true);
    assert_eq!(String::from_utf8_lossy(&json), case.json, "{}", case.name);
    write(Protocol::Json, &mut json, false);
    assert_eq!(String::from_utf8_lossy(&json), format!("{0}\n{0}", case.json), "{}", case.name);

    let mut protobuf = Vec::new();
    write(Protocol::Protobuf, &mut protobuf, true);
    let mut wanted = Vec::new();
    prost::encode_length_delimiter(case.protobuf.len(), &mut wanted).unwrap();
    wanted.extend_from_slice(&case.protobuf);
    assert_eq!(hex(&protobuf), hex(&wanted), "{}", case.name);
    write(Protocol::Protobuf, &mut protobuf, false);
    assert_eq!(hex(&protobuf), hex(&wanted).repeat(2), "{}", case.name);
}

/// The unidirectional form is the same push without the envelope.
fn assert_bare(case: &Case<'_>, push: &Push) {
    let mut out = Vec::new();
    append_push(Dialect::new(Protocol::Json, Direction::Unidirectional), push, &mut out, true);
    assert_eq!(format!("{{\"push\":{}}}", String::from_utf8_lossy(&out)), case.json, "{}", case.name);
    out.clear();
    append_push(Dialect::new(Protocol::Protobuf, Direction::Unidirectional), push, &mut out, true);
    // The reply holds nothing but the push, so that its first key is followed by length and push.
    assert_eq!(hex(&out), hex(&case.protobuf[1..]), "{}", case.name);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn a_subscription_with_nothing_to_tell_is_written_with_its_value() {
    use spinward_wire::message::{Connect, ConnectResult, SubscribeResult};
    let told = SubscribeResult { offset: 3, ..SubscribeResult::default() };
    let subs: std::collections::BTreeMap<_, _> =
        [("a".to_owned(), SubscribeResult::default()), ("b".to_owned(), told)].into();
    let entry = |number: u8| [number << 3 | 2, 5, 0x0a, 1, b'a', 0x12, 0];

    let connect = ConnectResult { client: "c".to_owned(), subs: subs.clone(), ..ConnectResult::default() };
    let reply = Reply { id: 1, connect: Some(connect), ..Reply::default() };
    let mut out = Vec::new();
    append_reply(Protocol::Protobuf, &reply, &mut out, true);
    assert_eq!(usize::from(out[0]), out.len() - 1);
    assert_eq!(decode_reply(Protocol::Protobuf, &out[1..]), Ok(reply));
    assert!(out.windows(7).any(|bytes| bytes == entry(6)), "{out:02x?}");

    let push = Push { connect: Some(Connect { subs, ..Connect::default() }), ..Push::default() };
    let mut out = Vec::new();
    append_push(Dialect::new(Protocol::Protobuf, Direction::Unidirectional), &push, &mut out, true);
    assert_eq!(usize::from(out[0]), out.len() - 1);
    assert_eq!(Push::decode(&out[1..]), Ok(push));
    assert!(out.windows(7).any(|bytes| bytes == entry(4)), "{out:02x?}");
}
