//! A back end that is gone for a minute, on simulated time: what reaches it, when it is asked again, and that nobody loses
//! a login by it.

use super::build::endpoint;
use super::endpoint::{Carrier, Endpoint, Fake};
use super::failure::Failure;
use super::request::Event;
use super::*;
use crate::config::duration::Duration as OptionDuration;
use crate::config::typed::Proxy;
use crate::session::{Renewal, Sender};
use parking_lot::Mutex;
use spinward::Client;
use spinward::answer::BoxFuture;
use spinward::clock::Now;
use spinward::hooks::{ConnectEvent, Handshake};
use spinward::id::ClientId;
use spinward::identity::Identity;
use std::time::Duration;

/// Milliseconds.
const STEP: u64 = 10;
const DOWN: u64 = 20_000;
const UP: u64 = DOWN + 60_000;
const END: u64 = 200_000;
const RATE: u32 = 200;
const FAILURES: u32 = 16;
const DELAY: u64 = 1_000;
/// A login lasts so long, and so does one that is refreshed.
const LOGIN: i64 = 30;
const CONNECTIONS: usize = 5_000;

/// Times of requests at the back end, by event.
#[derive(Default)]
struct Received(Mutex<BTreeMap<Event, Vec<u64>>>);

impl Received {
    fn of(&self, event: Event) -> Vec<u64> {
        self.0.lock().get(&event).cloned().unwrap_or_default()
    }
}

