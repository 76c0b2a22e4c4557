//! `cargo xtask test`: installs what the tests need, where it is missing, and runs everything.

pub(crate) mod install;
mod limit;
mod programs;

use crate::shell::{self, Failure};
use crate::{arrows, chaos, compat, dist, fuzz, hostile, instructions, manual, proto, soak};
use programs::{LIMIT, Suite};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// One part of the tests.
struct Step {
    name: &'static str,
    what: &'static str,
    /// Run when no step is named.
    usual: bool,
    run: Run,
    /// The second run after a failure: none for a step whose result is the same each time.
    again: Option<Run>,
}

type Run = fn() -> Result<(), Failure>;

const fn step(name: &'static str, what: &'static str, run: Run) -> Step {
    Step { name, what, usual: true, run, again: None }
}

/// A step of real programs in real time, which a busy machine can fail. It has a second run, and the summary names
/// it: a test that needs one is a fault to mend, but does not hide the verdict of the others.
const fn live(name: &'static str, what: &'static str, run: Run) -> Step {
    live_with(name, what, run, run)
}

const fn live_with(name: &'static str, what: &'static str, run: Run, again: Run) -> Step {
    Step { name, what, usual: true, run, again: Some(again) }
}

/// By hand only.
const fn extra(name: &'static str, what: &'static str, run: Run) -> Step {
    Step { name, what, usual: false, run, again: None }
}

/// All steps, in the order they run: what fails soonest comes first.
const STEPS: &[Step] = &[
    step("fmt", "every file is formatted", fmt),
    step("arrows", "no crate and no module uses what it must not", arrows::run),
    step("manual", "links, anchors and lists of chapters", manual::check),
    step("clippy", "no lint, all targets", clippy),
    live_with("unit", "unit, property and integration tests", unit, unit_again),
    step("simulation", "1,000 seeds of production nodes on a faulty broker", simulation),
    live_with(
        "engines",
        "brokers, presence, controllers and consumers on real Redis, Valkey, NATS and PostgreSQL",
        engines,
        engines_again,
    ),
    step("proto", "the code of the gRPC services is what their .proto files make", proto::check),
    step("doc", "documentation without a warning", doc),
    step("deny", "bans, licences and sources of what is built", deny),
    step("package", "wire, spinward, test and server can be packed", || packed(&["--no-verify"])),
    step("web", "the console builds to the bytes that are committed", web),
    step("build", "the server under test", build),
    live("hostile", "attacks on a server, shortened", || hostile::short(&tested()?)),
    live("soak", "a minute of faults, one every 5 s", || soak::short(&tested()?)),
    live("chaos", "nodes over real engines, every fault about once", chaos),
    step("instructions", "what the hot paths of the library cost, in instructions", counted),
    live("compat", "answers beside those of Centrifugo v6.9, and planted wrong ones", compat_cases),
    live_with("python", "PyPI SDKs, tokens, bad input, the manual's backends", python, python_again),
    live("python-sdk", "the own tests of centrifuge-python", python_sdk),
    live("websocket", "Autobahn cases of WebSocket, groups 1 to 7, 9, 10, 12.1 and 13.1", websocket),
    live("node", "npm SDK in Node and Chromium, the console, the manual's JavaScript", node),
    live("old-sdks", "SDKs of 2018 to 2022 and SockJS: a selection", old_sdks),
    live("rust-sdk", "the official Rust SDK, and the gRPC API by tonic", rust_sdk),
    live("go-sdk", "the official Go SDK, where there is Go", go_sdk),
    step("fuzz", "15 s for each target", || fuzzed(15, false)),
    extra("old-sdks-all", "every scenario over every old SDK, encoding and transport", all_old_sdks),
    extra("site", "the manual as a site, and its links", || manual::site(&[])),
    extra("package-build", "they build from their packages alone", || packed(&[])),
    extra("packages", "the static binary in its container, and the Helm chart", packages),
    extra("websocket-all", "all cases of groups 12 and 13 too", websocket_all),
    extra("instructions-all", "the decisions of the server too", all_counted),
    extra("fuzz-long", "60 s for each target", || fuzzed(60, false)),
    extra("kafka", "consumers of Kafka: their feature, and a broker, where there is Java and Maven", kafka),
    extra(
        "cloud",
        "consumers of AWS SQS, Google Pub/Sub and Azure Service Bus: their features, with stand-ins",
        cloud,
    ),
    extra("consumers-long", "100,000 messages through 20 kills for each source", consumers_long),
    extra("chaos-teeth", "the chaos test finds each fault planted in the Redis engine", chaos_teeth),
    extra("fuzz-teeth", "each target finds the fault planted for it", || fuzzed(60, true)),
];

