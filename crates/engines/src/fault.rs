//! Faults on purpose, to prove that the chaos test finds them.
//!
//! The engines ask here at the place where a fault would happen. Without the feature `__planted-faults` the answer is a
//! constant, and the question compiles to nothing.

/// A fault that can be planted, by its name in the variable `SPINWARD_PLANT` of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "__planted-faults"),
    allow(unreachable_pub, reason = "public only where faults can be planted")
)]
pub enum Fault {
    /// Every life of a server has the same name.
    ConstantLife,
    /// Every stream that is made has the same epoch.
    ConstantEpoch,
    /// Channels are not asked for again on a new connection.
    ForgottenChannels,
    /// Deliveries of some channels are dropped.
    DeafChannels,
    /// Idempotency keys are ignored.
    IgnoredKeys,
    /// A publish that failed is acknowledged.
    FalseAck,
    /// A read leaves out the oldest publication.
    HistoryDrop,
    /// A read returns publications with another content.
    HistoryChange,
    /// The top of a stream is one too low.
    StaleTop,
    /// Publications missed without a connection are not asked for.
    SilentReconnect,
    /// Presence entries are not written again before they expire.
    StuckPresence,
}

/// Returns true if the fault is planted.
#[cfg(not(feature = "__planted-faults"))]
#[inline(always)]
pub(crate) const fn holds(_: Fault) -> bool {
    false
}

/// Returns true if the fault is planted.
#[cfg(feature = "__planted-faults")]
pub(crate) fn holds(fault: Fault) -> bool {
    use std::sync::LazyLock;

    static PLANTED: LazyLock<Option<Fault>> = LazyLock::new(|| {
        let name = std::env::var("SPINWARD_PLANT").ok()?;
        Fault::ALL.into_iter().find(|fault| format!("{fault:?}") == name)
    });
    *PLANTED == Some(fault)
}

#[cfg(feature = "__planted-faults")]
impl Fault {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::ConstantLife,
        Self::ConstantEpoch,
        Self::ForgottenChannels,
        Self::DeafChannels,
        Self::IgnoredKeys,
        Self::FalseAck,
        Self::HistoryDrop,
        Self::HistoryChange,
        Self::StaleTop,
        Self::SilentReconnect,
        Self::StuckPresence,
    ];
}
