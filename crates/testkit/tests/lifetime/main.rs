//! Lifetime of access: production sessions with the server's own hooks under a virtual clock, step by
//! step against a model that is small enough to be seen to be right.
//!
//! After the end and its grace nothing is delivered; before it nothing is taken away; only a valid refresh moves
//! the end; a refresh changes permissions and never the user. What a token allows a subscriber ends with the
//! subscription that rests on it, and what capabilities allow ends with the refresh that has them no more. Each grant
//! of a subscription ends in one call to the application.
//!
//! 100,000 steps, or `SPINWARD_STEPS`; `SPINWARD_SEED=7` runs one seed.

#![allow(clippy::expect_used, reason = "a test may fail")]

mod line;
mod model;
mod rules;
mod tokens;
mod world;

use model::Counts;
use spinward::fault::{self, Fault};
use world::run;

/// Steps of one run.
const STEPS: u64 = 1_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn access_lasts_as_long_as_the_model_says() {
    let seeds = match number("SPINWARD_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SPINWARD_STEPS").unwrap_or(100_000).div_ceil(STEPS),
    };
    let runs = seeds.end - seeds.start;
    let mut total = Counts::default();
    for seed in seeds {
        if let Err(fault) = run(seed, STEPS, &mut total) {
            panic!("SPINWARD_SEED={seed}: {fault}");
        }
    }
    println!("{} steps: {total:?}", runs * STEPS);
    if runs > 20 {
        let Counts { logins, refreshes, refused, logins_over, subscriptions_over, .. } = total;
        let Counts { sub_refreshes, delivered, kept, api, .. } = total;
        let Counts { lapsed, refused_after_grant, replaced, allowed, denied, .. } = total;
        let all = [logins, refreshes, refused, logins_over, subscriptions_over, sub_refreshes, kept, api];
        let rarer = [lapsed, refused_after_grant, replaced, allowed, denied];
        assert!(rarer.iter().all(|count| 5 * count > runs), "{total:?}");
        assert!(all.iter().all(|count| *count > runs) && delivered > 10 * runs, "{total:?}");
    }
}

#[test]
fn planted_faults_are_caught() {
    for fault in Fault::LIFETIME {
        let caught = (0..200).find_map(|seed| {
            fault::plant(Some(fault), 0);
            let verdict = run(seed, STEPS, &mut Counts::default());
            let struck = fault::struck();
            fault::plant(None, 0);
            verdict.err().map(|found| (seed, struck, found))
        });
        let (seed, struck, found) = caught.unwrap_or_else(|| panic!("{fault:?} was not caught"));
        println!("{fault:?}: caught with seed {seed}: {found}");
        assert!(struck, "{fault:?}: something else was caught: {found}");
    }
}
