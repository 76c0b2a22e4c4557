//! Publications that show whether the streams take any.
//!
//! nats-server answers questions about a stream that it cannot write: its leader is gone, most replicas are, the disk
//! is full. So each stream is written to, in a subject of this node that nobody reads.

use super::partition::Partition;
use super::store::Store;
use super::{CHECK_INTERVAL, SOON};
use crate::nats::api;
use crate::nats::error::NatsError;
use crate::nats::life::Life;
use crate::nats::subject::encode;
use async_nats::HeaderMap;
use bytes::Bytes;
use futures_util::future::join_all;
use spinward::engine::broker::Sink;
use spinward::id::Entropy;
use std::sync::Arc;
use tokio::time::sleep;

/// Time for which a stream keeps a probe: the shortest that there is.
const LIFETIME: &str = "1s";

/// Publishes to each stream every two seconds, and takes note of whether it was stored.
pub(super) async fn run(store: Arc<Store>, sink: Sink) {
    let mut token = String::new();
    encode(&format!("$spinward-probe-{}", Entropy::system().node_id()), false, &mut token);
    let mut lives = store.link.lives();
    while !sink.is_closed() {
        let connection = lives.borrow_and_update().clone();
        let mut pause = CHECK_INTERVAL;
        if let Some(connection) = connection {
            let probes =
                store.partitions.iter().map(|partition| probe(&store, partition, &connection, &token));
            let problem = join_all(probes).await.into_iter().find_map(Result::err);
            if problem.is_some() {
                pause = SOON;
            }
            *store.unwritable.lock() = problem;
        }
        tokio::select! {
            changed = lives.changed() => if changed.is_err() { return },
            () = sleep(pause) => {}
        }
    }
}

/// Publishes to one stream. The error is for people.
async fn probe(store: &Store, partition: &Partition, connection: &Life, token: &str) -> Result<(), String> {
    let named = |error: NatsError| format!("stream {} takes no publications: {error}", partition.name);
    // Without one the stream is not made yet, which is told by its check.
    let Some(life) = partition.checked(connection) else { return Err(super::NOT_CHECKED.to_owned()) };
    let mut headers = HeaderMap::new();
    headers.insert("Nats-TTL", LIFETIME);
    let stored = api::publish(connection, partition.subject(&life, token), headers, Bytes::new()).await;
    partition.answered(&stored);
    match stored {
        // Its sequence is not noted: the loss of a probe is no loss.
        Ok(_) => Ok(()),
        // Another life has begun, or JetStream is not there: then this fails too.
        Err(NatsError::NoResponders) => store.check(partition, connection).await.map(drop).map_err(named),
        Err(error) => Err(named(error)),
    }
}
