//! What is drawn: the same for ever, within the budget, varied.

use std::collections::BTreeSet;

use super::*;
use crate::plan::world::ExistingRunners;

fn nightly() -> Profile {
    Profile::named("nightly").unwrap_or_else(|| panic!("built in"))
}

#[test]
fn a_seed_is_one_plan_and_leaving_a_fault_out_changes_no_other() {
    let profile = nightly();
    let plan = |seed| draw(seed, &profile, Release::Next);
    assert_eq!(plan(7), plan(7));
    let mut fewer = profile.clone();
    fewer.most.operators = 0;
    for seed in 0..50 {
        let (with, without) = (plan(seed), draw(seed, &fewer, Release::Next));
        assert_eq!(with.world, without.world, "operators shift no world");
        let faults = |p: &Plan| {
            let of = |a: &&PlannedAction| matches!(a.what, Action::Fault(_)) && a.id.starts_with('f');
            p.actions.iter().filter(of).map(|a| a.id.clone()).collect::<Vec<_>>()
        };
        if !with.actions.iter().any(|a| matches!(&a.what, Action::Operator(o) if o.id() == "uninstall")) {
            assert_eq!(faults(&with), faults(&without), "seed {seed}");
        }
    }
}

#[test]
fn every_family_and_action_of_the_profile_is_drawn() {
    let profile = nightly();
    let mut drawn = BTreeSet::new();
    for seed in 0..4_000 {
        drawn.extend(draw(seed, &profile, Release::V0_12_1).actions.iter().map(|a| match &a.what {
            Action::Fault(f) => f.id(),
            Action::Operator(o) => o.id(),
            _ => "job",
        }));
    }
    let wanted = profile.faults.keys().chain(profile.operators.keys());
    let missing: Vec<_> = wanted.filter(|id| !drawn.contains(id.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Whatever a runner can be left as is drawn, and no set has more of them than it may.
#[test]
fn worlds_begin_with_runners_jobs_and_sessions_from_before() {
    let profile = nightly();
    let worlds: Vec<_> = (0..4_000).map(|seed| draw(seed, &profile, Release::Next).world).collect();
    let begun: Vec<_> = worlds.iter().filter(|w| w.existing != Default::default()).collect();
    assert!((300..700).contains(&begun.len()), "{} of 4,000", begun.len());
    let runners: Vec<_> = begun.iter().flat_map(|w| &w.existing.runners).collect();
    let busy = |r: &&&ExistingRunners| r.busy_for > Dur::ZERO;
    let left = |r: &&ExistingRunners| (busy(&r), r.registered, r.pods, r.failures > 0);
    let ways: BTreeSet<_> = runners.iter().map(left).collect();
    assert_eq!(ways.len(), 6, "{ways:?}");
    assert!(
        begun.iter().any(|w| !w.existing.backlog.is_empty()) && begun.iter().any(|w| !w.existing.sessions.is_empty())
    );
    for world in begun {
        for (set, spec) in world.set_refs() {
            let of_set = world.existing.runners.iter().filter(|r| r.scale_set == set);
            assert!(of_set.map(|r| r.count).sum::<u32>() <= spec.max_runners.unwrap_or(u32::MAX));
        }
    }
}

#[test]
fn everything_ends_in_time_and_ids_are_unique() {
    let profile = nightly();
    for seed in 0..1_000 {
        let plan = draw(seed, &profile, Release::Next);
        let ids: BTreeSet<_> = plan.actions.iter().map(|a| &a.id).collect();
        assert_eq!(ids.len(), plan.actions.len(), "seed {seed}");
        for action in &plan.actions {
            if let (When::At(at), Action::Fault(_)) = (&action.when, &action.what) {
                assert!(at.0 + action.lasts.unwrap_or_default().0 <= plan.run_for.0, "seed {seed}: {action:?}");
            }
        }
        assert!(plan.settle >= Dur::secs(600));
    }
}

#[test]
fn swarm_switches_families_off_and_on() {
    let profile = nightly();
    let weights =
        |seed| swarm(&mut Draws::of(&Streams::new(seed), "swarm faults"), &profile.faults, profile.family_off);
    let off = |seed| weights(seed).iter().filter(|(w, _)| *w == 0).count();
    let all = profile.faults.len();
    let counts: Vec<usize> = (0..200).map(off).collect();
    let mean = counts.iter().sum::<usize>() / counts.len();
    assert!((all / 3..=2 * all / 3).contains(&mean), "{mean} of {all}");
    assert!(counts.iter().any(|n| *n < all / 3) && counts.iter().any(|n| *n > 2 * all / 3));
}
