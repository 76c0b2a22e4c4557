//! Files of older versions: what they become, what they open, and what is refused.

use crate::{KEY, load, refused, warned};
use serde_json::{Value, json};
use spinward_server::config::typed::ChannelOptions;
use spinward_server::config::{Error, Level};

/// Returns the open parts of a configuration, as one word for each endpoint.
fn openings(file: &Value) -> Vec<String> {
    let config = load(file).unwrap_or_else(|error| panic!("{file}: {error}")).config;
    let mut open = Vec::new();
    if config.client.allowed_origins.iter().any(|origin| origin == "*") {
        open.push("origins".to_owned());
    }
    if config.client.allow_anonymous_connect_without_token {
        open.push("no-token".to_owned());
    }
    if config.client.insecure || config.http_api.insecure || config.admin.insecure {
        open.push("insecure".to_owned());
    }
    let mut scope = |name: &str, options: &ChannelOptions| {
        for (opening, is_open) in [
            ("sub", options.allow_subscribe_for_client),
            ("anon", options.allow_subscribe_for_anonymous),
            ("pub", options.allow_publish_for_client),
            ("subpub", options.allow_publish_for_subscriber),
            ("pres", options.allow_presence_for_client || options.allow_presence_for_subscriber),
            ("hist", options.allow_history_for_client || options.allow_history_for_subscriber),
            ("users", options.allow_user_limited_channels),
        ] {
            if is_open {
                open.push(format!("{name}{opening}"));
            }
        }
    };
    scope("", &config.channel.without_namespace);
    for namespace in &config.channel.namespaces {
        scope(&format!("{}:", namespace.name), &namespace.options);
    }
    open
}

#[test]
fn what_each_file_opens() {
    let rows: &[(Value, &[&str])] = &[
        // The page that everybody starts from.
        (json!({"secret": "secret"}), &["origins", "sub", "users"]),
        (json!({"secret": "secret", "anonymous": true}), &["origins", "sub", "anon", "users"]),
        (json!({"secret": "secret", "anonymous": false}), &["origins", "sub", "users"]),
        // v3 had `anonymous` too, and admitted no origin by itself: the file may be of either, and opens nothing more.
        (json!({"anonymous": true}), &["anon"]),
        (json!({"token_hmac_secret_key": "s", "anonymous": true}), &["anon"]),
        // Names are read whatever their case, null is not there.
        (json!({"SECRET": "secret"}), &["origins", "sub", "users"]),
        (json!({"secret": null}), &[]),
        (json!({"secret": null, "client": {}}), &[]),
        // Keys that several eras share open nothing.
        (json!({}), &[]),
        (json!({"token_hmac_secret_key": "secret"}), &[]),
        (json!({"token_hmac_secret_key": "secret", "api_key": "k", "port": 9000, "admin": true}), &[]),
        (json!({"namespaces": [{"name": "ns", "presence": true, "join_leave": true}]}), &[]),
        (json!({"history_size": 10, "history_ttl": "60s", "presence": true}), &[]),
        (json!({"client_channel_limit": 5, "engine": "memory", "log_level": "debug"}), &[]),
        // What is said in so many words is kept, and nothing beyond it.
        (json!({"client_anonymous": true}), &["no-token"]),
        (json!({"client_insecure": true}), &["insecure"]),
        (json!({"token_hmac_secret_key": "s", "publish": true}), &["pub"]),
        (json!({"publish": true, "subscribe_to_publish": true}), &["subpub"]),
        // v1 let subscribers alone publish.
        (json!({"publish": true}), &["subpub"]),
        (json!({"secret": "s", "watch": true, "publish": true}), &["origins", "sub", "subpub", "users"]),
        (
            json!({"secret": "s", "client_anonymous": true, "publish": true}),
            &["origins", "no-token", "sub", "pub", "users"],
        ),
        (json!({"subscribe_to_publish": true}), &[]),
        (json!({"publish": "false"}), &[]),
        (json!({"allowed_origins": ["*"]}), &["origins"]),
        (json!({"allow_subscribe_for_client": true}), &["sub"]),
        // Of v3, which was open too, nothing is opened: its keys do not say it.
        (json!({"protected": false}), &[]),
        (json!({"recover": true, "history_size": 1, "history_ttl": "60s"}), &[]),
        // Origins of a file of v2.
        (json!({"secret": "s", "allowed_origins": []}), &["sub", "users"]),
        (json!({"secret": "s", "allowed_origins": ["https://a"]}), &["sub", "users"]),
        // Namespaces: each for itself.
        (
            json!({"secret": "s", "namespaces": [
                {"name": "aa"}, {"name": "bb", "anonymous": true}, {"name": "cc", "server_side": true},
                {"name": "dd", "server_side": true, "anonymous": true},
            ]}),
            &["origins", "sub", "users", "aa:sub", "aa:users", "bb:sub", "bb:anon", "bb:users"],
        ),
        (json!({"secret": "s", "server_side": true}), &["origins"]),
        (json!({"namespaces": [{"name": "aa", "anonymous": true}]}), &["aa:anon"]),
        (
            json!({"secret": "s", "anonymous": true, "namespaces": [{"name": "aa"}]}),
            &["origins", "sub", "anon", "users", "aa:sub", "aa:users"],
        ),
        // Presence and history, where they were on.
        (json!({"secret": "s", "presence": true}), &["origins", "sub", "pres", "users"]),
        (
            json!({"secret": "s", "presence": true, "presence_disable_for_client": true}),
            &["origins", "sub", "users"],
        ),
        (
            json!({"secret": "s", "history_size": 5, "history_lifetime": 60}),
            &["origins", "sub", "hist", "users"],
        ),
        (
            json!({"secret": "s", "history_size": 5, "history_lifetime": 60, "history_disable_for_client": true}),
            &["origins", "sub", "users"],
        ),
        // A file of v6 is what it says.
        (json!({"client": {"token": {"hmac_secret_key": "secret"}}}), &[]),
        (json!({"channel": {"without_namespace": {"allow_subscribe_for_client": true}}}), &["sub"]),
    ];
    for (file, expected) in rows {
        assert_eq!(openings(file), *expected, "{file}");
    }
}

