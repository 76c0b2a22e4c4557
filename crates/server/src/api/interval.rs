//! The numbers of an interval, for `info`.

use super::describe::{Describe, Schemas};
use super::output::{Object, ToJson, output};
use crate::grpc::proto::api as proto;
use serde_json::{Value, json};
use spinward::NodeInfo;
use std::collections::BTreeMap;
use std::time::Duration;

output! {
    /// Numbers of an interval.
    struct Metrics as "Metrics" {
        /// Seconds that the interval took.
        interval: f64,
        /// By name and labels, as in Centrifugo v6.9: gauges as they are at its end, counters by how much they grew.
        items: Items,
    }
}

impl From<Metrics> for proto::Metrics {
    fn from(Metrics { interval, items: Items(items) }: Metrics) -> Self {
        Self { interval, items }
    }
}

/// Numbers by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Items(BTreeMap<String, f64>);

impl ToJson for Items {
    fn append(&self, out: &mut Vec<u8>) {
        let mut object = Object::new(out);
        self.0.iter().for_each(|(name, value)| object.entry(name, value));
        object.end();
    }
}

impl Describe for Items {
    const LABEL: &'static str = "object";

    fn schema(_: &mut Schemas) -> Value {
        json!({"type": "object", "additionalProperties": {"type": "number"}})
    }
}

/// Aggregates counters by interval. An interval ends when `info` is called after its time: nothing is counted for a
/// node that nobody asks.
#[derive(Debug)]
pub(crate) struct Aggregate {
    interval: Duration,
    began: Duration,
    counters: BTreeMap<String, u64>,
    latest: Option<Metrics>,
}

impl Aggregate {
    /// The first interval begins with the node.
    pub(crate) const fn new(interval: Duration) -> Self {
        Self { interval, began: Duration::ZERO, counters: BTreeMap::new(), latest: None }
    }

    /// Returns the numbers of the last interval that has ended by now.
    pub(crate) fn at(&mut self, info: &NodeInfo) -> Option<Metrics> {
        let took = info.uptime.saturating_sub(self.began);
        if !took.is_zero() && took >= self.interval {
            let counters = counters(info);
            let grown = counters.iter().map(|(name, count)| {
                (name.clone(), count.saturating_sub(self.counters.get(name).copied().unwrap_or(0)))
            });
            let items = grown.chain(gauges(info)).map(|(name, value)| (name, value as f64));
            let items = Items(items.collect());
            self.latest = Some(Metrics { interval: took.as_secs_f64(), items });
            (self.began, self.counters) = (info.uptime, counters);
        }
        self.latest.clone()
    }
}

fn gauges(info: &NodeInfo) -> impl Iterator<Item = (String, u64)> {
    let counters = &info.counters;
    [
        ("clients", counters.clients),
        ("users", counters.users),
        ("subscriptions", counters.subscriptions),
        ("channels", counters.channels),
    ]
    .into_iter()
    .map(|(name, value)| (format!("centrifugo.node.num_{name}"), value))
}

fn counters(info: &NodeInfo) -> BTreeMap<String, u64> {
    let counters = &info.counters;
    let messages = [("publication", counters.published), ("join", counters.joined), ("leave", counters.left)];
    let messages = messages.into_iter().flat_map(|(kind, count)| {
        ["received", "sent"].map(|way| (format!("centrifugo.node.messages_{way}_count.type.{kind}"), count))
    });
    let transport = [
        ("messages_sent", counters.sends),
        ("messages_sent_size", counters.bytes_sent),
        ("messages_received", counters.messages_received),
        ("messages_received_size", counters.bytes_received),
    ];
    let transport = transport
        .into_iter()
        .map(|(name, count)| (format!("centrifugo.transport.{name}.transport.websocket"), count));
    let by_code = [
        ("num_reply_errors", &counters.reply_errors),
        ("num_server_disconnects", &counters.disconnects),
        ("num_server_unsubscribes", &counters.unsubscribes),
    ];
    let by_code = by_code.into_iter().flat_map(|(name, counts)| {
        let counts = counts.iter().filter(|(_, count)| *count > 0);
        counts.map(move |(code, count)| (format!("centrifugo.client.{name}.code.{code}"), *count))
    });
    messages.chain(transport).chain(by_code).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use spinward::Snapshot;

    fn info(seconds: u64, published: u64, clients: u64) -> NodeInfo {
        let counters = Snapshot { published, clients, ..Snapshot::default() };
        NodeInfo { counters, uptime: Duration::from_secs(seconds), shards: 1 }
    }

    #[test]
    fn an_interval_is_told_once_it_has_ended() {
        let mut aggregate = Aggregate::new(Duration::from_secs(60));
        assert!(aggregate.at(&info(59, 5, 1)).is_none());
        let first = aggregate.at(&info(61, 7, 2)).unwrap();
        let item = |metrics: &Metrics, name: &str| metrics.items.0.get(name).copied();
        let published = "centrifugo.node.messages_received_count.type.publication";
        assert_eq!((first.interval, item(&first, published)), (61.0, Some(7.0)));
        assert_eq!(item(&first, "centrifugo.node.num_clients"), Some(2.0));
        assert_eq!(item(&first, "centrifugo.node.messages_received_count.type.join"), Some(0.0));
        assert_eq!(aggregate.at(&info(90, 70, 9)).unwrap().items, first.items, "until the next has ended");
        let second = aggregate.at(&info(121, 17, 0)).unwrap();
        assert_eq!((second.interval, item(&second, published)), (60.0, Some(10.0)));
        assert_eq!(item(&second, "centrifugo.node.num_clients"), Some(0.0));
    }
}
