use super::*;
use std::sync::mpsc;
use tracing_subscriber::fmt;

const SOON: Duration = Duration::from_secs(10);

/// Reaction of a test destination to the next bytes that it is given.
enum Step {
    /// Takes so many of them.
    Take(usize),
    Fail(ErrorKind),
}

/// Does what the test says, one call at a time, and takes everything once the test has said all.
struct Scripted {
    steps: mpsc::Receiver<Step>,
    text: Arc<Mutex<String>>,
    reopened: Arc<AtomicU64>,
}

impl Destination for Scripted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = match self.steps.recv() {
            Ok(Step::Take(count)) => count.min(bytes.len()),
            Ok(Step::Fail(kind)) => return Err(kind.into()),
            Err(_) => bytes.len(),
        };
        self.text.lock().push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        Ok(count)
    }

    fn reopen(&mut self) {
        self.reopened.fetch_add(1, Ordering::Relaxed);
    }
}

struct Test {
    queue: Queue,
    steps: mpsc::Sender<Step>,
    text: Arc<Mutex<String>>,
    reopened: Arc<AtomicU64>,
}

fn start() -> Test {
    let (steps, receiver) = mpsc::channel();
    let (text, reopened) = (Arc::default(), Arc::default());
    let scripted = Scripted { steps: receiver, text: Arc::clone(&text), reopened: Arc::clone(&reopened) };
    Test { queue: Queue::start(scripted).unwrap(), steps, text, reopened }
}

impl Test {
    /// The destination takes everything from now on; what it has in the end.
    fn end(self) -> String {
        drop(self.steps);
        self.queue.drain(SOON);
        self.text.lock().clone()
    }
}

#[test]
fn a_destination_that_blocks_blocks_nobody_and_costs_bounded_memory() {
    let test = start();
    let line = [&[b'x'; 1023][..], b"\n"].concat();
    let count = 4 * MAX_BYTES / line.len();
    for _ in 0..count {
        test.queue.put(&line);
    }
    assert!(test.queue.0.state.lock().bytes.len() <= MAX_BYTES);
    let dropped = test.queue.dropped();
    assert!((count as u64 / 2..count as u64).contains(&dropped), "{dropped} of {count}");
    test.queue.drain(Duration::from_millis(50));
    let (queue, written) = (test.queue.clone(), test.end().len() / line.len());
    assert_eq!(written as u64 + dropped, count as u64);
    assert_eq!(queue.dropped(), dropped);
}

#[test]
fn short_lines_are_bounded_by_their_number() {
    let test = start();
    for _ in 0..3 * MAX_LINES {
        test.queue.put(b"\n");
    }
    assert!(test.queue.0.state.lock().lines <= MAX_LINES);
    let dropped = test.queue.dropped() as usize;
    assert_eq!(test.end().len() + dropped, 3 * MAX_LINES);
}

#[test]
fn the_number_of_dropped_lines_is_logged_once_there_is_room() {
    let test = start();
    let writer = test.queue.clone();
    let subscriber = fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
    // The thread of the queue logs too, by whatever is the log of its process.
    let _ = tracing::subscriber::set_global_default(subscriber);
    for _ in 0..2 * MAX_LINES {
        test.queue.put(b"one\n");
    }
    let dropped = test.queue.dropped();
    assert!(dropped > 0);
    let text = test.end();
    // Tests that run at the same time log by this subscriber too, and their lines may be dropped as well.
    let logged: u64 = text
        .split(" log lines dropped")
        .filter_map(|before| before.rsplit(' ').next()?.parse::<u64>().ok())
        .sum();
    assert!(logged >= dropped, "{logged} of {dropped}: {}", &text[text.len().saturating_sub(200)..]);
}

#[test]
fn a_line_that_was_cut_off_is_not_continued_by_the_next() {
    let test = start();
    test.steps.send(Step::Take(3)).unwrap();
    test.steps.send(Step::Fail(ErrorKind::StorageFull)).unwrap();
    test.queue.put(b"first\n");
    // It has failed once it asks for more steps.
    while test.queue.dropped() == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    test.queue.put(b"second\n");
    let queue = test.queue.clone();
    let text = test.end();
    assert!(text.starts_with("fir\nsecond\n"), "{text}");
    assert_eq!(queue.dropped(), 1);
}

#[test]
fn a_pipe_that_does_not_block_is_tried_again() {
    let test = start();
    test.steps.send(Step::Fail(ErrorKind::WouldBlock)).unwrap();
    test.steps.send(Step::Fail(ErrorKind::Interrupted)).unwrap();
    test.queue.put(b"first\n");
    assert_eq!(test.end(), "first\n");
}

#[test]
fn what_was_logged_before_goes_to_the_former_file() {
    let test = start();
    test.queue.put(b"before\n");
    test.queue.reopen();
    assert_eq!(test.reopened.load(Ordering::Relaxed), 0, "it is still being written");
    test.steps.send(Step::Take(usize::MAX)).unwrap();
    test.queue.drain(SOON);
    assert_eq!(test.reopened.load(Ordering::Relaxed), 1);
    assert_eq!(test.end(), "before\n");
}
