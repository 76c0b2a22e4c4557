//! Frames that were right until something broke them, and payloads that are not JSON.

#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

use bytes::Bytes;
use proptest::prelude::*;
use spinward_wire::message::*;
use spinward_wire::*;

/// JSON and Protobuf frames with every request in them.
fn frames() -> Vec<(Protocol, Vec<u8>)> {
    let (mut json, mut protobuf) = (Vec::new(), Vec::new());
    for case in include_str!("golden/commands.txt").split("\n# ").skip(1) {
        let line = case.lines().nth(1).unwrap();
        if !json.is_empty() {
            json.push(b'\n');
        }
        json.extend_from_slice(line.as_bytes());
        let hex = case.lines().nth(2).unwrap_or_default();
        prost::encode_length_delimiter(hex.len() / 2, &mut protobuf).unwrap();
        protobuf
            .extend((0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()));
    }
    vec![(Protocol::Json, json), (Protocol::Protobuf, protobuf)]
}

#[test]
fn a_frame_cut_anywhere_is_read_up_to_the_cut() {
    for (protocol, frame) in frames() {
        let whole = Commands::new(protocol, &frame).count();
        assert!(Commands::new(protocol, &frame).all(|command| command.is_ok()));
        for end in 0..frame.len() {
            let items: Vec<_> = Commands::new(protocol, &frame[..end]).collect();
            assert!(items.len() <= whole);
            assert!(items.iter().rev().skip(1).all(Result::is_ok), "only the last item may be an error");
        }
    }
}

#[test]
fn a_session_may_stop_after_any_command() {
    for (protocol, frame) in frames() {
        let at_once: Vec<_> = Commands::new(protocol, &frame).map(Result::unwrap).collect();
        let mut one_by_one = Vec::new();
        let mut rest = frame.as_slice();
        while !rest.is_empty() {
            let mut commands = Commands::new(protocol, rest);
            one_by_one.push(commands.next().unwrap().unwrap());
            rest = commands.rest();
        }
        assert!(at_once == one_by_one);
        assert_eq!(at_once.len(), 25);
    }
}

#[test]
fn an_error_ends_the_message() {
    for (protocol, message) in
        [(Protocol::Json, b"x\n{\"id\":1}".as_slice()), (Protocol::Protobuf, &[1, 7, 0])]
    {
        let mut commands = Commands::new(protocol, message);
        assert!(commands.next().unwrap().is_err());
        assert!(commands.rest().is_empty());
        assert!(commands.next().is_none());
    }
}

/// Every string of every request, with two bytes that are not UTF-8: taken in both encodings, alike.
#[test]
fn strings_that_are_no_utf8_are_taken_in_both_encodings() {
    for (good, wanted) in every_string("a\u{ff}b").into_iter().zip(every_string("a\u{fffd}\u{fffd}b")) {
        let wanted = Incoming::from(wanted);
        for protocol in [Protocol::Json, Protocol::Protobuf] {
            let mut frame = Vec::new();
            append_command(protocol, &good, &mut frame, true);
            // U+00FF is two bytes, so that the lengths stay right when they are spoilt.
            while let Some(at) = frame.windows(2).position(|pair| pair == [0xc3, 0xbf]) {
                frame[at..at + 2].copy_from_slice(&[0xff, 0xfe]);
            }
            let got = Commands::new(protocol, &frame).next().unwrap().unwrap();
            assert!(got == wanted, "{wanted:?} in {protocol:?}");
        }
    }
}

/// Payloads in JSON are mended as well, for they go to others; in Protobuf they are bytes.
#[test]
fn payloads_that_are_no_utf8() {
    let frame = b"{\"id\":1,\"publish\":{\"channel\":\"a\",\"data\":\"\xff\"}}";
    let Some(Ok(Incoming { request: Some(Request::Publish(request)), .. })) =
        Commands::new(Protocol::Json, frame).next()
    else {
        panic!("not taken")
    };
    assert_eq!(request.data, "\"\u{fffd}\"");
    let frame = [8, 0x08, 0x05, 0x3a, 0x04, 0x12, 0x02, 0xff, 0xfe];
    let mut commands = Commands::new(Protocol::Protobuf, &frame);
    let Some(Ok(Incoming { id: 5, request: Some(Request::Publish(request)), .. })) = commands.next() else {
        panic!("not taken")
    };
    assert_eq!(request.data, &[0xff, 0xfe][..]);
}

