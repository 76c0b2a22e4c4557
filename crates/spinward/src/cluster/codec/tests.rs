use super::*;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use spinward_wire::message::FilterNode;

fn text() -> impl Strategy<Value = String> {
    "[a-zé:#$]{0,12}"
}

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn id() -> impl Strategy<Value = NodeId> {
    any::<[u8; 16]>().prop_map(NodeId::from_bytes)
}

fn filter() -> impl Strategy<Value = ClientFilter> {
    (option::of(text()), vec(text(), 0..4), option::of("[a-z]{1,8}"), any::<bool>()).prop_map(
        |(client, except, plan, all_users)| {
            let labels = plan.map(|plan| eq("plan", &plan));
            ClientFilter { client, except, labels, all_users }
        },
    )
}

fn eq(key: &str, val: &str) -> LabelFilter {
    let node = FilterNode { key: key.into(), cmp: "eq".into(), val: val.into(), ..FilterNode::default() };
    LabelFilter::new(node).unwrap()
}

fn time() -> impl Strategy<Value = Duration> {
    any::<u64>().prop_map(Duration::from_nanos)
}

fn options() -> impl Strategy<Value = SubscribeOptions> {
    let flags = any::<[bool; 11]>();
    (any::<i64>(), bytes(), bytes(), flags, any::<usize>(), time(), time(), any::<u32>()).prop_map(
        |(expire_at, info, data, flags, size, ttl, meta_ttl, source)| SubscribeOptions {
            expire_at,
            info,
            data,
            presence: flags[0],
            join_leave: flags[1],
            push_join_leave: flags[2],
            positioning: flags[3],
            recovery: flags[4],
            cache: flags[5],
            auto_recover: flags[6],
            delta: flags[7],
            tags_filter: flags[8],
            history: HistoryOptions { size, ttl, meta_ttl },
            source,
            server_side_refresh: flags[9],
            by_login: flags[10],
        },
    )
}

fn operation() -> impl Strategy<Value = Operation> {
    let code = || prop_oneof![Just(3503), any::<u32>()];
    let reason = || prop_oneof![Just("force disconnect".to_owned()), text()].prop_map(Cow::Owned);
    let since = option::of((any::<u64>(), text()))
        .prop_map(|since| since.map(|(offset, epoch)| Position { offset, epoch: epoch.into() }));
    prop_oneof![
        (text(), filter(), code(), reason()).prop_map(|(user, filter, code, reason)| {
            Operation::Disconnect { user, filter, code: DisconnectCode { code, reason } }
        }),
        (text(), filter(), option::of(text()), code(), reason()).prop_map(
            |(user, filter, channel, code, reason)| {
                let code = UnsubscribeCode { code, reason };
                Operation::Unsubscribe { user, filter, channel, code }
            }
        ),
        (text(), filter(), text(), options(), since).prop_map(|(user, filter, channel, options, since)| {
            let subscribe = Box::new(ServerSubscribe { options, since });
            Operation::Subscribe { user, filter, channel, subscribe }
        }),
        (text(), filter(), any::<bool>(), any::<i64>(), option::of(bytes())).prop_map(
            |(user, filter, expired, expire_at, info)| Operation::Refresh {
                user,
                filter,
                expired,
                expire_at,
                info
            }
        ),
        (text(), bytes()).prop_map(|(session, message)| Operation::Input { session, message }),
        (text(), bytes()).prop_map(|(op, data)| Operation::Application { op, data }),
    ]
}

fn body() -> impl Strategy<Value = Body> {
    let heartbeat = (text(), text(), time(), any::<[u64; 4]>(), any::<bool>()).prop_map(
        |(name, version, uptime, [clients, users, channels, subscriptions], asks)| {
            Body::Heartbeat(Heartbeat {
                name,
                version,
                uptime,
                clients,
                users,
                channels,
                subscriptions,
                asks,
            })
        },
    );
    let request = prop_oneof![
        operation().prop_map(Request::Operation),
        (text(), bytes()).prop_map(|(op, data)| Request::Survey { op, data }),
        Just(Request::Unknown),
    ];
    let response = prop_oneof![
        Just(Response::Applied),
        Just(Response::Expired),
        bytes().prop_map(Response::Answer),
        prop_oneof![Just(Declined::Unsupported), Just(Declined::Failed), Just(Declined::TooLong)]
            .prop_map(Response::Declined),
    ];
    prop_oneof![
        heartbeat,
        Just(Body::Goodbye),
        (any::<u64>(), request).prop_map(|(id, request)| Body::Request { id, request }),
        (any::<u64>(), response).prop_map(|(id, response)| Body::Response { id, response }),
    ]
}

