//! The transports of clients.

use super::Tls;
use crate::config::catalogue::options;
use crate::config::duration::Duration;

options! {
    /// WebSocket.
    pub struct WebSocket {
        /// Do not serve it.
        disabled: bool;
        /// Path.
        handler_prefix: String = "/connection/websocket";
        /// Options of both kinds of WebSocket.
        #[serde(flatten)]
        socket: Socket;
    }

    /// Options of both kinds of WebSocket.
    pub struct Socket {
        /// Compress messages.
        compression: bool => planned;
        /// Fewest bytes of a message that is compressed.
        compression_min_size: u32 => planned;
        /// Compression level, -2 to 9.
        compression_level: i32 = 1i32 => planned between(-2, 9);
        /// Centrifugo's read buffer. Spinward sizes its own.
        read_buffer_size: u32;
        /// Centrifugo's pool of write buffers. Spinward keeps no buffer of an idle connection.
        use_write_buffer_pool: bool;
        /// Centrifugo's write buffer. Spinward sizes its own.
        write_buffer_size: u32;
        /// Write timeout.
        write_timeout: Duration = Duration::millis(1000);
        /// Most bytes in a message of a client.
        message_size_limit: u32 = 65_536u32;
        /// Most bytes of a message after decompression; 0 takes a built-in limit.
        decompressed_message_size_limit: u32 => planned;
    }

    /// Server-sent events.
    pub struct Sse {
        /// Serve it.
        enabled: bool;
        /// Path.
        handler_prefix: String = "/connection/sse";
        /// Most bytes in the body of a request.
        max_request_body_size: u32 = 65_536u32;
    }

    /// HTTP streaming.
    pub struct HttpStream {
        /// Serve it.
        enabled: bool;
        /// Path.
        handler_prefix: String = "/connection/http_stream";
        /// Most bytes in the body of a request.
        max_request_body_size: u32 = 65_536u32;
    }

    /// WebTransport.
    pub struct WebTransport {
        /// Serve it.
        enabled: bool;
        /// Path.
        handler_prefix: String = "/connection/webtransport";
        /// Most bytes in a message of a client.
        message_size_limit: u32 = 65_536u32;
    }

    /// Server-sent events in one direction.
    pub struct UniSse {
        /// Serve it.
        enabled: bool;
        /// Path.
        handler_prefix: String = "/connection/uni_sse";
        /// Most bytes in the body of a request.
        max_request_body_size: u32 = 65_536u32;
        /// HTTP answers for connects that fail.
        connect_code_to_http_response: ConnectCodeToHttp;
    }

    /// HTTP streaming in one direction.
    pub struct UniHttpStream {
        /// Serve it.
        enabled: bool;
        /// Path.
        handler_prefix: String = "/connection/uni_http_stream";
        /// Most bytes in the body of a request.
        max_request_body_size: u32 = 65_536u32;
        /// HTTP answers for connects that fail.
        connect_code_to_http_response: ConnectCodeToHttp;
    }

    /// HTTP answers for connects that fail.
    pub struct ConnectCodeToHttp {
        /// Use the list.
        enabled: bool;
        /// Maps codes to HTTP answers.
        transforms: Vec<HttpTransform>;
    }

    /// HTTP answer for a code.
    pub struct HttpTransform {
        /// Code of a failed connect.
        code: u32;
        /// The answer.
        to: HttpAnswer;
    }

    /// An HTTP answer.
    pub struct HttpAnswer {
        /// Its status.
        status_code: u16;
        /// Its body.
        body: String;
    }

    /// WebSocket in one direction.
    pub struct UniWebSocket {
        /// Serve it.
        enabled: bool;
        /// Path.
        handler_prefix: String = "/connection/uni_websocket";
        /// Options of both kinds of WebSocket.
        #[serde(flatten)]
        socket: Socket;
        /// Close without a closing handshake.
        disable_closing_handshake: bool;
        /// Do not push the disconnect before closing.
        disable_disconnect_push: bool;
        /// Put several messages into one frame.
        join_push_messages: bool;
    }

    /// gRPC stream in one direction.
    pub struct UniGrpc {
        /// Serve it.
        enabled: bool;
        /// Address to listen on; empty listens on all.
        address: String;
        /// Port.
        port: u16 = 11000u16;
        /// Most bytes in a message; 0 takes 4 MiB.
        max_receive_message_size: u32;
        /// TLS.
        tls: Tls;
    }

    /// Endpoint to which clients of emulated transports send.
    pub struct Emulation {
        /// Path.
        handler_prefix: String = "/emulation";
        /// Most bytes in the body of a request.
        max_request_body_size: u32 = 65_536u32;
    }
}
