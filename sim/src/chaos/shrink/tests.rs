//! Shrink quality, with failures whose smallest form is known: no world is run.

use super::*;
use crate::chaos::{Profile, draw};
use crate::plan::Fault;
use crate::plan::fault::NetMode;
use controller_core::Release;

fn profile() -> Profile {
    Profile::named("release").unwrap_or_else(|| panic!("built in"))
}

fn plans(keep: impl Fn(&Plan) -> bool) -> impl Iterator<Item = Plan> {
    (0..400).map(|seed| draw(seed, &profile(), Release::V0_9_1)).filter(keep).take(12).collect::<Vec<_>>().into_iter()
}

fn faults(plan: &Plan, id: &str) -> usize {
    plan.actions.iter().filter(|a| kind(a) == id).count()
}

/// One fault is to blame: everything else goes, and of it only what matters stays.
#[test]
fn one_fault_is_left_of_many() {
    for plan in plans(|p| faults(p, "net_cut") > 0 && p.actions.len() > 8) {
        let shrunk = shrink(&plan, false, &mut |p| faults(p, "net_cut") > 0, 2_000);
        assert!(shrunk.minimal && shrunk.tries < 400, "{} tries", shrunk.tries);
        assert_eq!(shrunk.plan.actions.len(), 1);
        let Action::Fault(Fault::NetCut(cut)) = &shrunk.plan.actions[0].what else {
            panic!("{:?}", shrunk.plan.actions)
        };
        assert!(cut.count.is_none() && cut.probability.is_one(), "{cut:?}");
        assert!(
            matches!(shrunk.plan.actions[0].when, When::At(Dur::ZERO))
                || cut.mode == NetMode::Delay
                || shrunk.plan.actions[0].lasts.is_some()
        );
        assert!(shrunk.plan.world.clusters.len() == 1 && shrunk.plan.world.clusters[0].scale_sets.is_empty());
        assert_eq!(shrunk.plan.world.github, crate::plan::world::GithubSpec::default());
        assert_eq!(shrunk.plan.run_for, Dur::secs(10));
    }
}

/// Two things are needed together: both stay, whatever their order in the plan.
#[test]
fn two_causes_stay_together() {
    let both = |p: &Plan| faults(p, "net_cut") > 0 && faults(p, "job") >= 3;
    for plan in plans(both) {
        let shrunk = shrink(&plan, false, &mut |p| both(p), 2_000);
        assert!(shrunk.minimal);
        assert_eq!(
            (faults(&shrunk.plan, "net_cut"), faults(&shrunk.plan, "job"), shrunk.plan.actions.len()),
            (1, 3, 4)
        );
    }
}

/// A number that matters is found exactly; one that does not falls to its least.
#[test]
fn numbers_fall_to_what_is_needed() {
    let wide =
        |p: &Plan| p.world.clusters.iter().flat_map(|c| &c.scale_sets).any(|s| s.max_runners.is_some_and(|m| m >= 2));
    for plan in plans(wide) {
        let shrunk = shrink(&plan, false, &mut |p| wide(p), 2_000);
        assert!(shrunk.plan.actions.is_empty());
        let max: Vec<_> =
            shrunk.plan.world.clusters.iter().flat_map(|c| &c.scale_sets).map(|s| s.max_runners).collect();
        assert_eq!(max, [Some(2)]);
    }
}

/// A run is cut short, and a trigger that would have waited longer is one that the scenario file may still name.
#[test]
fn nothing_waits_until_the_run_is_over() {
    let latest = |p: &Plan| {
        let triggers = p.actions.iter().filter_map(|a| if let When::Event(t) = &a.when { t.at_latest } else { None });
        triggers.max()
    };
    for plan in plans(|p| latest(p).is_some()) {
        let shrunk = shrink(&plan, false, &mut |p| latest(p).is_some(), 2_000).plan;
        assert_eq!(shrunk.run_for, Dur::secs(10));
        assert!(latest(&shrunk).is_some_and(|at| at < shrunk.run_for), "{:?}", shrunk.actions);
    }
}

/// The budget is a number of executions, and what is returned fails in any case.
#[test]
fn the_budget_is_kept_and_the_result_still_fails() {
    let fails = |p: &Plan| faults(p, "job") >= 2;
    for plan in plans(|p| faults(p, "job") >= 6) {
        let mut runs = 0;
        let shrunk = shrink(
            &plan,
            false,
            &mut |p| {
                runs += 1;
                fails(p)
            },
            7,
        );
        assert!(runs <= 7 && shrunk.tries == runs && !shrunk.minimal);
        assert!(fails(&shrunk.plan));
    }
}

/// A failure of the end state keeps the time that a world may take to settle.
#[test]
fn what_is_judged_at_the_end_keeps_its_time() {
    for plan in plans(|p| faults(p, "job") > 0) {
        let shrunk = shrink(&plan, true, &mut |p| faults(p, "job") > 0, 2_000);
        assert!(shrunk.plan.settle >= crate::chaos::settle::bound(&shrunk.plan).total());
    }
}

/// What was there before goes entry by entry; of what stays, the part that matters stays.
#[test]
fn of_what_was_there_before_one_entry_is_left() {
    let lost = |p: &Plan| p.world.existing.runners.iter().any(|r| !r.registered);
    let mut seen = 0;
    for plan in plans(|p| lost(p) && p.world.existing.runners.len() > 1) {
        let shrunk = shrink(&plan, false, &mut |p| lost(p), 2_000).plan;
        let left = &shrunk.world.existing;
        assert!(left.backlog.is_empty() && left.sessions.is_empty() && shrunk.actions.is_empty());
        assert_eq!(left.runners.iter().map(|r| r.count).collect::<Vec<_>>(), [1], "{left:?}");
        assert!(!left.runners[0].registered);
        seen += 1;
    }
    assert!(seen > 0);
}
