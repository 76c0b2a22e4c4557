//! Protocol version 1 in both encodings: recognition never takes a command of today, commands mean the same as today's,
//! and what goes to an old client is whole messages.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spinward_wire::code::DisconnectCode;
use spinward_wire::message::{ConnectRequest, PublishRequest, SubRefreshRequest, SubscribeRequest};
use spinward_wire::v1::{self, Positions};
use spinward_wire::{Commands, Dialect, Form, Incoming, Protocol, Replies, Request, append_command, json};

fuzz_target!(|data: &[u8]| {
    let Some((first, data)) = data.split_first() else { return };
    let protocol = if first & 1 == 0 { Protocol::Json } else { Protocol::Protobuf };

    // What is a request today is no login of version 1, nor is anything malformed.
    let today = Commands::new(protocol, data).next();
    let speaks = v1::speaks(protocol, data);
    match &today {
        Some(Ok(Incoming { request: Some(_), .. })) => assert!(!speaks, "a command of today"),
        Some(Err(_)) if protocol == Protocol::Protobuf => assert!(!speaks, "malformed"),
        _ => {}
    }

    let all: Vec<_> = Commands::new(Dialect::v1(protocol), data).collect();
    let error = all.iter().position(Result::is_err);
    assert!(error.is_none_or(|at| at + 1 == all.len()), "commands after an error");
    // One by one, going on with the rest, they are the same.
    let (mut rest, mut one_by_one) = (data, Vec::new());
    loop {
        let mut commands = Commands::new(Dialect::v1(protocol), rest);
        let Some(command) = commands.next() else { break };
        one_by_one.push(command);
        rest = commands.rest();
        if rest.is_empty() {
            break;
        }
    }
    assert_eq!(all, one_by_one);

    // A command of today in the envelope of version 1 is the same request, less what version 1 does not know.
    // A payload of Protobuf may be no JSON, which would change it.
    let json_commands = (protocol == Protocol::Json).then(|| Commands::new(protocol, data).flatten());
    for incoming in json_commands.into_iter().flatten() {
        let Some(text) = old_envelope(&incoming) else { continue };
        let expected = incoming.request.clone().and_then(known);
        let again: Vec<_> = Commands::new(Dialect::v1(Protocol::Json), &text).collect();
        match again.as_slice() {
            [Ok(again)] => {
                assert_eq!((again.id, &again.request), (incoming.id, &expected), "{}", text.escape_ascii());
            }
            other => panic!("{other:?} in {}", text.escape_ascii()),
        }
    }

    for reply in Replies::new(protocol, data).flatten() {
        for positions in [Positions::Both, Positions::Seq, Positions::Offset] {
            let mut text = Vec::new();
            v1::append_reply(Protocol::Json, &reply, positions, &mut text);
            damage(&mut text);
            assert!(text.is_empty() || text.ends_with(b"\n"), "{}", text.escape_ascii());
            let lines: Vec<_> = text.split_inclusive(|byte| *byte == b'\n').collect();
            assert!(lines.len() <= 1, "{}", text.escape_ascii());
            assert!(lines.iter().all(|line| json::is_valid(line) && *line != b"{}\n"));
            let mut binary = Vec::new();
            v1::append_reply(Protocol::Protobuf, &reply, positions, &mut binary);
            assert_eq!(binary.is_empty(), text.is_empty(), "{reply:?}");
        }
    }

    let reason = String::from_utf8_lossy(data).into_owned();
    let goodbye = Form::websocket(Dialect::v1(protocol))
        .goodbye(&DisconnectCode { code: 3000 + u32::from(*first), reason: reason.into() });
    assert!(goodbye.len() <= 127 && json::is_valid(&goodbye[4..]), "{}", goodbye.escape_ascii());
});

/// A command of today in the envelope of version 1, in JSON.
fn old_envelope(incoming: &Incoming) -> Option<Vec<u8>> {
    let request = incoming.request.clone().and_then(known)?;
    let name = request.name();
    let number = METHODS.iter().position(|method| *method == name)?;
    let bare = Incoming { request: Some(request), ..Incoming::default() };
    let mut text = Vec::new();
    append_command(Protocol::Json, &spinward_fuzz::command(bare), &mut text, true);
    let params = text.strip_prefix(format!("{{\"{name}\":").as_bytes())?.strip_suffix(b"}")?;
    let head = format!("{{\"id\":{},\"method\":{number},\"params\":", incoming.id);
    Some([head.as_bytes(), params, b"}"].concat())
}

const METHODS: [&str; 12] = [
    "connect",
    "subscribe",
    "unsubscribe",
    "publish",
    "presence",
    "presence_stats",
    "history",
    "ping",
    "send",
    "rpc",
    "refresh",
    "sub_refresh",
];

/// A request with what version 1 knows of it.
fn known(request: Request) -> Option<Request> {
    Some(match request {
        Request::Connect(connect) => {
            let ConnectRequest { token, data, subs, name, version, .. } = *connect;
            let subs = subs.into_iter().map(|(channel, sub)| (channel, known_subscribe(sub))).collect();
            let known = ConnectRequest { token, data, subs, name, version, ..ConnectRequest::default() };
            Request::Connect(Box::new(known))
        }
        Request::Subscribe(subscribe) => Request::Subscribe(Box::new(known_subscribe(*subscribe))),
        Request::Publish(publish) => {
            let PublishRequest { channel, data, .. } = publish;
            Request::Publish(PublishRequest { channel, data, ..PublishRequest::default() })
        }
        Request::History(mut history) => {
            // Without a limit, all that is kept.
            history.limit = if history.limit == 0 { -1 } else { history.limit };
            Request::History(history)
        }
        Request::SubRefresh(refresh) => {
            let SubRefreshRequest { channel, token, .. } = *refresh;
            let known = SubRefreshRequest { channel, token, ..SubRefreshRequest::default() };
            Request::SubRefresh(Box::new(known))
        }
        other => other,
    })
}

fn known_subscribe(request: SubscribeRequest) -> SubscribeRequest {
    let SubscribeRequest { channel, token, recover, epoch, offset, .. } = request;
    SubscribeRequest {
        channel,
        token,
        recover,
        epoch,
        offset,
        join_leave: true,
        ..SubscribeRequest::default()
    }
}

/// With the planted fault, a message loses its newline where its length is of a certain kind.
fn damage(_text: &mut Vec<u8>) {
    #[cfg(planted_fault)]
    if _text.len() % 16 == 15 {
        _text.pop();
    }
}
