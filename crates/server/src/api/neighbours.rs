//! The nodes of a cluster: what the server API asks of the other ones, and what this one does for them.

use super::error::ApiError;
use super::listing;
use super::method::channels::occupied;
use crate::auth::revoke::{Revocation, StoreError};
use crate::session::Revocations;
use bytes::Bytes;
use prost::Message as _;
use serde::{Deserialize, Serialize};
use spinward::answer::Answer;
use spinward::cluster::Declined;
use spinward::engine::controller::To;
use spinward::id::NodeId;
use spinward::{ClusterHandler, Done, Node};
use std::collections::HashMap;
use std::time::Duration;

/// Most time that `channels` and `connections` wait for other nodes.
pub(super) const SURVEY_TIMEOUT: Duration = Duration::from_secs(5);

const CHANNELS: &str = "channels";
pub(super) const CONNECTIONS: &str = "connections";
const REVOKE: &str = "revoke";

/// A change of revocations, as nodes tell it to each other.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Change {
    Revoke(Revocation),
    UnblockUser(String),
}

/// Has the other nodes store a revocation and enforce it.
pub(super) fn revoke(node: &Node, revocation: &Revocation) -> Done {
    tell(node, &Change::Revoke(revocation.clone()))
}

/// Has the other nodes end the block of a user.
pub(super) fn unblock_user(node: &Node, user: &str) -> Done {
    tell(node, &Change::UnblockUser(user.to_owned()))
}

fn tell(node: &Node, change: &Change) -> Done {
    // Plain texts and numbers always have a JSON form.
    let data = serde_json::to_vec(change).unwrap_or_default();
    node.notify(To::All, REVOKE, data.into())
}

/// Channels of all nodes that match a pattern, each with its connections on all of them, and the nodes that are missing.
///
/// # Errors
/// The pattern cannot be read.
pub(super) async fn channels(
    node: &Node,
    pattern: &str,
) -> Result<(Vec<(Box<str>, u32)>, Vec<NodeId>), ApiError> {
    // The answer of this node needs no encoding, and tells if the pattern can be read.
    let own = occupied(node, pattern).map_err(|_| ApiError::INTERNAL)?;
    let survey = node.survey(CHANNELS, Bytes::copy_from_slice(pattern.as_bytes()), SURVEY_TIMEOUT).await;
    let mut missing = survey.missing;
    missing.extend(survey.declined.iter().map(|(node, _)| *node));
    let mut sum: HashMap<Box<str>, u32> = own.into_iter().collect();
    for (from, data) in survey.answers.iter().filter(|(from, _)| *from != node.id()) {
        match serde_json::from_slice::<Vec<(Box<str>, u32)>>(data) {
            Ok(channels) => channels.into_iter().for_each(|(channel, clients)| {
                let all = sum.entry(channel).or_default();
                *all = all.saturating_add(clients);
            }),
            Err(_) => missing.push(*from),
        }
    }
    missing.retain(|missing| *missing != node.id());
    Ok((sum.into_iter().collect(), missing))
}

/// Does what other nodes ask for.
pub(crate) struct Neighbours {
    revocations: Revocations,
}

impl Neighbours {
    /// Keeps revocations of other nodes in this store.
    pub(crate) fn new(revocations: Revocations) -> Self {
        Self { revocations }
    }
}

impl ClusterHandler for Neighbours {
    fn notified(&self, node: &Node, op: &str, data: Bytes) -> Answer<Result<(), Declined>> {
        if op != REVOKE {
            return Answer::Now(Err(Declined::Unsupported));
        }
        // A newer version may know more of them.
        let Ok(change) = serde_json::from_slice::<Change>(&data) else {
            return Answer::Now(Err(Declined::Unsupported));
        };
        let (revocations, node) = (self.revocations.clone(), node.clone());
        Answer::later(async move {
            // The store may write a file.
            let changed = tokio::task::spawn_blocking(move || match change {
                Change::Revoke(revocation) => revocations.revoke(&node, revocation).map(Some),
                Change::UnblockUser(user) => revocations.unblock_user(&user).map(|()| None),
            });
            match changed.await.unwrap_or_else(|error| Err(StoreError::Failed(error.to_string()))) {
                Ok(Some(done)) => {
                    done.await;
                    Ok(())
                }
                Ok(None) => Ok(()),
                Err(error) => {
                    tracing::error!(%error, "revocation of another node not stored");
                    Err(Declined::Failed)
                }
            }
        })
    }

    fn asked(&self, node: &Node, op: &str, data: Bytes) -> Answer<Result<Bytes, Declined>> {
        match op {
            CHANNELS => {
                let Ok(pattern) = std::str::from_utf8(&data) else {
                    return Answer::Now(Err(Declined::Unsupported));
                };
                let channels = occupied(node, pattern).map_err(|_| Declined::Failed);
                Answer::Now(channels.map(|channels| serde_json::to_vec(&channels).unwrap_or_default().into()))
            }
            CONNECTIONS => {
                let Ok(query) = listing::Query::decode(data) else {
                    return Answer::Now(Err(Declined::Unsupported));
                };
                let node = node.clone();
                Answer::later(async move {
                    let page = listing::of_this_node(&node, query).await;
                    page.map(|page| page.encode_to_vec().into()).ok_or(Declined::Failed)
                })
            }
            _ => Answer::Now(Err(Declined::Unsupported)),
        }
    }
}

#[cfg(test)]
#[path = "neighbours_tests.rs"]
mod tests;
