use super::super::config::{Config, ConfigError, Kind};
use super::*;

fn tcp(host: &str, port: u16) -> Endpoint {
    Endpoint::Tcp(host.into(), port)
}

fn read_one(text: &str) -> Address {
    read(text, Scheme::Single).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn endpoints_of_every_scheme() {
    for (text, right) in [
        ("localhost:7000", tcp("localhost", 7000)),
        ("localhost", tcp("localhost", 6379)),
        ("redis://10.0.0.1:7000", tcp("10.0.0.1", 7000)),
        ("redis://:p@10.0.0.1", tcp("10.0.0.1", 6379)),
        ("rediss://host/3", tcp("host", 6379)),
        ("redis://[::1]:7000", tcp("::1", 7000)),
        ("[::1]", tcp("::1", 6379)),
        ("::1", tcp("::1", 6379)),
        ("/run/redis.sock", Endpoint::Unix("/run/redis.sock".into())),
        ("unix:///run/redis.sock", Endpoint::Unix("/run/redis.sock".into())),
        ("unix://u:p@/run/redis.sock?db=2", Endpoint::Unix("/run/redis.sock".into())),
        ("redis+unix:///run/a%20b", Endpoint::Unix("/run/a b".into())),
        ("redis+sentinel://host?sentinel_master_name=m", tcp("host", 26379)),
        ("redis+cluster://host:1?addr=b:2", tcp("host", 1)),
    ] {
        assert_eq!(read_one(text).endpoints.first(), Some(&right), "{text}");
    }
    let cluster = read_one("redis+cluster://u:p@a:1,b:2?addr=c:3&addr=d");
    assert_eq!(cluster.endpoints, [tcp("a", 1), tcp("b", 2), tcp("c", 3), tcp("d", 6379)]);
    assert_eq!(cluster.scheme, Scheme::Cluster);
    assert_eq!(read_one("rediss://host/3").tls, Some(true));
    assert_eq!(read_one("rediss://host/3").db, Some(3));
}

#[test]
fn credentials_are_read_as_people_write_them() {
    for (text, user, password) in [
        ("redis://host", None, ""),
        ("redis://:secret@host", Some(""), "secret"),
        ("redis://ann:secret@host", Some("ann"), "secret"),
        ("redis://ann:p%40ss%3Aword@host", Some("ann"), "p@ss:word"),
        ("redis://ann:p@ss@host", Some("ann"), "p@ss"),
        ("redis://ann:p/s?s#@host", Some("ann"), "p/s?s#"),
        ("redis://host?password=a@b", None, ""),
    ] {
        let address = read_one(text);
        assert_eq!(address.endpoints, [tcp("host", 6379)], "{text}");
        let login = user.map(|user| (user.to_owned(), password.to_owned()));
        assert_eq!(address.login, login, "{text}");
    }
    assert_eq!(read_one("redis://host?password=a@b").given.password.as_deref(), Some("a@b"));
}

#[test]
fn parameters_come_before_options() {
    let config = Config {
        address: vec![
            "redis://u:p@host/1?io_timeout=500ms&connect_timeout=2s&db=2&force_resp2=true&client_name=n"
                .to_owned(),
        ],
        user: "other".to_owned(),
        password: "other".to_owned(),
        ..Config::default()
    };
    let targets = config.targets().unwrap();
    let access = &targets[0].access;
    assert_eq!((&*access.user, &*access.password), ("u", "p"));
    assert_eq!(
        (access.io_timeout, access.connect_timeout),
        (Duration::from_millis(500), Duration::from_secs(2))
    );
    assert_eq!((access.db, access.resp2, &*access.client_name), (2, true, "n"));
}

#[test]
fn sentinels_take_their_credentials_from_the_address() {
    let config = Config {
        address: vec!["redis+sentinel://su:sp@a:1?addr=b&sentinel_master_name=m".to_owned()],
        password: "server".to_owned(),
        ..Config::default()
    };
    let target = config.targets().unwrap().remove(0);
    assert_eq!(target.access.password, "server");
    let Kind::Sentinel { sentinels, access, master } = target.kind else { panic!("not a Sentinel") };
    assert_eq!(sentinels, [tcp("a", 1), tcp("b", 26379)]);
    assert_eq!((&*access.user, &*access.password, &*master), ("su", "sp", "m"));
}

#[test]
fn lists_of_addresses_make_shards() {
    let list = |entries: &[&str]| entries.iter().map(|entry| (*entry).to_owned()).collect::<Vec<_>>();
    let shards = |config: &Config| config.targets().unwrap().len();
    let config = Config { address: list(&["a", "b", "c"]), ..Config::default() };
    assert_eq!(shards(&config), 3);
    assert_eq!(shards(&Config { cluster_address: list(&["a:1", "b:1"]), ..Config::default() }), 1);
    assert_eq!(shards(&Config { cluster_address: list(&["a:1,b:1", "c:1"]), ..Config::default() }), 2);
    let sentinels = list(&["a", "b", "c"]);
    let config = Config { sentinel_address: sentinels, ..Config::default() };
    assert_eq!(config.check(), Err(ConfigError::NoMasterName));
    assert_eq!(shards(&Config { sentinel_master_name: "m".to_owned(), ..config }), 1);
}

#[test]
fn errors_name_the_part_and_never_the_password() {
    let secret = "hunter2";
    for (text, right) in [
        ("http://ann:hunter2@host", "unknown scheme `http`"),
        ("redis://ann:hunter2@", "the host or path is missing"),
        ("redis://ann:hunter2@host:0", "the port is not"),
        ("redis://ann:hunter2@host:http", "the port is not"),
        ("redis://ann:hunter2@host/x", "the path is not the number"),
        ("redis://ann:hunter2%zz@host", "the password is not percent-encoded"),
        ("redis://ann:hunter2@host?colour=red", "unknown parameter `colour`"),
        ("redis://ann:hunter2@host?db=x", "parameter `db` is not a number"),
        ("redis://host?password=hunter2&io_timeout=hunter2", "parameter `io_timeout` is not a duration"),
        ("unix://", "the host or path is missing"),
        ("", "the host or path is missing"),
    ] {
        let config = Config { address: vec![text.to_owned()], ..Config::default() };
        let error = config.check().unwrap_err().to_string();
        assert!(error.starts_with("entry 1 of `address`: ") && error.contains(right), "{text}: {error}");
        assert!(!error.contains(secret), "{error}");
        assert!(!format!("{config:?}").contains(secret));
    }
    let config = Config { address: vec!["rediss://host".to_owned()], ..Config::default() };
    assert!(config.needs_tls());
    assert_eq!(config.check(), Err(ConfigError::NoTls { option: "address", index: 0, tls: "tls" }));
    let braces = Config { prefix: "a{b".to_owned(), ..Config::default() };
    assert_eq!(braces.check(), Err(ConfigError::Prefix));
}
