//! Settings that leave access open, and the effect of `production` on them.

use crate::admission::{Networks, Proxies};
use crate::config::catalogue::{Field, Kind, Section as _, each};
use crate::config::normalise::join;
use crate::config::report::{Level, Report};
use crate::config::typed::{Config, Token, TokenIssuer};
use crate::config::weak::{Warning as Weak, weak_secret};
use serde_json::{Map, Value};

/// Fewest bytes of a password or API key: nobody guesses 128 bits over the network.
const PASSWORD_BYTES: usize = 16;

pub(super) fn check(report: &mut Report<'_>, config: &Config) {
    switches(report, Config::fields(), "", &config.to_section());
    keys(report, "client.token", &config.client.token);
    if config.client.subscription_token.enabled {
        keys(report, "client.subscription_token", &config.client.subscription_token.token);
    }
    let api = &config.http_api;
    if !api.disabled && !api.insecure {
        if api.key.is_empty() && config.api_keys.is_empty() && !api.jwks.enabled {
            report.note("http_api.key", "not set: every call of the API is refused");
        }
        password(report, "http_api.key", api.key.expose());
    }
    let grpc = &config.grpc_api;
    if grpc.enabled {
        let anyone = grpc.key.is_empty() && config.api_keys.is_empty() && !grpc.jwks.enabled;
        if anyone && (!grpc.tls.enabled || grpc.tls.client_ca_pem.0.is_empty()) {
            let text = "not set: anyone who reaches the port of the gRPC API may call it. Set a key, or ask for client \
                        certificates with `grpc_api.tls.client_ca_pem`";
            report.insecure("grpc_api.key", text.to_owned());
        }
        password(report, "grpc_api.key", grpc.key.expose());
    }
    if config.admin.enabled && !config.admin.insecure {
        password(report, "admin.password", config.admin.password.expose());
        password(report, "admin.secret", config.admin.secret.expose());
    }
    forwarded(report, config);
    if config.production {
        refuse(report);
    }
}

/// Headers that a proxy sets, and who is believed to be one.
fn forwarded(report: &mut Report<'_>, config: &Config) {
    let http = &config.http_server;
    if let Err(error) = Proxies::new(&http.trusted_proxies, &http.client_ip_header) {
        report.problem(error.option(), error.to_string());
    }
    if let Err((at, text)) = Networks::new(&http.proxy_protocol_sources) {
        let text = format!("{text:?} is neither an address nor a network such as 10.0.0.0/8");
        report.problem(&format!("http_server.proxy_protocol_sources[{at}]"), text);
    }
    let everyone = |networks: &[String]| networks.iter().position(|network| network.trim().ends_with("/0"));
    if let Some(at) = everyone(&http.trusted_proxies) {
        let text = "every address is a trusted proxy: clients can choose their own address, and their user id with \
                    `client.user_id_http_header`";
        report.insecure(&format!("http_server.trusted_proxies[{at}]"), text.to_owned());
    }
    if let Some(at) = everyone(&http.proxy_protocol_sources) {
        let text =
            "every address counts as a proxy: clients that connect directly can choose their own address";
        report.insecure(&format!("http_server.proxy_protocol_sources[{at}]"), text.to_owned());
    }
    if !config.client.user_id_http_header.is_empty() && http.trusted_proxies.is_empty() {
        let text = "has no effect without `http_server.trusted_proxies`: any client can send this header, so it is only accepted \
                    from trusted proxies. List those that always set it";
        report.note("client.user_id_http_header", text);
    }
    let client = &config.client;
    for (name, limit) in [
        ("ip_connection_limit", client.ip_connection_limit),
        ("ip_connection_rate_limit", client.ip_connection_rate_limit),
        ("ip_unauthenticated_connection_limit", client.ip_unauthenticated_connection_limit),
    ] {
        if limit > 0 && http.trusted_proxies.is_empty() {
            let text = "clients behind a proxy have its address and share this limit: if there is a proxy, list it in \
                        `http_server.trusted_proxies`";
            report.note(&format!("client.{name}"), text);
        }
    }
}

