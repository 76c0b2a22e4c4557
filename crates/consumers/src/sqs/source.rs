//! The source: receives messages, has them carried out, and deletes them.

use super::answer::{Batch, Received, Taken};
use super::client::Client;
use super::config::{Config, Error};
use crate::consumer::{Running, Source};
use crate::lease::{self, Leasing};
use crate::worker::Worker;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Queues of one account.
pub struct Queues {
    queues: Vec<Arc<Queue>>,
    readers: u32,
}

/// A queue.
struct Queue {
    client: Client,
    url: String,
    config: Config,
}

impl Queues {
    /// A source that is not connected yet.
    ///
    /// # Errors
    /// An option is not valid.
    pub fn new(config: Config) -> Result<Self, Error> {
        config.check()?;
        let queue = |url: &String| {
            let client = Client::new(&config, url)?;
            Ok(Arc::new(Queue { client, url: url.clone(), config: config.clone() }))
        };
        let queues = config.queues.iter().map(queue).collect::<Result<_, Error>>()?;
        Ok(Self { queues, readers: config.readers })
    }
}

impl Source for Queues {
    fn run(self: Arc<Self>, worker: Worker) -> Running {
        lease::run(self.queues.clone(), self.readers, worker)
    }
}

impl Queue {
    /// Makes a request about several messages.
    async fn of_all(
        &self,
        action: &'static str,
        leases: &[&Taken],
        further: impl Fn() -> Value,
    ) -> Result<Vec<String>, Error> {
        let entries: Vec<_> = leases
            .iter()
            .enumerate()
            .map(|(at, taken)| {
                let mut entry = further();
                entry["Id"] = at.to_string().into();
                entry["ReceiptHandle"] = (&*taken.receipt).into();
                entry
            })
            .collect();
        let body = json!({ "QueueUrl": self.url, "Entries": entries });
        let Batch { failed } = self.client.call(action, &body, Duration::ZERO).await?;
        Ok(failed.into_iter().map(|failed| failed.code).collect())
    }

    async fn visibility(&self, leases: &[&Taken], time: Duration) -> Result<(), Error> {
        let entry = || json!({ "VisibilityTimeout": time.as_secs() });
        // One that another node has received in the meantime cannot be prolonged, nor given back.
        self.of_all("ChangeMessageVisibilityBatch", leases, entry).await.map(drop)
    }
}

impl Leasing for Queue {
    type Lease = Taken;
    type Error = Error;

    fn name(&self) -> &str {
        &self.url
    }

    fn most(&self) -> usize {
        usize::from(self.config.most)
    }

    fn batch(&self) -> usize {
        10
    }

    fn keep(&self) -> Duration {
        self.config.visibility_timeout / 3
    }

    async fn take(&self, room: usize, wait: Duration) -> Result<Vec<Taken>, Error> {
        let wait = wait.min(self.config.wait);
        let body = json!({
            "QueueUrl": self.url,
            "MaxNumberOfMessages": room.min(self.most()),
            "WaitTimeSeconds": wait.as_secs(),
            "VisibilityTimeout": self.config.visibility_timeout.as_secs(),
            "AttributeNames": ["SentTimestamp", "MessageGroupId"],
            "MessageAttributeNames": ["All"],
        });
        let Received { messages } = self.client.call("ReceiveMessage", &body, wait).await?;
        Ok(messages.into_iter().map(|message| Taken::new(message, self.config.sns_envelope)).collect())
    }

    async fn forget(&self, leases: &[&Taken]) -> Result<(), Error> {
        let failed = self.of_all("DeleteMessageBatch", leases, || json!({})).await?;
        match failed.into_iter().next() {
            // They are delivered and carried out again.
            Some(code) => Err(Error::Refused { action: "DeleteMessageBatch", status: 200, code }),
            None => Ok(()),
        }
    }

    async fn prolong(&self, leases: &[&Taken]) -> Result<(), Error> {
        self.visibility(leases, self.config.visibility_timeout).await
    }

    async fn give_back(&self, leases: &[&Taken]) -> Result<(), Error> {
        self.visibility(leases, Duration::ZERO).await
    }
}
