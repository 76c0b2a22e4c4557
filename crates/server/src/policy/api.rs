//! Checks that a call of the server API makes sense in a channel.
//!
//! The key has been checked: the application may do everything. It remains to check that the channel can.

use super::decide::Rules;
use super::decision::{Decision, Grant, HistoryGrant, PublishGrant, Verdict};
use super::rule::{Outcome, Rule, Trail};
use crate::channel::SubscriptionType;
use spinward_wire::code::ErrorCode;

/// A call of the server API that concerns one channel. Subscribing is [`super::server_side`]'s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call<'a> {
    /// `publish`, and each channel of `broadcast`.
    Publish {
        /// The payload.
        data: &'a [u8],
        /// `skip_history`: store nothing.
        skip_history: bool,
        /// `delta`: it may be sent as a delta, whatever the namespace says.
        delta: bool,
    },
    /// `unsubscribe`; without a channel it means all of them.
    Unsubscribe,
    /// `presence`.
    Presence,
    /// `presence_stats`.
    PresenceStats,
    /// `history`.
    History,
    /// `history_remove`.
    HistoryRemove,
}

/// Decides a call.
///
/// Refusals: no channel name, or one that is longer than [`crate::channel::Registry::longest_name`] 107, unknown
/// namespace 102, publishing into another kind than a stream 107, a payload of the wrong format 107, presence or
/// history where they are off 108. `channel.max_length` and the characters of the name are the application's
/// business, as in Centrifugo v6.9.
#[must_use]
pub fn check(rules: &Rules, channel: &str, call: &Call<'_>) -> Decision<'static> {
    let mut trail = Trail::new();
    match judge(rules, channel, call, &mut trail) {
        Ok(grant) => {
            trail.push(Rule::ServerApi, Outcome::Allow);
            Decision { verdict: Verdict::Allow(grant), rule: Rule::ServerApi, trail }
        }
        Err((rule, code)) => {
            trail.push(rule, Outcome::Refuse);
            Decision { verdict: Verdict::Error(code), rule, trail }
        }
    }
}

fn judge(
    rules: &Rules,
    channel: &str,
    call: &Call<'_>,
    trail: &mut Trail,
) -> Result<Grant<'static>, (Rule, ErrorCode)> {
    let mut require = |rule, holds: bool, code| {
        if holds {
            trail.push(rule, Outcome::Pass);
            Ok(())
        } else {
            Err((rule, code))
        }
    };
    if channel.is_empty() && *call == Call::Unsubscribe {
        return Ok(Grant::Unsubscribe);
    }
    require(Rule::ChannelRequired, !channel.is_empty(), ErrorCode::BAD_REQUEST)?;
    if channel.len() > rules.registry.longest_name() {
        return Err((Rule::ChannelLength, ErrorCode::BAD_REQUEST));
    }
    let resolved = rules.registry.resolve(channel);
    let namespace = resolved.namespace.ok_or((Rule::Namespace, ErrorCode::UNKNOWN_CHANNEL))?;
    require(Rule::Namespace, true, ErrorCode::UNKNOWN_CHANNEL)?;
    let options = namespace.options();
    match *call {
        Call::Publish { data, skip_history, delta } => {
            let stream = options.subscription_type == SubscriptionType::Stream;
            require(Rule::SubscriptionType, stream, ErrorCode::BAD_REQUEST)?;
            let fits = options.publication_data_format.admits(data);
            require(Rule::DataFormat, fits, ErrorCode::BAD_REQUEST)?;
            let mut grant = PublishGrant::of(options);
            grant.delta |= delta;
            if skip_history {
                grant.history = HistoryGrant { size: 0, ttl: std::time::Duration::ZERO, ..grant.history };
            }
            Ok(Grant::Publish(grant))
        }
        Call::Unsubscribe => Ok(Grant::Unsubscribe),
        Call::Presence | Call::PresenceStats => {
            require(Rule::PresenceOn, options.presence, ErrorCode::NOT_AVAILABLE)?;
            Ok(Grant::Presence)
        }
        Call::History | Call::HistoryRemove => {
            require(Rule::HistoryOn, options.has_history(), ErrorCode::NOT_AVAILABLE)?;
            Ok(Grant::History(HistoryGrant::of(options)))
        }
    }
}