#[test]
fn what_opens_is_told_with_the_line_to_write() {
    let loaded = load(&json!({"secret": KEY, "anonymous": true, "namespaces": [{"name": "chat"}]})).unwrap();
    let said: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    for line in [
        r#""client": {"allowed_origins": ["*"]}"#,
        r#""channel": {"without_namespace": {"allow_subscribe_for_client": true}}"#,
        r#""channel": {"without_namespace": {"allow_subscribe_for_anonymous": true}}"#,
        r#""channel": {"without_namespace": {"allow_user_limited_channels": true}}"#,
        r#""channel": {"namespaces": [{"name": "chat", "allow_subscribe_for_client": true}]}"#,
        "secret: an old name: since v6 it is called `client.token.hmac_secret_key`",
    ] {
        assert!(said.iter().any(|said| said.contains(line)), "{line}: {said:#?}");
    }
    assert!(said.iter().all(|said| !said.contains(KEY)));
    let open = warned(&loaded, Level::Insecure);
    assert_eq!(open.len(), 4, "{open:?}");
}

#[test]
fn the_form_that_checkconfig_prints_means_the_same() {
    for file in [
        json!({"secret": KEY, "anonymous": true}),
        json!({"secret": KEY, "namespaces": [{"name": "ab", "publish": true, "join_leave": true, "presence": true}]}),
        json!({"token_hmac_secret_key": KEY, "redis_address": "redis://a:1", "proxy_rpc_endpoint": "http://h"}),
        json!({"secret": KEY, "redis_host": "h", "redis_port": 1, "tls_autocert_email": "a@b", "history_size": 1, "history_lifetime": 5}),
    ] {
        let old = load(&file).unwrap();
        assert!(old.translated);
        let new = load(&Value::Object(old.file)).unwrap();
        assert!(!new.translated, "{file}");
        assert_eq!(new.config, old.config, "{file}");
    }
}