/// Time limit of a step. The longest needs half of it on two cores with nothing built.
const STEP_LIMIT: Duration = Duration::from_secs(30 * 60);

/// No second run begins later than this after the start, so that the whole stays within 90 minutes.
const REPEATS_UNTIL: Duration = Duration::from_secs(75 * 60);

/// Runs the steps named, or the usual ones. A failed step does not stop the others.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    if shell::flag(arguments, "--list") {
        for step in STEPS {
            println!("{:<12} {}{}", step.name, step.what, if step.usual { "" } else { " (when named)" });
        }
        return Ok(());
    }
    let named = shell::positional(arguments, &[]);
    if let Some(unknown) = named.iter().find(|name| STEPS.iter().all(|step| step.name != **name)) {
        return Err(format!("no step {unknown}: see cargo xtask test --list").into());
    }
    let chosen =
        STEPS.iter().filter(|step| if named.is_empty() { step.usual } else { named.contains(&step.name) });
    let begin = Instant::now();
    let mut results: Vec<Outcome> = Vec::new();
    for step in chosen {
        println!("\n=== {}: {}", step.name, step.what);
        let outcome = carry_out(step, begin.elapsed() < REPEATS_UNTIL);
        if outcome.result.is_err() {
            println!("!!! {} failed", step.name);
        }
        results.push(outcome);
    }
    summary(&results)
}

/// The end of a step.
struct Outcome {
    name: &'static str,
    time: Duration,
    /// The failure of the first of two runs.
    first: Option<String>,
    result: Result<(), Failure>,
}

/// Runs a step, and once more if it failed, has a second run and may have one.
fn carry_out(step: &Step, may_repeat: bool) -> Outcome {
    let start = Instant::now();
    let (mut result, mut first) = (limited(step.run), None);
    if let (Err(error), Some(again), true) = (&result, step.again, may_repeat) {
        println!("!!! {} failed: {error}\n=== {}, second run", step.name, step.name);
        first = Some(error.to_string());
        result = limited(again);
    }
    Outcome { name: step.name, time: start.elapsed(), first, result }
}

fn limited(run: Run) -> Result<(), Failure> {
    match limit::within(STEP_LIMIT, run) {
        (_, true) => Err(format!("ended after {} min: a test hangs", STEP_LIMIT.as_secs() / 60).into()),
        (result, false) => result,
    }
}

fn summary(results: &[Outcome]) -> Result<(), Failure> {
    for Outcome { name, first, result, .. } in results {
        match (result, first) {
            (Err(error), _) => println!("\n!!! {name} failed: {error}"),
            (Ok(()), Some(error)) => println!("\n!!! {name} failed in its first run: {error}"),
            (Ok(()), None) => (),
        }
    }
    println!();
    for Outcome { name, time, first, result } in results {
        let verdict = match (result, first) {
            (Err(_), _) => "FAILED",
            (Ok(()), Some(_)) => "passed in its second run",
            (Ok(()), None) => "passed",
        };
        println!("{name:<12} {:>7.1} s  {verdict}", time.as_secs_f64());
    }
    let failed = results.iter().filter(|outcome| outcome.result.is_err()).count();
    println!("{} passed, {failed} failed", results.len() - failed);
    if failed == 0 { Ok(()) } else { Err("not everything passed".into()) }
}

fn fmt() -> Result<(), Failure> {
    shell::run(&mut shell::cargo(&["fmt", "--all", "--check"]))
}

fn clippy() -> Result<(), Failure> {
    install::compilers()?;
    shell::run(&mut shell::cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--quiet",
        "--",
        "-D",
        "warnings",
    ]))
}

fn unit() -> Result<(), Failure> {
    println!("unit: PROPTEST_RNG_SEED={}", property_seed());
    of_unit(|suite| suite.run())
}

fn unit_again() -> Result<(), Failure> {
    of_unit(|suite| suite.run_failed())
}

