//! Admin interface, and what tells how the server is doing.

use crate::config::catalogue::options;
use crate::config::duration::Duration;
use crate::secret::Secret;

options! {
    /// Admin web interface.
    pub struct Admin {
        /// Serve it.
        enabled: bool;
        /// Path; empty serves it at the root.
        handler_prefix: String;
        /// Password.
        password: Secret;
        /// Key of session tokens.
        secret: Secret;
        /// Let everybody in. Insecure.
        insecure: bool;
        /// Folder with another interface to serve.
        web_path: String;
        /// Address of another interface to pass requests on to.
        web_proxy_address: String;
        /// Serve it on the external port although an internal one is set.
        external: bool => since("3.0.0");
    }

    /// Metrics.
    pub struct Prometheus {
        /// Serve them.
        enabled: bool;
        /// Path.
        handler_prefix: String = "/metrics";
        /// Measure HTTP requests too.
        instrument_http_handlers: bool => planned;
        /// Measure how many publications are recovered.
        recovered_publications_histogram: bool => planned;
        /// Use native histograms.
        native_histograms: bool => planned;
    }

    /// Health.
    pub struct Health {
        /// Serve it, and with it `/livez` and `/readyz`.
        enabled: bool;
        /// Path.
        handler_prefix: String = "/health";
        /// Time after which a thread that holds connections counts as unresponsive if it does not come round.
        unresponsive_after: Duration = Duration::secs(5) => ours;
    }

    /// Description of the HTTP API.
    pub struct Swagger {
        /// Serve it.
        enabled: bool;
        /// Path.
        handler_prefix: String = "/swagger";
    }

    /// Profiling.
    pub struct Debug {
        /// Serve it. Never to the public.
        enabled: bool;
        /// Path.
        handler_prefix: String = "/debug/pprof";
    }

    /// Endpoint that tells clients how to connect.
    pub struct ConnectInit {
        /// Serve it.
        enabled: bool;
        /// Path.
        handler_prefix: String = "/connection/init";
    }

    /// OpenTelemetry.
    pub struct OpenTelemetry {
        /// Export traces.
        enabled: bool;
        /// Trace calls of the server API.
        api: bool;
        /// Trace consumers.
        consuming: bool;
        /// Authenticate by Google Cloud's default credentials.
        google_cloud_adc_auth: bool;
    }

    /// Graphite.
    pub struct Graphite {
        /// Export metrics.
        enabled: bool;
        /// Host.
        host: String = "localhost";
        /// Port.
        port: u16 = 2003u16;
        /// Prefix of metric names.
        prefix: String = "centrifugo";
        /// Export interval.
        interval: Duration = Duration::secs(10);
        /// Send labels as tags.
        tags: bool;
    }
}