/// Every switch named `insecure…` that is on.
fn switches(report: &mut Report<'_>, fields: &'static [Field], path: &str, values: &Map<String, Value>) {
    for field in each(fields) {
        let path = join(path, field.name);
        match (field.kind, values.get(field.name)) {
            (Kind::Bool, Some(Value::Bool(true))) if field.name.starts_with("insecure") => {
                report.insecure(&path, meaning(&path));
            }
            (Kind::Section(inner), Some(Value::Object(values))) => switches(report, inner(), &path, values),
            (Kind::List(inner), Some(Value::Array(items))) => {
                for (index, item) in items.iter().enumerate() {
                    let Some(values) = item.as_object() else { continue };
                    let name = values.get("name").and_then(Value::as_str);
                    let path = format!("{path}[{}]", name.map_or_else(|| index.to_string(), str::to_owned));
                    switches(report, inner(), &path, values);
                }
            }
            _ => {}
        }
    }
}

fn meaning(path: &str) -> &'static str {
    match path {
        "client.insecure" => "anyone may connect, subscribe, publish and read everything",
        "client.insecure_skip_token_signature_verify" => {
            "token signatures are not verified: anyone can log in as any user"
        }
        "http_api.insecure" => "anyone may call the API",
        "admin.insecure" => "anyone has admin access",
        _ if path.ends_with("insecure_skip_verify") => "any certificate is accepted",
        _ => "a security check is switched off",
    }
}

fn keys(report: &mut Report<'_>, path: &str, token: &Token) {
    issuer(report, path, &token.own);
    for (at, named) in token.issuers.iter().enumerate() {
        let name = if named.name.is_empty() { at.to_string() } else { named.name.clone() };
        issuer(report, &format!("{path}.issuers[{name}]"), &named.issuer);
    }
}

fn issuer(report: &mut Report<'_>, path: &str, token: &TokenIssuer) {
    let mut secrets = vec![
        ("hmac_secret_key".to_owned(), &token.hmac_secret_key),
        ("hmac_previous_secret_key".to_owned(), &token.hmac_previous_secret_key),
    ];
    let listed = token.keys.iter().enumerate().filter(|(_, key)| key.r#type == "hmac");
    secrets.extend(listed.map(|(at, key)| (format!("keys[{at}].key"), &key.key)));
    secrets.retain(|(_, secret)| !secret.is_empty());
    for (name, secret) in &secrets {
        stray(report, &format!("{path}.{name}"), secret.expose());
        if let Some(weak) = weak_secret(secret.expose()) {
            report.insecure(&format!("{path}.{name}"), format!("this secret {weak}"));
        }
    }
    if let Some((name, _)) = secrets.first()
        && !token.jwks_public_endpoint.is_empty()
    {
        let option = format!("{path}.{name}");
        let text = "is set in addition to `jwks_public_endpoint`: anyone who knows this secret can sign tokens too. Remove it \
                    if only the key set should be valid";
        report.note(&option, text);
    }
}

/// White space and quotes around a secret come from `echo` and from files of variables, and are part of it: callers who
/// use the secret without them are refused.
fn stray(report: &mut Report<'_>, option: &str, secret: &str) {
    let quoted = |quote| secret.len() > 1 && secret.starts_with(quote) && secret.ends_with(quote);
    let what = if secret.trim() != secret {
        "white space around it (a line break perhaps)"
    } else if quoted('"') || quoted('\'') {
        "quotes around it"
    } else {
        return;
    };
    report.note(
        option,
        format!("has {what}, which counts as part of the secret: remove it if that is not intended"),
    );
}

pub(super) fn password(report: &mut Report<'_>, option: &str, password: &str) {
    stray(report, option, password);
    // Without a password nobody gets in.
    if password.is_empty() {
        return;
    }
    let weak = match weak_secret(password) {
        Some(Weak::Short(bytes)) if bytes >= PASSWORD_BYTES => None,
        Some(Weak::Short(bytes)) => Some(format!("has {bytes} bytes: use at least {PASSWORD_BYTES}")),
        Some(Weak::WellKnown) => Some("is well known: anyone can guess it".to_owned()),
        other => other.map(|weak| weak.to_string()),
    };
    if let Some(weak) = weak {
        report.insecure(option, format!("this secret {weak}"));
    }
}

/// Turns warnings about open access into problems.
fn refuse(report: &mut Report<'_>) {
    let open: Vec<_> = report.warnings.extract_if(.., |warning| warning.level == Level::Insecure).collect();
    for warning in open {
        report.problem(&warning.option, format!("{} (refused, because `production` is on)", warning.text));
    }
}
