//! The rules of controllers.

use super::{Failed, Report, holds, same};
use bytes::Bytes;
use spinward::answer::Answer;
use spinward::engine::controller::{ControlSink, Controller, MAX_MESSAGE, Receiver, To};
use spinward::id::{Entropy, NodeId};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// A controller under test. Each harness is a cluster of its own.
#[allow(async_fn_in_trait, reason = "the suite awaits it where it is called")]
pub trait ControllerHarness {
    /// A controller for one more node of the cluster. It is not started yet.
    fn controller(&self) -> Arc<dyn Controller>;
    /// Lets the controllers work until they are connected, and everything that is on its way has arrived.
    async fn settle(&self);
    /// Cuts the connections to the back end, and lets them come up again. Returns false if that is not possible.
    async fn interrupt(&self) -> bool;
}

/// Tries every rule of controllers, each on a new harness.
pub async fn controller<H: ControllerHarness>(mut harness: impl FnMut() -> H) -> Report {
    let mut report = Report::default();
    report.add("a message to all reaches every other node", to_all(&harness()).await);
    report.add("a message to one node reaches that node", to_one(&harness()).await);
    report.add("messages arrive whole, whatever their bytes and length", whole(&harness()).await);
    report.add("many messages of several nodes arrive, each once", many(&harness()).await);
    report.add("a node that starts later gets what is sent later", later(&harness()).await);
    report.add("clusters are separate", separate(&harness(), &harness()).await);
    report.add("a closed controller delivers nothing", closed(&harness()).await);
    report.add("a node that is gone harms nobody", gone(&harness()).await);
    report.add("an interruption is announced, and messages arrive after it", interrupted(&harness()).await);
    report
}

/// A node that keeps what it receives.
struct Node {
    id: NodeId,
    controller: Arc<dyn Controller>,
    kept: Arc<Kept>,
}

#[derive(Default)]
struct Kept(Mutex<Received>);

#[derive(Default)]
struct Received {
    messages: Vec<Bytes>,
    interruptions: u32,
}

