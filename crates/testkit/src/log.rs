//! Log of a run, one JSON line per event.

use crate::payload::{Fnv, Message};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use spinward::clock::Clock;
use std::sync::Arc;

/// A publication as a client or a reader of history saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Place in the stream; 0 without history.
    pub offset: u64,
    /// Publisher; 0 if the payload was none of ours.
    pub p: u32,
    /// The publisher's number.
    pub s: u64,
    /// The publisher's nonce.
    pub n: u32,
}

impl Seen {
    /// Returns the payload at this place.
    #[must_use]
    pub fn new(channel: &str, offset: u64, payload: &[u8]) -> Self {
        let Message { p, s, n } =
            crate::payload::read(channel, payload).unwrap_or(Message { p: 0, s: 0, n: 0 });
        Self { offset, p, s, n }
    }
}

/// Fault injected on purpose. Logged after the injection unless noted otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Fault {
    /// The socket of a client was cut.
    Kill {
        /// Client.
        c: u32,
    },
    /// A client reads slowly from here on.
    Slow {
        /// Client.
        c: u32,
    },
    /// The server ended a subscription.
    Unsubscribe {
        /// Client.
        c: u32,
        /// Channel.
        ch: String,
    },
    /// The server closed a connection.
    Disconnect {
        /// Client.
        c: u32,
    },
    /// Stored publications of a channel are about to be dropped.
    Trimming {
        /// Channel.
        ch: String,
    },
    /// They were.
    Trim {
        /// Channel.
        ch: String,
    },
    /// The position of a channel was lost: it has another epoch from here on, or may have. Written before.
    Reset {
        /// Channel.
        ch: String,
    },
    /// The store failed over and lost publications: every channel has another epoch. Written before.
    Failover,
    /// The connection of a node to the store broke: what was on its way is lost.
    Interrupted {
        /// Node.
        node: usize,
    },
    /// A publication did not reach a node.
    Lost {
        /// Node.
        node: usize,
        /// Channel.
        ch: String,
        /// Place in the stream.
        offset: u64,
    },
    /// A node was given a publication twice.
    Repeated {
        /// Node.
        node: usize,
        /// Channel.
        ch: String,
    },
    /// A message of a node to others was not taken, or so the node was told.
    Unsent {
        /// Node.
        node: usize,
    },
    /// A node is cut off from the others, as far as operations go.
    Cut {
        /// Node.
        node: usize,
    },
    /// It is not any more.
    Connected {
        /// Node.
        node: usize,
    },
    /// A node is started again, after a crash or an orderly end.
    Restarted {
        /// Node.
        node: usize,
    },
    /// A request of a node failed.
    Refused {
        /// Node.
        node: usize,
        /// Channel.
        ch: String,
    },
    /// Something was done to a real process or server, or to a connection between them. Written before.
    Begun {
        /// Name of the fault, and its target.
        what: String,
    },
    /// It was undone.
    Over {
        /// Name of the fault, and its target.
        what: String,
    },
}

/// Something that the application wants done on all nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Operation {
    /// A client's connections are closed, with code 3011.
    Disconnect {
        /// Client.
        c: u32,
    },
    /// A client's logins are taken back: they end with code 4001.
    Revoke {
        /// Client.
        c: u32,
    },
    /// A client's subscription ends, with code 2000 or 2501.
    Unsubscribe {
        /// Client.
        c: u32,
        /// Channel.
        ch: String,
    },
    /// All nodes are asked for their number.
    Survey,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "e", rename_all = "snake_case")]
