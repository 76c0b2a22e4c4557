//! Checks that a call of the server API makes sense in a channel.
//!
//! The key has been checked: the application may do everything. It remains to check that the channel can.

use super::decide::Rules;
use super::decision::{HistoryGrant, PublishGrant, Refused};
use super::rule::Rule;
use crate::channel::Registry;
use crate::config::typed::{ChannelOptions, SubscriptionType};
use spinward_wire::code::ErrorCode;

/// A call of the server API that concerns one channel. Subscribing is [`super::server_side`]'s.
pub trait Call {
    /// The permission that it needs.
    type Grant;

    /// Checks the call against the options of its channel.
    ///
    /// # Errors
    /// The channel cannot do it.
    fn judge(self, options: &ChannelOptions) -> Result<Self::Grant, Refused>;
}

/// `publish`, and each channel of `broadcast`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    /// The payload.
    pub data: &'a [u8],
    /// `skip_history`: store nothing.
    pub skip_history: bool,
    /// `delta`: it may be sent as a delta, whatever the namespace says.
    pub delta: bool,
}

/// `unsubscribe` from a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsubscribe;

/// `presence` and `presence_stats`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presence;

/// `history` and `history_remove`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History;

/// Decides a call.
///
/// Refusals: no channel name, or one that is longer than [`crate::channel::Registry::longest_name`] 107, unknown
/// namespace 102, publishing into another kind than a stream 107, a payload of the wrong format 107, presence or
/// history where they are off 108. `channel.max_length` and the characters of the name are the application's
/// business, as in Centrifugo v6.9.
///
/// # Errors
/// These.
pub fn check<C: Call>(rules: &Rules, channel: &str, call: C) -> Result<C::Grant, Refused> {
    call.judge(options(&rules.registry, channel)?)
}

/// Returns the options of a channel that the application names.
pub(super) fn options<'r>(registry: &'r Registry, channel: &'r str) -> Result<&'r ChannelOptions, Refused> {
    if channel.is_empty() {
        return Err(Refused { rule: Rule::ChannelRequired, code: ErrorCode::BAD_REQUEST });
    }
    if channel.len() > registry.longest_name() {
        return Err(Refused { rule: Rule::ChannelLength, code: ErrorCode::BAD_REQUEST });
    }
    let Some(namespace) = registry.resolve(channel).namespace else {
        return Err(Refused { rule: Rule::Namespace, code: ErrorCode::UNKNOWN_CHANNEL });
    };
    Ok(namespace.options())
}

fn require(rule: Rule, holds: bool, code: ErrorCode) -> Result<(), Refused> {
    if holds { Ok(()) } else { Err(Refused { rule, code }) }
}

impl Call for Publish<'_> {
    type Grant = PublishGrant;

    fn judge(self, options: &ChannelOptions) -> Result<PublishGrant, Refused> {
        let stream = options.subscription_type == SubscriptionType::Stream;
        require(Rule::SubscriptionType, stream, ErrorCode::BAD_REQUEST)?;
        let fits = options.publication_data_format.admits(self.data);
        require(Rule::DataFormat, fits, ErrorCode::BAD_REQUEST)?;
        let mut grant = PublishGrant::of(options);
        grant.delta |= self.delta;
        Ok(if self.skip_history { grant.without_history() } else { grant })
    }
}

impl Call for Unsubscribe {
    type Grant = ();

    fn judge(self, _: &ChannelOptions) -> Result<(), Refused> {
        Ok(())
    }
}

impl Call for Presence {
    type Grant = ();

    fn judge(self, options: &ChannelOptions) -> Result<(), Refused> {
        require(Rule::PresenceOn, options.presence, ErrorCode::NOT_AVAILABLE)
    }
}

impl Call for History {
    type Grant = HistoryGrant;

    fn judge(self, options: &ChannelOptions) -> Result<HistoryGrant, Refused> {
        require(Rule::HistoryOn, options.has_history(), ErrorCode::NOT_AVAILABLE)?;
        Ok(HistoryGrant::of(options))
    }
}
