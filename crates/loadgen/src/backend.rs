//! The application's backend that event proxies ask: a fixed answer for each path, over keep-alive connections.
//!
//! It takes `{"answers":{"/path":…}}` and prints its address. Everything else is answered with 404. A thread for each
//! connection: a server opens as many as it has requests under way, which are few.

use crate::control::{Error, commands, emit};
use memchr::memmem::find;
use serde_json::json;
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

/// Whole answers by path.
type Answers = HashMap<String, Vec<u8>>;

/// Serves until the input ends.
pub(crate) fn run() -> Result<(), Error> {
    let input = commands(|| ());
    let Ok(first) = input.recv() else { return Ok(()) };
    let first = first?;
    let answers = first.get("answers").and_then(|answers| answers.as_object()).ok_or("no answers")?;
    let answers: Arc<Answers> = Arc::new(
        answers.iter().map(|(path, body)| (path.clone(), answer("200 OK", &body.to_string()))).collect(),
    );
    let listener = TcpListener::bind("127.0.0.1:0")?;
    emit(&json!({"event": "address", "address": listener.local_addr()?.to_string()}));
    std::thread::spawn(move || {
        while input.recv().is_ok() {}
        std::process::exit(0);
    });
    loop {
        let (stream, _) = listener.accept()?;
        let answers = Arc::clone(&answers);
        std::thread::spawn(move || {
            // The server may close a connection at any time.
            let _ = serve(stream, &answers);
        });
    }
}

fn answer(status: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn serve(mut stream: TcpStream, answers: &Answers) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let missing = answer("404 Not Found", "{}");
    let (mut buffer, mut scratch) = (Vec::new(), vec![0; 16 * 1024]);
    loop {
        while let Some((len, path)) = request(&buffer)? {
            stream.write_all(answers.get(&path).unwrap_or(&missing))?;
            buffer.drain(..len);
        }
        match stream.read(&mut scratch)? {
            0 => return Ok(()),
            count => buffer.extend_from_slice(&scratch[..count]),
        }
    }
}

/// Length and path of the request at the start of `bytes`. `None` while it is incomplete.
fn request(bytes: &[u8]) -> io::Result<Option<(usize, String)>> {
    let Some(end) = find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&bytes[..end]).map_err(io::Error::other)?;
    let mut lines = head.lines();
    let path = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
    let length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse::<usize>().ok())
        .ok_or_else(|| io::Error::other("a request without Content-Length"))?;
    let whole = end + 4 + length;
    Ok((bytes.len() >= whole).then(|| (whole, path.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::request;

    #[test]
    fn requests_are_read_whole() {
        let one = b"POST /rpc HTTP/1.1\r\nHost: h\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(request(&one[..one.len() - 1]).unwrap(), None);
        assert_eq!(request(one).unwrap(), Some((one.len(), "/rpc".to_owned())));
        assert!(request(b"GET / HTTP/1.1\r\n\r\n").is_err());
    }
}
