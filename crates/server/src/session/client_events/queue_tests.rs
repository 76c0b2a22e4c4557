//! The queue of client events, beside a list of what happened.

use super::*;
use proptest::prelude::*;

fn event(kind: Kind, time_ms: i64) -> ClientEvent {
    ClientEvent {
        seq: 0,
        time_ms,
        kind,
        client: ClientId::from_random([0; 16]),
        user: "ann".into(),
        channel: None,
        end: None,
        login: None,
    }
}

fn queue(max_waiting: usize, max_events: usize) -> Queue {
    Queue::new(Limits { max_waiting, max_events })
}

fn numbers(events: &[ClientEvent]) -> Vec<u64> {
    events.iter().map(|event| event.seq).collect()
}

#[test]
fn a_request_is_repeated_as_it_was() {
    let mut queue = queue(10, 2);
    assert_eq!((queue.take(0), queue.next()), (None, None));
    for time in 0..3 {
        assert!(queue.push(event(Kind::Subscribed, time)));
    }
    assert_eq!(numbers(&queue.take(0).unwrap()), [1, 2]);
    assert_eq!((queue.take(0), queue.next()), (None, None), "one is under way");
    queue.finished(false, 1_000, 0);
    assert_eq!((queue.take(1_049), queue.next()), (None, Some(1_050)));
    queue.push(event(Kind::Unsubscribed, 3));
    assert_eq!(numbers(&queue.take(1_050).unwrap()), [1, 2]);
    queue.finished(true, 1_051, 0);
    assert_eq!(numbers(&queue.take(1_051).unwrap()), [3, 4]);
    queue.finished(true, 1_052, 0);
    assert_eq!(queue.counts(), Counts { confirmed: [0, 0, 3, 1], dropped: 0, waiting: 0 });
    assert!(!queue.is_busy());
}

#[test]
fn a_dropped_event_leaves_a_gap() {
    let mut queue = queue(2, 10);
    let kept: Vec<bool> = (0..3).map(|time| queue.push(event(Kind::Connected, time))).collect();
    assert_eq!(kept, [true, true, false]);
    assert_eq!(numbers(&queue.take(0).unwrap()), [1, 2]);
    queue.finished(true, 0, 0);
    queue.push(event(Kind::Connected, 3));
    assert_eq!(numbers(&queue.take(0).unwrap()), [4]);
    assert_eq!(queue.counts().dropped, 1);
}

#[test]
fn what_nobody_asks_about_is_forgotten() {
    let mut queue = queue(10, 1);
    queue.push(event(Kind::Connected, 0));
    queue.push(event(Kind::Connected, 0));
    assert!(queue.take(0).is_some());
    queue.clear();
    queue.push(event(Kind::Disconnected, 0));
    // The end of the request of before confirms nothing of after.
    queue.finished(true, 0, 0);
    assert_eq!(numbers(&queue.take(0).unwrap()), [3]);
    assert_eq!(queue.counts().confirmed, [0; 4]);
}

#[derive(Clone, Debug)]
enum Step {
    Push(usize),
    Take,
    Finish(bool),
    Wait(u64),
}

proptest! {
    #[test]
    fn events_arrive_in_order_at_least_once_or_leave_a_gap(
        steps in prop::collection::vec(
            prop_oneof![
                (0..4usize).prop_map(Step::Push),
                Just(Step::Take),
                any::<bool>().prop_map(Step::Finish),
                (0..30_000u64).prop_map(Step::Wait),
            ],
            0..200,
        ),
        (max_waiting, max_events) in (1..8usize, 1..5usize),
    ) {
        let mut queue = queue(max_waiting, max_events);
        let (mut now, mut pushed, mut kept, mut confirmed) = (0, 0, Vec::new(), Vec::new());
        let mut under_way: Option<Vec<u64>> = None;
        for step in steps.into_iter().chain((0..20).flat_map(|_| [Step::Wait(20_000), Step::Take, Step::Finish(true)])) {
            match step {
                Step::Push(kind) => {
                    pushed += 1;
                    if queue.push(event(Kind::ALL[kind], 0)) {
                        kept.push(pushed);
                    }
                    prop_assert!(queue.counts().waiting <= max_waiting);
                }
                Step::Take => {
                    let taken = queue.take(now);
                    prop_assert!(taken.is_none() || under_way.is_none(), "two requests at once");
                    if let Some(events) = taken {
                        prop_assert!(!events.is_empty() && events.len() <= max_events);
                        under_way = Some(numbers(&events));
                    }
                }
                Step::Finish(ok) => {
                    if let Some(numbers) = under_way.take() {
                        queue.finished(ok, now, 7);
                        if ok {
                            confirmed.extend(numbers);
                        }
                    }
                }
                Step::Wait(time) => now += time,
            }
        }
        prop_assert_eq!(confirmed, kept);
        prop_assert!(!queue.is_busy());
        prop_assert_eq!(queue.counts().dropped + queue.counts().confirmed.iter().sum::<u64>(), pushed);
    }
}
