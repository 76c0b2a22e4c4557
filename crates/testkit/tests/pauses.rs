//! Connections whose output waits: hostile ones end, slow ones continue, and others come first.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

use spinward::Config;
use spinward::answer::Answer;
use spinward::clock::{Clock, Now};
use spinward::config::{Bucket, CommandLimits, RateLimits};
use spinward::engine::broker::{HistoryOptions, PublishOptions};
use spinward::hooks::{
    ConnectEvent, ConnectReply, Decision, HistoryEvent, Hooks, SubscribeEvent, SubscribeOptions,
};
use spinward::id::Entropy;
use spinward::identity::Credentials;
use spinward::sim::{Conn, Parts, SimNode, Tasks};
use spinward_wire::Protocol;
use spinward_wire::ws::{Opcode, append_masked_frame};
use std::sync::Arc;
use std::time::Duration;

const KEPT: HistoryOptions =
    HistoryOptions { size: 10, ttl: Duration::from_secs(3600), meta_ttl: Duration::from_secs(3600) };
const CONNECT: &[u8] = br#"{"id":1,"connect":{}}"#;
const HISTORY: &str = r#"{"id":2,"history":{"channel":"news","limit":10}}"#;

struct Open;

impl Hooks for Open {
    fn connect(&self, _: ConnectEvent) -> Decision<ConnectReply> {
        let credentials = Credentials { user: "ada".to_owned(), ..Credentials::default() };
        Answer::Now(Ok(ConnectReply { credentials, ..ConnectReply::default() }))
    }

    fn subscribe(&self, _: &spinward::Client, _: SubscribeEvent) -> Decision<SubscribeOptions> {
        Answer::Now(Ok(SubscribeOptions::default()))
    }

    fn history(&self, _: &spinward::Client, _: HistoryEvent) -> Decision<HistoryOptions> {
        Answer::Now(Ok(KEPT))
    }
}

struct World {
    node: SimNode,
    clock: Clock,
}

impl World {
    fn new() -> Self {
        Self::limited(RateLimits::default())
    }

    /// A node with ten publications of 1 KB in `news`.
    fn limited(rate_limits: RateLimits) -> Self {
        let clock = Clock::manual(Now { mono: 1_000, wall: 1_700_000_000_000 });
        let node = SimNode::new(Parts {
            hooks: Arc::new(Open),
            config: Config { shards: 1, queue_max_size: 64 << 10, rate_limits, ..Config::default() },
            clock: clock.clone(),
            entropy: Entropy::seeded(7),
            broker: None,
            presence: None,
            cluster: None,
            tasks: Tasks::default(),
        });
        let mut world = Self { node, clock };
        (0..10).for_each(|_| world.publish("news", KEPT));
        world
    }

    fn publish(&mut self, channel: &str, history: HistoryOptions) {
        let data = format!("\"{}\"", "x".repeat(1_000));
        let options = PublishOptions { history, ..PublishOptions::default() };
        let published = self.node.node().publish(channel, data.into(), options);
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(published).unwrap();
    }

    fn connect(&mut self, room: usize) -> Conn {
        self.node.connect(Protocol::Json, None, room).expect("the node is up")
    }

    fn send(&mut self, conn: Conn, opcode: Opcode, payload: &[u8]) {
        let mut frame = Vec::new();
        append_masked_frame(opcode, [1, 2, 3, 4], payload, &mut frame);
        self.node.write(conn, &frame);
    }

    /// Everything that can move moves, for 100 ms.
    fn step(&mut self, conn: Conn) {
        self.clock.advance(100);
        self.node.tick(0);
        for _ in 0..20 {
            self.node.read(conn, 64 << 10);
            self.node.take_entries(0, usize::MAX);
            self.node.flush(0, usize::MAX);
        }
    }

    fn disconnects(&self, code: u32) -> u64 {
        let counted = self.node.node().info().counters.disconnects;
        counted.iter().find(|(known, _)| *known == code).map_or(0, |(_, count)| *count)
    }
}

