//! Files of each format, and what each kind of value may look like.

use crate::{load, load_with, refused, warned};
use serde_json::{Value, json};
use spinward_server::config::catalogue::{Pem, Section as _};
use spinward_server::config::generate::{Secrets, starter};
use spinward_server::config::{self, Config, Duration, Error, Format, Level, Source, pem};
use spinward_server::secret::Secret;
use std::path::PathBuf;

/// A file that is there as long as this is.
struct Scratch(PathBuf);

impl Scratch {
    #[expect(clippy::unwrap_used, reason = "a test that cannot write its file cannot run")]
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("spinward-config-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn load(&self) -> Result<config::Loaded, Error> {
        config::load(&Source { file: Some(&self.0), ..Source::default() })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn the_three_formats_say_the_same() {
    let json = r#"{"client": {"ping_interval": "30s", "allowed_origins": ["https://a"]}, "channel": {"namespaces": [{"name": "ab", "presence": true}]}}"#;
    let yaml = "client:\n  ping_interval: 30s\n  allowed_origins: [\"https://a\"]\nchannel:\n  namespaces:\n  - name: ab\n    presence: true\n";
    let toml = "[client]\nping_interval = \"30s\"\nallowed_origins = [\"https://a\"]\n[[channel.namespaces]]\nname = \"ab\"\npresence = true\n";
    let load = |name, text| Scratch::new(name, text).load().unwrap().config;
    let config = load("a.json", json);
    assert_eq!(config.client.ping_interval, Duration::secs(30));
    assert!(config.channel.namespaces[0].options.presence);
    for (name, text) in [("a.yaml", yaml), ("a.yml", yaml), ("a.YAML", yaml), ("a.toml", toml)] {
        assert_eq!(load(name, text), config, "{name}");
    }
    assert_eq!(load("bom.json", &format!("\u{feff}{json}")), config);
}

#[test]
fn a_missing_file_is_told_and_not_an_error() {
    let path = PathBuf::from("does-not-exist.json");
    let loaded = config::load(&Source { file: Some(&path), ..Source::default() }).unwrap();
    assert!(!loaded.found);
    assert_eq!(loaded.config, Default::default());
}

#[test]
fn broken_files_are_told_with_the_place_and_without_the_content() {
    for (name, text, place) in [
        ("b.json", "{\n \"http_api\": {\"key\": \"hush\" x}}", "line 2"),
        ("c.json", "{\"http_api\": {\"key\": \"hush", "too early"),
        ("d.json", "[\"hush\"]", "must hold an object"),
        ("e.json", "", "too early"),
        (
            "f.json",
            "{\"client\": {}, \"http_api\": {\"key\": \"hush\"}, \"client\": {}}",
            "`client` is set twice",
        ),
        (
            "g.json",
            "{\"channel\": {\"namespaces\": [{\"name\": \"ab\",\n\"name\": \"hush\"}]}}",
            "`channel.namespaces[0].name` is set twice",
        ),
        (
            "h.json",
            "{\"log\": {}, \"client\": {\"token\": {\"leeway\": \"1s\", \"leeway\": \"hush\"}}, \"log\": {}}",
            "`client.token.leeway`, `log` are set twice",
        ),
        ("d.yaml", "http_api:\n  key: hush\n---\nlog: {}\n", "line 4, column 1: a second document"),
        ("e.yaml", "http_api:\n  key: hush\nhttp_api: {}\n", "line 3, column 1: `http_api` is set twice"),
        ("b.yaml", "http_api:\n  key: hush\n bad: [\n", "line"),
        ("c.yaml", "- hush\n", "must hold an object"),
        ("b.toml", "[http_api]\nkey = hush\n", "line 2, column 7"),
        ("c.toml", "[http_api]\nkey = \"hush\"\nkey = \"hush\"\n", "line 3, column 1: `key` is set twice"),
        ("b.ini", "key=hush", "extension"),
        ("b", "hush", "extension"),
    ] {
        let error = Scratch::new(name, text).load().unwrap_err().to_string();
        assert!(error.contains(place) && error.contains(name), "{name}: {error}");
        assert!(!error.contains("hush"), "{name}: {error}");
    }
}

/// YAML and JSON turn an unquoted key into another text than the one in the file.
#[test]
fn a_text_that_looks_like_a_number_is_kept_or_refused() {
    for written in
        ["123456789012345678901", "0123456", "1e10", "1_000", "0x1F", "+5", "1.50", "12345678", "-0", "007e2"]
    {
        let file = format!("http_api:\n  key: {written}\nclient:\n  allowed_origins: [{written}]\n");
        let config =
            Scratch::new("n.yaml", &file).load().unwrap_or_else(|error| panic!("{written}: {error}")).config;
        assert_eq!(config.http_api.key.expose(), written);
        assert_eq!(config.client.allowed_origins, [written]);
    }
    let json =
        |written: &str| Scratch::new("n.json", &format!("{{\"http_api\": {{\"key\": {written}}}}}")).load();
    assert_eq!(json("12345678").unwrap().config.http_api.key.expose(), "12345678");
    for written in ["12345678901234567890123456789012", "1e10", "1.50", "-0"] {
        let error = json(written).unwrap_err().to_string();
        assert!(error.contains("http_api.key") && error.contains("put it in quotes"), "{written}: {error}");
    }
    let error = Scratch::new("n.toml", "[http_api]\nkey = 1e10\n").load().unwrap_err().to_string();
    assert!(error.contains("put it in quotes"), "{error}");
}

#[test]
fn numbers_may_be_written_as_yaml_has_them() {
    for (written, port) in [
        ("9000", 9000),
        ("9_000", 9000),
        ("0x2328", 9000),
        ("9e3", 9000),
        ("9000.0", 9000),
        ("+9000", 9000),
        ("0o21450", 9000),
    ] {
        let file = format!("http_server:\n  port: {written}\nclient:\n  channel_limit: {written}\n");
        let config =
            Scratch::new("i.yaml", &file).load().unwrap_or_else(|error| panic!("{written}: {error}")).config;
        assert_eq!(config.http_server.port, port, "{written}");
        assert_eq!(config.client.channel_limit, u32::from(port), "{written}");
    }
    for text in [
        "{\"client\": {\"queue_max_size\": 99999999999999999999}}",
        "{\"client\": {\"queue_max_size\": 1e300}}",
    ] {
        let error = Scratch::new("i.json", text).load().unwrap_err().to_string();
        assert!(error.contains("client.queue_max_size") && error.contains("is not between"), "{error}");
    }
}

#[test]
fn an_option_in_two_spellings_is_refused() {
    let error = load(&json!({"Client": {"insecure": true}, "client": {"insecure": false}})).unwrap_err();
    assert!(error.to_string().contains("client: is set twice"), "{error}");
}

/// Facts of Centrifugo v6.9, whose loader puts the default in place of every zero of a file, but not of a variable.
#[test]
fn zeros_of_a_file_are_defaults() {
    let default = Value::Object(Config::default().to_section());
    for (file, pointer, option) in [
        (json!({"client": {"ping_interval": "0s"}}), "/client/ping_interval", "client.ping_interval"),
        (json!({"client": {"channel_limit": 0}}), "/client/channel_limit", "client.channel_limit"),
        (json!({"http_server": {"port": "0"}}), "/http_server/port", "http_server.port"),
        (json!({"engine": {"type": ""}}), "/engine/type", "engine.type"),
        (json!({"log": {"level": ""}}), "/log/level", "log.level"),
        (json!({"channel": {"max_length": 0}}), "/channel/max_length", "channel.max_length"),
        // Otherwise names that begin with `$` would be open.
        (json!({"channel": {"private_prefix": ""}}), "/channel/private_prefix", "channel.private_prefix"),
        (json!({"channel": {"user_boundary": ""}}), "/channel/user_boundary", "channel.user_boundary"),
    ] {
        let loaded = load(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
        let config = Value::Object(loaded.config.to_section());
        assert_eq!(config.pointer(pointer), default.pointer(pointer), "{file}");
        assert_eq!(warned(&loaded, Level::Note)[0], option, "{file}");
    }
    let proxy = json!({"proxies": [{"name": "ab", "endpoint": "http://h", "timeout": 0}]});
    assert_eq!(load(&proxy).unwrap().config.proxies[0].proxy.timeout.to_string(), "1s");
    // Options that Centrifugo does not have mean what they say, and so does an old file.
    let ours = load(&json!({"client": {"tags_filter_max_size": 0}})).unwrap();
    assert_eq!(ours.config.client.tags_filter_max_size, 0);
    let old = load(&json!({"client_channel_limit": 0, "token_hmac_secret_key": "k"})).unwrap();
    assert_eq!(old.config.client.channel_limit, 0);
    let set = load_with(&json!({}), &[("CENTRIFUGO_CLIENT_CHANNEL_LIMIT", "0")], &[]).unwrap();
    assert_eq!(set.config.client.channel_limit, 0);
    let none = load_with(&json!({}), &[("CENTRIFUGO_CHANNEL_MAX_LENGTH", "0")], &[]).unwrap_err();
    assert!(none.to_string().contains("channel.max_length"), "{none}");
}

#[test]
fn an_option_may_be_written_with_its_section() {
    for file in [
        json!({"client.token.hmac_secret_key": "k", "client": {"channel_limit": 5}}),
        json!({"client": {"token.hmac_secret_key": "k", "channel_limit": 5}}),
        json!({"Client.Token": {"hmac_secret_key": "k"}, "client.channel_limit": 5}),
    ] {
        let loaded = load(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(loaded.config.client.token.own.hmac_secret_key.expose(), "k", "{file}");
        assert_eq!(loaded.config.client.channel_limit, 5, "{file}");
        assert!(warned(&loaded, Level::Unknown).is_empty(), "{file}");
    }
    let twice = json!({"client.channel_limit": 5, "client": {"channel_limit": 6}});
    assert_eq!(refused(&twice), ["client.channel_limit"]);
    // What is no option stays unknown, with its whole name.
    for file in [json!({"client.nope": 1}), json!({"client": {"nope": 1}})] {
        assert_eq!(warned(&load(&file).unwrap(), Level::Unknown), ["client.nope"]);
    }
    assert_eq!(warned(&load(&json!({"nope.a": 1})).unwrap(), Level::Unknown), ["nope.a"]);
    assert_eq!(refused(&json!({"client": 5, "client.channel_limit": 5})), ["client"]);
}

#[test]
fn values_may_be_written_in_several_ways() {
    for (file, pointer, expected) in [
        (json!({"http_server": {"port": "9000"}}), "/http_server/port", json!(9000)),
        (json!({"http_server": {"port": 9000.0}}), "/http_server/port", json!(9000)),
        (json!({"http_server": {"internal_port": 9000}}), "/http_server/internal_port", json!("9000")),
        (json!({"client": {"insecure": "true"}}), "/client/insecure", json!(true)),
        (json!({"client": {"insecure": 1}}), "/client/insecure", json!(true)),
        (json!({"client": {"insecure": ""}}), "/client/insecure", json!(false)),
        (json!({"client": {"allowed_origins": "*"}}), "/client/allowed_origins", json!(["*"])),
        (json!({"client": {"stale_close_delay": "90s"}}), "/client/stale_close_delay", json!("1m30s")),
        (
            json!({"client": {"stale_close_delay": 5_000_000_000_u64}}),
            "/client/stale_close_delay",
            json!("5s"),
        ),
        (
            json!({"client": {"channel_position_max_time_lag": ""}}),
            "/client/channel_position_max_time_lag",
            json!("0s"),
        ),
        (json!({"Log": {"LEVEL": "debug"}}), "/log/level", json!("debug")),
        (
            json!({"broker": {"nats": {"raw_mode": {"channel_replacements": {"Ab": "c"}}}}}),
            "/broker/nats/raw_mode/channel_replacements",
            json!({"ab": "c"}),
        ),
        (
            json!({"broker": {"nats": {"raw_mode": {"channel_replacements": [{"key": "Ab", "value": "c"}]}}}}),
            "/broker/nats/raw_mode/channel_replacements",
            json!({"ab": "c"}),
        ),
    ] {
        let loaded = load(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(Value::Object(loaded.file).pointer(pointer), Some(&expected), "{file}");
    }
    let loaded = load(&json!({"client": null, "log": {"level": null}})).unwrap();
    assert_eq!(loaded.config, Default::default());
    let loaded = load(&json!({"client": {"stale_close_delay": 5}})).unwrap();
    assert_eq!(warned(&loaded, Level::Note)[0], "client.stale_close_delay");
}

/// As in Centrifugo v6.9, no server stays away because of the level of its log.
#[test]
fn a_level_that_does_not_exist_is_info() {
    for (level, noted) in
        [("debug", false), ("WARN", false), ("None", false), ("loud", true), ("warning", true)]
    {
        let loaded = load(&json!({"log": {"level": level}})).unwrap();
        assert_eq!(warned(&loaded, Level::Note).contains(&"log.level".to_owned()), noted, "{level}");
    }
}

#[test]
fn wrong_values_are_refused_by_name() {
    for (file, option) in [
        (json!({"http_server": {"port": "abc"}}), "http_server.port"),
        (json!({"http_server": {"port": 65_536}}), "http_server.port"),
        (json!({"http_server": {"port": -1}}), "http_server.port"),
        (json!({"http_server": {"port": 1.5}}), "http_server.port"),
        (json!({"http_server": []}), "http_server"),
        (json!({"http_server": "x"}), "http_server"),
        (json!({"client": {"insecure": "maybe"}}), "client.insecure"),
        (json!({"client": {"insecure": []}}), "client.insecure"),
        (json!({"client": {"ping_interval": "5"}}), "client.ping_interval"),
        (json!({"client": {"ping_interval": "-5s"}}), "client.ping_interval"),
        (json!({"client": {"ping_interval": -5}}), "client.ping_interval"),
        (json!({"client": {"ping_interval": true}}), "client.ping_interval"),
        (json!({"client": {"channel_limit": -1}}), "client.channel_limit"),
        (json!({"client": {"token": {"hmac_secret_key": {"a": 1}}}}), "client.token.hmac_secret_key"),
        (json!({"client": {"allowed_origins": [[]]}}), "client.allowed_origins"),
        (json!({"channel": {"namespaces": {"ab": {}}}}), "channel.namespaces"),
        (json!({"channel": {"namespaces": ["ab"]}}), "channel.namespaces[0]"),
        (
            json!({"channel": {"namespaces": [{"name": "ab", "history_size": "x"}]}}),
            "channel.namespaces[ab].history_size",
        ),
        (json!({"engine": {"type": "tarantool"}}), "engine.type"),
        (json!({"shards": 65}), "shards"),
        (json!({"shards": -1}), "shards"),
        (
            json!({"broker": {"nats": {"raw_mode": {"channel_replacements": {"A": "1", "a": "2"}}}}}),
            "broker.nats.raw_mode.channel_replacements",
        ),
    ] {
        assert_eq!(refused(&file), [option], "{file}");
    }
}

#[test]
fn all_problems_are_told_at_once_and_without_secrets() {
    let file = json!({
        "http_server": {"port": "abc"},
        "client": {"token": {"hmac_secret_key": ["hush"]}, "pong_timeout": "x"},
        "http_api": {"key": {"hush": 1}},
        "uni_grpc": {"enabled": true, "tls": {"enabled": true, "cert_pem": ["hush"]}},
        "channel": {"namespaces": [{"name": "x"}]},
        "grpc_apy": {},
    });
    let Err(Error::Options(invalid)) = load(&file) else { panic!("accepted") };
    let options: Vec<&str> = invalid.problems.iter().map(|problem| problem.option.as_str()).collect();
    // The check of `ping_interval` against a default in place of `pong_timeout` would say nothing true.
    let expected = [
        "channel.namespaces[x].name",
        "client.pong_timeout",
        "client.token.hmac_secret_key",
        "http_api.key",
        "http_server.port",
        "uni_grpc.tls.cert_pem",
        "uni_grpc.tls.key_pem",
    ];
    assert_eq!(
        {
            let mut sorted = options;
            sorted.sort_unstable();
            sorted
        },
        expected
    );
    // Nor that there is no key.
    let warned: Vec<&str> = invalid.warnings.iter().map(|warning| warning.option.as_str()).collect();
    assert_eq!(warned, ["grpc_apy"]);
    let error = Error::Options(invalid).to_string();
    assert!(!error.contains("hush"), "{error}");
}

#[test]
fn unknown_options_are_told_with_what_was_perhaps_meant() {
    for (file, said) in [
        (json!({"client": {"alowed_origins": []}}), "did you mean `client.allowed_origins`?"),
        (json!({"clients": {}}), "did you mean `client`?"),
        (json!({"client": {"token": {"hmac_secret": "x"}}}), "client.token.hmac_secret"),
        (json!({"hmac_secret_key": "x"}), "no option has this name"),
        (json!({"jwks_public_endpoint": "x"}), "no option has this name"),
        (json!({"disable_query_key": true}), "did you mean `http_api.disable_query_key`?"),
        (
            json!({"client": {"token_hmac_secret_key": "x"}}),
            "since v6 it is called `client.token.hmac_secret_key`",
        ),
        (
            json!({"channel": {"namespaces": [{"name": "ab", "presense": true}]}}),
            "did you mean `channel.namespaces[ab].presence`?",
        ),
        (json!({"zzzzzzzzzzzz": 1}), "unknown: zzzzzzzzzzzz: no option has this name, ignored"),
    ] {
        let loaded = load(&file).unwrap();
        let unknown: Vec<_> =
            loaded.warnings.iter().filter(|warning| warning.level == Level::Unknown).collect();
        assert!(unknown.len() == 1 && unknown[0].to_string().contains(said), "{file}: {unknown:?}");
        assert_eq!(loaded.config, load(&strip(&file)).unwrap().config, "{file}");
    }
}

/// The file without what is unknown in it: its namespaces' names are all that is left.
fn strip(file: &Value) -> Value {
    match file.pointer("/channel/namespaces/0/name") {
        Some(name) => json!({"channel": {"namespaces": [{"name": name}]}}),
        None => json!({}),
    }
}

#[test]
fn a_new_configuration_is_valid_and_says_nothing() {
    let entropy = spinward::id::Entropy::seeded(7);
    for format in [Format::Json, Format::Yaml, Format::Toml] {
        let secrets = Secrets::draw(&entropy);
        let text = starter(format, &secrets);
        let loaded = load(&Value::Object(format.parse(&text).unwrap())).unwrap();
        assert!(loaded.warnings.is_empty(), "{format}: {:?}", loaded.warnings);
        assert_eq!(loaded.config.client.token.own.hmac_secret_key, secrets.token);
        assert_eq!(loaded.config.http_api.key, secrets.api);
        assert_eq!(secrets.token.expose().len(), 64);
    }
    let (one, two) = (Secrets::draw(&entropy), Secrets::draw(&entropy));
    assert_ne!(one.token, two.token);
    assert_ne!(one.token, one.api);
}

#[test]
fn pem_is_text_base64_or_a_file() {
    use base64::Engine as _;
    let text = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";
    let file = Scratch::new("key.pem", text);
    let path = file.0.to_str().unwrap().to_owned();
    let encoded = base64::engine::general_purpose::STANDARD.encode(text);
    // As `base64` and `echo` write it.
    let lines =
        encoded.as_bytes().chunks(76).map(|line| String::from_utf8_lossy(line) + "\n").collect::<String>();
    let echoed = format!("{path}\n");
    for given in [text, encoded.as_str(), path.as_str(), lines.as_str(), echoed.as_str()] {
        assert_eq!(pem::load(&Pem(Secret::from(given))).unwrap(), text.as_bytes(), "{given}");
    }
    let other = Scratch::new("key.txt", "hush");
    let other = other.0.to_str().unwrap().to_owned();
    for given in ["", "hush", "aHVzaA==", "/no/such/hush.pem", "-----BEGIN X-----\nhush", other.as_str()] {
        let error = pem::load(&Pem(Secret::from(given))).unwrap_err();
        assert!(!error.to_string().contains("hush") && !format!("{error:?}").contains("hush"), "{given}");
    }
}
