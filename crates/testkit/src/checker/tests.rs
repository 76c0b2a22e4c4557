use super::*;
use crate::log::{from_text, to_text};

/// A log in which one client sees three publications.
const GOOD: &str = r#"{"t":1,"e":"channel","ch":"a","history":10,"limit":0,"lossless":true}
{"t":1,"e":"subscribing","c":1,"ch":"a","since":null}
{"t":2,"e":"subscribed","c":1,"ch":"a","was_recovering":false,"recovered":false,"epoch":"E","offset":0,"pubs":[]}
{"t":3,"e":"invoke","p":1,"ch":"a","s":1,"n":5}
{"t":3,"e":"ok","p":1,"ch":"a","s":1,"epoch":"E","offset":1}
{"t":4,"e":"pub","c":1,"ch":"a","seen":{"offset":1,"p":1,"s":1,"n":5}}
{"t":5,"e":"disconnected","c":1,"code":0}
{"t":5,"e":"invoke","p":1,"ch":"a","s":2,"n":6}
{"t":5,"e":"ok","p":1,"ch":"a","s":2,"epoch":"E","offset":2}
{"t":6,"e":"subscribing","c":1,"ch":"a","since":["E",1]}
{"t":7,"e":"subscribed","c":1,"ch":"a","was_recovering":true,"recovered":true,"epoch":"E","offset":1,"pubs":[{"offset":2,"p":1,"s":2,"n":6}]}
{"t":8,"e":"calm"}
{"t":8,"e":"invoke","p":1,"ch":"a","s":3,"n":7}
{"t":8,"e":"ok","p":1,"ch":"a","s":3,"epoch":"E","offset":3}
{"t":9,"e":"pub","c":1,"ch":"a","seen":{"offset":3,"p":1,"s":3,"n":7}}
{"t":9,"e":"final","node":0,"ch":"a","epoch":"E","offset":3,"pubs":[{"offset":1,"p":1,"s":1,"n":5},{"offset":2,"p":1,"s":2,"n":6},{"offset":3,"p":1,"s":3,"n":7}]}
"#;

fn first(text: &str) -> Option<Check> {
    let lines = from_text(text).expect("a log");
    check(&lines).violations.first().map(|violation| violation.check)
}

#[test]
fn a_good_log_is_good() {
    assert_eq!(first(GOOD), None);
    let lines = from_text(GOOD).expect("a log");
    assert_eq!(to_text(&lines), GOOD, "and reads as it was written");
    let counts = check(&lines).counts;
    assert_eq!((counts.acked, counts.delivered, counts.recovered_with_publications), (3, 3, 1));
}

/// A channel without publications shows another epoch in each era, and positions of all of them are good.
#[test]
fn a_position_of_an_earlier_empty_era_is_good() {
    let log = |held: &str, before: &str| {
        format!(
            r#"{{"t":1,"e":"channel","ch":"a","history":10,"limit":0,"lossless":true}}
{before}{{"t":2,"e":"subscribing","c":1,"ch":"a","since":["{held}",0]}}
{{"t":3,"e":"subscribed","c":1,"ch":"a","was_recovering":true,"recovered":true,"epoch":"x-5","offset":0,"pubs":[]}}
"#
        )
    };
    let refused = |text: String| {
        let lines = from_text(&text).expect("a log");
        check(&lines).violations.iter().any(|violation| violation.check == Check::Recovered)
    };
    assert!(!refused(log("x-4", "")));
    assert!(refused(log("y-4", "")), "of another life or channel");
    let published = r#"{"t":1,"e":"invoke","p":1,"ch":"a","s":1,"n":5}
{"t":1,"e":"ok","p":1,"ch":"a","s":1,"epoch":"x-4","offset":1}
"#;
    assert!(refused(log("x-4", published)), "something was missed");
}

#[test]
fn each_lie_is_found() {
    let lies = [
        // A publication doubled, left out, changed, from nowhere, at a place of another.
        (r#""seen":{"offset":3,"p":1"#, r#""seen":{"offset":2,"p":1"#, Check::Segment),
        (r#""seen":{"offset":3,"p":1"#, r#""seen":{"offset":4,"p":1"#, Check::Segment),
        (r#""p":1,"s":3,"n":7}}"#, r#""p":1,"s":3,"n":8}}"#, Check::Invention),
        (
            r#""pubs":[{"offset":2,"p":1,"s":2,"n":6}]"#,
            r#""pubs":[{"offset":2,"p":1,"s":1,"n":5}]"#,
            Check::Fork,
        ),
        // Recovered in part, with nothing, in another epoch, without having asked, or needlessly not.
        (
            r#""offset":1,"pubs":[{"offset":2,"p":1,"s":2,"n":6}]}"#,
            r#""offset":2,"pubs":[]}"#,
            Check::Recovered,
        ),
        (r#""since":["E",1]"#, r#""since":["D",1]"#, Check::Recovered),
        (r#""since":["E",1]"#, r#""since":null"#, Check::Protocol),
        (
            r#""recovered":true,"epoch":"E","offset":1"#,
            r#""recovered":false,"epoch":"E","offset":2"#,
            Check::Partial,
        ),
        // The end: a number twice, a top that is not there, another epoch, no rest.
        (
            r#"{"offset":3,"p":1,"s":3,"n":7}]}"#,
            r#"{"offset":3,"p":1,"s":3,"n":7},{"offset":4,"p":1,"s":3,"n":7}]}"#,
            Check::PublisherOrder,
        ),
        (r#""epoch":"E","offset":3,"pubs":["#, r#""epoch":"E","offset":4,"pubs":["#, Check::Kept),
        (r#""final","node":0,"ch":"a","epoch":"E""#, r#""final","node":0,"ch":"a","epoch":"F""#, Check::Kept),
        ("{\"t\":8,\"e\":\"calm\"}\n", "", Check::Liveness),
    ];
    for (what, lie, check) in lies {
        assert!(GOOD.contains(what), "{what}");
        assert_eq!(first(&GOOD.replace(what, lie)), Some(check), "{lie}");
    }
    let needless = GOOD.replace(
        r#""recovered":true,"epoch":"E","offset":1,"pubs":[{"offset":2,"p":1,"s":2,"n":6}]"#,
        r#""recovered":false,"epoch":"E","offset":2,"pubs":[]"#,
    );
    assert_eq!(first(&needless), Some(Check::Precision));
    let behind = GOOD.replace(
        "{\"t\":9,\"e\":\"pub\",\"c\":1,\"ch\":\"a\",\"seen\":{\"offset\":3,\"p\":1,\"s\":3,\"n\":7}}\n",
        "",
    );
    assert_eq!(first(&behind), Some(Check::Liveness));
}
