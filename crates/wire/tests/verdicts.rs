//! Answers of Centrifugo v6.9 to single frames; this decoder leads to the same answers.
//!
//! `frames/verdicts.jsonl` has a frame a line: `text` (or `hex`), whether the client is `connected` already,
//! the ids that were `replied` to, and the code the connection was `closed` with.

#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

use serde::Deserialize;
use spinward_wire::{Commands, Protocol, Request};

#[derive(Deserialize)]
struct Case {
    name: String,
    protocol: String,
    connected: bool,
    text: Option<String>,
    hex: Option<String>,
    replied: Vec<u32>,
    closed: Option<u16>,
}

#[test]
fn frames_lead_where_they_lead_in_centrifugo() {
    let mut seen = 0;
    for line in include_str!("frames/verdicts.jsonl").lines() {
        let case: Case = serde_json::from_str(line).unwrap();
        let bytes = match (&case.text, &case.hex) {
            (Some(text), None) => text.clone().into_bytes(),
            (None, Some(hex)) => unhex(hex),
            _ => panic!("{}: one of text and hex", case.name),
        };
        let protocol = if case.protocol == "json" { Protocol::Json } else { Protocol::Protobuf };
        let got = answer(protocol, &bytes, case.connected);
        assert_eq!(got, (case.replied, case.closed), "{}: {:?} {:?}", case.name, case.text, case.hex);
        seen += 1;
    }
    assert!(seen > 180, "only {seen} cases");
}

/// The least of a session that decides whether a command is answered: ids in order, then a code if it ends.
fn answer(protocol: Protocol, bytes: &[u8], mut connected: bool) -> (Vec<u32>, Option<u16>) {
    let mut replied = Vec::new();
    let already = connected;
    for command in Commands::new(protocol, bytes) {
        let Ok(command) = command else { return (replied, Some(3501)) };
        let Some(request) = command.request else { return (replied, Some(3501)) };
        let is_connect = matches!(request, Request::Connect(_));
        if is_connect == connected {
            return (replied, Some(3501));
        }
        match &request {
            Request::Send(_) => return (replied, Some(3508)),
            _ if command.id == 0 => return (replied, Some(3501)),
            Request::Ping => return (replied, Some(3501)),
            Request::Connect(request) if !request.token.is_empty() => return (replied, Some(3500)),
            Request::Subscribe(request) if request.channel.is_empty() => return (replied, Some(3501)),
            _ => {}
        }
        connected |= is_connect;
        replied.push(command.id);
    }
    assert!(already || connected, "a frame without an answer");
    (replied, None)
}

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}
