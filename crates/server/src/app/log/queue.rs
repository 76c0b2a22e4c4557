//! The way of a line from the thread that logs it to where the log goes.
//!
//! The logging thread puts the line into a queue and goes on; one thread writes. Where nobody drains the pipe at the
//! other end, or a disk is slow, only that thread waits: the queue fills up, further lines are dropped and
//! counted, and once there is room again the log says how many.

use parking_lot::{Condvar, Mutex};
use std::cell::Cell;
use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Most bytes and lines that wait to be written. As much again may be on its way to the destination.
const MAX_BYTES: usize = 4 << 20;
const MAX_LINES: usize = 16_384;

/// Room that is kept for the next lines.
const KEPT: usize = 64 << 10;

/// Time between two tries to write to a pipe that takes nothing and does not block.
const RETRY: Duration = Duration::from_millis(20);

/// Destination of lines.
pub(super) trait Destination: Send + 'static {
    /// Writes some of the bytes, as [`Write::write`] does.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Opens the destination again, where it is a file.
    fn reopen(&mut self) {}
}

/// The queue of a log. Clones share it.
#[derive(Clone)]
pub(super) struct Queue(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// There is something to do.
    work: Condvar,
    /// There is nothing left to do.
    idle: Condvar,
    dropped: AtomicU64,
}

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    lines: usize,
    /// Lines were taken and are not written yet.
    writing: bool,
    /// Bytes and lines that belong to the destination as it is, before it is opened again.
    reopen: Option<(usize, usize)>,
    /// Lines dropped of which the log has not told.
    untold: u64,
}

impl Queue {
    /// A queue, and the thread that writes what is put into it.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(super) fn start(destination: impl Destination) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            work: Condvar::new(),
            idle: Condvar::new(),
            dropped: AtomicU64::new(0),
        });
        let queue = Self(Arc::clone(&shared));
        std::thread::Builder::new().name("log".to_owned()).spawn(move || shared.write_all(destination))?;
        Ok(queue)
    }

    /// Lines that were not written: there was no room for them, or the destination failed.
    pub(super) fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// Has the destination opened again, once what was logged before is written.
    pub(super) fn reopen(&self) {
        let mut state = self.0.state.lock();
        let before = (state.bytes.len(), state.lines);
        state.reopen.get_or_insert(before);
        drop(state);
        self.0.work.notify_one();
    }

    /// Waits until everything is written, but no longer than this.
    pub(super) fn drain(&self, limit: Duration) {
        let mut state = self.0.state.lock();
        self.0.idle.wait_while_for(
            &mut state,
            |state| state.writing || state.lines > 0 || state.reopen.is_some(),
            limit,
        );
    }

    fn put(&self, line: &[u8]) {
        let mut state = self.0.state.lock();
        // A line of any length is taken while there is no other, and the line about dropped ones always.
        let full =
            state.lines >= MAX_LINES || (state.lines > 0 && state.bytes.len() + line.len() > MAX_BYTES);
        if full && !WRITES.get() {
            state.untold += 1;
            drop(state);
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        state.bytes.extend_from_slice(line);
        state.lines += 1;
        drop(state);
        self.0.work.notify_one();
    }
}

std::thread_local! {
    /// True on the thread that writes the lines.
    static WRITES: Cell<bool> = const { Cell::new(false) };
}

/// The log's layer writes each line with one call.
impl Write for Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.put(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn write_all(&self, mut destination: impl Destination) {
        WRITES.set(true);
        let mut batch = Vec::new();
        // The last line was not written to its end.
        let mut torn = false;
        loop {
            let reopen = {
                let mut state = self.state.lock();
                state.writing = false;
                while state.lines == 0 && state.reopen.is_none() {
                    self.idle.notify_all();
                    self.work.wait(&mut state);
                }
                state.writing = true;
                let reopen = state.reopen.take();
                if let Some((bytes, lines)) = reopen {
                    // Later lines are for the destination that is opened then.
                    let later = state.bytes.split_off(bytes);
                    batch = std::mem::replace(&mut state.bytes, later);
                    state.lines -= lines;
                } else {
                    state.lines = 0;
                    std::mem::swap(&mut state.bytes, &mut batch);
                }
                reopen.is_some()
            };
            // The rest of a line that was cut off is lost; the next one begins on a line of its own.
            let mended = !torn || batch.is_empty() || write(&mut destination, b"\n") == 1;
            let written = if mended { write(&mut destination, &batch) } else { 0 };
            if let Some(last) = written.checked_sub(1) {
                torn = batch[last] != b'\n';
            }
            let lost = batch[written..].iter().filter(|byte| **byte == b'\n').count() as u64;
            if lost > 0 {
                self.dropped.fetch_add(lost, Ordering::Relaxed);
                self.state.lock().untold += lost;
            }
            if reopen {
                destination.reopen();
            }
            let whole = written == batch.len();
            batch.clear();
            batch.shrink_to(KEPT);
            // While the destination fails, it would not take this line either.
            let untold = if whole { std::mem::take(&mut self.state.lock().untold) } else { 0 };
            if untold > 0 {
                tracing::error!(dropped = untold, "{untold} log lines dropped");
            }
        }
    }
}

/// Writes as much as the destination takes before it fails.
fn write(destination: &mut impl Destination, bytes: &[u8]) -> usize {
    let mut written = 0;
    while written < bytes.len() {
        match destination.write(&bytes[written..]) {
            Ok(0) => break,
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(RETRY),
            Err(_) => break,
        }
    }
    written
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
