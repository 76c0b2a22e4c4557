//! Subscribes of one message in one request: `batch` of a proxy, an addition of Spinward's.
//!
//! The request has a list `batch` in place of `channel` and `data`; the result of the answer has one of as many answers.

use super::endpoint::Endpoint;
use super::messages::{Answered, SubscribeBatch, SubscribeResult as Told};
use super::request::{Item, Request};
use super::{Failure, or_default, reply};
use crate::policy::{Reply, SubscribeResult};
use crate::session::Sender;
use futures_util::FutureExt;
use spinward::answer::Answer;
use spinward::hooks::SubscribeEvent;
use spinward::wire::code::ErrorCode;
use std::sync::Arc;

type Replies = Vec<Answer<Reply<SubscribeResult>>>;

const FAILED: Reply<SubscribeResult> = Reply::Error(ErrorCode::INTERNAL);

/// Asks about these subscribes at once.
pub(super) fn ask(endpoint: &Arc<Endpoint>, from: &Sender<'_>, events: &[&SubscribeEvent]) -> Replies {
    let count = events.len();
    let request = Request::of(from, endpoint.binary, endpoint.with_meta);
    let items = events.iter().map(|event| Item::new(&event.channel, &event.data, endpoint.binary));
    let request = Request { batch: items.collect(), ..request };
    let Ok(answered) = endpoint.ask::<SubscribeBatch>(&request) else {
        return (0..count).map(|_| Answer::Now(FAILED)).collect();
    };
    let endpoint = Arc::clone(endpoint);
    // Whichever of them is polled drives the one call.
    let replies = async move {
        // A failed call is counted already.
        let Ok(answered) = answered.await else { return Arc::from(vec![FAILED; count]) };
        let replies = replies(answered, count, |failure| endpoint.note(failure));
        Arc::<[_]>::from(replies)
    };
    let replies = replies.boxed().shared();
    let nth = |at: usize| {
        let replies = replies.clone();
        Answer::later(async move { replies.await.get(at).cloned().unwrap_or(FAILED) })
    };
    (0..count).map(nth).collect()
}

/// The replies of an answer, as many as were asked for. What is wrong with one says nothing about the others.
fn replies(
    answered: Answered<SubscribeBatch>,
    count: usize,
    note: impl Fn(Failure),
) -> Vec<Reply<SubscribeResult>> {
    let Answered { result, error, disconnect } = answered;
    let read = |answered: Answered<Told>| {
        reply::reply(answered).map(or_default).unwrap_or_else(|failure| {
            note(failure);
            FAILED
        })
    };
    if error.is_some() || disconnect.is_some() {
        return vec![read(Answered { result: None, error, disconnect }); count];
    }
    match result {
        Some(result) if result.batch.len() == count => {
            result.batch.into_iter().map(|one| read(one.into())).collect()
        }
        _ => {
            note(Failure::Malformed);
            vec![FAILED; count]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::json;
    use super::*;
    use std::cell::Cell;

    fn read(text: &str) -> (Vec<u32>, u32) {
        let noted = Cell::new(0);
        let replies = replies(json::read(text).unwrap(), 2, |_| noted.set(noted.get() + 1));
        let codes = replies.iter().map(|reply| match reply {
            Reply::Result(_) => 0,
            Reply::Error(error) => error.code,
            Reply::Disconnect(end) => end.code,
            Reply::NoProxy => unreachable!(),
        });
        (codes.collect(), noted.get())
    }

    #[test]
    fn each_subscribe_has_its_answer() {
        let none = r#"{"error":{"code":403,"message":"no"}}"#;
        assert_eq!(
            read(&format!(r#"{{"result":{{"batch":[{{"result":{{}}}},{none}]}}}}"#)),
            (vec![0, 403], 0)
        );
        assert_eq!(read(r#"{"result":{"batch":[null,{"disconnect":{"code":4001}}]}}"#), (vec![0, 4001], 0));
        assert_eq!(read(r#"{"result":{"batch":[{"disconnect":{"code":70000}},{}]}}"#), (vec![100, 0], 1));
        assert_eq!(read(none), (vec![403, 403], 0), "the same for all");
        assert_eq!(read(r#"{"disconnect":{"code":4500}}"#), (vec![4500, 4500], 0));
    }

    #[test]
    fn an_answer_to_another_number_of_them_is_malformed() {
        for text in
            ["{}", r#"{"result":{}}"#, r#"{"result":{"batch":[{}]}}"#, r#"{"result":{"batch":[{},{},{}]}}"#]
        {
            assert_eq!(read(text), (vec![100, 100], 1), "{text}");
        }
        for text in [r#"{"result":{"batch":{}}}"#, r#"{"result":{"batch":[5,{}]}}"#] {
            assert!(json::read::<SubscribeBatch>(text).is_err(), "{text}");
        }
    }
}
