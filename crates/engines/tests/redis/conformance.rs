//! The contract of brokers, on every topology.

use super::harness::{Harness, Shared, Store, installed};
use spinward_engines::redis::{Config, Tls};
use spinward_test::conformance;
use spinward_testkit::servers::redis::{Cluster, Options, Sentinels, Server};
use std::sync::Arc;

async fn conforms(start: fn() -> Store, change: fn(&Store, &mut Config)) {
    if !installed() {
        return;
    }
    let shared = Shared::new(start);
    let report = conformance::broker(|| Harness::new(&shared, change)).await;
    println!("{report}");
    report.assert();
    assert!(report.not_tried().is_empty(), "not tried: {:?}", report.not_tried());
}

fn one() -> Store {
    Store::Servers(vec![Server::start(Options::default())])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_streams() {
    conforms(one, |_, _| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_lists() {
    conforms(one, |_, config| config.history_use_lists = true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_version_2_of_the_protocol() {
    conforms(one, |_, config| config.force_resp2 = true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_and_a_user() {
    let start = || {
        let user = Some(("ann".to_owned(), "p@ss:w/rd".to_owned()));
        let options =
            Options { unix_socket: true, user, password: Some("other".to_owned()), ..Options::default() };
        Store::Servers(vec![Server::start(options)])
    };
    conforms(start, |store, config| {
        config.address = vec![format!("unix://{}", store.servers()[0].socket().display())];
        (config.user, config.password) = ("ann".to_owned(), "p@ss:w/rd".to_owned());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_shards() {
    let start = || Store::Servers((0..2).map(|_| Server::start(Options::default())).collect());
    conforms(start, |_, _| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels() {
    let start = || {
        let options = Options { password: Some("server".to_owned()), ..Options::default() };
        Store::Sentinels(Sentinels::start(&options, Some("sentinel")))
    };
    conforms(start, |_, config| {
        (config.password, config.sentinel_password) = ("server".to_owned(), "sentinel".to_owned());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster() {
    conforms(|| Store::Cluster(Cluster::start(&Options::default(), true)), |_, _| {}).await;
}

/// One address of a cluster is enough, with version 2 of the protocol and lists.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_by_one_address() {
    conforms(
        || Store::Cluster(Cluster::start(&Options::default(), true)),
        |store, config| {
            config.cluster_address.clear();
            config.address = vec![store.servers()[4].url()];
            (config.force_resp2, config.history_use_lists) = (true, true);
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn valkey() {
    if !spinward_testkit::servers::installed(&[&spinward_testkit::servers::redis::valkey()]) {
        return;
    }
    conforms(|| Store::Servers(vec![Server::start(Options::valkey())]), |_, _| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls() {
    if !installed() {
        return;
    }
    let folder = spinward_testkit::servers::Folder::new("redis-tls");
    let (files, client) = certificates(folder.path());
    let server = Server::start(Options { tls: Some(files), ..Options::default() });
    let address = format!("rediss://127.0.0.1:{}", server.tls_port());
    let shared = Shared::of(Store::Servers(vec![server]));
    let tls = Tls { config: client, server_name: Some("redis.test".to_owned()) };
    let report = conformance::broker(|| {
        Harness::new(&shared, |_, config| {
            config.address = vec![address.clone()];
            config.tls = Some(tls.clone());
        })
    })
    .await;
    println!("{report}");
    report.assert();
}

/// Certificates of a server, and a client that trusts their authority.
fn certificates(
    folder: &std::path::Path,
) -> (spinward_testkit::servers::redis::Tls, Arc<rustls::ClientConfig>) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let own_key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec!["redis.test".to_owned()]).unwrap();
    let own = own.signed_by(&own_key, &issuer).unwrap();
    let files = spinward_testkit::servers::redis::Tls {
        certificate: folder.join("cert.pem"),
        key: folder.join("key.pem"),
        authority: folder.join("ca.pem"),
        mutual: false,
    };
    std::fs::write(&files.certificate, own.pem()).unwrap();
    std::fs::write(&files.key, own_key.serialize_pem()).unwrap();
    std::fs::write(&files.authority, authority.pem()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let client = client.unwrap().with_root_certificates(roots).with_no_client_auth();
    (files, Arc::new(client))
}