#[test]
fn mixes_are_refused_by_both_names() {
    for (file, one, other) in [
        (json!({"secret": "s", "client": {"allowed_origins": ["*"]}}), "secret", "client"),
        (json!({"secret": "s", "channel": {}}), "secret", "channel"),
        (json!({"anonymous": true, "http_api": {"key": "k"}}), "anonymous", "http_api"),
        (json!({"anonymous": true, "admin": {"enabled": true}}), "anonymous", "admin"),
        (json!({"secret": "s", "allow_subscribe_for_client": true}), "secret", "allow_subscribe_for_client"),
        (json!({"secret": "s", "ping_interval": "25s"}), "secret", "ping_interval"),
        (json!({"secret": "s", "redis_address": "x"}), "secret", "redis_address"),
        (json!({"secret": "s", "token_audience": "x"}), "secret", "token_audience"),
        (json!({"secret": "s", "uni_sse": true}), "secret", "uni_sse"),
        (json!({"history_lifetime": 5, "history_ttl": "5s"}), "history_lifetime", "history_ttl"),
        (json!({"server_side": true, "protected": true}), "server_side", "protected"),
        (
            json!({"protected": true, "allow_history_for_client": true}),
            "protected",
            "allow_history_for_client",
        ),
        (json!({"token_hmac_secret_key": "s", "client": {}}), "token_hmac_secret_key", "client"),
        (
            json!({"namespaces": [{"name": "ab", "anonymous": true, "force_recovery": true}]}),
            "namespaces[ab].anonymous",
            "namespaces[ab].force_recovery",
        ),
        (
            json!({"channel": {"without_namespace": {"anonymous": true}}}),
            "channel.without_namespace.anonymous",
            "channel",
        ),
        (
            json!({"channel": {"namespaces": [{"name": "ab", "publish": true}]}}),
            "channel.namespaces[ab].publish",
            "channel",
        ),
        (
            json!({"secret": "s", "namespaces": [{"name": "ab", "allow_subscribe_for_client": true}]}),
            "secret",
            "namespaces[ab].allow_subscribe_for_client",
        ),
    ] {
        match load(&file) {
            Err(Error::Eras(clashes)) => {
                let mut keys: Vec<&str> = clashes.iter().map(|clash| clash.key.as_str()).collect();
                let mut both = [one, other];
                keys.sort_unstable();
                both.sort_unstable();
                assert_eq!(keys, both, "{file}");
            }
            Err(error) => panic!("{file}: {error}"),
            Ok(_) => panic!("{file} is accepted"),
        }
    }
    let error = load(&json!({"secret": "hush", "client": {}})).unwrap_err().to_string();
    assert!(error.contains("`secret`") && error.contains("`client`"), "{error}");
    assert!(error.contains("`client.token.hmac_secret_key`") && !error.contains("hush"), "{error}");
}

#[test]
fn options_of_any_version_mix_with_all() {
    for file in [
        json!({"secret": "s", "pid_file": "/x", "shards": 2}),
        json!({"token_hmac_secret_key": "s", "shards": 2, "consumers": []}),
        json!({"client": {}, "pid_file": "/x"}),
    ] {
        assert!(refused(&file).is_empty(), "{file}");
    }
}

