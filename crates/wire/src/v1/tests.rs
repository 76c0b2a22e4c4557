use super::message::{Command, Push, Reply as RawReply};
use super::*;
use crate::code::DisconnectCode;
use crate::message::{
    ClientInfo, ConnectResult, Error, HistoryResult, Join, Publication, Reply, StreamPosition,
    SubscribeResult, Unsubscribe,
};
use crate::{
    Commands, DecodeError, Dialect, Form, Incoming, Protocol, Request, append_publication_push, append_reply,
};
use prost::Message;
use std::collections::BTreeMap;

const JSON: Dialect = Dialect::v1(Protocol::Json);
const PROTOBUF: Dialect = Dialect::v1(Protocol::Protobuf);

fn json(text: &str) -> Vec<Result<Incoming, DecodeError>> {
    Commands::new(JSON, text.as_bytes()).collect()
}

fn one(text: &str) -> Result<Incoming, DecodeError> {
    let [command] = json(text).try_into().unwrap();
    command
}

fn framed(command: &Command) -> Vec<u8> {
    command.encode_length_delimited_to_vec()
}

#[test]
fn the_first_message_tells_the_version() {
    for old in [
        "{\"id\":1}",
        " {\"id\": 1} ",
        "{\"id\":1,\"params\":{}}",
        "{\"id\":1,\"method\":0,\"params\":{\"token\":\"t\"}}",
        "{\"id\":1,\"method\":\"connect\"}",
        "{\"ID\":1,\"Params\":{}}",
        "{\"id\":1,\"m\\u0065thod\":0}",
        "{\"params\":{},\"foo\":1}",
        "\n{\n\"id\":1,\n\"method\":7\n}\n{",
        "{\"id\":0,\"params\":{}}",
        "{\"id\":\"1\",\"params\":[]}",
    ] {
        assert!(speaks(Protocol::Json, old.as_bytes()), "{old}");
    }
    for other in [
        "",
        " ",
        "{}",
        "null",
        "[]",
        "5",
        "{",
        "hello",
        "{\"id\":0}",
        "{\"id\":null}",
        "{\"id\":1,\"foo\":{}}",
        "{\"id\":1,\"connect\":null}",
        "{\"id\":1,\"connect\":{}}",
        "{\"connect\":{},\"id\":1,\"method\":0}",
        "{\"id\":1,\"method\":0,\"connect\":{}}",
        "{\"id\":1,\"params\":{}",
        "{\"id\":1,\"params\":{},}",
        "\u{feff}{\"id\":1,\"params\":{}}",
        "{\"id\":1 \"params\":{}}",
    ] {
        assert!(!speaks(Protocol::Json, other.as_bytes()), "{other}");
    }
    assert!(speaks(Protocol::Json, b"{\"id\":1,\"params\":{\"name\":\"\xff\"}}"));
    for json in [
        "{}",
        "{\"id\":1,\"connect\":{}}",
        " {\"connect\":{}}",
        "\n{\"connect\":{},\"id\":1}",
        "[1]",
        "5",
        "hello",
    ] {
        assert!(!speaks(Protocol::Protobuf, json.as_bytes()), "JSON is not taken for Protobuf: {json}");
    }

    for old in
        [&b"\x02\x08\x01"[..], b"\x06\x08\x01\x1a\x02\x0a\x00", b"\x04\x08\x01\x10\x07", b"\x02\x1a\x00"]
    {
        assert!(speaks(Protocol::Protobuf, old), "{old:?}");
    }
    for other in [
        &b""[..],
        b"\x00",
        b"\x02\x08\x00",
        b"\x04\x08\x01\x22\x00",
        b"\x06\x08\x01\x22\x02\x0a\x00",
        b"\x06\x08\x01\x1a\x00\x22\x00",
        b"\x06\x08\x01\x1a\x02\x0a",
        b"\x09\x08\x01\x1a\x02\x0a\x00",
        b"\x05\x08\x01\x9a\x06\x00",
        b"\x03\x08\x01\xff",
    ] {
        assert!(!speaks(Protocol::Protobuf, other), "{other:?}");
    }
}