pub enum Event {
    /// Properties of a channel. Comes first.
    Channel {
        /// Channel.
        ch: String,
        /// Publications kept. 0: no history.
        history: usize,
        /// Most publications of a recovery; 0 is no limit.
        limit: usize,
        /// Nothing is ever lost between the publisher and a connected subscriber.
        lossless: bool,
    },
    /// A publisher is about to publish.
    Invoke {
        /// Publisher, from 1.
        p: u32,
        /// Channel.
        ch: String,
        /// Its number.
        s: u64,
        /// Its nonce.
        n: u32,
    },
    /// It was acknowledged.
    Ok {
        /// Publisher.
        p: u32,
        /// Channel.
        ch: String,
        /// Its number.
        s: u64,
        /// Epoch of the stream; empty without history.
        epoch: String,
        /// Place in the stream; 0 without history.
        offset: u64,
    },
    /// It failed, or may have: nobody knows.
    Unknown {
        /// Publisher.
        p: u32,
        /// Channel.
        ch: String,
        /// Its number.
        s: u64,
    },
    /// A client is in.
    Connected {
        /// Client.
        c: u32,
    },
    /// A client asks for a channel.
    Subscribing {
        /// Client.
        c: u32,
        /// Channel.
        ch: String,
        /// The position that it comes back with: epoch and offset.
        since: Option<(String, u64)>,
    },
    /// It is subscribed.
    Subscribed {
        /// Client.
        c: u32,
        /// Channel.
        ch: String,
        /// The server says that recovery was tried.
        was_recovering: bool,
        /// The server says that nothing is missing.
        recovered: bool,
        /// Epoch of the stream.
        epoch: String,
        /// The offset of the reply.
        offset: u64,
        /// Publications it missed.
        pubs: Vec<Seen>,
    },
    /// It was refused the channel.
    Refused {
        /// Client.
        c: u32,
        /// Channel.
        ch: String,
        /// Error code.
        code: u32,
    },
    /// It was sent a publication.
    Pub {
        /// Client.
        c: u32,
        /// Channel.
        ch: String,
        /// Content.
        seen: Seen,
    },
    /// Its subscription ended; code 0 is by its own wish.
    Unsubscribed {
        /// Client.
        c: u32,
        /// Channel.
        ch: String,
        /// Unsubscribe code.
        code: u32,
    },
    /// Its connection ended; code 0 is without a close frame.
    Disconnected {
        /// Client.
        c: u32,
        /// Disconnect code.
        code: u32,
    },
    /// The server broke the protocol.
    Broken {
        /// Client.
        c: u32,
        /// Description.
        what: String,
    },
    /// A client has a connection to a node.
    Opened {
        /// Client.
        c: u32,
        /// Node.
        node: usize,
    },
    /// The application has a node do something on all nodes.
    Issued {
        /// Its number.
        op: u64,
        /// Node.
        node: usize,
        /// Operation.
        what: Operation,
        /// Time at which the wait for other nodes is over.
        deadline: u64,
    },
    /// An operation has reached a node, for the first time.
    Arrived {
        /// Its number.
        op: u64,
        /// Node.
        node: usize,
    },
    /// The application is told that an operation or a survey is over.
    Told {
        /// Its number.
        op: u64,
        /// Nodes that have confirmed or answered.
        confirmed: Vec<usize>,
        /// Nodes that have not.
        missing: Vec<usize>,
    },
    /// The nodes that a node knows at the end, itself included.
    Nodes {
        /// Node.
        node: usize,
        /// Those that it knows; one that is not there any more is `usize::MAX`.
        knows: Vec<usize>,
    },
    /// Something was done on purpose.
    Fault {
        /// Content.
        fault: Fault,
    },
    /// Nothing more is done on purpose, and every client is back.
    Calm,
    /// The stream as a node reads it at the end, oldest first.
    Final {
        /// Node.
        node: usize,
        /// Channel.
        ch: String,
        /// Epoch.
        epoch: String,
        /// Top.
        offset: u64,
        /// Publications kept.
        pubs: Vec<Seen>,
    },
}

/// Event with its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Milliseconds of the monotonic clock.
    pub t: u64,
    /// Content.
    #[serde(flatten)]
    pub event: Event,
}

/// Takes down what happens. Clones share it.
#[derive(Clone)]
pub struct Log {
    lines: Arc<Mutex<Vec<Line>>>,
    clock: Clock,
}

impl Log {
    /// An empty log with the times of this clock.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { lines: Arc::default(), clock }
    }

    /// Takes something down.
    pub fn add(&self, event: Event) {
        let t = self.clock.now().mono;
        self.lines.lock().push(Line { t, event });
    }

    /// Takes down what was done on purpose.
    pub fn fault(&self, fault: Fault) {
        self.add(Event::Fault { fault });
    }

    /// Everything so far.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        self.lines.lock().clone()
    }
}

/// The lines as text.
#[must_use]
pub fn to_text(lines: &[Line]) -> String {
    let mut text = String::new();
    for line in lines {
        text.push_str(&serde_json::to_string(line).unwrap_or_default());
        text.push('\n');
    }
    text
}

/// Reads what [`to_text`] wrote.
///
/// # Errors
/// A line is not one.
pub fn from_text(text: &str) -> Result<Vec<Line>, serde_json::Error> {
    text.lines().map(serde_json::from_str).collect()
}

/// One number that tells two logs apart.
#[must_use]
pub fn hash(lines: &[Line]) -> u64 {
    let mut hash = Fnv::default();
    for line in lines {
        hash.add(&serde_json::to_vec(line).unwrap_or_default());
    }
    hash.0
}