impl Kept {
    fn with<T>(&self, act: impl FnOnce(&mut Received) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Receiver for Kept {
    fn receive(&self, message: Bytes) {
        self.with(|received| received.messages.push(message));
    }

    fn interrupted(&self) {
        self.with(|received| received.interruptions += 1);
    }

    fn ready(&self) -> Answer<()> {
        Answer::Now(())
    }
}

impl Node {
    async fn start(harness: &impl ControllerHarness) -> Result<Self, Failed> {
        let (id, controller) = (Entropy::system().node_id(), harness.controller());
        let kept = Arc::<Kept>::default();
        let receiver: Arc<dyn Receiver> = Arc::<Kept>::clone(&kept);
        controller.start(id, ControlSink::new(Arc::downgrade(&receiver)))?;
        harness.settle().await;
        Ok(Self { id, controller, kept })
    }

    /// Sends a message, and waits until it has arrived.
    async fn send(
        &self,
        harness: &impl ControllerHarness,
        to: To,
        message: impl Into<Bytes>,
    ) -> Result<(), Failed> {
        self.controller.send(to, message.into()).wait().await?;
        harness.settle().await;
        Ok(())
    }

    /// Takes what has arrived.
    fn take(&self) -> Vec<Bytes> {
        self.kept.with(|received| std::mem::take(&mut received.messages))
    }
}

async fn to_all<H: ControllerHarness>(harness: &H) -> Result<(), Failed> {
    let (a, b) = (Node::start(harness).await?, Node::start(harness).await?);
    let c = Node::start(harness).await?;
    a.send(harness, To::All, "to all").await?;
    for node in [&b, &c] {
        same!(node.take(), [Bytes::from("to all")], "messages of another node");
    }
    Ok(())
}

async fn to_one<H: ControllerHarness>(harness: &H) -> Result<(), Failed> {
    let (a, b) = (Node::start(harness).await?, Node::start(harness).await?);
    a.send(harness, To::Node(b.id), "to one").await?;
    same!(b.take(), [Bytes::from("to one")], "messages of another node");
    // Nobody is there to get it, which is not for the controller to know.
    let _ = a.controller.send(To::Node(Entropy::system().node_id()), "to nobody".into()).wait().await;
    Ok(())
}

async fn whole<H: ControllerHarness>(harness: &H) -> Result<(), Failed> {
    let (a, b) = (Node::start(harness).await?, Node::start(harness).await?);
    let every: Vec<u8> = (0..=u8::MAX).collect();
    let mut longest = every.repeat(MAX_MESSAGE.div_ceil(every.len()));
    longest.truncate(MAX_MESSAGE);
    for message in [vec![0], vec![b'\n'], every, longest] {
        let length = message.len();
        a.send(harness, To::All, message.clone()).await?;
        holds!(b.take() == [Bytes::from(message)], "a message of {length} bytes did not arrive whole");
    }
    Ok(())
}

async fn many<H: ControllerHarness>(harness: &H) -> Result<(), Failed> {
    const EACH: usize = 300;
    let (a, b) = (Node::start(harness).await?, Node::start(harness).await?);
    let c = Node::start(harness).await?;
    for number in 0..EACH {
        a.controller.send(To::All, format!("a{number}").into()).wait().await?;
        b.controller.send(To::Node(c.id), format!("b{number}").into()).wait().await?;
    }
    harness.settle().await;
    let received = c.take();
    let distinct: BTreeSet<&Bytes> = received.iter().collect();
    same!(distinct.len(), 2 * EACH, "messages that arrived");
    same!(received.len(), distinct.len(), "messages with their repetitions");
    Ok(())
}

async fn later<H: ControllerHarness>(harness: &H) -> Result<(), Failed> {
    let a = Node::start(harness).await?;
    a.send(harness, To::All, "early").await?;
    let b = Node::start(harness).await?;
    b.take();
    a.send(harness, To::All, "late").await?;
    same!(b.take(), [Bytes::from("late")], "messages sent after the start");
    Ok(())
}

async fn separate<H: ControllerHarness>(harness: &H, other: &H) -> Result<(), Failed> {
    let (a, b) = (Node::start(harness).await?, Node::start(harness).await?);
    let c = Node::start(other).await?;
    a.send(harness, To::All, "of one cluster").await?;
    other.settle().await;
    same!(b.take().len(), 1, "messages in the cluster");
    same!(c.take().len(), 0, "messages in the other cluster");
    Ok(())
}

async fn closed<H: ControllerHarness>(harness: &H) -> Result<(), Failed> {
    let (a, b) = (Node::start(harness).await?, Node::start(harness).await?);
    let c = Node::start(harness).await?;
    a.controller.send(To::All, "last words".into()).wait().await?;
    a.controller.close().wait().await;
    harness.settle().await;
    same!(b.take(), [Bytes::from("last words")], "messages sent before the close");
    a.take();
    c.send(harness, To::All, "to those that are left").await?;
    same!(b.take().len(), 1, "messages of the others");
    same!(a.take().len(), 0, "messages delivered after the close");
    Ok(())
}

async fn gone<H: ControllerHarness>(harness: &H) -> Result<(), Failed> {
    let (a, b) = (Node::start(harness).await?, Node::start(harness).await?);
    let c = Node::start(harness).await?;
    drop(b.kept);
    a.send(harness, To::All, "to those that are left").await?;
    same!(c.take().len(), 1, "messages to another node");
    Ok(())
}

async fn interrupted<H: ControllerHarness>(harness: &H) -> Result<(), Failed> {
    let (a, b) = (Node::start(harness).await?, Node::start(harness).await?);
    if !harness.interrupt().await {
        return Err(Failed::NotTried);
    }
    harness.settle().await;
    holds!(b.kept.with(|received| received.interruptions) > 0, "the node was not told of an interruption");
    b.take();
    a.send(harness, To::All, "again").await?;
    same!(b.take(), [Bytes::from("again")], "messages after the interruption");
    Ok(())
}
