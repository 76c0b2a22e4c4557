//! Programs whose instructions are counted: each case is prepared, then done once where the counter looks.
//!
//! `cargo xtask instructions` runs them under callgrind and compares with what is on record. Counts, unlike
//! times, are the same on a busy machine.

/// One case by name. It prepares what it needs, and calls [`measured`] once with what is to be counted.
pub type Case = (&'static str, fn());

/// The main function of such a program: lists the names of its cases, or runs the one that is named.
pub fn main(cases: &[Case]) {
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    match wanted {
        Some(wanted) => match cases.iter().find(|(name, _)| *name == wanted) {
            Some((_, run)) => run(),
            None => std::process::exit(2),
        },
        None => cases.iter().for_each(|(name, _)| println!("{name}")),
    }
}

/// The part that is counted. The counter knows it by this name.
#[inline(never)]
pub fn measured<T>(work: impl FnOnce() -> T) -> T {
    std::hint::black_box(work())
}
