//! Building blocks of Spinward's tests.
//!
//! [`peer`] speaks the client protocol from a script, today's or that of [`old`] SDKs, and writes down what it is told, [`world`] steps whole
//! nodes of production code by a seed, [`broker`] is a remote broker and [`bus`] a controller, both of which misbehave by the same seed, and
//! [`checker`] judges what was written down. [`pipeline`] is a client
//! that sends without waiting, and may be hostile. [`client`] puts a peer onto a real socket, and [`idp`] publishes keys. [`counted`] is the frame
//! of programs whose instructions are counted, [`servers`] starts the real servers that engines need,
//! and [`chaos`] runs real nodes over them while it breaks one thing after another.

pub mod broker;
pub mod bus;
pub mod chaos;
pub mod checker;
pub mod client;
pub mod counted;
pub mod idp;
pub mod log;
pub mod old;
pub mod payload;
pub mod peer;
pub mod pipeline;
pub mod random;
pub mod servers;
pub mod world;
