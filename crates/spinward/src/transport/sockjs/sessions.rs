//! The sessions of clients without a WebSocket, by the names that they chose.

use crate::handle::Handle;
use crate::mailbox::pipe::{PulledBody, Source, Writer};
use crate::node::Inner;
use crate::session_id::Secret;
use crate::transport::admit::NotAdmitted;
use bytes::Bytes;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use parking_lot::Mutex;
use spinward_wire::Form;
use std::sync::Arc;
use std::time::Duration;

/// Time that a session goes on without a request for its output.
const AWAY_MS: u64 = 5_000;
/// Sessions whose connection has ended that may wait for a last request, beside as many as go on.
const LAST_WORDS: usize = 1_000;

/// All sessions of a service. A name is as good as its client made it: it is a key, and nothing else.
pub(super) struct Sessions {
    table: Mutex<Table>,
    inner: Arc<Inner>,
}

struct Table {
    by_name: HashMap<Box<str>, Arc<Session>, FixedState>,
    /// Number of sessions at which those that have ended are dropped.
    sweep_at: usize,
}

/// A connection whose output several responses take in turn.
pub(super) struct Session {
    name: Box<str>,
    form: Form,
    secret: Secret,
    source: Source,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: Option<Waiting>,
    /// Time since which it waits, on the monotonic clock.
    since: u64,
    /// A task ends the session if it waits for too long.
    is_watched: bool,
}

/// Output of a session that no response takes at present. Dropped, it ends the connection.
pub(super) struct Waiting {
    pub(super) body: PulledBody,
    /// A frame that was taken out of the body and had no place in the response.
    pub(super) next: Option<Bytes>,
}

/// Result of opening a session.
pub(super) enum Found {
    New(Arc<Session>, Writer),
    Old(Arc<Session>),
}

impl Session {
    /// A session whose output waits for the response to the request that opens it.
    pub(super) fn new(name: &str, form: Form, secret: Secret, body: PulledBody) -> Self {
        let source = body.source();
        let waiting = Some(Waiting { body, next: None });
        let state = Mutex::new(State { waiting, ..State::default() });
        Self { name: name.into(), form, secret, source, state }
    }

    /// The connection, once a shard has it.
    pub(super) fn handle(&self) -> Option<Handle> {
        self.source.handle()
    }

    pub(super) const fn secret(&self) -> Secret {
        self.secret
    }

    /// Drops the output if the connection has ended and no response takes what is left. Returns true if so.
    fn sweep(&self) -> bool {
        let mut state = self.state.lock();
        let over = state.waiting.is_some() && self.source.is_over();
        if over {
            state.waiting = None;
        }
        over
    }

    /// Takes the output, unless a response has it, or it is in another form.
    pub(super) fn take_output(&self, form: Form) -> Option<Waiting> {
        if form == self.form { self.state.lock().waiting.take() } else { None }
    }
}

impl Sessions {
    pub(super) fn new(inner: &Arc<Inner>) -> Self {
        let hasher = FixedState::with_seed(inner.hub.entropy.number());
        let table = Table { by_name: HashMap::with_hasher(hasher), sweep_at: LAST_WORDS };
        Self { table: Mutex::new(table), inner: Arc::clone(inner) }
    }

    fn now(&self) -> u64 {
        self.inner.hub.clock.now().mono
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.table.lock().by_name.contains_key(name)
    }

    pub(super) fn find(&self, name: &str) -> Option<Arc<Session>> {
        self.table.lock().by_name.get(name).cloned()
    }

    /// Adds a session, unless there is one of this name: the first stays.
    pub(super) fn insert(
        &self,
        name: &str,
        make: impl FnOnce() -> Result<(Session, Writer), NotAdmitted>,
    ) -> Result<Found, NotAdmitted> {
        let mut table = self.table.lock();
        if let Some(session) = table.by_name.get(name) {
            return Ok(Found::Old(Arc::clone(session)));
        }
        let (session, writer) = make()?;
        let session = Arc::new(session);
        table.by_name.insert(name.into(), Arc::clone(&session));
        // Nobody can crowd others out: it is those that have ended that go.
        if table.by_name.len() > table.sweep_at {
            table.by_name.retain(|_, session| !session.sweep());
            table.sweep_at = table.by_name.len() * 2 + LAST_WORDS;
        }
        Ok(Found::New(session, writer))
    }

    pub(super) fn remove(&self, session: &Arc<Session>) {
        let mut guard = self.table.lock();
        let Table { by_name, sweep_at } = &mut *guard;
        if by_name.get(&session.name).is_some_and(|own| Arc::ptr_eq(own, session)) {
            by_name.remove(&session.name);
            *sweep_at = (*sweep_at).min(by_name.len() * 2 + LAST_WORDS);
            if by_name.capacity() > 1024 && by_name.len() < by_name.capacity() / 8 {
                by_name.shrink_to_fit();
            }
        }
    }

    /// Keeps the output for the next request, for a while.
    pub(super) fn keep(self: &Arc<Self>, session: &Arc<Session>, waiting: Waiting) {
        let mut state = session.state.lock();
        state.waiting = Some(waiting);
        state.since = self.now();
        if !std::mem::replace(&mut state.is_watched, true) {
            self.inner.runtime.spawn(Arc::clone(self).watch(Arc::clone(session)));
        }
    }

    /// Ends a session once it has waited for too long. Over when a response has its output.
    async fn watch(self: Arc<Self>, session: Arc<Session>) {
        loop {
            let left = {
                let mut state = session.state.lock();
                if state.waiting.is_none() {
                    state.is_watched = false;
                    return;
                }
                let away = self.now().saturating_sub(state.since);
                if away >= AWAY_MS {
                    let waiting = state.waiting.take();
                    drop(state);
                    self.remove(&session);
                    drop(waiting);
                    return;
                }
                AWAY_MS - away
            };
            tokio::time::sleep(Duration::from_millis(left)).await;
        }
    }
}
