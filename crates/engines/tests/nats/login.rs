//! TLS, and credentials that are right or wrong.

use crate::harness::{SOON, core, until};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ClientConfig, RootCertStore};
use spinward::engine::EngineHealth;
use spinward::engine::broker::{Broker, Interest};
use spinward_engines::nats::{self, Config};
use spinward_test::conformance::Recorder;
use spinward_testkit::servers::nats::{Accounts, Nats, Options, installed};
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread")]
async fn tls_and_a_password() {
    if !installed() {
        return;
    }
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let server = Nats::start(&Options {
        tls: Some((cert.pem(), signing_key.serialize_pem())),
        login: Some(("ann".to_owned(), "p@ss:1".to_owned())),
        ..Options::default()
    });
    let url = format!("tls://ann:p%40ss%3A1@localhost:{}", server.port());
    let node = core(Config { urls: vec![url], tls: Some(Arc::new(tls)), ..Config::default() }).await;
    node.want("c").await;
    node.publish("c", "x").await.unwrap();
    node.delivered("c", 1).await;

    // A server whose certificate nobody knows is not talked to.
    let url = format!("tls://ann:p%40ss%3A1@localhost:{}", server.port());
    let reason = refused(Config { urls: vec![url], ..Config::default() }).await;
    assert!(reason.contains("certificate"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_named_and_not_shown() {
    if !installed() {
        return;
    }
    let login = Some(("ann".to_owned(), "right".to_owned()));
    let server = Nats::start(&Options { login, ..Options::default() });
    let url = format!("nats://ann:s3cret@127.0.0.1:{}", server.port());
    let reason = refused(Config { urls: vec![url], ..Config::default() }).await;
    assert!(reason.contains("authorization"), "{reason}");
    assert!(!reason.contains("s3cret"), "{reason}");
    let config = Config {
        urls: vec![server.url()],
        user: "ann".to_owned(),
        password: "right".to_owned(),
        ..Config::default()
    };
    core(config).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token() {
    if !installed() {
        return;
    }
    let server = Nats::start(&Options { token: Some("t0ken".to_owned()), ..Options::default() });
    core(Config { urls: vec![server.url()], token: "t0ken".to_owned(), ..Config::default() }).await;
    let url = format!("nats://t0ken@127.0.0.1:{}", server.port());
    core(Config { urls: vec![url], ..Config::default() }).await;
    refused(Config { urls: vec![server.url()], ..Config::default() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credentials_file_is_read_for_each_connection() {
    if !installed() {
        return;
    }
    let accounts = Accounts::new();
    let mut server = Nats::start(&Options { more: accounts.lines.clone(), ..Options::default() });
    let file = std::env::temp_dir().join(format!("spinward-{}.creds", std::process::id()));
    let config =
        || Config { urls: vec![server.url()], credentials_file: Some(file.clone()), ..Config::default() };
    let error = nats::Broker::new(config()).err().unwrap().to_string();
    assert!(error.contains("`credentials_file`: ") && error.contains(".creds"), "{error}");

    // Of an operator that the server does not know.
    std::fs::write(&file, Accounts::new().user()).unwrap();
    let reason = refused(config()).await;
    assert!(reason.contains("authorization"), "{reason}");
    refused(Config { credentials_file: None, ..config() }).await;

    std::fs::write(&file, accounts.user()).unwrap();
    let node = core(config()).await;
    node.want("c").await;
    node.publish("c", "x").await.unwrap();
    node.delivered("c", 1).await;

    // One that is replaced counts from the next connection on.
    std::fs::write(&file, "nothing").unwrap();
    server.kill();
    server.restart();
    until("refused", SOON, || {
        matches!(node.broker.health(), EngineHealth::Down { reason } if reason.contains("no NATS USER JWT in it"))
    })
    .await;
    std::fs::write(&file, accounts.user()).unwrap();
    until("connected", SOON, || node.broker.health() == EngineHealth::Up).await;
    std::fs::remove_file(file).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_without_permission_is_not_taken_for_subscribed() {
    if !installed() {
        return;
    }
    let more = "authorization { users: [{ user: ann, password: a, \
                permissions: { subscribe: { deny: \"centrifugo.client.secret\" } } }] }";
    let server = Nats::start(&Options { more: more.to_owned(), ..Options::default() });
    let (user, password) = ("ann".to_owned(), "a".to_owned());
    let node = core(Config { urls: vec![server.url()], user, password, ..Config::default() }).await;
    node.want("open").await;
    node.recorder.set_wanted("secret", true);
    node.broker.interest(&[("secret".into(), Interest::Wanted)]);
    let answer = || node.recorder.answers("secret").last().copied();
    until("withdrawn", SOON, || answer() == Some((Interest::Wanted, false))).await;
    node.publish("open", "x").await.unwrap();
    node.delivered("open", 1).await;
    assert_eq!(node.broker.health(), EngineHealth::Up, "one channel is not the connection");
}

async fn refused(config: Config) -> String {
    let broker = nats::Broker::new(config).unwrap();
    broker.start(Recorder::new().sink()).unwrap();
    until("refused", SOON, || broker.counts().failed_connects >= 2).await;
    match broker.health() {
        EngineHealth::Down { reason } => reason,
        other => panic!("{other:?}"),
    }
}
