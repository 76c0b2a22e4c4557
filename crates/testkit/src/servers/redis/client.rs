//! The least that it takes to speak to a server.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// Time for a connection, and for one read or write.
const PATIENCE: Duration = Duration::from_secs(5);

/// A reply that is not an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// There is no such value.
    Nil,
    /// A number.
    Number(i64),
    /// A status or a value.
    Bytes(Vec<u8>),
    /// Several replies. An error among them is its text.
    List(Vec<Self>),
}

impl Reply {
    /// The value as text; empty for a list and where there is none.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Nil | Self::List(_) => String::new(),
            Self::Number(number) => number.to_string(),
            Self::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        }
    }

    /// The value as a number; 0 where it is not one.
    #[must_use]
    pub fn number(&self) -> i64 {
        self.text().parse().unwrap_or_default()
    }

    /// The replies of a list; empty for anything else.
    #[must_use]
    pub fn list(&self) -> &[Self] {
        if let Self::List(list) = self { list } else { &[] }
    }
}

/// A connection.
#[derive(Debug)]
pub struct Client(BufReader<TcpStream>);

impl Client {
    /// Connects to a port of 127.0.0.1.
    ///
    /// # Errors
    /// Nothing listens there.
    pub fn connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends a command and reads its reply.
    ///
    /// # Errors
    /// The reply is an error, or there is none within five seconds.
    pub fn call(&mut self, command: &[&str]) -> io::Result<Reply> {
        let mut request = format!("*{}\r\n", command.len()).into_bytes();
        for part in command {
            request.extend_from_slice(format!("${}\r\n{part}\r\n", part.len()).as_bytes());
        }
        self.0.get_mut().write_all(&request)?;
        self.read()?.map_err(io::Error::other)
    }

    /// Reads a reply: one to a command, or a message of a subscription.
    ///
    /// # Errors
    /// There is none within five seconds.
    pub fn read(&mut self) -> io::Result<Result<Reply, String>> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let malformed = || io::Error::new(io::ErrorKind::InvalidData, "malformed reply");
        let (kind, rest) = line.trim_end().split_at_checked(1).ok_or_else(malformed)?;
        let number = || rest.parse::<i64>().map_err(|_| malformed());
        Ok(Ok(match kind {
            "+" => Reply::Bytes(rest.as_bytes().to_vec()),
            "-" => return Ok(Err(rest.to_owned())),
            ":" => Reply::Number(number()?),
            "$" => match usize::try_from(number()?) {
                Err(_) => Reply::Nil,
                Ok(length) => {
                    let mut bytes = vec![0; length + 2];
                    self.0.read_exact(&mut bytes)?;
                    bytes.truncate(length);
                    Reply::Bytes(bytes)
                }
            },
            "*" => match usize::try_from(number()?) {
                Err(_) => Reply::Nil,
                Ok(length) => {
                    let one = |_| Ok(self.read()?.unwrap_or_else(|error| Reply::Bytes(error.into_bytes())));
                    Reply::List((0..length).map(one).collect::<io::Result<_>>()?)
                }
            },
            _ => return Err(malformed()),
        }))
    }
}
