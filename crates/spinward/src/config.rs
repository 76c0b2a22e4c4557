//! Limits and timings of a node, as plain data.

use spinward_wire::code::DisconnectCode;
use spinward_wire::ws::{self, Limits};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Limits and timings of a node. The defaults are Centrifugo's.
#[derive(Clone, Debug)]
pub struct Config {
    /// Threads that hold client connections, 1 to 64; 0 is one per available CPU.
    pub shards: usize,
    /// The server version in the connect reply.
    pub version: String,
    /// Time between pings of a connection; zero turns pings off.
    pub ping_interval: Duration,
    /// Time between pings of a connection by unidirectional gRPC, where TCP and HTTP/2 have signs of life of their own;
    /// zero turns them off.
    pub uni_grpc_ping_interval: Duration,
    /// Time that a client has to answer a ping (disconnect 3012). Must be below `ping_interval`.
    pub pong_timeout: Duration,
    /// Time that a connection has to log in (disconnect 3502).
    pub stale_close_delay: Duration,
    /// Time that an expired connection has to refresh (disconnect 3005).
    pub expired_close_delay: Duration,
    /// Time that an expired subscription has to refresh (unsubscribe 2501, disconnect 3006).
    pub expired_sub_close_delay: Duration,
    /// Most bytes of a channel's name, as the application has it; 0 means no limit. The application refuses longer
    /// ones itself; here it only decides which error comes first.
    pub channel_max_length: usize,
    /// Most channels of a connection (error 106, disconnect 3505); 0 means no limit.
    pub channel_limit: usize,
    /// Most bytes of the tags filters of one connection, compiled, together (error 106); 0 means no limit.
    pub tags_filter_max_size: usize,
    /// Most bytes waiting to be sent to one connection (disconnect 3008).
    pub queue_max_size: usize,
    /// Most bytes of one client message (close 1009).
    pub message_size_limit: u32,
    /// Most bytes of one client message over a byte stream in another framing than WebSocket (disconnect 3501).
    pub stream_message_size_limit: u32,
    /// Time in which a WebSocket client has to take something of what waits for it (disconnect 3009); zero means no limit.
    pub write_timeout: Duration,
    /// The same, of connections in one direction.
    pub uni_write_timeout: Duration,
    /// The same, of connections whose output is the response to a request, in both directions or one.
    pub response_write_timeout: Duration,
    /// Compression of WebSocket messages.
    pub compression: Compression,
    /// Compression of WebSocket messages of connections in one direction.
    pub uni_compression: Compression,
    /// Most bytes of one client message that comes by a request of its own (disconnect 3501). The services that take
    /// such requests limit their bodies themselves.
    pub request_size_limit: u32,
    /// WebSocket in one direction.
    pub uni_websocket: UniWebSocket,
    /// Disconnects of unidirectional clients whose login ends in an error, by the code of the error. Others get 3005 if
    /// something has expired, and 3004.
    pub unidirectional_disconnects: BTreeMap<u32, DisconnectCode>,
    /// Interval at which the position of a channel is compared with a remote broker's.
    pub channel_position_check_delay: Duration,
    /// Age at which a publication arrives from a remote broker too late: the position of its channel is then compared
    /// at once. Zero means that none is late. The clocks of broker and node have to agree.
    pub channel_position_max_time_lag: Duration,
    /// Most connections of this node (HTTP 503); 0 means no limit.
    pub connection_limit: usize,
    /// Most new connections of this node in a second (HTTP 503); 0 means no limit.
    pub connection_rate_limit: u32,
    /// Most connections of one user on this node (disconnect 3504); 0 means no limit.
    pub user_connection_limit: usize,
    /// Most publications that a client's history call returns; 0 means no limit.
    pub history_max_publication_limit: usize,
    /// Most missed publications that a recovery returns; more is `recovered: false`. 0 means no limit.
    pub recovery_max_publication_limit: usize,
    /// Time that offset and epoch of a channel outlive its last use.
    pub history_meta_ttl: Duration,
    /// Take clients that speak version 1 of the protocol, as SDKs of 2018 to 2022 do. They are told by their first command.
    pub legacy: bool,
    /// Time between SockJS heartbeats to clients of version 1; zero turns them off. Others are pinged by `ping_interval`.
    pub sockjs_heartbeat_delay: Duration,
    /// Tell the server's time in the connect reply.
    pub connect_include_server_time: bool,
    /// Rate limits of connections and users.
    pub rate_limits: RateLimits,
    /// Bytes that may wait for one shard. Publishers, joins and leaves wait while it is full.
    pub inbox_max_size: usize,
    /// Answers that may be outstanding at once, of the hooks, of the broker, and of the presence store each. Commands
    /// and callers wait for a place. Joins, leaves and removals from presence, for which nobody waits, take half of the
    /// places at most; as many as there are places may wait, and further ones are dropped and counted.
    pub max_calls_in_flight: usize,
    /// Commands of a connection that may be under way at once. With more than one, the replies of a connection may
    /// overtake each other, and what its commands do may as well. A login is always by itself.
    pub concurrency: usize,
    /// Subscribe commands of one message that are decided together, by
    /// [`Hooks::subscribe_many`](crate::hooks::Hooks::subscribe_many). Their replies come in their order. With fewer than
    /// two, each is decided by itself.
    pub subscribe_batch: usize,
    /// Time for a hook, broker or presence store that answers later. After it the answer is no longer waited for:
    /// the command gets a temporary error (100), a login a disconnect (3004). Zero means no limit.
    pub hook_timeout: Duration,
    /// Time after which a shard that does not come round counts as unresponsive: the log says so, and the
    /// [`health`](crate::Node::health) of its node.
    pub unresponsive_after: Duration,
}

