//! Rules between options, and warnings about open access.

use crate::{KEY, load, refused, warned};
use serde_json::{Value, json};
use spinward_server::config::Level;

/// A file with one namespace that has these options.
fn namespace(mut options: Value) -> Value {
    options["name"] = json!("ns");
    json!({"channel": {"namespaces": [options]}})
}

#[test]
fn options_that_go_together() {
    for (file, option) in [
        (json!({"client": {"ping_interval": "5s", "pong_timeout": "5s"}}), "client.pong_timeout"),
        (json!({"client": {"ping_interval": "1s", "pong_timeout": "2s"}}), "client.pong_timeout"),
        (
            json!({"client": {"rate_limit": {"client_command": {"enabled": true, "publish": {"enabled": true}}}}}),
            "client.rate_limit.client_command.publish.buckets",
        ),
        (
            json!({"client": {"rate_limit": {"user_command": {"enabled": true, "connect": {"enabled": true}}}}}),
            "client.rate_limit.user_command.connect.buckets",
        ),
        (
            json!({"client": {"rate_limit": {"client_error": {"enabled": true, "total": {"enabled": true}}}}}),
            "client.rate_limit.client_error.total.buckets",
        ),
        (
            json!({"client": {"rate_limit": {"client_command": {"enabled": true, "rpc": {
                "method_overrides": [{"method": "a"}, {"method": "a"}],
            }}}}}),
            "client.rate_limit.client_command.rpc.method_overrides[1].method",
        ),
        (
            json!({"client": {"rate_limit": {"user_command": {"enabled": true, "rpc": {
                "method_overrides": [{"method": "a", "enabled": true}],
            }}}}}),
            "client.rate_limit.user_command.rpc.method_overrides[0].buckets",
        ),
        (
            json!({"client": {"rate_limit": {"client_command": {"enabled": true, "publish": {
                "namespace_overrides": [{"namespace": "chat"}],
            }}}}}),
            "client.rate_limit.client_command.publish.namespace_overrides[0].namespace",
        ),
        (
            json!({
                "channel": {"namespaces": [{"name": "chat"}]},
                "client": {"rate_limit": {"user_command": {"enabled": true, "history": {
                    "namespace_overrides": [{"namespace": "chat"}, {"namespace": "chat"}],
                }}}},
            }),
            "client.rate_limit.user_command.history.namespace_overrides[1].namespace",
        ),
        (
            json!({
                "channel": {"namespaces": [{"name": "chat"}]},
                "client": {"rate_limit": {"user_command": {"enabled": true, "history": {
                    "namespace_overrides": [{"namespace": "chat", "enabled": true}],
                }}}},
            }),
            "client.rate_limit.user_command.history.namespace_overrides[0].buckets",
        ),
        (
            json!({"shutdown": {"timeout": "30s", "drain_notice": "10s", "drain_duration": "20s"}}),
            "shutdown.timeout",
        ),
        (
            json!({"client": {"rate_limit": {"received_bytes": {"enabled": true, "buckets": [{"rate": 0}]}}}}),
            "client.rate_limit.received_bytes.buckets[0].rate",
        ),
        (
            json!({"client": {"token": {"audience": "a", "audience_regex": "b"}}}),
            "client.token.audience_regex",
        ),
        (json!({"client": {"token": {"issuer": "a", "issuer_regex": "b"}}}), "client.token.issuer_regex"),
        (json!({"client": {"token": {"issuer_regex": "("}}}), "client.token.issuer_regex"),
        (
            json!({"client": {"subscription_token": {"audience_regex": "["}}}),
            "client.subscription_token.audience_regex",
        ),
        (json!({"client": {"token": {"user_id_claim": "a1"}}}), "client.token.user_id_claim"),
        (json!({"client": {"token": {"user_id_claim": "a..b"}}}), "client.token.user_id_claim"),
        (json!({"client": {"token": {"keys": [{"type": "hmac"}]}}}), "client.token.keys[0].key"),
        (json!({"client": {"token": {"keys": [{"key": KEY}]}}}), "client.token.keys[0].type"),
        (
            json!({"client": {"token": {"keys": [{"type": "hmac", "key": KEY, "valid_from": 9, "valid_until": 8}]}}}),
            "client.token.keys[0].valid_until",
        ),
        (json!({"client": {"token": {"issuers": [{"name": "one"}]}}}), "client.token.issuers[one].issuer"),
        (
            json!({"client": {"subscription_token": {"issuers": [{"issuer": "a", "jwks_ttl": "1500ms"}]}}}),
            "client.subscription_token.issuers[0].jwks_ttl",
        ),
        (json!({"client": {"token": {"leeway": "1500ms"}}}), "client.token.leeway"),
        (
            json!({"client": {"token": {"hmac_previous_secret_key_valid_until": -1}}}),
            "client.token.hmac_previous_secret_key_valid_until",
        ),
        (json!({"client": {"allowed_origins": ["https://ok", "[a"]}}), "client.allowed_origins[1]"),
        (json!({"client": {"allowed_origins": ["{a"]}}), "client.allowed_origins[0]"),
        (json!({"client": {"allowed_origins": [""]}}), "client.allowed_origins[0]"),
        (json!({"client": {"allowed_origins": ["https://a https://b"]}}), "client.allowed_origins[0]"),
        (
            json!({"client": {"connect_token_cookie": "jwt", "allowed_origins": ["*"]}}),
            "client.allowed_origins[0]",
        ),
        (
            json!({"client": {"connect_token_cookie": "jwt", "allowed_origins": ["https://a.b", "https://*a.b"]}}),
            "client.allowed_origins[1]",
        ),
        (json!({"client": {"connect_token_cookie": "a b"}}), "client.connect_token_cookie"),
        (json!({"client": {"connect_token_cookie": "a=b"}}), "client.connect_token_cookie"),
        (json!({"client": {"connect_token_http_header": "X Token"}}), "client.connect_token_http_header"),
        (json!({"client": {"connect_token_http_header": "Cookie"}}), "client.connect_token_http_header"),
        (json!({"http_server": {"internal_port": "x"}}), "http_server.internal_port"),
        (json!({"http_server": {"h2c_external": true}}), "http_server.h2c_external"),
        (json!({"http_server": {"h2c_external": true, "internal_port": "8000"}}), "http_server.h2c_external"),
        (json!({"websocket": {"handler_prefix": "ws"}}), "websocket.handler_prefix"),
        (json!({"websocket": {"handler_prefix": "/api"}}), "websocket.handler_prefix"),
        (json!({"health": {"enabled": true, "handler_prefix": "/api/"}}), "health.handler_prefix"),
        (json!({"engine": {"type": "kafka"}}), "engine.type"),
        (json!({"broker": {"enabled": true, "type": "redisnats"}}), "broker.type"),
        (json!({"presence_manager": {"enabled": true, "type": "etcd"}}), "presence_manager.type"),
        (json!({"controller": {"enabled": true}}), "controller.type"),
        (
            json!({"broker": {"enabled": true, "type": "nats"},
                "channel": {"namespaces": [{"name": "news", "history_size": 1, "history_ttl": "1s"}]}}),
            "channel.namespaces[news].history_size",
        ),
        (
            json!({"brokers": [{"name": "fast", "enabled": true, "type": "nats"}], "engine": {"type": "redis"},
                "channel": {"without_namespace": {"broker_name": "fast", "allow_positioning": true}}}),
            "channel.without_namespace.allow_positioning",
        ),
        (
            json!({"brokers": [{"name": "fast", "type": "nats"}],
                "channel": {"namespaces": [{"name": "news", "broker_name": "fast"}]}}),
            "channel.namespaces[news].broker_name",
        ),
        (
            json!({"channel": {"namespaces": [{"name": "news", "presence_manager_name": "p"}]}}),
            "channel.namespaces[news].presence_manager_name",
        ),
        (json!({"brokers": [{"name": "memory", "enabled": true, "type": "nats"}]}), "brokers[0].name"),
        (
            json!({"brokers": [{"name": "a", "type": "nats"}, {"name": "a", "type": "nats"}]}),
            "brokers[a].name",
        ),
        (json!({"presence_managers": [{"name": "a", "enabled": true}]}), "presence_managers[a].type"),
        (json!({"http_server": {"tls": {"enabled": true, "key_pem": "k"}}}), "http_server.tls.cert_pem"),
        (
            json!({"http_server": {"internal_tls": {"enabled": true, "cert_pem": "c"}}}),
            "http_server.internal_tls.key_pem",
        ),
        (json!({"http_server": {"tls": {"min_version": "1.1"}}}), "http_server.tls.min_version"),
        (json!({"http_server": {"http3": {"enabled": true}}}), "http_server.http3.enabled"),
        (json!({"webtransport": {"enabled": true}}), "webtransport.enabled"),
        (
            json!({"uni_grpc": {"enabled": true, "tls": {"enabled": true, "key_pem": "k"}}}),
            "uni_grpc.tls.cert_pem",
        ),
        (
            json!({"http_server": {"tls_autocert": {"enabled": true}, "tls": {
                "enabled": true, "cert_pem": "c", "key_pem": "k", "client_ca_pem": "a",
            }}}),
            "http_server.tls.client_ca_pem",
        ),
        (
            json!({"http_server": {"tls_autocert": {"enabled": true, "eab_key_id": "k"}}}),
            "http_server.tls_autocert.eab_key_id",
        ),
        (
            json!({"http_server": {"tls_autocert": {"enabled": true}, "h2c_external": true, "internal_port": "9"}}),
            "http_server.h2c_external",
        ),
        (json!({"channel": {"history_meta_ttl": "1500ms"}}), "channel.history_meta_ttl"),
        (json!({"channel": {"publication_data_format": "xml"}}), "channel.publication_data_format"),
        (json!({"rpc": {"namespaces": [{"name": "a"}]}}), "rpc.namespaces[a].name"),
        (json!({"rpc": {"without_namespace": {"proxy_name": "none"}}}), "rpc.without_namespace.proxy_name"),
        (json!({"rpc": {"without_namespace": {"proxy_enabled": true}}}), "rpc.proxy.endpoint"),
        (
            json!({"channel": {"without_namespace": {"subscribe_proxy_enabled": true}}}),
            "channel.proxy.subscribe.endpoint",
        ),
        (
            json!({"channel": {"namespaces": [{"name": "ns", "publish_proxy_enabled": true}]}}),
            "channel.proxy.publish.endpoint",
        ),
        (json!({"proxies": [{"name": "default", "endpoint": "http://h"}]}), "proxies[default].name"),
        (json!({"proxies": [{"name": "aa"}]}), "proxies[aa].endpoint"),
        (json!({"client": {"proxy": {"connect": {"enabled": true}}}}), "client.proxy.connect.endpoint"),
        (json!({"consumers": [{"name": "a-b", "type": "kafka"}]}), "consumers[a-b].name"),
        (json!({"consumers": [{"name": "ab"}]}), "consumers[ab].type"),
        (
            json!({"consumers": [{"name": "ab", "type": "aws_sqs", "enabled": true}]}),
            if cfg!(feature = "sqs") { "consumers[ab].aws_sqs.queues" } else { "consumers[ab].type" },
        ),
        (
            json!({"consumers": [{"name": "ab", "type": "azure_service_bus", "azure_service_bus": {"use_sessions": true}}]}),
            "consumers[ab].azure_service_bus.use_sessions",
        ),
        (
            json!({"consumers": [{"name": "ab", "type": "kafka", "enabled": true}]}),
            if cfg!(feature = "kafka") { "consumers[ab].kafka.brokers" } else { "consumers[ab].type" },
        ),
        (
            json!({"consumers": [{"name": "ab", "type": "postgresql", "enabled": true,
                "postgresql": {"outbox_table_name": "t"}}]}),
            "consumers[ab].postgresql.dsn",
        ),
        (
            json!({"consumers": [{"name": "ab", "type": "nats_jetstream", "enabled": true,
                "nats_jetstream": {"stream_name": "s"}}]}),
            "consumers[ab].nats_jetstream.durable_consumer_name",
        ),
        (
            json!({"consumers": [{"name": "ab", "type": "redis_stream", "enabled": true,
                "redis_stream": {"streams": ["s"]}}]}),
            "consumers[ab].redis_stream.consumer_group",
        ),
        (
            json!({"client": {"subscribe_to_user_personal_channel": {"enabled": true, "personal_channel_namespace": "no"}}}),
            "client.subscribe_to_user_personal_channel.personal_channel_namespace",
        ),
        (
            json!({"client": {"subscribe_to_user_personal_channel": {"enabled": true, "single_connection": true}}}),
            "client.subscribe_to_user_personal_channel.single_connection",
        ),
        (
            json!({"client": {"connect_code_to_unidirectional_disconnect": {"transforms": [{"code": 1, "to": {"code": 4000, "reason": "x".repeat(124)}}]}}}),
            "client.connect_code_to_unidirectional_disconnect.transforms[0].to.reason",
        ),
        (
            json!({"client": {"connect_code_to_unidirectional_disconnect": {"transforms": [{"code": 1}]}}}),
            "client.connect_code_to_unidirectional_disconnect.transforms[0].to.code",
        ),
        (
            json!({"uni_sse": {"connect_code_to_http_response": {"transforms": [{"code": 1, "to": {}}]}}}),
            "uni_sse.connect_code_to_http_response.transforms[0].to.status_code",
        ),
        (
            json!({"proxies": [{"name": "aa", "endpoint": "http://h", "http": {"status_to_code_transforms": [{"status_code": 404}]}}]}),
            "proxies[aa].http.status_to_code_transforms[0]",
        ),
        (
            json!({"proxies": [{"name": "aa", "endpoint": "http://h", "http": {"status_to_code_transforms": [{"status_code": 404, "to_error": {"code": 404, "message": "é"}}]}}]}),
            "proxies[aa].http.status_to_code_transforms[0].to_error.message",
        ),
    ] {
        assert!(refused(&file).iter().any(|refused| refused == option), "{file}: {:?}", refused(&file));
    }
}

