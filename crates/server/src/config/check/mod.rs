//! Rules that no single option can break by itself, and warnings about open access.

mod callers;
mod channels;
mod codes;
mod consumers;
mod engines;
mod exposure;
mod origins;
mod rates;
mod status;
mod tls;

use super::catalogue::Section as _;
use super::duration::Duration;
use super::report::Report;
use super::typed::{Config, HttpServer, Log, Proxy, Shutdown, Token, TokenIssuer};
use crate::regex::Regex;
use serde_json::Value;

/// Checks a whole configuration.
pub(super) fn check(report: &mut Report<'_>, config: &Config) {
    log(report, &config.log);
    server(report, config);
    shutdown(report, &config.shutdown);
    client(report, config);
    engines::check(report, config);
    channels::check(report, config);
    rpc(report, config);
    consumers::check(report, config);
    codes::check(report, config);
    prefixes(report, config);
    status::check(report, config);
    callers::check(report, config);
    exposure::check(report, config);
}

/// A level that does not exist is `info`: going on with more lines is better than not starting.
fn log(report: &mut Report<'_>, log: &Log) {
    let levels = ["trace", "debug", "info", "warn", "error", "fatal", "none"];
    if !levels.iter().any(|level| log.level.eq_ignore_ascii_case(level)) {
        let text = format!("{:?} is not one of {}: using \"info\"", log.level, levels.join(", "));
        report.note("log.level", text);
    }
}

fn server(report: &mut Report<'_>, config: &Config) {
    let http = &config.http_server;
    let internal: Option<u16> = match http.internal_port.as_str() {
        "" => None,
        text => match text.parse() {
            Ok(port) => Some(port),
            Err(_) => return report.problem("http_server.internal_port", format!("{text:?} is not a port")),
        },
    };
    if http.h2c_external {
        if internal.is_none_or(|port| port == http.port) {
            report.problem(
                "http_server.h2c_external",
                "needs `http_server.internal_port` to be a port of its own",
            );
        }
        if http.tls.enabled {
            report.problem(
                "http_server.h2c_external",
                "cannot be used together with `http_server.tls.enabled`",
            );
        }
    }
    tls::check(report, config);
    autocert(report, http);
    http3(report, config);
}

/// HTTP/3, over which there is WebTransport alone.
fn http3(report: &mut Report<'_>, config: &Config) {
    let http = &config.http_server;
    if config.webtransport.enabled {
        if cfg!(not(feature = "webtransport")) {
            let text = "this server was built without WebTransport: build it with the feature `webtransport`";
            report.problem("webtransport.enabled", text);
        }
        if !http.http3.enabled {
            report.problem("webtransport.enabled", "needs `http_server.http3.enabled`");
        }
    }
    if !http.http3.enabled {
        return;
    }
    if !http.tls.enabled && !http.tls_autocert.enabled {
        let text = "needs TLS: `http_server.tls.enabled`, or `http_server.tls_autocert.enabled`";
        report.problem("http_server.http3.enabled", text);
    }
    if http.address.starts_with("unix:") {
        let text = "needs a UDP port: `http_server.address` cannot be a Unix socket";
        report.problem("http_server.http3.enabled", text);
    }
    if !config.webtransport.enabled {
        let text =
            "has no effect: only WebTransport is served over HTTP/3, and `webtransport.enabled` is not set";
        report.note("http_server.http3.enabled", text);
    }
}

fn autocert(report: &mut Report<'_>, http: &HttpServer) {
    let acme = &http.tls_autocert;
    if !acme.enabled {
        return;
    }
    if cfg!(not(feature = "acme")) {
        let text = "this server was built without ACME: build it with the feature `acme`";
        report.problem("http_server.tls_autocert.enabled", text);
    }
    if http.h2c_external {
        let text = "cannot be used together with `http_server.tls_autocert.enabled`";
        report.problem("http_server.h2c_external", text);
    }
    if http.tls.enabled {
        if http.tls.client_ca_pem.0.is_empty() {
            let text = "has no effect: `http_server.tls_autocert.enabled` takes precedence";
            report.note("http_server.tls.enabled", text);
        } else {
            // Going on without it would admit everybody.
            let text = "cannot be used together with `http_server.tls_autocert.enabled`";
            report.problem("http_server.tls.client_ca_pem", text);
        }
    }
    if acme.host_whitelist.is_empty() {
        let text = "empty: certificates are requested for any host that a client names. List the hosts of this server";
        report.note("http_server.tls_autocert.host_whitelist", text);
    }
    if acme.cache_dir.is_empty() {
        let text =
            "empty: each start requests new certificates, of which an ACME server gives only a few a week";
        report.note("http_server.tls_autocert.cache_dir", text);
    }
    if acme.eab_key_id.is_empty() != acme.eab_hmac_key.is_empty() {
        let text = "`eab_key_id` and `eab_hmac_key` belong together";
        report.problem("http_server.tls_autocert.eab_key_id", text);
    }
}