/// Compression of WebSocket messages (permessage-deflate). Neither side keeps a context from one message to the next, so
/// it costs an idle connection nothing, and a publication is compressed once for all its receivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    /// Clients that offer it get it.
    pub enabled: bool,
    /// 1, the fastest, to 9, the best. -1 is a compromise; -2 looks for no repetitions; 0 sends messages as they are.
    pub level: i8,
    /// Messages up to this size are sent as they are.
    pub min_size: usize,
    /// Most bytes of a client's message, inflated (close 1009); 0 is ten times the limit of its bytes as they come in.
    pub decompressed_size_limit: u32,
}

impl Default for Compression {
    fn default() -> Self {
        let ws::Compression { level, min_size } = ws::Compression::default();
        Self { enabled: false, level, min_size, decompressed_size_limit: 0 }
    }
}

impl Compression {
    pub(crate) const fn terms(self) -> ws::Compression {
        ws::Compression { level: self.level, min_size: self.min_size }
    }

    /// The limits of messages where they may have so many bytes as they come in.
    pub(crate) const fn limits(self, message: u32) -> Limits {
        match self.decompressed_size_limit {
            0 => Limits::of(message),
            decompressed => Limits { message, decompressed },
        }
    }
}

/// Conduct of a WebSocket in one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UniWebSocket {
    /// Most bytes of one client message (close 1009).
    pub message_size_limit: u32,
    /// Puts messages that wait together into one frame, each on a line of its own.
    pub join_push_messages: bool,
    /// Closes without a close frame.
    pub disable_closing_handshake: bool,
    /// Closes without a disconnect push.
    pub disable_disconnect_push: bool,
}

impl Default for UniWebSocket {
    fn default() -> Self {
        Self {
            message_size_limit: 65536,
            join_push_messages: false,
            disable_closing_handshake: false,
            disable_disconnect_push: false,
        }
    }
}

/// Limits of how fast a connection and a user may ask, and a connection may send. None by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RateLimits {
    /// Commands of one connection.
    pub commands: CommandLimits,
    /// Commands of all connections of a user on this node, in addition. Users without an id are not limited.
    pub user_commands: CommandLimits,
    /// Buckets of replies with an error. A connection beyond them is closed (3509).
    pub errors: Vec<Bucket>,
    /// Buckets of received bytes. A connection beyond them is not read until they have filled up again.
    pub bytes: Vec<Bucket>,
    /// The group of a channel, for [`CommandLimits::groups`].
    pub channel_group: Option<ChannelGroup>,
}

/// Finds the group of a channel by its name: an index into [`CommandLimits::groups`]. It is called by shards, and must
/// not block.
#[derive(Clone)]
pub struct ChannelGroup(Arc<FindGroup>);

type FindGroup = dyn Fn(&str) -> Option<usize> + Send + Sync;

impl ChannelGroup {
    /// Finds groups by this function.
    pub fn new(find: impl Fn(&str) -> Option<usize> + Send + Sync + 'static) -> Self {
        Self(Arc::new(find))
    }

    /// Returns the group of a channel.
    #[must_use]
    pub fn find(&self, channel: &str) -> Option<usize> {
        (self.0)(channel)
    }
}

impl fmt::Debug for ChannelGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChannelGroup")
    }
}