#[test]
fn a_token_from_the_request_asks_for_named_origins() {
    let with =
        |option: &str, origins: Value| json!({"client": {option: "X-Token", "allowed_origins": origins}});
    for named in [json!(["https://a.b", "http://*.c.d:8080"]), json!([])] {
        assert_eq!(refused(&with("connect_token_cookie", named)), Vec::<String>::new());
    }
    let empty = load(&with("connect_token_cookie", json!([]))).unwrap();
    assert!(empty.warnings.iter().any(|warning| warning.option == "client.allowed_origins"));
    let open = load(&with("connect_token_http_header", json!(["*"]))).unwrap();
    assert!(open.warnings.iter().any(|warning| warning.option == "client.allowed_origins[0]"));
}

#[test]
fn options_of_namespaces() {
    for (options, option) in [
        (json!({"history_size": 1}), "history_ttl"),
        (json!({"history_ttl": "1s"}), "history_size"),
        (json!({"history_size": 1, "history_ttl": "1500ms"}), "history_ttl"),
        (json!({"history_size": 1, "history_ttl": "721h"}), "history_ttl"),
        (json!({"history_size": 1, "history_ttl": "60s", "history_meta_ttl": "30s"}), "history_ttl"),
        (json!({"force_recovery": true}), "force_recovery"),
        (json!({"auto_cache_recover": true}), "auto_cache_recover"),
        (
            json!({"history_size": 1, "history_ttl": "60s", "force_recovery": true, "auto_cache_recover": true}),
            "auto_cache_recover",
        ),
        (json!({"force_recovery_mode": "all"}), "force_recovery_mode"),
        (json!({"allowed_delta_types": ["xdelta"]}), "allowed_delta_types"),
        (json!({"channel_regex": "("}), "channel_regex"),
        (json!({"publication_data_format": "xml"}), "publication_data_format"),
        (json!({"subscription_type": "queue"}), "subscription_type"),
        (json!({"subscription_type": "map"}), "map.mode"),
        (json!({"map": {"mode": "ephemeral"}}), "map.key_ttl"),
        (json!({"map": {"mode": "ephemeral", "key_ttl": "1s", "stream_size": 1}}), "map.stream_size"),
        (json!({"map": {"mode": "persistent", "key_ttl": "1s"}}), "map.key_ttl"),
        (json!({"subscription_type": "map_users", "map": {"mode": "persistent"}}), "map.mode"),
        (json!({"map": {"mode": "recoverable", "key_ttl": "1s", "meta_ttl": "30s"}}), "map.meta_ttl"),
        (json!({"map": {"remove_client_on_unsubscribe": true}}), "map.remove_client_on_unsubscribe"),
        (json!({"map": {"min_page_size": 3, "max_page_size": 2}}), "map.min_page_size"),
        (json!({"map_users_presence_channel_prefix": "no:"}), "map_users_presence_channel_prefix"),
        (json!({"subscribe_proxy_name": "none"}), "subscribe_proxy_name"),
        (json!({"cache_empty_proxy_enabled": true}), "cache_empty_proxy_enabled"),
        (json!({"cache_empty_proxy_name": "none"}), "cache_empty_proxy_name"),
        (json!({"state_proxy_name": "none"}), "state_proxy_name"),
        (json!({"state_events": ["left"]}), "state_events"),
        (
            json!({"subscribe_stream_proxy_enabled": true, "subscribe_proxy_enabled": true}),
            "subscribe_stream_proxy_enabled",
        ),
    ] {
        let file = namespace(options.clone());
        let option = format!("channel.namespaces[ns].{option}");
        assert!(refused(&file).contains(&option), "{options}: {:?}", refused(&file));
        // The same options without a namespace are refused by their own name.
        let file = json!({"channel": {"without_namespace": options}});
        let option = option.replace("namespaces[ns]", "without_namespace");
        assert!(refused(&file).contains(&option), "{options}: {:?}", refused(&file));
    }
    let both = namespace(json!({"subscription_type": "shared_poll"}));
    assert!(refused(&both).contains(&"shared_poll.hmac_secret_key".to_owned()));
}

