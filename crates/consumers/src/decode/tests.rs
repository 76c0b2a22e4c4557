use super::*;
use proptest::prelude::*;

fn message<'a>(attributes: &[(&'a str, &'a str)], payload: &str) -> Message<'a> {
    Message { attributes: attributes.to_vec(), payload: Bytes::copy_from_slice(payload.as_bytes()) }
}

fn api(attributes: &[(&str, &str)], payload: &str) -> Result<(Method, String), DecodeError> {
    let decoder = Decoder { method: "method".to_owned(), publications: None };
    match decoder.decode(&message(attributes, payload))? {
        Call::Api { method, params } => Ok((method, params)),
        Call::Publish(_) => panic!("a publication"),
    }
}

fn publication(attributes: &[(&str, &str)]) -> Result<Publication, DecodeError> {
    let decoder = Decoder { publications: Some(PublicationNames::default()), ..Decoder::default() };
    match decoder.decode(&message(attributes, "\u{0}any"))? {
        Call::Publish(publication) => Ok(publication),
        Call::Api { .. } => panic!("a call"),
    }
}

#[test]
fn an_attribute_names_the_method_of_a_whole_payload() {
    let call = api(&[("method", "publish"), ("method", "broadcast")], " {\"channel\": 1} ").unwrap();
    assert_eq!(call, (Method::Publish, " {\"channel\": 1} ".to_owned()));
    // Parameters are the method's business.
    assert_eq!(api(&[("method", "refresh")], "nothing").unwrap().1, "nothing");
}

