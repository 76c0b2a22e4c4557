//! `http_server` and the TLS object.

use crate::config::catalogue::{Pem, options};

options! {
    /// HTTP server.
    pub struct HttpServer {
        /// Address to listen on; empty, `0.0.0.0` and `::` listen on all of both families.
        address: String;
        /// Port of clients, and of everything else unless `internal_port` is set.
        port: u16 = 8000u16;
        /// Address for the internal endpoints; empty takes `address`.
        internal_address: String;
        /// Port for the internal endpoints: API, admin, metrics, health, debug. Empty takes `port`.
        internal_port: String;
        /// Addresses and networks (`10.0.0.0/8`) of proxies, whose headers about the client are believed.
        trusted_proxies: Vec<String> => ours;
        /// Header in which trusted proxies note the address of the client: `X-Forwarded-For`, `Forwarded`, `X-Real-IP` or another one.
        client_ip_header: String = "X-Forwarded-For" => ours;
        /// TLS of the server.
        tls: Tls => essential;
        /// Certificates by ACME.
        tls_autocert: TlsAutocert => essential;
        /// Use TLS on the external port alone.
        tls_external: bool => essential;
        /// TLS of the internal port.
        internal_tls: Tls => essential;
        /// HTTP/3.
        http3: Http3 => planned;
        /// Accept HTTP/2 without TLS on the external port; needs an internal port of its own.
        h2c_external: bool => planned since("6.5.0");
    }

    /// TLS of one server or client.
    pub struct Tls {
        /// Use TLS.
        enabled: bool;
        /// Certificate chain.
        cert_pem: Pem;
        /// Private key.
        key_pem: Pem;
        /// Authorities by which a client checks the server.
        server_ca_pem: Pem;
        /// Authorities by which a server checks its clients.
        client_ca_pem: Pem;
        /// Accept any certificate. Insecure.
        insecure_skip_verify: bool;
        /// Host name to check the server's certificate against.
        server_name: String;
    }

    /// Certificates by ACME.
    pub struct TlsAutocert {
        /// Get certificates by ACME.
        enabled: bool;
        /// Hosts to get certificates for; empty allows any.
        host_whitelist: Vec<String>;
        /// Folder to keep certificates in.
        cache_dir: String;
        /// Address that the authority may write to.
        email: String;
        /// Host name for clients that send none.
        server_name: String;
        /// Answer HTTP challenges.
        http: bool;
        /// Address to answer HTTP challenges on.
        http_addr: String = ":80";
    }

    /// HTTP/3.
    pub struct Http3 {
        /// Serve HTTP/3.
        enabled: bool;
    }
}
