//! The transports of clients.

use super::Tls;
use crate::config::catalogue::options;
use crate::config::duration::Duration;

options! {
    /// WebSocket.
    pub struct WebSocket {
        /// Disables the transport.
        disabled: bool;
        /// URL path.
        handler_prefix: String = "/connection/websocket";
        /// WebSocket options.
        #[serde(flatten)]
        socket: Socket;
    }

    /// WebSocket options.
    pub struct Socket {
        /// Enables compression (permessage-deflate).
        compression: bool;
        /// Size up to which messages are not compressed, in bytes.
        compression_min_size: u32;
        /// Compression level, -2 to 9.
        compression_level: i32 = 1i32 => between(-2, 9);
        /// Size of Centrifugo's read buffer. It has no effect in Spinward.
        read_buffer_size: u32;
        /// Centrifugo's pool of write buffers. It has no effect: idle connections hold no buffers.
        use_write_buffer_pool: bool;
        /// Size of Centrifugo's write buffer. It has no effect in Spinward.
        write_buffer_size: u32;
        /// Time in which a client has to take something of what waits for it; 0 means no limit.
        write_timeout: Duration = Duration::millis(1000);
        /// Maximum size of a message from a client, in bytes.
        message_size_limit: u32 = 65_536u32;
        /// Maximum size of a decompressed message in bytes; 0 means ten times `message_size_limit`.
        decompressed_message_size_limit: u32;
    }

    /// SockJS.
    pub struct SockJs {
        /// Enables the transport, where `client.legacy` is on too.
        enabled: bool = true;
        /// URL path.
        handler_prefix: String = "/connection/sockjs";
        /// Address of `sockjs-client`, which pages in frames load.
        url: String = "https://cdn.jsdelivr.net/npm/sockjs-client@1.6.1/dist/sockjs.min.js";
        /// Interval between heartbeats to clients of protocol version 1.
        heartbeat_delay: Duration = Duration::secs(25);
    }

    /// Server-sent events.
    pub struct Sse {
        /// Enables the transport.
        enabled: bool;
        /// URL path.
        handler_prefix: String = "/connection/sse";
        /// Maximum size of a request body in bytes.
        max_request_body_size: u32 = 65_536u32;
    }

    /// HTTP streaming.
    pub struct HttpStream {
        /// Enables the transport.
        enabled: bool;
        /// URL path.
        handler_prefix: String = "/connection/http_stream";
        /// Maximum size of a request body in bytes.
        max_request_body_size: u32 = 65_536u32;
    }

    /// WebTransport.
    pub struct WebTransport {
        /// Enables the transport.
        enabled: bool;
        /// URL path.
        handler_prefix: String = "/connection/webtransport";
        /// Maximum size of a message from a client, in bytes; 0 means the default.
        message_size_limit: u32 = 65_536u32;
    }

    /// Unidirectional server-sent events (SSE).
    pub struct UniSse {
        /// Enables the transport.
        enabled: bool;
        /// URL path.
        handler_prefix: String = "/connection/uni_sse";
        /// Maximum size of a request body in bytes.
        max_request_body_size: u32 = 65_536u32;
        /// HTTP responses to failed connects.
        connect_code_to_http_response: ConnectCodeToHttp;
        /// Gives events ids by which `EventSource` resumes: it receives what it missed in recoverable channels.
        event_ids: bool => ours;
    }

    /// Unidirectional HTTP streaming.
    pub struct UniHttpStream {
        /// Enables the transport.
        enabled: bool;
        /// URL path.
        handler_prefix: String = "/connection/uni_http_stream";
        /// Maximum size of a request body in bytes.
        max_request_body_size: u32 = 65_536u32;
        /// HTTP responses to failed connects.
        connect_code_to_http_response: ConnectCodeToHttp;
    }

    /// HTTP responses to failed connects.
    pub struct ConnectCodeToHttp {
        /// Enables the mapping.
        enabled: bool;
        /// Mappings of codes to HTTP responses.
        transforms: Vec<HttpTransform>;
    }

    /// HTTP response to a code.
    pub struct HttpTransform {
        /// Code of a failed connect.
        code: u32;
        /// HTTP response.
        to: HttpAnswer;
    }

    /// HTTP response.
    pub struct HttpAnswer {
        /// Status.
        status_code: u16;
        /// Body.
        body: String;
    }

    /// Unidirectional WebSocket.
    pub struct UniWebSocket {
        /// Enables the transport.
        enabled: bool;
        /// URL path.
        handler_prefix: String = "/connection/uni_websocket";
        /// WebSocket options.
        #[serde(flatten)]
        socket: Socket;
        /// Closes without a closing handshake.
        disable_closing_handshake: bool;
        /// Omits the disconnect push before closing.
        disable_disconnect_push: bool;
        /// Puts several messages into one frame.
        join_push_messages: bool;
    }

    /// Unidirectional gRPC stream.
    pub struct UniGrpc {
        /// Enables the transport.
        enabled: bool;
        /// Address to listen on; empty means all addresses.
        address: String;
        /// Port to listen on.
        port: u16 = 11000u16;
        /// Maximum message size in bytes; 0 means 4 MiB.
        max_receive_message_size: u32;
        /// Ping interval. As in Centrifugo, `client.ping_interval` has no effect here. 0 turns pings off.
        ping_interval: Duration = Duration::secs(25) => ours;
        /// TLS of the server.
        tls: Tls;
    }

    /// Emulation endpoint: receives the commands of SSE and HTTP streaming clients.
    pub struct Emulation {
        /// URL path.
        handler_prefix: String = "/emulation";
        /// Maximum size of a request body in bytes.
        max_request_body_size: u32 = 65_536u32;
    }
}
