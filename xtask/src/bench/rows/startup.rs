//! Start-up time and size of the binary.

use super::{figure, names, unchanged};
use crate::bench::Bench;
use crate::bench::report::{Budget, Reading};
use crate::bench::rig::{Round, Rounds, Sample};
use crate::bench::server::Target;
use crate::shell::Failure;

pub(super) fn run(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    let figures = [
        figure("ready", "start to ready", "ms", Reading::Plain, Budget::AtMost(50.0)),
        figure("rss", "RSS at start", "MB", Reading::Plain, Budget::None),
        figure("size", "binary, with line tables", "MB", Reading::Plain, Budget::None),
    ];
    let mut result = Rounds::default();
    for _ in 0..bench.rounds.max(9) {
        let mut samples = Vec::new();
        for target in &bench.targets {
            let server = target.start(&unchanged())?;
            let mut sample = Sample::from([("rss", server.rss()? / 1e6)]);
            if let (Some(ready), Target::Binary { file, .. }) = (server.ready_in, target) {
                sample.insert("ready", ready.as_secs_f64() * 1e3);
                sample.insert("size", std::fs::metadata(file)?.len() as f64 / 1e6);
            }
            samples.push(sample);
        }
        result.kept.push(Round { floor: Sample::new(), samples });
    }
    bench.report.add(row, &names(bench), &figures, &result);
    Ok(())
}
