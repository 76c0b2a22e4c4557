//! Callers of the server API.

use super::{exposure, name};
use crate::config::report::Report;
use crate::config::typed::{ApiJwks, Config};

pub(super) fn check(report: &mut Report<'_>, config: &Config) {
    for (at, key) in config.api_keys.iter().enumerate() {
        let path =
            format!("api_keys[{}]", if key.name.is_empty() { at.to_string() } else { key.name.clone() });
        // Two keys of one name are one caller that changes its key.
        name(report, &path, &key.name, &mut Vec::new());
        if key.key.is_empty() {
            report.problem(&format!("{path}.key"), "must be set");
        } else if config.api_keys[..at].iter().any(|other| other.key == key.key)
            || [&config.http_api.key, &config.grpc_api.key].contains(&&key.key)
        {
            report.problem(&format!("{path}.key"), "is the key of another caller too");
        }
        exposure::password(report, &format!("{path}.key"), key.key.expose());
        for channel in &key.channels {
            if channel.is_empty() || channel.find('*').is_some_and(|star| star + 1 < channel.len()) {
                let text = format!("{channel:?} must be a channel, or the start of one with a `*` behind it");
                report.problem(&format!("{path}.channels"), text);
            }
        }
    }
    tokens(report, "http_api.jwks", &config.http_api.jwks);
    tokens(report, "grpc_api.jwks", &config.grpc_api.jwks);
}

fn tokens(report: &mut Report<'_>, path: &str, jwks: &ApiJwks) {
    if !jwks.enabled {
        return;
    }
    if jwks.endpoint.is_empty() {
        report.problem(&format!("{path}.endpoint"), "must be set, because tokens are accepted");
    }
    if jwks.audience.is_empty() && jwks.scope.is_empty() {
        let text = "not set, and no `audience`: every token of the issuer has full access, those of users too. Set \
                    one of them";
        report.insecure(&format!("{path}.scope"), text.to_owned());
    }
}
