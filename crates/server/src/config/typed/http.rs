//! `http_server` and the TLS object.

use crate::config::catalogue::{Pem, options};

options! {
    /// HTTP server.
    pub struct HttpServer {
        /// Address to listen on; empty, `0.0.0.0` and `::` mean all IPv4 and IPv6 addresses, `unix:` and a path a Unix socket.
        address: String;
        /// Port of the client endpoints, and of all others unless `internal_port` is set.
        port: u16 = 8000u16;
        /// Address of the internal endpoints; empty means `address`.
        internal_address: String;
        /// Port of the internal endpoints: API, admin, metrics, health, debug. Empty means `port`.
        internal_port: String;
        /// Addresses and networks (`10.0.0.0/8`) of trusted proxies, whose headers about the client are used.
        trusted_proxies: Vec<String> => ours;
        /// Header in which trusted proxies send the client's address: `X-Forwarded-For`, `Forwarded`, `X-Real-IP` or another one.
        client_ip_header: String = "X-Forwarded-For" => ours;
        /// TLS of the server.
        tls: Tls => essential;
        /// Certificates by ACME.
        tls_autocert: TlsAutocert => essential;
        /// Uses TLS on the external port only.
        tls_external: bool => essential;
        /// TLS of the internal port.
        internal_tls: Tls => essential;
        /// HTTP/3.
        http3: Http3 => planned;
        /// Accepts HTTP/2 without TLS on the external port; needs a separate internal port.
        h2c_external: bool => since("6.5.0");
    }

    /// TLS options of a server or client.
    pub struct Tls {
        /// Enables TLS.
        enabled: bool;
        /// Certificate chain in PEM.
        cert_pem: Pem;
        /// Private key in PEM.
        key_pem: Pem;
        /// Certificate authorities for the server's certificate, in PEM.
        server_ca_pem: Pem;
        /// Certificate authorities for client certificates, in PEM; if set, clients must have one.
        client_ca_pem: Pem;
        /// Skips the verification of certificates. Insecure.
        insecure_skip_verify: bool;
        /// Host name expected in the server's certificate.
        server_name: String;
    }

    /// Certificates by ACME.
    pub struct TlsAutocert {
        /// Enables ACME.
        enabled: bool;
        /// Hosts to request certificates for; empty allows any.
        host_whitelist: Vec<String>;
        /// Directory for certificates.
        cache_dir: String;
        /// E-mail address of the ACME account.
        email: String;
        /// Host name for clients without SNI.
        server_name: String;
        /// Enables HTTP-01 challenges.
        http: bool;
        /// Address to listen on for HTTP-01 challenges.
        http_addr: String = ":80";
    }

    /// HTTP/3.
    pub struct Http3 {
        /// Enables HTTP/3.
        enabled: bool;
    }
}
