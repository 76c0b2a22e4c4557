//! TLS: certificates that are missing, and options that mean nothing where they are.

use crate::config::catalogue::{Field, Kind, Section as _, each};
use crate::config::normalise::join;
use crate::config::report::Report;
use crate::config::typed::{Config, Tls};
use serde_json::{Map, Value};

pub(super) fn check(report: &mut Report<'_>, config: &Config) {
    let ports = ports(config);
    for (path, options, used) in &ports {
        if *used {
            port(report, path, options);
        }
    }
    let ports = ports.map(|(path, ..)| path);
    connections(report, &ports, Config::fields(), "", &config.to_section());
}

/// TLS of the server's own ports, and true if the port is used. All other TLS is that of connections to other servers.
const fn ports(config: &Config) -> [(&'static str, &Tls, bool); 4] {
    let (http, stream, api) = (&config.http_server, &config.uni_grpc, &config.grpc_api);
    [
        ("http_server.tls", &http.tls, true),
        ("http_server.internal_tls", &http.internal_tls, true),
        ("uni_grpc.tls", &stream.tls, stream.enabled),
        ("grpc_api.tls", &api.tls, api.enabled),
    ]
}

/// Certificates that are not given. Those that are given are read when the server starts.
fn port(report: &mut Report<'_>, path: &str, options: &Tls) {
    if !options.enabled {
        return;
    }
    for (name, pem) in [("cert_pem", &options.cert_pem), ("key_pem", &options.key_pem)] {
        if pem.0.is_empty() {
            let text = format!("must be set, because `{}` is true", report.key(&format!("{path}.enabled")));
            report.problem(&format!("{path}.{name}"), text);
        }
    }
    let client = [
        ("server_ca_pem", !options.server_ca_pem.0.is_empty()),
        ("insecure_skip_verify", options.insecure_skip_verify),
        ("server_name", !options.server_name.is_empty()),
    ];
    for (name, _) in client.iter().filter(|(_, is_set)| *is_set) {
        report.note(&format!("{path}.{name}"), "has no effect here: it is for connections to other servers");
    }
}

/// Every `client_ca_pem` of a connection to another server, wherever it is.
fn connections(
    report: &mut Report<'_>,
    ports: &[&str],
    fields: &'static [Field],
    path: &str,
    values: &Map<String, Value>,
) {
    for field in each(fields) {
        let path = join(path, field.name);
        match (field.kind, values.get(field.name)) {
            (Kind::Pem, Some(Value::String(pem))) if field.name == "client_ca_pem" && !pem.is_empty() => {
                let text = "has no effect here: it is for clients of this server. To trust the certificate of the other \
                            server, use `server_ca_pem`";
                report.note(&path, text);
            }
            (Kind::Section(inner), Some(Value::Object(values))) if !ports.contains(&path.as_str()) => {
                connections(report, ports, inner(), &path, values);
            }
            (Kind::List(inner), Some(Value::Array(items))) => {
                for (index, item) in items.iter().enumerate() {
                    let Some(values) = item.as_object() else { continue };
                    let name = values.get("name").and_then(Value::as_str);
                    let path = format!("{path}[{}]", name.map_or_else(|| index.to_string(), str::to_owned));
                    connections(report, ports, inner(), &path, values);
                }
            }
            _ => {}
        }
    }
}
