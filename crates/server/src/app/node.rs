//! The node of a configuration: its limits, the deciders for its clients, and the engines of its channels.

use super::build::{BuildError, explainer, node_name};
use super::engines::Engines;
use super::rates::rate_limits;
use crate::api::neighbours::Neighbours;
use crate::auth::jwks::Jwks;
use crate::auth::revoke_store::MemoryStore;
use crate::config::Config;
use crate::config::typed::{ConnectCodeToDisconnect, Socket, UniWebSocket};
use crate::proxy::{largest_batch, least_grace, longest_request};
use crate::session::{
    ActiveConfig, Brokers, ChannelEvents, ClientEvents, Explainer, RefusalLog, ServerHooks, Shared,
};
use spinward::clock::Clock;
use spinward::config::Compression;
use spinward::hooks::Hooks;
use spinward::wire::code::DisconnectCode;
use spinward::{Node, NodeBuilder};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The deciders for the clients of a node, and the engines of its channels.
pub(super) struct Deciders {
    pub(super) clock: Clock,
    pub(super) jwks: Jwks,
    pub(super) refusals: Arc<RefusalLog>,
    pub(super) explainer: Explainer,
    pub(super) engines: Engines,
    pub(super) hooks: ServerHooks,
    pub(super) reports: Reports,
}

/// Reports to the back end.
#[derive(Clone)]
pub(super) struct Reports {
    /// Channels that are occupied and vacated.
    pub(super) channels: ChannelEvents,
    /// Connections and subscriptions that begin and end.
    pub(super) clients: ClientEvents,
}

impl Reports {
    fn new(active: &Shared<ActiveConfig>, clock: &Clock) -> Self {
        Self {
            channels: ChannelEvents::new(active.clone(), clock.clone()),
            clients: ClientEvents::new(active.clone(), clock.clone()),
        }
    }

    /// Sends events until the server has stopped.
    pub(super) async fn run(self, ended: watch::Receiver<bool>) {
        tokio::join!(self.channels.run(ended.clone()), self.clients.run(ended));
    }

    /// Takes up an exchanged configuration.
    pub(super) fn reloaded(&self) {
        self.channels.reloaded();
        self.clients.reloaded();
    }

    /// Sends what is left, at most for this time.
    pub(super) async fn finish(&self, time: Duration) {
        tokio::join!(self.channels.finish(time), self.clients.finish(time));
    }
}

impl Deciders {
    pub(super) fn new(config: &Config) -> Result<Self, BuildError> {
        let clock = Clock::system();
        let jwks = Jwks::current();
        let refusals = Arc::new(RefusalLog::new(clock.clone()));
        let explainer = explainer(config, &jwks, clock.clone(), MemoryStore::open)?;
        let active = &explainer.active;
        let registry = Arc::clone(&active.get().rules.registry);
        let engines = Engines::new(config, &registry)?;
        let reports = Reports::new(active, &clock);
        let (told, revocations) = (Arc::clone(&refusals), explainer.revocations.clone());
        let hooks = ServerHooks::new(active.clone(), clock.clone(), told, revocations)
            .with_brokers(Brokers::new(registry, engines.named_brokers()))
            .with_channel_events(reports.channels.clone())
            .with_client_events(reports.clients.clone());
        Ok(Self { clock, jwks, refusals, explainer, engines, hooks, reports })
    }

    /// Builds the node that asks these hooks, or others that call them.
    pub(super) fn node(self, config: &Config, hooks: impl Hooks) -> Result<Node, BuildError> {
        let neighbours = Neighbours::new(self.explainer.revocations.clone());
        let builder = Node::builder(hooks).name(node_name(config)).version(env!("CARGO_PKG_VERSION"));
        let node = node(config, &self.explainer.active, self.engines.install(builder.handler(neighbours)))?;
        self.hooks.attach(&node);
        Ok(node)
    }
}

/// Time in which the reader of a stream over HTTP has to take something: Centrifugo v6.9 has no option for it, and gives
/// a write as much.
const RESPONSE_WRITE_TIMEOUT: Duration = Duration::from_secs(1);

/// Commands of a connection under way at once, at most.
const MAX_CONCURRENCY: u32 = 256;

