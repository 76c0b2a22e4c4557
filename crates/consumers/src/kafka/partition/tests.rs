use super::*;
use crate::call::Call;
use crate::counters::Counters;
use crate::decode::Decoder;
use crate::target::{Calling, Outcome, Target};
use tokio::time::sleep;

/// Carries out calls after a while, and refuses to for now those whose parameters it was told.
struct Answers {
    failing: Mutex<Option<&'static str>>,
    calls: Mutex<Vec<String>>,
}

impl Target for Answers {
    fn call(&self, call: Call) -> Calling<'_> {
        Box::pin(async move {
            let Call::Api { params, .. } = call else { panic!("a publication") };
            sleep(Duration::from_millis(10)).await;
            if self.failing.lock().is_some_and(|failing| failing == params) {
                return Outcome::Failed("later".into());
            }
            self.calls.lock().push(params);
            Outcome::Done
        })
    }
}

struct Setting {
    answers: Arc<Answers>,
    worker: Worker,
    counters: Arc<Counters>,
    stop: watch::Sender<bool>,
    _paused: watch::Sender<bool>,
}

fn setting() -> Setting {
    let answers = Arc::new(Answers { failing: Mutex::default(), calls: Mutex::default() });
    let counters = Arc::<Counters>::default();
    let (stop, stopped) = watch::channel(false);
    let (_paused, waits) = watch::channel(false);
    let (decoder, target) = (Decoder::default(), Arc::clone(&answers));
    let worker = Worker::new("test", decoder, target, Arc::clone(&counters), stopped, waits);
    Setting { answers, worker, counters, stop, _paused }
}

impl Setting {
    fn partition(&self, number: i32) -> Partition {
        self.bounded(number, &Bounds { size: 10, batch: 5, room: Arc::default() })
    }

    fn bounded(&self, number: i32, bounds: &Bounds) -> Partition {
        let place = Place { topic: "t".into(), partition: number };
        let lag = u64::from(number.unsigned_abs());
        Partition::start(self.worker.clone(), place, lag, bounds)
    }
}

fn record(offset: i64, payload: &'static str) -> Record {
    Record {
        offset,
        epoch: Some(3),
        time: 0,
        headers: vec![("centrifugo-method".to_owned(), Some("publish".into()))],
        payload: payload.into(),
    }
}

#[test]
fn headers_that_are_no_text_do_not_count() {
    let mut record = record(0, "data");
    record.headers.insert(0, ("a".to_owned(), None));
    record.headers.push(("b".to_owned(), Some(Bytes::from_static(b"\xff"))));
    record.headers.push(("c".to_owned(), Some(Bytes::new())));
    let message = message(&record);
    assert_eq!(message.attributes, [("centrifugo-method", "publish"), ("c", "")]);
    assert_eq!(message.payload, "data");
}

#[tokio::test(start_paused = true)]
async fn a_failure_holds_up_its_partition_alone() {
    let setting = setting();
    *setting.answers.failing.lock() = Some("a0");
    let [one, two] = [0, 1].map(|number| setting.partition(number));
    for (offset, payload) in [(0, "a0"), (1, "a1")] {
        assert!(one.add(record(offset, payload)));
    }
    for (offset, payload) in [(5, "b0"), (7, "b1")] {
        assert!(two.add(record(offset, payload)));
    }
    sleep(Duration::from_secs(10)).await;
    assert_eq!(*setting.answers.calls.lock(), ["b0", "b1"]);
    assert_eq!(one.moved(), None);
    assert_eq!(two.moved(), Some(Position { next: 8, epoch: Some(3) }));
    assert!(setting.counters.counts().lag > Duration::ZERO, "what waits for a failure to pass lags");
    *setting.answers.failing.lock() = None;
    sleep(Duration::from_secs(10)).await;
    assert_eq!(*setting.answers.calls.lock(), ["b0", "b1", "a0", "a1"]);
    assert_eq!(one.moved(), Some(Position { next: 2, epoch: Some(3) }));
    assert_eq!(setting.counters.counts().lag, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_ends_finishes_its_call_and_leaves_the_rest() {
    let setting = setting();
    let partition = setting.partition(0);
    for (offset, payload) in [(0, "0"), (1, "1"), (2, "2")] {
        assert!(partition.add(record(offset, payload)));
    }
    sleep(Duration::from_millis(15)).await;
    let position = partition.finish().await.unwrap();
    assert_eq!(*setting.answers.calls.lock(), ["0", "1"], "the second had begun");
    assert_eq!(position, Some(Position { next: 2, epoch: Some(3) }));
}

/// Otherwise a partition that fails could not be given to another node, nor the server be stopped.
#[tokio::test(start_paused = true)]
async fn a_record_that_fails_is_given_up_when_the_work_ends() {
    let setting = setting();
    *setting.answers.failing.lock() = Some("0");
    let [revoked, stopped] = [0, 1].map(|number| setting.partition(number));
    for partition in [&revoked, &stopped] {
        assert!(partition.add(record(0, "0")));
    }
    sleep(Duration::from_secs(5)).await;
    assert_eq!(revoked.finish().await.unwrap(), None);
    setting.stop.send_replace(true);
    sleep(Duration::from_millis(20)).await;
    assert!(stopped.is_over());
}

#[tokio::test(start_paused = true)]
async fn a_queue_is_bounded_and_tells_when_it_may_be_filled_again() {
    let setting = setting();
    for (size, batch, room) in [(4, 1, 2), (4, 3, 3), (4, 4, 4), (1, 1, 1)] {
        let bounds = Bounds { size, batch, room: Arc::default() };
        assert_eq!(bounds.resumed(), room);
        let partition = setting.bounded(0, &bounds);
        for offset in 0..size {
            assert!(partition.add(record(i64::try_from(offset).unwrap(), "x")));
        }
        assert_eq!(partition.room(), 0);
        assert!(!partition.add(record(9, "x")));
        bounds.room.notified().await;
        assert_eq!(partition.room(), room);
    }
}

#[tokio::test(start_paused = true)]
async fn a_position_is_committed_once() {
    let setting = setting();
    let mut partition = setting.partition(0);
    assert!(partition.add(record(6, "x")));
    sleep(Duration::from_millis(20)).await;
    let position = partition.moved().unwrap();
    partition.on_committed(position);
    assert_eq!(partition.moved(), None);
    assert!(partition.add(record(7, "x")));
    sleep(Duration::from_millis(20)).await;
    assert_eq!(partition.moved(), Some(Position { next: 8, epoch: Some(3) }));
}
