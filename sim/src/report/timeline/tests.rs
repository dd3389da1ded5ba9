//! What a page holds: every event once, every lane, data that parses, nothing from elsewhere.

use serde_json::Value;

use super::*;
use crate::scenario::load;
use crate::world;

const SCENARIO: &str = r#"
name: two-runners
why: "Half of it fails, </script><b>all</b> of it is told."
release: 0.9.3
clusters: [{ scale_sets: [{ name: linux, max_runners: 2 }] }]
workload: [{ pattern: burst, scale_set: linux, count: 2, duration: 30s }]
faults:
  - { id: kill, at: 40s, actor_crash: { target: listener/linux } }
  - { id: ghost, at: 30s, for: 20s, gh_error: { op: get_message, status: 500 } }
run_for: 3m
expect: { next: { holds: all } }
"#;

fn made() -> (Plan, RunReport) {
    let loaded = load("two-runners.yaml", SCENARIO).unwrap_or_else(|r| panic!("{}", r.render(false)));
    let plan = loaded.plan(None, loaded.release(), 3).unwrap_or_else(|| panic!("no plan"));
    let made = world::run(&plan, &world::RunOptions { trace: true, ..world::RunOptions::default() });
    (plan, made)
}

fn story() -> Story {
    Story { why: "</script><!-- & \" '".into(), replay: "arc-sim run x.yaml".into(), ..Story::default() }
}

