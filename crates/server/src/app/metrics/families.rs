//! Every metric of the page: name, type, help and labels. The manual's chapter is made of this list.

/// A metric, or several under one name that differ by their labels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Family {
    /// The name.
    pub(crate) name: &'static str,
    /// The type, as Prometheus calls it.
    pub(crate) kind: &'static str,
    /// The help text.
    pub(crate) help: &'static str,
    /// Names of the labels.
    pub(crate) labels: &'static [&'static str],
}

/// Metrics about one part of the server.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    /// Heading in the manual.
    pub(crate) title: &'static str,
    /// Metrics of the group.
    pub(crate) families: &'static [Family],
}

macro_rules! families {
    ($($title:literal { $(
        $(#[doc = $help:literal])+
        $id:ident = $kind:ident $name:literal [$($label:literal),*];
    )* })*) => {
        $($(
            $(#[doc = $help])+
            #[allow(dead_code, reason = "not every feature has all of them")]
            pub(in crate::app) const $id: Family = Family {
                name: $name,
                kind: stringify!($kind),
                help: concat!($($help),+).trim_ascii(),
                labels: &[$($label),*],
            };
        )*)*

        /// All of them, in the order of the manual.
        #[cfg(test)]
        pub(crate) const GROUPS: &[Group] = &[$(Group { title: $title, families: &[$($id),*] }),*];
    };
}

families! {
    "Node" {
        /// Logged-in connections.
        NUM_CLIENTS = gauge "centrifugo_node_num_clients" [];
        /// Distinct users.
        NUM_USERS = gauge "centrifugo_node_num_users" [];
        /// Subscriptions.
        NUM_SUBSCRIPTIONS = gauge "centrifugo_node_num_subscriptions" [];
        /// Channels.
        NUM_CHANNELS = gauge "centrifugo_node_num_channels" [];
        /// Nodes of the cluster.
        NUM_NODES = gauge "centrifugo_node_num_nodes" [];
        /// Version of the server.
        BUILD = gauge "centrifugo_node_build" ["version"];
        /// Messages taken from clients and the API.
        MESSAGES_RECEIVED = counter "centrifugo_node_messages_received_count" ["type", "channel_namespace"];
        /// Messages handed to the broker.
        MESSAGES_SENT = counter "centrifugo_node_messages_sent_count" ["type", "channel_namespace"];
        /// Times that configuration was reloaded.
        CONFIG_RELOADS = counter "spinward_config_reloads_total" ["result"];
        /// Memory that is in use, as the allocator counts it.
        HEAP_BYTES = gauge "spinward_heap_bytes" [];
        /// Lines of the log that were not written, for want of room or by an error.
        LOG_LINES_DROPPED = counter "spinward_log_lines_dropped_total" [];
        /// Time that the loop of a shard takes until it comes round.
        LOOP_LAG = gauge "spinward_shard_loop_lag_seconds" ["shard"];
        /// 1 while a shard does its work, 0 if it failed or hangs.
        SHARD_RESPONSIVE = gauge "spinward_shard_responsive" ["shard"];
    }
    "Connections" {
        /// Connections by transport.
        CONNECTIONS_INFLIGHT =
            gauge "centrifugo_client_connections_inflight" ["transport", "accept_protocol", "client_name", "client_version"];
        /// Connections that have logged in, by transport.
        CONNECTIONS_ACCEPTED =
            counter "centrifugo_client_connections_accepted" ["transport", "accept_protocol", "client_name", "client_version"];
        /// Subscriptions.
        SUBSCRIPTIONS_INFLIGHT = gauge "centrifugo_client_subscriptions_inflight" ["client_name", "channel_namespace"];
        /// Subscriptions that have begun.
        SUBSCRIPTIONS_ACCEPTED = counter "centrifugo_client_subscriptions_accepted" ["client_name", "channel_namespace"];
        /// Sends to clients.
        TRANSPORT_SENT = counter "centrifugo_transport_messages_sent" ["transport", "frame_type", "channel_namespace"];
        /// Bytes sent to clients.
        TRANSPORT_SENT_SIZE =
            counter "centrifugo_transport_messages_sent_size" ["transport", "frame_type", "channel_namespace"];
        /// Messages from clients.
        TRANSPORT_RECEIVED =
            counter "centrifugo_transport_messages_received" ["transport", "frame_type", "channel_namespace"];
        /// Bytes from clients.
        TRANSPORT_RECEIVED_SIZE =
            counter "centrifugo_transport_messages_received_size" ["transport", "frame_type", "channel_namespace"];
        /// Connections, logged in or not.
        CONNECTIONS = gauge "spinward_connections" [];
        /// Connections of clients that are not logged in.
        UNAUTHENTICATED = gauge "spinward_unauthenticated_connections" [];
        /// Connections by what moves their bytes.
        ACCEPTED = counter "spinward_connections_accepted_total" ["mover"];
        /// Connections refused for a limit of the node.
        CONNECTION_LIMIT = counter "centrifugo_node_client_connection_limit" [];
        /// Connections refused, by the option that sets the limit.
        CONNECTIONS_REFUSED = counter "spinward_connections_refused_total" ["option"];
        /// 1 while no new clients are taken for this reason.
        OVERLOADED = gauge "spinward_overloaded" ["reason"];
        /// Connections closed by the server.
        SERVER_DISCONNECTS = counter "centrifugo_client_num_server_disconnects" ["code"];
        /// Logged-in connections that speak protocol version 1.
        LEGACY_CLIENTS = gauge "spinward_legacy_clients" [];
        /// Connections that turned out to speak protocol version 1.
        LEGACY_CONNECTIONS = counter "spinward_legacy_connections_total" [];
        /// System calls that sent something to a client.
        FLUSH_SENDS = counter "spinward_flush_sends_total" [];
    }
    "Commands, subscriptions and publications" {
        /// Commands of clients.
        COMMANDS = counter "spinward_commands_total" ["method"];
        /// Error replies to clients.
        REPLY_ERRORS = counter "centrifugo_client_num_reply_errors" ["method", "code", "channel_namespace"];
        /// Refused logins, tokens and commands, by reason.
        REFUSALS = counter "spinward_refusals_total" ["action", "reason"];
        /// Subscriptions ended by the server.
        SERVER_UNSUBSCRIBES = counter "centrifugo_client_num_server_unsubscribes" ["code", "channel_namespace"];
        /// Recoveries.
        RECOVER = counter "centrifugo_client_recover" ["recovered", "channel_namespace", "has_recovered_publications"];
        /// Publications put on their way to a client.
        DELIVERIES = counter "spinward_deliveries_total" [];
        /// Publications encoded, each time for all subscribers with the same dialect and delta base.
        ENCODINGS = counter "spinward_publication_encodings_total" [];
        /// Patches made of publications, each shared by all subscribers who have the same base.
        PATCHES = counter "spinward_publication_patches_total" [];
        /// Publications that tags filters held back.
        FILTERED = counter "centrifugo_node_tags_filter_dropped_publications" [];
        /// Tags filters asked about a publication, each distinct one once per shard.
        FILTER_EVALUATIONS = counter "spinward_filter_evaluations_total" [];
        /// Joins and leaves that were dropped because too many waited.
        ANNOUNCEMENTS_DROPPED = counter "spinward_announcements_dropped_total" [];
        /// Removals from presence and refreshes of it that were dropped because too many waited.
        PRESENCE_DROPPED = counter "spinward_presence_dropped_total" [];
        /// Decisions that ended in a panic, each of which closed a connection.
        HOOK_PANICS = counter "spinward_hook_panics_total" [];
        /// Decisions that took too long.
        HOOK_TIMEOUTS = counter "spinward_hook_timeouts_total" [];
        /// Requests for key sets.
        JWKS_FETCHES = counter "spinward_jwks_fetches_total" [];
        /// Requests for key sets that brought none.
        JWKS_FAILURES = counter "spinward_jwks_fetch_failures_total" [];
    }
    "Server API" {
        /// Calls of the server API by the name of the key and method.
        API_CALLS = counter "spinward_api_calls_total" ["key", "method"];
        /// Calls that the key does not allow, by what it lacks.
        API_CALLS_DENIED = counter "spinward_api_calls_denied_total" ["key", "reason"];
        /// Duration of calls by the way they came (http, grpc or consuming): sum and count.
        API_DURATION = summary "centrifugo_api_command_duration_seconds" ["protocol", "method"];
        /// Duration of calls, in buckets.
        API_DURATION_HISTOGRAM =
            histogram "centrifugo_api_command_duration_seconds_histogram" ["protocol", "method"];
        /// Calls that ended in an error, by its code.
        API_ERRORS = counter "centrifugo_api_command_errors_total" ["protocol", "method", "error"];
    }
    "Engines" {
        /// Times that subscribers of a channel were told that publications are missing.
        BROKER_GAPS = counter "spinward_broker_gaps_total" [];
        /// Times that a broker said that deliveries may be missing.
        BROKER_INTERRUPTIONS = counter "spinward_broker_interruptions_total" [];
        /// Reads for recoveries that a broker was not asked for, because what it would answer was known.
        BROKER_READS_SAVED = counter "spinward_broker_reads_saved_total" [];
        /// Calls that a broker or presence store failed and that no client waited for.
        ENGINE_ERRORS = counter "spinward_engine_errors_total" [];
        /// Events of engines. With an engine only.
        ENGINE_EVENTS = counter "spinward_engine_events_total" ["part", "name", "type", "event"];
        /// Age of the row that was delivered last, and of the oldest transaction that has published. With PostgreSQL
        /// only.
        ENGINE_AGE = gauge "spinward_engine_age_seconds" ["part", "name", "type", "of"];
        /// Time that the last probe publication of a broker took to come back. With an engine only.
        ENGINE_LAG = gauge "spinward_engine_lag_seconds" ["part", "name", "type"];
        /// Pub/Sub of a Redis broker: connections lost, and messages that are malformed.
        REDIS_PUB_SUB_ERRORS = counter "centrifugo_broker_redis_pub_sub_errors" ["broker_name", "error"];
        /// Messages of Pub/Sub that a Redis broker dropped because subscribers were behind for too long. They are told.
        REDIS_PUB_SUB_DROPPED =
            counter "centrifugo_broker_redis_pub_sub_dropped_messages" ["broker_name", "channel_type"];
        /// Age of the row that a PostgreSQL broker delivered last, at that time.
        POSTGRES_CURSOR_LAG =
            gauge "centrifugo_broker_postgres_outbox_cursor_lag_seconds" ["broker_name", "shard"];
        /// Messages between nodes, by what became of them. With a controller only.
        CONTROL_MESSAGES = counter "spinward_control_messages" ["fate"];
    }
    "Event proxies, where there are any" {
        /// Duration of calls of proxies: sum and count.
        PROXY_DURATION = summary "centrifugo_proxy_duration_seconds" ["protocol", "type", "name"];
        /// Duration of calls of proxies, in buckets.
        PROXY_DURATION_HISTOGRAM =
            histogram "centrifugo_proxy_duration_seconds_histogram" ["protocol", "type", "name"];
        /// Requests of proxies that brought nothing to use.
        PROXY_ERRORS = counter "centrifugo_proxy_errors" ["protocol", "type", "name"];
        /// Calls of proxies under way.
        PROXY_INFLIGHT = gauge "centrifugo_proxy_inflight_requests" ["protocol", "type", "name"];
        /// The same as centrifugo_proxy_errors, by reason.
        PROXY_FAILURES = counter "spinward_proxy_failures_total" ["protocol", "type", "name", "reason"];
        /// 1 while the circuit breaker of a proxy is not closed.
        PROXY_BREAKER = gauge "spinward_proxy_breaker_open" ["protocol", "type", "name"];
        /// Requests that wait for a place.
        PROXY_WAITING = gauge "spinward_proxy_waiting_requests" ["protocol", "type", "name"];
        /// Open streams of the subscribe stream proxy.
        PROXY_STREAMS = gauge "spinward_proxy_open_streams" ["protocol", "type", "name"];
        /// Headers of clients that were left out, since gRPC carries ASCII only.
        PROXY_HEADERS = counter "spinward_proxy_headers_left_out_total" ["protocol", "type", "name"];
    }
    "Channel events, where a namespace asks for them" {
        /// Channel events that the state proxy has confirmed.
        CHANNEL_EVENTS = counter "spinward_channel_events_total" ["type"];
        /// Channel events dropped because `channel.state.max_waiting` of them waited.
        CHANNEL_EVENTS_DROPPED = counter "spinward_channel_events_dropped_total" [];
        /// Channel events that cancelled each other out before they were sent.
        CHANNEL_EVENTS_MERGED = counter "spinward_channel_events_merged_total" [];
        /// Channels with an event that waits or is being sent.
        CHANNEL_EVENTS_WAITING = gauge "spinward_channel_events_waiting" [];
        /// Channels that are followed: those that are occupied, and those whose events are not confirmed.
        CHANNEL_EVENTS_CHANNELS = gauge "spinward_channel_events_channels" [];
    }
    "Client events, where there is a proxy for them" {
        /// Client events that the events proxy has confirmed.
        CLIENT_EVENTS = counter "spinward_client_events_total" ["type"];
        /// Client events dropped because `client.events.max_waiting` of them waited.
        CLIENT_EVENTS_DROPPED = counter "spinward_client_events_dropped_total" [];
        /// Client events that wait or are being sent.
        CLIENT_EVENTS_WAITING = gauge "spinward_client_events_waiting" [];
    }
    "Consumers, where there are any" {
        /// Messages whose call had its effect.
        CONSUMERS_PROCESSED = counter "centrifugo_consumers_messages_processed_total" ["consumer_name"];
        /// Messages skipped, attempts that failed, and failures of the source.
        CONSUMERS_ERRORS = counter "centrifugo_consumers_errors_total" ["consumer_name"];
        /// The same as centrifugo_consumers_errors_total, by reason.
        CONSUMERS_FAILURES = counter "spinward_consumers_errors_total" ["consumer_name", "reason"];
        /// Age of the oldest message that a partition took up last; 0 where nothing waits.
        CONSUMERS_LAG = gauge "spinward_consumers_lag_seconds" ["consumer_name"];
        /// 1 while the source is connected.
        CONSUMERS_UP = gauge "spinward_consumers_up" ["consumer_name"];
    }
    "TLS, where it is on" {
        /// TLS handshakes by result.
        TLS_HANDSHAKES = counter "spinward_tls_handshakes_total" ["port", "result"];
        /// Times that certificates were reloaded. After a failure the former one is kept.
        TLS_EXCHANGES = counter "spinward_tls_certificate_exchanges_total" ["port", "result"];
        /// Time at which the first certificate of the chain to expire does, in seconds since 1970.
        TLS_EXPIRY = gauge "spinward_tls_certificate_expiry_timestamp_seconds" ["port", "host"];
        /// Certificates asked for by ACME, by result.
        ACME_ORDERS = counter "spinward_acme_orders_total" ["result"];
    }
}
