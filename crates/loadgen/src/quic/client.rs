//! Clients over WebTransport that read a numbered stream.

use super::Target;
use crate::conn::Tally;
use crate::control::Error;
use crate::protocol::Kind;
use crate::stream;
use serde_json::Value;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wtransport::endpoint::endpoint_side::Client;
use wtransport::{Connection, Endpoint, RecvStream, SendStream};

const SCRATCH: usize = 64 * 1024;

/// Counts of all clients.
#[derive(Default)]
pub(super) struct Shared {
    tally: Mutex<Option<Tally>>,
    /// Grows with each reset: numbers before it are no base for those after.
    round: AtomicUsize,
    live: AtomicUsize,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Option<Tally>> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn has(&self, check: impl FnOnce(&Tally) -> bool) -> bool {
        check(self.lock().get_or_insert_with(Tally::new))
    }

    pub(super) fn reset(&self) {
        self.lock().get_or_insert_with(Tally::new).reset(1);
        self.round.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    pub(super) fn stats(&self) -> Value {
        self.lock().get_or_insert_with(Tally::new).stats(self.live())
    }
}

/// Opens a session, logs in and subscribes. Returns once both are answered.
pub(super) async fn open(
    endpoint: &Endpoint<Client>,
    target: &Target,
    index: usize,
    shared: &Arc<Shared>,
) -> Result<(), Error> {
    let connection = endpoint.connect(target.url()).await?;
    let (mut send, receive) = connection.open_bi().await?.await?;
    send.write_all(&target.commands(index)).await?;
    let mut session = Session {
        connection,
        send,
        receive,
        scratch: vec![0; SCRATCH].into(),
        spill: Vec::new(),
        replies: 0,
        last: None,
        round: 0,
        shared: Arc::clone(shared),
    };
    while session.replies < 2 {
        session.read().await?;
    }
    shared.live.fetch_add(1, Ordering::Relaxed);
    tokio::spawn(session.follow());
    Ok(())
}

/// One session and its stream.
struct Session {
    connection: Connection,
    send: SendStream,
    receive: RecvStream,
    scratch: Box<[u8]>,
    spill: Vec<u8>,
    replies: u32,
    /// Last number, and the round that it is of.
    last: Option<u64>,
    round: usize,
    shared: Arc<Shared>,
}

impl Session {
    async fn follow(mut self) {
        while self.read().await.is_ok() {}
        self.shared.live.fetch_sub(1, Ordering::Relaxed);
        let tally = &mut *self.shared.lock();
        *tally.get_or_insert_with(Tally::new).closed.entry(0).or_default() += 1;
        self.connection.close(0_u32.into(), b"");
    }

    /// Takes what comes next. An error ends the session, a reply that is one among them.
    async fn read(&mut self) -> Result<(), Error> {
        let count = self.receive.read(&mut self.scratch).await?.ok_or("the stream has ended")?;
        self.spill.extend_from_slice(&self.scratch[..count]);
        let mut pongs = Vec::new();
        let mut failure = None;
        let mut spill = std::mem::take(&mut self.spill);
        let round = self.shared.round.load(Ordering::Relaxed);
        if round != self.round {
            (self.round, self.last) = (round, None);
        }
        let used = {
            let tally = &mut *self.shared.lock();
            let tally = tally.get_or_insert_with(Tally::new);
            tally.bytes += count as u64;
            tally.reads += 1;
            stream::messages(&spill, |kind, line| match kind {
                Kind::Ping => {
                    tally.pings += 1;
                    pongs.extend_from_slice(b"{}\n");
                }
                Kind::Push => drop(tally.push(&mut self.last, line)),
                Kind::Reply => {
                    tally.replies += 1;
                    self.replies += 1;
                    if memchr::memmem::find(line, b"\"error\"").is_some() {
                        failure = Some(String::from_utf8_lossy(line).into_owned());
                    }
                }
            })
        };
        spill.drain(..used);
        self.spill = spill;
        if let Some(failure) = failure {
            return Err(failure.into());
        }
        Ok(self.send.write_all(&pongs).await?)
    }
}
