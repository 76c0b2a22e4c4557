//! Admin interface, and what tells how the server is doing.

use crate::config::catalogue::options;
use crate::config::duration::Duration;
use crate::secret::Secret;

options! {
    /// Admin web interface.
    pub struct Admin {
        /// Enables the admin interface.
        enabled: bool;
        /// URL path; empty means the root.
        handler_prefix: String;
        /// Password of the administrator.
        password: Secret;
        /// Secret that signs session tokens.
        secret: Secret;
        /// Disables the login. Insecure.
        insecure: bool;
        /// Directory with a custom interface.
        web_path: String;
        /// URL of a custom interface; requests are proxied to it.
        web_proxy_address: String;
        /// Serves the endpoint on the external port even if an internal port is set.
        external: bool => since("3.0.0");
    }

    /// Prometheus metrics.
    pub struct Prometheus {
        /// Enables the metrics endpoint.
        enabled: bool;
        /// URL path.
        handler_prefix: String = "/metrics";
        /// Adds metrics of HTTP requests.
        instrument_http_handlers: bool => planned;
        /// Adds a histogram of the number of recovered publications.
        recovered_publications_histogram: bool => planned;
        /// Uses native histograms.
        native_histograms: bool => planned;
    }

    /// Health endpoint.
    pub struct Health {
        /// Enables the health endpoint, with `/livez` and `/readyz`.
        enabled: bool;
        /// URL path.
        handler_prefix: String = "/health";
        /// Time after which a thread that serves connections counts as unresponsive.
        unresponsive_after: Duration = Duration::secs(5) => ours;
    }

    /// OpenAPI description of the HTTP API.
    pub struct Swagger {
        /// Enables the endpoint.
        enabled: bool;
        /// URL path.
        handler_prefix: String = "/swagger";
    }

    /// Profiling endpoints.
    pub struct Debug {
        /// Enables the endpoints. They must not be public.
        enabled: bool;
        /// URL path.
        handler_prefix: String = "/debug/pprof";
    }

    /// Endpoint with connection parameters for clients.
    pub struct ConnectInit {
        /// Enables the endpoint.
        enabled: bool;
        /// URL path.
        handler_prefix: String = "/connection/init";
    }

    /// OpenTelemetry tracing.
    pub struct OpenTelemetry {
        /// Enables the export of traces.
        enabled: bool;
        /// Traces calls of the server API.
        api: bool;
        /// Traces consumers.
        consuming: bool;
        /// Authenticates with the application default credentials of Google Cloud.
        google_cloud_adc_auth: bool;
    }

    /// Export of metrics to Graphite.
    pub struct Graphite {
        /// Enables the export.
        enabled: bool;
        /// Host of the Graphite server.
        host: String = "localhost";
        /// Port of the Graphite server.
        port: u16 = 2003u16;
        /// Prefix of metric names.
        prefix: String = "centrifugo";
        /// Export interval.
        interval: Duration = Duration::secs(10);
        /// Sends labels as tags.
        tags: bool;
    }
}
