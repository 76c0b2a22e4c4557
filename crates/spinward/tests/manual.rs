//! The manual shows pieces of the examples, which compile and run. Here they are held together, word for word.

use std::fs;
use std::path::Path;

/// The Rust blocks of a document that are not whole programs of their own.
fn blocks(document: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(document);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut blocks = Vec::new();
    let mut rest = text.as_str();
    while let Some((_, after)) = rest.split_once("```rust\n") {
        let Some((block, after)) = after.split_once("```") else { panic!("a block without an end") };
        blocks.push(block.to_owned());
        rest = after;
    }
    blocks
}

#[test]
fn every_block_stands_in_an_example() {
    let examples = [
        include_str!("../examples/chat.rs"),
        include_str!("../examples/cookie_login.rs"),
        include_str!("../examples/operated.rs"),
        include_str!("../../test/tests/application.rs"),
        include_str!("../../server/examples/embedded.rs"),
    ];
    for (document, expected) in [("README.md", 2), ("docs/manual/embedding.md", 11)] {
        let blocks = blocks(document);
        assert_eq!(blocks.len(), expected, "{document}");
        for block in blocks {
            // An `impl` may show the first of its functions alone.
            let shown = block.trim_end();
            let shown = shown.strip_suffix("\n    // …\n}").unwrap_or(shown);
            assert!(
                examples.iter().any(|example| example.contains(shown)),
                "{document} shows what no example has:\n{block}"
            );
        }
    }
}
