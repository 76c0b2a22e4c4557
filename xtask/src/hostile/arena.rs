//! One server under attack: its witnesses, its other clients, and what is measured.

use super::Target;
use super::watch::Watch;
use crate::bench::process::{self, Agent};
use crate::bench::rig::number;
use crate::bench::server::{Launch, Server, merge};
use crate::shell::{self, Failure};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

const CONFIG: &str = include_str!("config.json");
pub(super) const SECRET: &str = "hostile-secret-of-thirty-two-bytes";
pub(super) const KEY: &str = "hostile-key";
/// `client.queue_max_size` of that configuration.
pub(super) const QUEUE: f64 = 1_048_576.0;

/// Witnesses: so many over WebSocket, and the others over SSE.
const WITNESSES: usize = 6;
const OVER_WEBSOCKET: usize = 4;
const ATTACKER: u8 = 19;

/// Memory that a server may use for other than its connections: allocator, threads, caches.
const SLACK: f64 = 12e6;

/// Time beyond `shutdown.timeout` that a process may take to end.
const ENDING: Duration = Duration::from_secs(2);

/// Most resident memory beyond that before the attack.
#[derive(Clone, Copy)]
pub(super) struct Bound {
    bytes: f64,
    /// Memory that the server may use beside.
    slack: f64,
    /// Memory must be back at its former level 10 s later.
    back: bool,
}

impl Bound {
    /// Twice the queue and one reply for each hostile connection.
    pub(super) fn queues(connections: usize, reply: f64) -> Self {
        Self::each(connections, 2.0 * QUEUE + reply)
    }

    /// So many bytes for each hostile connection.
    pub(super) fn each(connections: usize, bytes: f64) -> Self {
        Self { bytes: connections as f64 * bytes, slack: SLACK, back: false }
    }

    /// So many bytes, whatever they are used for.
    pub(super) fn in_all(bytes: f64) -> Self {
        Self { bytes, slack: 0.0, back: false }
    }

    /// Adds so many bytes.
    pub(super) fn and(self, bytes: f64) -> Self {
        Self { bytes: self.bytes + bytes, ..self }
    }

    /// The same, and nothing of it may be left 10 s later.
    pub(super) fn and_back(self) -> Self {
        Self { back: true, ..self }
    }
}

/// Latency that the witnesses measured, in milliseconds.
#[derive(Clone, Copy, Default)]
pub(super) struct Latency {
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) max: f64,
}

/// Result of a row.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) before: f64,
    pub(super) peak: f64,
    pub(super) later: Option<f64>,
    pub(super) allowed: Option<f64>,
    pub(super) quiet: Latency,
    pub(super) attacked: Latency,
    pub(super) lost: f64,
    pub(super) doubled: f64,
    pub(super) attackers: Vec<String>,
    /// From SIGTERM to the end of the process.
    pub(super) ending: Option<Duration>,
    /// Reasons why the row does not hold.
    pub(super) faults: Vec<String>,
    pub(super) notes: Vec<String>,
}

/// A server with its clients.
pub(super) struct Arena {
    pub(super) server: Server,
    pub(super) short: bool,
    witnesses: Agent,
    bystanders: Vec<Agent>,
    watch: Watch,
    /// Steady streams so far.
    series: u32,
    timeout: Duration,
    quiet_for: f64,
}

/// The configuration of a row, written to a file.
pub(super) fn configure(target: &Target, changes: &Value) -> Result<PathBuf, Failure> {
    let mut config: Value = serde_json::from_str(CONFIG)?;
    if target.short {
        config["shutdown"]["timeout"] = json!("1s");
    }
    merge(&mut config, changes);
    let path = shell::target().join(format!("hostile-{}.json", target.name));
    std::fs::write(&path, serde_json::to_string_pretty(&config)?)?;
    Ok(path)
}

impl Arena {
    /// A server with what `changes` sets beyond the usual configuration.
    pub(super) fn new(target: &Target, changes: &Value) -> Result<Self, Failure> {
        Self::launch(target, changes, Launch::default())
    }

    /// The same, started as `launch` says.
    pub(super) fn launch(target: &Target, changes: &Value, launch: Launch<'_>) -> Result<Self, Failure> {
        let config = configure(target, changes)?;
        let name = format!("hostile-{}", target.name);
        let internal = changes.pointer("/http_server/tls/enabled").is_some_and(|on| on == true);
        let tls = if internal { "full" } else { "" };
        let launch = Launch { name: &name, binary: &target.binary, config: &config, internal, ..launch };
        let server = Server::launch(&launch)?;
        let watch = Watch::over(server.pid);
        let mut witnesses = Agent::start("clients")?;
        // A second set is added to the first.
        for (count, transport) in [(OVER_WEBSOCKET, "websocket"), (WITNESSES, "uni_sse")] {
            let plan = json!({
                "op": "connect", "address": server.front, "tls": tls, "secret": SECRET, "count": count,
                "first": 900_000, "subscriptions": 1, "channel": "witness:stream", "channels": 1,
                "transport": transport,
            });
            connected(&witnesses.call(&plan, "connected")?, count)?;
        }
        let timeout = changes.pointer("/shutdown/timeout").and_then(Value::as_str);
        let timeout = timeout
            .and_then(|text| text.trim_end_matches('s').parse().ok())
            .unwrap_or(if target.short { 1 } else { 5 });
        Ok(Self {
            server,
            short: target.short,
            witnesses,
            bystanders: Vec::new(),
            watch,
            series: 0,
            timeout: Duration::from_secs(timeout),
            quiet_for: if target.short { 0.3 } else { 4.0 },
        })
    }

