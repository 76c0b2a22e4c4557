//! Rules about streams: offsets and epochs, reads, what is kept and what is not published.

use super::{ALL, BrokerHarness, HISTORY, Node, done, kept, most, offsets};
use crate::conformance::{Failed, holds, same};
use spinward::ClientInfo;
use spinward::engine::broker::{
    BrokerError, HistoryOptions, Limit, Place, PublishOptions, Read, Receipt, Since, StreamId,
};
use std::sync::Arc;
use std::time::Duration;

pub(super) async fn order<H: BrokerHarness>(harness: &H) -> Result<(), Failed> {
    let first = Node::interested_in_history(harness, "c").await?;
    let mut nodes = vec![first];
    match Node::interested_in_history(harness, "c").await {
        Ok(second) => nodes.push(second),
        Err(Failed::NotTried) => {}
        Err(failed) => return Err(failed),
    }
    let mut stream = None;
    for number in 1..=40_u64 {
        let publisher = &nodes[number as usize % nodes.len()];
        let place = publisher.store("c", &number.to_string(), kept()).await?;
        same!(place.offset, number, "offset of publication {number}");
        let stream: &StreamId = stream.get_or_insert_with(|| place.stream.clone());
        same!(place.stream, *stream, "stream of publication {number}");
        same!(place.stream.incarnation, publisher.broker.incarnation("c"), "incarnation of a receipt");
    }
    harness.settle().await;
    for node in &nodes {
        same!(node.delivered("c")?, (1..=40).collect::<Vec<u64>>(), "offsets delivered");
        for (of, publication) in node.recorder.publications("c") {
            same!(of, stream, "stream of a delivery");
            same!(
                publication.data,
                publication.offset.to_string(),
                "payload of offset {}",
                publication.offset
            );
        }
    }
    Ok(())
}

pub(super) async fn fields<H: BrokerHarness>(harness: &H) -> Result<(), Failed> {
    let node = Node::interested_in_history(harness, "c").await?;
    let info = Arc::new(ClientInfo {
        user: "ann".into(),
        client: "0".into(),
        conn_info: "{\"a\":1}".into(),
        chan_info: "{\"b\":2}".into(),
    });
    let tags = Arc::new([("k".to_owned(), "v".to_owned())].into_iter().collect());
    let options = PublishOptions { info: Some(Arc::clone(&info)), tags: Some(Arc::clone(&tags)), ..kept() };
    node.store("c", "{\"\u{e4}\":1}", options).await?;
    harness.settle().await;
    let read = node.read("c", ALL).await?.publications;
    let delivered: Vec<_> = node.recorder.publications("c").into_iter().map(|(_, one)| one).collect();
    for (how, publications) in [("read", read), ("delivered", delivered)] {
        same!(publications.len(), 1, "publications {how}");
        let publication = &publications[0];
        same!(publication.data, "{\"\u{e4}\":1}", "payload {how}");
        same!(publication.info.as_deref(), Some(&*info), "publisher {how}");
        same!(publication.tags.as_deref(), Some(&*tags), "tags {how}");
        same!(publication.offset, 1, "offset {how}");
    }
    Ok(())
}

pub(super) async fn unstored<H: BrokerHarness>(harness: &H) -> Result<(), Failed> {
    let node = Node::interested(harness, "c").await?;
    for number in 0..3 {
        let receipt = node.publish("c", &number.to_string(), PublishOptions::default()).await?;
        same!(receipt, Receipt::Sent, "receipt");
    }
    harness.settle().await;
    let delivered = node.recorder.publications("c");
    let told: Vec<_> = delivered.iter().map(|(_, one)| (one.offset, one.data.to_vec())).collect();
    same!(told, [(0, b"0".to_vec()), (0, b"1".to_vec()), (0, b"2".to_vec())], "delivered");
    holds!(delivered.iter().all(|(stream, _)| stream.is_none()), "a stream without history");
    if !node.keeps_history {
        let stored = node.publish("c", "3", kept()).await;
        holds!(stored.is_err(), "{stored:?} for a publication to store, by a broker that keeps none");
        return Ok(());
    }
    same!(node.offsets("c", ALL).await?, [0_u64; 0], "offsets kept");
    Ok(())
}

