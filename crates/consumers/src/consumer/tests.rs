use super::*;
use crate::call::Call;
use crate::decode::Message;
use crate::target::{Calling, Outcome};
use crate::worker::{Attempt, Fate};
use bytes::Bytes;
use parking_lot::Mutex;
use std::time::Duration;
use tokio::time::sleep;

/// A queue of payloads that forgets each once it is settled.
#[derive(Default)]
struct Queue {
    payloads: Mutex<Vec<&'static str>>,
    settled: Mutex<Vec<(&'static str, Fate)>>,
    panics: Mutex<u32>,
}

impl Source for Queue {
    fn run(self: Arc<Self>, worker: Worker) -> Running {
        Box::pin(async move {
            while worker.ready().await.is_ok() {
                let next = self.payloads.lock().first().copied();
                let Some(payload) = next else {
                    let _ = worker.pause(Duration::from_millis(10)).await;
                    continue;
                };
                if std::mem::take(&mut *self.panics.lock()) > 0 {
                    panic!("a fault of a source");
                }
                let message = Message {
                    attributes: vec![("centrifugo-method", "publish")],
                    payload: Bytes::from_static(payload.as_bytes()),
                };
                let Ok(fate) = worker.settle(&payload, &message).await else { return };
                self.payloads.lock().remove(0);
                self.settled.lock().push((payload, fate));
            }
        })
    }
}

/// Answers each call by its parameters, and counts attempts.
#[derive(Default)]
struct Answers {
    failures: Mutex<u32>,
    calls: Mutex<Vec<String>>,
    delay: Duration,
}

impl Target for Answers {
    fn call(&self, call: Call) -> Calling<'_> {
        Box::pin(async move {
            sleep(self.delay).await;
            let Call::Api { params, .. } = call else { panic!("a publication") };
            self.calls.lock().push(params.clone());
            let mut failures = self.failures.lock();
            match params.as_str() {
                "refused" => Outcome::Refused("no".into()),
                "failing" if *failures > 0 => {
                    *failures -= 1;
                    Outcome::Failed("later".into())
                }
                _ => Outcome::Done,
            }
        })
    }
}

fn start(queue: &Arc<Queue>, answers: &Arc<Answers>) -> Consumer {
    Consumer::start("test", Arc::clone(queue) as _, Decoder::default(), Arc::clone(answers) as _).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_failure_holds_up_what_follows_and_a_refusal_does_not() {
    let queue = Arc::new(Queue::default());
    *queue.payloads.lock() = vec!["one", "refused", "failing", "two"];
    let answers = Arc::new(Answers { failures: Mutex::new(3), ..Answers::default() });
    let consumer = start(&queue, &answers);
    sleep(Duration::from_secs(20)).await;
    assert_eq!(*answers.calls.lock(), ["one", "refused", "failing", "failing", "failing", "failing", "two"]);
    assert_eq!(
        *queue.settled.lock(),
        [("one", Fate::Done), ("refused", Fate::Skipped), ("failing", Fate::Done), ("two", Fate::Done)]
    );
    let counts = consumer.counts();
    assert_eq!((counts.processed, counts.refused, counts.failed, counts.undecodable), (3, 1, 3, 0));
    consumer.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_paused_consumer_takes_nothing() {
    let (queue, answers) = (Arc::new(Queue::default()), Arc::new(Answers::default()));
    let consumer = start(&queue, &answers);
    consumer.pause(true);
    sleep(Duration::from_secs(1)).await;
    queue.payloads.lock().push("one");
    sleep(Duration::from_secs(10)).await;
    assert!(answers.calls.lock().is_empty());
    consumer.pause(false);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(queue.settled.lock().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn stopping_waits_for_the_call_under_way_and_no_further_one() {
    let queue = Arc::new(Queue::default());
    *queue.payloads.lock() = vec!["one", "two"];
    let answers = Arc::new(Answers { delay: Duration::from_secs(5), ..Answers::default() });
    let consumer = start(&queue, &answers);
    sleep(Duration::from_secs(1)).await;
    consumer.stop().await;
    assert_eq!(*queue.settled.lock(), [("one", Fate::Done)]);
    assert_eq!(*queue.payloads.lock(), ["two"]);
}

#[tokio::test(start_paused = true)]
async fn stopping_ends_attempts_of_a_call_that_fails() {
    let queue = Arc::new(Queue::default());
    *queue.payloads.lock() = vec!["failing"];
    let answers = Arc::new(Answers { failures: Mutex::new(u32::MAX), ..Answers::default() });
    let consumer = start(&queue, &answers);
    sleep(Duration::from_secs(60)).await;
    let attempts = answers.calls.lock().len();
    assert!((20..200).contains(&attempts), "{attempts} attempts in a minute");
    consumer.stop().await;
    assert_eq!(*queue.payloads.lock(), ["failing"]);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_panics_is_run_again() {
    let queue = Arc::new(Queue { panics: Mutex::new(1), ..Queue::default() });
    *queue.payloads.lock() = vec!["one"];
    let answers = Arc::new(Answers::default());
    let consumer = start(&queue, &answers);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(*queue.settled.lock(), [("one", Fate::Done)]);
    assert_eq!(consumer.counts().source_errors, 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_no_call_never_reaches_the_target() {
    struct Once(Mutex<Option<Attempt>>);
    impl Source for Once {
        fn run(self: Arc<Self>, worker: Worker) -> Running {
            Box::pin(async move {
                let message = Message { attributes: Vec::new(), payload: Bytes::from_static(b"\xff") };
                *self.0.lock() = Some(worker.attempt(&"here", &message).await);
                worker.stopped().await;
            })
        }
    }
    let (source, answers) = (Arc::new(Once(Mutex::default())), Arc::new(Answers::default()));
    let target: Arc<dyn Target> = Arc::clone(&answers) as _;
    let consumer = Consumer::start("test", Arc::clone(&source) as _, Decoder::default(), target).unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(*source.0.lock(), Some(Attempt::Settled(Fate::Skipped)));
    assert!(answers.calls.lock().is_empty());
    assert_eq!(consumer.counts().undecodable, 1);
    consumer.stop().await;
}