/// The data within a page.
fn embedded(page: &str) -> Value {
    let (_, rest) = page.split_once(r#"<script type="application/json" id="run">"#).expect("the page holds data");
    let (data, _) = rest.split_once("</script>").expect("the data ends");
    serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_event_is_there_and_points_at_a_lane_and_a_text() {
    let (plan, made) = made();
    let data = embedded(&page(&plan, &made, &story()));
    let column = |of: &str, name: &str| {
        let column = data[of][name].as_array().unwrap_or_else(|| panic!("no column {name}"));
        column.iter().map(|v| v.as_u64().unwrap_or_else(|| panic!("{name}: {v}"))).collect::<Vec<_>>()
    };
    let (lanes, strings) =
        (data["lanes"].as_array().map_or(0, Vec::len), data["strings"].as_array().map_or(0, Vec::len));
    let events = made.trace.events();
    for (name, limit) in
        [("lane", lanes), ("to", lanes + 1), ("text", strings), ("detail", strings), ("sort", data::SORTS.len())]
    {
        let column = column("events", name);
        assert_eq!(column.len(), events.len(), "{name}");
        assert!(column.iter().all(|v| (*v as usize) < limit), "{name}");
    }
    let mut at = 0;
    for (event, (step, back)) in events.iter().zip(column("events", "at").into_iter().zip(column("events", "cause"))) {
        at += step;
        assert_eq!((at, if back == 0 { 0 } else { u64::from(event.id) - back }), (event.at.0, u64::from(event.cause)));
    }
    let calls = column("calls", "event");
    assert!(calls.len() > 50, "{} calls", calls.len());
    assert!(calls.iter().all(|event| (1..=events.len() as u64).contains(event)));
    // Both the request's way and the reply's are known of most calls, and took time.
    let heard = column("calls", "back").iter().filter(|back| **back > 1).count();
    assert!(heard * 10 > calls.len() * 9, "{heard} of {} replies", calls.len());
}

#[test]
fn processes_objects_and_faults_have_their_lanes() {
    let (plan, made) = made();
    let data = embedded(&page(&plan, &made, &story()));
    let group =
        |lane: &Value| data["groups"][lane["group"].as_u64().unwrap_or(0) as usize]["name"].as_str().unwrap_or("");
    let lanes = data["lanes"].as_array().cloned().unwrap_or_default();
    let names = |of: &str| -> Vec<&str> {
        lanes.iter().filter(|l| group(l) == of).filter_map(|l| l["name"].as_str()).collect()
    };
    assert_eq!(names("Controllers"), ["controller/arc"]);
    assert_eq!(names("Listeners"), ["listener/linux"]);
    assert_eq!(names("Faults"), ["ghost (gh_error)", "kill (actor_crash)"]);
    assert_eq!(names("AutoscalingRunnerSet"), ["arc-runners/linux"]);
    for (of, least) in
        [("Jobs", 2), ("Runners", 2), ("Runner pods", 2), ("EphemeralRunner", 2), ("Registered runners", 2)]
    {
        assert!(names(of).len() >= least, "{of}: {:?}", names(of));
    }
    // A fault that lasts is a band; one that happens is none.
    let bands: Vec<_> =
        data["bands"].as_array().into_iter().flatten().map(|b| (&b["name"], &b["from"], &b["to"])).collect();
    assert_eq!(serde_json::json!(bands), serde_json::json!([["ghost", 30_000_000, 50_000_000]]));
    assert_eq!(data["findings"].as_array().map(Vec::len), Some(made.violations.len()));
}

#[test]
fn texts_cannot_leave_their_element() {
    let (plan, made) = made();
    let page = page(&Plan { scenario: "<b>&</b>".into(), ..plan }, &made, &story());
    assert!(page.contains("<title>&lt;b&gt;&amp;&lt;/b&gt; 0.9.3 seed 3"), "{}", &page[..400]);
    assert_eq!(embedded(&page)["story"]["why"], "</script><!-- & \" '");
    assert_eq!(page.matches("</script>").count(), 2, "the data's end and the scripts' end");
    assert!(!page.contains("<!--"));
}

#[test]
fn a_page_needs_nothing_from_elsewhere() {
    let shell = [PAGE, STYLE].into_iter().chain(SCRIPTS);
    for text in shell {
        for outside in ["http:", "https:", " src=", "href=", "@import", "url(", "fetch(", "XMLHttpRequest", "import("] {
            assert!(!text.contains(outside), "{outside}");
        }
    }
    for hole in ["{{title}}", "{{style}}", "{{data}}", "{{scripts}}"] {
        assert_eq!(PAGE.matches(hole).count(), 1, "{hole}");
        assert!(!SCRIPTS.iter().any(|s| s.contains(hole)));
    }
}

#[test]
fn a_run_without_history_still_makes_a_page() {
    let (plan, _) = made();
    let made = world::run(&plan, &world::RunOptions::default());
    let data = embedded(&page(&plan, &made, &Story::default()));
    assert_eq!(data["events"]["at"].as_array().map(Vec::len), Some(0));
    assert!(made.trace.trips().is_empty());
}

#[test]
fn keeping_a_history_changes_no_fingerprint() {
    let (plan, kept) = made();
    assert_eq!(world::run(&plan, &world::RunOptions::default()).fingerprint, kept.fingerprint);
}

#[test]
fn a_violation_stands_for_its_event_or_else_for_the_last_of_what_it_is_about() {
    let (plan, mut made) = made();
    let violation = |invariant: &'static str, cause, about: &str, at| Violation {
        invariant,
        component: "set",
        at: Time::from_secs(at),
        said: "it broke".into(),
        about: vec![about.into()],
        cause,
    };
    let set = "AutoscalingRunnerSet arc-runners/linux";
    made.violations = vec![violation("a", 9, set, 60), violation("b", 0, set, 60), violation("c", 0, "nobody", 0)];
    let data = embedded(&page(&plan, &made, &story()));
    let event = |n: usize| data["findings"][n]["event"].as_u64().unwrap_or(0);
    assert_eq!(event(0), 9);
    let last = made.trace.event(event(1) as u32).map(|e| (e.at, e.what.to_string()));
    let last = last.unwrap_or_else(|| panic!("no event"));
    assert!(last.0 <= Time::from_secs(60) && last.1.contains("arc-runners/linux"), "{last:?}");
    assert!(event(2) > 0 && made.trace.event(event(2) as u32).is_some_and(|e| e.at == Time::ZERO));
}

#[test]
fn a_bound_says_since_when() {
    assert_eq!(since("no poll (since t+1:00:26.057, 203 s)"), Some(Time::from_millis(3_626_057)));
    assert_eq!(since("is pending (since t+00:20.000)"), Some(Time::from_secs(20)));
    assert_eq!(since("no poll"), None);
}