/// Counts the seconds until a client that never reads is closed.
fn seconds_of_flood(login: bool) -> (u64, World) {
    let mut world = World::new();
    let conn = world.connect(5_000);
    if login {
        world.send(conn, Opcode::Text, CONNECT);
    }
    for second in 0..120 {
        for _ in 0..10 {
            if world.node.unread(conn) < 64 << 10 {
                (0..1_000).for_each(|_| world.send(conn, Opcode::Ping, b""));
                if login {
                    world.send(conn, Opcode::Text, HISTORY.as_bytes());
                }
            }
            world.step(conn);
            assert!(world.node.queued(conn) <= 2 * (64 << 10), "{}", world.node.queued(conn));
        }
        if world.node.node().info().counters.connections == 0 {
            return (second, world);
        }
    }
    panic!("it is still there");
}

#[test]
fn a_client_that_never_reads_ends_by_its_missing_pong() {
    let (seconds, world) = seconds_of_flood(true);
    assert_eq!(world.disconnects(3012), 1);
    // A ping within 25 s, the time for its pong, once more for what was handled before it paused, and the close.
    assert!(seconds <= 25 + 2 * 8 + 3, "{seconds}");
}

#[test]
fn before_its_login_it_ends_as_stale() {
    let (seconds, world) = seconds_of_flood(false);
    assert_eq!(world.disconnects(3502), 1);
    assert!(seconds <= 10 + 3, "{seconds}");
}

/// It is asked for a pong while megabytes of replies are before that, and reads them slowly.
#[test]
fn a_client_that_reads_is_not_cut_for_a_pong_behind_its_commands() {
    let mut world = World::new();
    let conn = world.connect(15_000);
    world.send(conn, Opcode::Text, CONNECT);
    let message = vec![HISTORY; 1_000].join("\n");
    world.send(conn, Opcode::Text, message.as_bytes());
    let mut received = 0;
    for _ in 0..600 {
        world.step(conn);
        received += world.node.receive(conn, 15_000).expect("it is not closed").len();
    }
    assert!(received > 8_000_000, "{received}");
    assert_eq!(world.disconnects(3012), 0);
}

