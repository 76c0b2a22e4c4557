//! Requests of this node that wait for the answers of others: a state machine without I/O. Times are milliseconds of
//! the node's monotonic clock.

use super::message::Response;
use super::{Applied, MAX_OPEN, Survey};
use crate::fault::{Fault, holds};
use crate::id::NodeId;
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::oneshot;

/// Most bytes of all answers to one request. Nodes whose answers do not fit are taken for silent.
const MAX_ANSWERS: usize = 64 << 20;

/// The answers to a request.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Outcome {
    /// In the order of arrival, one for each node.
    pub(crate) answers: Vec<(NodeId, Response)>,
    /// Nodes that were waited for in vain.
    pub(crate) missing: Vec<NodeId>,
}

impl Outcome {
    /// Result of an operation, and whether a node took it for one that would end in the past.
    pub(crate) fn applied(self) -> (Applied, bool) {
        let mut applied = Applied { missing: self.missing, ..Applied::default() };
        let mut expired = false;
        for (node, response) in self.answers {
            match response {
                Response::Declined(why) => applied.declined.push((node, why)),
                Response::Expired => expired = true,
                Response::Applied | Response::Answer(_) => {}
            }
        }
        (applied, expired)
    }

    /// Result of a survey.
    pub(crate) fn survey(self) -> Survey {
        let mut survey = Survey { missing: self.missing, ..Survey::default() };
        for (node, response) in self.answers {
            match response {
                Response::Answer(data) => survey.answers.push((node, data)),
                Response::Declined(why) => survey.declined.push((node, why)),
                Response::Applied | Response::Expired => {}
            }
        }
        survey
    }
}

/// A request whose wait is over. Its waiter is woken by [`Ended::tell`], for which no lock is held.
#[must_use]
pub(crate) struct Ended(oneshot::Sender<Outcome>, Outcome);

impl Ended {
    pub(crate) fn tell(self) {
        // Nobody may wait any more, which is not an error.
        let _ = self.0.send(self.1);
    }
}

/// Requests under way.
#[derive(Default)]
pub(crate) struct Requests {
    last: u64,
    open: BTreeMap<u64, Open>,
}

struct Open {
    waiting: BTreeSet<NodeId>,
    outcome: Outcome,
    bytes: usize,
    deadline: u64,
    waiter: oneshot::Sender<Outcome>,
}

impl Open {
    fn end(mut self) -> Ended {
        self.outcome.missing.extend(self.waiting);
        self.outcome.missing.sort_unstable();
        if holds(Fault::MissingUnnamed) {
            self.outcome.missing.clear();
        }
        Ended(self.waiter, self.outcome)
    }
}

impl Requests {
    /// Begins a request to these nodes. Returns its number and what its waiter waits for, or `None` if too many are
    /// under way.
    pub(crate) fn begin(
        &mut self,
        nodes: Vec<NodeId>,
        deadline: u64,
    ) -> Option<(u64, oneshot::Receiver<Outcome>)> {
        if self.open.len() >= MAX_OPEN {
            return None;
        }
        self.last += 1;
        let (waiter, waits) = oneshot::channel();
        let waiting: BTreeSet<NodeId> = nodes.into_iter().collect();
        if waiting.is_empty() {
            Ended(waiter, Outcome::default()).tell();
        } else {
            let open = Open { waiting, outcome: Outcome::default(), bytes: 0, deadline, waiter };
            self.open.insert(self.last, open);
        }
        Some((self.last, waits))
    }

    /// A node has answered. One that is not waited for, or has answered before, changes nothing.
    pub(crate) fn answer(&mut self, id: u64, node: NodeId, response: Response) -> Option<Ended> {
        let open = self.open.get_mut(&id)?;
        if !open.waiting.contains(&node) {
            return None;
        }
        let bytes = if let Response::Answer(data) = &response { data.len() } else { 0 };
        if open.bytes + bytes > MAX_ANSWERS {
            return None;
        }
        open.bytes += bytes;
        open.waiting.remove(&node);
        open.outcome.answers.push((node, response));
        self.end_if_complete(id)
    }

    /// A node is gone. `lost`: it was silent, and may have done what it was asked for or not; otherwise it has ended,
    /// and nothing is left there to be done.
    pub(crate) fn gone(&mut self, node: NodeId, lost: bool) -> Vec<Ended> {
        let concerned = self.open.iter_mut().filter(|(_, open)| open.waiting.contains(&node));
        let ids: Vec<u64> = concerned
            .map(|(id, open)| {
                open.waiting.remove(&node);
                if lost {
                    open.outcome.missing.push(node);
                }
                *id
            })
            .collect();
        ids.into_iter().filter_map(|id| self.end_if_complete(id)).collect()
    }