    /// One of two values: of the whole row, or of the short one.
    pub(super) fn pick<T>(&self, whole: T, short: T) -> T {
        if self.short { short } else { whole }
    }

    /// Seconds that an attack lasts.
    pub(super) fn seconds(&self) -> f64 {
        self.pick(10.0, 0.8)
    }

    /// Connects well-behaved clients.
    pub(super) fn bystanders(&mut self, count: usize, channel: &str) -> Result<(), Failure> {
        self.bystanders_with(count, channel, &json!({}))
    }

    /// The same, with more in the plan of their connections.
    pub(super) fn bystanders_with(
        &mut self,
        count: usize,
        channel: &str,
        more: &Value,
    ) -> Result<(), Failure> {
        // At the usual priority: elsewhere they would have processors of their own to read with.
        let mut agent = Agent::start("clients")?;
        let mut plan = json!({
            "op": "connect", "address": self.server.front, "secret": SECRET, "count": count, "first": 100_000,
            "subscriptions": 1, "channel": channel, "channels": 1,
        });
        merge(&mut plan, more);
        connected(&agent.call(&plan, "connected")?, count)?;
        self.bystanders.push(agent);
        Ok(())
    }

    /// Fills a channel with publications of so many bytes.
    pub(super) fn fill(&self, channel: &str, publications: usize, bytes: usize) -> Result<(), Failure> {
        for _ in 0..publications.div_ceil(100) {
            let one = json!({"publish": {"channel": channel, "data": {"pad": "x".repeat(bytes)}}});
            let commands = vec![one; publications.min(100)];
            self.api("batch", &json!({"commands": commands}))?;
        }
        Ok(())
    }

    pub(super) fn api(&self, method: &str, body: &Value) -> Result<Value, Failure> {
        let answer = self.server.api(KEY, method, body)?;
        match answer.get("error") {
            Some(error) => Err(format!("{method}: {error}").into()),
            None => Ok(answer),
        }
    }

    /// Runs a whole row: a quiet phase, the attack, a look 10 s later, and SIGTERM during a second attack.
    pub(super) fn measure(mut self, attacks: &[Value], bound: Bound) -> Result<Outcome, Failure> {
        let mut outcome = Outcome::default();
        outcome.quiet = self.stream(self.quiet_for, &mut outcome)?;
        outcome.before = process::resident(self.server.pid)?;
        process::reset_peak(self.server.pid)?;

        let longest = attacks.iter().map(|attack| number(attack, "seconds")).fold(0.0, f64::max);
        let seconds = if longest > 0.0 { longest } else { self.seconds() };
        let mut attackers = self.start(attacks, seconds)?;
        outcome.attacked = self.stream(seconds, &mut outcome)?;
        for attacker in &mut attackers {
            outcome.attackers.push(ends(&attacker.expect("attack")?));
        }
        if !self.survived(&mut outcome) {
            return Ok(outcome);
        }
        outcome.peak = process::peak(self.server.pid)?;
        let allowed = outcome.before + bound.bytes + bound.slack;
        outcome.allowed = Some(allowed);
        if outcome.peak > allowed {
            let text = format!("RSS {:.0} MB, {:.0} MB allowed", outcome.peak / 1e6, allowed / 1e6);
            outcome.faults.push(text);
        }
        drop(attackers);
        std::thread::sleep(self.pick(Duration::from_secs(10), Duration::from_millis(100)));
        let later = process::resident(self.server.pid)?;
        outcome.later = Some(later);
        if bound.back && !self.short && later > outcome.before + SLACK {
            outcome.faults.push(format!("{:.0} MB are left", (later - outcome.before) / 1e6));
        }
        self.bystanders_stayed(&mut outcome)?;
        let attackers = self.start(attacks, self.timeout.as_secs_f64() + 3.0)?;
        std::thread::sleep(self.pick(Duration::from_secs(1), Duration::from_millis(300)));
        self.end(&mut outcome)?;
        drop(attackers);
        Ok(outcome)
    }

    /// The port that an attack is for: that of the API, where it has one of its own.
    fn front(&self, attack: &Value) -> &str {
        let api = attack.pointer("/unit/kind").is_some_and(|kind| kind == "api");
        if api { &self.server.address } else { &self.server.front }
    }

