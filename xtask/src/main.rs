//! Project tasks: `cargo xtask TASK`.

#![allow(clippy::disallowed_methods, reason = "tasks are not the product: they may read the clock")]

mod arrows;
mod bench;
mod chaos;
mod compat;
mod dist;
mod fuzz;
mod hostile;
mod instructions;
mod manual;
mod million;
mod proto;
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
  compat [--profile NAME] [--target HOST:PORT] [ARGUMENT…]
                              holds the server against the answers of Centrifugo v6.9
  fuzz [--seconds N] [--teeth]
  hostile [ROW…] [--short] [--list] [--bin FILE] [--against-bin FILE] [--out FILE]
                              attacks a server, and measures what that costs the others
  instructions [--record]     counts the instructions of the hot paths beside those on record
  soak [--minutes N] [--every SECONDS] [--seed N] [--bin FILE]
                              a server with steady clients and a fault a minute
  chaos [--engine NAME[,NAME…]] [--short] [--seed N] [--minutes M] [--faults N] [--only FAULT[,FAULT…]]
        [--clients N] [--channels N] [--nodes N] [--rate N] [--drain] [--emulated]
                              breaks nodes and engines one after another, and checks every delivery
  dist [--target TRIPLE] [--features LIST] [--bin FILE]
                              builds what is released of the server: binary, symbols, archive, bill of materials
  arrows                      checks which crate may know which
  proto [--check]             makes the code of the gRPC services from their .proto files, or compares it
  manual [--write]            checks links and lists of chapters; writes the generated chapters
  site                        builds the manual as a site
";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let task = arguments.next().unwrap_or_default();
    let arguments: Vec<String> = arguments.collect();
    let result = match task.as_str() {
        "test" => test::run(&arguments),
        "bench" => bench::run(&arguments),
        "million" => million::run(&arguments),
        "compat" => bench::server::binary().and_then(|binary| compat::run(&arguments, &binary)),
        "fuzz" => run_fuzz(&arguments),
        "hostile" => hostile::run(&arguments),
        "instructions" => instructions::run(&arguments),
        "soak" => soak::run(&arguments),
        "chaos" => chaos::run(&arguments),
        "dist" => dist::run(&arguments),
        "arrows" => arrows::run(),
        "proto" => proto::run(&arguments),
        "manual" => manual::run(&arguments),
        "site" => manual::site(&arguments),
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
