//! A remote broker that answers at once and counts what it is asked.

use parking_lot::Mutex;
use spinward::answer::Answer;
use spinward::engine::EngineHealth;
use spinward::engine::broker::{
    Broker, BrokerError, HistoryOptions, Interest, JoinLeave, Place, PublishOptions, Read, Receipt, Sink,
    Slice, StreamId,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};

/// Has one stream, with a top and without publications, and delivers nothing by itself.
#[derive(Default)]
pub(crate) struct Counting {
    /// Joins and leaves are never answered.
    pub(crate) stalled: bool,
    /// Every publish is stored.
    pub(crate) stores: bool,
    /// Reads fail.
    pub(crate) fails: AtomicBool,
    /// Reads panic.
    pub(crate) panics: AtomicBool,
    pub(crate) reads: AtomicUsize,
    /// The next read is answered once this is notified, with what was true when it was made.
    pub(crate) gate: Mutex<Option<Arc<tokio::sync::Notify>>>,
    pub(crate) incarnation_asked: AtomicUsize,
    pub(crate) life: AtomicU64,
    pub(crate) top: AtomicU64,
    /// The sizes of the batches of interest.
    pub(crate) batches: Mutex<Vec<usize>>,
    /// Interest is refused so many times.
    pub(crate) refusals: AtomicUsize,
    pub(crate) sink: Mutex<Option<Sink>>,
    pub(crate) closed: AtomicBool,
}

impl Counting {
    pub(crate) fn stream(&self) -> StreamId {
        StreamId { incarnation: format!("life{}", self.life.load(SeqCst)).into(), epoch: "e".into() }
    }

    fn place(&self) -> Place {
        Place { stream: self.stream(), offset: self.top.load(SeqCst) }
    }

    pub(crate) fn sink(&self) -> Sink {
        self.sink.lock().clone().expect("started")
    }
}

impl Broker for Counting {
    fn name(&self) -> &'static str {
        "counting"
    }

    fn start(&self, sink: Sink) -> Result<(), BrokerError> {
        *self.sink.lock() = Some(sink);
        Ok(())
    }

    fn incarnation(&self, _: &str) -> Arc<str> {
        self.incarnation_asked.fetch_add(1, SeqCst);
        self.stream().incarnation
    }

    fn publish(&self, _: &str, _: bytes::Bytes, _: PublishOptions) -> Answer<Result<Receipt, BrokerError>> {
        if !self.stores {
            return Answer::Now(Ok(Receipt::Sent));
        }
        self.top.fetch_add(1, SeqCst);
        Answer::Now(Ok(Receipt::Stored(self.place())))
    }

    fn announce(&self, _: &str, _: JoinLeave) -> Answer<Result<(), BrokerError>> {
        if self.stalled { Answer::later(std::future::pending()) } else { Answer::Now(Ok(())) }
    }

    fn read(&self, _: &str, _: Read, _: HistoryOptions) -> Answer<Result<Slice, BrokerError>> {
        self.reads.fetch_add(1, SeqCst);
        assert!(!self.panics.load(SeqCst), "it is to");
        let (fails, top) = (self.fails.load(SeqCst), self.place());
        let gate = self.gate.lock().take();
        Answer::later(async move {
            if let Some(gate) = gate {
                gate.notified().await;
            }
            if fails {
                Err(BrokerError::Failed("it is to".into()))
            } else {
                Ok(Slice { publications: Vec::new(), top })
            }
        })
    }

    fn forget(&self, _: &str) -> Answer<Result<(), BrokerError>> {
        Answer::Now(Ok(()))
    }

    fn interest(&self, changes: &[(Arc<str>, Interest)]) {
        self.batches.lock().push(changes.len());
        let sink = self.sink();
        for (channel, asked) in changes {
            let refused = *asked == Interest::Wanted
                && self.refusals.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
            let result = if refused { Err(BrokerError::Failed("refused".into())) } else { Ok(()) };
            sink.interest(channel, *asked, result);
        }
    }

    fn health(&self) -> EngineHealth {
        if self.fails.load(SeqCst) {
            return EngineHealth::Down { reason: "it is to".to_owned() };
        }
        EngineHealth::Up
    }

    fn close(&self) -> Answer<()> {
        self.closed.store(true, SeqCst);
        Answer::Now(())
    }
}
