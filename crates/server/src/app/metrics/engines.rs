//! Metrics of engines.

use super::{Page, families};
use crate::app::engines::Watched;
use std::time::Duration;

/// Counters of engines, each by its part (`broker`, `presence`, `controller`), name and type.
pub(super) fn engines(page: &mut Page, engines: &[Watched]) {
    if engines.is_empty() {
        return;
    }
    page.head(&families::ENGINE_EVENTS);
    for engine in engines {
        let labels = |event| {
            [("part", engine.part), ("name", &*engine.name), ("type", &*engine.kind), ("event", event)]
        };
        for (event, count) in (engine.counts)().events {
            page.row(&families::ENGINE_EVENTS, &labels(event), count);
        }
    }
    page.head(&families::ENGINE_AGE);
    for engine in engines {
        let labels =
            |of| [("part", engine.part), ("name", &*engine.name), ("type", &*engine.kind), ("of", of)];
        for (of, age) in (engine.counts)().ages {
            page.seconds(&families::ENGINE_AGE, &labels(of), age);
        }
    }
    page.head(&families::ENGINE_LAG);
    for engine in engines {
        if let Some(lag) = engine.probe.as_ref().and_then(|probe| probe.lag()) {
            let labels = [("part", engine.part), ("name", &*engine.name), ("type", &*engine.kind)];
            page.seconds(&families::ENGINE_LAG, &labels, lag);
        }
    }
    of_redis(page, engines);
    of_postgres(page, engines);
}

/// The brokers of a type.
fn brokers<'a>(engines: &'a [Watched], kind: &'static str) -> impl Iterator<Item = &'a Watched> + Clone {
    engines.iter().filter(move |engine| engine.part == "broker" && engine.kind == kind)
}

/// The same events under the names of Centrifugo.
fn of_redis(page: &mut Page, engines: &[Watched]) {
    const ERRORS: [(&str, &str); 2] = [("gaps", "connection"), ("malformed", "malformed")];
    let brokers = brokers(engines, "redis");
    if brokers.clone().next().is_none() {
        return;
    }
    let count = |broker: &Watched, event| {
        let events = (broker.counts)().events;
        events.iter().find(|(name, _)| *name == event).map_or(0, |(_, count)| *count)
    };
    page.head(&families::REDIS_PUB_SUB_ERRORS);
    for broker in brokers.clone() {
        for (event, error) in ERRORS {
            let labels = [("broker_name", &*broker.name), ("error", error)];
            page.row(&families::REDIS_PUB_SUB_ERRORS, &labels, count(broker, event));
        }
    }
    page.head(&families::REDIS_PUB_SUB_DROPPED);
    for broker in brokers {
        let labels = [("broker_name", &*broker.name), ("channel_type", "client")];
        page.row(&families::REDIS_PUB_SUB_DROPPED, &labels, count(broker, "dropped"));
    }
}

fn of_postgres(page: &mut Page, engines: &[Watched]) {
    let mut brokers = brokers(engines, "postgres").peekable();
    if brokers.peek().is_none() {
        return;
    }
    page.head(&families::POSTGRES_CURSOR_LAG);
    for broker in brokers {
        let ages = (broker.counts)().ages;
        let lag = ages.iter().find(|(of, _)| *of == "delivered").map_or(Duration::ZERO, |(_, age)| *age);
        // One log holds every channel.
        let labels = [("broker_name", &*broker.name), ("shard", "0")];
        page.seconds(&families::POSTGRES_CURSOR_LAG, &labels, lag);
    }
}
