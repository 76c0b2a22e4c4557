//! The grammar of channel names.
//!
//! A name is any string. Some marks in it have a meaning, each of which can be changed or, by setting it
//! to the empty string, switched off:
//!
//! ```text
//! $news:sports#alice,bob
//! │└──┤      └─────────┴─ user_boundary and user_separator: only these users
//! │   └─ namespace_boundary: the part before the first one names the namespace
//! └─ private_prefix: only with a subscription token
//! ```

use crate::config::typed::Channel;
use std::fmt;
use thiserror::Error;

/// The marks and limits of channel names: options `channel.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syntax {
    /// `channel.private_prefix`.
    pub private_prefix: String,
    /// `channel.namespace_boundary`.
    pub namespace_boundary: String,
    /// `channel.user_boundary`.
    pub user_boundary: String,
    /// `channel.user_separator`.
    pub user_separator: String,
    /// `channel.max_length` in bytes.
    pub max_length: usize,
    /// `channel.patterns`: a name that begins with `/` resolves by the patterns of the namespaces alone.
    pub patterns: bool,
}

impl Default for Syntax {
    fn default() -> Self {
        Self::of(&Channel::default())
    }
}

impl Syntax {
    /// The syntax of a configuration.
    #[must_use]
    pub fn of(channel: &Channel) -> Self {
        Self {
            private_prefix: channel.private_prefix.clone(),
            namespace_boundary: channel.namespace_boundary.clone(),
            user_boundary: channel.user_boundary.clone(),
            user_separator: channel.user_separator.clone(),
            max_length: channel.max_length as usize,
            patterns: channel.patterns,
        }
    }

    /// Takes a name apart. This never fails: whether the name is acceptable is asked later.
    #[must_use]
    pub fn parse<'a>(&'a self, channel: &'a str) -> ChannelName<'a> {
        let (private, bare) = match strip_nonempty_prefix(channel, &self.private_prefix) {
            Some(bare) => (true, bare),
            None => (false, channel),
        };
        let users = self.users(channel);
        if self.patterns && bare.starts_with('/') {
            return ChannelName {
                full: channel,
                namespace: None,
                rest: channel,
                private,
                pattern: true,
                users,
            };
        }
        let (namespace, rest) = match split_once_nonempty(bare, &self.namespace_boundary) {
            // An empty namespace name is not a namespace name, yet the boundary is gone from the rest.
            Some(("", rest)) => (None, rest),
            Some((namespace, rest)) => (Some(namespace), rest),
            // Centrifugo v6.9 leaves the private prefix on the rest here, and only here.
            None => (None, channel),
        };
        ChannelName { full: channel, namespace, rest, private, pattern: false, users }
    }

    /// The personal channel of a user: `#user`, or `namespace:#user`.
    #[must_use]
    pub fn personal_channel(&self, namespace: &str, user: &str) -> String {
        if namespace.is_empty() {
            format!("{}{user}", self.user_boundary)
        } else {
            format!("{namespace}{}{}{user}", self.namespace_boundary, self.user_boundary)
        }
    }

    fn users<'a>(&'a self, channel: &'a str) -> Option<Users<'a>> {
        if self.user_boundary.is_empty() {
            return None;
        }
        let at = channel.rfind(self.user_boundary.as_str())?;
        Some(Users { list: &channel[at + self.user_boundary.len()..], separator: &self.user_separator })
    }
}

/// A channel name taken apart. Borrowed from the name and from the [`Syntax`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelName<'a> {
    /// The whole name.
    pub full: &'a str,
    /// The name of the namespace; `None` for a channel of `channel.without_namespace` and for a pattern.
    pub namespace: Option<&'a str>,
    /// Text matched against the namespace's `channel_regex`: the part after the namespace boundary, or
    /// the whole name (private prefix included) where there is none, or where it is a pattern's.
    pub rest: &'a str,
    /// True if the name begins with the private prefix.
    pub private: bool,
    /// True if the name resolves by patterns.
    pub pattern: bool,
    /// The users after the last user boundary, if there is one in the name. Whether that means anything
    /// is the namespace's `allow_user_limited_channels`.
    pub users: Option<Users<'a>>,
}

/// The list of user ids at the end of a user-limited channel.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Users<'a> {
    list: &'a str,
    separator: &'a str,
}

impl<'a> Users<'a> {
    /// Returns true if this user is on the list.
    ///
    /// The anonymous user (the empty id) never is, not even where the list is empty or ends in a separator.
    /// Centrifugo v6.9 lets anonymous clients into `chat#`; this is the one place where Spinward is stricter.
    #[must_use]
    pub fn contains(&self, user: &str) -> bool {
        !user.is_empty() && self.iter().any(|listed| listed == user)
    }

    /// The ids as they are written, empty ones included.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let (list, separator) = (self.list, self.separator);
        let mut rest = Some(list);
        std::iter::from_fn(move || {
            let now = rest?;
            let (head, tail) = split_once_nonempty(now, separator).map_or((now, None), |(h, t)| (h, Some(t)));
            rest = tail;
            Some(head)
        })
    }
}

impl fmt::Debug for Users<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Reasons to refuse a name, independent of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NameFault {
    /// The name is empty.
    #[error("the channel name is empty")]
    Empty,
    /// The name has more than `channel.max_length` bytes.
    #[error("the channel name is longer than channel.max_length")]
    TooLong,
    /// The name has a character outside of ASCII, and its namespace no `channel_regex` to admit it.
    #[error("the channel name has non-ASCII characters and its namespace sets no channel_regex")]
    NotAscii,
    /// The namespace's `channel_regex` does not match.
    #[error("the channel name does not match channel_regex")]
    Regex,
}

fn strip_nonempty_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    if prefix.is_empty() { None } else { text.strip_prefix(prefix) }
}

fn split_once_nonempty<'a>(text: &'a str, mark: &str) -> Option<(&'a str, &'a str)> {
    if mark.is_empty() { None } else { text.split_once(mark) }
}

#[cfg(test)]
#[path = "name_tests.rs"]
mod tests;