impl PartialEq for ChannelGroup {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for ChannelGroup {}

/// Limits of commands.
///
/// A command takes from its own buckets, or from those of `default` where it has none, and from those of `total`. If
/// one of them is empty, the command is refused (error 111; disconnect 3013 where it has no reply). Pongs are not
/// counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLimits {
    /// Buckets of all commands together.
    pub total: Vec<Bucket>,
    /// Buckets of the commands that have none of their own, shared by them.
    pub default: Vec<Bucket>,
    /// Buckets of connect commands that the application has accepted. They count for a user alone: a connection has
    /// one.
    pub connect: Option<Vec<Bucket>>,
    /// Buckets of subscribe commands.
    pub subscribe: Option<Vec<Bucket>>,
    /// Buckets of unsubscribe commands.
    pub unsubscribe: Option<Vec<Bucket>>,
    /// Buckets of publish commands.
    pub publish: Option<Vec<Bucket>>,
    /// Buckets of history commands.
    pub history: Option<Vec<Bucket>>,
    /// Buckets of presence commands.
    pub presence: Option<Vec<Bucket>>,
    /// Buckets of presence_stats commands.
    pub presence_stats: Option<Vec<Bucket>>,
    /// Buckets of refresh commands.
    pub refresh: Option<Vec<Bucket>>,
    /// Buckets of sub_refresh commands.
    pub sub_refresh: Option<Vec<Bucket>>,
    /// Buckets of rpc commands.
    pub rpc: Option<Vec<Bucket>>,
    /// Buckets of rpc commands with these methods, in place of those of `rpc`.
    pub rpc_methods: BTreeMap<String, Vec<Bucket>>,
    /// Groups of channels with limits of their own.
    pub groups: Vec<GroupLimits>,
}

/// Limits of the commands about the channels of a group, in place of those for all channels. Each connection and user
/// has buckets for each group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupLimits {
    /// Buckets of subscribe commands.
    pub subscribe: Option<Vec<Bucket>>,
    /// Buckets of unsubscribe commands.
    pub unsubscribe: Option<Vec<Bucket>>,
    /// Buckets of publish commands.
    pub publish: Option<Vec<Bucket>>,
    /// Buckets of history commands.
    pub history: Option<Vec<Bucket>>,
    /// Buckets of presence commands.
    pub presence: Option<Vec<Bucket>>,
    /// Buckets of presence_stats commands.
    pub presence_stats: Option<Vec<Bucket>>,
    /// Buckets of sub_refresh commands.
    pub sub_refresh: Option<Vec<Bucket>>,
}

/// A number of events per interval, and as many at once after a pause of that length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// The interval.
    pub interval: Duration,
    /// Events in it; 0 counts as 1.
    pub rate: u32,
}

impl Config {
    /// Returns true if a connection may have more than one command under way.
    pub(crate) const fn has_further_commands(&self) -> bool {
        self.concurrency > 1 || self.subscribe_batch > 1
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            shards: 0,
            version: concat!("spinward ", env!("CARGO_PKG_VERSION")).to_owned(),
            ping_interval: Duration::from_secs(25),
            uni_grpc_ping_interval: Duration::from_secs(25),
            pong_timeout: Duration::from_secs(8),
            stale_close_delay: Duration::from_secs(10),
            expired_close_delay: Duration::from_secs(25),
            expired_sub_close_delay: Duration::from_secs(25),
            channel_max_length: 0,
            channel_limit: 128,
            tags_filter_max_size: 128 << 10,
            queue_max_size: 1 << 20,
            message_size_limit: 65536,
            stream_message_size_limit: 65536,
            write_timeout: Duration::ZERO,
            uni_write_timeout: Duration::ZERO,
            response_write_timeout: Duration::ZERO,
            compression: Compression::default(),
            uni_compression: Compression::default(),
            request_size_limit: 65536,
            uni_websocket: UniWebSocket::default(),
            unidirectional_disconnects: BTreeMap::new(),
            channel_position_check_delay: Duration::from_secs(40),
            channel_position_max_time_lag: Duration::ZERO,
            connection_limit: 0,
            connection_rate_limit: 0,
            user_connection_limit: 0,
            history_max_publication_limit: 300,
            recovery_max_publication_limit: 300,
            history_meta_ttl: Duration::from_secs(720 * 3600),
            legacy: true,
            sockjs_heartbeat_delay: Duration::from_secs(25),
            connect_include_server_time: false,
            rate_limits: RateLimits::default(),
            inbox_max_size: 16 << 20,
            max_calls_in_flight: 16384,
            concurrency: 1,
            subscribe_batch: 1,
            hook_timeout: Duration::from_secs(30),
            unresponsive_after: Duration::from_secs(5),
        }
    }
}
