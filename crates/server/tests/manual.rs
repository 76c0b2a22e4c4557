//! Checks that the server accepts what the manual shows.

use spinward_server::config::{self, Format, Level, Vars};
use std::fs;
use std::path::Path;

/// The blocks of a chapter below a line `<!-- MARK: NAME -->` (or `<!-- MARK -->`): name, language, text.
fn blocks(chapter: &str, mark: &str) -> Vec<(String, String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/manual").join(chapter);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut blocks = Vec::new();
    let mut rest = text.as_str();
    while let Some((_, after)) = rest.split_once(&format!("<!-- {mark}")) {
        let Some((name, after)) = after.split_once(" -->\n```") else { panic!("a mark without a block") };
        let Some((language, after)) = after.split_once('\n') else { panic!("a block without lines") };
        let Some((block, after)) = after.split_once("```") else { panic!("a block without an end") };
        blocks.push((name.trim_start_matches(": ").to_owned(), language.to_owned(), block.to_owned()));
        rest = after;
    }
    blocks
}

#[test]
fn configurations_are_right_and_nothing_in_them_is_unknown_planned_or_open() {
    let vars: Vars = [
        ("SPINWARD_VAR_TOKEN_KEY", "keep-this-long-and-random-5f2c9a71e0b84d36"),
        ("SPINWARD_VAR_API_KEY", "keep-this-long-and-random-too-83b1f6"),
    ]
    .map(|(name, text)| (name.to_owned(), text.to_owned()))
    .into_iter()
    .collect();
    let mut shown = blocks("configuration.md", "config");
    assert_eq!(shown.len(), 7);
    shown.extend(blocks("tls.md", "config"));
    assert_eq!(shown.len(), 10);
    shown.extend(blocks("proxies-in-front.md", "config"));
    assert_eq!(shown.len(), 12);
    shown.extend(blocks("event-proxies.md", "config"));
    assert_eq!(shown.len(), 17);
    shown.extend(blocks("consumers.md", "config"));
    assert_eq!(shown.len(), 20);
    // A server without the feature refuses them.
    for (feature, built) in [
        ("kafka", cfg!(feature = "kafka")),
        ("sqs", cfg!(feature = "sqs")),
        ("pubsub", cfg!(feature = "pubsub")),
        ("servicebus", cfg!(feature = "servicebus")),
    ] {
        let blocks = blocks("consumers.md", feature);
        assert_eq!(blocks.len(), 1, "{feature}");
        if built {
            shown.extend(blocks);
        }
    }
    for (chapter, mark, count) in [
        ("quick-start.md", "file: config.json", 1),
        ("install.md", "config", 1),
        ("back-ends.md", "config", 1),
        ("engines.md", "config", 3),
        ("moving-from-centrifugo.md", "config", 1),
        ("nats.md", "config", 2),
        ("postgresql.md", "config", 1),
        ("old-clients.md", "config", 1),
        ("channels.md", "server", 2),
        ("subscription-tokens.md", "server", 1),
        ("subscription-tokens.md", "config", 1),
        ("history.md", "server", 1),
        ("presence.md", "server", 1),
        ("server-side-subscriptions.md", "server", 1),
        ("deltas-and-filters.md", "server", 1),
        ("client-protocol.md", "server", 1),
        ("observability.md", "server", 1),
        ("tuning.md", "server", 1),
    ] {
        let more = blocks(chapter, mark);
        assert_eq!(more.len(), count, "{chapter}");
        shown.extend(more);
    }
    let mut loaded = Vec::new();
    for (_, language, block) in shown {
        let format = match language.as_str() {
            "json" => Format::Json,
            "yaml" => Format::Yaml,
            "toml" => Format::Toml,
            other => panic!("no configuration is written in {other}"),
        };
        let tree = format.parse(&block).unwrap_or_else(|error| panic!("{error}\n{block}"));
        let one = config::from_tree(tree, &vars, &[]).unwrap_or_else(|error| panic!("{error}\n{block}"));
        let loud: Vec<String> =
            one.warnings.iter().filter(|one| one.level != Level::Note).map(ToString::to_string).collect();
        assert!(loud.is_empty(), "{loud:?}\n{block}");
        assert!(!one.translated, "{block}");
        loaded.push(one.config);
    }
    assert_eq!(loaded[0], loaded[1], "JSON and YAML say the same");
}

#[test]
fn configurations_of_transports_are_loaded() {
    for (_, language, block) in blocks("transports.md", "config") {
        assert_eq!(language, "json");
        let tree = Format::Json.parse(&block).unwrap_or_else(|error| panic!("{error}\n{block}"));
        let loaded = config::from_tree(tree, &Vars::default(), &[]);
        let loaded = loaded.unwrap_or_else(|error| panic!("{error}\n{block}"));
        let planned: Vec<_> = loaded.warnings.iter().filter(|one| one.level == Level::Planned).collect();
        assert!(planned.is_empty(), "{planned:?}\n{block}");
    }
}
