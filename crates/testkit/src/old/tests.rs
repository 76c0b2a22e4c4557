//! Both sides of the old protocol, written apart, agree.

use super::*;
use proptest::prelude::*;
use spinward_wire::message::{
    ConnectRequest, ConnectResult, Push, SubscribeRequest, SubscribeResult, UnsubscribeRequest,
};
use spinward_wire::v1::Positions;
use spinward_wire::{Commands, Dialect, Request, v1};
use std::collections::BTreeMap;

const PROTOCOLS: [Protocol; 2] = [Protocol::Json, Protocol::Protobuf];

fn sdk() -> impl Strategy<Value = Old> {
    let knows = prop_oneof![Just(Knows::Seq), Just(Knows::Both), Just(Knows::Offset)];
    (knows, any::<bool>()).prop_map(|(knows, named)| Old { knows, named })
}

fn offset() -> impl Strategy<Value = u64> {
    prop_oneof![
        1..50u64,
        (1u64 << 32) - 3..(1 << 32) + 3,
        Just(u64::from(u32::MAX)),
        any::<u64>().prop_map(|n| (n >> 1).max(1))
    ]
}

fn subscribe() -> impl Strategy<Value = SubscribeRequest> {
    ("[a-zé:$]{1,12}", any::<bool>(), "[a-z]{0,4}", prop_oneof![Just(0), offset()]).prop_map(
        |(channel, recover, epoch, offset)| SubscribeRequest {
            channel,
            recover,
            epoch: if recover { epoch } else { String::new() },
            offset: if recover { offset } else { 0 },
            ..SubscribeRequest::default()
        },
    )
}

fn read_one(protocol: Protocol, bytes: &[u8]) -> (u32, Request, Positions) {
    let mut commands = Commands::new(Dialect::v1(protocol), bytes);
    let command = commands.next().unwrap().unwrap();
    assert!(commands.next().is_none());
    (command.id, command.request.unwrap(), command.positions)
}

/// A run of publications that ends at an offset.
fn publications(top: u64, count: u64) -> Vec<Publication> {
    let one = |offset: u64| Publication {
        data: format!("{{\"n\":{offset}}}").into(),
        offset,
        ..Publication::default()
    };
    (top.saturating_sub(count.min(top - 1))..top).map(|before| one(before + 1)).collect()
}

proptest! {
    #[test]
    fn a_command_is_read_as_it_was_meant(sdk in sdk(), request in subscribe(), id in 1..1000u32) {
        for protocol in PROTOCOLS {
            let mut bytes = Vec::new();
            let command = Command { id, subscribe: Some(request.clone()), ..Command::default() };
            sdk.append(protocol, &command, &mut bytes);
            let (read, Request::Subscribe(got), positions) = read_one(protocol, &bytes) else { panic!() };
            let expected = SubscribeRequest { join_leave: true, ..request.clone() };
            prop_assert_eq!((read, &*got), (id, &expected));
            let form = match sdk.knows {
                _ if request.offset == 0 => Positions::Both,
                Knows::Seq => Positions::Seq,
                Knows::Offset => Positions::Offset,
                Knows::Both => if id.is_multiple_of(2) { Positions::Seq } else { Positions::Offset },
            };
            prop_assert_eq!(positions, form);

            let mut bytes = Vec::new();
            let subs = BTreeMap::from([("c".to_owned(), SubscribeRequest { channel: String::new(), ..request.clone() })]);
            let connect = Some(ConnectRequest { subs, ..ConnectRequest::default() });
            sdk.append(protocol, &Command { id, connect, ..Command::default() }, &mut bytes);
            prop_assert!(v1::speaks(protocol, &bytes), "a login");
            let (_, Request::Connect(got), _) = read_one(protocol, &bytes) else { panic!() };
            prop_assert_eq!((got.subs["c"].offset, got.subs["c"].recover), (request.offset, request.recover));
            prop_assert_eq!(got.name.is_empty(), !sdk.named);

            let mut bytes = Vec::new();
            let unsubscribe = Some(UnsubscribeRequest { channel: request.channel.clone() });
            sdk.append(protocol, &Command { id, unsubscribe, ..Command::default() }, &mut bytes);
            let (_, Request::Unsubscribe(got), _) = read_one(protocol, &bytes) else { panic!() };
            prop_assert_eq!(&got.channel, &request.channel);
        }
    }

    #[test]
    fn a_recovery_is_understood(sdk in sdk(), top in offset(), count in 0..20u64, by_seq in any::<bool>()) {
        // The form is the one that this SDK asks in.
        let positions = match sdk.knows {
            Knows::Seq => Positions::Seq,
            Knows::Offset => Positions::Offset,
            Knows::Both if by_seq => Positions::Seq,
            Knows::Both => Positions::Offset,
        };
        let result = SubscribeResult {
            recoverable: true,
            positioned: true,
            recovered: true,
            epoch: "e".to_owned(),
            offset: top,
            publications: publications(top, count),
            ..SubscribeResult::default()
        };
        let subscribe = Reply { id: 2, subscribe: Some(result.clone()), ..Reply::default() };
        let connect = ConnectResult {
            client: "c".to_owned(),
            version: "v".to_owned(),
            subs: BTreeMap::from([("a".to_owned(), result), ("b".to_owned(), SubscribeResult::default())]),
            ..ConnectResult::default()
        };
        let connect = Reply { id: 1, connect: Some(connect), ..Reply::default() };
        for protocol in PROTOCOLS {
            for reply in [&subscribe, &connect] {
                let mut bytes = Vec::new();
                v1::append_reply(protocol, reply, positions, &mut bytes);
                let method = |id| Some(if id == 1 { Method::Connect } else { Method::Subscribe });
                prop_assert_eq!(sdk.read(protocol, &bytes, method), Ok(vec![reply.clone()]));
            }
        }
    }

    #[test]
    fn a_publication_is_understood_by_every_sdk(sdk in sdk(), offset in prop_oneof![Just(0), offset()]) {
        let publication = Publication { data: "{\"n\":1}".into(), offset, ..Publication::default() };
        let push = Push { channel: "c".to_owned(), publication: Some(publication.clone()), ..Push::default() };
        let expected = Reply { push: Some(push), ..Reply::default() };
        for protocol in PROTOCOLS {
            let mut bytes = Vec::new();
            spinward_wire::append_publication_push(Dialect::v1(protocol), "c", &publication, &mut bytes, true);
            prop_assert_eq!(sdk.read(protocol, &bytes, |_| None), Ok(vec![expected.clone()]));
        }
    }
}

#[test]
fn an_empty_object_is_a_fault() {
    let sdk = Old { knows: Knows::Seq, named: false };
    assert!(sdk.read(Protocol::Json, b"{}\n", |_| None).is_err());
    assert!(sdk.read(Protocol::Json, b"{\"id\":1}", |_| None).is_err(), "no newline");
    assert!(sdk.read(Protocol::Protobuf, b"\x00", |_| None).is_err());
}
