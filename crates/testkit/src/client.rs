//! A peer on a real socket.
