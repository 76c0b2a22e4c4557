//! A bound on what is logged of events that anybody may cause.

/// Lines in one second; the other events are only counted.
const LOGGED_PER_SECOND: u32 = 20;

/// Rate limit on log lines.
#[derive(Debug, Default)]
pub(crate) struct LogRate {
    second: u64,
    logged: u32,
    silent: u64,
}

impl LogRate {
    /// Returns the number of lines suppressed before this one, or `None` if this one is suppressed too.
    pub(crate) fn admit(&mut self, second: u64) -> Option<u64> {
        if self.second != second {
            self.second = second;
            self.logged = 0;
        }
        if self.logged == LOGGED_PER_SECOND {
            self.silent += 1;
            return None;
        }
        self.logged += 1;
        Some(std::mem::take(&mut self.silent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_not_written() {
        let mut rate = LogRate::default();
        let written = (0..1000).filter(|_| rate.admit(7).is_some()).count();
        assert_eq!(written, LOGGED_PER_SECOND as usize);
        assert_eq!(rate.admit(8), Some(1000 - u64::from(LOGGED_PER_SECOND)));
        assert_eq!(rate.admit(8), Some(0));
    }
}
