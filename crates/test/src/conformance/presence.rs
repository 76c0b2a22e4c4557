//! The rules of presence stores.

use super::{Failed, Report, holds, same};
use spinward::ClientInfo;
use spinward::answer::Answer;
use spinward::engine::presence::{Member, Presence, PresenceError, PresenceStats};
use spinward::id::ClientId;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// A presence store under test.
#[allow(async_fn_in_trait, reason = "the suite awaits it where it is called")]
pub trait PresenceHarness {
    /// The store, empty at first.
    fn store(&self) -> Arc<dyn Presence>;
    /// Lets time pass. Returns false if that is not possible.
    async fn pass(&self, time: Duration) -> bool;
    /// Time that an entry lives without being refreshed; `None` where entries do not expire.
    fn time_to_live(&self) -> Option<Duration>;
}

/// Tries every rule of presence stores, each on a new harness.
pub async fn presence<H: PresenceHarness>(mut harness: impl FnMut() -> H) -> Report {
    let mut report = Report::default();
    report.add("members are those added and not removed", members(&harness()).await);
    report.add("users are counted once, however many connections they have", users(&harness()).await);
    report.add("an entry that is added again is replaced", replaced(&harness()).await);
    report.add("channels are separate", channels(&harness()).await);
    report.add("a refresh adds what is missing and keeps what is there", refreshed(&harness()).await);
    report.add(
        "an entry that is not refreshed expires, and a refreshed one does not",
        expiry(&harness()).await,
    );
    report
}

fn client(number: u8) -> ClientId {
    ClientId::from_random([number; 16])
}

fn info(number: u8, user: &str) -> Arc<ClientInfo> {
    Arc::new(ClientInfo {
        user: user.into(),
        client: client(number).to_string().into(),
        conn_info: format!("{{\"n\":{number}}}").into(),
        ..ClientInfo::default()
    })
}

async fn done<T: Send + 'static>(answer: Answer<Result<T, PresenceError>>) -> Result<T, Failed> {
    Ok(answer.wait().await?)
}

async fn listed(store: &dyn Presence, channel: &str) -> Result<BTreeSet<String>, Failed> {
    let members = done(store.members(channel)).await?;
    let listed: BTreeSet<_> = members.iter().map(|info| info.client.to_string()).collect();
    same!(listed.len(), members.len(), "distinct members listed");
    Ok(listed)
}

async fn expect(store: &dyn Presence, channel: &str, numbers: &[u8], users: u32) -> Result<(), Failed> {
    let right: BTreeSet<_> = numbers.iter().map(|number| client(*number).to_string()).collect();
    same!(listed(store, channel).await?, right, "members of {channel}");
    let stats = PresenceStats { clients: numbers.len() as u32, users };
    same!(done(store.stats(channel)).await?, stats, "numbers of {channel}");
    Ok(())
}

async fn members<H: PresenceHarness>(harness: &H) -> Result<(), Failed> {
    let store = harness.store();
    expect(&*store, "c", &[], 0).await?;
    let numbers: Vec<u8> = (1..=50).collect();
    for number in &numbers {
        done(store.add("c", client(*number), info(*number, &format!("u{number}")))).await?;
    }
    expect(&*store, "c", &numbers, 50).await?;
    for number in 1..=50 {
        if number != 7 {
            done(store.remove("c", client(number), &format!("u{number}"))).await?;
        }
    }
    expect(&*store, "c", &[7], 1).await?;
    // Nobody is there to be removed, twice.
    done(store.remove("c", client(9), "u9")).await?;
    done(store.remove("c", client(7), "u7")).await?;
    done(store.remove("c", client(7), "u7")).await?;
    expect(&*store, "c", &[], 0).await
}

async fn users<H: PresenceHarness>(harness: &H) -> Result<(), Failed> {
    let store = harness.store();
    for (number, user) in [(1, "ann"), (2, "ann"), (3, "bob")] {
        done(store.add("c", client(number), info(number, user))).await?;
    }
    expect(&*store, "c", &[1, 2, 3], 2).await?;
    done(store.remove("c", client(1), "ann")).await?;
    expect(&*store, "c", &[2, 3], 2).await?;
    done(store.remove("c", client(2), "ann")).await?;
    expect(&*store, "c", &[3], 1).await
}

async fn replaced<H: PresenceHarness>(harness: &H) -> Result<(), Failed> {
    let store = harness.store();
    done(store.add("c", client(1), info(1, "ann"))).await?;
    let changed = Arc::new(ClientInfo { conn_info: "{\"n\":\"new\"}".into(), ..(*info(1, "ann")).clone() });
    done(store.add("c", client(1), Arc::clone(&changed))).await?;
    expect(&*store, "c", &[1], 1).await?;
    let members = done(store.members("c")).await?;
    same!(*members[0], *changed, "the entry");
    Ok(())
}

async fn channels<H: PresenceHarness>(harness: &H) -> Result<(), Failed> {
    let store = harness.store();
    done(store.add("a", client(1), info(1, "ann"))).await?;
    done(store.add("b", client(1), info(1, "ann"))).await?;
    done(store.add("b", client(2), info(2, "bob"))).await?;
    done(store.remove("a", client(1), "ann")).await?;
    expect(&*store, "a", &[], 0).await?;
    expect(&*store, "b", &[1, 2], 2).await
}

fn member(channel: &str, number: u8, user: &str) -> Member {
    Member { channel: channel.into(), client: client(number), info: info(number, user) }
}

async fn refreshed<H: PresenceHarness>(harness: &H) -> Result<(), Failed> {
    let store = harness.store();
    if harness.time_to_live().is_none() {
        return Err(Failed::NotTried);
    }
    done(store.add("a", client(1), info(1, "ann"))).await?;
    done(store.refresh(&[member("a", 1, "ann"), member("a", 2, "ann"), member("b", 3, "bob")])).await?;
    expect(&*store, "a", &[1, 2], 1).await?;
    expect(&*store, "b", &[3], 1).await
}

async fn expiry<H: PresenceHarness>(harness: &H) -> Result<(), Failed> {
    let store = harness.store();
    let Some(life) = harness.time_to_live() else {
        same!(store.refresh_interval(), None, "interval of refreshing where nothing expires");
        return Err(Failed::NotTried);
    };
    let interval = store.refresh_interval();
    holds!(
        interval.is_some_and(|interval| interval < life),
        "refreshed every {interval:?}, gone in {life:?}"
    );
    for number in [1, 2] {
        done(store.add("c", client(number), info(number, "ann"))).await?;
    }
    for _ in 0..3 {
        if !harness.pass(life / 2).await {
            return Err(Failed::NotTried);
        }
        done(store.refresh(&[member("c", 2, "ann")])).await?;
    }
    expect(&*store, "c", &[2], 1).await?;
    harness.pass(life * 3 / 2).await;
    expect(&*store, "c", &[], 0).await
}
