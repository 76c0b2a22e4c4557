//! The heap: its size, and pages that go back to the system once a crowd has left.
//!
//! The allocator keeps pages that are unused for ten seconds, because a storm of connects would take them again. After
//! a mass expiry or a mass disconnect, many are unused and nobody takes them: they are given back at once.

use std::time::Duration;
use tokio::sync::watch;

/// Interval between looks at the size of the heap.
const PERIOD: Duration = Duration::from_secs(1);
/// Looks at which the heap has not grown before pages are given back.
const QUIET: u32 = 3;
/// Bytes that must have been freed for that; and a quarter of what there was.
const MUCH: u64 = 16 << 20;

/// Gives pages back until `stop` changes.
pub(super) async fn watch(mut stop: watch::Receiver<bool>) {
    let mut level = Level::default();
    loop {
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            _ = stop.changed() => return,
        }
        let Some(allocated) = allocated() else { return };
        if level.has_sunk(allocated) {
            // The system takes a millisecond for some megabytes.
            let _ = tokio::task::spawn_blocking(give_back).await;
        }
    }
}

/// The size of the heap, as it was seen.
#[derive(Default)]
struct Level {
    /// The largest since pages were given back.
    highest: u64,
    last: u64,
    /// Looks since it grew.
    quiet: u32,
}

impl Level {
    /// Notes the size. Returns true if much was freed, and nothing is taken again.
    fn has_sunk(&mut self, allocated: u64) -> bool {
        // What requests need for a moment is no growth.
        let grows = allocated > self.last + self.last / 64;
        self.quiet = if grows { 0 } else { self.quiet + 1 };
        self.last = allocated;
        self.highest = self.highest.max(allocated);
        let freed = self.highest - allocated;
        let sunk = self.quiet >= QUIET && freed >= MUCH.max(self.highest / 4);
        if sunk {
            self.highest = allocated;
        }
        sunk
    }
}

/// Returns the bytes allocated and not freed. `None` where the allocator does not say.
pub(super) fn allocated() -> Option<u64> {
    #[cfg(target_os = "linux")]
    {
        // What it counted since it was last asked is added up now.
        tikv_jemalloc_ctl::epoch::advance().ok()?;
        tikv_jemalloc_ctl::stats::allocated::read().ok().map(|bytes| bytes as u64)
    }
    #[cfg(not(target_os = "linux"))]
    None
}

/// Gives unused pages back to the system.
#[cfg(target_os = "linux")]
fn give_back() {
    use tikv_jemalloc_ctl::{Access, AsName, arenas};
    let Ok(mut decay) = "arena.0.dirty_decay_ms\0".name().mib::<[usize; 3]>() else { return };
    for arena in 0..arenas::narenas::read().unwrap_or(0) {
        decay[1] = arena as usize;
        // With no time to be kept for, they go at once. An arena that was never used has no such time.
        if let Ok(usual) = Access::<isize>::update(&decay, 0) {
            let _ = Access::<isize>::write(&decay, usual);
        }
    }
}

#[cfg(not(target_os = "linux"))]
const fn give_back() {}

#[cfg(test)]
mod tests {
    use super::*;

    /// The looks, by number, at which pages are given back.
    fn sunk(megabytes: &[u64]) -> Vec<usize> {
        let mut level = Level::default();
        let looks = megabytes.iter().enumerate();
        looks.filter(|(_, size)| level.has_sunk(**size << 20)).map(|(at, _)| at).collect()
    }

    #[test]
    fn pages_go_back_once_a_crowd_has_left() {
        assert_eq!(sunk(&[20, 300, 300, 310, 150, 20, 20, 20]), [6], "three looks after the last that came");
        assert_eq!(sunk(&[100, 99, 98, 97, 96, 20, 20, 20]), [5]);
        assert_eq!(sunk(&[300, 200, 100, 50, 20, 10]), [3, 4], "while it sinks");
        assert_eq!(sunk(&[300, 20, 300, 20, 300, 20, 300, 20]), [0; 0], "storms one after the other");
        assert_eq!(sunk(&[30, 10, 12, 14, 16, 18, 20]), [0; 0], "others come");
        assert_eq!(sunk(&[1000, 900, 800, 760, 760, 760]), [0; 0], "too little of a large heap");
        assert_eq!(sunk(&[25, 10, 10, 10, 10]), [0; 0], "too little");
    }

    /// Tests have the system's allocator beside that of the binary, which is asked here.
    #[cfg(target_os = "linux")]
    #[test]
    fn the_allocator_knows_its_size_and_gives_back() {
        assert!(allocated().is_some());
        give_back();
        let usual: isize = {
            use tikv_jemalloc_ctl::{Access, AsName};
            "arena.0.dirty_decay_ms\0".name().read().expect("the first arena is in use")
        };
        assert!(usual > 0, "{usual}: the time that pages are kept is as before");
    }
}
