//! `healthcheck`: asks a server that runs on this machine.

use super::given::file;
use super::{Failure, Outcome, complain};
use crate::config::Config;
use clap::Args;
use std::time::Duration;

/// Time for the answer.
const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(super) struct HealthCheck {
    #[command(flatten)]
    pub(super) file: file::Asked,
    /// Ask if the server takes clients (`/readyz`), and not only if it runs
    #[arg(long)]
    ready: bool,
}

pub(super) fn run(config: &Config, command: &HealthCheck) -> Result<Outcome, Failure> {
    let url = url(config, command.ready)?;
    let runtime = super::token::runtime()?;
    let (status, body) = runtime.block_on(ask(&url)).map_err(|error| format!("{url}: {error:#}"))?;
    if status.is_success() {
        return Ok(Outcome::Done);
    }
    complain(body.trim());
    Err(format!("{url} answered {status}").into())
}

async fn ask(url: &str) -> reqwest::Result<(reqwest::StatusCode, String)> {
    // The certificate is for the host that clients use, and this is the machine itself.
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(TIMEOUT)
        .tls_danger_accept_invalid_certs(true)
        .build()?;
    let answer = client.get(url).send().await?;
    Ok((answer.status(), answer.text().await?))
}

/// The address of the endpoint on this machine.
fn url(config: &Config, ready: bool) -> Result<String, Failure> {
    let server = &config.http_server;
    if !config.health.enabled {
        return Err("health.enabled is not set: the server has no endpoint to ask".into());
    }
    let address = match (server.internal_address.as_str(), server.address.as_str()) {
        ("", external) => external,
        (internal, _) => internal,
    };
    if address.starts_with("unix:") {
        return Err(
            "the server listens on a Unix socket: set http_server.internal_address to 127.0.0.1".into()
        );
    }
    let port = server.internal_port.parse().unwrap_or(server.port);
    let apart = port != server.port
        || !server.internal_address.is_empty() && server.internal_address != server.address;
    let external = server.tls.enabled || server.tls_autocert.enabled;
    let tls = if apart { server.internal_tls.enabled || external && !server.tls_external } else { external };
    let host = match address {
        "" | "0.0.0.0" | "::" => "127.0.0.1".to_owned(),
        address if address.contains(':') => format!("[{address}]"),
        address => address.to_owned(),
    };
    let path = if ready { "/readyz" } else { config.health.handler_prefix.as_str() };
    Ok(format!("{}://{host}:{port}{path}", if tls { "https" } else { "http" }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Vars, from_tree};
    use serde_json::json;

    #[test]
    fn the_port_of_the_endpoint_is_asked() {
        let tls = json!({ "enabled": true, "cert_pem": "x", "key_pem": "x" });
        for (server, ready, expected) in [
            (json!({}), false, "http://127.0.0.1:8000/health"),
            (json!({ "address": "::", "port": 9000 }), true, "http://127.0.0.1:9000/readyz"),
            (json!({ "address": "2001:db8::1" }), false, "http://[2001:db8::1]:8000/health"),
            (json!({ "internal_port": "9001" }), false, "http://127.0.0.1:9001/health"),
            (
                json!({ "address": "203.0.113.5", "internal_address": "127.0.0.1" }),
                false,
                "http://127.0.0.1:8000/health",
            ),
            (json!({ "tls": tls }), false, "https://127.0.0.1:8000/health"),
            (json!({ "tls": tls, "internal_port": "9001" }), false, "https://127.0.0.1:9001/health"),
            (
                json!({ "tls": tls, "internal_port": "9001", "tls_external": true }),
                false,
                "http://127.0.0.1:9001/health",
            ),
        ] {
            let tree = json!({ "health": { "enabled": true }, "http_server": server });
            let loaded = from_tree(tree.as_object().unwrap().clone(), &Vars::default(), &[]).unwrap();
            assert_eq!(url(&loaded.config, ready).unwrap(), expected, "{tree}");
        }
        assert!(url(&Config::default(), false).unwrap_err().to_string().contains("health.enabled"));
    }
}
