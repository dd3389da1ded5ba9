//! A failure that was found: shrunk, held against what the corrected controller does, and written as a scenario file.
//!
//! Its *causes* are the switches of the release without which it does not happen: each is given the value that `next` has, alone,
//! and the plan is run again. Two failures of one class with different causes are two findings.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use arc_api::{Str, format_smolstr};
use controller_core::{Behaviour, Release};
use schemars::JsonSchema;
use serde::Serialize;

use super::seed::{Class, Seen, examine};
use super::shrink::shrink;
use crate::invariant::{Sort, entry};
use crate::parallel::each;
use crate::plan::Plan;

/// A switch without which a failure does not happen.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, JsonSchema)]
pub struct Cause {
    /// Name of the switch.
    pub switch: &'static str,
    /// What the release does.
    pub has: &'static str,
    /// What the corrected controller does in its place.
    pub cured_by: &'static str,
}

/// A failure, small.
#[derive(Clone, PartialEq, Debug)]
pub struct Finding {
    /// What failed.
    pub class: Class,
    /// The seed it was found with.
    pub seed: u64,
    /// What it takes.
    pub plan: Plan,
    /// Actions before and after.
    pub actions: (usize, usize),
    /// Executions that shrinking took.
    pub tries: u32,
    /// Whether nothing more can be left out.
    pub minimal: bool,
    /// Each of these switches alone cures it; none: more than one fault is behind it, or one that `next` has as well, or it comes
    /// too seldom to tell.
    pub causes: Vec<Cause>,
    /// How sure it comes.
    pub odds: Odds,
    /// How often of ten it failed in the same way with the same fingerprint when it was run again.
    pub replays: u32,
}

/// A plan whose controllers behave in one point as others do.
pub fn with_switch(plan: &Plan, switch: &str, value: &str) -> Plan {
    let mut plan = plan.clone();
    plan.switch(switch, value);
    plan
}

/// Switches in which a release differs from the corrected controller.
pub fn differences(release: Release) -> Vec<Cause> {
    let (own, next) = (Behaviour::of(release), Behaviour::of(Release::Next));
    let differs = |s: &controller_core::behaviour::Switch| {
        let (has, cured_by) = (own.get(s.name)?, next.get(s.name)?);
        (has != cured_by).then_some(Cause { switch: s.name, has, cured_by })
    };
    Behaviour::SWITCHES.iter().filter_map(differs).collect()
}

/// Which single switches cure a failure, and not by chance: with every seed that was asked, of which it comes with these odds.
/// Nobody can tell of one that comes seldom, where every change of the course cures.
pub fn causes(plan: &Plan, class: &Class) -> (Vec<Cause>, Odds) {
    let (witnesses, odds) = witnesses(plan, class);
    if odds.are_low() {
        return (Vec::new(), odds);
    }
    let mut found = differences(plan.release());
    found.retain(|c| !fails(&with_switch(plan, c.switch, c.cured_by), class));
    // Another behaviour moves the race to other seeds: all are asked again, not only those that failed.
    let asked: Vec<Plan> =
        if odds.fail > WITNESSES { witnesses } else { seeds_from(plan).take(odds.of as usize).collect() };
    found.retain(|c| cures(&asked, class, c.switch, c.cured_by));
    (found, odds)
}

/// Other seeds in which a failure is looked for, and how many of them that fail are asked.
const OTHERS: u32 = 24;
const WITNESSES: u32 = 6;

/// With how many of the seeds that were asked a plan fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, JsonSchema)]
pub struct Odds {
    /// It fails with so many,
    pub fail: u32,
    /// of so many.
    pub of: u32,
}

impl Odds {
    /// Whether it fails too seldom to tell a cure from luck.
    pub fn are_low(self) -> bool {
        self.fail < 3
    }
}

fn fails(plan: &Plan, class: &Class) -> bool {
    examine(plan, Some(class)).classes.contains_key(class)
}

fn seeds_from(plan: &Plan) -> impl Iterator<Item = Plan> {
    (0..=OTHERS).map(|n| Plan { seed: plan.seed.wrapping_add(u64::from(n)), ..plan.clone() })
}