#[test]
fn without_an_attribute_the_payload_names_it() {
    for (payload, params) in [
        (r#"{"method":"publish","payload":{"channel": "a"}}"#, r#"{"channel": "a"}"#),
        (r#"{"payload":"{\"channel\":\"\u00e4\"}","METHOD":"publish"}"#, r#"{"channel":"ä"}"#),
        (r#"{"method":"publish"}"#, "null"),
        (r#"{"method":"publish","payload":null,"more":[1]}"#, "null"),
        (r#"{"method":"nope","method":"publish","method":null,"payload":[]}"#, "[]"),
        ("{\"m\\u0065thod\":\"publis\\u0068\",\"payload\":1}", "1"),
    ] {
        for attributes in [&[][..], &[("method", "")][..]] {
            assert_eq!(api(attributes, payload), Ok((Method::Publish, params.to_owned())), "{payload}");
        }
    }
    for payload in ["", "null", "[]", "{}", r#"{"method":""}"#, r#"{"method":5}"#, r#"{"method":"publish"}x"#]
    {
        assert_eq!(api(&[], payload), Err(DecodeError::Envelope), "{payload}");
    }
}

/// As Centrifugo v6.9 reads such a payload, and the HTTP API such a body.
#[test]
fn bytes_that_are_no_text_are_replaced() {
    let decoder = Decoder { method: "method".to_owned(), publications: None };
    for (attributes, payload) in [
        (vec![("method", "publish")], &b"{\"channel\":\"a\xff\"}"[..]),
        (vec![], &b"{\"method\":\"publish\",\"payload\":{\"channel\":\"a\xff\"}}"[..]),
    ] {
        let message = Message { attributes, payload: Bytes::from_static(payload) };
        let Ok(Call::Api { params, .. }) = decoder.decode(&message) else { panic!("no call: {payload:?}") };
        assert_eq!(params, "{\"channel\":\"a\u{fffd}\"}");
    }
}

#[test]
fn only_methods_with_an_effect_are_called() {
    for method in Method::ALL {
        assert_eq!(api(&[("method", method.name())], "{}").unwrap().0, *method);
    }
    for name in ["info", "presence", "channels", "rpc", "batch", "Publish", "block_user", " publish"] {
        assert_eq!(api(&[("method", name)], "{}"), Err(DecodeError::Method(name.to_owned())));
        let payload = format!(r#"{{"method":"{name}","payload":{{}}}}"#);
        assert_eq!(api(&[], &payload), Err(DecodeError::Method(name.to_owned())));
    }
}

#[test]
fn publications_are_described_by_attributes() {
    let found = publication(&[
        ("centrifugo-channels", "a, b,,c"),
        ("centrifugo-idempotency-key", "k"),
        ("centrifugo-delta", "True"),
        ("centrifugo-version", "18446744073709551615"),
        ("centrifugo-version-epoch", "e"),
        ("centrifugo-tag-lang", "en"),
        ("centrifugo-tag-lang", "de"),
        ("centrifugo-tag-", "no name"),
        ("Centrifugo-Tag-x", "another case"),
    ])
    .unwrap();
    assert_eq!(found.channels, ["a", " b", "c"]);
    assert_eq!(&*found.data, b"\0any");
    assert_eq!((found.delta, found.version, &*found.version_epoch), (true, u64::MAX, "e"));
    let tags: Vec<_> = found.tags.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(tags, [("", "no name"), ("lang", "en")]);
}

#[test]
fn an_empty_name_is_no_attribute() {
    let none = String::new;
    let names = PublicationNames {
        idempotency_key: none(),
        delta: none(),
        version: none(),
        version_epoch: none(),
        tag_prefix: none(),
        ..PublicationNames::default()
    };
    let attributes = [("centrifugo-channels", "a"), ("", "x"), ("secret", "s"), ("centrifugo-version", "x")];
    let decoder = Decoder { method: none(), publications: Some(names) };
    let Call::Publish(found) = decoder.decode(&message(&attributes, "1")).unwrap() else { panic!("a call") };
    // Least of all is each header a tag.
    assert!(found.tags.is_empty() && found.version == 0 && found.idempotency_key.is_empty());
    let decoder = Decoder { publications: None, ..decoder };
    let call = decoder.decode(&message(&[("", "nope")], r#"{"method":"publish","payload":{}}"#));
    assert!(matches!(call, Ok(Call::Api { method: Method::Publish, .. })), "{call:?}");
}

#[test]
fn a_publication_that_cannot_be_read_names_the_attribute() {
    let channels = ("centrifugo-channels", "a");
    for attributes in [&[][..], &[("centrifugo-channels", "")], &[("centrifugo-channels", ",,")]] {
        assert!(matches!(publication(attributes), Err(DecodeError::NoChannels(_))), "{attributes:?}");
    }
    for (name, value) in [
        ("centrifugo-version", "-1"),
        ("centrifugo-version", "+1"),
        ("centrifugo-version", "1.0"),
        ("centrifugo-version", "18446744073709551616"),
        ("centrifugo-delta", "yes"),
    ] {
        let error = publication(&[channels, (name, value)]).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
    assert!(!publication(&[channels, ("centrifugo-delta", "")]).unwrap().delta);
}

#[test]
fn errors_and_debug_output_show_no_payload() {
    let decoder = Decoder::default();
    let error = decoder.decode(&message(&[], r#"{"payload":"canary"}"#)).unwrap_err();
    assert!(!error.to_string().contains("canary"));
    let call = decoder.decode(&message(&[], r#"{"method":"publish","payload":"canary"}"#)).unwrap();
    assert!(!format!("{call:?}").contains("canary"));
}

proptest! {
    /// Whatever a payload is, it is read or refused; what is read is one of the methods.
    #[test]
    fn nothing_panics(payload in prop::collection::vec(any::<u8>(), 0..200), name in ".{0,12}", value in ".{0,12}") {
        let message = Message { attributes: vec![(&name, &value)], payload: payload.into() };
        for publications in [None, Some(PublicationNames::default())] {
            let _ = Decoder { method: name.clone(), publications }.decode(&message);
        }
    }

    /// An envelope is the same call as the attribute and the bare parameters.
    #[test]
    fn both_forms_are_one_call(at in 0..Method::ALL.len(), key in "[a-z]{1,8}", text in ".{0,40}") {
        let method = Method::ALL[at].name();
        let params = serde_json::json!({ key: text }).to_string();
        let bare = api(&[("method", method)], &params).unwrap();
        let raw = format!(r#"{{"method":"{method}","payload":{params}}}"#);
        prop_assert_eq!(&api(&[], &raw).unwrap(), &bare);
        let quoted = serde_json::json!({ "method": method, "payload": params }).to_string();
        prop_assert_eq!(&api(&[], &quoted).unwrap(), &bare);
    }
}
