//! Named rules for what no two runs of one program have in common. A rule removes steps whose number or presence depends on
//! how far a cache has come, and nothing else; each says why nobody can tell the difference.

use arc_api::Duration;

use super::event::Who;
use super::history::Step;

/// A rule.
pub struct Rule {
    /// Its name in reports.
    pub name: &'static str,
    /// What it removes and why that hides nothing.
    pub doc: &'static str,
    apply: fn(&mut Vec<Step>),
}

/// All rules, in the order in which they are applied.
pub const RULES: [Rule; 5] = [
    Rule {
        name: "completion-order",
        doc: "A write answered 404 within a tenth of a second before a DELETE that succeeded: lines stand in the order of \
              completion, and only the DELETE can be why the object was gone. The write is put behind it; nothing is removed.",
        apply: completion_order,
    },
    Rule {
        name: "delete-again",
        doc: "A DELETE after the object's DELETE and before it is created again: a pass whose cache does not show the \
              deletion yet sends another one, answered with 200 and no change, or with 404 once the object is gone.",
        apply: delete_again,
    },
    Rule {
        name: "trailing-pass",
        doc: "Writes answered 404 after the object's deletion was asked for: a pass that still saw it in its cache.",
        apply: trailing_pass,
    },
    Rule {
        name: "repeated-no-op",
        doc: "A manager's write that changes nothing and repeats its last write of the same part of the object: a pass with \
              a stale cache writes what is there already.",
        apply: repeated_no_op,
    },
    Rule {
        name: "counters-in-motion",
        doc: "Status patches of counters that another such patch follows within a second: how many of the values in between \
              are written depends on which watch events a pass had seen. The value that stays is compared.",
        apply: counters_in_motion,
    },
];

/// Applies all rules to a history; says how many steps each removed.
pub fn fold(steps: &mut Vec<Step>) -> [u32; RULES.len()] {
    let mut removed = [0; RULES.len()];
    for (n, rule) in RULES.iter().enumerate() {
        let before = steps.len();
        (rule.apply)(steps);
        removed[n] = (before - steps.len()) as u32;
    }
    removed
}

/// What recordings give of a time.
const RESOLUTION: Duration = Duration::from_millis(100);

fn completion_order(all: &mut Vec<Step>) {
    let steps = all.as_mut_slice();
    for n in 1..steps.len() {
        let mut at = n;
        while at > 0
            && steps[at].verb == "delete"
            && steps[at].is_ok()
            && steps[at - 1].code == 404
            && steps[at].at.since(steps[at - 1].at) <= RESOLUTION
        {
            steps.swap(at, at - 1);
            at -= 1;
        }
    }
}

fn delete_again(steps: &mut Vec<Step>) {
    let mut deleting = false;
    steps.retain(|step| match step.verb.as_str() {
        "create" if step.is_ok() => {
            deleting = false;
            true
        }
        "delete" if deleting && (step.code == 404 || step.is_ok()) => false,
        "delete" => {
            deleting |= step.is_ok();
            true
        }
        _ => true,
    });
}

fn trailing_pass(steps: &mut Vec<Step>) {
    let mut going = false;
    steps.retain(|step| {
        match step.verb.as_str() {
            "create" if step.is_ok() => going = false,
            "delete" if step.is_ok() => going = true,
            "patch" if step.is_ok() && step.field("metadata.finalizers") == Some("null") => going = true,
            _ => {}
        }
        !(going && step.code == 404)
    });
}

fn repeated_no_op(steps: &mut Vec<Step>) {
    let mut last: Vec<Step> = Vec::new();
    steps.retain(|step| {
        let before = last.iter().position(|s| s.who == step.who && s.verb == step.verb);
        let repeats = step.who == Who::Manager
            && !step.changed
            && step.is_ok()
            && before.is_some_and(|n| last[n].fields == step.fields);
        match before {
            Some(n) => last[n] = step.clone(),
            None => last.push(step.clone()),
        }
        !repeats
    });
}

/// How long counters may be in motion.
const MOTION: Duration = Duration::from_secs(1);

fn counters_in_motion(steps: &mut Vec<Step>) {
    let mut n = 0;
    while n < steps.len() {
        let next = steps[n + 1..].iter().position(|s| s.who == steps[n].who).map(|m| n + 1 + m);
        if let Some(m) = next
            && is_count(&steps[n])
            && is_count(&steps[m])
            && steps[m].at.since(steps[n].at) < MOTION
        {
            // The members of the earlier patch that the later one leaves out still stand.
            let early = steps.remove(n);
            let late = &mut steps[m - 1];
            late.changed |= early.changed;
            for (path, value) in early.fields {
                if late.field(&path).is_none() {
                    late.fields.push((path, value));
                }
            }
            late.fields.sort();
            continue;
        }
        n += 1;
    }
}

/// A status patch that says nothing but numbers of runners.
fn is_count(step: &Step) -> bool {
    const COUNTS: [&str; 6] = [
        "status.currentReplicas",
        "status.currentRunners",
        "status.pendingEphemeralRunners",
        "status.runningEphemeralRunners",
        "status.failedEphemeralRunners",
        "status.phase",
    ];
    step.verb == "patch status"
        && step.is_ok()
        && !step.fields.is_empty()
        && step
            .fields
            .iter()
            .all(|(path, value)| COUNTS.contains(&path.as_str()) && (path != "status.phase" || value == "Running"))
        && step.fields.iter().any(|(path, _)| path != "status.phase")
}
