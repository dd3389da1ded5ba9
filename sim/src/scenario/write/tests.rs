use super::*;
use crate::chaos::{Profile, draw};
use crate::scenario::load;
use controller_core::Release;

fn title() -> Title {
    let expect = [(Str::from("next"), Expect { holds: Some(crate::scenario::file::Holds::All), ..Expect::default() })];
    Title { name: "drawn".into(), why: "Drawn at random.".into(), expect: expect.into(), ..Title::default() }
}

/// Whatever the generator draws can be written, is accepted by the reader, and makes the same plan again.
#[test]
fn what_is_written_reads_back_as_the_same_plan() {
    let profile = Profile::named("release").expect("built in");
    let releases = [Release::Next, Release::V0_9_1, Release::V0_12_0];
    for seed in 0..600 {
        let plan = draw(seed, &profile, releases[seed as usize % 3]);
        let scenario = scenario(&plan, &title()).expect("nothing that files cannot say");
        let text = text(&scenario, &["A story.".into()]);
        let loaded = load("drawn.yaml", &text).unwrap_or_else(|e| panic!("seed {seed}\n{}\n{text}", e.render(false)));
        let again = loaded.plan(None, plan.release(), plan.seed).expect("it has no variants");
        assert!(says(&loaded.scenario, &plan), "seed {seed}\n{text}\n{}\n{}", plan.to_yaml(), again.to_yaml());
    }
}

#[test]
fn scalars_are_quoted_where_yaml_would_read_something_else() {
    for (text, written) in [
        ("5m", "5m"),
        ("1/20", "1/20"),
        ("*", "\"*\""),
        ("1.34", "\"1.34\""),
        ("true", "\"true\""),
        ("a: b", "\"a: b\""),
    ] {
        assert_eq!(scalar(text), written);
    }
}

#[test]
fn steady_arrivals_are_one_entry() {
    let at = |secs: &[u64]| secs.iter().map(|s| Dur::secs(*s)).collect::<Vec<_>>();
    assert_eq!(steps(&at(&[5, 5, 15, 15, 25, 25])), (6, 2, Some(Dur::secs(10)), 3));
    assert_eq!(steps(&at(&[5, 5, 15])), (2, 2, None, 1));
    assert_eq!(steps(&at(&[5, 6, 7, 9])), (3, 1, Some(Dur::secs(1)), 3));
    assert_eq!(steps(&at(&[5])), (1, 1, None, 1));
}
