//! A client's end of a simulated connection: commands out, replies in, pings answered.

use spinward::sim::{Conn, SimNode};
use spinward::wire::message::{Command, Reply};
use spinward::wire::ws::{Event, Limits, Opcode, Reader, append_masked_frame};
use spinward::wire::{Protocol, Replies, append_command, ping};

pub(crate) struct Line {
    pub(crate) conn: Conn,
    reader: Reader,
    out: Vec<u8>,
}

/// Something that a client was told.
pub(crate) enum Told {
    Reply(Box<Reply>),
    Closed(u32),
}

impl Line {
    pub(crate) fn new(conn: Conn) -> Self {
        Self { conn, reader: Reader::client(), out: Vec::new() }
    }

    pub(crate) fn send(&mut self, command: &Command) {
        let mut payload = Vec::new();
        append_command(Protocol::Json, command, &mut payload, true);
        append_masked_frame(Opcode::Text, [1, 2, 3, 4], &payload, &mut self.out);
    }

    /// Writes what is to be written; the server reads as much of it as it will.
    pub(crate) fn write(&mut self, node: &mut SimNode) {
        node.write(self.conn, &std::mem::take(&mut self.out));
        node.read(self.conn, usize::MAX);
    }

    /// Takes all that came.
    pub(crate) fn read(&mut self, node: &mut SimNode) -> Vec<Told> {
        let mut told = Vec::new();
        let Some(mut bytes) = node.receive(self.conn, usize::MAX) else { return told };
        let mut at = 0;
        while at < bytes.len() {
            let limits = Limits::of(1 << 24);
            let (used, event) = self.reader.read(&limits, &mut bytes[at..]);
            at += used;
            match event.expect("the server speaks WebSocket") {
                Some(Event::Text(payload)) => {
                    for reply in Replies::new(Protocol::Json, &payload) {
                        let reply = reply.expect("the server speaks the protocol");
                        if reply == Reply::default() {
                            append_masked_frame(
                                Opcode::Text,
                                [1, 2, 3, 4],
                                ping(Protocol::Json),
                                &mut self.out,
                            );
                        } else {
                            told.push(Told::Reply(Box::new(reply)));
                        }
                    }
                }
                Some(Event::Close(code)) => told.push(Told::Closed(code.map_or(0, u32::from))),
                _ => {}
            }
        }
        told
    }
}