fn fake(event: Event, clock: &Clock, received: &Arc<Received>) -> Carrier {
    let (clock, received) = (clock.clone(), Arc::clone(received));
    Carrier::Fake(Fake(Box::new(move |_| -> BoxFuture<Result<String, Failure>> {
        let now = clock.now();
        received.0.lock().entry(event).or_default().push(now.mono);
        let answer = match event {
            _ if (DOWN..UP).contains(&now.mono) => Err(Failure::Connect),
            Event::Connect => {
                Ok(format!(r#"{{"result":{{"user":"u","expire_at":{}}}}}"#, now.unix() + LOGIN))
            }
            Event::Refresh => Ok(format!(r#"{{"result":{{"expire_at":{}}}}}"#, now.unix() + LOGIN)),
            _ => Ok(r#"{"result":{}}"#.to_owned()),
        };
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            answer
        })
    })))
}

fn made(event: Event, rate: u32, clock: &Clock, received: &Arc<Received>) -> Arc<Endpoint> {
    let options = Proxy {
        endpoint: "http://127.0.0.1:1".to_owned(),
        breaker_failures: FAILURES,
        breaker_delay: OptionDuration::millis(DELAY),
        ..Proxy::default()
    };
    let mut endpoint = endpoint(event, "default", &options, rate, clock.clone()).unwrap();
    endpoint.carrier = fake(event, clock, received);
    Arc::new(endpoint)
}

/// The most that came within a second.
fn most_in_a_second(times: &[u64]) -> usize {
    let within = |at: usize| times[at..].iter().take_while(|time| **time < times[at] + 1_000).count();
    (0..times.len()).map(within).max().unwrap_or_default()
}

/// Outcome of a question.
#[derive(Clone, Copy, Debug)]
enum Told {
    Login { until: i64 },
    Refused,
    Refreshed { of: usize, until: i64 },
    Postponed { of: usize },
    Lost { of: usize },
    Subscribed(bool),
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_a_minute_costs_no_login() {
    let clock = Clock::manual(Now { mono: 0, wall: 1_700_000_000_000 });
    let received = Arc::new(Received::default());
    let make =
        |event, rate| (event, BTreeMap::from([("default".to_owned(), made(event, rate, &clock, &received))]));
    let proxies = Arc::new(Configured {
        endpoints: [make(Event::Connect, RATE), make(Event::Refresh, 0), make(Event::Subscribe, 0)].into(),
        methods: Methods::default(),
        headers: Vec::new(),
        emulated: Vec::new(),
        clock: clock.clone(),
    });
    let client = Client::detached(Identity::new(ClientId::from_random([1; 16]), "u"));
    let from = Sender { client: &client, headers: None, emulated: None };
    let (told, mut news) = tokio::sync::mpsc::unbounded_channel();
    // Times at which logins end, in Unix seconds; `None` while the back end is asked.
    let mut logins: Vec<Option<i64>> = Vec::new();
    let (mut refused, mut subscribed, mut postponed) = (0, [0, 0], 0);
    let (mut last_failure, mut most_inside) = (0, 0);
    let mut postponed_at = BTreeMap::new();
    for mono in (0..END).step_by(STEP as usize) {
        // New logins in the beginning, a storm of them as the back end is gone, and again later.
        let storm = mono < 60_000 || mono > 100_000 && mono < 120_000;
        for _ in 0..if storm && logins.len() < CONNECTIONS { 4 } else { 0 } {
            let event = ConnectEvent::new(Handshake::default());
            let (told, asked) = (told.clone(), proxies.connect(&event, None).unwrap());
            tokio::spawn(async move {
                let told = told.send(match asked.wait().await {
                    Reply::Result(Some(result)) => Told::Login { until: result.expire_at },
                    _ => Told::Refused,
                });
                told.unwrap();
            });
        }
        let now = clock.now().unix();
        for (of, login) in logins.iter_mut().enumerate() {
            if login.is_some_and(|until| until <= now) && mono < END - 1_000 {
                *login = None;
                let (told, asked) = (told.clone(), proxies.refresh(&from));
                tokio::spawn(async move {
                    let told = told.send(match asked.wait().await {
                        Renewal::Granted(result) => Told::Refreshed { of, until: result.expire_at },
                        Renewal::Postponed => Told::Postponed { of },
                        _ => Told::Lost { of },
                    });
                    told.unwrap();
                });
            }
        }
        let request = Request::of(&from, false, false).channel("c");
        let asked =
            ask::<messages::SubscribeResult>(&proxies.endpoints[&Event::Subscribe]["default"], &request);
        let told = told.clone();
        tokio::spawn(async move {
            told.send(Told::Subscribed(matches!(asked.wait().await, Reply::Result(_)))).unwrap();
        });
        tokio::time::advance(Duration::from_millis(STEP)).await;
        clock.advance(STEP);
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
        while let Ok(told) = news.try_recv() {
            match told {
                Told::Login { until } => logins.push(Some(until)),
                Told::Refused => refused += 1,
                Told::Refreshed { of, until } => logins[of] = Some(until),
                Told::Postponed { of } => {
                    postponed += 1;
                    let again = clock.now().unix() + 60;
                    postponed_at.insert(of, again);
                    logins[of] = Some(again);
                }
                Told::Lost { of } => panic!("login {of} is lost at {mono}"),
                Told::Subscribed(ok) => {
                    subscribed[usize::from(ok)] += 1;
                    if !ok {
                        last_failure = mono;
                    }
                }
            }
        }
        let reports = proxies.reports();
        let inside = reports.iter().map(|report| report.waiting as u64 + report.counts.in_flight);
        most_inside = most_inside.max(inside.sum::<u64>());
    }
    let connects = received.of(Event::Connect);
    assert!(most_in_a_second(&connects) <= RATE as usize, "{} in a second", most_in_a_second(&connects));
    let down =
        |event| received.of(event).iter().filter(|at| (DOWN..UP).contains(*at)).copied().collect::<Vec<_>>();
    for event in [Event::Connect, Event::Refresh, Event::Subscribe] {
        let asked = down(event);
        // Failures until the breaker opens, with what is under way then (logins of a second end together), and one probe
        // after 1, 2, 4, 8, 16, 16 s.
        let under_way = if event == Event::Refresh { RATE as usize + 8 } else { 8 };
        assert!(
            asked.len() <= FAILURES as usize + under_way + 8,
            "{event:?}: {} requests while it is gone",
            asked.len()
        );
        let probes: Vec<u64> =
            asked.windows(2).map(|pair| pair[1] - pair[0]).filter(|gap| *gap >= DELAY).collect();
        // Logins end with a second: it takes until then for something to be asked.
        let late = if event == Event::Refresh { 1_100 } else { 200 };
        for (gap, expected) in probes.iter().zip([1, 2, 4, 8, 16, 16]) {
            assert!((expected * DELAY..expected * DELAY + late).contains(gap), "{event:?}: {probes:?}");
        }
    }
    // It is found within the longest delay of the breaker.
    assert!(last_failure <= UP + 16 * DELAY + 100, "a subscribe failed at {last_failure}");
    assert!(postponed > 1_000 && refused > 100 && subscribed[0] > 1_000, "the outage was felt");
    assert!(most_inside < 2 * u64::from(RATE) + 200, "{most_inside} requests at once");
    assert!(subscribed[1] > 5_000);
    // Whoever was postponed was asked about again, 60 s later and not before, and stays.
    let now = clock.now().unix();
    assert!(postponed_at.values().any(|again| *again < now));
    assert!(logins.iter().flatten().all(|until| *until >= now - 2), "every login is there");
    assert_eq!(logins.iter().filter(|login| login.is_none()).count(), 0, "and nothing is left open");
}