pub(super) async fn read_after_publish<H: BrokerHarness>(harness: &H) -> Result<(), Failed> {
    let node = Node::with_history(harness).await?;
    for number in 1..=10 {
        let place = node.store("c", "1", kept()).await?;
        same!(node.top("c").await?, place, "top after publish {number}");
        let latest = node.offsets("c", Read::Latest { limit: most(1) }).await?;
        same!(latest, [place.offset], "latest after publish {number}");
    }
    Ok(())
}

pub(super) async fn reads<H: BrokerHarness>(harness: &H) -> Result<(), Failed> {
    let node = Node::with_history(harness).await?;
    let top = node.store_numbers("c", 1..=10).await?;
    for epoch in [None, Some(top.stream.epoch.clone())] {
        let since = |offset| Since { offset, epoch: epoch.clone() };
        let after = |offset, limit| Read::After { since: since(offset), limit };
        let before = |offset, limit| Read::Before { since: since(offset), limit };
        for (read, right) in [
            (ALL, (1..=10).collect::<Vec<u64>>()),
            (Read::Oldest { limit: most(3) }, vec![1, 2, 3]),
            (Read::Latest { limit: Limit::All }, (1..=10).rev().collect()),
            (Read::Latest { limit: most(3) }, vec![10, 9, 8]),
            (after(7, Limit::All), vec![8, 9, 10]),
            (after(7, most(2)), vec![8, 9]),
            (after(0, most(2)), vec![1, 2]),
            (after(10, Limit::All), vec![]),
            (before(4, Limit::All), vec![3, 2, 1]),
            (before(4, most(2)), vec![3, 2]),
            (before(1, Limit::All), vec![]),
            (Read::Top, vec![]),
        ] {
            let slice = node.read("c", read.clone()).await?;
            same!(offsets(&slice.publications), right, "{read:?}");
            same!(slice.top, top, "top of {read:?}");
        }
    }
    Ok(())
}

pub(super) async fn other_epoch<H: BrokerHarness>(harness: &H) -> Result<(), Failed> {
    let node = Node::with_history(harness).await?;
    node.store_numbers("c", 1..=3).await?;
    let since = Since { offset: 1, epoch: Some("another".into()) };
    for read in
        [Read::After { since: since.clone(), limit: Limit::All }, Read::Before { since, limit: Limit::All }]
    {
        let answer = node.broker.read("c", read.clone(), HISTORY).wait().await;
        holds!(matches!(answer, Err(BrokerError::UnrecoverablePosition)), "{answer:?} to {read:?}");
    }
    Ok(())
}

pub(super) async fn size<H: BrokerHarness>(harness: &H) -> Result<(), Failed> {
    let node = Node::with_history(harness).await?;
    let options = PublishOptions { history: HistoryOptions { size: 5, ..HISTORY }, ..kept() };
    for number in 1..=12_u64 {
        let place = node.store("c", &number.to_string(), options.clone()).await?;
        same!(place.offset, number, "offset");
    }
    same!(node.offsets("c", ALL).await?, [8, 9, 10, 11, 12], "offsets kept");
    let older = Read::After { since: Since { offset: 2, epoch: None }, limit: most(2) };
    same!(node.offsets("c", older).await?, [8, 9], "after a place that is no longer kept");
    Ok(())
}