/// A failing plan with other seeds in which it fails as well, and how many were asked for them: another behaviour may just have
/// shifted a race out of the way, then these show it.
pub fn witnesses(plan: &Plan, class: &Class) -> (Vec<Plan>, Odds) {
    let (mut found, mut odds) = (Vec::new(), Odds::default());
    for other in seeds_from(plan) {
        if odds.fail > WITNESSES {
            break;
        }
        odds.of += 1;
        if fails(&other, class) {
            odds.fail += 1;
            found.push(other);
        }
    }
    (found, odds)
}

/// Whether a value of a switch cures all of these.
pub fn cures(witnesses: &[Plan], class: &Class, switch: &str, value: &str) -> bool {
    witnesses.iter().all(|p| !fails(&with_switch(p, switch, value), class))
}

/// Shrinks a failing plan to its class and finds out what it takes. `None` if it does not fail so at all.
pub fn find(plan: &Plan, class: &Class, most: u32) -> Option<Finding> {
    find_if(plan, class, most, &mut |_| true)
}

/// As [`find`], but the small plan keeps something else as well: `keeps` is asked of every candidate that fails.
pub fn find_if(plan: &Plan, class: &Class, most: u32, keeps: &mut dyn FnMut(&Plan) -> bool) -> Option<Finding> {
    let mut still = |p: &Plan| fails(p, class) && keeps(p);
    if !still(plan) {
        return None;
    }
    let end = entry(&class.invariant).is_some_and(|e| e.sort == Sort::AtTheEnd);
    let shrunk = shrink(plan, end, &mut still, most);
    let again = || examine(&shrunk.plan, Some(class));
    let first = again();
    let same = |again: &Seen| again.fingerprint == first.fingerprint && again.classes.contains_key(class);
    let replays = (0..10).filter(|_| same(&again())).count();
    let (causes, odds) = causes(&shrunk.plan, class);
    Some(Finding {
        class: class.clone(),
        seed: plan.seed,
        actions: (plan.actions.len(), shrunk.plan.actions.len()),
        tries: shrunk.tries,
        minimal: shrunk.minimal,
        causes,
        odds,
        replays: replays as u32,
        plan: shrunk.plan,
    })
}

impl Finding {
    /// A name for its file: what failed, on which release, with which seed.
    pub fn name(&self) -> Str {
        let release = self.plan.release.to_string().replace('.', "-");
        format_smolstr!("{}-{}-{release}-{}", self.class.invariant, self.class.component, self.seed)
    }
    /// Where it is kept in the directory of a campaign.
    pub fn file(&self, out: &Path) -> PathBuf {
        out.join("findings").join(format!("{}.yaml", self.name()))
    }
}

/// What is known of a class before its findings are made: the seeds that fail in this way, the fastest first.
pub type Failing = (Class, Vec<u64>);

/// How many seeds of a class are made small at most.
const TRIED: usize = 4;

/// Findings, one per class and set of causes, from the seeds that fail fastest; classes are looked at `jobs` at a time, which
/// changes nothing in what is found. No further seed begins once `go_on` denies; `done` hears of every class.
pub fn distinct(
    classes: &[Failing],
    draw: &(dyn Fn(u64) -> Plan + Sync),
    most: u32,
    jobs: usize,
    go_on: &(dyn Fn() -> bool + Sync),
    done: &mut dyn FnMut(),
) -> Vec<Finding> {
    let of_class = |(at, (class, seeds)): (usize, &Failing)| {
        let mut found: Vec<Finding> = Vec::new();
        for seed in seeds.iter().take(TRIED) {
            if !go_on() {
                break;
            }
            let Some(finding) = find(&draw(*seed), class, most) else { continue };
            if found.iter().all(|f| f.causes != finding.causes) {
                found.push(finding);
            }
        }
        (at, found)
    };
    let mut found = BTreeMap::new();
    each(jobs, classes.iter().enumerate(), of_class, |(at, of_class)| {
        found.insert(at, of_class);
        done();
        go_on()
    });
    found.into_values().flatten().collect()
}