fn every_string(text: &str) -> Vec<Command> {
    let s = || text.to_owned();
    let node = FilterNode { op: s(), key: s(), cmp: s(), val: s(), vals: vec![s(), s()], nodes: vec![] };
    let subscribe = SubscribeRequest {
        channel: s(),
        token: s(),
        epoch: s(),
        delta: s(),
        cursor: s(),
        tf: Some(FilterNode { nodes: vec![node.clone()], ..node }),
        offset: 7,
        ..SubscribeRequest::default()
    };
    let connect = ConnectRequest {
        token: s(),
        name: s(),
        version: s(),
        dict: s(),
        profile: s(),
        subs: [(s(), subscribe.clone())].into(),
        headers: [(s(), s())].into(),
        ..ConnectRequest::default()
    };
    let track = TrackBatch { signature: s(), items: vec![KeyedItem { key: s(), version: 3 }] };
    let sub_refresh =
        SubRefreshRequest { channel: s(), token: s(), untrack: vec![s()], track: vec![track], r#type: 1 };
    let publish = PublishRequest { channel: s(), key: s(), ..PublishRequest::default() };
    let since = Some(StreamPosition { offset: 1, epoch: s() });
    let history = HistoryRequest { channel: s(), since, ..HistoryRequest::default() };
    let id = Command { id: 5, ..Command::default() };
    vec![
        Command { connect: Some(connect), ..id.clone() },
        Command { subscribe: Some(subscribe), ..id.clone() },
        Command { unsubscribe: Some(UnsubscribeRequest { channel: s() }), ..id.clone() },
        Command { publish: Some(publish), ..id.clone() },
        Command { presence: Some(PresenceRequest { channel: s() }), ..id.clone() },
        Command { presence_stats: Some(PresenceStatsRequest { channel: s() }), ..id.clone() },
        Command { history: Some(history), ..id.clone() },
        Command { rpc: Some(RPCRequest { method: s(), ..RPCRequest::default() }), ..id.clone() },
        Command { refresh: Some(RefreshRequest { token: s() }), ..id.clone() },
        Command { sub_refresh: Some(sub_refresh), ..id },
    ]
}

#[test]
fn a_filter_may_be_a_hundred_deep_and_no_deeper() {
    let filter = |depth: usize| {
        (1..depth)
            .fold(FilterNode::default(), |node, _| FilterNode { nodes: vec![node], ..FilterNode::default() })
    };
    for protocol in [Protocol::Json, Protocol::Protobuf] {
        for (depth, fits) in [(40, true), (200, false), (700, false)] {
            let subscribe = SubscribeRequest { tf: Some(filter(depth)), ..SubscribeRequest::default() };
            let command = Command { id: 1, subscribe: Some(subscribe), ..Command::default() };
            let mut out = Vec::new();
            append_command(protocol, &command, &mut out, true);
            assert_eq!(Commands::new(protocol, &out).next().unwrap().is_ok(), fits, "{protocol:?} {depth}");
        }
    }
}

#[test]
fn what_is_no_json_never_breaks_a_json_message() {
    for data in [
        &b"\x00\x01hi"[..],
        b"}",
        b"{",
        b"\"",
        b"\n",
        b"1\n2",
        b"{}\n{\"id\":1}",
        b"",
        b" ",
        b"nul",
        b"\xff\xfe",
        b"\"\xff\"",
        b"{\"a\":\n\n1}\n",
    ] {
        let publication =
            Publication { data: Bytes::copy_from_slice(data), offset: 3, ..Publication::default() };
        let mut out = Vec::new();
        append_publication_push(Protocol::Json, "a", &publication, &mut out, true);
        append_publication_push(Protocol::Json, "b", &publication, &mut out, false);
        let replies: Vec<_> = Replies::new(Protocol::Json, &out).map(Result::unwrap).collect();
        assert_eq!(replies.len(), 2, "{data:?}");
        assert!(std::str::from_utf8(&out).is_ok());
        for (reply, channel) in replies.iter().zip(["a", "b"]) {
            let push = reply.push.as_ref().unwrap();
            assert_eq!((push.channel.as_str(), push.publication.as_ref().unwrap().offset), (channel, 3));
        }
    }
}

#[test]
fn payload_text_survives_byte_for_byte() {
    for text in [
        "{\"a\": 1,  \"b\" : [ 1 , 2 ]}",
        "{\"a\":\r1}",
        "12345678901234567890123",
        "1.0",
        "1E+2",
        "\"<a&b>\"",
        "\"\\u00e9\\u2028\\/\\ud83d\\ude00\"",
        "\"é✓😀\"",
        "\"\\ud800\"",
        "{\"a\":1,\"a\":2}",
        "{\"b\":1,\"a\":2}",
        "null",
        "\"\"",
        "false",
        "0",
        "-0",
    ] {
        let frame = format!("{{\"id\":9,\"publish\":{{\"channel\":\"c\",\"data\":{text}}}}}");
        let command = Commands::new(Protocol::Json, frame.as_bytes()).next().unwrap().unwrap();
        let Some(Request::Publish(request)) = command.request else { panic!("{text}") };
        assert_eq!(request.data, text.as_bytes());
        let mut out = Vec::new();
        let publication = Publication { data: request.data, ..Publication::default() };
        append_publication_push(Protocol::Json, "c", &publication, &mut out, true);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            format!("{{\"push\":{{\"channel\":\"c\",\"pub\":{{\"data\":{text}}}}}}}")
        );
    }
}

