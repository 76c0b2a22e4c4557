//! Cost of token checks and permission decisions. No server runs here: an example of the server's crate
//! calls the same functions.

use super::figure;
use crate::bench::Bench;
use crate::bench::report::{Budget, Figure, Reading};
use crate::bench::rig::{Round, Rounds, Sample};
use crate::shell::{self, Failure};
use serde_json::Value;

/// By algorithm: the names of its time and of its ratio, and what they are called.
const ALGORITHMS: [(&str, &str, &str, &str); 10] = [
    ("HS256", "HS256_ratio", "HS256", "HS256, of jsonwebtoken's"),
    ("HS384", "HS384_ratio", "HS384", "HS384, of jsonwebtoken's"),
    ("HS512", "HS512_ratio", "HS512", "HS512, of jsonwebtoken's"),
    ("RS256", "RS256_ratio", "RS256, 2048 bits", "RS256, of jsonwebtoken's"),
    ("RS384", "RS384_ratio", "RS384, 2048 bits", "RS384, of jsonwebtoken's"),
    ("RS512", "RS512_ratio", "RS512, 2048 bits", "RS512, of jsonwebtoken's"),
    ("ES256", "ES256_ratio", "ES256", "ES256, of jsonwebtoken's"),
    ("ES384", "ES384_ratio", "ES384", "ES384, of jsonwebtoken's"),
    ("ES512", "ES512_ratio", "ES512, which jsonwebtoken lacks", ""),
    ("EdDSA", "EdDSA_ratio", "EdDSA", "EdDSA, of jsonwebtoken's"),
];

pub(super) fn verify(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    let mut figures = Vec::new();
    for (time, ratio, what, beside) in ALGORITHMS {
        figures.push(figure(time, what, "µs", Reading::Plain, Budget::None));
        if !beside.is_empty() {
            figures.push(figure(ratio, beside, "×", Reading::Plain, Budget::None));
        }
    }
    figures.push(figure("cache", "a token that a cache remembers", "µs", Reading::Plain, Budget::None));
    run(bench, row, "verify", &figures, |found| {
        let us =
            |name: &str, side: &str| found.get(name).and_then(|one| one.get(side)).and_then(Value::as_f64);
        let mut sample = Sample::new();
        for (time, ratio, _, beside) in ALGORITHMS {
            let ours = us(time, "us").ok_or_else(|| format!("no figure for {time}"))?;
            sample.insert(time, ours);
            if !beside.is_empty() {
                sample
                    .insert(ratio, ours / us(time, "other").ok_or_else(|| format!("nothing beside {time}"))?);
            }
        }
        sample.insert("cache", us("cache", "us").ok_or("no figure for the cache")?);
        Ok(sample)
    })
}

pub(super) fn decide(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    const KEYS: [(&str, &str); 5] = [
        ("flag", "by a flag of the namespace"),
        ("refusal", "refused"),
        ("caps", "by caps, the third channel, a wildcard"),
        ("caps_regex", "by caps, an expression"),
        ("pattern", "by a flag, the namespace by its pattern"),
    ];
    let figures = KEYS.map(|(key, what)| figure(key, what, "ns", Reading::Plain, Budget::None));
    run(bench, row, "decide", &figures, |found| {
        let value =
            |key: &str| found.get(key).and_then(Value::as_f64).ok_or_else(|| format!("no figure for {key}"));
        KEYS.iter().map(|(key, _)| Ok((*key, value(key)?))).collect()
    })
}

/// Runs the program once for each round.
fn run(
    bench: &mut Bench,
    row: &'static str,
    what: &str,
    figures: &[Figure],
    read: impl Fn(&Value) -> Result<Sample, Failure>,
) -> Result<(), Failure> {
    let build = ["build", "--release", "--locked", "--package", "spinward-server", "--example", "cost"];
    shell::run(&mut shell::cargo(&build))?;
    let program = shell::target().join("release/examples/cost");
    let mut rounds = Rounds::default();
    for _ in 0..bench.rounds {
        let found: Value = serde_json::from_str(&shell::output(&mut shell::command(&program, &[what]))?)?;
        rounds.kept.push(Round { floor: Sample::new(), samples: vec![read(&found)?] });
    }
    bench.report.add(row, &["spinward".to_owned()], figures, &rounds);
    Ok(())
}
