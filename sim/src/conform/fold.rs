//! Named rules for what no two runs of one program have in common. A rule removes steps whose number or presence depends on
//! how far a cache has come, and nothing else; each says why nobody can tell the difference.

use arc_api::{Duration, Time};

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
pub const RULES: [Rule; 9] = [
    Rule {
        name: "completion-order",
        doc: "A write answered 404 within a tenth of a second before a DELETE that succeeded: lines stand in the order of \
              completion, and only the DELETE can be why the object was gone. The write is put behind it; nothing is removed. \
              Likewise what succeeds within a tenth of a second before the object's CREATE.",
        apply: completion_order,
    },
    Rule {
        name: "unknown-caller",
        doc: "Calls of the API server answered 401: its audit log does not say who made them, so that a recording cannot have them. \
              What the caller does then is compared.",
        apply: unknown_caller,
    },
    Rule {
        name: "delete-again",
        doc: "A DELETE after the object's DELETE and before it is created again: a pass whose cache does not show the \
              deletion yet sends another one, answered with 200 and no change, or with 404 once the object is gone.",
        apply: delete_again,
    },
    Rule {
        name: "create-again",
        doc: "A CREATE answered 409 AlreadyExists within a second after the same writer's CREATE that succeeded: a pass whose \
              cache does not show the object yet.",
        apply: create_again,
    },
    Rule {
        name: "remove-again",
        doc: "A removal (E17) answered 204 within a second after one that was answered so: a pass whose cache does not show yet \
              what the one before did. The service answers 204 for a runner that is gone.",
        apply: remove_again,
    },
    Rule {
        name: "refused-again",
        doc: "The same request refused in the same way within a second: retries, or passes that other events brought. How many \
              there are depends on when the world changes; that there are some, and about how many, is compared.",
        apply: refused_again,
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
        // Before the first creation of a history the object was not there.
        let unborn = steps[..n].iter().all(|s| !matches!(s.verb.as_str(), "create" | "delete"));
        while at > 0
            && steps[at].is_ok()
            && (steps[at].verb == "delete" && steps[at - 1].code == 404
                || steps[at].verb == "create" && steps[at - 1].is_ok() && unborn)
            && steps[at].at.since(steps[at - 1].at) <= RESOLUTION
        {
            steps.swap(at, at - 1);
            at -= 1;
        }
    }
}

