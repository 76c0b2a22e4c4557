//! Rules between the options of a namespace. Loading reports every violation, and a registry is not built with one.

use super::duration::Duration;
use super::typed::{ChannelOptions, RecoveryMode};

/// An option that contradicts others of its namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionFault {
    /// The option, without its namespace.
    pub option: &'static str,
    /// The rule.
    pub reason: String,
}

impl ChannelOptions {
    /// Returns the contradictions between these options. `meta_ttl` is the `history_meta_ttl` for options without one.
    #[must_use]
    pub fn faults(&self, meta_ttl: Duration) -> Vec<OptionFault> {
        let mut faults = Vec::new();
        let mut fault = |option, reason: String| faults.push(OptionFault { option, reason });
        let (size, ttl) = (self.history_size != 0, !self.history_ttl.is_zero());
        match (size, ttl) {
            (true, false) => fault("history_ttl", "must be set, because `history_size` is".to_owned()),
            (false, true) => fault("history_size", "must be set, because `history_ttl` is".to_owned()),
            _ => {}
        }
        let meta_ttl = if self.history_meta_ttl.is_zero() { meta_ttl } else { self.history_meta_ttl };
        if meta_ttl < self.history_ttl {
            let reason =
                format!("{} cannot be longer than the history_meta_ttl of {meta_ttl}", self.history_ttl);
            fault("history_ttl", reason);
        }
        if self.force_recovery && !(size && ttl) {
            fault("force_recovery", "needs `history_size` and `history_ttl`".to_owned());
        }
        if self.auto_cache_recover
            && !(self.force_recovery && self.force_recovery_mode == RecoveryMode::Cache)
        {
            let reason = "needs `force_recovery` and `force_recovery_mode` \"cache\"";
            fault("auto_cache_recover", reason.to_owned());
        }
        if self.cache_empty_proxy_enabled && !(size && ttl && self.force_recovery_mode == RecoveryMode::Cache)
        {
            let reason = "needs `history_size`, `history_ttl` and `force_recovery_mode` \"cache\"";
            fault("cache_empty_proxy_enabled", reason.to_owned());
        }
        let others =
            self.subscribe_proxy_enabled || self.publish_proxy_enabled || self.sub_refresh_proxy_enabled;
        if self.subscribe_stream_proxy_enabled && others {
            let reason = "cannot be used together with the subscribe, publish or sub_refresh proxy";
            fault("subscribe_stream_proxy_enabled", reason.to_owned());
        }
        faults
    }
}
