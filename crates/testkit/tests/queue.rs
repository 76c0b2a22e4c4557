//! Limit of output that waits for a slow reader, to the byte.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

use spinward::Config;
use spinward::answer::Answer;
use spinward::clock::{Clock, Now};
use spinward::engine::broker::PublishOptions;
use spinward::hooks::{ConnectEvent, ConnectReply, Decision, Hooks, SubscribeEvent, SubscribeOptions};
use spinward::id::Entropy;
use spinward::sim::{Conn, Parts, SimNode, Tasks};
use spinward_wire::message::{Command, ConnectRequest, SubscribeRequest};
use spinward_wire::ws::{Opcode, append_masked_frame};
use spinward_wire::{Protocol, append_command};
use std::sync::Arc;

struct Open;

impl Hooks for Open {
    fn connect(&self, _: ConnectEvent) -> Decision<ConnectReply> {
        Answer::Now(Ok(ConnectReply::default()))
    }

    fn subscribe(&self, _: &spinward::Client, _: SubscribeEvent) -> Decision<SubscribeOptions> {
        Answer::Now(Ok(SubscribeOptions::default()))
    }
}

/// A node and one subscriber that has taken what came so far.
struct World {
    node: SimNode,
    conn: Conn,
    protocol: Protocol,
}

impl World {
    fn new(protocol: Protocol, queue_max_size: usize) -> Self {
        let mut node = SimNode::new(Parts {
            hooks: Arc::new(Open),
            config: Config { shards: 1, queue_max_size, ..Config::default() },
            clock: Clock::manual(Now { mono: 1_000, wall: 1_700_000_000_000 }),
            entropy: Entropy::seeded(7),
            broker: None,
            presence: None,
            cluster: None,
            tasks: Tasks::default(),
        });
        let conn = node.connect(protocol, None, usize::MAX).expect("the node is up");
        let mut world = Self { node, conn, protocol };
        let subscribe = SubscribeRequest { channel: "c".to_owned(), ..SubscribeRequest::default() };
        world.send(&Command { id: 1, connect: Some(ConnectRequest::default()), ..Command::default() });
        world.send(&Command { id: 2, subscribe: Some(subscribe), ..Command::default() });
        world
    }

    fn send(&mut self, command: &Command) {
        let (mut payload, mut frame) = (Vec::new(), Vec::new());
        append_command(self.protocol, command, &mut payload, true);
        let opcode = if self.protocol == Protocol::Json { Opcode::Text } else { Opcode::Binary };
        append_masked_frame(opcode, [1, 2, 3, 4], &payload, &mut frame);
        self.node.write(self.conn, &frame);
        self.node.read(self.conn, usize::MAX);
        self.run();
        self.node.receive(self.conn, usize::MAX);
    }

    fn run(&mut self) {
        while self.node.has_work(0) {
            self.node.take_entries(0, usize::MAX);
            self.node.flush(0, usize::MAX);
        }
    }

    fn publish(&mut self) {
        let data = format!("\"{}\"", "x".repeat(100));
        let published = self.node.node().publish("c", data.into(), PublishOptions::default());
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(published).unwrap();
        self.run();
    }

    /// Returns true if the connection was closed as too slow.
    fn is_too_slow(&self) -> bool {
        let closed = self.node.node().info().counters.disconnects;
        closed.iter().any(|(code, count)| *code == 3008 && *count == 1)
    }
}

/// Bytes of one publication on the wire.
fn frame_size(protocol: Protocol) -> usize {
    let mut world = World::new(protocol, 1 << 20);
    world.publish();
    world.node.receive(world.conn, usize::MAX).expect("it is connected").len()
}

#[test]
fn as_many_bytes_wait_as_may_and_no_more() {
    for protocol in [Protocol::Json, Protocol::Protobuf] {
        let size = frame_size(protocol);
        assert!(size > 100);
        for waiting in [2, 4, 17] {
            // One byte of room more than is needed, just what is needed, and one too few.
            for (limit, held) in
                [(waiting * size + 1, waiting), (waiting * size, waiting), (waiting * size - 1, waiting - 1)]
            {
                let mut world = World::new(protocol, limit);
                world.node.set_room(world.conn, 0);
                for number in 1..=held {
                    world.publish();
                    assert!(!world.is_too_slow(), "{protocol:?}: {number} of {held} in {limit} bytes");
                }
                world.publish();
                assert!(world.is_too_slow(), "{protocol:?}: {} in {limit} bytes", held + 1);
            }
        }
    }
}

/// Otherwise nothing that is large by itself could ever be sent.
#[test]
fn one_message_waits_whatever_its_size() {
    for protocol in [Protocol::Json, Protocol::Protobuf] {
        let mut world = World::new(protocol, 64);
        world.node.set_room(world.conn, 0);
        world.publish();
        assert!(!world.is_too_slow());
        world.node.set_room(world.conn, usize::MAX);
        world.run();
        assert_eq!(
            world.node.receive(world.conn, usize::MAX).map(|bytes| bytes.len()),
            Some(frame_size(protocol))
        );
        world.node.set_room(world.conn, 0);
        world.publish();
        world.publish();
        assert!(world.is_too_slow());
    }
}
