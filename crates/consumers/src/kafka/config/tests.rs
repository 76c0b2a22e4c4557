use super::*;

fn right() -> Config {
    let text = |text: &str| vec![text.to_owned()];
    let group = "g".to_owned();
    Config { brokers: text("kafka.internal:9092"), topics: text("t"), group, ..Config::default() }
}

#[test]
fn options_that_cannot_be_used_are_named() {
    right().check().unwrap();
    Config { brokers: vec!["[::1]:9092".to_owned(), "10.0.0.1:1".to_owned()], ..right() }.check().unwrap();
    let sasl = Sasl { mechanism: Mechanism::Plain, user: String::new(), password: "canary".to_owned() };
    for (name, wrong) in [
        ("brokers", Config { brokers: Vec::new(), ..right() }),
        ("brokers", Config { brokers: vec!["kafka".to_owned()], ..right() }),
        ("brokers", Config { brokers: vec!["a:1,b:2".to_owned()], ..right() }),
        ("brokers", Config { brokers: vec!["kafka://a:1".to_owned()], ..right() }),
        ("brokers", Config { brokers: vec!["a:0".to_owned()], ..right() }),
        ("topics", Config { topics: Vec::new(), ..right() }),
        ("topics", Config { topics: vec!["a".to_owned(), "a".to_owned()], ..right() }),
        ("consumer_group", Config { group: String::new(), ..right() }),
        ("max_poll_records", Config { max_poll_records: 0, ..right() }),
        ("partition_queue_max_size", Config { partition_queue: 0, ..right() }),
        ("fetch_max_bytes", Config { fetch_max_bytes: -1, ..right() }),
        ("fetch_max_wait", Config { fetch_max_wait: Duration::from_secs(11), ..right() }),
        ("dial_timeout", Config { dial_timeout: Duration::ZERO, ..right() }),
        ("sasl_user", Config { sasl: Some(sasl), ..right() }),
    ] {
        let error = wrong.check().unwrap_err().to_string();
        assert!(error.contains(name) && !error.contains("canary"), "{error}");
    }
}

#[test]
fn mechanisms_have_the_names_of_centrifugo() {
    assert_eq!(Mechanism::by_name("plain").unwrap(), Mechanism::Plain);
    assert_eq!(Mechanism::by_name("scram-sha-256").unwrap(), Mechanism::ScramSha256);
    assert_eq!(Mechanism::by_name("scram-sha-512").unwrap(), Mechanism::ScramSha512);
    for name in ["aws-msk-iam", "PLAIN", ""] {
        let error = Mechanism::by_name(name).unwrap_err().to_string();
        assert!(error.contains("sasl_mechanism") && error.contains(name), "{error}");
    }
}

#[test]
fn credentials_are_not_shown() {
    let sasl = Sasl { mechanism: Mechanism::Plain, user: "canary".to_owned(), password: "canary".to_owned() };
    let identity = Some((b"canary".to_vec(), b"canary".to_vec()));
    let tls = Tls { authorities: Some(b"canary".to_vec()), identity, ..Tls::default() };
    let shown = format!("{:?}", Config { sasl: Some(sasl), tls: Some(tls), ..right() });
    assert!(
        shown.contains("Plain") && !shown.contains("canary") && !shown.contains("99, 97, 110"),
        "{shown}"
    );
}

#[test]
fn a_poll_fits_into_an_empty_queue() {
    assert_eq!(right().batch(), 100);
    assert_eq!(Config { partition_queue: 7, ..right() }.batch(), 7);
}