pub(super) async fn time_to_live<H: BrokerHarness>(harness: &H) -> Result<(), Failed> {
    let node = Node::with_history(harness).await?;
    let options = PublishOptions {
        history: HistoryOptions { ttl: Duration::from_secs(2), ..HISTORY },
        ..PublishOptions::default()
    };
    let top = node.store("c", "1", options.clone()).await?;
    if !harness.pass(Duration::from_secs(1)).await {
        return Err(Failed::NotTried);
    }
    same!(node.offsets("c", ALL).await?, [1], "offsets kept before their time");
    let next = node.store("c", "2", options).await?;
    harness.pass(Duration::from_millis(1_500)).await;
    same!(node.offsets("c", ALL).await?, [1, 2], "offsets kept: a publish prolongs all");
    harness.pass(Duration::from_secs(3)).await;
    same!(node.offsets("c", ALL).await?, [0_u64; 0], "offsets kept after their time");
    same!(node.top("c").await?, next, "top after the publications expired");
    same!(next.stream, top.stream, "stream");
    Ok(())
}

pub(super) async fn forget<H: BrokerHarness>(harness: &H) -> Result<(), Failed> {
    let node = Node::with_history(harness).await?;
    let top = node.store_numbers("c", 1..=3).await?;
    node.store_numbers("other", 1..=1).await?;
    done(node.broker.forget("c")).await?;
    done(node.broker.forget("never used")).await?;
    same!(node.offsets("c", ALL).await?, [0_u64; 0], "offsets kept");
    same!(node.top("c").await?, top, "top");
    same!(node.offsets("other", ALL).await?, [1], "offsets kept of another channel");
    let next = node.store("c", "4", kept()).await?;
    same!(next, Place { offset: 4, ..top }, "place of the next publication");
    Ok(())
}

pub(super) async fn unwritten<H: BrokerHarness>(harness: &H) -> Result<(), Failed> {
    let node = Node::interested_in_history(harness, "c").await?;
    let top = node.top("c").await?;
    same!(top.offset, 0, "offset of a channel without publications");
    same!(node.top("c").await?, top, "top of a second read");
    let first = node.store("c", "1", kept()).await?;
    same!(first, Place { offset: 1, ..top }, "place of the first publication");
    Ok(())
}

pub(super) async fn idempotency<H: BrokerHarness>(harness: &H) -> Result<(), Failed> {
    let node = Node::interested_in_history(harness, "c").await?;
    let keyed = PublishOptions { idempotency_key: "k".to_owned(), ..kept() };
    let first = node.store("c", "1", keyed.clone()).await?;
    node.store("c", "2", kept()).await?;
    let again = node.publish("c", "3", keyed.clone()).await?;
    same!(again, Receipt::Suppressed(Some(first)), "receipt for a known key");
    node.store("other", "1", keyed).await?;
    let unstored = PublishOptions { idempotency_key: "u".to_owned(), ..PublishOptions::default() };
    same!(node.publish("c", "4", unstored.clone()).await?, Receipt::Sent, "receipt without history");
    same!(
        node.publish("c", "5", unstored).await?,
        Receipt::Suppressed(None),
        "receipt for a known key without history"
    );
    harness.settle().await;
    let told: Vec<_> =
        node.recorder.publications("c").into_iter().map(|(_, one)| one.data.to_vec()).collect();
    same!(told, [b"1", b"2", b"4"], "delivered");
    Ok(())
}

pub(super) async fn versions<H: BrokerHarness>(harness: &H) -> Result<(), Failed> {
    let node = Node::interested_in_history(harness, "c").await?;
    let versioned =
        |version, epoch: &str| PublishOptions { version, version_epoch: epoch.to_owned(), ..kept() };
    let top = node.store("c", "5", versioned(5, "a")).await?;
    for version in [5, 4, 1] {
        let receipt = node.publish("c", "old", versioned(version, "a")).await?;
        same!(receipt, Receipt::Suppressed(Some(top.clone())), "receipt for version {version} after 5");
    }
    node.store("c", "6", versioned(6, "a")).await?;
    node.store("c", "1", versioned(1, "b")).await?;
    node.store("other", "1", versioned(1, "a")).await?;
    harness.settle().await;
    same!(node.delivered("c")?, [1, 2, 3], "offsets delivered");
    Ok(())
}
