//! The scripts of presence, in two ways to end entries.

use super::super::script::Script;
use std::sync::LazyLock;

/// The scripts of one way.
pub(super) struct Scripts {
    pub(super) keys: Names,
    pub(super) add: Script,
    pub(super) refresh: Script,
    pub(super) remove: Script,
    pub(super) members: Script,
    /// Counts without reading entries.
    pub(super) stats: Option<Script>,
}

/// Names of keys, in the order in which scripts take them.
pub(super) enum Names {
    /// Kinds of this project's layout.
    Letters(&'static [char]),
    /// The text after the prefix in the layout of Centrifugo. Its scripts are told everything of a client.
    Words([&'static str; 4]),
}

/// Ends in a sorted set, which every script looks through.
pub(super) static SORTED: LazyLock<Scripts> = LazyLock::new(|| {
    let script = |text| Script::new(&[include_str!("sorted_drop.lua"), text]);
    Scripts {
        keys: Names::Letters(&['x', 'e', 'u', 'n']),
        add: script(include_str!("sorted_add.lua")),
        refresh: script(include_str!("sorted_refresh.lua")),
        remove: script(include_str!("sorted_remove.lua")),
        members: script(include_str!("sorted_members.lua")),
        stats: Some(script(include_str!("sorted_stats.lua"))),
    }
});

/// Ends of the fields of hashes, which the server keeps.
pub(super) static FIELDS: LazyLock<Scripts> = LazyLock::new(|| {
    let script = |text| Script::new(&[text]);
    Scripts {
        keys: Names::Letters(&['f', 'g']),
        add: script(include_str!("fields_add.lua")),
        refresh: script(include_str!("fields_refresh.lua")),
        remove: script(include_str!("fields_remove.lua")),
        members: script(include_str!("fields_members.lua")),
        stats: Some(script(include_str!("fields_stats.lua"))),
    }
});

/// The keys of Centrifugo v6, in both ways. Its number of clients by user is kept for its nodes, and not used: it
/// is wrong once clients have expired.
pub(super) static SHARED: LazyLock<Scripts> = LazyLock::new(|| {
    let script = |text| Script::new(&[text]);
    Scripts {
        keys: Names::Words([
            ".presence.expire.",
            ".presence.data.",
            ".presence.user.expire.",
            ".presence.user.clients.",
        ]),
        add: script(include_str!("shared_add.lua")),
        refresh: script(include_str!("shared_refresh.lua")),
        remove: script(include_str!("shared_remove.lua")),
        members: script(include_str!("shared_members.lua")),
        stats: None,
    }
});