fn node(config: &Config, active: &Shared<ActiveConfig>, builder: NodeBuilder) -> Result<Node, BuildError> {
    let client = &config.client;
    let (login_grace, subscription_grace) = least_grace(config);
    let limits = spinward::Config {
        shards: usize::from(config.shards),
        // A proxy gives up before the library does: it waits for its turn, and then for the answer.
        hook_timeout: spinward::Config::default()
            .hook_timeout
            .max(longest_request(config) + Duration::from_secs(5)),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ping_interval: client.ping_interval.get(),
        uni_grpc_ping_interval: config.uni_grpc.ping_interval.get(),
        pong_timeout: client.pong_timeout.get(),
        stale_close_delay: client.stale_close_delay.get(),
        // A back end that is slow to say that something goes on must not end it.
        expired_close_delay: client.expired_close_delay.get().max(login_grace),
        expired_sub_close_delay: client.expired_sub_close_delay.get().max(subscription_grace),
        channel_max_length: config.channel.max_length as usize,
        channel_limit: client.channel_limit as usize,
        tags_filter_max_size: usize::try_from(client.tags_filter_max_size).unwrap_or(usize::MAX),
        queue_max_size: usize::try_from(client.queue_max_size).unwrap_or(usize::MAX),
        message_size_limit: config.websocket.socket.message_size_limit,
        write_timeout: config.websocket.socket.write_timeout.get(),
        uni_write_timeout: config.uni_websocket.socket.write_timeout.get(),
        response_write_timeout: RESPONSE_WRITE_TIMEOUT,
        compression: compression(&config.websocket.socket),
        uni_compression: compression(&config.uni_websocket.socket),
        stream_message_size_limit: match config.webtransport.message_size_limit {
            0 => spinward::Config::default().stream_message_size_limit,
            limit => limit,
        },
        request_size_limit: request_size_limit(config),
        uni_websocket: uni_websocket(&config.uni_websocket),
        unidirectional_disconnects: disconnects(&client.connect_code_to_unidirectional_disconnect),
        channel_position_check_delay: client.channel_position_check_delay.get(),
        channel_position_max_time_lag: client.channel_position_max_time_lag.get(),
        connection_limit: client.connection_limit as usize,
        // Where connections wait for their turn, the node itself has no limit to hold.
        connection_rate_limit: match client.connection_rate_wait.is_zero() {
            true => client.connection_rate_limit,
            false => 0,
        },
        user_connection_limit: client.user_connection_limit as usize,
        history_max_publication_limit: client.history_max_publication_limit as usize,
        recovery_max_publication_limit: client.recovery_max_publication_limit as usize,
        history_meta_ttl: config.channel.history_meta_ttl.get(),
        legacy: client.legacy,
        sockjs_heartbeat_delay: config.sockjs.heartbeat_delay.get(),
        connect_include_server_time: client.connect_include_server_time,
        unresponsive_after: config.health.unresponsive_after.get(),
        rate_limits: rate_limits(&client.rate_limit, active),
        concurrency: client.concurrency.clamp(1, MAX_CONCURRENCY) as usize,
        subscribe_batch: largest_batch(config),
        ..spinward::Config::default()
    };
    Ok(builder.config(limits).build()?)
}

fn compression(options: &Socket) -> Compression {
    Compression {
        enabled: options.compression,
        level: i8::try_from(options.compression_level).unwrap_or(1),
        min_size: options.compression_min_size as usize,
        decompressed_size_limit: options.decompressed_message_size_limit,
    }
}

/// The largest of the limits of requests that hold a message. Each endpoint has its own besides.
fn request_size_limit(config: &Config) -> u32 {
    let streams = config.sse.max_request_body_size.max(config.http_stream.max_request_body_size);
    let uni = config.uni_sse.max_request_body_size.max(config.uni_http_stream.max_request_body_size);
    streams.max(uni).max(config.emulation.max_request_body_size)
}

fn uni_websocket(options: &UniWebSocket) -> spinward::config::UniWebSocket {
    spinward::config::UniWebSocket {
        message_size_limit: options.socket.message_size_limit,
        join_push_messages: options.join_push_messages,
        disable_closing_handshake: options.disable_closing_handshake,
        disable_disconnect_push: options.disable_disconnect_push,
    }
}

/// Disconnects by the code of the error. The first for a code counts.
fn disconnects(options: &ConnectCodeToDisconnect) -> BTreeMap<u32, DisconnectCode> {
    let mut all = BTreeMap::new();
    for transform in options.transforms.iter().filter(|_| options.enabled) {
        let (code, reason) = (transform.to.code, transform.to.reason.clone().into());
        all.entry(transform.code).or_insert(DisconnectCode { code, reason });
    }
    all
}
