//! What a plan writes, it reads.

use super::*;

fn check<T: std::str::FromStr<Err = NotA> + std::fmt::Display>(text: &str, canonical: &str) {
    let value: T = text.parse().unwrap_or_else(|e: NotA| panic!("`{text}` is not {e}"));
    assert_eq!(value.to_string(), canonical);
    let again: T = canonical.parse().unwrap_or_else(|e: NotA| panic!("`{canonical}` is not {e}"));
    assert_eq!(again.to_string(), canonical);
}

#[test]
fn scalars_read_what_people_write_and_write_one_form() {
    check::<Dur>("90s", "1m30s");
    check::<Dur>("1m30s", "1m30s");
    check::<Dur>("250ms", "250ms");
    check::<Dur>("24h", "1d");
    check::<Dur>("0s", "0s");
    check::<Offset>("+6m", "+6m");
    check::<Offset>("-15m", "-15m");
    check::<Ratio>("5 %", "5/100");
    check::<Ratio>("0.5%", "5/1000");
    check::<Ratio>("1/20", "1/20");
    check::<Delay>("3s", "3s");
    check::<Delay>("1s..3s", "1s..3s");
    check::<Delay>("3s, 121s..180s at 1 %", "3s, 2m1s..3m at 1/100");
    check::<Rate>("30 per 60s", "30 per 1m");
    check::<Cpu>("4", "4");
    check::<Cpu>("500m", "500m");
    check::<Bytes>("16Gi", "16Gi");
    check::<Actor>("listener/linux", "listener/linux");
    check::<SetRef>("prod/linux", "prod/linux");
    check::<ReleaseRef>("0.9.1", "0.9.1");
    check::<ReleaseRef>("previous", "previous");
    check::<ApiStatus>("503", "503");
    check::<Wait>("unset", "unset");
}

#[test]
fn scalars_refuse_what_they_are_not() {
    for text in ["", "20", "20 s", "s", "1s1m", "1m1m", "-3s", "1.5s", "99999999999999999999s", "213503982335d"] {
        assert!(text.parse::<Dur>().is_err(), "{text}");
    }
    for text in ["2/1", "1/0", "5", "101 %", "-1/2", "1/2/3", "%", "4294967295.9999%"] {
        assert!(text.parse::<Ratio>().is_err(), "{text}");
    }
    assert!("3s..1s".parse::<Delay>().is_err());
    assert!("0.9.9".parse::<ReleaseRef>().is_err());
    assert!("listner".parse::<Actor>().is_err());
}

#[test]
fn globs_match_whole_names() {
    let fits = |glob: &str, name: &str| Glob(glob.into()).matches(name);
    assert!(fits("*", "") && fits("a*c", "abc") && fits("a*", "a") && fits("*-runner-*", "linux-runner-x"));
    assert!(!fits("a*c", "abcd") && !fits("abc", "abcd") && !fits("a*a", "a") && fits("*b*b", "abab"));
}

#[test]
fn previous_is_the_tag_before() {
    assert_eq!(ReleaseRef::Previous.resolve(Release::V0_9_1), Release::V0_9_0);
    assert_eq!(ReleaseRef::Previous.resolve(Release::Next), Release::V0_14_2);
    assert_eq!(ReleaseRef::Previous.resolve(Release::V0_7_0), Release::V0_7_0);
}

#[test]
fn a_plan_reads_back_as_it_was_written() {
    let plan = Plan {
        schema: SCHEMA,
        scenario: "s".into(),
        variant: None,
        release: ReleaseRef::Exact(Release::V0_9_1),
        seed: u64::MAX,
        world: WorldSpec { clusters: vec![Default::default()], ..Default::default() },
        actions: vec![
            PlannedAction {
                id: "f1".into(),
                when: When::Event(Box::new(Trigger {
                    call: Some(Glob("github.delete_message".into())),
                    occurrence: 2,
                    ..Default::default()
                })),
                lasts: Some(Dur::secs(90)),
                ends_with: None,
                cluster: None,
                what: Action::Fault(Fault::GhSession(fault::GhSession {
                    mode: fault::SessionMode::Ghost,
                    ttl: Some(Dur::secs(1200)),
                    of: fault::SessionOf::Listener,
                    scope: Default::default(),
                })),
            },
            PlannedAction {
                id: "m: 1 #x".into(),
                when: When::At(Dur::secs(5)),
                lasts: None,
                ends_with: None,
                cluster: Some("prod".into()),
                what: Action::Mark("phase: 2 # not a comment".into()),
            },
        ],
        run_for: Dur::secs(60),
        settle: Dur::secs(60),
        forks: Vec::new(),
        limits: Limits::default(),
    };
    let text = plan.to_yaml();
    println!("{text}");
    let again: Plan = serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    assert_eq!(again, plan);
    assert_eq!(again.to_yaml(), text);
}

/// What an operator installs or upgrades to is of the release as well, and so are the definitions.
#[test]
fn a_plan_for_another_release_has_nothing_left_of_its_own() {
    let text = "
name: every-place
why: A release can stand in many places.
release: 0.9.3
clusters: [{ crds: run, controllers: [{ release: previous }, { name: two, namespace: two }], scale_sets: [{ name: linux, chart: run }] }]
operators: [{ at: 1m, upgrade: { chart: { scale_set: linux }, version: run } }, { at: 2m, install: { chart: { controller: two } } }]
run_for: 10m
expect: { 0.9.3: { holds: all } }
";
    let loaded = crate::scenario::load("a.yaml", text).unwrap_or_else(|e| panic!("{}", e.render(false)));
    let plan = loaded.plan(None, Release::V0_9_3, 0).expect("it has no variants");
    let other = plan.for_release(Release::Next).to_yaml();
    assert!(!other.contains("0.9.3"), "{other}");
    assert_eq!(plan.to_yaml().matches("0.9.3").count(), other.matches("next").count());
    assert_eq!(other.matches("0.9.2").count(), 1, "what is of another release stays: {other}");
}
