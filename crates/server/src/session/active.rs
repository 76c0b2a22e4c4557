//! The active rules and keys, and their exchange by a reload.

use super::{Keys, Proxies, Settings};
use crate::auth::origin::Origins;
use crate::policy::Rules;
use parking_lot::RwLock;
use std::sync::Arc;

/// All that decisions are made by, from one configuration. It is exchanged as a whole: a command is decided by
/// the value that was active when it came, even where a key set has to be waited for.
pub struct ActiveConfig {
    /// Channels and what is allowed in them.
    pub rules: Rules,
    /// Keys and settings that tokens are checked with.
    pub keys: Keys,
    /// Options of logging in.
    pub settings: Settings,
    /// Origins that browsers may connect from.
    pub origins: Origins,
    /// Proxies of the application.
    pub proxies: Arc<dyn Proxies>,
}

impl ActiveConfig {
    /// Returns true if a connection may log in by something that its request holds, and that a browser or a proxy adds.
    pub(crate) fn logs_in_by_request(&self) -> bool {
        let Settings { user_header, token_header, token_cookie, .. } = &self.settings;
        [user_header, token_header, token_cookie].iter().any(|name| !name.is_empty())
            || !self.proxies.headers().is_empty()
    }
}

/// A value that everybody who holds this sees exchanged at once.
pub struct Shared<T>(Arc<RwLock<Arc<T>>>);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Shared<T> {
    /// Begins with this.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(value))))
    }

    /// Returns the active value. Take it once for a decision, and not again in between.
    #[must_use]
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.read())
    }

    /// Puts another in its place.
    pub fn set(&self, value: T) {
        let value = Arc::new(value);
        // The former one is dropped after the lock, for that may take a while.
        let _former = std::mem::replace(&mut *self.0.write(), value);
    }
}
