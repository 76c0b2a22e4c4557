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
use std::time::{Duration, Instant};

const CONFIG: &str = include_str!("config.json");
pub(super) const SECRET: &str = "hostile-secret-of-thirty-two-bytes";
pub(super) const KEY: &str = "hostile-key";
/// `client.queue_max_size` of that configuration.
pub(super) const QUEUE: f64 = 1_048_576.0;

/// Transports of the witnesses in one process, each with the number of witnesses up to and with it. Another process has
/// one over WebTransport, where the server has a certificate.
const WITNESSES: &[(usize, &str)] = &[
    (2, "websocket"),
    (3, "sse"),
    (4, "http_stream"),
    (5, "uni_sse"),
    (6, "uni_http_stream"),
    (7, "uni_websocket"),
    (8, "sockjs"),
    (9, "uni_grpc"),
];
const ATTACKER: u8 = 19;

/// Memory that a server may use for other than its connections: allocator, threads, caches.
const SLACK: f64 = 12e6;

/// Part of the highest memory during an attack that may be left of it, or [`SLACK`] where that is more: the slots of
/// shards stay as many as they were.
const LEFT: f64 = 0.1;

/// Time beyond the first 10 s after an attack in which memory must come back to that.
const GIVING_BACK: Duration = Duration::from_secs(30);

/// Time beyond `shutdown.timeout` that a process may take to end.
const ENDING: Duration = Duration::from_secs(2);

/// Most resident memory beyond that before the attack.
#[derive(Clone, Copy)]
pub(super) struct Bound {
    bytes: f64,
    /// Memory that the server may use beside.
    slack: f64,
    /// Memory must come back to its former level.
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