#[test]
fn old_keys_find_their_place() {
    for (file, pointer, expected) in [
        (json!({"token_hmac_secret_key": "s"}), "/client/token/hmac_secret_key", json!("s")),
        (json!({"api_key": "k"}), "/http_api/key", json!("k")),
        (json!({"port": 9000}), "/http_server/port", json!(9000)),
        (json!({"admin": true}), "/admin/enabled", json!(true)),
        (json!({"engine": "memory"}), "/engine/type", json!("memory")),
        (json!({"name": "node1"}), "/node/name", json!("node1")),
        (json!({"ping_interval": "20s"}), "/client/ping_interval", json!("20s")),
        (json!({"presence": true}), "/channel/without_namespace/presence", json!(true)),
        (json!({"tls": false}), "/http_server/tls/enabled", json!(false)),
        (json!({"tls_cert": "x"}), "/http_server/tls/cert_pem", json!("x")),
        (json!({"redis_tls_root_ca_pem": "x"}), "/engine/redis/tls/server_ca_pem", json!("x")),
        (
            json!({"redis_sentinel_tls_server_name": "x"}),
            "/engine/redis/sentinel_tls/server_name",
            json!("x"),
        ),
        (json!({"grpc_api_tls_key": "x"}), "/grpc_api/tls/key_pem", json!("x")),
        (json!({"nats_raw_mode": {"prefix": "x"}}), "/broker/nats/raw_mode/prefix", json!("x")),
        (json!({"proxy_connect_endpoint": "http://h"}), "/client/proxy/connect/enabled", json!(true)),
        (json!({"proxy_connect_endpoint": ""}), "/client/proxy/connect/enabled", Value::Null),
        (json!({"proxy_rpc_endpoint": "http://h"}), "/rpc/without_namespace/proxy_enabled", json!(true)),
        (
            json!({"proxy_rpc_endpoint": "http://h", "proxy_http_headers": ["Cookie"]}),
            "/rpc/proxy/http_headers",
            json!(["Cookie"]),
        ),
        (
            json!({"proxy_rpc_endpoint": "http://h", "proxy_http_headers": ["Cookie"]}),
            "/client/proxy",
            Value::Null,
        ),
        // Of v2: seconds, commas, host and port, lists instead of streams.
        (
            json!({"secret": "s", "client_expired_close_delay": 10}),
            "/client/expired_close_delay",
            json!("10s"),
        ),
        (
            json!({"secret": "s", "proxy_connect_timeout": 0.5}),
            "/client/proxy/connect/timeout",
            json!("500ms"),
        ),
        (json!({"client_expired_close_delay": 10}), "/client/expired_close_delay", json!("10s")),
        (json!({"client_presence_ping_interval": 25}), "/client/presence_update_interval", json!("25s")),
        (json!({"client_ping_interval": 30}), "/client/ping_interval", json!("30s")),
        (
            json!({"history_size": 1, "history_lifetime": 300}),
            "/channel/without_namespace/history_ttl",
            json!("5m0s"),
        ),
        (json!({"redis_sentinels": "a:1,b:2"}), "/engine/redis/sentinel_address", json!(["a:1", "b:2"])),
        (json!({"redis_host": "h", "redis_port": "1"}), "/engine/redis/address", json!(["redis://h:1"])),
        (json!({"redis_streams": false}), "/engine/redis/history_use_lists", json!(true)),
        (json!({"sockjs": false}), "/sockjs/enabled", json!(false)),
        (json!({"secret": "s", "sockjs_disable": true}), "/sockjs/enabled", json!(false)),
        (json!({"secret": "s", "sockjs_heartbeat_delay": 15}), "/sockjs/heartbeat_delay", json!("15s")),
        (json!({"sockjs_url": "https://x/s.js"}), "/sockjs/url", json!("https://x/s.js")),
        (json!({"memory_history_meta_ttl": 0}), "/channel/history_meta_ttl", Value::Null),
        (
            json!({"secret": "s", "join_leave": true}),
            "/channel/without_namespace/force_push_join_leave",
            json!(true),
        ),
        (json!({"join_leave": true}), "/channel/without_namespace/force_push_join_leave", Value::Null),
        (
            json!({"protected": true, "join_leave": true}),
            "/channel/without_namespace/force_push_join_leave",
            json!(true),
        ),
        (json!({"secret": "s", "token_hmac_secret_key": "s"}), "/client/token/hmac_secret_key", json!("s")),
    ] {
        let loaded = load(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
        let file_v6 = Value::Object(loaded.file.clone());
        assert_eq!(file_v6.pointer(pointer).unwrap_or(&Value::Null), &expected, "{file}: {file_v6}");
        assert!(warned(&loaded, Level::Unknown).is_empty(), "{file}: {:?}", loaded.warnings);
    }
}

#[test]
fn old_keys_that_cannot_be_translated_are_refused() {
    for (file, option) in [
        (json!({"secret": "a", "token_hmac_secret_key": "b"}), "token_hmac_secret_key"),
        (json!({"granular_proxy_mode": true, "connect_proxy_name": "backend"}), "connect_proxy_name"),
        (
            json!({"granular_proxy_mode": true, "rpc_proxy_name": "backend"}),
            "rpc.without_namespace.proxy_name",
        ),
        // v3 and later do not start with a bare number.
        (json!({"protected": true, "client_expired_close_delay": 10}), "client_expired_close_delay"),
        (json!({"secret": "s", "client_expired_close_delay": -1}), "client_expired_close_delay"),
        (json!({"engine": "tarantool"}), "engine.type"),
        (json!({"broker": "tarantool"}), "broker.type"),
        (json!({"tls": true}), "http_server.tls.cert_pem"),
        (json!({"ssl": true, "ssl_cert": "c"}), "http_server.tls.key_pem"),
    ] {
        assert!(refused(&file).iter().any(|refused| refused == option), "{file}: {:?}", refused(&file));
    }
    let error =
        load(&json!({"secret": "hush-a", "token_hmac_secret_key": "hush-b"})).unwrap_err().to_string();
    assert!(error.contains("`secret`") && !error.contains("hush"), "{error}");
}

#[test]
fn proxies_by_name_are_those_of_v6() {
    let file = json!({
        "granular_proxy_mode": true,
        "proxies": [
            {"name": "first", "endpoint": "http://h/first", "timeout": "3s", "http_headers": ["Cookie"]},
            {"name": "second", "endpoint": "grpc://h:1", "grpc_compression": true},
        ],
        "connect_proxy_name": "first",
        "refresh_proxy_name": "second",
        "rpc_proxy_name": "second",
        "rpc_namespaces": [{"name": "math", "rpc_proxy_name": "first"}, {"name": "none"}],
        "proxy_connect_endpoint": "http://ignored",
        "proxy_connect_timeout": "9s",
        "proxy_http_headers": ["X-Ignored"],
    });
    let loaded = load(&file).unwrap();
    let config = &loaded.config;
    let (connect, refresh) = (&config.client.proxy.connect, &config.client.proxy.refresh);
    assert!(connect.enabled && refresh.enabled);
    assert_eq!(
        (connect.proxy.endpoint.as_str(), connect.proxy.timeout.to_string().as_str()),
        ("http://h/first", "3s")
    );
    assert_eq!(connect.proxy.http_headers, ["Cookie"]);
    assert!(refresh.proxy.endpoint == "grpc://h:1" && refresh.proxy.grpc.compression);
    assert!(config.rpc.without_namespace.proxy_enabled);
    assert_eq!(config.rpc.without_namespace.proxy_name, "second");
    let namespaces: Vec<_> = config
        .rpc
        .namespaces
        .iter()
        .map(|namespace| (namespace.options.proxy_enabled, namespace.options.proxy_name.as_str()))
        .collect();
    assert_eq!(namespaces, [(true, "first"), (false, "default")]);
    assert_eq!(config.rpc.proxy.endpoint, "", "the proxy without a name is not used");
    assert!(warned(&loaded, Level::Unknown).is_empty(), "{:?}", loaded.warnings);
    // Channels name theirs.
    let file = json!({
        "granular_proxy_mode": true,
        "proxies": [{"name": "first", "endpoint": "http://h"}],
        "namespaces": [{"name": "chat", "subscribe_proxy_name": "first"}],
    });
    let chat = &load(&file).unwrap().config.channel.namespaces[0].options;
    assert!(chat.subscribe_proxy_enabled && chat.subscribe_proxy_name == "first");
}

#[test]
fn defaults_that_changed_are_told_where_the_file_relied_on_them() {
    let told = |file: &Value| {
        let texts: Vec<String> = load(file).unwrap().warnings.iter().map(ToString::to_string).collect();
        texts.join(" | ")
    };
    let v2 = told(&json!({"secret": "s"}));
    assert!(v2.contains("client.queue_max_size") && v2.contains("client.stale_close_delay"), "{v2}");
    assert!(
        v2.contains("client.presence_update_interval") && !v2.contains("websocket.write_timeout"),
        "{v2}"
    );
    let v2 = told(&json!({"secret": "s", "client_queue_max_size": 5, "client_stale_close_delay": 5}));
    assert!(!v2.contains("10485760") && !v2.contains("client.stale_close_delay: is not set"), "{v2}");
    // It may be of v5, whose defaults are those of v6.
    let any = told(&json!({"token_hmac_secret_key": "s"}));
    assert!(!any.contains("the default was"), "{any}");
}

/// No shared key opens a channel or an origin: not alone, not with another, not with all others.
#[test]
fn no_set_of_shared_keys_opens_anything() {
    let shared = [
        ("token_hmac_secret_key", json!("secret")),
        ("namespaces", json!([{"name": "ns", "presence": true, "history_size": 1}])),
        ("presence", json!(true)),
        ("join_leave", json!(true)),
        ("api_key", json!("k")),
        ("engine", json!("memory")),
        ("user_subscribe_to_personal", json!(false)),
        ("client_channel_limit", json!(10)),
        ("presence_disable_for_client", json!(false)),
        ("channel_private_prefix", json!("")),
    ];
    let all = (1_u32 << shared.len()) - 1;
    for mask in (0..=all).filter(|mask| mask.count_ones() <= 2 || *mask == all) {
        let picked = shared.iter().enumerate().filter(|(index, _)| mask >> index & 1 == 1);
        let mut file: Value = picked.map(|(_, (name, value))| ((*name).to_owned(), value.clone())).collect();
        if let Some(namespace) = file.pointer_mut("/namespaces/0") {
            namespace["history_ttl"] = json!("60s");
        }
        assert_eq!(openings(&file), Vec::<String>::new(), "{file}");
    }
}

/// One run is enough to see everything that has to change.
#[test]
fn all_conflicting_keys_are_named_with_their_form_in_v6() {
    let file = json!({
        "client": {}, "port": 8000, "admin_password": "x", "allowed_origins": ["*"], "api_key": "x",
        "token_hmac_secret_key": "x",
    });
    let error = load(&file).unwrap_err().to_string();
    for line in [
        "`client` (v6 and later)",
        "`port` (v1.8 to v5.4): since v6 it is called `http_server.port`",
        "`admin_password` (v1.8 to v5.4): since v6 it is called `admin.password`",
        "`allowed_origins` (v2.8 to v5.4): since v6 it is called `client.allowed_origins`",
        "`api_key` (v2.0 to v5.4): since v6 it is called `http_api.key`",
        "`token_hmac_secret_key` (v2.3 to v5.4): since v6 it is called `client.token.hmac_secret_key`",
    ] {
        assert!(error.contains(line), "{line}: {error}");
    }
    // Any two of these three had a version in common, all three had none.
    let error =
        load(&json!({"api_key": "x", "recover": true, "history_lifetime": 5})).unwrap_err().to_string();
    for key in
        ["`api_key` (v2.0 to v5.4)", "`recover` (v1.8 and v3.0 to v3.2)", "`history_lifetime` (v1.8 to v2.8)"]
    {
        assert!(error.contains(key), "{key}: {error}");
    }
    let error = load(&json!({"allow_subscribe_for_client": true, "publish": true})).unwrap_err().to_string();
    assert!(error.contains("`channel.without_namespace.allow_publish_for_client`"), "{error}");
}

/// Naming a proxy used it. Without its switch, clients would get in unasked.
#[test]
fn a_named_proxy_is_not_forgotten() {
    let file = json!({
        "allow_subscribe_for_client": true, "subscribe_proxy_name": "back",
        "proxies": [{"name": "back", "endpoint": "http://h"}],
    });
    let options = &load(&file).unwrap().config.channel.without_namespace;
    assert!(options.subscribe_proxy_enabled && options.subscribe_proxy_name == "back");
}
