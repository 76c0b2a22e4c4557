//! Hosts, the directory of certificates, and the times between tries.

use super::*;
use crate::tls::load::assemble;
use crate::tls::tests::Chain;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use spinward::clock::Now;

struct Folder(std::path::PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("spinward-acme-{}-{number}", std::process::id())))
    }

    fn path(&self) -> String {
        self.0.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn acme(options: &TlsAutocert) -> Arc<Acme> {
    let clock = Clock::manual(Now { mono: 0, wall: 1_800_000_000_000 });
    Acme::new(options, clock).unwrap().0
}

#[test]
fn a_kept_certificate_is_found_and_readable_by_the_owner_alone() {
    let (folder, chain) = (Folder::new(), Chain::new());
    let cache = Cache::new(&folder.path());
    assert!(cache.identity("rt.example.com", &provider()).unwrap().is_none());
    cache.keep("rt.example.com", &format!("{}{}", chain.key, chain.chain())).unwrap();
    assert!(cache.identity("rt.example.com", &provider()).unwrap().is_some());
    cache.keep_account("{}").unwrap();
    assert_eq!(cache.account().as_deref(), Some("{}"));
    #[cfg(unix)]
    for (name, mode) in [("", 0o700), ("rt.example.com", 0o600), ("acme_account.json", 0o600)] {
        use std::os::unix::fs::PermissionsExt;
        let found = std::fs::metadata(folder.0.join(name)).unwrap().permissions().mode();
        assert_eq!(found & 0o777, mode, "{name}");
    }
    let options = TlsAutocert {
        host_whitelist: vec!["RT.example.com.".to_owned(), "other.example.com".to_owned()],
        cache_dir: folder.path(),
        ..TlsAutocert::default()
    };
    let acme = acme(&options);
    assert_eq!(acme.hosts.certificates().len(), 1);
    assert!(acme.due_in("rt.example.com", 1_800_000_000) > Duration::from_secs(86_400));
    assert!(acme.due_in("other.example.com", 1_800_000_000).is_zero());
}

#[test]
fn names_do_not_lead_out_of_the_directory() {
    let (folder, chain) = (Folder::new(), Chain::new());
    let inner = folder.0.join("inner");
    let cache = Cache::new(&inner.display().to_string());
    for name in ["../x", "/x", "..", ".", "", "a/b", "a\\b", ".x"] {
        cache.keep(name, &chain.key).unwrap();
        assert!(cache.identity(name, &provider()).unwrap().is_none());
    }
    assert!(!inner.exists() && !folder.0.join("x").exists());
}

#[test]
fn a_damaged_file_is_named_and_another_certificate_requested() {
    let (folder, one, other) = (Folder::new(), Chain::new(), Chain::new());
    let cache = Cache::new(&folder.path());
    for text in ["", "nothing", &one.key, &one.leaf, &format!("{}{}", other.key, one.chain())] {
        cache.keep("a.example", text).unwrap();
        let error = cache.identity("a.example", &provider()).unwrap_err().to_string();
        assert!(error.contains("a.example"), "{error}");
    }
    let options = TlsAutocert {
        host_whitelist: vec!["a.example".to_owned()],
        cache_dir: folder.path(),
        ..TlsAutocert::default()
    };
    assert!(acme(&options).due_in("a.example", 0).is_zero());
}

#[test]
fn certificates_are_renewed_before_their_end() {
    let chain = Chain::new();
    let certificates = CertificateDer::pem_slice_iter(chain.chain().as_bytes()).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(chain.key.as_bytes()).unwrap();
    let mut identity = assemble(certificates, key, "c", "k", &provider()).unwrap();
    let options = TlsAutocert { host_whitelist: vec!["a.example".to_owned()], ..TlsAutocert::default() };
    let acme = acme(&options);
    let days = 86_400;
    for (life, renewed) in [(90 * days, 60 * days), (6 * days, 4 * days), (30, 20)] {
        identity.valid = 0..life;
        acme.hosts.set("a.example", identity.clone());
        let due = |now: i64| acme.due_in("a.example", now);
        assert_eq!(due(0), Duration::from_secs(renewed as u64));
        assert_eq!(due(renewed - 1), Duration::from_secs(1));
        assert!(due(renewed).is_zero() && due(life + 1).is_zero());
    }
}

#[test]
fn tries_come_later_each_time() {
    let mut failures = Failures::default();
    let minutes: Vec<u64> = (0..12).map(|_| failures.pause().as_secs() / 60).collect();
    assert_eq!(minutes, [1, 2, 4, 8, 16, 32, 64, 128, 256, 360, 360, 360]);
}

#[test]
fn hosts_are_those_of_the_list_or_those_that_clients_name() {
    let listed = Hosts::new(&["a.example".to_owned()], "");
    listed.ask("b.example");
    assert_eq!(listed.wanted(), ["a.example"]);
    let any = Hosts::new(&[], "default.example");
    for name in ["b.example", "b.example", "localhost", "10.0.0.1", "default.example"] {
        any.ask(name);
    }
    assert_eq!(any.wanted(), ["default.example", "b.example"]);
    for at in 0..1_000 {
        any.ask(&format!("n{at}.example"));
    }
    assert_eq!(any.wanted().len(), 101, "clients name no more than so many");
}