fn envelope() -> impl Strategy<Value = Envelope> {
    (id(), option::of(id()), 1_u64.., body()).prop_map(|(from, to, number, body)| Envelope {
        from,
        to,
        number,
        body,
    })
}

proptest! {
    #[test]
    fn a_message_reads_as_it_was_written(envelope in envelope()) {
        prop_assert_eq!(Envelope::decode(envelope.encode()), Ok(envelope));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in vec(any::<u8>(), 0..300)) {
        let _ = Envelope::decode(bytes.into());
    }

    /// Damaged messages are read without a panic, and what they are read as is written and read the same.
    #[test]
    fn a_damaged_message_is_refused_or_whole(
        envelope in envelope(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = envelope.encode().to_vec();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.index(bytes.len() + 1).max(bytes.len() / 2));
        if let Ok(read) = Envelope::decode(bytes.into()) {
            prop_assert_eq!(Envelope::decode(read.encode()), Ok(read));
        }
    }
}

fn encoded(change: impl FnOnce(&mut proto::Envelope)) -> Bytes {
    let envelope = Envelope {
        from: NodeId::from_bytes([1; 16]),
        to: None,
        number: 1,
        body: Body::Request {
            id: 7,
            request: Request::Operation(Operation::Disconnect {
                user: "u".into(),
                filter: ClientFilter::default(),
                code: DisconnectCode::FORCE_DISCONNECT,
            }),
        },
    };
    let mut proto = proto::Envelope::from(&envelope);
    change(&mut proto);
    proto.encode_to_vec().into()
}

#[test]
fn messages_of_other_versions_are_told_from_broken_ones() {
    let fails = |change: fn(&mut proto::Envelope)| Envelope::decode(encoded(change)).unwrap_err();
    assert_eq!(fails(|envelope| envelope.version = 2), DecodeError::Version(2));
    assert_eq!(fails(|envelope| envelope.body = None), DecodeError::Unknown);
    assert_eq!(fails(|envelope| envelope.from = Bytes::from_static(b"short")), DecodeError::Malformed);
    assert_eq!(fails(|envelope| envelope.to = Bytes::from_static(&[1; 17])), DecodeError::Malformed);
    assert_eq!(fails(|envelope| envelope.number = 0), DecodeError::Malformed);
    assert_eq!(Envelope::decode(Bytes::new()), Err(DecodeError::Version(0)));
    let long = MAX_MESSAGE + 1;
    assert_eq!(Envelope::decode(vec![0; long].into()), Err(DecodeError::TooLong(long)));
}

#[test]
fn an_unknown_request_can_be_declined() {
    let newer = encoded(|envelope| {
        let Some(proto::Body::Request(request)) = &mut envelope.body else { panic!("a request") };
        request.what = None;
    });
    let body = Envelope::decode(newer).map(|envelope| envelope.body);
    assert_eq!(body, Ok(Body::Request { id: 7, request: Request::Unknown }));
}

/// A field that narrows an operation and is not understood must not widen it.
#[test]
fn an_operation_without_its_filter_is_refused() {
    let newer = encoded(|envelope| {
        let Some(proto::Body::Request(request)) = &mut envelope.body else { panic!("a request") };
        let Some(proto::What::Disconnect(disconnect)) = &mut request.what else { panic!("a disconnect") };
        disconnect.filter = None;
    });
    assert_eq!(Envelope::decode(newer), Err(DecodeError::Malformed));
}

#[test]
fn the_texts_of_known_codes_take_no_memory() {
    let Body::Request { request: Request::Operation(Operation::Disconnect { code, .. }), .. } =
        Envelope::decode(encoded(|_| ())).unwrap().body
    else {
        panic!("a disconnect");
    };
    assert!(matches!(code.reason, Cow::Borrowed(_)));
}

#[test]
fn names_are_cut_off() {
    let heartbeat = Heartbeat { name: "é".repeat(300), ..Heartbeat::default() };
    let from = NodeId::from_bytes([1; 16]);
    let envelope = Envelope { from, to: None, number: 1, body: Body::Heartbeat(heartbeat) };
    let Body::Heartbeat(read) = Envelope::decode(envelope.encode()).unwrap().body else {
        panic!("a heartbeat");
    };
    assert_eq!(read.name, "é".repeat(128));
}

