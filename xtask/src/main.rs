//! Project tasks: `cargo xtask TASK`.

#![allow(clippy::disallowed_methods, reason = "tasks are not the product: they may read the clock")]

mod arrows;
mod bench;
mod compat;
mod fuzz;
mod hostile;
mod instructions;
mod million;
mod shell;
mod soak;
mod test;

use shell::Failure;
use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask TASK

  test [STEP…] [--list]       installs what the tests need and runs everything, or the steps named
  bench [ROW…] [--full] [--list] [--rounds N] [--json FILE]
        [--against HOST:PORT --against-pid PID | --against-bin FILE]
                              measures cost and latency beside a bare floor
  million [--connections N]   holds a million connections on one machine
  compat [--target HOST:PORT] [ARGUMENT…]
                              holds the server against the answers of Centrifugo v6.9
  fuzz [--seconds N] [--teeth]
  hostile [ROW…] [--short] [--list] [--bin FILE] [--against-bin FILE] [--out FILE]
                              attacks a server, and measures what that costs the others
  instructions [--record]     counts the instructions of the hot paths beside those on record
  soak [--minutes N] [--every SECONDS] [--seed N] [--bin FILE]
                              a server with steady clients and a fault a minute
  arrows                      checks which crate may know which
";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let task = arguments.next().unwrap_or_default();
    let arguments: Vec<String> = arguments.collect();
    let result = match task.as_str() {
        "test" => test::run(&arguments),
        "bench" => bench::run(&arguments),
        "million" => million::run(&arguments),
        "compat" => compat::run(&arguments),
        "fuzz" => run_fuzz(&arguments),
        "hostile" => hostile::run(&arguments),
        "instructions" => instructions::run(&arguments),
        "soak" => soak::run(&arguments),
        "arrows" => arrows::run(),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {task}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_fuzz(arguments: &[String]) -> Result<(), Failure> {
    let seconds = shell::option(arguments, "--seconds").map_or(Ok(60), str::parse)?;
    fuzz::run(seconds, shell::flag(arguments, "--teeth"))
}
