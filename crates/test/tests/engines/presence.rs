//! Presence stores under the suite: the one of this tree, one whose entries expire, and faulty ones.

use parking_lot::Mutex;
use spinward::ClientInfo;
use spinward::answer::Answer;
use spinward::clock::{Clock, Now};
use spinward::engine::presence::{Member, Members, MemoryPresence, Presence, PresenceError, PresenceStats};
use spinward::id::ClientId;
use spinward_test::conformance::{self, PresenceHarness};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

struct InMemory(Arc<MemoryPresence>);

impl PresenceHarness for InMemory {
    fn store(&self) -> Arc<dyn Presence> {
        Arc::clone(&self.0) as _
    }

    async fn pass(&self, _: Duration) -> bool {
        true
    }

    fn time_to_live(&self) -> Option<Duration> {
        None
    }
}

#[tokio::test]
async fn the_memory_presence_conforms() {
    let report = conformance::presence(|| InMemory(Arc::new(MemoryPresence::new(1)))).await;
    report.assert();
    assert_eq!(report.not_tried().len(), 2, "{report}");
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// A refresh does nothing.
    ForgetsRefresh,
    /// A connection takes those of the same user along.
    RemovesTheUser,
    /// Connections are counted as users.
    CountsConnections,
    /// Entries stay for ever.
    NeverExpires,
}

/// A store whose entries expire, by a clock that is moved by hand.
struct Expiring {
    clock: Clock,
    fault: Fault,
    entries: Mutex<Entries>,
}

/// By channel and connection, each with the time at which it expires.
type Entries = HashMap<(String, ClientId), (u64, Arc<ClientInfo>)>;

const LIFE: Duration = Duration::from_secs(60);

impl Expiring {
    fn put(&self, channel: &str, client: ClientId, info: Arc<ClientInfo>) {
        let until = self.clock.now().mono + LIFE.as_millis() as u64;
        self.entries.lock().insert((channel.to_owned(), client), (until, info));
    }

    fn list(&self, channel: &str) -> Vec<Arc<ClientInfo>> {
        let now = self.clock.now().mono;
        let entries = self.entries.lock();
        let here = entries.iter().filter(|((of, _), (until, _))| {
            of == channel && (*until > now || self.fault == Fault::NeverExpires)
        });
        here.map(|(_, (_, info))| Arc::clone(info)).collect()
    }
}

impl Presence for Expiring {
    fn add(
        &self,
        channel: &str,
        client: ClientId,
        info: Arc<ClientInfo>,
    ) -> Answer<Result<(), PresenceError>> {
        self.put(channel, client, info);
        Answer::Now(Ok(()))
    }

    fn remove(&self, channel: &str, client: ClientId, user: &str) -> Answer<Result<(), PresenceError>> {
        let whole_user = self.fault == Fault::RemovesTheUser;
        self.entries.lock().retain(|(of, own), (_, info)| {
            of != channel || !(*own == client || whole_user && *info.user == *user)
        });
        Answer::Now(Ok(()))
    }

    fn members(&self, channel: &str) -> Answer<Result<Members, PresenceError>> {
        Answer::Now(Ok(self.list(channel).into()))
    }

    fn stats(&self, channel: &str) -> Answer<Result<PresenceStats, PresenceError>> {
        let list = self.list(channel);
        let users: BTreeSet<_> = list.iter().map(|info| Arc::clone(&info.user)).collect();
        let users = if self.fault == Fault::CountsConnections { list.len() } else { users.len() };
        Answer::Now(Ok(PresenceStats { clients: list.len() as u32, users: users as u32 }))
    }

    fn refresh_interval(&self) -> Option<Duration> {
        Some(LIFE / 3)
    }

    fn refresh(&self, members: &[Member]) -> Answer<Result<(), PresenceError>> {
        if self.fault != Fault::ForgetsRefresh {
            for Member { channel, client, info } in members {
                self.put(channel, *client, Arc::clone(info));
            }
        }
        Answer::Now(Ok(()))
    }
}

struct OfExpiring(Arc<Expiring>);

impl OfExpiring {
    fn new(fault: Fault) -> Self {
        let clock = Clock::manual(Now { mono: 1_000, wall: 0 });
        Self(Arc::new(Expiring { clock, fault, entries: Mutex::default() }))
    }
}

impl PresenceHarness for OfExpiring {
    fn store(&self) -> Arc<dyn Presence> {
        Arc::clone(&self.0) as _
    }

    async fn pass(&self, time: Duration) -> bool {
        self.0.clock.advance(time.as_millis() as u64);
        true
    }

    fn time_to_live(&self) -> Option<Duration> {
        Some(LIFE)
    }
}

#[tokio::test]
async fn a_store_that_expires_conforms() {
    let report = conformance::presence(|| OfExpiring::new(Fault::None)).await;
    report.assert();
    assert!(report.not_tried().is_empty(), "{report}");
}

#[tokio::test]
async fn faulty_stores_are_found() {
    for fault in [Fault::ForgetsRefresh, Fault::RemovesTheUser, Fault::CountsConnections, Fault::NeverExpires]
    {
        let report = conformance::presence(|| OfExpiring::new(fault)).await;
        assert!(!report.violated().is_empty(), "{fault:?} is not found:\n{report}");
    }
}
