//! Both codecs over the same messages: round trips, agreement, leniency, and bytes from anywhere.

use bytes::Bytes;
use proptest::prelude::*;
use spinward_wire::message::*;
use spinward_wire::*;
use std::collections::BTreeMap;

fn commands(protocol: Protocol, bytes: &[u8]) -> Vec<Result<(u32, Option<&'static str>), ()>> {
    Commands::new(protocol, bytes)
        .map(|command| command.map(|command| (command.id, command.request.as_ref().map(Request::name))).map_err(|_| ()))
        .collect()
}

/// What Centrifugo v6.9 takes and what it refuses, by the cases of `compat/cases/b_frames.py`.
#[test]
fn json_commands_are_taken_as_leniently_as_by_centrifugo() {
    let connect = Ok((1, Some("connect")));
    let taken: &[(&str, &[Result<(u32, Option<&str>), ()>])] = &[
        (r#"{"id":1,"connect":{}}"#, &[connect]),
        ("{\"id\":1,\"connect\":{}}\r\n", &[connect]),
        ("{\"id\":1,\"connect\":{}}\n", &[connect]),
        (r#" { "id" : 1 , "connect" : { } } "#, &[connect]),
        (r#"{"id":1,"connect":{}} x"#, &[connect]),
        (r#"{"id":1,"connect":{}}{"id":2,"presence":{"channel":"open:a"}}"#, &[connect]),
        (r#"{"id":1,"connect":{"token":null}}"#, &[connect]),
        (r#"{"id":1,"connect":{"foo":[1,{"a":null}]},"foo":{}}"#, &[connect]),
        (r#"{"ID":1,"Connect":{}}"#, &[connect]),
        (r#"{"id":1,"connect":{"data":5}}"#, &[connect]),
        (r#"{"id":1,"id":7,"connect":{}}"#, &[Ok((7, Some("connect")))]),
        (r#"{"id":1,"\u0063onnect":{}}"#, &[connect]),
        (r#"{"id":4294967295,"connect":{}}"#, &[Ok((u32::MAX, Some("connect")))]),
        (r#"{"id":1,"connect":{},"subscribe":{"channel":"a"}}"#, &[connect]),
        (r#"{"id":5,"presence":{},"history":{}}"#, &[Ok((5, Some("presence")))]),
        (r#"{}"#, &[Ok((0, None))]),
        (r#"{"id":5}"#, &[Ok((5, None))]),
        (r#"{"id":1,"connect":null}"#, &[Ok((1, None))]),
        ("{\"id\":1,\"connect\":{}}\n{\"id\":2,\"subscribe\":{}}", &[connect, Ok((2, Some("subscribe")))]),
        ("{\"id\":1,\"connect\":{}}\n\n{}", &[connect, Err(())]),
        ("\n{\"id\":1,\"connect\":{}}", &[Err(())]),
        ("", &[Err(())]),
        (" ", &[Err(())]),
        ("null", &[Ok((0, None))]),
        ("[]", &[Err(())]),
        ("\u{feff}{}", &[Err(())]),
        (r#"{"id":1,"connect":[]}"#, &[Err(())]),
        (r#"{"id":1,"connect":true}"#, &[Err(())]),
        (r#"{"id":"1","connect":{}}"#, &[Err(())]),
        (r#"{"id":1.0,"connect":{}}"#, &[Err(())]),
        (r#"{"id":-1,"connect":{}}"#, &[Err(())]),
        (r#"{"id":4294967296,"connect":{}}"#, &[Err(())]),
        (r#"{"id":1,"connect":{},}"#, &[Err(())]),
        (r#"{'id':1}"#, &[Err(())]),
        (r#"{"id":1,"connect":{"token":5}}"#, &[Err(())]),
        (r#"{"id":1,"connect":{"headers":{"a":1}}}"#, &[Err(())]),
        (r#"{"id":1,"connect":{"subs":[]}}"#, &[Err(())]),
        (r#"{"id":5,"subscribe":{"recover":1}}"#, &[Err(())]),
        ("{", &[Err(())]),
    ];
    for (text, wanted) in taken {
        assert_eq!(commands(Protocol::Json, text.as_bytes()), *wanted, "{text}");
    }
}

#[test]
fn protobuf_commands() {
    let mut bytes = Vec::new();
    let command = Command { id: 1, connect: Some(ConnectRequest::default()), ..Command::default() };
    append_command(Protocol::Protobuf, &command, &mut bytes, true);
    assert_eq!(commands(Protocol::Protobuf, &bytes), [Ok((1, Some("connect")))]);
    assert_eq!(commands(Protocol::Protobuf, &[0]), [Ok((0, None))]);
    assert_eq!(commands(Protocol::Protobuf, &[]), [Err(())]);
    assert_eq!(commands(Protocol::Protobuf, &[0x20, 8, 1]), [Err(())]);
    assert_eq!(commands(Protocol::Protobuf, &[0xff; 12]), [Err(())]);
    assert_eq!(commands(Protocol::Protobuf, b"\x05hello"), [Err(())]);
}

#[test]
fn the_rest_of_a_message_is_where_it_was_left() {
    let text = b"{\"id\":1,\"connect\":{}}\n{\"id\":2,\"subscribe\":{\"channel\":\"a\"}}\n{\"id\":3,\"send\":{}}";
    let mut commands = Commands::new(Protocol::Json, text);
    assert!(commands.next().is_some());
    let ids: Vec<u32> = Commands::new(Protocol::Json, commands.rest()).map(|command| command.unwrap().id).collect();
    assert_eq!(ids, [2, 3]);
}

#[test]
fn brackets_without_end_cost_no_stack() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let depth = 200_000;
        let text = open.repeat(depth) + "1" + &close.repeat(depth);
        assert!(json::is_valid(text.as_bytes()));
        let command = format!("{{\"id\":1,\"publish\":{{\"channel\":\"a\",\"data\":{text}}}}}");
        assert_eq!(commands(Protocol::Json, command.as_bytes()), [Ok((1, Some("publish")))]);
        assert!(!json::is_valid(text[..text.len() - 1].as_bytes()));
    }
    let nodes = "{\"nodes\":[".repeat(10_000);
    let command = format!("{{\"id\":1,\"subscribe\":{{\"tf\":{nodes}");
    assert_eq!(commands(Protocol::Json, command.as_bytes()), [Err(())]);
}

#[test]
fn fields_that_clients_count_on_are_always_there() {
    let reply = |reply: Reply| {
        let mut out = Vec::new();
        append_reply(Protocol::Json, &reply, &mut out, true);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(
        reply(Reply { id: 1, history: Some(HistoryResult::default()), ..Reply::default() }),
        r#"{"id":1,"history":{"publications":[],"epoch":"","offset":0}}"#
    );
    assert_eq!(
        reply(Reply { id: 1, presence: Some(PresenceResult::default()), ..Reply::default() }),
        r#"{"id":1,"presence":{"presence":{}}}"#
    );
    assert_eq!(
        reply(Reply { id: 1, presence_stats: Some(PresenceStatsResult::default()), ..Reply::default() }),
        r#"{"id":1,"presence_stats":{"num_clients":0,"num_users":0}}"#
    );
    let info = ClientInfo::default();
    let push = Push { channel: "a".into(), join: Some(Join { info: Some(info) }), ..Push::default() };
    assert_eq!(
        reply(Reply { push: Some(push), ..Reply::default() }),
        r#"{"push":{"channel":"a","join":{"info":{"user":"","client":""}}}}"#
    );
}

#[test]
fn payloads_reach_json_clients_as_json() {
    let as_text = |bytes: &'static [u8]| String::from_utf8(json::payload(Bytes::from_static(bytes)).to_vec()).unwrap();
    assert_eq!(as_text(b"{\"a\": 1}"), "{\"a\": 1}");
    assert_eq!(as_text(b"{\"a\":\n1}"), "{\"a\":1}");
    assert_eq!(as_text(b"\x00\x01\xff"), "\"AAH/\"");
    assert_eq!(as_text(b"not json"), "\"bm90IGpzb24=\"");
}

#[test]
fn strings_are_escaped() {
    let mut out = Vec::new();
    json::append_string("a\"b\\c\n\u{1}é\u{1f600}", &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), "\"a\\\"b\\\\c\\n\\u0001é\u{1f600}\"");
}

fn json_value() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        Just(Bytes::new()),
        "[a-z ]{0,12}".prop_map(|text| Bytes::from(format!("{{\"a\":\"{text}\",\"b\":[1,2.5,null]}}"))),
        any::<i64>().prop_map(|number| Bytes::from(number.to_string())),
    ]
}

prop_compose! {
    fn info()(user in ".{0,9}", client in "[a-f0-9-]{0,36}", conn_info in json_value(), chan_info in json_value()) -> ClientInfo {
        ClientInfo { user, client, conn_info, chan_info }
    }
}

prop_compose! {
    fn publication()(
        data in json_value(), info in proptest::option::of(info()), offset: u64, delta: bool, time: i64, epoch in ".{0,5}",
        tags in proptest::collection::btree_map(".{0,5}", ".{0,5}", 0..3), version: u64, score: i64, removed: bool,
    ) -> Publication {
        Publication { data, info, offset, delta, time, epoch, tags, version, score, removed, ..Publication::default() }
    }
}

prop_compose! {
    fn result()(
        ttl: u32, recoverable: bool, epoch in ".{0,8}", offset: u64, publications in proptest::collection::vec(publication(), 0..4),
        data in json_value(), delta: bool, phase: i32, id: i64,
    ) -> SubscribeResult {
        SubscribeResult { expires: ttl > 0, ttl, recoverable, epoch, offset, publications, data, delta, phase, id, ..SubscribeResult::default() }
    }
}

fn reply() -> impl Strategy<Value = Reply> {
    let connect = (proptest::collection::btree_map(".{0,5}", result(), 0..3), any::<u32>(), json_value()).prop_map(|(subs, ttl, data)| {
        Reply { connect: Some(ConnectResult { subs, ttl, data, ..ConnectResult::default() }), ..Reply::default() }
    });
    let history = (proptest::collection::vec(publication(), 0..4), any::<u64>()).prop_map(|(publications, offset)| {
        Reply { history: Some(HistoryResult { publications, offset, epoch: "e".into() }), ..Reply::default() }
    });
    let presence = proptest::collection::btree_map(".{0,5}", info(), 0..3)
        .prop_map(|presence| Reply { presence: Some(PresenceResult { presence }), ..Reply::default() });
    let push = (".{0,9}", publication()).prop_map(|(channel, publication)| {
        Reply { push: Some(Push { channel, publication: Some(publication), ..Push::default() }), ..Reply::default() }
    });
    let body = prop_oneof![
        connect,
        result().prop_map(|result| Reply { subscribe: Some(result), ..Reply::default() }),
        history,
        presence,
        push,
    ];
    (any::<u32>(), body).prop_map(|(id, reply)| Reply { id, ..reply })
}

proptest! {
    #[test]
    fn replies_survive_both_encodings(replies in proptest::collection::vec(reply(), 1..4)) {
        for protocol in [Protocol::Json, Protocol::Protobuf] {
            let mut bytes = Vec::new();
            for (at, reply) in replies.iter().enumerate() {
                append_reply(protocol, reply, &mut bytes, at == 0);
            }
            let back: Result<Vec<Reply>, _> = Replies::new(protocol, &bytes).collect();
            prop_assert_eq!(back.as_ref(), Ok(&replies));
        }
    }

    #[test]
    fn the_direct_encoder_gives_the_same_bytes(channel in ".{0,40}", publication in publication(), first: bool) {
        for protocol in [Protocol::Json, Protocol::Protobuf] {
            let (mut direct, mut whole) = (Vec::new(), Vec::new());
            append_publication_push(protocol, &channel, &publication, &mut direct, first);
            let push = Push { channel: channel.clone(), publication: Some(publication.clone()), ..Push::default() };
            append_push(protocol, &push, &mut whole, first);
            prop_assert_eq!(&direct, &whole);
        }
    }

    #[test]
    fn strings_survive(text: String) {
        let mut bytes = b"{\"id\":1,\"rpc\":{\"method\":".to_vec();
        json::append_string(&text, &mut bytes);
        bytes.extend_from_slice(b"}}");
        let command = Commands::new(Protocol::Json, &bytes).next().unwrap().unwrap();
        let Some(Request::Rpc(request)) = command.request else { panic!("not an rpc") };
        prop_assert_eq!(request.method, text);
    }

    #[test]
    fn nothing_panics_and_nothing_runs_on(bytes: Vec<u8>) {
        for protocol in [Protocol::Json, Protocol::Protobuf] {
            prop_assert!(Commands::new(protocol, &bytes).count() <= bytes.len() + 1);
            prop_assert!(Replies::new(protocol, &bytes).count() <= bytes.len() + 1);
        }
    }

    #[test]
    fn almost_json_never_panics(text in r#"[\[\]{}",:\\utrfalsn0-9eE.\- \n]{0,60}"#) {
        let valid = serde_json::from_str::<serde_json::Value>(&text).is_ok();
        // serde_json also refuses what this reader leaves alone: lone surrogates, depth, numbers beyond a double.
        if valid {
            prop_assert!(json::is_valid(text.as_bytes()), "{}", text);
        }
        let _ = Commands::new(Protocol::Json, text.as_bytes()).count();
    }
}

#[test]
fn tags_are_in_order() {
    let tags = BTreeMap::from([("b".to_owned(), "2".to_owned()), ("a".to_owned(), "1".to_owned())]);
    let mut out = Vec::new();
    append_publication_push(Protocol::Json, "c", &Publication { tags, ..Publication::default() }, &mut out, true);
    assert_eq!(String::from_utf8(out).unwrap(), r#"{"push":{"channel":"c","pub":{"tags":{"a":"1","b":"2"}}}}"#);
}
