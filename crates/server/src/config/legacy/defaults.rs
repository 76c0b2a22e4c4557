//! Defaults of older versions that v6 has changed: a file that relied on one is told.

use super::Translation;
use super::becomes::{self, Becomes};
use super::keys::{self, Versions};
use crate::config::catalogue::{Section as _, find};
use crate::config::env::at;
use crate::config::typed::Config;
use std::collections::BTreeMap;

/// By option of v6 and former default: the versions that had it.
fn changed() -> BTreeMap<(&'static str, &'static str), Versions> {
    let mut changed = BTreeMap::new();
    for default in keys::defaults() {
        if let Some(Becomes::Moved(path)) = becomes::top(default.key) {
            let versions = changed.entry((path, default.value)).or_insert(Versions::NONE);
            *versions = versions.or(default.versions);
        }
    }
    changed
}

impl Translation<'_, '_> {
    /// Names the options that the file leaves out and that meant something else in every version that it can be of.
    pub(super) fn defaults(&mut self) {
        for ((path, before), versions) in changed() {
            if !self.versions.within(versions) || at(&mut self.tree, path).is_some() {
                continue;
            }
            let Some(field) = find(Config::fields(), path) else { continue };
            let now = field.default.as_str().map_or_else(|| field.default.to_string(), str::to_owned);
            let text = format!("is not set: the default was {before} in {versions}, and is {now} since");
            self.report.note(path, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_former_default_is_another_value_of_an_option() {
        let changed = changed();
        assert_eq!(changed.len(), 4, "{changed:?}");
        for (path, before) in changed.keys() {
            let field = find(Config::fields(), path).unwrap();
            let now = field.default.as_str().map_or_else(|| field.default.to_string(), str::to_owned);
            assert_ne!(now, *before, "{path}");
        }
        assert_eq!(keys::defaults().count(), 9);
    }
}
