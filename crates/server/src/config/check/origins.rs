//! Origins of pages, and what comes with a request from one by itself.

use crate::config::origin::is_name;
use crate::config::report::Report;
use crate::config::typed::Client;
use globset::GlobBuilder;

pub(super) fn check(report: &mut Report<'_>, client: &Client) {
    for (index, origin) in client.allowed_origins.iter().enumerate() {
        origin_pattern(report, &format!("client.allowed_origins[{index}]"), origin);
    }
    token_from_request(report, client);
}

/// A browser sends a cookie for any page that asks, so the pages must be named.
fn token_from_request(report: &mut Report<'_>, client: &Client) {
    let text =
        |name: &str, bad: fn(u8) -> bool| name.bytes().any(|byte| !byte.is_ascii_graphic() || bad(byte));
    let (cookie, header) = (&client.connect_token_cookie, &client.connect_token_http_header);
    // RFC 6265 and RFC 9110: both are tokens.
    let separator = |byte: u8| b"()<>@,;:\\\"/[]?={}".contains(&byte);
    for (option, name) in
        [("client.connect_token_cookie", cookie), ("client.connect_token_http_header", header)]
    {
        if text(name, separator) {
            report.problem(option, format!("{name:?} can be no name of one"));
        }
    }
    if header.eq_ignore_ascii_case("cookie") {
        let text = "is not for cookies: set `client.connect_token_cookie` to the name of the cookie";
        report.problem("client.connect_token_http_header", text);
    }
    let open =
        client.allowed_origins.iter().enumerate().filter(|(_, origin)| !is_name(&origin.to_lowercase()));
    for (index, origin) in open {
        let option = format!("client.allowed_origins[{index}]");
        if !cookie.is_empty() {
            report.problem(
                &option,
                format!(
                    "{origin:?} names no origin, and with `client.connect_token_cookie` any page that it matches could \
                     connect as the visitor: write scheme and host without a *, but for *. in front of the host"
                ),
            );
        } else if !header.is_empty() {
            let text = format!(
                "{origin:?} names no origin: pages that it alone matches are not logged in by header"
            );
            report.note(&option, text);
        }
    }
    if !cookie.is_empty() && client.allowed_origins.is_empty() {
        report.note("client.allowed_origins", "is empty: no cookie can be used");
    }
}

/// A pattern that cannot match, or is not a glob.
fn origin_pattern(report: &mut Report<'_>, option: &str, pattern: &str) {
    let glob = GlobBuilder::new(pattern).literal_separator(false).backslash_escape(true).build();
    if let Err(error) = glob {
        report.problem(option, format!("{pattern:?} is not a pattern: {}", error.kind()));
    } else if pattern.is_empty() || pattern.contains(char::is_whitespace) {
        report.problem(option, format!("{pattern:?} can match no origin"));
    } else if pattern.contains(['"', '\'']) || (pattern.contains(',') && !pattern.contains('{')) {
        let text = "can match no origin: write one origin an item, in a variable separated by spaces, without quotes";
        report.problem(option, format!("{pattern:?} {text}"));
    } else if pattern.eq_ignore_ascii_case("null") {
        let text = "admits pages that have no origin of their own, such as local files and sandboxed frames: anybody can \
                    make one";
        report.note(option, text);
    } else if !pattern.contains("://") && !pattern.contains('*') {
        report.note(
            option,
            format!("matches no origin without a scheme; write for example \"https://{pattern}\""),
        );
    }
}