#[test]
fn a_method_is_a_number_or_a_name() {
    let method = |method: &str| {
        let params = "{\"channel\":\"c\",\"token\":\"t\",\"data\":1}";
        one(&format!("{{\"params\":{params},\"id\":5,\"method\":{method}}}"))
            .map(|command| command.request.map(|request| request.name()))
    };
    for (number, name) in METHODS.iter().enumerate() {
        let camel = format!("\"{}{}\"", name[..1].to_uppercase(), &name[1..]);
        for form in [number.to_string(), format!("\"{name}\""), format!("\"{}\"", name.to_uppercase()), camel]
        {
            assert_eq!(method(&form), Ok(Some(*name)), "{form}");
        }
        assert!(method(&format!("\"{number}\"")).is_err());
    }
    for unknown in ["12", "99", "-1"] {
        assert_eq!(method(unknown), Ok(None));
    }
    for wrong in ["\"login\"", "\"\"", "null", "true", "{}", "0.0", "0.5", "4294967296", "\"presenceStats\""]
    {
        assert!(method(wrong).is_err(), "{wrong}");
    }
    assert_eq!(one("{\"id\":1}").map(|command| command.request.map(|r| r.name())), Ok(Some("connect")));
    assert!(one("{\"id\":1,\"params\":[]}").is_err());
    assert!(one("{\"id\":1,\"method\":1,\"params\":\"c\"}").is_err());
    assert!(one("{\"id\":1,\"method\":1,\"params\":{\"channel\":7}}").is_err());
    assert!(one("{\"id\":1,\"method\":1,\"params\":{\"seq\":-1}}").is_err());
}

#[test]
fn a_message_is_a_stream_of_values() {
    let ids = |text: &str| {
        json(text).into_iter().map(|command| command.map(|command| command.id)).collect::<Vec<_>>()
    };
    let (five, six) = ("{\"id\":5,\"method\":7}", "{\n \"id\": 6,\n \"method\": 7\n}");
    for between in ["", " ", "\n", "\r\n", "\n\n", "\t\n "] {
        assert_eq!(ids(&format!("{between}{five}{between}{six}{between}")), [Ok(5), Ok(6)], "{between:?}");
    }
    assert_eq!(ids(&format!("{five},{six}")), [Ok(5), Err(DecodeError::Syntax)]);
    assert_eq!(ids(&format!("{five}\nxx")), [Ok(5), Err(DecodeError::Syntax)]);
    assert_eq!(ids(&format!("5{five}")), [Err(DecodeError::Type)], "nothing follows an error");
    assert_eq!(ids(" \n"), []);
    assert_eq!(ids(""), [Err(DecodeError::Empty)]);
    assert_eq!(ids("[]"), [Err(DecodeError::Type)]);
    assert_eq!(ids("{"), [Err(DecodeError::Syntax)]);
    let mut commands = Commands::new(JSON, b"{\"id\":5}\n{\"id\":6}");
    commands.next();
    assert_eq!(commands.rest(), b"{\"id\":6}");
}

#[test]
fn requests_are_those_of_today() {
    let subscribe = |params: &str| match one(&format!("{{\"id\":2,\"method\":1,\"params\":{params}}}")) {
        Ok(Incoming { id: 2, request: Some(Request::Subscribe(request)), positions }) => {
            (*request, positions)
        }
        other => panic!("{other:?}"),
    };
    let (request, positions) =
        subscribe("{\"channel\":\"c\",\"recover\":true,\"seq\":7,\"gen\":1,\"epoch\":\"e\"}");
    assert_eq!((request.offset, request.recover, &*request.epoch), ((1 << 32) | 7, true, "e"));
    assert_eq!((positions, request.join_leave), (Positions::Seq, true));
    let (request, positions) = subscribe("{\"channel\":\"c\",\"recover\":true,\"offset\":7}");
    assert_eq!((request.offset, positions), (7, Positions::Offset));
    assert_eq!(subscribe("{\"channel\":\"c\",\"recover\":true,\"seq\":0}").1, Positions::Both);

    let connect = one(
        "{\"id\":1,\"params\":{\"token\":\"t\",\"name\":\"js\",\"subs\":{\"a\":{\"recover\":true},\"b\":{\"seq\":3}}}}",
    );
    let Ok(Incoming { request: Some(Request::Connect(request)), positions, .. }) = connect else { panic!() };
    assert_eq!((&*request.token, &*request.name, request.subs["b"].offset), ("t", "js", 3));
    assert_eq!(positions, Positions::Seq);

    let history = |params: &str| match one(&format!("{{\"id\":2,\"method\":6,\"params\":{params}}}")) {
        Ok(Incoming { request: Some(Request::History(request)), .. }) => (request.limit, request.since),
        other => panic!("{other:?}"),
    };
    let since = Some(StreamPosition { offset: 3, epoch: "e".to_owned() });
    assert_eq!(history("{\"channel\":\"c\"}"), (-1, None));
    assert_eq!(history("{\"channel\":\"c\",\"limit\":0}"), (0, None));
    assert_eq!(
        history("{\"channel\":\"c\",\"limit\":5,\"since\":{\"offset\":3,\"epoch\":\"e\"}}"),
        (5, since.clone())
    );
    assert_eq!(
        history(
            "{\"channel\":\"c\",\"use_limit\":true,\"limit\":5,\"use_since\":true,\"offset\":3,\"epoch\":\"e\"}"
        ),
        (5, since)
    );
}

