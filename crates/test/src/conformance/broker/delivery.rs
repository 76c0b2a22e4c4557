//! Rules about delivery: interest, joins and leaves, what is said about losses, room and the end.

use super::{ALL, BrokerHarness, Node, done, kept, payloads};
use crate::conformance::{Failed, holds, same};
use spinward::ClientInfo;
use spinward::engine::EngineHealth;
use spinward::engine::broker::{Interest, JoinLeave, Place};
use std::sync::Arc;

pub(super) async fn interest<H: BrokerHarness>(harness: &H) -> Result<(), Failed> {
    let node = Node::connect(harness).await?;
    node.send("c1", "before").await?;
    let channels: Vec<Arc<str>> = (0..50).map(|number| format!("c{number}").into()).collect();
    let change = |asked| channels.iter().map(|channel| (Arc::clone(channel), asked)).collect::<Vec<_>>();
    for channel in &channels {
        node.recorder.set_wanted(channel, true);
    }
    node.broker.interest(&change(Interest::Wanted));
    harness.settle().await;
    for channel in &channels {
        same!(node.recorder.answers(channel), [(Interest::Wanted, true)], "answers for {channel}");
        node.send(channel, "while").await?;
    }
    node.send("unwanted", "while").await?;
    harness.settle().await;
    for channel in &channels {
        let told: Vec<_> =
            node.recorder.publications(channel).into_iter().map(|(_, one)| one.data.to_vec()).collect();
        same!(told, [b"while"], "delivered to {channel}");
    }
    same!(node.recorder.publications("unwanted").len(), 0, "deliveries to a channel that nobody asked for");
    for channel in &channels {
        node.recorder.set_wanted(channel, false);
    }
    node.broker.interest(&change(Interest::Unwanted));
    harness.settle().await;
    for channel in &channels {
        same!(
            node.recorder.answers(channel),
            [(Interest::Wanted, true), (Interest::Unwanted, true)],
            "answers for {channel}"
        );
        node.send(channel, "after").await?;
    }
    harness.settle().await;
    for channel in &channels {
        same!(
            node.recorder.publications(channel).len(),
            1,
            "deliveries to {channel} after it was given back"
        );
    }
    node.want(harness, "c7", Interest::Wanted).await?;
    node.send("c7", "again").await?;
    harness.settle().await;
    same!(node.recorder.publications("c7").len(), 2, "deliveries to a channel that is wanted again");
    Ok(())
}

pub(super) async fn joins<H: BrokerHarness>(harness: &H) -> Result<(), Failed> {
    let node = Node::interested(harness, "c").await?;
    let info = Arc::new(ClientInfo {
        user: "ann".into(),
        client: "0".into(),
        conn_info: "{\"a\":1}".into(),
        ..ClientInfo::default()
    });
    let changes = [JoinLeave::Join(Arc::clone(&info)), JoinLeave::Leave(info)];
    for change in &changes {
        done(node.broker.announce("c", change.clone())).await?;
        done(node.broker.announce("elsewhere", change.clone())).await?;
    }
    harness.settle().await;
    let mut told = node.recorder.joins_and_leaves("c");
    if told.first() != changes.first() {
        told.reverse();
    }
    same!(told, changes, "joins and leaves delivered");
    same!(node.recorder.delivered("elsewhere").len(), 0, "deliveries to a channel that nobody asked for");
    if node.keeps_history {
        same!(node.offsets("c", ALL).await?, [0_u64; 0], "offsets kept");
    }
    Ok(())
}

pub(super) async fn replaced<H: BrokerHarness>(harness: &H) -> Result<(), Failed> {
    let node = Node::interested_in_history(harness, "c").await?;
    let before = node.store_numbers("c", 1..=8).await?;
    harness.settle().await;
    if !harness.fail_over().await {
        return Err(Failed::NotTried);
    }
    harness.settle().await;
    let top = node.top("c").await?;
    holds!(
        top.stream.incarnation != before.stream.incarnation,
        "a store that lacks publications still calls itself {:?}",
        top.stream.incarnation
    );
    let told = node.recorder.publications("c").len();
    let next = node.store("c", "new", kept()).await?;
    same!(next, Place { offset: top.offset + 1, ..top }, "place of the first publication of the new life");
    harness.settle().await;
    let fresh: Vec<_> = node.recorder.publications("c").split_off(told);
    let fresh: Vec<_> = fresh.into_iter().map(|(stream, one)| (stream, one.offset)).collect();
    same!(fresh, [(Some(next.stream.clone()), next.offset)], "delivered in the new life");
    for incarnation in node.recorder.replaced() {
        holds!(*incarnation != *before.stream.incarnation, "the former life is announced as a new one");
    }
    Ok(())
}

pub(super) async fn interrupted<H: BrokerHarness>(harness: &H) -> Result<(), Failed> {
    let node = Node::interested(harness, "c").await?;
    node.send_numbers("c", 1..=3).await?;
    if !harness.interrupt(0).await {
        return Err(Failed::NotTried);
    }
    harness.settle().await;
    holds!(node.recorder.was_interrupted("c"), "nobody was told that deliveries may be missing");
    node.send("c", "after").await?;
    harness.settle().await;
    node.delivered("c")?;
    same!(
        payloads(&node.recorder, "c").last().map(String::as_str),
        Some("after"),
        "last publication delivered after the interruption"
    );
    Ok(())
}

pub(super) async fn room<H: BrokerHarness>(harness: &H) -> Result<(), Failed> {
    const COUNT: u64 = 40;
    let node = Node::interested(harness, "c").await?;
    node.recorder.set_full(true);
    node.send_numbers("c", 1..=COUNT).await?;
    harness.settle().await;
    let early = node.recorder.publications("c").len();
    holds!(early <= 1, "{early} publications delivered without room");
    node.recorder.set_full(false);
    harness.settle().await;
    let numbers: Vec<_> = (1..=COUNT).map(|number| number.to_string()).collect();
    same!(payloads(&node.recorder, "c"), numbers, "delivered once there was room");
    Ok(())
}

pub(super) async fn closed<H: BrokerHarness>(harness: &H) -> Result<(), Failed> {
    let node = Node::interested(harness, "c").await?;
    holds!(!node.broker.name().is_empty(), "the engine has no name");
    node.send("c", "1").await?;
    harness.settle().await;
    same!(node.broker.health(), EngineHealth::Up, "health");
    node.broker.close().wait().await;
    let before = node.recorder.publications("c").len();
    // It may be refused.
    let _ = node.send("c", "2").await;
    harness.settle().await;
    same!(node.recorder.publications("c").len(), before, "deliveries after close");
    Ok(())
}