    fn end_if_complete(&mut self, id: u64) -> Option<Ended> {
        let complete = self.open.get(&id).is_some_and(|open| open.waiting.is_empty());
        complete.then(|| self.open.remove(&id)).flatten().map(Open::end)
    }

    /// The request was not sent: nobody will answer.
    pub(crate) fn fail(&mut self, id: u64) -> Option<Ended> {
        self.open.remove(&id).map(Open::end)
    }

    /// Ends requests whose time is over.
    pub(crate) fn expire(&mut self, now: u64) -> Vec<Ended> {
        // Requests of one kind end in the order in which they began, but surveys have times of their own.
        if holds(Fault::EndlessWait) {
            return Vec::new();
        }
        let over: Vec<u64> =
            self.open.iter().filter(|(_, open)| open.deadline <= now).map(|(id, _)| *id).collect();
        over.into_iter().filter_map(|id| self.fail(id)).collect()
    }

    /// Ends all requests.
    pub(crate) fn close(&mut self) -> Vec<Ended> {
        std::mem::take(&mut self.open).into_values().map(Open::end).collect()
    }

    /// Time at which the next request ends by itself.
    pub(crate) fn next(&self) -> Option<u64> {
        self.open.values().map(|open| open.deadline).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn node(number: u8) -> NodeId {
        NodeId::from_bytes([number; 16])
    }

    fn tell(ended: impl IntoIterator<Item = Ended>) -> usize {
        ended.into_iter().map(Ended::tell).count()
    }

    #[test]
    fn a_request_ends_with_its_last_answer() {
        let mut requests = Requests::default();
        let (id, mut waits) = requests.begin(vec![node(1), node(2)], 100).unwrap();
        assert_eq!(requests.next(), Some(100));
        assert_eq!(tell(requests.answer(id, node(2), Response::Applied)), 0);
        assert_eq!(tell(requests.answer(id, node(2), Response::Expired)), 0, "one answer for each node");
        assert_eq!(tell(requests.answer(id, node(3), Response::Applied)), 0, "not asked");
        assert_eq!(tell(requests.answer(id + 1, node(1), Response::Applied)), 0, "another request");
        assert!(waits.try_recv().is_err());
        assert_eq!(
            tell(requests.answer(id, node(1), Response::Declined(crate::cluster::Declined::Failed))),
            1
        );
        let (applied, expired) = waits.try_recv().unwrap().applied();
        assert!(!expired && applied.missing.is_empty());
        assert_eq!(applied.declined, [(node(1), crate::cluster::Declined::Failed)]);
        assert_eq!(requests.next(), None);
    }

    #[test]
    fn who_did_not_answer_is_named() {
        let mut requests = Requests::default();
        let (id, mut waits) = requests.begin(vec![node(3), node(1), node(2), node(4)], 100).unwrap();
        assert_eq!(tell(requests.answer(id, node(2), Response::Answer(Bytes::from_static(b"a")))), 0);
        assert_eq!(tell(requests.gone(node(3), true)), 0);
        assert_eq!(tell(requests.gone(node(4), false)), 0, "nothing is left to do there");
        assert_eq!(tell(requests.expire(99)), 0);
        assert_eq!(tell(requests.expire(100)), 1);
        let survey = waits.try_recv().unwrap().survey();
        assert!(survey.is_partial());
        assert_eq!(survey.answers, [(node(2), Bytes::from_static(b"a"))]);
        assert_eq!(survey.missing, [node(1), node(3)]);
        assert_eq!(tell(requests.answer(id, node(1), Response::Applied)), 0, "too late");
    }

    #[test]
    fn a_request_to_nobody_is_over_at_once() {
        let (_, mut waits) = Requests::default().begin(Vec::new(), 100).unwrap();
        assert_eq!(waits.try_recv(), Ok(Outcome::default()));
    }

    #[test]
    fn requests_and_answers_are_bounded() {
        let mut requests = Requests::default();
        let all: Vec<_> = (0..MAX_OPEN).map(|_| requests.begin(vec![node(1)], 100).unwrap()).collect();
        assert!(requests.begin(vec![node(1)], 100).is_none());
        assert_eq!(tell(requests.gone(node(1), true)), MAX_OPEN);
        drop(all);
        let (id, mut waits) = requests.begin(vec![node(1), node(2)], 100).unwrap();
        let long = Bytes::from(vec![0; MAX_ANSWERS]);
        assert_eq!(tell(requests.answer(id, node(1), Response::Answer(long))), 0);
        assert_eq!(tell(requests.answer(id, node(2), Response::Answer(Bytes::from_static(b"x")))), 0);
        assert_eq!(tell(requests.close()), 1);
        assert_eq!(waits.try_recv().unwrap().survey().missing, [node(2)]);
    }
}
