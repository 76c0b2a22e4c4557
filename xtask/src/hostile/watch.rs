//! Kills a server that uses too much of the machine's memory.

use crate::bench::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Resident memory, in bytes, at which a server is killed.
pub(crate) const LIMIT: f64 = 7e9;

const INTERVAL: Duration = Duration::from_millis(20);

/// A watch over one process; it ends with the value.
pub(crate) struct Watch {
    over: Arc<AtomicBool>,
    struck: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub(crate) fn over(pid: u32) -> Self {
        let (over, struck) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let thread = std::thread::spawn({
            let (over, struck) = (Arc::clone(&over), Arc::clone(&struck));
            move || {
                while !over.load(Ordering::Relaxed) {
                    if process::resident(pid).is_ok_and(|bytes| bytes > LIMIT) {
                        struck.store(true, Ordering::Relaxed);
                        // A process that is gone by now has done what was wanted of it.
                        let _ =
                            crate::shell::run(&mut crate::shell::command("kill", &["-9", &pid.to_string()]));
                        return;
                    }
                    std::thread::sleep(INTERVAL);
                }
            }
        });
        Self { over, struck, thread: Some(thread) }
    }

    /// Returns true if it has killed the process.
    pub(crate) fn struck(&self) -> bool {
        self.struck.load(Ordering::Relaxed)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It only sleeps and reads; a panic in it has been printed.
            let _ = thread.join();
        }
    }
}
