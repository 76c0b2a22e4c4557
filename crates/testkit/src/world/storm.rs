//! Storms of clients that come back to a simulated node.

use super::World;
use crate::log::Fault;

impl World {
    /// All sockets of a node are cut, and everybody comes back at once.
    pub(super) fn storm(&mut self, node: usize) {
        for client in 0..self.clients.len() {
            if self.clients[client].at.is_some_and(|(at, _)| at == node) {
                self.log.fault(Fault::Kill { c: self.clients[client].peer.c });
                self.clients[client].peer.close(None);
                self.hang_up(client);
            }
        }
        let random = self.random.clone();
        for _ in 0..80 * self.clients.len() {
            let client = random.below(self.clients.len());
            match random.below(16) {
                0..5 => {
                    self.send(client, 1 << 16);
                }
                5..8 => {
                    self.receive(client, 1 << 16);
                }
                8..11 => {
                    let node = random.below(self.nodes.len());
                    let shard = random.below(self.nodes[node].shards());
                    self.nodes[node].take_entries(shard, random.between(1, 6));
                    self.nodes[node].flush(shard, 1 << 16);
                }
                11..13 => {
                    self.tasks.poll(random.below(self.tasks.ready()));
                }
                13..15 => {
                    if let Some(broker) = &self.broker {
                        broker.step();
                    }
                }
                _ if random.permille(300) => self.publish(0, random.below(self.channels.len())),
                _ => self.wait(random.between(1, 10) as u64),
            }
        }
    }
}
