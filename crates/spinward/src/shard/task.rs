//! The task mover: moves the bytes of anything that can be read and written, by a task on the shard's runtime.

use crate::hub::Hub;
use crate::mailbox::accepted::Stream;
use crate::shard::Driver;
use crate::shard::slots::State;
use crate::shard::stream::Caught;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

/// Bytes that a task reads at a time. Its buffer lives as long as the connection.
const BUFFER: usize = 4 << 10;
/// Bytes that a task is given to write at a time.
const CHUNK: usize = 64 << 10;

/// The tasks of a shard, by slot.
#[derive(Default)]
pub(super) struct Tasks(Vec<Option<Rc<Notify>>>);

impl Tasks {
    pub(super) fn start(&mut self, slot: u32, stream: Box<dyn Stream>, driver: &Rc<RefCell<Driver>>) {
        let index = slot as usize;
        if self.0.len() <= index {
            self.0.resize_with(index + 1, || None);
        }
        let wake = Rc::new(Notify::new());
        self.0[index] = Some(Rc::clone(&wake));
        tokio::task::spawn_local(carry(slot, stream, wake, Rc::clone(driver)));
    }

    /// Has a task look at its slot. Returns true if the slot has a task.
    pub(super) fn wake(&self, slot: u32) -> bool {
        match self.0.get(slot as usize) {
            Some(Some(wake)) => {
                wake.notify_one();
                true
            }
            _ => false,
        }
    }

    pub(super) fn forget(&mut self, slot: u32) {
        if let Some(entry) = self.0.get_mut(slot as usize) {
            *entry = None;
        }
    }
}

/// Carries bytes between a stream and its slot until the slot is to be released.
async fn carry(slot: u32, stream: Box<dyn Stream>, wake: Rc<Notify>, driver: Rc<RefCell<Driver>>) {
    let _guard = {
        let driver = driver.borrow();
        Guard { hub: Arc::clone(&driver.hub), shard: driver.shard }
    };
    let (mut reader, mut writer) = tokio::io::split(Caught(stream));
    let mut buffer = vec![0; BUFFER].into_boxed_slice();
    let mut chunk = Vec::new();
    let (mut shut, mut ended) = (false, false);
    loop {
        let (state, wants_input) = {
            let mut driver = driver.borrow_mut();
            chunk.clear();
            for piece in driver.core.outbox(slot).iter() {
                if !chunk.is_empty() && chunk.len() + piece.len() > CHUNK {
                    break;
                }
                chunk.extend_from_slice(piece);
            }
            (driver.core.state(slot), driver.core.wants_input(slot))
        };
        if state == State::Gone {
            break;
        }
        if state == State::Closing && chunk.is_empty() && !shut {
            shut = true;
            if writer.shutdown().await.is_err() {
                end(&driver, slot);
            }
            continue;
        }
        tokio::select! {
            biased;
            written = writer.write(&chunk), if !chunk.is_empty() => match written {
                Ok(0) | Err(_) => end(&driver, slot),
                Ok(count) => sent(&driver, slot, count),
            },
            read = reader.read(&mut buffer), if wants_input && !ended => match read {
                Ok(0) | Err(_) => {
                    ended = true;
                    end(&driver, slot);
                }
                Ok(count) if state == State::Open => {
                    received(&driver, slot, &mut buffer[..count]);
                    if count == BUFFER {
                        // There is more: the others first.
                        tokio::task::yield_now().await;
                    }
                }
                Ok(_) => {}
            },
            () = wake.notified() => {}
        }
    }
    let mut driver = driver.borrow_mut();
    driver.release(slot);
    driver.nudge();
}

/// A panic in a task does not end the thread it runs on, and what it leaves of the shard cannot be relied on.
struct Guard {
    hub: Arc<Hub>,
    shard: usize,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.hub.pulse.fail(self.shard);
            self.hub.inboxes[self.shard].wake();
        }
    }
}

fn end(driver: &Rc<RefCell<Driver>>, slot: u32) {
    let driver = &mut *driver.borrow_mut();
    let now = driver.hub.clock.now();
    driver.core.eof(slot, now, &mut driver.exec);
    driver.flush();
    driver.nudge();
}

fn sent(driver: &Rc<RefCell<Driver>>, slot: u32, count: usize) {
    let mut driver = driver.borrow_mut();
    driver.core.sent(slot, count);
    let metrics = &driver.hub.metrics.shards[driver.shard];
    crate::metrics::add(&metrics.sends, 1);
    crate::metrics::add(&metrics.bytes_sent, count as u64);
    driver.resume();
    driver.nudge();
}

fn received(driver: &Rc<RefCell<Driver>>, slot: u32, bytes: &mut [u8]) {
    let driver = &mut *driver.borrow_mut();
    let now = driver.hub.clock.now();
    driver.core.input(slot, bytes, now, &mut driver.exec);
    driver.resume();
    driver.flush();
    driver.nudge();
}