#[test]
fn clean_payloads_are_not_copied() {
    let bytes = Bytes::from_static(b"{\"a\":[1,2]}\r");
    assert_eq!(json::line_safe(bytes.clone()).as_ptr(), bytes.as_ptr());
    assert_eq!(json::payload(bytes.clone()).as_ptr(), bytes.as_ptr());
    let mut event = bytes.to_vec();
    json::event_safe(&mut event);
    assert_eq!(event, b"{\"a\":[1,2]} ");
}

#[test]
fn delta_channels_carry_strings() {
    let literal = |bytes: &[u8]| String::from_utf8(json::escape_string(bytes).to_vec()).unwrap();
    assert_eq!(literal(b"{\"t\": \"x\"}"), r#""{\"t\": \"x\"}""#);
    assert_eq!(literal(b"\x00\x1f\n\r\t\\/<&>"), r#""\u0000\u001f\n\r\t\\/<&>""#);
    // One replacement for each byte of a sequence that does not end, as in Centrifugo v6.9.
    assert_eq!(literal(b"a\xe2\x82b\xff"), "\"a\u{fffd}\u{fffd}b\u{fffd}\"");
    assert_eq!(literal(b""), "\"\"");
}

#[test]
fn requests_keep_their_tokens_to_themselves() {
    let frame = br#"{"id":1,"connect":{"token":"s3cret","data":"s3cret"}}"#;
    for frame in
        [&frame[..], br#"{"id":1,"publish":{"data":"s3cret"}}"#, br#"{"id":1,"refresh":{"token":"s3cret"}}"#]
    {
        let command = Commands::new(Protocol::Json, frame).next();
        assert!(!format!("{command:?}").contains("s3cret"));
    }
}

proptest! {
    #[test]
    fn a_few_wrong_bytes_never_panic(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        for (protocol, mut frame) in frames() {
            for (place, byte) in &changes {
                let place = place.index(frame.len());
                frame[place] = *byte;
            }
            let items: Vec<_> = Commands::new(protocol, &frame).collect();
            prop_assert!(items.len() <= frame.len());
            prop_assert!(items.iter().rev().skip(1).all(Result::is_ok));
            let _ = Replies::new(protocol, &frame).count();
            let _ = decode_reply(protocol, &frame);
        }
    }

    #[test]
    fn any_payload_makes_one_json_line(data: Vec<u8>, channel: String) {
        let publication = Publication { data: data.into(), ..Publication::default() };
        let mut out = Vec::new();
        append_publication_push(Protocol::Json, &channel, &publication, &mut out, true);
        prop_assert!(!out.contains(&b'\n'));
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        prop_assert_eq!(value["push"]["channel"].as_str().unwrap_or_default(), channel);
    }

    #[test]
    fn commands_agree_in_both_encodings(
        id: u32, channel: String, token: String, epoch: String, offset: u64, flag: i64, limit: i32, recover: bool,
        vals in proptest::collection::vec(any::<String>(), 0..3), headers in proptest::collection::btree_map(any::<String>(), any::<String>(), 0..3),
        kind in 0..5,
    ) {
        let mut command = Command { id, ..Command::default() };
        match kind {
            0 => command.connect = Some(ConnectRequest { token, headers, flag, name: epoch, ..ConnectRequest::default() }),
            1 => {
                let tf = Some(FilterNode { vals, op: token, ..FilterNode::default() });
                command.subscribe = Some(SubscribeRequest { channel, epoch, offset, flag, recover, limit, tf, ..SubscribeRequest::default() });
            }
            2 => {
                let since = recover.then_some(StreamPosition { offset, epoch });
                command.history = Some(HistoryRequest { channel, limit, since, reverse: recover });
            }
            3 => command.sub_refresh = Some(SubRefreshRequest { channel, token, untrack: vals, ..SubRefreshRequest::default() }),
            _ => command.publish = Some(PublishRequest { channel, key: epoch, removed: recover, r#type: limit, ..PublishRequest::default() }),
        }
        let wanted = Incoming::from(command.clone());
        for protocol in [Protocol::Json, Protocol::Protobuf] {
            let mut out = Vec::new();
            append_command(protocol, &command, &mut out, true);
            prop_assert!(Commands::new(protocol, &out).next().unwrap().unwrap() == wanted);
        }
    }

    #[test]
    fn validity_is_that_of_serde_json(text in r#"([\[\]{}",:0-9eE.+\- \n\t]|\\u00|\\[nx"]|true|null|"a":|é){0,14}"#) {
        let by_serde = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
        prop_assert_eq!(json::is_valid(text.as_bytes()), by_serde, "{}", text);
    }
}
