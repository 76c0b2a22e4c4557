//! The protocol of 2018 to 2022, as SDKs of that time write and read it. Nothing of it is shared with the code under
//! test.

mod binary;
mod text;

use spinward_wire::Protocol;
use spinward_wire::message::{Command, Publication, Reply};

/// An SDK of that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Old {
    /// The form of positions that it knows.
    pub knows: Knows,
    /// It says its name in the connect command.
    pub named: bool,
}

/// Form of the positions that an SDK knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knows {
    /// `seq` and `gen`. Recovered publications are taken to come newest first.
    Seq,
    /// Both; what comes is taken. The order of publications shows in their form.
    Both,
    /// `offset`, oldest first.
    Offset,
}

/// Command that a reply belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Connect.
    Connect = 0,
    /// Subscribe.
    Subscribe = 1,
    /// Unsubscribe.
    Unsubscribe = 2,
}

/// Position as it is on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Position {
    seq: u32,
    generation: u32,
    offset: u64,
}

impl Old {
    /// Appends a connect, subscribe or unsubscribe command.
    pub fn append(self, protocol: Protocol, command: &Command, out: &mut Vec<u8>) {
        match protocol {
            Protocol::Json => text::append(self, command, out),
            Protocol::Protobuf => binary::append(self, command, out),
        }
    }

    /// Reads the replies and pushes of one frame. `method` knows what was asked under an id.
    ///
    /// # Errors
    /// Something at which an SDK of that time fails, in words.
    pub fn read(
        self,
        protocol: Protocol,
        frame: &[u8],
        method: impl Fn(u32) -> Option<Method>,
    ) -> Result<Vec<Reply>, String> {
        match protocol {
            Protocol::Json => text::read(self, frame, method),
            Protocol::Protobuf => binary::read(self, frame, method),
        }
    }

    /// The name that it gives itself.
    const fn name(self) -> &'static str {
        if self.named { "js" } else { "" }
    }

    /// A position, as it sends it with this command.
    fn position(self, id: u32, offset: u64) -> Position {
        let by_seq = match self.knows {
            Knows::Seq => true,
            Knows::Offset => false,
            // It depends on what it was told last.
            Knows::Both => id.is_multiple_of(2),
        };
        if by_seq {
            Position { seq: offset as u32, generation: (offset >> 32) as u32, offset: 0 }
        } else {
            Position { offset, ..Position::default() }
        }
    }

    /// The offset that it understands.
    fn offset(self, position: Position) -> Result<u64, String> {
        let packed = u64::from(position.generation) << 32 | u64::from(position.seq);
        match self.knows {
            Knows::Seq => Ok(packed),
            Knows::Offset => Ok(position.offset),
            Knows::Both if packed > 0 && position.offset > 0 && packed != position.offset => {
                Err(format!("two positions: {position:?}"))
            }
            Knows::Both => Ok(packed.max(position.offset)),
        }
    }

    /// Recovered publications in the order of the stream.
    fn ordered(self, publications: Vec<(Position, Publication)>) -> Result<Vec<Publication>, String> {
        let newest_first = match self.knows {
            Knows::Seq => true,
            Knows::Offset => false,
            Knows::Both => publications.iter().take(2).all(|(position, _)| position.offset == 0),
        };
        let mut ordered = Vec::with_capacity(publications.len());
        for (position, publication) in publications {
            ordered.push(Publication { offset: self.offset(position)?, ..publication });
        }
        if newest_first {
            ordered.reverse();
        }
        if ordered.windows(2).any(|two| two[0].offset >= two[1].offset) {
            return Err("recovered publications in the wrong order".to_owned());
        }
        Ok(ordered)
    }
}

/// The code of today for the number of a close frame of that time.
#[must_use]
pub const fn code_of(number: u32) -> u32 {
    match number {
        3002 => 3500,
        3003 => 3501,
        3007 => 3502,
        3012 => 3503,
        3013 => 3504,
        other => other,
    }
}

#[cfg(test)]
mod tests;