    /// Starts attackers, each a process, which stop after so many seconds unless they say otherwise.
    pub(super) fn start(&self, attacks: &[Value], seconds: f64) -> Result<Vec<Agent>, Failure> {
        let start = |attack: &Value| {
            let mut agent = Agent::start_nice("hostile", ATTACKER)?;
            let mut command = json!({
                "op": "attack", "address": self.front(attack), "secret": SECRET, "key": KEY, "seconds": seconds,
            });
            merge(&mut command, attack);
            agent.send(&command)?;
            Ok(agent)
        };
        attacks.iter().map(start).collect()
    }

    /// Publishes a numbered stream and holds what the witnesses have seen of it against what was accepted.
    pub(super) fn stream(&mut self, seconds: f64, outcome: &mut Outcome) -> Result<Latency, Failure> {
        self.series += 1;
        self.witnesses.call(&json!({"op": "reset"}), "reset")?;
        let steady = json!({
            "op": "steady", "address": self.server.address, "key": KEY, "rate": 100.0, "seconds": seconds,
            "grace": self.pick(20.0, 10.0), "channel": "witness:stream0", "series": self.series.to_string(),
        });
        let steady = self.witnesses.call(&steady, "steady")?;
        let expected = number(&steady, "accepted") * WITNESSES as f64;
        let quiet = self.pick(15_000, 5_000);
        let settle = json!({"op": "settle", "deliveries": expected as u64, "quiet_ms": quiet});
        let seen = self.witnesses.call(&settle, "stats")?;
        let refused = number(&steady, "sent") - number(&steady, "accepted");
        if refused > 0.0 {
            let why = steady.get("first_failure").and_then(Value::as_str).unwrap_or("refused");
            outcome.faults.push(format!("{refused} publications for the witnesses not accepted ({why})"));
        }
        let lost = expected - number(&seen, "deliveries") + number(&seen, "repeated");
        outcome.lost += lost;
        outcome.doubled += number(&seen, "repeated");
        if lost != 0.0 || number(&seen, "repeated") > 0.0 || number(&seen, "missing") > 0.0 {
            let (closed, repeated) = (&seen["closed"], number(&seen, "repeated"));
            outcome.faults.push(format!("witnesses: {lost} lost, {repeated} doubled, closed {closed}"));
        }
        let again = number(&steady, "refused") + number(&steady, "failed");
        if again > 0.0 {
            outcome.notes.push(format!("{again} calls for the witnesses repeated"));
        }
        Ok(Latency {
            p50: number(&seen, "p50_ms"),
            p99: number(&seen, "p99_ms"),
            max: number(&seen, "max_ms"),
        })
    }

    /// Returns true if the server still runs; its end is a fault.
    pub(super) fn survived(&mut self, outcome: &mut Outcome) -> bool {
        if self.watch.struck() {
            outcome.peak = super::watch::LIMIT;
            outcome.faults.push("ended by the watch over its memory".to_owned());
            return false;
        }
        if !self.server.runs() {
            outcome.faults.push("the server has ended".to_owned());
            return false;
        }
        true
    }

    /// An attack must not cost a well-behaved client its connection.
    fn bystanders_stayed(&mut self, outcome: &mut Outcome) -> Result<(), Failure> {
        for agent in &mut self.bystanders {
            let stats = agent.call(&json!({"op": "stats"}), "stats")?;
            if stats["closed"].as_object().is_some_and(|closed| !closed.is_empty()) {
                outcome.faults.push(format!("bystanders closed: {}", stats["closed"]));
            }
        }
        Ok(())
    }

    /// SIGTERM, which is to be obeyed within `shutdown.timeout`.
    pub(super) fn end(&mut self, outcome: &mut Outcome) -> Result<(), Failure> {
        let limit = self.timeout + ENDING;
        outcome.ending = self.server.terminate(limit)?;
        if outcome.ending.is_none() && self.survived(outcome) {
            outcome.faults.push(format!("runs {} s after SIGTERM", limit.as_secs()));
        }
        Ok(())
    }
}

fn connected(answer: &Value, count: usize) -> Result<(), Failure> {
    if number(answer, "count") == count as f64 {
        return Ok(());
    }
    Err(format!("not all clients came up: {answer}").into())
}

/// Describes how the connections of an attack ended.
fn ends(answer: &Value) -> String {
    let counts = |name: &str, prefix: &str| -> Vec<String> {
        let counts: BTreeMap<String, u64> = serde_json::from_value(answer[name].clone()).unwrap_or_default();
        counts.into_iter().map(|(what, count)| format!("{count} × {prefix}{what}")).collect()
    };
    let mut parts = counts("ended", "");
    parts.extend(counts("statuses", "HTTP "));
    parts.extend(counts("errors", "error "));
    let sent = number(answer, "sent_bytes") / 1e6;
    parts.push(format!("{sent:.1} MB sent, {:.1} MB read", number(answer, "read_bytes") / 1e6));
    if number(answer, "opened") > 1.0 {
        parts.push(format!("opening max {:.0} ms", number(answer, "opening_max_ms")));
    }
    parts.join(", ")
}
