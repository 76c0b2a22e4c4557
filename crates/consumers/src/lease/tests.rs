use super::*;
use crate::call::Call;
use crate::consumer::{Consumer, Source};
use crate::decode::Decoder;
use crate::target::{Calling, Outcome, Target};
use parking_lot::Mutex;
use tokio::time::sleep;

/// Time of a lease.
const LEASE: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
struct Message0 {
    id: String,
    group: &'static str,
    text: &'static str,
}

impl Lease for Message0 {
    fn id(&self) -> &str {
        &self.id
    }

    fn group(&self) -> &str {
        self.group
    }

    fn sent(&self) -> Option<i64> {
        None
    }

    fn message(&self) -> Result<Message<'_>, Cow<'static, str>> {
        if self.text == "unreadable" {
            return Err("unreadable".into());
        }
        let attributes = vec![("centrifugo-method", "publish")];
        Ok(Message { attributes, payload: self.text.as_bytes().into() })
    }
}

/// A queue with leases that end, which delivers no message behind a leased one of its group.
#[derive(Default)]
struct Queue {
    all: Mutex<Vec<(Message0, Option<Instant>)>>,
    /// Requests in their order.
    log: Mutex<Vec<String>>,
    failures: Mutex<u32>,
}

impl Queue {
    fn new(messages: &[(&'static str, &'static str)]) -> Arc<Self> {
        let number = |(at, (group, text)): (usize, &(&'static str, &'static str))| {
            (Message0 { id: at.to_string(), group, text }, None)
        };
        Arc::new(Self {
            all: Mutex::new(messages.iter().enumerate().map(number).collect()),
            ..Self::default()
        })
    }

    fn left(&self) -> Vec<&'static str> {
        self.all.lock().iter().map(|(message, _)| message.text).collect()
    }

    fn lease(&self, leases: &[&Message0], until: Instant) {
        for (message, leased) in &mut *self.all.lock() {
            if leases.iter().any(|lease| lease.id == message.id) {
                *leased = Some(until);
            }
        }
    }

    fn logged(&self, what: &str, leases: &[&Message0]) {
        let texts: Vec<_> = leases.iter().map(|lease| lease.text).collect();
        self.log.lock().push(format!("{what} {}", texts.join(" ")));
    }

    fn count(&self, what: &str) -> usize {
        self.log.lock().iter().filter(|line| line.starts_with(what)).count()
    }
}

impl Leasing for Queue {
    type Lease = Message0;
    type Error = &'static str;

    fn name(&self) -> &'static str {
        "queue"
    }

    fn most(&self) -> usize {
        4
    }

    fn batch(&self) -> usize {
        2
    }

    fn keep(&self) -> Duration {
        LEASE / 3
    }

    async fn take(&self, room: usize, wait: Duration) -> Result<Vec<Message0>, &'static str> {
        let now = Instant::now();
        let mut taken = Vec::new();
        let mut busy: HashSet<&str> = HashSet::new();
        for (message, leased) in &mut *self.all.lock() {
            if leased.is_some_and(|until| until > now) || busy.contains(message.group) {
                busy.insert(message.group);
            } else if taken.len() < room {
                *leased = Some(now + LEASE);
                taken.push(message.clone());
            }
            busy.remove("");
        }
        if taken.is_empty() {
            sleep(wait.min(Duration::from_secs(20))).await;
        }
        Ok(taken)
    }

    async fn forget(&self, leases: &[&Message0]) -> Result<(), &'static str> {
        let mut failures = self.failures.lock();
        if *failures > 0 {
            *failures -= 1;
            return Err("cannot forget");
        }
        self.logged("forget", leases);
        self.all.lock().retain(|(message, _)| leases.iter().all(|lease| lease.id != message.id));
        Ok(())
    }

    async fn prolong(&self, leases: &[&Message0]) -> Result<(), &'static str> {
        self.logged("prolong", leases);
        self.lease(leases, Instant::now() + LEASE);
        Ok(())
    }

    async fn give_back(&self, leases: &[&Message0]) -> Result<(), &'static str> {
        self.logged("give back", leases);
        self.lease(leases, Instant::now());
        Ok(())
    }
}

struct Of(Arc<Queue>);

impl Source for Of {
    fn run(self: Arc<Self>, worker: Worker) -> Running {
        run(vec![Arc::clone(&self.0)], 1, worker)
    }
}

