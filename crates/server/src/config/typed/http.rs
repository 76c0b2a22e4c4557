//! `http_server` and the TLS object.

use crate::config::catalogue::{Pem, choices, options};
use crate::config::duration::Duration;
use crate::secret::Secret;

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
        /// Addresses and networks of proxies that begin each connection to the ports of clients with a PROXY protocol header (version 1 or 2). Connections from others have none.
        proxy_protocol_sources: Vec<String> => ours;
        /// TLS of the server.
        tls: Tls;
        /// Certificates by ACME.
        tls_autocert: TlsAutocert;
        /// Uses `tls` and `tls_autocert` on the external port only.
        tls_external: bool;
        /// TLS of the internal port, in place of `tls`.
        internal_tls: Tls;
        /// HTTP/3. WebTransport alone is served over it.
        http3: Http3;
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
        /// Lowest version of TLS.
        min_version: TlsVersion => ours;
    }

    /// Certificates by ACME.
    pub struct TlsAutocert {
        /// Enables ACME.
        enabled: bool;
        /// Hosts to request certificates for; empty allows any.
        host_whitelist: Vec<String>;
        /// Directory for certificates and the account; empty keeps them in memory, and each start requests new ones.
        cache_dir: String;
        /// E-mail address of the ACME account.
        email: String;
        /// Host name for clients without SNI.
        server_name: String;
        /// Enables HTTP-01 challenges.
        http: bool;
        /// Address to listen on for HTTP-01 challenges.
        http_addr: String = ":80";
        /// Directory of the ACME server.
        directory_url: String = "https://acme-v02.api.letsencrypt.org/directory" => ours;
        /// Certificate authorities for the ACME server itself, in PEM; empty means those of the system.
        server_ca_pem: Pem => ours;
        /// Key ID of an external account, for ACME servers that ask for one.
        eab_key_id: String => ours;
        /// Key of the external account, in base64 for URLs.
        eab_hmac_key: Secret => ours;
        /// Time before its end at which a certificate is renewed; the last third of its life if that is shorter.
        renew_before: Duration = Duration::secs(30 * 86_400) => ours;
    }

    /// HTTP/3.
    pub struct Http3 {
        /// Enables HTTP/3.
        enabled: bool;
    }
}

choices! {
    /// A version of TLS.
    pub enum TlsVersion {
        /// TLS 1.2 and above.
        V12 = "1.2";
        /// TLS 1.3 alone.
        V13 = "1.3";
    }
}