fn unknown_caller(steps: &mut Vec<Step>) {
    let of_the_api = |verb: &str| ["create", "update", "patch", "delete"].iter().any(|v| verb.starts_with(v));
    steps.retain(|s| s.code != 401 || !of_the_api(&s.verb));
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

/// How long after a pass another one may not have seen what it did.
const UNSEEN: Duration = Duration::from_secs(1);

/// Whether the step before this one of the same writer that `meant` fits is less than [`UNSEEN`] old.
fn just_before(steps: &[Step], n: usize, meant: impl Fn(&Step) -> bool) -> bool {
    let before = steps[..n].iter().rev().find(|s| s.who == steps[n].who && meant(s));
    before.is_some_and(|s| steps[n].at.since(s.at) < UNSEEN)
}

fn remove_where(steps: &mut Vec<Step>, goes: impl Fn(&[Step], usize) -> bool) {
    let gone: Vec<usize> = (0..steps.len()).filter(|n| goes(steps, *n)).collect();
    gone.into_iter().rev().for_each(|n| drop(steps.remove(n)));
}

fn create_again(steps: &mut Vec<Step>) {
    remove_where(steps, |steps, n| {
        let step = &steps[n];
        step.verb == "create" && step.code == 409 && just_before(steps, n, |s| s.verb == "create" && s.is_ok())
    });
}

fn remove_again(steps: &mut Vec<Step>) {
    let removed = |s: &Step| s.verb == "E17" && s.code == 204;
    remove_where(steps, |steps, n| removed(&steps[n]) && just_before(steps, n, removed));
}

fn refused_again(steps: &mut Vec<Step>) {
    let mut last = Time::ZERO;
    let mut n = 0;
    while n < steps.len() {
        let now = &steps[n];
        let again = n > 0
            && now.code >= 400
            && now.who == steps[n - 1].who
            && now.same(&steps[n - 1])
            && now.at.since(last) < UNSEEN;
        last = now.at;
        if again {
            drop(steps.remove(n));
            steps[n - 1].times += 1;
        } else {
            n += 1;
        }
    }
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
    counters_within(MOTION, steps);
}

/// Folds the counters of two sides of which one was a little slower than the other: what is a second here may be more there.
pub fn counters_at_the_edge(steps: &mut Vec<Step>) {
    counters_within(MOTION * 3 / 2, steps);
}

fn counters_within(motion: Duration, steps: &mut Vec<Step>) {
    let mut n = 0;
    while n < steps.len() {
        let next = steps[n + 1..].iter().position(|s| s.who == steps[n].who).map(|m| n + 1 + m);
        if let Some(m) = next
            && is_count(&steps[n])
            && is_count(&steps[m])
            && steps[m].since.since(steps[n].at) < motion
        {
            // The members of the earlier patch that the later one leaves out still stand.
            let early = steps.remove(n);
            let late = &mut steps[m - 1];
            late.since = early.since;
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

#[cfg(test)]
mod tests {
    use super::*;

    /// `patch 200 spec.replicas=3 @1500`: verb, code, fields, milliseconds; `!` marks a write without effect.
    fn steps(texts: &[&str]) -> Vec<Step> {
        let step = |text: &&str| {
            let mut step =
                Step { changed: !text.contains('!'), ..Step::new(Who::Manager, Default::default(), Time::ZERO) };
            let (verb, rest) = text.split_at(text.find(" 4").or(text.find(" 2")).unwrap_or(text.len()));
            step.verb = verb.trim().into();
            for (n, word) in rest.split_whitespace().enumerate() {
                if n == 0 {
                    step.code = word.parse().unwrap_or_default();
                } else if let Some(at) = word.strip_prefix('@') {
                    step.at = Time::from_millis(at.parse().unwrap_or_default());
                    step.since = step.at;
                } else if word == "listener" {
                    step.who = Who::Listener;
                } else if let Some((path, value)) = word.split_once('=') {
                    step.fields.push((path.into(), value.into()));
                }
            }
            step
        };
        texts.iter().map(step).collect()
    }

    #[track_caller]
    fn check(rule: &str, before: &[&str], after: &[&str]) {
        let mut folded = steps(before);
        let rule = RULES.iter().find(|r| r.name == rule).unwrap_or_else(|| panic!("no rule {rule}"));
        (rule.apply)(&mut folded);
        folded.iter_mut().for_each(|s| s.since = s.at);
        assert_eq!(folded, steps(after), "{}", rule.name);
    }

    #[test]
    fn only_a_deletion_explains_why_an_object_was_gone() {
        check(
            "completion-order",
            &["create 201", "patch 404 @10", "delete 200 @20"],
            &["create 201", "delete 200 @20", "patch 404 @10"],
        );
        let late = ["create 201", "patch 404 @10", "delete 200 @900"];
        check("completion-order", &late, &late);
        check("completion-order", &["patch 200", "create 201 @10"], &["create 201 @10", "patch 200"]);
        let again = ["create 201", "delete 200 @10", "patch 200 @20", "create 201 @30"];
        check("completion-order", &again, &again);
    }

    #[test]
    fn a_second_delete_is_folded_until_the_object_is_created_again() {
        check("delete-again", &["delete 200", "delete 200 !", "delete 404"], &["delete 200"]);
        let twice = ["delete 200", "create 201", "delete 200"];
        check("delete-again", &twice, &twice);
        // A deletion that is refused, or of something nobody deleted before, is told.
        check("delete-again", &["delete 404", "delete 403"], &["delete 404", "delete 403"]);
    }

    #[test]
    fn writes_to_what_is_gone_are_folded_and_others_are_not() {
        check("trailing-pass", &["delete 200", "patch 404"], &["delete 200"]);
        check(
            "trailing-pass",
            &["patch 200 metadata.finalizers=null", "patch status 404"],
            &["patch 200 metadata.finalizers=null"],
        );
        check("trailing-pass", &["create 201", "patch 404"], &["create 201", "patch 404"]);
        check("trailing-pass", &["delete 200", "patch 409"], &["delete 200", "patch 409"]);
    }

    #[test]
    fn only_a_repetition_without_effect_is_folded() {
        check("repeated-no-op", &["patch 200 a=1", "patch 200 a=1 !"], &["patch 200 a=1"]);
        // The first of its kind, another value, a listener's: all told.
        for kept in [["patch 200 a=1 !", "patch 200 a=2 !"], ["patch 200 listener a=1", "patch 200 listener a=1 !"]] {
            check("repeated-no-op", &kept, &kept);
        }
    }

    #[test]
    fn what_a_stale_pass_repeats_is_folded_and_what_comes_later_is_not() {
        check("create-again", &["create 201", "create 409 @20"], &["create 201"]);
        for kept in
            [["create 201", "create 409 @1500"], ["create 403", "create 409 @20"], ["create 409", "create 201 @20"]]
        {
            check("create-again", &kept, &kept);
        }
        check("remove-again", &["E17 204", "E17 204 @30", "E17 204 @60"], &["E17 204"]);
        for kept in [["E17 204", "E17 204 @1200"], ["E17 400", "E17 204 @30"], ["E17 204", "E17 404 @30"]] {
            check("remove-again", &kept, &kept);
        }
    }

    #[test]
    fn only_the_api_server_does_not_know_who_was_refused() {
        check("unknown-caller", &["patch 200", "patch status 401", "patch 200"], &["patch 200", "patch 200"]);
        for kept in [["E10 401", "E8 200"], ["registration-token 401", "patch 403"]] {
            check("unknown-caller", &kept, &kept);
        }
    }

    #[test]
    fn refusals_in_one_go_are_one_with_their_number() {
        let mut folded =
            steps(&["create 403", "create 403 @600", "create 403 @1300", "create 403 @2900", "create 404 @2950"]);
        refused_again(&mut folded);
        let told: Vec<(i64, u32)> = folded.iter().map(|s| (s.code, s.times)).collect();
        assert_eq!(told, [(403, 3), (403, 1), (404, 1)]);
        // What is carried out twice is told twice.
        check("refused-again", &["patch 200 a=1", "patch 200 a=1 @20"], &["patch 200 a=1", "patch 200 a=1 @20"]);
    }

    #[test]
    fn counters_fold_to_the_value_that_stays() {
        let count = |n: u32, at: u32| format!("patch status 200 status.currentReplicas={n} @{at}");
        let (one, two, late) = (count(1, 0), count(2, 400), count(3, 3000));
        check("counters-in-motion", &[&one, &two, &late], &[&two, &late]);
        // What only the earlier patch said still stands.
        let pending = "patch status 200 status.pendingEphemeralRunners=1 @0";
        check(
            "counters-in-motion",
            &[pending, &two],
            &["patch status 200 status.currentReplicas=2 status.pendingEphemeralRunners=1 @400"],
        );
        // What is a second here may be more on the other side; a motion is measured from its beginning.
        let mut slow = steps(&[&count(1, 0), &count(2, 1200), &count(3, 2100)]);
        counters_in_motion(&mut slow);
        assert_eq!(slow.len(), 2);
        counters_at_the_edge(&mut slow);
        assert_eq!(slow.len(), 1);
        // Anything else between them, or a phase, is no counter.
        let parted = [one.as_str(), "patch 200 spec.patchID=1 @100", two.as_str()];
        check("counters-in-motion", &parted, &parted);
        let phase = ["patch status 200 status.phase=Pending @0", two.as_str()];
        check("counters-in-motion", &phase, &phase);
    }
}