fn of_unit(run: impl FnOnce(&Suite<'_>) -> Result<(), Failure>) -> Result<(), Failure> {
    // Property tests draw the same inputs in both runs: a second one with others would hide what the first has found.
    let seed = property_seed();
    let variables = [("SPINWARD_ENGINES", "0".as_ref()), ("PROPTEST_RNG_SEED", seed.as_ref())];
    run(&Suite { has: |program| !ENGINES.contains(&program), variables: &variables, limit: LIMIT })?;
    shell::run(&mut shell::cargo(&["test", "--workspace", "--locked", "--quiet", "--doc"]))
}

/// The seed of property tests: that of the environment, or one of this process.
fn property_seed() -> String {
    static SEED: OnceLock<u64> = OnceLock::new();
    std::env::var("PROPTEST_RNG_SEED")
        .unwrap_or_else(|_| SEED.get_or_init(|| RandomState::new().hash_one("seed")).to_string())
}

fn simulation() -> Result<(), Failure> {
    // The whole workspace, so that nothing is built again with other features.
    let arguments = ["test", "--workspace", "--locked", "--quiet", "--test", "simulation"];
    shell::run(shell::cargo(&arguments).env("SPINWARD_SEEDS", "1000"))
}

/// Test programs that need servers of the engines.
const ENGINES: &[&str] = &["redis", "redis_nodes", "nats", "postgres", "consumers"];

fn engines() -> Result<(), Failure> {
    of_engines(|suite| suite.run())
}

fn engines_again() -> Result<(), Failure> {
    of_engines(|suite| suite.run_failed())
}

/// Tests of engines that skip what is not installed are told to fail instead.
fn of_engines(run: impl FnOnce(&Suite<'_>) -> Result<(), Failure>) -> Result<(), Failure> {
    install::compilers()?;
    let path = install::engines()?;
    let variables = [("SPINWARD_ENGINES", "1".as_ref()), ("PATH", path.as_ref())];
    run(&Suite { has: |program| ENGINES.contains(&program), variables: &variables, limit: LIMIT })
}

/// Consumers of Kafka, which the usual steps build without: the client library is large.
fn kafka() -> Result<(), Failure> {
    install::kafka()?;
    of_consumers(&["kafka"])
}

/// Consumers of clouds, which the usual steps build without: few need them.
fn cloud() -> Result<(), Failure> {
    install::clouds()?;
    of_consumers(&["sqs", "pubsub", "servicebus"])
}

/// Checks and tests consumers of features that are off by default, each in modules of its name.
fn of_consumers(features: &[&str]) -> Result<(), Failure> {
    install::compilers()?;
    let path = install::engines()?;
    let of = ["--package", "spinward-consumers", "--package", "spinward-server", "--locked", "--quiet"];
    let both =
        |feature: &&str| [format!("spinward-consumers/{feature}"), format!("spinward-server/{feature}")];
    let list = features.iter().flat_map(both).collect::<Vec<_>>().join(",");
    let cargo = |command: &str, rest: &[&str]| {
        let mut cargo = shell::cargo(&[command]);
        cargo.args(of).args(["--features", &list]).args(rest).env("PATH", &path).env("SPINWARD_ENGINES", "1");
        shell::run(&mut cargo)
    };
    cargo("clippy", &["--all-targets", "--", "-D", "warnings"])?;
    cargo("test", &["--test", "config", "--test", "manual"])?;
    let tests = ["--lib", "--test", "consumers", "--"];
    cargo("test", &[&tests[..], features].concat())
}

/// The tests of consumers in full. Those that are not about kills run again.
fn consumers_long() -> Result<(), Failure> {
    install::compilers()?;
    let path = install::engines()?;
    let arguments = ["test", "--workspace", "--locked", "--release", "--test", "consumers"];
    let mut command = shell::cargo(&arguments);
    command.args(["--", "--nocapture", "--test-threads", "1", "is_carried_out_in_order"]);
    command.env("SPINWARD_ROWS", "100000").env("SPINWARD_KILLS", "20");
    shell::run(command.env("PATH", path).env("SPINWARD_ENGINES", "1"))
}

fn chaos() -> Result<(), Failure> {
    install::compilers()?;
    let path = install::engines()?;
    install::faketime()?;
    chaos::short(&path, &tested()?)
}

fn chaos_teeth() -> Result<(), Failure> {
    let path = install::engines()?;
    let arguments = ["test", "--package", "spinward-testkit", "--locked", "--test", "chaos_teeth"];
    let mut command = shell::cargo(&arguments);
    command.args(["--", "--ignored", "--nocapture"]);
    shell::run(command.env("PATH", path).env("SPINWARD_ENGINES", "1"))
}

fn counted() -> Result<(), Failure> {
    install::valgrind()?;
    instructions::short()
}

fn all_counted() -> Result<(), Failure> {
    install::valgrind()?;
    instructions::run(&[])
}

fn doc() -> Result<(), Failure> {
    let arguments = ["doc", "--workspace", "--no-deps", "--locked", "--quiet"];
    shell::run(shell::cargo(&arguments).env("RUSTDOCFLAGS", "-D warnings"))
}

fn deny() -> Result<(), Failure> {
    let program = install::cargo_deny()?;
    shell::run(&mut shell::command(program, &["--locked", "check", "bans", "licenses", "sources"]))
}

/// Packs every crate that is published; unless told otherwise, builds it from its package alone.
fn packed(further: &[&str]) -> Result<(), Failure> {
    install::compilers()?;
    let arguments = ["publish", "--workspace", "--dry-run", "--locked", "--allow-dirty", "--quiet"];
    shell::run(shell::cargo(&arguments).args(further))
}

fn build() -> Result<(), Failure> {
    install::compilers()?;
    tested().map(drop)
}

/// The server under test: the binary that `SPINWARD_BIN` names, or one built as the tests are, with assertions and
/// checks of overflow, and without the features that the tests of the library add.
fn tested() -> Result<PathBuf, Failure> {
    if let Some(file) = std::env::var_os("SPINWARD_BIN") {
        return Ok(file.into());
    }
    // A place of its own: the tests of the workspace put one with their features where Cargo puts this.
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    if let Some(file) = BUILT.get() {
        return Ok(file.clone());
    }
    shell::run(&mut shell::cargo(&["build", "--locked", "--quiet", "--package", "spinward-server"]))?;
    let file = shell::target().join("tested/spinward");
    std::fs::create_dir_all(shell::target().join("tested"))?;
    std::fs::copy(shell::target().join("debug/spinward"), &file)?;
    Ok(BUILT.get_or_init(|| file).clone())
}

fn compat_cases() -> Result<(), Failure> {
    install::python()?;
    compat::run(&[], &tested()?)
}

fn python() -> Result<(), Failure> {
    install::proxies()?;
    // The manual's backends. Those in Go are run where there is Go.
    install::php()?;
    install::node()?;
    // Most tests wait for timers. Those of a file share a server.
    in_python(&["-m", "pytest", "-q", "-n", "4", "--dist", "loadfile"])
}

/// The tests that failed in the run before, or all of them if none could run.
fn python_again() -> Result<(), Failure> {
    in_python(&["-m", "pytest", "-q", "--last-failed"])
}

fn python_sdk() -> Result<(), Failure> {
    in_python(&["sdk_suite.py"])
}

fn websocket() -> Result<(), Failure> {
    conformance(&["1", "2", "3", "4", "5", "6", "7", "9", "10", "12.1", "13.1"])
}

fn websocket_all() -> Result<(), Failure> {
    conformance(&[])
}

/// Tests of the packages, with the tools that nothing else needs.
fn packages() -> Result<(), Failure> {
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    dist::run(&["--target".to_owned(), target])?;
    let helm = install::helm()?;
    in_python(&["-m", "pip", "install", "--quiet", "-r", "requirements-packages.txt"])?;
    in_python_with(
        &["-m", "pytest", "-q", "test_packages.py", "test_container.py"],
        &[("HELM", helm.as_ref())],
    )
}

fn conformance(groups: &[&str]) -> Result<(), Failure> {
    crate::bench::build_load_generator()?;
    let binary = shell::target().join("release/spinward-loadgen").to_string_lossy().into_owned();
    in_python(&[&["conformance.py", &binary], groups].concat())
}

fn in_python(arguments: &[&str]) -> Result<(), Failure> {
    in_python_with(arguments, &[])
}

fn in_python_with(arguments: &[&str], variables: &[(&str, &OsStr)]) -> Result<(), Failure> {
    install::python()?;
    let folder = shell::root().join("compat/python");
    let environment = shell::root().join("compat/.work/python");
    let python = environment.join("bin/python");
    if !shell::works(&python.to_string_lossy(), &["--version"]) {
        shell::run(&mut shell::command("python3", &["-m", "venv", &environment.to_string_lossy()]))?;
    }
    // Quick when everything is there, and right when a requirement has changed.
    let requirements = folder.join("requirements.txt");
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"];
    shell::run(shell::command(&python, &install).arg(requirements))?;
    let mut command = shell::command(&python, arguments);
    command.current_dir(folder).env("SPINWARD_BIN", tested()?).envs(variables.iter().copied());
    if let Some([pebble, names]) = install::pebble() {
        command.env("PEBBLE", pebble).env("CHALLTESTSRV", names);
    }
    shell::run(command.env("PYTHONDONTWRITEBYTECODE", "1"))
}

fn node() -> Result<(), Failure> {
    let chromium = install::chromium()?;
    install::openssl()?;
    let folder = shell::root().join("compat/node");
    npm_packages(&folder)?;
    let mut command = shell::command("npm", &["test"]);
    command.current_dir(folder).env("SPINWARD_BIN", tested()?);
    shell::run(command.env("CHROMIUM", chromium))
}

fn old_sdks() -> Result<(), Failure> {
    in_old(&[])
}

fn all_old_sdks() -> Result<(), Failure> {
    in_old(&[("COMPAT_OLD", "all")])
}

fn in_old(variables: &[(&str, &str)]) -> Result<(), Failure> {
    let chromium = install::chromium()?;
    let folder = shell::root().join("compat/old");
    npm_packages(&folder)?;
    let mut command = shell::command("npm", &["test"]);
    command.current_dir(folder).env("SPINWARD_BIN", tested()?);
    shell::run(command.envs(variables.iter().copied()).env("CHROMIUM", chromium))
}

/// A project outside of the workspace, with a lock file and a target folder of its own.
fn rust_sdk() -> Result<(), Failure> {
    let mut command = shell::cargo(&["test", "--locked", "--quiet"]);
    command.current_dir(shell::root().join("compat/rust"));
    shell::run(command.env("SPINWARD_BIN", tested()?))
}

fn go_sdk() -> Result<(), Failure> {
    let mut command = shell::command("sh", &["run.sh"]);
    command.current_dir(shell::root().join("compat/go"));
    shell::run(command.env("SPINWARD_BIN", tested()?))
}

fn fuzzed(seconds: u64, teeth: bool) -> Result<(), Failure> {
    install::compilers()?;
    fuzz::run(seconds, teeth)
}

/// Builds the console beside the committed one and compares every file.
fn web() -> Result<(), Failure> {
    install::node()?;
    let folder = shell::root().join("web");
    npm_packages(&folder)?;
    shell::run(shell::command("npm", &["run", "--silent", "check"]).current_dir(&folder))?;
    let fresh = shell::root().join("target/web-dist");
    let out = fresh.to_string_lossy();
    let arguments = ["exec", "--", "vite", "build", "--logLevel", "warn", "--emptyOutDir", "--outDir", &out];
    shell::run(shell::command("npm", &arguments).current_dir(&folder))?;
    let (committed, built) = (files(&shell::root().join("crates/server/console"))?, files(&fresh)?);
    let names = committed.keys().chain(built.keys());
    let mut differ: Vec<&str> =
        names.filter(|name| committed.get(*name) != built.get(*name)).map(String::as_str).collect();
    differ.sort_unstable();
    differ.dedup();
    if differ.is_empty() {
        println!("web: {} files, the same bytes", built.len());
        return Ok(());
    }
    Err(format!(
        "crates/server/console is not what web/ builds: {}; run npm run build in web/",
        differ.join(", ")
    )
    .into())
}

/// Installs what the lock file says, unless that has been done for this very file.
fn npm_packages(folder: &Path) -> Result<(), Failure> {
    let lock = std::fs::read(folder.join("package-lock.json"))?;
    let done = folder.join("node_modules/.installed-lock.json");
    if std::fs::read(&done).is_ok_and(|before| before == lock) {
        return Ok(());
    }
    install::node()?;
    shell::run(shell::command("npm", &["ci", "--no-audit", "--no-fund", "--silent"]).current_dir(folder))?;
    Ok(std::fs::write(done, lock)?)
}

/// Contents by path, of all files of a folder.
fn files(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(next) = waiting.pop() {
        for entry in std::fs::read_dir(&next)? {
            let path = entry?.path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                let name = path.strip_prefix(folder)?.to_string_lossy().into_owned();
                found.insert(name, std::fs::read(&path)?);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn fails() -> Result<(), Failure> {
        Err("always".into())
    }

    #[test]
    fn a_step_of_real_programs_has_a_second_run_and_others_have_none() {
        static RUNS: AtomicU32 = AtomicU32::new(0);
        let unsteady: Run = || {
            if RUNS.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) { Err("once".into()) } else { Ok(()) }
        };
        let verdict = |step: &Step, may_repeat| {
            let outcome = carry_out(step, may_repeat);
            (outcome.first, outcome.result.map_err(|error| error.to_string()))
        };
        assert_eq!(verdict(&live("a", "", unsteady), true), (Some("once".to_owned()), Ok(())));
        assert_eq!(
            verdict(&live("b", "", fails), true),
            (Some("always".to_owned()), Err("always".to_owned()))
        );
        assert_eq!(verdict(&step("c", "", unsteady), true), (None, Err("once".to_owned())));
        assert_eq!(verdict(&live("d", "", fails), false), (None, Err("always".to_owned())), "too late");
        assert!(summary(&[carry_out(&live("e", "", fails), true)]).is_err());
        assert_eq!(property_seed(), property_seed());
    }
}
