//! The task mover: moves the bytes of anything that can be read and written, by a task on the shard's runtime.
//!
//! A task is polled by hand, so that it reads into the shard's one buffer and sends from it: while nothing moves, it
//! owns no buffer.

use crate::hub::Hub;
use crate::mailbox::accepted::Stream;
use crate::metrics::add;
use crate::shard::Driver;
use crate::shard::slots::SlotState;
use crate::shard::stream::Caught;
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Reads and writes of one task before the others get their turn.
const STEPS: usize = 8;

/// The tasks of a shard, by slot.
#[derive(Default)]
pub(super) struct Tasks(Vec<Option<Rc<Bell>>>);

/// The way to have a task polled.
type Bell = RefCell<Option<Waker>>;

impl Tasks {
    pub(super) fn start(&mut self, slot: u32, stream: Box<dyn Stream>, driver: &Rc<RefCell<Driver>>) {
        let index = slot as usize;
        if self.0.len() <= index {
            self.0.resize_with(index + 1, || None);
        }
        let bell = Rc::new(Bell::default());
        self.0[index] = Some(Rc::clone(&bell));
        tokio::task::spawn_local(Carry {
            slot,
            stream: Caught(stream),
            bell,
            driver: Rc::clone(driver),
            unflushed: false,
            shut: false,
            ended: false,
        });
    }

    /// Has a task look at its slot. Returns true if the slot has a task.
    pub(super) fn wake(&self, slot: u32) -> bool {
        let Some(Some(bell)) = self.0.get(slot as usize) else { return false };
        if let Some(waker) = bell.borrow_mut().take() {
            waker.wake();
        }
        true
    }

    pub(super) fn forget(&mut self, slot: u32) {
        if let Some(entry) = self.0.get_mut(slot as usize) {
            *entry = None;
        }
    }
}

/// Carries bytes between a stream and its slot until the slot is to be released.
struct Carry {
    slot: u32,
    stream: Caught,
    bell: Rc<Bell>,
    driver: Rc<RefCell<Driver>>,
    /// Something was written that the stream may keep in a buffer.
    unflushed: bool,
    /// The write side is shut down.
    shut: bool,
    /// The peer has ended its stream.
    ended: bool,
}

/// Result of a step.
enum Step {
    Done,
    Progress,
    Wait,
}

impl Future for Carry {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let guard = {
            let driver = self.driver.borrow();
            Guard { hub: Arc::clone(&driver.hub), shard: driver.shard }
        };
        // Put there first: what rings while the task works is not lost.
        *self.bell.borrow_mut() = Some(cx.waker().clone());
        for _ in 0..STEPS {
            match self.step(cx) {
                Step::Progress => {}
                Step::Wait => return Poll::Pending,
                Step::Done => return Poll::Ready(()),
            }
        }
        drop(guard);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Carry {
    /// One write, or one read if there is nothing to write or the stream takes nothing.
    fn step(&mut self, cx: &mut Context<'_>) -> Step {
        let driver = Rc::clone(&self.driver);
        let driver = &mut *driver.borrow_mut();
        let state = driver.core.state(self.slot);
        if state == SlotState::Gone {
            driver.release(self.slot);
            driver.nudge();
            return Step::Done;
        }
        if let Poll::Ready(step) = self.send(driver, state, cx) {
            return step;
        }
        // While a command waits for its outcome, one read is kept for later: it shows that the client closes.
        if self.ended || !driver.core.wants_input(self.slot) && !driver.core.is_awaiting(self.slot) {
            return Step::Wait;
        }
        let mut buffer = ReadBuf::new(&mut driver.scratch);
        let read = Pin::new(&mut self.stream).poll_read(cx, &mut buffer);
        let count = buffer.filled().len();
        match read {
            Poll::Pending => return Step::Wait,
            Poll::Ready(Ok(())) if count > 0 => {
                if driver.core.takes_bytes(self.slot) {
                    let now = driver.hub.clock.now();
                    driver.core.input(self.slot, &mut driver.scratch[..count], now, &mut driver.exec);
                    driver.resume();
                    driver.flush();
                    driver.nudge();
                }
            }
            Poll::Ready(_) => {
                self.ended = true;
                end(driver, self.slot);
            }
        }
        Step::Progress
    }

    /// Sends what waits, and shuts the stream down behind the last bytes. Pending means that the stream takes nothing
    /// now, or that there is nothing to send.
    fn send(&mut self, driver: &mut Driver, state: SlotState, cx: &mut Context<'_>) -> Poll<Step> {
        let stream = Pin::new(&mut self.stream);
        let outbox = driver.core.outbox(self.slot);
        if !outbox.is_empty() {
            let bytes = outbox.gather(&mut driver.scratch);
            return match stream.poll_write(cx, bytes) {
                Poll::Pending => {
                    let now = driver.hub.clock.now();
                    driver.core.blocked(self.slot, None, now);
                    Poll::Pending
                }
                Poll::Ready(Ok(count)) if count > 0 => {
                    self.unflushed = true;
                    sent(driver, self.slot, count);
                    Poll::Ready(Step::Progress)
                }
                Poll::Ready(_) => {
                    end(driver, self.slot);
                    Poll::Ready(Step::Progress)
                }
            };
        }
        let failed = if state == SlotState::Closing && !self.shut {
            let Poll::Ready(shut) = stream.poll_shutdown(cx) else { return Poll::Pending };
            self.shut = true;
            shut.is_err()
        } else if self.unflushed {
            let Poll::Ready(flushed) = stream.poll_flush(cx) else { return Poll::Pending };
            self.unflushed = false;
            flushed.is_err()
        } else {
            return Poll::Pending;
        };
        if failed {
            end(driver, self.slot);
            return Poll::Ready(Step::Progress);
        }
        Poll::Pending
    }
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

fn end(driver: &mut Driver, slot: u32) {
    let now = driver.hub.clock.now();
    driver.core.eof(slot, now, &mut driver.exec);
    driver.flush();
    driver.nudge();
}

fn sent(driver: &mut Driver, slot: u32, count: usize) {
    driver.core.sent(slot, count);
    if driver.core.outbox(slot).is_empty() {
        driver.core.set_blocked(slot, false);
    }
    let traffic = &driver.hub.metrics.shards[driver.shard].traffic[driver.core.transport(slot).index()];
    add(&traffic.sends, 1);
    add(&traffic.bytes_sent, count as u64);
    driver.resume();
    driver.nudge();
}