/// Part of the timeout that a drain leaves to those that do not answer the close.
fn shutdown(report: &mut Report<'_>, shutdown: &Shutdown) {
    let drain = shutdown.drain_notice.get() + shutdown.drain_duration.get();
    if !drain.is_zero() && drain >= shutdown.timeout.get() {
        report.problem(
            "shutdown.timeout",
            "must be longer than `shutdown.drain_notice` and `shutdown.drain_duration` together",
        );
    }
}

fn client(report: &mut Report<'_>, config: &Config) {
    let client = &config.client;
    // Zero switches pings off, and then there is nothing to wait for.
    if !client.ping_interval.is_zero() && client.ping_interval <= client.pong_timeout {
        report.problem("client.pong_timeout", "must be shorter than `client.ping_interval`");
    }
    origins::check(report, client);
    rates::check(report, config);
    token(report, "client.token", &client.token);
    token(report, "client.subscription_token", &client.subscription_token.token);
    for (name, event) in [("connect", &client.proxy.connect), ("refresh", &client.proxy.refresh)] {
        if event.enabled {
            proxy(report, &format!("client.proxy.{name}"), &event.proxy);
        }
    }
}

fn token(report: &mut Report<'_>, path: &str, token: &Token) {
    issuer(report, path, &token.own);
    let mut names = Vec::new();
    for (at, named) in token.issuers.iter().enumerate() {
        let called = if named.name.is_empty() { at.to_string() } else { named.name.clone() };
        let path = format!("{path}.issuers[{called}]");
        if !named.name.is_empty() {
            name(report, &path, &named.name, &mut names);
        }
        let expected = &named.issuer;
        if [&expected.issuer, &expected.issuer_regex, &expected.audience, &expected.audience_regex]
            .iter()
            .all(|text| text.is_empty())
        {
            let text = "must be set, or `issuer_regex`, `audience` or `audience_regex`: they say which tokens are its";
            report.problem(&format!("{path}.issuer"), text);
        }
        issuer(report, &path, expected);
    }
    whole_seconds(report, &format!("{path}.leeway"), token.leeway);
}

fn issuer(report: &mut Report<'_>, path: &str, token: &TokenIssuer) {
    let claim = &token.user_id_claim;
    let plain =
        |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if !claim.is_empty() && !claim.split('.').all(plain) {
        report.problem(
            &format!("{path}.user_id_claim"),
            format!("{claim:?} must be letters and underscores, or such names joined by dots"),
        );
    }
    for (name, exact, expression) in
        [("audience", &token.audience, &token.audience_regex), ("issuer", &token.issuer, &token.issuer_regex)]
    {
        if !exact.is_empty() && !expression.is_empty() {
            report.problem(
                &format!("{path}.{name}_regex"),
                format!("cannot be used together with `{path}.{name}`"),
            );
        }
        regex(report, &format!("{path}.{name}_regex"), expression);
    }
    if token.hmac_previous_secret_key_valid_until < 0 {
        report.problem(&format!("{path}.hmac_previous_secret_key_valid_until"), "cannot be negative");
    }
    for (at, key) in token.keys.iter().enumerate() {
        let path = format!("{path}.keys[{at}]");
        if key.r#type.is_empty() {
            report.problem(&format!("{path}.type"), "must be set");
        }
        if key.key.is_empty() {
            report.problem(&format!("{path}.key"), "must be set");
        }
        if key.valid_until != 0 && key.valid_until < key.valid_from {
            report.problem(&format!("{path}.valid_until"), "must not be before `valid_from`");
        }
    }
    for (name, duration) in [
        ("jwks_ttl", token.jwks_ttl),
        ("jwks_stale", token.jwks_stale),
        ("jwks_negative_ttl", token.jwks_negative_ttl),
    ] {
        whole_seconds(report, &format!("{path}.{name}"), duration);
    }
    for (name, duration) in [("jwks_ttl", token.jwks_ttl), ("jwks_timeout", token.jwks_timeout)] {
        if duration.is_zero() {
            report.problem(&format!("{path}.{name}"), "must be more than zero");
        }
    }
}