#[test]
fn names_of_namespaces() {
    for (name, good) in [
        ("ab", true),
        ("a-b_c.D9", true),
        ("a", false),
        ("", false),
        ("a b", false),
        ("a:b", false),
        ("a#b", false),
        ("été", false),
    ] {
        let file = json!({"channel": {"namespaces": [{"name": name}]}});
        assert_eq!(refused(&file).is_empty(), good, "{name:?}: {:?}", refused(&file));
    }
    let twice = json!({"channel": {"namespaces": [{"name": "ab"}, {"name": "cd"}, {"name": "ab"}]}});
    assert_eq!(refused(&twice), ["channel.namespaces[ab].name"]);
    let twice =
        json!({"proxies": [{"name": "ab", "endpoint": "http://h"}, {"name": "ab", "endpoint": "http://h"}]});
    assert_eq!(refused(&twice), ["proxies[ab].name"]);
}

#[test]
fn what_is_right_is_accepted() {
    for file in [
        json!({"client": {"token": {"audience": "a", "issuer_regex": "^a$", "user_id_claim": "my_user", "leeway": "5s"}}}),
        json!({"client": {"allowed_origins": ["*", "https://*.example.com", "https://{a,b}.example.com"]}}),
        json!({"http_server": {"h2c_external": true, "internal_port": "9000"}}),
        json!({"broker": {"enabled": false, "type": "nats"}}),
        json!({"http_server": {"tls": {"enabled": false, "cert_pem": "x"}}}),
        json!({"http_server": {"tls": {"enabled": true, "cert_pem": "x", "key_pem": "y", "min_version": "1.3"}}}),
        json!({"http_server": {"http3": {"enabled": true}, "tls": {"enabled": true, "cert_pem": "x", "key_pem": "y"}},
               "webtransport": {"enabled": true}}),
        json!({"http_server": {"tls_autocert": {"enabled": true, "host_whitelist": ["a.example"], "cache_dir": "/x"}}}),
        json!({"websocket": {"disabled": true, "handler_prefix": "/api"}}),
        namespace(
            json!({"history_size": 1, "history_ttl": "60s", "history_meta_ttl": "60s", "force_recovery": true}),
        ),
        namespace(json!({
            "history_size": 1, "history_ttl": "60s", "force_recovery": true, "force_recovery_mode": "cache",
            "auto_cache_recover": true, "allowed_delta_types": ["fossil"], "channel_regex": r"^\d+$",
        })),
        namespace(json!({"subscription_type": "map", "map": {"mode": "ephemeral", "key_ttl": "10s"}})),
        json!({"client": {"subscribe_to_user_personal_channel": {"enabled": true, "personal_channel_namespace": "ns"}},
               "channel": {"namespaces": [{"name": "ns"}]}}),
    ] {
        assert!(refused(&file).is_empty(), "{file}: {:?}", refused(&file));
    }
}