/// One message of each kind, by name.
fn samples() -> Vec<(&'static str, Envelope)> {
    let (from, to) = (NodeId::from_bytes([0xa1; 16]), NodeId::from_bytes([0xb2; 16]));
    let user = || "ann".to_owned();
    let all = ClientFilter::default;
    let operations = [
        (
            "disconnect",
            Operation::Disconnect {
                user: user(),
                filter: ClientFilter { except: vec!["c1".into(), "c2".into()], ..all() },
                code: DisconnectCode::FORCE_DISCONNECT,
            },
        ),
        (
            "unsubscribe",
            Operation::Unsubscribe {
                user: user(),
                filter: ClientFilter { client: Some("c1".into()), ..all() },
                channel: Some("news".into()),
                code: UnsubscribeCode::SERVER,
            },
        ),
        (
            "unsubscribe all",
            Operation::Unsubscribe {
                user: user(),
                filter: all(),
                channel: None,
                code: UnsubscribeCode { code: 2100, reason: "own".into() },
            },
        ),
        (
            "subscribe",
            Operation::Subscribe {
                user: user(),
                filter: all(),
                channel: "news".into(),
                subscribe: Box::new(ServerSubscribe {
                    options: SubscribeOptions {
                        expire_at: 1_700_000_000,
                        info: "{}".into(),
                        data: "[1]".into(),
                        presence: true,
                        recovery: true,
                        history: HistoryOptions {
                            size: 100,
                            ttl: Duration::from_secs(60),
                            meta_ttl: Duration::from_secs(3600),
                        },
                        source: 3,
                        ..SubscribeOptions::default()
                    },
                    since: Some(Position { offset: 41, epoch: "xyz".into() }),
                }),
            },
        ),
        (
            "refresh",
            Operation::Refresh {
                user: user(),
                filter: all(),
                expired: false,
                expire_at: 1_700_000_000,
                info: Some("{}".into()),
            },
        ),
        ("input", Operation::Input { session: "01ab".into(), message: "{}".into() }),
        ("application", Operation::Application { op: "revoke".into(), data: "{}".into() }),
    ];
    let heartbeat = Heartbeat {
        name: "host_8000".into(),
        version: "0.1.0".into(),
        uptime: Duration::from_millis(1_500),
        clients: 4,
        users: 3,
        channels: 2,
        subscriptions: 5,
        asks: true,
    };
    let survey = Request::Survey { op: "channels".into(), data: "chat:*".into() };
    let response = |response| Body::Response { id: 8, response };
    let others = [
        ("heartbeat", None, Body::Heartbeat(heartbeat)),
        ("goodbye", None, Body::Goodbye),
        ("survey", None, Body::Request { id: 9, request: survey }),
        ("applied", Some(to), response(Response::Applied)),
        ("expired", Some(to), response(Response::Expired)),
        ("answer", Some(to), response(Response::Answer("{}".into()))),
        ("declined", Some(to), response(Response::Declined(Declined::Unsupported))),
    ];
    let operations = operations.into_iter().map(|(name, operation)| {
        (name, None, Body::Request { id: 8, request: Request::Operation(operation) })
    });
    let bodies = others.into_iter().chain(operations);
    bodies.map(|(name, to, body)| (name, Envelope { from, to, number: 7, body })).collect()
}

/// The bytes of version 1, which later versions read and write the same.
#[test]
fn the_encoding_stays() {
    let mut text = String::new();
    for (name, envelope) in samples() {
        let hex: String = envelope.encode().iter().map(|byte| format!("{byte:02x}")).collect();
        text.push_str(&format!("# {name}\n{hex}\n"));
    }
    assert!(text == include_str!("../../../tests/golden/cluster.txt"), "{text}");
}

/// A node of an older version does not know of labels and all users, and must not take the rest of the filter for more.
#[test]
fn a_selection_that_an_older_node_does_not_know_is_no_filter_to_it() {
    for filter in [
        ClientFilter { labels: Some(eq("plan", "free")), ..ClientFilter::default() },
        ClientFilter { all_users: true, ..ClientFilter::default() },
    ] {
        let operation = Operation::Disconnect {
            user: "ann".into(),
            filter: filter.clone(),
            code: DisconnectCode::FORCE_DISCONNECT,
        };
        let proto::What::Disconnect(sent) = proto::What::from(&operation) else { panic!("a disconnect") };
        assert_eq!(sent.filter, None);
        let received = proto::What::Disconnect(sent.clone()).read();
        assert_eq!(received, Ok(Request::Operation(operation)));
        let older = proto::Disconnect { selection: None, ..sent };
        assert_eq!(proto::What::Disconnect(older).read(), Err(DecodeError::Malformed));
    }
}
