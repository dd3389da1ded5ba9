//! Which object of the simulation is which of the recording: objects of one role are a set, best fit first. Never judges a pair.

use std::collections::BTreeMap;

use arc_api::Str;

use super::compare::{Difference, distance};
use super::history::{Histories, Id, Step};

/// Everything under one name on one side: an object, or a runner with its pod, its secret and what was said about it.
type Group<'h> = Vec<(&'h Id, &'h [Step])>;

/// A pair of histories; one side may have none.
pub struct Pair<'h> {
    /// What it is called: the recording's name, or the simulation's if only that has it.
    pub id: &'h Id,
    /// The recording's.
    pub recorded: &'h [Step],
    /// The simulation's.
    pub simulated: &'h [Step],
}

/// Pairs all histories.
pub fn pairs<'h>(recorded: &'h Histories, simulated: &'h Histories) -> Vec<Pair<'h>> {
    let (left, right) = (groups(recorded), groups(simulated));
    let mut roles: Vec<&Str> = left.keys().chain(right.keys()).collect();
    // Shorter roles first: an EphemeralRunnerSet is paired before its runners.
    roles.sort_by_key(|role| (role.len(), role.as_str()));
    roles.dedup();
    let mut parents: BTreeMap<Str, Str> = BTreeMap::new();
    let mut out = Vec::new();
    let none = BTreeMap::new();
    for role in roles {
        let (l, r) = (left.get(role).unwrap_or(&none), right.get(role).unwrap_or(&none));
        let mut fits: Vec<(usize, usize, usize)> = Vec::new();
        let (l, r): (Vec<_>, Vec<_>) = (l.iter().collect(), r.iter().collect());
        for (i, (a, ga)) in l.iter().enumerate() {
            for (j, (b, gb)) in r.iter().enumerate() {
                let strangers = usize::from(!same_parent(&parents, a, b)) * 1000;
                fits.push((strangers + group_distance(ga, gb), i, j));
            }
        }
        fits.sort_unstable();
        let (mut used_l, mut used_r) = (vec![false; l.len()], vec![false; r.len()]);
        let mut chosen: Vec<(usize, usize)> = Vec::new();
        for (_, i, j) in fits {
            if !used_l[i] && !used_r[j] {
                (used_l[i], used_r[j]) = (true, true);
                chosen.push((i, j));
            }
        }
        let kin = |i: usize, j: usize| same_parent(&parents, l[i].0, r[j].0);
        exchange(&mut chosen, kin, |i, j| unequal(l[i].1, r[j].1));
        for (i, j) in chosen {
            parents.insert(l[i].0.clone(), r[j].0.clone());
            couple(l[i].1, r[j].1, &mut out);
        }
        for (_, (_, group)) in l.iter().enumerate().filter(|(i, _)| !used_l[*i]) {
            couple(group, &Vec::new(), &mut out);
        }
        for (_, (_, group)) in r.iter().enumerate().filter(|(j, _)| !used_r[*j]) {
            couple(&Vec::new(), group, &mut out);
        }
    }
    out
}

/// Exchanges partners wherever two pairs have fewer differing histories the other way round. Who is nearest is decided pair by
/// pair, and a close call there can leave two pairs that differ where both would be equal.
fn exchange(
    chosen: &mut [(usize, usize)],
    kin: impl Fn(usize, usize) -> bool,
    unequal: impl Fn(usize, usize) -> usize,
) {
    let mut differ: Vec<usize> = chosen.iter().map(|(i, j)| unequal(*i, *j)).collect();
    let mut again = true;
    while std::mem::take(&mut again) {
        for a in 0..chosen.len() {
            for b in 0..chosen.len() {
                let ((i, j), (k, l)) = (chosen[a], chosen[b]);
                if a == b || differ[a] == 0 || !kin(i, l) || !kin(k, j) {
                    continue;
                }
                let (one, other) = (unequal(i, l), unequal(k, j));
                if one + other < differ[a] + differ[b] {
                    (chosen[a].1, chosen[b].1) = (l, j);
                    (differ[a], differ[b], again) = (one, other, true);
                }
            }
        }
    }
}

/// How many histories of two groups differ.
fn unequal(a: &Group<'_>, b: &Group<'_>) -> usize {
    let mut pairs = Vec::new();
    couple(a, b, &mut pairs);
    pairs.iter().filter(|p| p.difference().is_some()).count()
}

fn groups(side: &Histories) -> BTreeMap<Str, BTreeMap<Str, Group<'_>>> {
    let mut out: BTreeMap<Str, BTreeMap<Str, Group<'_>>> = BTreeMap::new();
    for (id, steps) in side.of.iter().filter(|(_, steps)| !steps.is_empty()) {
        out.entry(id.role()).or_default().entry(id.name.clone()).or_default().push((id, steps));
    }
    out
}

