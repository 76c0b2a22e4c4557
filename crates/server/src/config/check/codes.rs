//! Rules of codes and reasons that the operator chooses.

use crate::config::report::Report;
use crate::config::typed::{Config, ConnectCodeToHttp, Proxy};

/// Room in a WebSocket close frame besides the code: RFC 6455, section 5.5.
const REASON_LIMIT: usize = 123;

pub(super) fn check(report: &mut Report<'_>, config: &Config) {
    let list = "client.connect_code_to_unidirectional_disconnect.transforms";
    for (index, transform) in
        config.client.connect_code_to_unidirectional_disconnect.transforms.iter().enumerate()
    {
        let path = format!("{list}[{index}]");
        if transform.code == 0 {
            report.problem(&format!("{path}.code"), "must be set");
        }
        if transform.to.code == 0 {
            report.problem(&format!("{path}.to.code"), "must be set");
        }
        text(report, &format!("{path}.to.reason"), &transform.to.reason);
    }
    answers(report, "uni_sse", &config.uni_sse.connect_code_to_http_response);
    answers(report, "uni_http_stream", &config.uni_http_stream.connect_code_to_http_response);
    let channel = &config.channel.proxy;
    let proxies = [
        ("client.proxy.connect", &config.client.proxy.connect.proxy),
        ("client.proxy.refresh", &config.client.proxy.refresh.proxy),
        ("channel.proxy.subscribe", &channel.subscribe),
        ("channel.proxy.publish", &channel.publish),
        ("channel.proxy.sub_refresh", &channel.sub_refresh),
        ("channel.proxy.subscribe_stream", &channel.subscribe_stream),
        ("channel.proxy.map_publish", &channel.map_publish),
        ("channel.proxy.map_remove", &channel.map_remove),
        ("channel.proxy.shared_poll_refresh", &channel.shared_poll_refresh),
        ("rpc.proxy", &config.rpc.proxy),
    ];
    for (path, proxy) in proxies {
        statuses(report, path, proxy);
    }
    for named in &config.proxies {
        statuses(report, &format!("proxies[{}]", named.name), &named.proxy);
    }
}

fn answers(report: &mut Report<'_>, section: &str, map: &ConnectCodeToHttp) {
    for (index, transform) in map.transforms.iter().enumerate() {
        let path = format!("{section}.connect_code_to_http_response.transforms[{index}]");
        if transform.code == 0 {
            report.problem(&format!("{path}.code"), "must be set");
        }
        if !(100..=999).contains(&transform.to.status_code) {
            report.problem(&format!("{path}.to.status_code"), "must be an HTTP status");
        }
    }
}

fn statuses(report: &mut Report<'_>, path: &str, proxy: &Proxy) {
    for (index, transform) in proxy.http.status_to_code_transforms.iter().enumerate() {
        let path = format!("{path}.http.status_to_code_transforms[{index}]");
        if transform.status_code == 0 {
            report.problem(&format!("{path}.status_code"), "must be set");
        }
        if (transform.to_error.code == 0) == (transform.to_disconnect.code == 0) {
            report.problem(&path, "must set the code of either `to_error` or `to_disconnect`");
        }
        text(report, &format!("{path}.to_error.message"), &transform.to_error.message);
        text(report, &format!("{path}.to_disconnect.reason"), &transform.to_disconnect.reason);
    }
}

fn text(report: &mut Report<'_>, option: &str, text: &str) {
    if !text.is_ascii() {
        report.problem(option, "must be ASCII");
    }
    if text.len() > REASON_LIMIT {
        report.problem(option, format!("is {} bytes long; {REASON_LIMIT} are the most", text.len()));
    }
}
