//! Chapters of the manual that are made of catalogues: codes, metrics, options.
//!
//! They are committed. The test holds them against the catalogues; `cargo xtask manual --write` has it write them anew.

use crate::app::metrics::families::GROUPS;
use crate::config::doc;
use spinward_wire::code::{DisconnectCode, Entry, ErrorCode, UnsubscribeCode};
use std::fmt::Write as _;
use std::path::Path;

const GENERATED: &str = "<!-- Generated from the code. To write it anew: cargo xtask manual --write -->\n";

/// The chapters by their files.
fn chapters() -> [(&'static str, String); 3] {
    [("codes.md", codes()), ("metrics.md", metrics()), ("options.md", options())]
}

fn codes() -> String {
    let mut text = format!(
        "{GENERATED}# Codes\n\n\
         Numbers and texts are those of Centrifugo; every SDK acts on them. The client gets the code and the short text. \
         The server's log names the option, claim or rule behind it, and so does `spinward explain`.\n\n\
         ## Errors\n\n\
         The reply to a command. An SDK repeats a subscribe or a connect that failed with a temporary error, and hands \
         the others to your code. 400 to 1999 are those of applications and event proxies.\n\n"
    );
    entries(&mut text, "temporary", ErrorCode::CATALOGUE);
    text.push_str(
        "\n## Ends of subscriptions\n\n\
         The code of the SDK's event `unsubscribed`, or of `subscribing` where it subscribes again. After 2500 to 2999 \
         it does, after 2000 to 2499 it does not.\n\n",
    );
    entries(&mut text, "subscribes again", UnsubscribeCode::CATALOGUE);
    text.push_str(
        "\n## Disconnects\n\n\
         The code of the SDK's event `disconnected`, or of `connecting` where it connects again. It does after 3000 to \
         3499 and 4000 to 4499; 3500 to 3999 and 4500 to 4999 are final. Applications use 4000 to 4999.\n\n",
    );
    entries(&mut text, "connects again", DisconnectCode::CATALOGUE);
    text
}

fn entries(text: &mut String, again: &str, catalogue: &[Entry]) {
    // Writing to a string cannot fail.
    let _ = write!(text, "| code | text | {again} | cause | remedy |\n|---|---|---|---|---|\n");
    for Entry { code, text: name, again, cause, remedy } in catalogue {
        let again = if *again { "yes" } else { "no" };
        let (cause, remedy) = (cell(cause), cell(remedy));
        let _ = writeln!(text, "| <a id=\"{code}\"></a>{code} | {name} | {again} | {cause} | {remedy} |");
    }
}

fn metrics() -> String {
    let mut text = format!(
        "{GENERATED}# Metrics\n\n\
         With `prometheus.enabled` the server has a page at `/metrics` in Prometheus' text format, on the internal port \
         where there is one. Names that begin with `centrifugo_` are those of Centrifugo, so that its dashboards work; \
         `spinward_` ones are our own. Labels that Centrifugo has and that have no value here (`channel_namespace`, \
         `frame_type`, `accept_protocol`, `client_version`) are there and empty.\n\n\
         Codes have a row once there is something to count, and so have transports other than WebSocket. \
         [Tuning](tuning.md#what-to-watch) says which to watch.\n"
    );
    for group in GROUPS {
        let _ = write!(text, "\n## {}\n\n| metric | type | labels | |\n|---|---|---|---|\n", group.title);
        for family in group.families {
            let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
            let (name, kind, labels, help) = (family.name, family.kind, labels.join(", "), cell(family.help));
            let _ = writeln!(text, "| <a id=\"{name}\"></a>`{name}` | {kind} | {labels} | {help} |");
        }
    }
    text
}

/// The output of `configdoc`, where each option can be linked to by its name.
fn options() -> String {
    let reference = doc::markdown(None).expect("there is no section to be missing");
    let mut text = GENERATED.to_owned();
    for line in reference.lines() {
        match line.strip_prefix("| `").and_then(|rest| rest.split_once('`')) {
            Some((name, rest)) => {
                let _ = writeln!(text, "| <a id=\"{name}\"></a>`{name}`{rest}");
            }
            None => {
                let _ = writeln!(text, "{line}");
            }
        }
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn cell(text: &str) -> String {
    text.trim().replace('|', "\\|")
}

#[test]
fn chapters_are_what_the_catalogues_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/manual");
    let write = std::env::var_os("SPINWARD_WRITE_MANUAL").is_some();
    let mut stale = Vec::new();
    for (name, text) in chapters() {
        let file = folder.join(name);
        if write {
            std::fs::write(&file, &text).unwrap();
        } else if std::fs::read_to_string(&file).ok().as_deref() != Some(&text) {
            stale.push(name);
        }
    }
    assert!(stale.is_empty(), "{stale:?} are not what the code says: run cargo xtask manual --write");
}

#[test]
fn every_code_has_a_cause_and_a_remedy_and_every_metric_a_help_text() {
    let codes = [ErrorCode::CATALOGUE, UnsubscribeCode::CATALOGUE, DisconnectCode::CATALOGUE].concat();
    assert_eq!(codes.len(), ErrorCode::ALL.len() + UnsubscribeCode::ALL.len() + DisconnectCode::ALL.len());
    for one in codes {
        assert!(one.cause.trim().ends_with('.') && one.remedy.ends_with('.'), "{one:?}");
    }
    for family in GROUPS.iter().flat_map(|group| group.families) {
        assert!(family.help.ends_with('.'), "{family:?}");
    }
}