fn whole_seconds(report: &mut Report<'_>, option: &str, duration: Duration) {
    if !duration.is_whole_seconds() {
        report.problem(option, format!("{duration} must be whole seconds"));
    }
}

fn rpc(report: &mut Report<'_>, config: &Config) {
    let known = proxies(report, config);
    let mut names = Vec::new();
    let default = &config.rpc.without_namespace;
    let mut scopes = vec![("rpc.without_namespace".to_owned(), default)];
    for namespace in &config.rpc.namespaces {
        let path = format!("rpc.namespaces[{}]", namespace.name);
        name(report, &path, &namespace.name, &mut names);
        scopes.push((path, &namespace.options));
    }
    for (path, options) in scopes {
        proxy_name(report, &format!("{path}.proxy_name"), &options.proxy_name, &known);
        if options.proxy_enabled && options.proxy_name == "default" {
            proxy(report, "rpc.proxy", &config.rpc.proxy);
        }
    }
}

/// The names of proxies, `default` among them, and the faults of the named ones.
fn proxies(report: &mut Report<'_>, config: &Config) -> Vec<String> {
    let mut names = Vec::new();
    for named in &config.proxies {
        let path = format!("proxies[{}]", named.name);
        if named.name == "default" {
            report.problem(&format!("{path}.name"), "this name is reserved");
        }
        name(report, &path, &named.name, &mut names);
        proxy(report, &path, &named.proxy);
    }
    names.push("default".to_owned());
    names
}

/// A proxy that an option switches on.
fn needed(report: &mut Report<'_>, path: &str, options: &Proxy, switch: &str) {
    if options.endpoint.is_empty() {
        let text = format!("must be set, because `{}` is true", report.key(switch));
        return report.problem_once(&format!("{path}.endpoint"), text);
    }
    proxy(report, path, options);
}

fn proxy(report: &mut Report<'_>, path: &str, proxy: &Proxy) {
    if proxy.endpoint.is_empty() {
        report.problem_once(&format!("{path}.endpoint"), "must be set, because the proxy is used");
    }
    if proxy.timeout.is_zero() {
        report.problem_once(&format!("{path}.timeout"), "must be more than zero");
    }
}

fn proxy_name(report: &mut Report<'_>, option: &str, name: &str, known: &[String]) {
    if !name.is_empty() && !known.iter().any(|known| known == name) {
        report.problem(option, format!("there is no proxy {name:?} in `proxies`"));
    }
}

/// A name of a namespace or proxy: `^[-a-zA-Z0-9_.]{2,}$`, once.
fn name(report: &mut Report<'_>, path: &str, name: &str, seen: &mut Vec<String>) {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.len() < 2 || !name.bytes().all(fits) {
        let reason = format!("{name:?} must be two or more letters, digits, `-`, `_` or `.`");
        report.problem(&format!("{path}.name"), reason);
    }
    if seen.iter().any(|seen| seen == name) {
        report.problem(&format!("{path}.name"), "this name is there twice");
    }
    seen.push(name.to_owned());
}

fn regex(report: &mut Report<'_>, option: &str, expression: &str) {
    if let Err(error) = Regex::new(expression) {
        report.problem(option, error.to_string());
    }
}

/// Paths of endpoints: those of every section that has one and is in use.
fn prefixes(report: &mut Report<'_>, config: &Config) {
    let mut seen: Vec<(&str, String)> = Vec::new();
    let sections = config.to_section();
    for field in Config::fields() {
        let section = &sections[field.name];
        let Some(prefix) = section.get("handler_prefix").and_then(Value::as_str) else { continue };
        let is = |name| section.get(name).and_then(Value::as_bool);
        let used = match (is("enabled"), is("disabled")) {
            (Some(enabled), _) => enabled,
            (None, Some(disabled)) => !disabled,
            // The endpoint that these two send to.
            (None, None) => config.sse.enabled || config.http_stream.enabled,
        };
        // An empty one is the root.
        if !used || prefix.is_empty() {
            continue;
        }
        let option = format!("{}.handler_prefix", field.name);
        let bare = prefix.trim_end_matches('/').to_owned();
        if !prefix.starts_with('/') || prefix.contains(|c: char| c.is_whitespace() || "?#{}*".contains(c)) {
            report.problem(&option, format!("{prefix:?} must be a path that begins with /"));
        } else if let Some((other, _)) = seen.iter().find(|(_, taken)| *taken == bare) {
            report.problem(&option, format!("{prefix:?} is the path of `{other}` too"));
        }
        seen.push((field.name, bare));
    }
}
