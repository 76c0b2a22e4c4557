//! Today's form of a single old name, for variables, flags and suggestions.

use super::becomes;
use super::keys;
use super::versions::said;
use crate::config::suggest;
use std::borrow::Cow;

/// The form in v6 of an old name.
#[derive(Clone, Debug)]
pub(crate) struct Today {
    /// The options of v6 that it became.
    pub(crate) options: Vec<Cow<'static, str>>,
    /// The same in words, or the reason why there is no option.
    pub(crate) said: String,
}

const SCOPE: &str = "channel.without_namespace";

/// The form in v6 of a key at the top of an old file.
pub(crate) fn today(name: &str) -> Option<Today> {
    let key = keys::find(name)?;
    let (head, part) = name.split_once('.').map_or((name, None), |(head, part)| (head, Some(part)));
    let became = becomes::top(head)?;
    let mut options = became.options(SCOPE);
    let mut said = said(became, SCOPE, key.versions);
    if let (Some(part), [object]) = (part, &mut options[..]) {
        let part = super::lists::tls_part(part);
        *object = format!("{object}.{part}").into();
        said = format!("since v6 it is called `{object}`");
    }
    Some(Today { options, said })
}

/// The old key at the top of a file that an unknown name is a misspelling or a part of, and what it is today.
pub(in crate::config) fn closest(name: &str) -> Option<(&'static str, Today)> {
    let names = || keys::all().keys().copied().filter(|known| !known.contains(['[', '.']));
    let near = suggest::misspelt(name, names()).or_else(|| suggest::longer(name, names()))?;
    Some((near, today(near)?))
}
