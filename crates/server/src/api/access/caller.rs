//! A caller, and what it may do.

use super::super::error::ApiError;
use super::super::method::{Command, METHODS, Reach};
use super::usage::Usage;
use spinward::clock::Clock;
use std::fmt;
use std::sync::Arc;
use thiserror::Error;

/// Permissions of a caller: everything, unless something is listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scope {
    methods: Option<Vec<&'static str>>,
    channels: Option<Vec<Pattern>>,
    /// Calls per second; 0 for no limit.
    rate: u32,
}

/// A name of a channel, or the start of one with a star behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Whole(Box<str>),
    Start(Box<str>),
}

impl Pattern {
    fn matches(&self, channel: &str) -> bool {
        match self {
            Self::Whole(name) => channel == &**name,
            Self::Start(start) => channel.starts_with(&**start),
        }
    }
}

impl Scope {
    /// Allows only these methods and channels, where there are any, and so many calls per second, where that is not 0.
    ///
    /// # Errors
    /// There is no method of this name.
    pub(crate) fn new(methods: &[String], channels: &[String], rate: u32) -> Result<Self, String> {
        let known = |name: &String| {
            METHODS.iter().map(|method| method.name).find(|known| known == name).ok_or_else(|| name.clone())
        };
        let methods = methods.iter().map(known).collect::<Result<Vec<_>, _>>()?;
        let pattern = |text: &String| match text.strip_suffix('*') {
            Some(start) => Pattern::Start(start.into()),
            None => Pattern::Whole(text.as_str().into()),
        };
        let channels: Vec<Pattern> = channels.iter().map(pattern).collect();
        Ok(Self {
            methods: (!methods.is_empty()).then_some(methods),
            channels: (!channels.is_empty()).then_some(channels),
            rate,
        })
    }

    fn allows(&self, channel: &str) -> bool {
        self.channels.as_ref().is_none_or(|patterns| patterns.iter().any(|pattern| pattern.matches(channel)))
    }
}

/// A caller of the API.
pub(crate) struct Caller {
    scope: Scope,
    usage: Arc<Usage>,
    clock: Clock,
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scope, usage, .. } = self;
        f.debug_struct("Caller").field("name", &usage.name()).field("scope", scope).finish_non_exhaustive()
    }
}

/// A call that a key does not allow.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Denied {
    /// The method is not listed.
    #[error("the key {key} lacks the method {method}")]
    Method {
        /// The name of the key.
        key: Arc<str>,
        /// The method.
        method: &'static str,
    },
    /// The channel is not listed.
    #[error("the key {key} lacks the channel {}", short(.channel))]
    Channel {
        /// The name of the key.
        key: Arc<str>,
        /// The channel.
        channel: String,
    },
    /// The call concerns channels that are not listed.
    #[error("the key {key} is limited to channels, and this call of {method} concerns all of them")]
    AllChannels {
        /// The name of the key.
        key: Arc<str>,
        /// The method.
        method: &'static str,
    },
    /// Too many calls.
    #[error("the key {key} is limited to {rate} calls per second")]
    Rate {
        /// The name of the key.
        key: Arc<str>,
        /// Calls per second.
        rate: u32,
    },
}

/// At most so much of a name that a caller chose.
fn short(text: &str) -> String {
    text.chars().take(64).collect()
}

impl Denied {
    /// Label of metrics and log lines.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::Method { .. } => "method",
            Self::Channel { .. } | Self::AllChannels { .. } => "channel",
            Self::Rate { .. } => "rate",
        }
    }
}

/// The reply to a command of a batch.
impl From<Denied> for ApiError {
    fn from(denied: Denied) -> Self {
        let code = if denied.reason() == "rate" { 111 } else { Self::PERMISSION_DENIED };
        Self { code, message: denied.to_string().into() }
    }
}

impl Caller {
    /// A caller that is counted in `usage`.
    pub(crate) const fn new(scope: Scope, usage: Arc<Usage>, clock: Clock) -> Self {
        Self { scope, usage, clock }
    }

    /// The name of its key.
    pub(crate) fn name(&self) -> &str {
        self.usage.name()
    }

    /// Allows a call, and counts it.
    ///
    /// # Errors
    /// The key does not allow it.
    pub(crate) fn admit(&self, command: &Command) -> Result<(), Denied> {
        let allowed = self.allows(command);
        match &allowed {
            Ok(()) => self.usage.called(command.position()),
            Err(denied) => self.usage.denied(denied),
        }
        allowed
    }

    fn allows(&self, command: &Command) -> Result<(), Denied> {
        let (key, method) = (|| Arc::clone(self.usage.name_shared()), command.name());
        if self.scope.methods.as_ref().is_some_and(|methods| !methods.contains(&method)) {
            return Err(Denied::Method { key: key(), method });
        }
        if self.scope.channels.is_some() {
            let lacks = |channel: &&str| !self.scope.allows(channel);
            let lacking = match command.reach() {
                Reach::Nothing => None,
                Reach::Channel(channel) => Some(channel).filter(lacks),
                Reach::Channels(channels) => channels.iter().map(String::as_str).find(lacks),
                Reach::All => return Err(Denied::AllChannels { key: key(), method }),
            };
            if let Some(channel) = lacking {
                return Err(Denied::Channel { key: key(), channel: channel.to_owned() });
            }
        }
        if self.scope.rate > 0 && !self.usage.take(self.scope.rate, self.clock.now()) {
            return Err(Denied::Rate { key: key(), rate: self.scope.rate });
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "caller_tests.rs"]
mod tests;