#[test]
fn both_encodings_of_a_command_are_the_same_request() {
    let params = b"\x0a\x01c\x18\x01\x20\x07\x32\x01e";
    let command = Command { id: 2, method: 1, params: bytes::Bytes::from_static(params) };
    let protobuf: Vec<_> = Commands::new(PROTOBUF, &framed(&command)).collect();
    assert_eq!(
        protobuf,
        [one(
            "{\"id\":2,\"method\":1,\"params\":{\"channel\":\"c\",\"recover\":true,\"seq\":7,\"epoch\":\"e\"}}"
        )]
    );
    let wrong = Command { id: 2, method: 4, params: bytes::Bytes::from_static(b"\x0a\x02c\xff") };
    let Some(Ok(Incoming { request: Some(Request::Presence(request)), .. })) =
        Commands::new(PROTOBUF, &framed(&wrong)).next()
    else {
        panic!("strings that are not UTF-8 are taken")
    };
    assert_eq!(request.channel, "c\u{FFFD}");
    let garbage = Command { id: 2, method: 1, params: bytes::Bytes::from_static(b"\xff\xff\xff") };
    assert!(matches!(Commands::new(PROTOBUF, &framed(&garbage)).next(), Some(Err(_))));
    assert_eq!(Commands::new(PROTOBUF, b"\x04\x08\x05\x10").next(), Some(Err(DecodeError::Length)));
    assert_eq!(Commands::new(PROTOBUF, b"").next(), Some(Err(DecodeError::Empty)));
}

fn written(reply: &Reply, positions: Positions) -> String {
    let mut out = Vec::new();
    super::append_reply(Protocol::Json, reply, positions, &mut out);
    String::from_utf8(out).unwrap()
}

fn publication(offset: u64) -> Publication {
    Publication { data: offset.to_string().into(), offset, ..Publication::default() }
}

#[test]
fn replies() {
    let of = |reply: Reply| written(&Reply { id: 5, ..reply }, Positions::Both);
    assert_eq!(of(Reply::default()), "{\"id\":5}\n");
    assert_eq!(
        of(Reply { publish: Some(Default::default()), ..Reply::default() }),
        "{\"id\":5,\"result\":{}}\n"
    );
    let error = Some(Error { code: 111, message: "later".to_owned(), temporary: true });
    assert_eq!(
        of(Reply { error, ..Reply::default() }),
        "{\"id\":5,\"error\":{\"code\":111,\"message\":\"later\"}}\n"
    );
    let connect = ConnectResult {
        client: "c".to_owned(),
        version: "v".to_owned(),
        ping: 25,
        pong: true,
        session: "secret".to_owned(),
        subs: BTreeMap::from([("a".to_owned(), SubscribeResult::default())]),
        ..ConnectResult::default()
    };
    let connect = Reply { id: 1, connect: Some(connect), ..Reply::default() };
    assert_eq!(
        written(&connect, Positions::Both),
        "{\"id\":1,\"result\":{\"client\":\"c\",\"version\":\"v\",\"subs\":{\"a\":{}}}}\n"
    );
    let mut out = Vec::new();
    append_reply(PROTOBUF, &connect, &mut out, true);
    assert_eq!(out, b"\x11\x08\x01\x1a\x0d\x0a\x01c\x12\x01v\x32\x05\x0a\x01a\x12\x00", "the value is there");
    let history = HistoryResult { publications: vec![publication(1)], offset: 1, epoch: "e".to_owned() };
    assert_eq!(
        of(Reply { history: Some(history), ..Reply::default() }),
        "{\"id\":5,\"result\":{\"publications\":[{\"seq\":1,\"offset\":1,\"data\":1}],\"epoch\":\"e\",\"offset\":1}}\n"
    );
    assert_eq!(written(&Reply::default(), Positions::Both), "", "no ping");
}

#[test]
fn recovered_publications_are_in_the_order_of_their_form() {
    let publications = vec![publication(2), publication((1 << 32) + 3)];
    let subscribe = SubscribeResult {
        recovered: true,
        offset: (1 << 32) + 3,
        publications,
        ..SubscribeResult::default()
    };
    let reply = Reply { id: 2, subscribe: Some(subscribe), ..Reply::default() };
    assert_eq!(
        written(&reply, Positions::Seq),
        "{\"id\":2,\"result\":{\"seq\":3,\"gen\":1,\"publications\":[{\"seq\":3,\"gen\":1,\"data\":4294967299},\
         {\"seq\":2,\"data\":2}],\"recovered\":true}}\n"
    );
    assert_eq!(
        written(&reply, Positions::Offset),
        "{\"id\":2,\"result\":{\"publications\":[{\"offset\":2,\"data\":2},{\"offset\":4294967299,\
         \"data\":4294967299}],\"recovered\":true,\"offset\":4294967299}}\n"
    );
}