#[derive(Default)]
struct Answers {
    calls: Mutex<Vec<String>>,
    failing: Mutex<bool>,
    delay: Duration,
}

impl Target for Answers {
    fn call(&self, call: Call) -> Calling<'_> {
        Box::pin(async move {
            sleep(self.delay).await;
            let Call::Api { params, .. } = call else { panic!("a publication") };
            if params == "failing" && *self.failing.lock() {
                return Outcome::Failed("later".into());
            }
            self.calls.lock().push(params);
            Outcome::Done
        })
    }
}

fn start(queue: &Arc<Queue>, answers: &Arc<Answers>) -> Consumer {
    let source = Arc::new(Of(Arc::clone(queue)));
    Consumer::start("test", source, Decoder::default(), Arc::clone(answers) as _).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_failure_holds_up_its_group_alone() {
    let queue = Queue::new(&[
        ("a", "a1"),
        ("a", "failing"),
        ("a", "a3"),
        ("b", "b1"),
        ("", "free"),
        ("b", "unreadable"),
        ("b", "b3"),
    ]);
    let answers = Arc::new(Answers { failing: Mutex::new(true), ..Answers::default() });
    let consumer = start(&queue, &answers);
    // Longer than leases that nobody prolongs.
    sleep(LEASE * 4).await;
    assert_eq!(*answers.calls.lock(), ["a1", "b1", "free", "b3"]);
    assert_eq!(queue.left(), ["failing", "a3"]);
    let prolonged = queue.count("prolong");
    assert!((8..=16).contains(&prolonged), "{prolonged} in four times the lease");
    *answers.failing.lock() = false;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(*answers.calls.lock(), ["a1", "b1", "free", "b3", "failing", "a3"]);
    assert!(queue.left().is_empty());
    let counts = consumer.counts();
    assert_eq!((counts.processed, counts.undecodable, counts.source_errors), (6, 1, 0));
    assert!(counts.failed < 200, "{} attempts in two minutes", counts.failed);
    consumer.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_long_call_keeps_its_lease() {
    let queue = Queue::new(&[("a", "a1"), ("a", "a2")]);
    let answers = Arc::new(Answers { delay: LEASE * 2, ..Answers::default() });
    let consumer = start(&queue, &answers);
    sleep(LEASE * 5).await;
    assert_eq!(*answers.calls.lock(), ["a1", "a2"]);
    assert!(queue.left().is_empty());
    consumer.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_begun_is_given_back_at_the_end_the_last_first() {
    let queue = Queue::new(&[("a", "a1"), ("a", "a2"), ("a", "a3")]);
    let answers = Arc::new(Answers { delay: Duration::from_secs(5), ..Answers::default() });
    let consumer = start(&queue, &answers);
    sleep(Duration::from_secs(1)).await;
    consumer.stop().await;
    assert_eq!(*answers.calls.lock(), ["a1"]);
    assert_eq!(*queue.log.lock(), ["forget a1", "give back a3 a2"]);
}

#[tokio::test(start_paused = true)]
async fn a_paused_consumer_takes_nothing_and_ends_what_it_has() {
    let queue = Queue::new(&[("a", "failing")]);
    let answers = Arc::new(Answers { failing: Mutex::new(true), ..Answers::default() });
    let consumer = start(&queue, &answers);
    sleep(Duration::from_secs(5)).await;
    consumer.pause(true);
    queue.all.lock().push((Message0 { id: "x".to_owned(), group: "b", text: "b1" }, None));
    *answers.failing.lock() = false;
    sleep(LEASE).await;
    assert_eq!(*answers.calls.lock(), ["failing"]);
    assert_eq!(queue.left(), ["b1"]);
    consumer.pause(false);
    sleep(Duration::from_secs(1)).await;
    assert!(queue.left().is_empty());
    consumer.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_forgotten_is_carried_out_again() {
    let queue = Queue::new(&[("a", "a1"), ("a", "a2"), ("a", "a3")]);
    *queue.failures.lock() = 1;
    let answers = Arc::new(Answers::default());
    let consumer = start(&queue, &answers);
    sleep(LEASE * 2).await;
    let calls = answers.calls.lock().clone();
    assert_eq!(calls, ["a1", "a2", "a1", "a2", "a3"]);
    assert!(queue.left().is_empty());
    assert_eq!(consumer.counts().source_errors, 1);
    consumer.stop().await;
}
