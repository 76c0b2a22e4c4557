//! Settings from outside the file: variables and flags.

use crate::{load_with, warned};
use serde_json::json;
use spinward_server::config::{Duration, Error, Level};

#[test]
fn variables_set_options() {
    let file = json!({"channel": {"namespaces": [{"name": "my-ns.x"}, {"name": "my"}]}});
    let vars = [
        ("CENTRIFUGO_HTTP_SERVER_PORT", "9001"),
        ("CENTRIFUGO_CLIENT_ALLOWED_ORIGINS", "https://a https://b"),
        ("SPINWARD_CLIENT_PING_INTERVAL", "1m30s"),
        ("SPINWARD_CLIENT_INSECURE", "t"),
        ("SPINWARD_CHANNEL_NAMESPACES_MY_NS_X_PRESENCE", "true"),
        ("CENTRIFUGO_CHANNEL_NAMESPACES_MY_MAP_MODE", "ephemeral"),
        ("CENTRIFUGO_CHANNEL_NAMESPACES_MY_MAP_KEY_TTL", "5s"),
        ("CENTRIFUGO_BROKER_NATS_RAW_MODE_CHANNEL_REPLACEMENTS", r#"{"A": "b"}"#),
    ];
    let config = load_with(&file, &vars, &[]).unwrap().config;
    assert_eq!(config.http_server.port, 9001);
    assert_eq!(config.client.allowed_origins, ["https://a", "https://b"]);
    assert_eq!(config.client.ping_interval, Duration::secs(90));
    assert!(config.client.insecure);
    assert!(config.channel.namespaces[0].options.presence);
    assert!(!config.channel.namespaces[1].options.presence);
    assert_eq!(config.channel.namespaces[1].options.map.mode, "ephemeral");
    assert_eq!(config.broker.options.nats.raw_mode.channel_replacements["a"], "b");
}

#[test]
fn lists_of_objects_are_json_and_can_be_changed_by_name() {
    let vars = [
        ("SPINWARD_CHANNEL_NAMESPACES", r#"[{"name": "chat", "presence": true}]"#),
        ("SPINWARD_CHANNEL_NAMESPACES_CHAT_JOIN_LEAVE", "1"),
        ("SPINWARD_PROXIES", r#"[{"name": "back", "endpoint": "http://a"}]"#),
        ("SPINWARD_PROXIES_BACK_ENDPOINT", "http://b"),
    ];
    let config = load_with(&json!({}), &vars, &[]).unwrap().config;
    let options = &config.channel.namespaces[0].options;
    assert!(options.presence && options.join_leave);
    assert_eq!(config.proxies[0].proxy.endpoint, "http://b");
}

#[test]
fn names_make_objects_for_the_variables_of_their_options() {
    let file = json!({"channel": {"namespaces": [{"name": "chat", "presence": true}]}});
    let vars = [
        ("CENTRIFUGO_CHANNEL_NAMESPACES", "  small chat "),
        ("CENTRIFUGO_CHANNEL_NAMESPACES_SMALL_HISTORY_SIZE", "2"),
        ("CENTRIFUGO_CHANNEL_NAMESPACES_SMALL_HISTORY_TTL", "300s"),
        ("SPINWARD_CHANNEL_NAMESPACES", "my-own"),
        ("SPINWARD_CHANNEL_NAMESPACES_MY_OWN_JOIN_LEAVE", "true"),
        ("CENTRIFUGO_RPC_NAMESPACES", "rpc1 rpc2"),
        ("CENTRIFUGO_PROXIES", "back"),
        ("CENTRIFUGO_PROXIES_BACK_ENDPOINT", "http://a"),
    ];
    let loaded = load_with(&file, &vars, &[]).unwrap();
    assert_eq!(warned(&loaded, Level::Unknown), [""; 0]);
    let config = loaded.config;
    let [chat, small, own] = &config.channel.namespaces[..] else {
        panic!("{:?}", config.channel.namespaces)
    };
    assert!((chat.name.as_str(), chat.options.presence) == ("chat", true));
    assert!((small.name.as_str(), small.options.history_size) == ("small", 2));
    assert_eq!(small.options.history_ttl, Duration::secs(300));
    assert!((own.name.as_str(), own.options.join_leave) == ("my-own", true));
    assert_eq!(config.rpc.namespaces.iter().map(|rpc| &rpc.name[..]).collect::<Vec<_>>(), ["rpc1", "rpc2"]);
    assert_eq!(config.proxies[0].proxy.endpoint, "http://a");
}

#[test]
fn the_order_is_file_centrifugo_spinward_flag() {
    let file = json!({"log": {"level": "warn"}});
    let both = [("CENTRIFUGO_LOG_LEVEL", "debug"), ("SPINWARD_LOG_LEVEL", "error")];
    for (vars, flags, level) in [
        (&both[..0], &[][..], "warn"),
        (&both[..1], &[], "debug"),
        (&both[..], &[], "error"),
        (&both[..], &[("log.level", "none")], "none"),
        (&[("SPINWARD_LOG_LEVEL", "")][..], &[], "warn"),
    ] {
        assert_eq!(load_with(&file, vars, flags).unwrap().config.log.level, level, "{vars:?} {flags:?}");
    }
}

#[test]
fn unknown_variables_are_told_and_kubernetes_is_not() {
    for (name, value, said) in [
        ("CENTRIFUGO_CLIENT_ALOWED_ORIGINS", "*", "did you mean CENTRIFUGO_CLIENT_ALLOWED_ORIGINS?"),
        ("CENTRIFUGO_TOKEN_HMAC_SECRET_KEY", "x", "it is called CENTRIFUGO_CLIENT_TOKEN_HMAC_SECRET_KEY"),
        ("SPINWARD_SECRET", "x", "it is called SPINWARD_CLIENT_TOKEN_HMAC_SECRET_KEY"),
        ("SPINWARD_SOMETHING_ELSE_ENTIRELY", "x", "no option has this variable"),
        ("SPINWARD_CHANNEL_NAMESPACES_NONE_PRESENCE", "true", "no option has this variable"),
        // Names of ours that look like those of Kubernetes, and the other way round.
        ("CENTRIFUGO_PORT", "9123", "it is called CENTRIFUGO_HTTP_SERVER_PORT"),
        ("SPINWARD_INTERNAL_PORT", "9124", "it is called SPINWARD_HTTP_SERVER_INTERNAL_PORT"),
        ("CENTRIFUGO_GRPC_API_TLS", "true", "it is called CENTRIFUGO_GRPC_API_TLS_ENABLED"),
        ("CENTRIFUGO_TLS", "true", "it is called CENTRIFUGO_HTTP_SERVER_TLS_ENABLED"),
        ("CENTRIFUGO_ENGINE", "redis", "it is called CENTRIFUGO_ENGINE_TYPE"),
        ("CENTRIFUGO_NAME", "n", "it is called CENTRIFUGO_NODE_NAME"),
        ("CENTRIFUGO_ANONYMOUS", "1", "CENTRIFUGO_CHANNEL_WITHOUT_NAMESPACE_ALLOW_SUBSCRIBE_FOR_ANONYMOUS"),
        ("CENTRIFUGO_NATS_TLS_CERT_PEM_FILE", "x", "it is called CENTRIFUGO_BROKER_NATS_TLS_CERT_PEM"),
        ("CENTRIFUGO_CONSUMERS_KAFKA_MY_BROKERS", "x", "it is called CENTRIFUGO_CONSUMERS_MY_KAFKA_BROKERS"),
        ("CENTRIFUGO_SOCKJS", "true", "it is called CENTRIFUGO_SOCKJS_ENABLED"),
        ("CENTRIFUGO_TOKEN_SECRET", "x", "did you mean CENTRIFUGO_CLIENT_TOKEN_HMAC_SECRET_KEY?"),
        ("CENTRIFUGO_REDIS_PORT", "tcp://10.0.0.1:6379", ""),
        ("CENTRIFUGO_PORT", "tcp://10.0.0.1:8000", ""),
        ("CENTRIFUGO_PORT_8000_TCP_ADDR", "10.0.0.1", ""),
        ("CENTRIFUGO_SERVICE_HOST", "10.0.0.1", ""),
        ("CENTRIFUGO_EXTERNAL_SERVICE_PORT_HTTP", "8000", ""),
        ("SPINWARD_SERVICE_PORT", "8000", ""),
        ("CENTRIFUGO_VAR_ANYTHING", "x", ""),
        ("CENTRIFUGO_CLIENT_TOKEN_HMAC_SECRET_KEY", "", ""),
        ("HOME", "/root", ""),
    ] {
        let loaded = load_with(&json!({}), &[(name, value)], &[]).unwrap();
        let texts: Vec<String> = loaded
            .warnings
            .iter()
            .filter(|warning| warning.level == Level::Unknown)
            .map(ToString::to_string)
            .collect();
        if said.is_empty() {
            assert!(texts.is_empty(), "{name}: {texts:?}");
        } else {
            assert!(
                texts.len() == 1 && texts[0].contains(said) && texts[0].contains(name),
                "{name}: {texts:?}"
            );
        }
    }
}

#[test]
fn a_list_with_commas_or_quotes_is_not_taken_in_silence() {
    for text in [
        "https://a.example,https://b.example",
        "\"https://a.example\"",
        "'https://a.example'",
        "[\"https://a.example\"]",
    ] {
        match load_with(&json!({}), &[("SPINWARD_CLIENT_ALLOWED_ORIGINS", text)], &[]) {
            Err(Error::Options(invalid)) => {
                assert_eq!(invalid.problems[0].option, "client.allowed_origins[0]", "{text}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
    let vars = [("SPINWARD_CHANNEL_PROXY_SUBSCRIBE_HTTP_HEADERS", "Cookie,X-User")];
    let loaded = load_with(&json!({}), &vars, &[]).unwrap();
    assert!(loaded.warnings.iter().any(|warning| warning.text.contains("separated by spaces")));
    let open = [("SPINWARD_CLIENT_ALLOWED_ORIGINS", "https://*.a.example {https://b,https://c}.example")];
    assert!(load_with(&json!({}), &open, &[]).is_ok());
}

#[test]
fn old_variables_open_nothing() {
    let vars = [
        ("CENTRIFUGO_SECRET", "secret"),
        ("CENTRIFUGO_ANONYMOUS", "true"),
        ("CENTRIFUGO_CLIENT_ANONYMOUS", "true"),
    ];
    let config = load_with(&json!({}), &vars, &[]).unwrap().config;
    assert_eq!(config, Default::default());
}

#[test]
fn a_service_called_like_an_option_does_no_harm() {
    let vars = [("CENTRIFUGO_HTTP_SERVER_PORT", "tcp://10.0.0.1:8000")];
    let loaded = load_with(&json!({}), &vars, &[]).unwrap();
    assert_eq!(loaded.config.http_server.port, 8000);
    assert_eq!(warned(&loaded, Level::Note)[0], "CENTRIFUGO_HTTP_SERVER_PORT");
}

#[test]
fn wrong_values_name_option_and_variable() {
    for (name, value, said) in [
        ("SPINWARD_HTTP_SERVER_PORT", "abc", "http_server.port (SPINWARD_HTTP_SERVER_PORT)"),
        ("SPINWARD_HTTP_SERVER_PORT", "70000", "not between 0 and 65535"),
        ("SPINWARD_CLIENT_PING_INTERVAL", "5", "a unit is missing"),
        ("SPINWARD_CLIENT_INSECURE", "maybe", "client.insecure"),
        ("SPINWARD_CHANNEL_NAMESPACES", "[{", "this is not JSON"),
        ("SPINWARD_CHANNEL_NAMESPACES", r#"{"name": "ab"}"#, "expected a list of objects"),
        ("SPINWARD_CHANNEL_NAMESPACES", "chat,news", "chat,news"),
        ("SPINWARD_CHANNEL_NAMESPACES", r#"[{"name": "ab", "presence": "x"}]"#, "[ab].presence"),
        ("SPINWARD_ENGINE_TYPE", "loud", r#""loud" is not one of "memory""#),
    ] {
        let error = load_with(&json!({}), &[(name, value)], &[]).unwrap_err().to_string();
        assert!(error.contains(said), "{name}={value}: {error}");
    }
    let error = load_with(&json!({}), &[], &[("http_server.port", "x")]).unwrap_err().to_string();
    assert!(error.contains("http_server.port (flag)"), "{error}");
}

#[test]
fn references_are_replaced() {
    let vars = [("CENTRIFUGO_VAR_A", "one"), ("SPINWARD_VAR_B", "two"), ("HOME", "/root")];
    for (text, expected) in [
        ("${CENTRIFUGO_VAR_A}", "one"),
        ("x-${CENTRIFUGO_VAR_A}-${SPINWARD_VAR_B}-y", "x-one-two-y"),
        ("${HOME}", "${HOME}"),
        ("$CENTRIFUGO_VAR_A", "$CENTRIFUGO_VAR_A"),
        ("${CENTRIFUGO_VAR_A", "${CENTRIFUGO_VAR_A"),
        ("a${CENTRIFUGO_VAR_A}${", "aone${"),
        ("plain", "plain"),
    ] {
        let file = json!({
            "http_api": {"key": text},
            "client": {"allowed_origins": ["*", format!("https://{text}")]},
            "proxies": [{"name": "pp", "endpoint": "http://h", "http": {"static_headers": {"X": text}}}],
        });
        // Braces that are left make no glob: the key and the header are what is looked at then.
        let file = if expected.contains('{') { json!({"http_api": {"key": text}}) } else { file };
        let config = load_with(&file, &vars, &[]).unwrap().config;
        assert_eq!(config.http_api.key.expose(), expected);
        if let Some(proxy) = config.proxies.first() {
            assert_eq!(proxy.proxy.http.static_headers["x"].expose(), expected);
            assert_eq!(config.client.allowed_origins[1], format!("https://{expected}"));
        }
    }
    let file = json!({"client": {"token": {"hmac_secret_key": "${SPINWARD_VAR_NONE}"}}});
    let Err(Error::Options(invalid)) = load_with(&file, &vars, &[]) else { panic!("accepted") };
    let problems = invalid.problems;
    assert_eq!(problems[0].option, "client.token.hmac_secret_key");
    assert!(problems[0].reason.contains("SPINWARD_VAR_NONE"));
}