#[test]
fn pushes() {
    let info = Some(ClientInfo { user: "u".to_owned(), client: "c".to_owned(), ..ClientInfo::default() });
    let push = |push: crate::message::Push| {
        let mut out = Vec::new();
        crate::append_push(JSON, &crate::message::Push { channel: "ch".to_owned(), ..push }, &mut out, false);
        String::from_utf8(out).unwrap()
    };
    let none = crate::message::Push::default;
    let join = Some(Join { info });
    assert_eq!(
        push(crate::message::Push { join, ..none() }),
        "{\"result\":{\"type\":1,\"channel\":\"ch\",\"data\":{\"info\":{\"user\":\"u\",\"client\":\"c\"}}}}\n"
    );
    let unsubscribe = |code| Some(Unsubscribe { code, reason: "r".to_owned() });
    assert_eq!(
        push(crate::message::Push { unsubscribe: unsubscribe(2000), ..none() }),
        "{\"result\":{\"type\":3,\"channel\":\"ch\",\"data\":{}}}\n"
    );
    assert_eq!(
        push(crate::message::Push { unsubscribe: unsubscribe(2600), ..none() }),
        "{\"result\":{\"type\":3,\"channel\":\"ch\",\"data\":{\"resubscribe\":true}}}\n"
    );
    assert_eq!(push(crate::message::Push { refresh: Some(Default::default()), ..none() }), "");

    // A generation goes with its seq, even if that is zero.
    let mut both = Vec::new();
    append_publication_push(JSON, "ch", &publication(1 << 32), &mut both, true);
    append_publication_push(JSON, "ch", &publication(0), &mut both, false);
    let expected = "{\"result\":{\"channel\":\"ch\",\"data\":{\"seq\":0,\"gen\":1,\"offset\":4294967296,\"data\":4294967296}}}\n\
                    {\"result\":{\"channel\":\"ch\",\"data\":{\"data\":0}}}\n";
    assert_eq!(String::from_utf8(both.clone()).unwrap(), expected);
    let frame = Form::websocket(Protocol::Json).in_v1(Protocol::Json).frame(&both);
    assert_eq!(frame[4..], both[..], "one frame, with a newline at its end");
    assert_eq!(Form::delimited(Protocol::Json).in_v1(Protocol::Json).frame(&both), both);

    let mut out = Vec::new();
    append_publication_push(PROTOBUF, "ch", &publication(3), &mut out, true);
    let reply = RawReply::decode_length_delimited(&*out).unwrap();
    let pushed = Push::decode(reply.result).unwrap();
    assert_eq!((reply.id, pushed.kind, &*pushed.channel), (0, 0, "ch"));
    let sent = message::Publication::decode(pushed.data).unwrap();
    assert_eq!((sent.seq, sent.offset, &sent.data[..]), (3, 3, &b"3"[..]));
}

#[test]
fn a_connection_ends_with_json_and_the_number_of_then() {
    let end = |code: &DisconnectCode| {
        let (number, text) = close(code);
        assert!(text.len() <= 123, "{text}");
        format!("{number} {text}")
    };
    assert_eq!(end(&DisconnectCode::BAD_REQUEST), "3003 {\"reason\":\"bad request\",\"reconnect\":false}");
    assert_eq!(end(&DisconnectCode::SHUTDOWN), "3001 {\"reason\":\"shutdown\",\"reconnect\":true}");
    let own = DisconnectCode { code: 4501, reason: "\"é\" ".repeat(40).into() };
    let (number, text) = close(&own);
    assert_eq!((number, text.ends_with("\",\"reconnect\":false}")), (4501, true));
    assert!(crate::json::is_valid(text.as_bytes()) && text.len() > 110, "{text}");
    let control = DisconnectCode { code: 4000, reason: "\u{1}".repeat(100).into() };
    assert!(crate::json::is_valid(close(&control).1.as_bytes()));
    for code in DisconnectCode::ALL {
        let (number, text) = close(code);
        assert!((3000..=3013).contains(&number), "{number}");
        assert_eq!(text.contains("true"), code.reconnects());
    }
    let goodbye =
        Form::websocket(Protocol::Protobuf).in_v1(Protocol::Protobuf).goodbye(&DisconnectCode::SLOW);
    assert_eq!(&goodbye[..], b"\x88\x24\x0B\xC0{\"reason\":\"slow\",\"reconnect\":true}");
    let line = Form::delimited(Protocol::Json).in_v1(Protocol::Json).goodbye(&DisconnectCode::SLOW);
    assert_eq!(
        line,
        "{\"result\":{\"type\":7,\"data\":{\"code\":3008,\"reason\":\"slow\",\"reconnect\":true}}}\n"
    );
}