#[test]
fn a_reply_does_not_wait_for_the_sends_of_a_large_fan_out() {
    let mut world = World::new();
    let conns: Vec<Conn> = (0..400).map(|_| world.connect(1 << 20)).collect();
    for conn in &conns {
        world.send(*conn, Opcode::Text, CONNECT);
        world.send(*conn, Opcode::Text, br#"{"id":2,"subscribe":{"channel":"all"}}"#);
        world.node.read(*conn, usize::MAX);
    }
    while world.node.flush(0, 1_000) > 0 {}
    for conn in &conns {
        world.node.receive(*conn, usize::MAX);
    }
    world.publish("all", HistoryOptions::default());
    world.node.take_entries(0, 1);
    let (first, last) = (conns[0], conns[399]);
    world.send(last, Opcode::Text, HISTORY.as_bytes());
    world.node.read(last, usize::MAX);
    world.node.flush(0, 1);
    assert_eq!(world.node.waiting(first), 0, "the fan-out has its own queue");
    assert!(world.node.waiting(last) > 11_000, "publication and reply, in one send");
    // Nobody is forgotten, and nobody is sent the same twice.
    while world.node.flush(0, 7) > 0 {}
    for conn in &conns {
        let count = world.node.receive(*conn, usize::MAX).expect("it is open").len();
        assert!(count > 1_000 && (count < 2_000 || *conn == last), "{count}");
    }
}

fn bucket(rate: u32) -> Vec<Bucket> {
    vec![Bucket { interval: Duration::from_secs(1), rate }]
}

#[test]
fn a_command_beyond_its_rate_is_refused_and_may_come_again() {
    let mut world = World::limited(RateLimits {
        commands: CommandLimits { history: Some(bucket(2)), ..CommandLimits::default() },
        ..RateLimits::default()
    });
    let conn = world.connect(1 << 20);
    world.send(conn, Opcode::Text, CONNECT);
    let refused = |world: &mut World, count: usize| {
        world.send(conn, Opcode::Text, vec![HISTORY; count].join("\n").as_bytes());
        world.step(conn);
        let bytes = world.node.receive(conn, usize::MAX).expect("it is open");
        String::from_utf8_lossy(&bytes).matches(r#""code":111"#).count()
    };
    assert_eq!(refused(&mut world, 5), 3);
    world.clock.advance(1_000);
    assert_eq!(refused(&mut world, 2), 0);
    world.send(conn, Opcode::Text, br#"{"id":9,"unsubscribe":{"channel":"news"}}"#);
    world.step(conn);
    let bytes = world.node.receive(conn, usize::MAX).expect("it is open");
    assert!(
        String::from_utf8_lossy(&bytes).contains(r#""id":9,"unsubscribe""#),
        "another kind is not limited"
    );
}

#[test]
fn a_connection_with_too_many_errors_is_closed() {
    let mut world = World::limited(RateLimits { errors: bucket(3), ..RateLimits::default() });
    let conn = world.connect(1 << 20);
    world.send(conn, Opcode::Text, CONNECT);
    let mut fail = |count: usize| {
        let commands: Vec<_> = (0..count)
            .map(|at| format!("{{\"id\":{},\"presence\":{{\"channel\":\"news\"}}}}", at + 10))
            .collect();
        world.send(conn, Opcode::Text, commands.join("\n").as_bytes());
        world.step(conn);
        let bytes = world.node.receive(conn, usize::MAX).unwrap_or_default();
        world.clock.advance(1_000);
        String::from_utf8_lossy(&bytes).into_owned()
    };
    for _ in 0..3 {
        let answers = fail(3);
        assert_eq!(answers.matches(r#""error":{"#).count(), 3, "{answers}");
    }
    let answers = fail(9);
    assert_eq!(answers.matches(r#""error":{"#).count(), 4, "{answers}");
    assert!(answers.contains("too many errors"), "{answers}");
}

#[test]
fn a_user_has_limits_over_all_connections() {
    let user_commands =
        CommandLimits { connect: Some(bucket(2)), history: Some(bucket(3)), ..CommandLimits::default() };
    let mut world = World::limited(RateLimits { user_commands, ..RateLimits::default() });
    let (one, other) = (world.connect(1 << 20), world.connect(1 << 20));
    let mut refused = |conn, what: &str| {
        world.send(conn, Opcode::Text, what.as_bytes());
        world.step(conn);
        let bytes = world.node.receive(conn, usize::MAX).expect("it is open");
        String::from_utf8_lossy(&bytes).matches(r#""code":111"#).count()
    };
    let connect = str::from_utf8(CONNECT).expect("it is text");
    assert_eq!((refused(one, connect), refused(other, connect)), (0, 0));
    assert_eq!((refused(one, &[HISTORY; 2].join("\n")), refused(other, &[HISTORY; 3].join("\n"))), (0, 2));
    let third = world.connect(1 << 20);
    world.send(third, Opcode::Text, CONNECT);
    world.step(third);
    let bytes = world.node.receive(third, usize::MAX).expect("it is open");
    assert!(String::from_utf8_lossy(&bytes).contains(r#""code":111"#), "the third login in a second");
}

#[test]
fn a_connection_that_sends_too_much_is_read_later_and_loses_nothing() {
    let mut world = World::limited(RateLimits { bytes: bucket(10_000), ..RateLimits::default() });
    let conn = world.connect(1 << 20);
    world.send(conn, Opcode::Text, CONNECT);
    (0..1_000).for_each(|_| world.send(conn, Opcode::Ping, &[7; 100]));
    let all = world.node.unread(conn);
    let (mut pongs, mut seconds) = (0, 0.0);
    while pongs < 1_000 * 102 && seconds < 60.0 {
        world.node.read(conn, 4_096);
        world.clock.advance(50);
        world.node.tick(0);
        world.node.flush(0, usize::MAX);
        pongs += world.node.receive(conn, usize::MAX).expect("it is open").len();
        seconds += 0.05;
    }
    // A burst of one second's worth, and then ten thousand a second.
    let expected = (all as f64 - 10_000.0) / 10_000.0;
    assert!(seconds > expected - 1.0 && seconds < expected + 2.0, "{seconds} s of {expected}");
}