/// Whether two names stand under names that belong together; a name without a generated part stands under nothing.
fn same_parent(parents: &BTreeMap<Str, Str>, a: &str, b: &str) -> bool {
    let parent = |name: &str| name.rfind("-runner-<suffix-").map(|at| name[..at].to_owned());
    match (parent(a), parent(b)) {
        (Some(a), Some(b)) => parents.get(a.as_str()).is_none_or(|p| *p == b.as_str()),
        _ => true,
    }
}

fn steps_of<'h>(group: &Group<'h>, like: &Id) -> Option<&'h [Step]> {
    group.iter().find(|(id, _)| id.subject == like.subject && id.namespace == like.namespace).map(|(_, steps)| *steps)
}

fn group_distance(a: &Group<'_>, b: &Group<'_>) -> usize {
    let mut sum = 0;
    for (id, steps) in a {
        sum += steps_of(b, id).map_or(steps.len(), |other| distance(steps, other));
    }
    sum + b.iter().filter(|(id, _)| steps_of(a, id).is_none()).map(|(_, steps)| steps.len()).sum::<usize>()
}

fn couple<'h>(a: &Group<'h>, b: &Group<'h>, out: &mut Vec<Pair<'h>>) {
    for (id, steps) in a {
        out.push(Pair { id, recorded: steps, simulated: steps_of(b, id).unwrap_or(&[]) });
    }
    for (id, steps) in b.iter().filter(|(id, _)| steps_of(a, id).is_none()) {
        out.push(Pair { id, recorded: &[], simulated: steps });
    }
}

impl Pair<'_> {
    /// The first difference, if there is one: histories whose loops made about as many turns are equal.
    pub fn difference(&self) -> Option<Difference> {
        let difference = super::compare::first_difference(self.recorded, self.simulated)?;
        let in_turns = |steps: &[Step]| {
            let mut steps = steps.to_vec();
            super::fold::counters_at_the_edge(&mut steps);
            super::turns::fold_turns(&mut steps);
            steps
        };
        super::compare::first_difference(&in_turns(self.recorded), &in_turns(self.simulated)).map(|_| difference)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conform::event::{Event, KubeCall, What, Who};
    use crate::conform::history::histories;
    use arc_api::meta::Key;
    use arc_api::{Kind, Time};
    use serde_json::Value;

    fn side(writes: &[(&str, &str)]) -> Histories {
        let call = |(name, verb): &(&str, &str)| Event {
            at: Time::ZERO,
            line: 0,
            who: Who::Manager,
            what: What::Kube(KubeCall {
                verb: (*verb).into(),
                kind: Kind::EphemeralRunner,
                sub: Str::default(),
                key: Key::new("n", *name),
                code: 200,
                reason: Str::default(),
                told: true,
                body: Value::Null,
                changed: true,
                heard: true,
            }),
        };
        histories(&writes.iter().map(call).collect::<Vec<_>>())
    }

    #[test]
    fn partners_are_exchanged_where_fewer_histories_differ_the_other_way_round() {
        // Pair by pair 0 goes with 0; then 1 is left with what it is unlike.
        let differ = [[1, 0], [0, 2]];
        let mut chosen = [(0, 0), (1, 1)];
        exchange(&mut chosen, |_, _| true, |i, j| differ[i][j]);
        assert_eq!(chosen, [(0, 1), (1, 0)]);
        // Never to a runner of a foreign set, and never for nothing.
        let mut chosen = [(0, 0), (1, 1)];
        exchange(&mut chosen, |i, j| i == j, |i, j| differ[i][j]);
        assert_eq!(chosen, [(0, 0), (1, 1)]);
        exchange(&mut chosen, |_, _| true, |_, _| 1);
        assert_eq!(chosen, [(0, 0), (1, 1)]);
    }

    #[test]
    fn objects_of_one_role_are_paired_by_what_they_went_through() {
        let recorded = side(&[
            ("d-<suffix-1>-runner-<suffix-2>", "create"),
            ("d-<suffix-1>-runner-<suffix-3>", "create"),
            ("d-<suffix-1>-runner-<suffix-3>", "delete"),
        ]);
        let simulated = side(&[
            ("d-<suffix-1>-runner-<suffix-2>", "create"),
            ("d-<suffix-1>-runner-<suffix-2>", "delete"),
            ("d-<suffix-1>-runner-<suffix-3>", "create"),
        ]);
        assert!(pairs(&recorded, &simulated).iter().all(|p| p.difference().is_none()));
        let one_less = side(&[("d-<suffix-1>-runner-<suffix-2>", "create")]);
        let different: Vec<bool> = pairs(&recorded, &one_less).iter().map(|p| p.difference().is_some()).collect();
        assert_eq!(different.iter().filter(|d| **d).count(), 1);
    }
}
