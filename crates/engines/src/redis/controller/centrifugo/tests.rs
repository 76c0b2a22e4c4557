//! Bytes that Centrifugo v6.9.1 published, recorded with `MONITOR`.

use super::*;

const UID: &str = "895f35ac-3e6c-42bb-91f1-210c145d05f1";

fn own() -> NodeId {
    "11111111-2222-4333-8444-555555555555".parse().unwrap()
}

fn neighbours() -> Neighbours {
    Neighbours::new(&"p".into(), own())
}

/// A recorded message: that of the node above, with these bytes after its id.
fn recorded(rest: &[u8]) -> Bytes {
    [b"\n$", UID.as_bytes(), rest].concat().into()
}

fn body(message: Bytes) -> Option<Body> {
    let taken = neighbours().take(message)?;
    assert_eq!(taken.answer, None);
    let envelope = Envelope::decode(taken.message?).unwrap();
    assert_eq!((envelope.from, envelope.to, envelope.number), (UID.parse().unwrap(), None, 1));
    Some(envelope.body)
}

fn operation(rest: &[u8]) -> Operation {
    match body(recorded(rest)) {
        Some(Body::Request { id: 0, request: Request::Operation(operation) }) => operation,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_node_announces_itself_and_takes_leave() {
    let node = [b"\"=\n$", UID.as_bytes(), b"\x12\x08vm_18100\x1a\t0.0.0 OSS8\x06"].concat();
    let expected = Heartbeat {
        name: "vm_18100".into(),
        version: "0.0.0 OSS".into(),
        uptime: Duration::from_secs(6),
        ..Heartbeat::default()
    };
    assert_eq!(body(recorded(&node)), Some(Body::Heartbeat(expected)));
    assert_eq!(body(recorded(b":\x00")), Some(Body::Goodbye));
}

#[test]
fn operations_are_understood() {
    let (user, nobody) = ("ann".to_owned(), ClientFilter::default());
    let disconnect = operation(b"2\x1a\n\x03ann\x18\xaf\x1b\"\x10force disconnect");
    let code = DisconnectCode { code: 3503, reason: "force disconnect".into() };
    assert_eq!(disconnect, Operation::Disconnect { user: user.clone(), filter: nobody.clone(), code });

    let disconnect = operation(b"2\x13\n\x03ann\x12\x01y\x18\xa5\x1f\"\x03bye2\x01x");
    let code = DisconnectCode { code: 4005, reason: "bye".into() };
    let filter =
        ClientFilter { client: Some("x".into()), except: vec!["y".into()], ..ClientFilter::default() };
    assert_eq!(disconnect, Operation::Disconnect { user: user.clone(), filter, code });

    let unsubscribe = operation(b"*\x1f\n\x01a\x12\x03ann(\xd0\x0f2\x12server unsubscribe");
    let code = UnsubscribeCode { code: 2000, reason: "server unsubscribe".into() };
    let channel = Some("a".to_owned());
    assert_eq!(unsubscribe, Operation::Unsubscribe { user: user.clone(), filter: nobody, channel, code });

    let subscribe =
        b"R-\n\x03ann\x12\x01a\x18\x01 \x018\x01B\x08{\"a\": 1}R\x08{\"d\": 1}Z\x05\x08\x01\x12\x01eh\x01p\n";
    let Operation::Subscribe { user: of, channel, subscribe, .. } = operation(subscribe) else {
        panic!("no subscribe");
    };
    assert_eq!((of, channel), (user.clone(), "a".to_owned()));
    assert_eq!(subscribe.since, Some(Position { offset: 1, epoch: "e".into() }));
    let options = subscribe.options;
    assert_eq!((&options.info[..], &options.data[..]), (&b"{\"a\": 1}"[..], &b"{\"d\": 1}"[..]));
    assert!(options.presence && options.join_leave && options.push_join_leave && options.recovery);
    assert_eq!((options.source, options.expire_at), (10, 0));

    let refresh = operation(b"b\x0c\n\x03ann\x12\x01c\x18\x01 \x05");
    let filter = ClientFilter { client: Some("c".into()), ..ClientFilter::default() };
    assert_eq!(refresh, Operation::Refresh { user, filter, expired: true, expire_at: 5, info: None });
}

#[test]
fn a_survey_is_declined_at_once() {
    let taken = neighbours().take(recorded(b"B\x0c\x08\x01\x12\x08channels")).unwrap();
    assert_eq!(taken.message, None);
    let (channel, answer) = taken.answer.unwrap();
    assert_eq!(channel, format!("p.node.{UID}"));
    // The recorded answer of a node that has one is the same without a code.
    let start = [b"\n$", own().to_string().as_bytes(), b"J\x04\x08\x01\x10d"].concat();
    assert!(answer.starts_with(&start), "{answer:?}");
}

#[test]
fn what_is_selected_by_other_means_is_not_taken_for_more() {
    let all_users = b"2\x06\x18\xaf\x1b\x48\x01";
    let session = b"2\x08\n\x03ann:\x01s";
    let labels = b"2\x07\n\x03annB\x00";
    for rest in [&all_users[..], session, labels] {
        assert_eq!(neighbours().take(recorded(rest)), None, "{rest:?}");
    }
}

#[test]
fn what_own_nodes_publish_is_skipped_by_them_and_understood_by_others() {
    let (one, other) = (neighbours(), Neighbours::new(&"p".into(), UID.parse().unwrap()));
    let operation = Operation::Disconnect {
        user: "ann".into(),
        filter: ClientFilter { except: vec!["y".into()], ..ClientFilter::default() },
        code: DisconnectCode { code: 3503, reason: "force disconnect".into() },
    };
    let body = Body::Request { id: 7, request: Request::Operation(operation) };
    let message = Envelope { from: own(), to: None, number: 1, body }.encode();
    let (channel, bytes) = one.translate(To::All, &message).unwrap();
    assert_eq!(channel, "p.control");
    let start =
        [b"\n$", own().to_string().as_bytes(), b"2\x1d\n\x03ann\x12\x01y\x18\xaf\x1b\"\x10force disconnect"]
            .concat();
    assert!(bytes.starts_with(&start), "{bytes:?}");
    assert_eq!(other.take(bytes), Some(Taken::default()));
}

#[test]
fn operations_on_all_users_are_not_published_for_centrifugo() {
    let filter = ClientFilter { all_users: true, ..ClientFilter::default() };
    let code = DisconnectCode { code: 3503, reason: "force disconnect".into() };
    let operation = Operation::Disconnect { user: String::new(), filter, code };
    let body = Body::Request { id: 7, request: Request::Operation(operation) };
    let message = Envelope { from: own(), to: None, number: 1, body }.encode();
    assert_eq!(neighbours().translate(To::All, &message), None);
}

#[test]
fn nodes_that_confirm_nothing_are_confirmed_for() {
    let one = neighbours();
    let request = |request| {
        Envelope { from: own(), to: None, number: 1, body: Body::Request { id: 7, request } }.encode()
    };
    let notice = request(Request::Operation(Operation::Application { op: "op".into(), data: Bytes::new() }));
    assert!(one.answers(To::All, &notice, false).is_empty(), "nobody is there");
    one.take(recorded(b"\"\x00")).unwrap();
    let answered = |message, translated| {
        let answers = one.answers(To::All, message, translated);
        assert_eq!(answers.len(), 1);
        let envelope = Envelope::decode(answers[0].clone()).unwrap();
        assert_eq!(envelope.from.to_string(), UID);
        let Body::Response { id: 7, response } = envelope.body else { panic!("no response") };
        (envelope.number, response)
    };
    assert_eq!(answered(&notice, true), (2, Response::Applied));
    let survey = request(Request::Survey { op: "channels".into(), data: Bytes::new() });
    assert_eq!(answered(&survey, false), (3, Response::Declined(Declined::Unsupported)));
    assert_eq!(one.translate(To::All, &survey), None);
    assert_eq!(one.translate(To::All, &notice), None);
    one.take(recorded(b":\x00")).unwrap();
    assert!(one.answers(To::All, &notice, false).is_empty(), "it has taken leave");
}

#[test]
fn other_bytes_are_nothing() {
    for bytes in [&b"x"[..], b"", b"\n$", b"\n\x01u:\x00", b"\xff\xff\xff"] {
        assert_eq!(neighbours().take(Bytes::copy_from_slice(bytes)), None, "{bytes:?}");
    }
}