    /// The same, and it must come back.
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
    /// `host:port` of the gRPC stream.
    grpc: String,
    witnesses: Agent,
    /// The witness over WebTransport.
    quic: Option<Agent>,
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
        let internal = changes.pointer("/http_server/tls/enabled").is_some_and(|on| on == true);
        let tls = if internal { "full" } else { "" };
        let grpc = shell::free_port()?;
        let mut changes = changes.clone();
        merge(&mut changes, &json!({"uni_grpc": {"enabled": true, "address": "127.0.0.1", "port": grpc}}));
        if internal {
            let more =
                json!({"http_server": {"http3": {"enabled": true}}, "webtransport": {"enabled": true}});
            merge(&mut changes, &more);
        }
        let changes = &changes;
        let grpc = format!("127.0.0.1:{grpc}");
        let config = configure(target, changes)?;
        let name = format!("hostile-{}", target.name);
        let launch = Launch { name: &name, binary: &target.binary, config: &config, internal, ..launch };
        let server = Server::launch(&launch)?;
        let watch = Watch::over(server.pid);
        let mut witnesses = Agent::start("clients")?;
        let mut plan = json!({
            "op": "connect", "secret": SECRET, "first": 900_000, "subscriptions": 1, "channel": "witness:stream",
            "channels": 1,
        });
        // Each set is added to those before.
        for &(count, transport) in WITNESSES {
            let is_grpc = transport == "uni_grpc";
            let (address, tls) = if is_grpc { (&grpc, "") } else { (&server.front, tls) };
            merge(
                &mut plan,
                &json!({"address": address, "tls": tls, "count": count, "transport": transport}),
            );
            connected(&witnesses.call(&plan, "connected")?, count)?;
        }
        let mut quic = None;
        if internal {
            let mut agent = Agent::start("quic")?;
            let plan = json!({
                "op": "connect", "address": server.front, "secret": SECRET, "count": 1, "first": 990_000,
                "channel": "witness:stream0",
            });
            connected(&agent.call(&plan, "connected")?, 1)?;
            quic = Some(agent);
        }
        let timeout = changes.pointer("/shutdown/timeout").and_then(Value::as_str);
        let timeout = timeout
            .and_then(|text| text.trim_end_matches('s').parse().ok())
            .unwrap_or(if target.short { 1 } else { 5 });
        Ok(Self {
            server,
            short: target.short,
            grpc,
            witnesses,
            quic,
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
    ///
    /// Beside what attackers read, an attack has `port` (`grpc`), `role` (`quic`), `gone` (none of its connections may be
    /// left at its end), `answers` (most answers of HTTP in a connection) and `never` (a status that must not come).
    pub(super) fn measure(mut self, attacks: &[Value], bound: Bound) -> Result<Outcome, Failure> {
        let mut outcome = Outcome::default();
        outcome.quiet = self.stream(self.quiet_for, &mut outcome)?;
        outcome.before = process::resident(self.server.pid)?;
        process::reset_peak(self.server.pid)?;

        let longest = attacks.iter().map(|attack| number(attack, "seconds")).fold(0.0, f64::max);
        let seconds = if longest > 0.0 { longest } else { self.seconds() };
        let mut attackers = self.start(attacks, seconds)?;
        outcome.attacked = self.stream(seconds, &mut outcome)?;
        for (attacker, attack) in attackers.iter_mut().zip(attacks) {
            let answer = attacker.expect("attack")?;
            outcome.attackers.push(ends(&answer));
            let open = number(&answer["ended"], "open");
            if attack["gone"] == true && !self.short && open > 0.0 {
                outcome.faults.push(format!("{open} are still open after {seconds} s"));
            }
            let answers = number(attack, "answers") * number(&answer, "opened");
            if answers > 0.0 && number(&answer, "replies") > answers {
                let replies = number(&answer, "replies");
                outcome.faults.push(format!("{replies} answers, {answers} allowed"));
            }
            let never = attack["never"].as_str().unwrap_or_default();
            if number(&answer["statuses"], never) > 0.0 {
                outcome.faults.push(format!("HTTP {never} for requests that must be refused"));
            }
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
        let mut later = process::resident(self.server.pid)?;
        if bound.back && !self.short {
            // The allocator gives pages back little by little.
            let limit = outcome.before + SLACK.max(LEFT * outcome.peak);
            let until = Instant::now() + GIVING_BACK;
            while later > limit && Instant::now() < until {
                std::thread::sleep(Duration::from_secs(1));
                later = process::resident(self.server.pid)?;
            }
            if later > limit {
                outcome.faults.push(format!("{:.1} MB are left", (later - outcome.before) / 1e6));
            }
        }
        outcome.later = Some(later);
        self.bystanders_stayed(&mut outcome)?;
        let attackers = self.start(attacks, self.timeout.as_secs_f64() + 3.0)?;
        std::thread::sleep(self.pick(Duration::from_secs(1), Duration::from_millis(300)));
        self.end(&mut outcome)?;
        drop(attackers);
        Ok(outcome)
    }

    /// The port that an attack is for: those of the API and of gRPC, where they have their own.
    fn front(&self, attack: &Value) -> &str {
        let is = |field: &str, what: &str| attack.pointer(field).is_some_and(|found| found == what);
        if is("/port", "grpc") {
            &self.grpc
        } else if is("/unit/kind", "api") {
            &self.server.address
        } else {
            &self.server.front
        }
    }

    /// Starts attackers, each a process, which stop after so many seconds unless they say otherwise.
    pub(super) fn start(&self, attacks: &[Value], seconds: f64) -> Result<Vec<Agent>, Failure> {
        let start = |attack: &Value| {
            let role = if attack["role"] == "quic" { "quic" } else { "hostile" };
            let mut agent = Agent::start_nice(role, ATTACKER)?;
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
        let reset = json!({"op": "reset"});
        self.witnesses.call(&reset, "reset")?;
        if let Some(quic) = &mut self.quic {
            quic.call(&reset, "reset")?;
        }
        let steady = json!({
            "op": "steady", "address": self.server.address, "key": KEY, "rate": 100.0, "seconds": seconds,
            "grace": self.pick(20.0, 10.0), "channel": "witness:stream0", "series": self.series.to_string(),
        });
        let steady = self.witnesses.call(&steady, "steady")?;
        let accepted = number(&steady, "accepted");
        let refused = number(&steady, "sent") - accepted;
        if refused > 0.0 {
            let why = steady.get("first_failure").and_then(Value::as_str).unwrap_or("refused");
            outcome.faults.push(format!("{refused} publications for the witnesses not accepted ({why})"));
        }
        let again = number(&steady, "refused") + number(&steady, "failed");
        if again > 0.0 {
            outcome.notes.push(format!("{again} calls for the witnesses repeated"));
        }
        let quiet = self.pick(15_000, 5_000);
        let count = WITNESSES.last().map_or(0, |(count, _)| *count);
        let settle = |agent: &mut Agent, count: usize| {
            let deliveries = accepted * count as f64;
            let settle = json!({"op": "settle", "deliveries": deliveries as u64, "quiet_ms": quiet});
            agent.call(&settle, "stats")
        };
        let seen = settle(&mut self.witnesses, count)?;
        judge("witnesses", &seen, accepted * count as f64, outcome);
        if let Some(quic) = &mut self.quic {
            judge("the witness over WebTransport", &settle(quic, 1)?, accepted, outcome);
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

/// Holds what witnesses have seen against what they should have.
fn judge(who: &str, seen: &Value, expected: f64, outcome: &mut Outcome) {
    let repeated = number(seen, "repeated");
    let lost = expected - number(seen, "deliveries") + repeated;
    outcome.lost += lost;
    outcome.doubled += repeated;
    if lost != 0.0 || repeated > 0.0 || number(seen, "missing") > 0.0 {
        let closed = &seen["closed"];
        outcome.faults.push(format!("{who}: {lost} lost, {repeated} doubled, closed {closed}"));
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
