//! Size of the binary and of the part that each cargo feature has in it.

use super::sbom::{linked, metadata};
use super::toolchain::Toolchain;
use crate::shell::{self, Failure};
use std::collections::BTreeSet;
use std::path::Path;

/// A number of bytes in decimal megabytes.
pub(super) fn shown(bytes: u64) -> String {
    format!("{}.{:02} MB", bytes / 1_000_000, bytes % 1_000_000 / 10_000)
}

/// Prints the size of each default feature: of the symbols whose names contain a crate that only this feature brings, or
/// a module of this repository that has its name.
///
/// It is an estimate that needs no further build: code that is shared, inlined or written in C is not counted.
pub(super) fn of_features(tools: &Toolchain, binary: &Path, target: &str) -> Result<(), Failure> {
    let all = metadata()?;
    let features = all.server()?["features"]["default"].as_array().cloned().unwrap_or_default();
    let features: Vec<&str> = features.iter().filter_map(serde_json::Value::as_str).collect();
    let with_all = crates(target, &features)?;
    let symbols = symbols(tools, binary)?;
    let total: u64 = symbols.iter().map(|(size, _)| size).sum();
    println!("\nfeature          crates     symbols");
    for feature in &features {
        let others: Vec<&str> = features.iter().copied().filter(|other| other != feature).collect();
        let without = crates(target, &others)?;
        let own: Vec<&String> = with_all.difference(&without).collect();
        let size: u64 =
            symbols.iter().filter(|(_, name)| is_of(name, feature, &own)).map(|(size, _)| size).sum();
        println!("{feature:<16} {:>6}  {:>10}", own.len(), shown(size));
    }
    println!("{:<16} {:>6}  {:>10}", "all symbols", with_all.len(), shown(total));
    Ok(())
}

/// The crates that the server is linked of, as they are called in symbols.
fn crates(target: &str, features: &[&str]) -> Result<BTreeSet<String>, Failure> {
    let chosen = ["--no-default-features".to_owned(), format!("--features={}", features.join(","))];
    Ok(linked(target, &chosen)?.into_iter().map(|(name, _)| name.replace('-', "_")).collect())
}

/// Returns true if a symbol is of a feature.
fn is_of(symbol: &str, feature: &str, crates: &[&String]) -> bool {
    let ours = symbol.contains("spinward") && symbol.contains(&format!("::{feature}::"));
    ours || crates.iter().any(|name| {
        symbol.match_indices(name.as_str()).any(|(at, _)| {
            let before = symbol[..at].chars().next_back();
            // A crate is the first part of a path.
            !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
                && symbol[at + name.len()..].starts_with("::")
        })
    })
}

/// Size and name of each symbol of code and data.
fn symbols(tools: &Toolchain, binary: &Path) -> Result<Vec<(u64, String)>, Failure> {
    let mut nm = tools.binutil("nm", &["--demangle", "--print-size", "--radix=d", "--defined-only"]);
    let text = shell::output(nm.arg(binary))?;
    let parse = |line: &str| {
        let mut parts = line.splitn(4, ' ');
        let (_, size, kind, name) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        // Zeroed memory takes no room in the file.
        (!matches!(kind, "b" | "B")).then_some((size.parse().ok()?, name.to_owned()))
    };
    Ok(text.lines().filter_map(parse).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbol_belongs_to_the_feature_of_its_crates_and_modules() {
        let redis = "redis".to_owned();
        for (symbol, expected) in [
            ("redis::client::Client::open", true),
            ("core::ptr::drop_in_place<redis::types::Value>", true),
            ("<redis::cmd::Cmd as core::fmt::Debug>::fmt", true),
            ("spinward_engines::redis::broker::Broker::new", true),
            ("tokio::redis::x", false),
            ("deadredis::x", false),
            ("core::fmt::write", false),
        ] {
            assert_eq!(is_of(symbol, "redis", &[&redis]), expected, "{symbol}");
        }
    }

    #[test]
    fn sizes_are_decimal() {
        assert_eq!(shown(16_549_999), "16.54 MB");
    }
}
