//! The meaning of old keys: what each became in v6, or why it is gone. When each existed is in `keys.txt`.

use std::borrow::Cow;

/// The fate of an old key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Becomes {
    /// An option of another name.
    Moved(&'static str),
    /// An option of a TLS object.
    Tls(&'static str, &'static str),
    /// The address of a proxy, which also switched the proxy on by this option.
    Endpoint(&'static str, &'static str),
    /// An option of every proxy that is used.
    EachProxy(&'static str),
    /// A proxy, named for `granular_proxy_mode` alone.
    Granular(&'static str),
    /// An option of channels, by the name that it has today.
    Channel(&'static str),
    /// Nothing, and nothing is lost, for this reason.
    Gone(&'static str),
    /// Nothing, though something would be lost that the file wants: for this reason the start is refused.
    Refused(&'static str),
    /// These options, depending on other keys or on the version.
    Together(&'static [&'static str]),
}

use Becomes::{Channel, EachProxy, Endpoint, Gone, Granular, Moved, Refused, Together};

/// Options of channels whose name or meaning has changed.
const CHANNEL: &[(&str, Becomes)] = &[
    ("anonymous", Channel("allow_subscribe_for_anonymous")),
    ("cache_empty_proxy_name", Gone("set `cache_empty_proxy_name` of a namespace of v6")),
    ("history_disable_for_client", Together(&["allow_history_for_subscriber"])),
    ("history_drop_inactive", Gone("history is kept with and without subscribers")),
    ("history_lifetime", Channel("history_ttl")),
    ("history_recover", Channel("force_recovery")),
    ("position", Channel("force_positioning")),
    ("presence_disable_for_client", Together(&["allow_presence_for_subscriber"])),
    ("protected", Gone("nobody may subscribe unless an option allows it")),
    ("proxy_cache_empty", Gone("set `cache_empty_proxy_enabled` of a namespace of v6")),
    ("proxy_publish", Channel("publish_proxy_enabled")),
    ("proxy_stream_subscribe", Channel("subscribe_stream_proxy_enabled")),
    ("proxy_sub_refresh", Channel("sub_refresh_proxy_enabled")),
    ("proxy_subscribe", Channel("subscribe_proxy_enabled")),
    ("proxy_subscribe_stream", Channel("subscribe_stream_proxy_enabled")),
    ("proxy_subscribe_stream_bidirectional", Channel("subscribe_stream_proxy_bidirectional")),
    ("publish", Together(&["allow_publish_for_client", "allow_publish_for_subscriber"])),
    ("recover", Channel("force_recovery")),
    ("server_side", Gone("nobody may subscribe unless an option allows it")),
    ("subscribe_to_publish", Together(&["allow_publish_for_subscriber"])),
    ("watch", Gone("the admin interface does not show messages")),
];

/// Options of channels that have kept their names.
const CHANNEL_SAME: &[&str] = &[
    "allow_history_for_anonymous",
    "allow_history_for_client",
    "allow_history_for_subscriber",
    "allow_positioning",
    "allow_presence_for_anonymous",
    "allow_presence_for_client",
    "allow_presence_for_subscriber",
    "allow_publish_for_anonymous",
    "allow_publish_for_client",
    "allow_publish_for_subscriber",
    "allow_recovery",
    "allow_subscribe_for_anonymous",
    "allow_subscribe_for_client",
    "allow_user_limited_channels",
    "allowed_delta_types",
    "channel_regex",
    "delta_publish",
    "force_positioning",
    "force_push_join_leave",
    "force_recovery",
    "force_recovery_mode",
    "history_meta_ttl",
    "history_size",
    "history_ttl",
    "join_leave",
    "presence",
    "publish_proxy_name",
    "sub_refresh_proxy_name",
    "subscribe_proxy_name",
    "subscribe_stream_proxy_name",
];

/// Keys at the top of the file.
const TOP: &[(&str, Becomes)] = &[
    ("address", Moved("http_server.address")),
    ("admin", Moved("admin.enabled")),
    ("admin_external", Moved("admin.external")),
    ("admin_handler_prefix", Moved("admin.handler_prefix")),
    ("admin_insecure", Moved("admin.insecure")),
    ("admin_password", Moved("admin.password")),
    ("admin_port", Moved("http_server.internal_port")),
    ("admin_secret", Moved("admin.secret")),
    ("admin_web_path", Moved("admin.web_path")),
    ("admin_web_proxy_address", Moved("admin.web_proxy_address")),
    ("allow_anonymous_connect_without_token", Moved("client.allow_anonymous_connect_without_token")),
    ("allowed_origins", Moved("client.allowed_origins")),
    ("api_disable", Moved("http_api.disabled")),
    ("api_error_mode", Moved("http_api.error_mode")),
    ("api_external", Moved("http_api.external")),
    ("api_handler_prefix", Moved("http_api.handler_prefix")),
    ("api_insecure", Moved("http_api.insecure")),
    ("api_key", Moved("http_api.key")),
    ("api_port", Moved("http_server.internal_port")),
    ("broker", Together(&["broker.type", "broker.enabled"])),
    ("channel_max_length", Moved("channel.max_length")),
    ("channel_namespace_boundary", Moved("channel.namespace_boundary")),
    ("channel_private_prefix", Moved("channel.private_prefix")),
    ("channel_user_boundary", Moved("channel.user_boundary")),
    ("channel_user_separator", Moved("channel.user_separator")),
    ("client_anonymous", Moved("client.allow_anonymous_connect_without_token")),
    (
        "client_channel_boundary",
        Refused(
            "channels of one client (`chat&<client>`) ended with v1, and would be open to all: use user-limited channels (`chat#42`) or subscription tokens, then remove this key",
        ),
    ),
    ("client_channel_limit", Moved("client.channel_limit")),
    ("client_channel_position_check_delay", Moved("client.channel_position_check_delay")),
    ("client_channel_position_max_time_lag", Moved("client.channel_position_max_time_lag")),
    ("client_concurrency", Moved("client.concurrency")),
    (
        "client_connect_code_to_unidirectional_disconnect",
        Moved("client.connect_code_to_unidirectional_disconnect"),
    ),
    ("client_connect_include_server_time", Moved("client.connect_include_server_time")),
    ("client_connection_limit", Moved("client.connection_limit")),
    ("client_connection_rate_limit", Moved("client.connection_rate_limit")),
    ("client_expired_close_delay", Moved("client.expired_close_delay")),
    ("client_expired_sub_close_delay", Moved("client.expired_sub_close_delay")),
    ("client_history_max_publication_limit", Moved("client.history_max_publication_limit")),
    ("client_insecure", Moved("client.insecure")),
    ("client_insecure_skip_token_signature_verify", Moved("client.insecure_skip_token_signature_verify")),
    ("client_message_write_timeout", Moved("websocket.write_timeout")),
    ("client_ping_interval", Moved("client.ping_interval")),
    ("client_presence_expire_interval", Moved("engine.redis.presence_ttl")),
    ("client_presence_ping_interval", Moved("client.presence_update_interval")),
    ("client_presence_update_interval", Moved("client.presence_update_interval")),
    ("client_queue_initial_capacity", Gone("queues grow by themselves")),
    ("client_queue_max_size", Moved("client.queue_max_size")),
    ("client_recovery_max_publication_limit", Moved("client.recovery_max_publication_limit")),
    ("client_request_max_size", Moved("websocket.message_size_limit")),
    ("client_stale_close_delay", Moved("client.stale_close_delay")),
    ("client_user_connection_limit", Moved("client.user_connection_limit")),
    ("client_user_id_http_header", Moved("client.user_id_http_header")),
    ("connect_proxy_name", Granular("client.proxy.connect")),
    ("connection_lifetime", Together(&["client.token.require_exp"])),
    ("consumers", Together(&["consumers"])),
    ("debug", Moved("debug.enabled")),
    ("disable_client_protocol_v1", Together(&["client.legacy"])),
    ("disallow_anonymous_connection_tokens", Moved("client.disallow_anonymous_connection_tokens")),
    ("emulation_handler_prefix", Moved("emulation.handler_prefix")),
    ("emulation_max_request_body_size", Moved("emulation.max_request_body_size")),
    ("engine", Moved("engine.type")),
    ("expired_connection_close_delay", Moved("client.expired_close_delay")),
    ("global_history_meta_ttl", Moved("channel.history_meta_ttl")),
    ("global_presence_ttl", Moved("engine.redis.presence_ttl")),
    ("global_redis_presence_user_mapping", Moved("engine.redis.presence_user_mapping")),
    ("gomaxprocs", Gone("`shards` sets the number of threads")),
    ("granular_proxy_mode", Gone("proxies are named where they are used, as this mode did")),
    ("graphite", Moved("graphite.enabled")),
    ("graphite_host", Moved("graphite.host")),
    ("graphite_interval", Moved("graphite.interval")),
    ("graphite_port", Moved("graphite.port")),
    ("graphite_prefix", Moved("graphite.prefix")),
    ("graphite_tags", Moved("graphite.tags")),
    ("grpc_api", Moved("grpc_api.enabled")),
    ("grpc_api_address", Moved("grpc_api.address")),
    ("grpc_api_error_mode", Moved("grpc_api.error_mode")),
    ("grpc_api_key", Moved("grpc_api.key")),
    ("grpc_api_max_receive_message_size", Moved("grpc_api.max_receive_message_size")),
    ("grpc_api_port", Moved("grpc_api.port")),
    ("grpc_api_reflection", Moved("grpc_api.reflection")),
    ("grpc_api_tls_disable", Gone("gRPC uses TLS only if `grpc_api.tls.enabled` is true")),
    ("health", Moved("health.enabled")),
    ("health_handler_prefix", Moved("health.handler_prefix")),
    ("history_meta_ttl", Together(&["channel.history_meta_ttl"])),
    ("http3", Moved("http_server.http3.enabled")),
    (
        "http_prefix",
        Together(&["websocket.handler_prefix", "http_api.handler_prefix", "admin.handler_prefix"]),
    ),
    ("http_stream", Moved("http_stream.enabled")),
    ("http_stream_handler_prefix", Moved("http_stream.handler_prefix")),
    ("http_stream_max_request_body_size", Moved("http_stream.max_request_body_size")),
    ("insecure", Moved("client.insecure")),
    ("insecure_admin", Moved("admin.insecure")),
    ("insecure_api", Moved("http_api.insecure")),
    ("insecure_web", Gone("v1.8 did not read it")),
    ("internal_address", Moved("http_server.internal_address")),
    ("internal_port", Moved("http_server.internal_port")),
    ("log_file", Moved("log.file")),
    ("log_level", Moved("log.level")),
    ("max_channel_length", Moved("channel.max_length")),
    ("memory_history_meta_ttl", Moved("channel.history_meta_ttl")),
    ("name", Moved("node.name")),
    ("namespace_channel_boundary", Moved("channel.namespace_boundary")),
    ("namespaces", Together(&["channel.namespaces"])),
    ("nats_allow_wildcards", Moved("broker.nats.allow_wildcards")),
    ("nats_dial_timeout", Moved("broker.nats.dial_timeout")),
    ("nats_prefix", Moved("broker.nats.prefix")),
    ("nats_raw_mode", Moved("broker.nats.raw_mode")),
    ("nats_tls", Moved("broker.nats.tls")),
    ("nats_url", Moved("broker.nats.url")),
    ("nats_write_timeout", Moved("broker.nats.write_timeout")),
    ("node_info_metrics_aggregate_interval", Moved("node.info_metrics_aggregate_interval")),
    ("node_metrics_interval", Moved("node.info_metrics_aggregate_interval")),
    ("node_ping_interval", Gone("nodes find each other by themselves")),
    ("opentelemetry", Moved("opentelemetry.enabled")),
    ("opentelemetry_api", Moved("opentelemetry.api")),
    ("opentelemetry_consuming", Moved("opentelemetry.consuming")),
    ("ping_interval", Moved("client.ping_interval")),
    ("pong_timeout", Moved("client.pong_timeout")),
    ("port", Moved("http_server.port")),
    ("presence_expire_interval", Moved("engine.redis.presence_ttl")),
    ("presence_ping_interval", Moved("client.presence_update_interval")),
    ("presence_ttl", Moved("engine.redis.presence_ttl")),
    ("private_channel_prefix", Moved("channel.private_prefix")),
    ("prometheus", Moved("prometheus.enabled")),
    ("prometheus_handler_prefix", Moved("prometheus.handler_prefix")),
    ("proxies", Together(&["proxies"])),
    ("proxy_binary_encoding", EachProxy("binary_encoding")),
    ("proxy_connect_endpoint", Endpoint("client.proxy.connect.endpoint", "client.proxy.connect.enabled")),
    ("proxy_connect_timeout", Moved("client.proxy.connect.timeout")),
    ("proxy_extra_http_headers", EachProxy("http_headers")),
    ("proxy_grpc_cert_file", EachProxy("grpc.tls.server_ca_pem")),
    ("proxy_grpc_compression", EachProxy("grpc.compression")),
    ("proxy_grpc_credentials_key", EachProxy("grpc.credentials_key")),
    ("proxy_grpc_credentials_value", EachProxy("grpc.credentials_value")),
    ("proxy_grpc_metadata", EachProxy("grpc_metadata")),
    ("proxy_grpc_tls", EachProxy("grpc.tls")),
    ("proxy_http_headers", EachProxy("http_headers")),
    ("proxy_http_status_code_transforms", EachProxy("http.status_to_code_transforms")),
    ("proxy_include_connection_meta", EachProxy("include_connection_meta")),
    ("proxy_publish_endpoint", Endpoint("channel.proxy.publish.endpoint", "")),
    ("proxy_publish_timeout", Moved("channel.proxy.publish.timeout")),
    ("proxy_refresh_endpoint", Endpoint("client.proxy.refresh.endpoint", "client.proxy.refresh.enabled")),
    ("proxy_refresh_timeout", Moved("client.proxy.refresh.timeout")),
    ("proxy_rpc_endpoint", Endpoint("rpc.proxy.endpoint", "rpc.without_namespace.proxy_enabled")),
    ("proxy_rpc_timeout", Moved("rpc.proxy.timeout")),
    ("proxy_static_http_headers", EachProxy("http.static_headers")),
    ("proxy_sub_refresh_endpoint", Endpoint("channel.proxy.sub_refresh.endpoint", "")),
    ("proxy_sub_refresh_timeout", Moved("channel.proxy.sub_refresh.timeout")),
    ("proxy_subscribe_endpoint", Endpoint("channel.proxy.subscribe.endpoint", "")),
    ("proxy_subscribe_stream_endpoint", Endpoint("channel.proxy.subscribe_stream.endpoint", "")),
    ("proxy_subscribe_stream_timeout", Moved("channel.proxy.subscribe_stream.timeout")),
    ("proxy_subscribe_timeout", Moved("channel.proxy.subscribe.timeout")),
    ("redis_address", Moved("engine.redis.address")),
    ("redis_api", Gone("calls of the API do not come from Redis lists")),
    ("redis_api_num_shards", Gone("calls of the API do not come from Redis lists")),
    ("redis_client_name", Moved("engine.redis.client_name")),
    ("redis_cluster_address", Moved("engine.redis.cluster_address")),
    ("redis_cluster_addrs", Moved("engine.redis.cluster_address")),
    ("redis_connect_timeout", Moved("engine.redis.connect_timeout")),
    ("redis_db", Moved("engine.redis.db")),
    ("redis_force_resp2", Moved("engine.redis.force_resp2")),
    ("redis_history_meta_ttl", Moved("channel.history_meta_ttl")),
    ("redis_host", Together(&["engine.redis.address"])),
    ("redis_idle_timeout", Gone("connections are not pooled")),
    ("redis_io_timeout", Moved("engine.redis.io_timeout")),
    ("redis_master_name", Moved("engine.redis.sentinel_master_name")),
    ("redis_password", Moved("engine.redis.password")),
    ("redis_pool", Gone("connections are not pooled")),
    ("redis_port", Together(&["engine.redis.address"])),
    ("redis_prefix", Moved("engine.redis.prefix")),
    ("redis_presence_hash_field_ttl", Moved("engine.redis.presence_hash_field_ttl")),
    ("redis_pubsub_num_workers", Gone("there are no such workers")),
    ("redis_read_timeout", Moved("engine.redis.io_timeout")),
    ("redis_sentinel_address", Moved("engine.redis.sentinel_address")),
    ("redis_sentinel_client_name", Moved("engine.redis.sentinel_client_name")),
    ("redis_sentinel_master_name", Moved("engine.redis.sentinel_master_name")),
    ("redis_sentinel_password", Moved("engine.redis.sentinel_password")),
    ("redis_sentinel_user", Moved("engine.redis.sentinel_user")),
    ("redis_sentinels", Moved("engine.redis.sentinel_address")),
    ("redis_sequence_ttl", Gone("positions are offsets, which need no such limit")),
    ("redis_streams", Together(&["engine.redis.history_use_lists"])),
    ("redis_tls_skip_verify", Moved("engine.redis.tls.insecure_skip_verify")),
    ("redis_url", Moved("engine.redis.address")),
    ("redis_use_lists", Moved("engine.redis.history_use_lists")),
    ("redis_user", Moved("engine.redis.user")),
    ("redis_write_timeout", Gone("`engine.redis.io_timeout` is for reads and writes")),
    ("refresh_proxy_name", Granular("client.proxy.refresh")),
    ("rpc_namespace_boundary", Moved("rpc.namespace_boundary")),
    ("rpc_namespaces", Together(&["rpc.namespaces"])),
    ("rpc_ping", Moved("rpc.ping.enabled")),
    ("rpc_ping_method", Moved("rpc.ping.method")),
    ("rpc_proxy_name", Granular("rpc.without_namespace")),
    ("secret", Moved("client.token.hmac_secret_key")),
    ("separate_subscription_token_config", Moved("client.subscription_token.enabled")),
    ("shutdown_termination_delay", Gone("the process ends as soon as its connections are closed")),
    ("shutdown_timeout", Moved("shutdown.timeout")),
    (
        "skip_user_check_in_subscription_token",
        Gone("the user of a subscription token must be that of the connection"),
    ),
    ("sockjs", Moved("sockjs.enabled")),
    ("sockjs_disable", Together(&["sockjs.enabled"])),
    ("sockjs_handler_prefix", Moved("sockjs.handler_prefix")),
    ("sockjs_heartbeat_delay", Moved("sockjs.heartbeat_delay")),
    ("sockjs_url", Moved("sockjs.url")),
    ("sse", Moved("sse.enabled")),
    ("sse_handler_prefix", Moved("sse.handler_prefix")),
    ("sse_max_request_body_size", Moved("sse.max_request_body_size")),
    ("ssl", Moved("http_server.tls.enabled")),
    ("ssl_autocert", Moved("http_server.tls_autocert.enabled")),
    ("ssl_autocert_cache_dir", Moved("http_server.tls_autocert.cache_dir")),
    ("ssl_autocert_email", Moved("http_server.tls_autocert.email")),
    ("ssl_autocert_force_rsa", Gone("the kind of key cannot be chosen")),
    ("ssl_autocert_host_whitelist", Moved("http_server.tls_autocert.host_whitelist")),
    ("ssl_autocert_http", Moved("http_server.tls_autocert.http")),
    ("ssl_autocert_http_addr", Moved("http_server.tls_autocert.http_addr")),
    ("ssl_autocert_server_name", Moved("http_server.tls_autocert.server_name")),
    ("ssl_cert", Moved("http_server.tls.cert_pem")),
    ("ssl_key", Moved("http_server.tls.key_pem")),
    ("stale_connection_close_delay", Moved("client.stale_close_delay")),
    ("subscription_token_audience", Moved("client.subscription_token.audience")),
    ("subscription_token_audience_regex", Moved("client.subscription_token.audience_regex")),
    ("subscription_token_ecdsa_public_key", Moved("client.subscription_token.ecdsa_public_key")),
    ("subscription_token_hmac_secret_key", Moved("client.subscription_token.hmac_secret_key")),
    ("subscription_token_issuer", Moved("client.subscription_token.issuer")),
    ("subscription_token_issuer_regex", Moved("client.subscription_token.issuer_regex")),
    ("subscription_token_jwks_public_endpoint", Moved("client.subscription_token.jwks_public_endpoint")),
    ("subscription_token_rsa_public_key", Moved("client.subscription_token.rsa_public_key")),
    ("subscription_token_user_id_claim", Moved("client.subscription_token.user_id_claim")),
    ("swagger", Moved("swagger.enabled")),
    ("swagger_handler_prefix", Moved("swagger.handler_prefix")),
    ("tarantool_address", Gone("there is no Tarantool engine")),
    ("tarantool_mode", Gone("there is no Tarantool engine")),
    ("tarantool_password", Gone("there is no Tarantool engine")),
    ("tarantool_user", Gone("there is no Tarantool engine")),
    ("tls", Moved("http_server.tls.enabled")),
    ("tls_autocert", Moved("http_server.tls_autocert.enabled")),
    ("tls_autocert_cache_dir", Moved("http_server.tls_autocert.cache_dir")),
    ("tls_autocert_email", Moved("http_server.tls_autocert.email")),
    ("tls_autocert_force_rsa", Gone("the kind of key cannot be chosen")),
    ("tls_autocert_host_whitelist", Moved("http_server.tls_autocert.host_whitelist")),
    ("tls_autocert_http", Moved("http_server.tls_autocert.http")),
    ("tls_autocert_http_addr", Moved("http_server.tls_autocert.http_addr")),
    ("tls_autocert_server_name", Moved("http_server.tls_autocert.server_name")),
    ("tls_external", Moved("http_server.tls_external")),
    ("token_audience", Moved("client.token.audience")),
    ("token_audience_regex", Moved("client.token.audience_regex")),
    ("token_ecdsa_public_key", Moved("client.token.ecdsa_public_key")),
    ("token_hmac_secret_key", Moved("client.token.hmac_secret_key")),
    ("token_issuer", Moved("client.token.issuer")),
    ("token_issuer_regex", Moved("client.token.issuer_regex")),
    ("token_jwks_public_endpoint", Moved("client.token.jwks_public_endpoint")),
    ("token_rsa_public_key", Moved("client.token.rsa_public_key")),
    ("token_user_id_claim", Moved("client.token.user_id_claim")),
    ("uni_grpc", Moved("uni_grpc.enabled")),
    ("uni_grpc_address", Moved("uni_grpc.address")),
    ("uni_grpc_max_receive_message_size", Moved("uni_grpc.max_receive_message_size")),
    ("uni_grpc_port", Moved("uni_grpc.port")),
    ("uni_grpc_tls_disable", Gone("gRPC uses TLS only if `uni_grpc.tls.enabled` is true")),
    ("uni_http_stream", Moved("uni_http_stream.enabled")),
    ("uni_http_stream_connect_code_to_http_response", Moved("uni_http_stream.connect_code_to_http_response")),
    ("uni_http_stream_handler_prefix", Moved("uni_http_stream.handler_prefix")),
    ("uni_http_stream_max_request_body_size", Moved("uni_http_stream.max_request_body_size")),
    ("uni_sse", Moved("uni_sse.enabled")),
    ("uni_sse_connect_code_to_http_response", Moved("uni_sse.connect_code_to_http_response")),
    ("uni_sse_handler_prefix", Moved("uni_sse.handler_prefix")),
    ("uni_sse_max_request_body_size", Moved("uni_sse.max_request_body_size")),
    ("uni_websocket", Moved("uni_websocket.enabled")),
    ("uni_websocket_compression", Moved("uni_websocket.compression")),
    ("uni_websocket_compression_level", Moved("uni_websocket.compression_level")),
    ("uni_websocket_compression_min_size", Moved("uni_websocket.compression_min_size")),
    ("uni_websocket_handler_prefix", Moved("uni_websocket.handler_prefix")),
    ("uni_websocket_message_size_limit", Moved("uni_websocket.message_size_limit")),
    ("uni_websocket_ping_interval", Gone("`client.ping_interval` is for all transports")),
    ("uni_websocket_read_buffer_size", Moved("uni_websocket.read_buffer_size")),
    ("uni_websocket_use_write_buffer_pool", Moved("uni_websocket.use_write_buffer_pool")),
    ("uni_websocket_write_buffer_size", Moved("uni_websocket.write_buffer_size")),
    ("uni_websocket_write_timeout", Moved("uni_websocket.write_timeout")),
    ("usage_stats_disable", Moved("usage_stats.disabled")),
    ("use_client_protocol_v1_by_default", Gone("the first command of a connection tells its protocol")),
    ("use_unlimited_history_by_default", Gone("a call without a limit reads no publications")),
    ("user_channel_boundary", Moved("channel.user_boundary")),
    ("user_channel_separator", Moved("channel.user_separator")),
    ("user_connection_limit", Moved("client.user_connection_limit")),
    (
        "user_personal_channel_namespace",
        Moved("client.subscribe_to_user_personal_channel.personal_channel_namespace"),
    ),
    ("user_personal_single_connection", Moved("client.subscribe_to_user_personal_channel.single_connection")),
    ("user_subscribe_to_personal", Moved("client.subscribe_to_user_personal_channel.enabled")),
    ("v3_use_offset", Gone("positions are always offsets")),
    ("v5_api", Gone("the API is that of v5 and later")),
    ("web", Together(&["admin.enabled"])),
    ("web_path", Moved("admin.web_path")),
    ("websocket_compression", Moved("websocket.compression")),
    ("websocket_compression_level", Moved("websocket.compression_level")),
    ("websocket_compression_min_size", Moved("websocket.compression_min_size")),
    ("websocket_disable", Moved("websocket.disabled")),
    ("websocket_handler_prefix", Moved("websocket.handler_prefix")),
    ("websocket_message_size_limit", Moved("websocket.message_size_limit")),
    ("websocket_ping_interval", Together(&["client.ping_interval"])),
    ("websocket_read_buffer_size", Moved("websocket.read_buffer_size")),
    ("websocket_use_write_buffer_pool", Moved("websocket.use_write_buffer_pool")),
    ("websocket_write_buffer_size", Moved("websocket.write_buffer_size")),
    ("websocket_write_timeout", Moved("websocket.write_timeout")),
    ("webtransport", Moved("webtransport.enabled")),
    ("webtransport_handler_prefix", Moved("webtransport.handler_prefix")),
];

/// Groups of flat TLS keys: what their names begin with, and the TLS object that they became.
const TLS: &[(&str, &str)] = &[
    ("", "http_server.tls"),
    ("grpc_api_", "grpc_api.tls"),
    ("redis_", "engine.redis.tls"),
    ("redis_sentinel_", "engine.redis.sentinel_tls"),
    ("uni_grpc_", "uni_grpc.tls"),
];

/// Flat TLS keys after what their names begin with, and the option that they became.
const TLS_PARTS: &[(&str, &str)] = &[
    ("tls", "enabled"),
    ("tls_cert", "cert_pem"),
    ("tls_cert_pem", "cert_pem"),
    ("tls_client_ca", "client_ca_pem"),
    ("tls_client_ca_pem", "client_ca_pem"),
    ("tls_insecure_skip_verify", "insecure_skip_verify"),
    ("tls_key", "key_pem"),
    ("tls_key_pem", "key_pem"),
    ("tls_root_ca", "server_ca_pem"),
    ("tls_root_ca_pem", "server_ca_pem"),
    ("tls_server_name", "server_name"),
    ("tls_skip_verify", "insecure_skip_verify"),
];

/// Keys of which the first has no effect where the second is there too, as in the versions that had both.
pub(super) const YIELDS: &[(&str, &str)] = &[
    ("client_message_write_timeout", "websocket_write_timeout"),
    ("client_ping_interval", "websocket_ping_interval"),
    ("client_request_max_size", "websocket_message_size_limit"),
    ("redis_history_meta_ttl", "memory_history_meta_ttl"),
    ("redis_host", "redis_url"),
    ("redis_port", "redis_url"),
    ("websocket_ping_interval", "ping_interval"),
];

/// The fate of a key at the top of the file.
pub(super) fn top(name: &str) -> Option<Becomes> {
    if let Ok(at) = TOP.binary_search_by_key(&name, |(known, _)| known) {
        return Some(TOP[at].1);
    }
    tls(name).or_else(|| channel(name))
}

/// The fate of an option of channels.
pub(super) fn channel(name: &str) -> Option<Becomes> {
    if let Ok(at) = CHANNEL.binary_search_by_key(&name, |(known, _)| known) {
        return Some(CHANNEL[at].1);
    }
    CHANNEL_SAME.binary_search(&name).ok().map(|at| Channel(CHANNEL_SAME[at]))
}

/// The option of a TLS object that a flat key became.
fn tls(name: &str) -> Option<Becomes> {
    TLS.iter().find_map(|(prefix, object)| {
        let part = name.strip_prefix(prefix)?;
        tls_part(part).map(|option| Becomes::Tls(object, option))
    })
}

/// The option of a TLS object that the end of a flat key became.
pub(super) fn tls_part(part: &str) -> Option<&'static str> {
    TLS_PARTS.iter().find(|(known, _)| *known == part).map(|(_, option)| *option)
}

impl Becomes {
    /// The options of v6 that a key became. `scope` holds the options of its channels.
    pub(super) fn options(self, scope: &str) -> Vec<Cow<'static, str>> {
        let proxies = ["client.proxy.connect", "channel.proxy.subscribe", "rpc.proxy"];
        match self {
            Moved(path) | Endpoint(path, _) | Granular(path) => vec![path.into()],
            Self::Tls(object, option) => vec![format!("{object}.{option}").into()],
            EachProxy(option) => proxies.map(|proxy| format!("{proxy}.{option}").into()).into(),
            Channel(option) => vec![format!("{scope}.{option}").into()],
            // Options without a section are those of channels.
            Together(options) => options
                .iter()
                .map(|option| match option.contains('.') || matches!(*option, "proxies" | "consumers") {
                    true => (*option).into(),
                    false => format!("{scope}.{option}").into(),
                })
                .collect(),
            Gone(_) | Refused(_) => Vec::new(),
        }
    }

    /// The reason why no option took the place of a key.
    pub(super) const fn reason(self) -> Option<&'static str> {
        match self {
            Gone(reason) | Refused(reason) => Some(reason),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys;
    use super::*;
    use crate::config::catalogue::{Kind, Section as _, find};
    use crate::config::typed::{ChannelNamespace, Config, Consumer, NamedProxy, RpcNamespace};
    use std::collections::BTreeSet;

    fn is_option(path: &str) -> bool {
        let channel = path.strip_prefix("channel.without_namespace.");
        find(Config::fields(), path).is_some()
            || channel.is_some_and(|option| find(ChannelNamespace::fields(), option).is_some())
    }

    #[test]
    fn every_key_of_every_version_becomes_something() {
        for name in keys::all().keys() {
            let known = match name.split_once("[].") {
                None => {
                    let head = name.split('.').next().unwrap_or(name);
                    top(head).is_some() || find(Config::fields(), head).is_some()
                }
                Some(("namespaces", key)) => channel(key).is_some() || key == "name",
                Some(("rpc_namespaces", key)) => {
                    find(RpcNamespace::fields(), key.strip_prefix("rpc_").unwrap_or(key)).is_some()
                }
                Some(("proxies", key)) => {
                    let now = super::super::lists::proxy_option(key.split('.').next().unwrap_or(key));
                    find(NamedProxy::fields(), now).is_some()
                }
                Some((_, "disabled")) => true,
                Some((_, key)) => match key.strip_prefix("kafka.") {
                    Some(key) => find(Consumer::fields(), &super::super::lists::kafka_option(key)).is_some(),
                    None => find(Consumer::fields(), key).is_some(),
                },
            };
            assert!(known, "{name}");
        }
    }

    #[test]
    fn everything_that_becomes_something_was_a_key_and_is_an_option() {
        let had: BTreeSet<&str> =
            keys::all().keys().map(|name| name.rsplit("[].").next().unwrap_or(name)).collect();
        let same = CHANNEL_SAME.iter().map(|name| (*name, Channel(name)));
        for (name, became) in TOP.iter().chain(CHANNEL).copied().chain(same) {
            assert!(had.contains(name), "{name} was no key");
            for option in became.options("channel.without_namespace") {
                assert!(is_option(&option), "{name} became {option}");
            }
            if let Endpoint(_, switch) = became {
                assert!(switch.is_empty() || is_option(switch), "{name} switched {switch}");
            }
        }
        for (prefix, object) in TLS {
            assert!(had.contains(&*format!("{prefix}tls")), "{prefix}");
            for (part, option) in TLS_PARTS {
                let field = find(Config::fields(), &format!("{object}.{option}"));
                assert!(
                    field.is_some_and(|field| !matches!(field.kind, Kind::Section(_))),
                    "{object} {part}"
                );
            }
        }
        for name in YIELDS.iter().flat_map(|(loser, winner)| [loser, winner]) {
            assert!(had.contains(name), "{name}");
        }
    }

    #[test]
    fn tables_are_sorted() {
        assert!(TOP.is_sorted_by_key(|(name, _)| name));
        assert!(CHANNEL.is_sorted_by_key(|(name, _)| name));
        assert!(CHANNEL_SAME.is_sorted());
    }
}
