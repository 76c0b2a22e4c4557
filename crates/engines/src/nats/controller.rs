//! Messages between the nodes of a cluster, by core NATS.

use super::config::{Config, ConfigError};
use super::counters::Counts;
use super::error::NatsError;
use super::life::Life;
use super::link::Link;
use async_nats::Subscriber;
use bytes::Bytes;
use futures_util::StreamExt;
use spinward::answer::Answer;
use spinward::engine::EngineHealth;
use spinward::engine::controller::{
    ControlError, ControlSink, Controller as ControllerTrait, MAX_MESSAGE, To,
};
use spinward::id::NodeId;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Messages that may be on their way to the server at once.
const IN_FLIGHT: usize = 256;

/// A controller on core NATS: one subject for all nodes, and one for each.
///
/// A message is answered once the server of this node has it. Nodes that are not connected at that moment miss it.
pub struct Controller {
    link: Arc<Link>,
    room: Arc<Semaphore>,
}

impl Controller {
    /// A controller with these settings. It connects when the node starts it.
    ///
    /// # Errors
    /// A setting cannot be used.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        Ok(Self { link: Link::new(config)?, room: Arc::new(Semaphore::new(IN_FLIGHT)) })
    }

    /// Counters since the start.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.link.counters().snapshot()
    }

    fn subject(&self, to: To) -> String {
        let prefix = &self.link.config().prefix;
        match to {
            To::All => format!("{prefix}.control"),
            To::Node(node) => format!("{prefix}.node.{node}"),
        }
    }
}

impl ControllerTrait for Controller {
    fn name(&self) -> &'static str {
        "nats"
    }

    fn start(&self, node: NodeId, sink: ControlSink) -> Result<(), ControlError> {
        self.link.start()?;
        let reader = ControlReader {
            link: Arc::clone(&self.link),
            subjects: [self.subject(To::All), self.subject(To::Node(node))],
            sink,
            served: false,
        };
        self.link.spawn(reader.run());
        Ok(())
    }

    fn send(&self, to: To, message: Bytes) -> Answer<Result<(), ControlError>> {
        if message.len() > MAX_MESSAGE {
            return Answer::Now(Err(ControlError::TooLong(message.len())));
        }
        let Ok(place) = Arc::clone(&self.room).try_acquire_owned() else {
            return Answer::Now(Err(ControlError::Full));
        };
        let life = match self.link.life() {
            Ok(life) => life,
            Err(error) => return Answer::Now(Err(error.into())),
        };
        let (subject, counters) = (self.subject(to), Arc::clone(self.link.counters()));
        Answer::later(async move {
            let _place = place;
            let sent = async {
                life.publish(subject, || message).await?;
                life.confirmed().await
            };
            sent.await.map_err(|error: NatsError| {
                counters.errors.bump();
                error.into()
            })
        })
    }

    fn health(&self) -> EngineHealth {
        self.link.health()
    }

    fn close(&self) -> Answer<()> {
        let link = Arc::clone(&self.link);
        Answer::later(async move { link.close().await })
    }
}

/// The task that receives.
struct ControlReader {
    link: Arc<Link>,
    subjects: [String; 2],
    sink: ControlSink,
    /// A connection was there before.
    served: bool,
}

impl ControlReader {
    async fn run(mut self) {
        let mut lives = self.link.lives();
        loop {
            let life = lives.borrow_and_update().clone();
            if let Some(life) = life {
                match self.serve(&life).await {
                    Ok(()) => return,
                    Err(error) => tracing::debug!(%error, "controller lost its connection"),
                }
                life.ended().await;
            }
            if lives.changed().await.is_err() {
                return;
            }
        }
    }

    /// Receives by one connection. Returns `Ok` once the node is gone.
    async fn serve(&mut self, life: &Life) -> Result<(), NatsError> {
        let [all, own] = &self.subjects;
        let mut all: Subscriber = life.subscribe(all.clone()).await?;
        let mut own: Subscriber = life.subscribe(own.clone()).await?;
        life.confirmed().await?;
        if std::mem::replace(&mut self.served, true) {
            self.link.counters().gaps.bump();
            self.sink.interrupted();
        }
        let mut overflows = life.overflows();
        loop {
            if !self.sink.ready().await {
                return Ok(());
            }
            let message = tokio::select! {
                message = all.next() => message,
                message = own.next() => message,
                _ = overflows.changed() => {
                    self.link.counters().gaps.bump();
                    if life.is_over() || !self.sink.interrupted() {
                        return Err(NatsError::Lost);
                    }
                    continue;
                }
            };
            let Some(message) = message else { return Err(NatsError::Lost) };
            if !self.sink.receive(message.payload) {
                return Ok(());
            }
        }
    }
}
