//! Bytes that Centrifugo v6.9.1 wrote and published, recorded with `MONITOR`.

use super::*;
use proptest::prelude::*;
use spinward::publication::ClientInfo;

const CLIENT: &str = "aa39d05d-c91f-4e7f-8383-d27454d59a09";

const PLAIN: &[u8] = b"\"\x08{\"n\": 1}H\xed\xa1\xc9\xd8\xa24";
const TAGGED: &[u8] = b"\"\x08{\"n\": 2}:\x06\n\x01k\x12\x01vH\xee\x85\xc7\xd8\xa24";
const VERSIONED: &[u8] = b"\"\x08{\"n\": 3}H\xf1\x85\xc7\xd8\xa24\x80\x01\x07";
const UNSTORED_DELTA: &[u8] = b"\"\x08{\"n\": 5}@\x01H\xf5\x85\xc7\xd8\xa24";

fn by_client() -> Vec<u8> {
    [b"\"\r{\"by\": \"ann\"}*&\x12$", CLIENT.as_bytes(), b"H\xee\xa1\xc9\xd8\xa24"].concat()
}

fn publication(event: Event) -> Publication {
    match event {
        Event::Publication(publication) => Arc::unwrap_or_clone(publication),
        Event::JoinLeave(_) => panic!("no publication"),
    }
}

fn info() -> Arc<ClientInfo> {
    Arc::new(ClientInfo { client: CLIENT.into(), ..ClientInfo::default() })
}

#[test]
fn publications_are_read_and_written_to_the_same_bytes() {
    let client = by_client();
    for bytes in [PLAIN, TAGGED, VERSIONED, &client] {
        let read = read_publication(Bytes::copy_from_slice(bytes)).unwrap();
        assert_eq!(stored(&read), bytes);
    }
    let tagged = read_publication(Bytes::from_static(TAGGED)).unwrap();
    assert_eq!(tagged.tags.as_deref().unwrap().get("k").map(String::as_str), Some("v"));
    assert_eq!((tagged.time, tagged.version), (1_796_018_914_030, 0));
    let versioned = read_publication(Bytes::from_static(VERSIONED)).unwrap();
    assert_eq!((&versioned.data[..], versioned.version), (&b"{\"n\": 3}"[..], 7));
    assert_eq!(read_publication(by_client().into()).unwrap().info, Some(info()));
}

#[test]
fn messages_have_their_places() {
    let message = [b"__p1:1:AGUtnjxB__", PLAIN].concat();
    let (place, event) = read(message.clone().into()).unwrap();
    assert_eq!(place, Some(Stored { epoch: "AGUtnjxB".into(), offset: 1 }));
    let one = publication(event);
    assert_eq!((&one.data[..], one.offset, one.delta), (&b"{\"n\": 1}"[..], 1, false));
    assert_eq!(read_publication(message.into()).unwrap().data, one.data, "as in a list");

    let delta =
        [b"__d1:3:AGUtnjxB:62:", &by_client()[..], b":17:", b"\"\x08{\"n\": 2}H\xf1\xa1\xc9\xd8\xa24"]
            .concat();
    let (place, event) = read(delta.into()).unwrap();
    assert_eq!(place, Some(Stored { epoch: "AGUtnjxB".into(), offset: 3 }));
    let three = publication(event);
    assert_eq!((&three.data[..], three.offset, three.delta), (&b"{\"n\": 2}"[..], 3, true));

    let first = [b"__d1:1:UAYYltFF:0::17:", &b"\"\x08{\"n\": 1}H\xe8\x85\xc7\xd8\xa24"[..]].concat();
    assert_eq!(read(first.into()).unwrap().0, Some(Stored { epoch: "UAYYltFF".into(), offset: 1 }));
}

#[test]
fn what_is_not_stored_is_read_and_written_to_the_same_bytes() {
    let join = [b"__j__\x12$", CLIENT.as_bytes()].concat();
    let leave = [b"__l__\x12$", CLIENT.as_bytes()].concat();
    for bytes in [&join[..], &leave, UNSTORED_DELTA] {
        let (place, event) = read(Bytes::copy_from_slice(bytes)).unwrap();
        assert_eq!(place, None);
        assert_eq!(unstored(&event), bytes);
    }
    let (_, event) = read(join.into()).unwrap();
    assert!(matches!(event, Event::JoinLeave(JoinLeave::Join(one)) if one == info()));
}

#[test]
fn other_messages_are_none() {
    for message in [
        "__",
        "__p1:",
        "__p1:x:e__",
        "__p1:0:e__",
        "__p1:1:__",
        "__p1:1:e",
        "__d1:1:e:5:a:1:b",
        "__d1:1:e:1:a1:b",
        "__d1:1:e:0::99:",
        "__x__",
        "__j__\u{1}",
        "text",
    ] {
        assert!(read(Bytes::from_static(message.as_bytes())).is_none(), "{message}");
    }
}

proptest! {
    #[test]
    fn no_bytes_cause_a_panic(start in "(__[pdjl][1_][:_])?[0-9a-z:_]{0,12}", rest: Vec<u8>) {
        let _ = read([start.as_bytes(), &rest].concat().into());
    }
}