#[test]
fn what_does_not_exist_yet_is_told() {
    for (file, option) in [
        (json!({"opentelemetry": {"enabled": true}}), "opentelemetry"),
        (namespace(json!({"map": {"mode": "ephemeral", "key_ttl": "1s"}})), "channel.namespaces[ns].map"),
    ] {
        assert_eq!(warned(&load(&file).unwrap(), Level::Planned), [option], "{file}");
    }
    for file in [
        json!({}),
        json!({"grpc_api": {"enabled": true, "port": 5}}),
        json!({"sse": {"enabled": true}, "uni_sse": {"enabled": true}}),
        json!({"websocket": {"compression": true, "compression_level": -2}}),
    ] {
        assert!(warned(&load(&file).unwrap(), Level::Planned).is_empty(), "{file}");
    }
}

#[test]
fn what_stands_open_is_told_and_refused_in_production() {
    for (file, option) in [
        (json!({"client": {"insecure": true}}), "client.insecure"),
        (
            json!({"client": {"insecure_skip_token_signature_verify": true}}),
            "client.insecure_skip_token_signature_verify",
        ),
        (
            json!({"client": {"token": {"insecure_skip_jwks_endpoint_safety_check": true}}}),
            "client.token.insecure_skip_jwks_endpoint_safety_check",
        ),
        (json!({"http_api": {"insecure": true}}), "http_api.insecure"),
        (json!({"admin": {"insecure": true}}), "admin.insecure"),
        (
            json!({"proxies": [{"name": "aa", "endpoint": "https://h", "http": {"tls": {"insecure_skip_verify": true}}}]}),
            "proxies[aa].http.tls.insecure_skip_verify",
        ),
        (json!({"client": {"token": {"hmac_secret_key": "secret"}}}), "client.token.hmac_secret_key"),
        (
            json!({"client": {"token": {"hmac_secret_key": "0123456789abcdef0123456789abcde"}}}),
            "client.token.hmac_secret_key",
        ),
        (
            json!({"client": {"token": {"hmac_secret_key": KEY, "hmac_previous_secret_key": "x1y2z3"}}}),
            "client.token.hmac_previous_secret_key",
        ),
        (
            json!({"client": {"subscription_token": {"enabled": true, "hmac_secret_key": "secret"}}}),
            "client.subscription_token.hmac_secret_key",
        ),
        (
            json!({"client": {"token": {"keys": [{"type": "hmac", "key": "secret"}]}}}),
            "client.token.keys[0].key",
        ),
        (
            json!({"client": {"token": {"issuers": [{"name": "one", "issuer": "a", "hmac_secret_key": "secret"}]}}}),
            "client.token.issuers[one].hmac_secret_key",
        ),
        (json!({"http_api": {"key": "api_key"}}), "http_api.key"),
        (json!({"http_api": {"key": "k"}}), "http_api.key"),
        (json!({"grpc_api": {"enabled": true}}), "grpc_api.key"),
        (json!({"grpc_api": {"enabled": true, "key": "k"}}), "grpc_api.key"),
        (json!({"secret": KEY}), "client.allowed_origins"),
    ] {
        let loaded = load(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
        let open = warned(&loaded, Level::Insecure);
        assert!(open.iter().any(|open| open == option), "{file}: {open:?}");
        let mut production = file.clone();
        production["production"] = json!(true);
        assert!(refused(&production).iter().any(|refused| refused == option), "{production}");
    }
    for file in [
        json!({}),
        json!({"client": {"token": {"hmac_secret_key": KEY}}, "http_api": {"key": KEY}}),
        json!({"client": {"subscription_token": {"hmac_secret_key": "secret"}}}),
        json!({"client": {"allowed_origins": ["*"]}}),
    ] {
        assert!(warned(&load(&file).unwrap(), Level::Insecure).is_empty(), "{file}");
        let mut production = file.clone();
        production["production"] = json!(true);
        assert!(load(&production).unwrap().config.production, "{file}");
    }
}

#[test]
fn a_secret_beside_a_key_set_is_told() {
    let file =
        json!({"client": {"token": {"hmac_secret_key": KEY, "jwks_public_endpoint": "https://i/keys"}}});
    let told = warned(&load(&file).unwrap(), Level::Note);
    assert!(told.iter().any(|option| option == "client.token.hmac_secret_key"), "{told:?}");
    let alone = json!({"client": {"token": {"jwks_public_endpoint": "https://i/keys"}}});
    assert!(
        !warned(&load(&alone).unwrap(), Level::Note).iter().any(|option| option.starts_with("client.token"))
    );
}
