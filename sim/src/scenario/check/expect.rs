//! Checks expectations: releases named once, invariants and metrics that exist. Never judges a run.

use std::collections::BTreeMap;

use arc_api::Str;
use controller_core::Release;

use super::Check;
use crate::scenario::diagnostic::suggestion;
use crate::scenario::file::Expect;
use crate::scenario::ranges::{self, Releases};
use crate::scenario::vocabulary::{INVARIANTS, METRICS};

impl Check<'_> {
    /// What is said about recordings: releases that exist, reasons that are given.
    pub(super) fn recorded(&mut self) {
        let Some(recorded) = self.body.recorded.clone() else { return };
        for release in recorded.schedules.keys() {
            if release.parse::<Release>().is_err() {
                let hint = suggestion(release, "releases", Release::ALL.iter().map(|r| r.as_str()));
                let at = path!["recorded", "schedules", release.as_str()];
                self.at_key(&at, format!("unknown release `{release}`"), "recordings are of one release", hint);
            }
        }
        for (i, accepted) in recorded.accepted.iter().enumerate() {
            let here = |key: &str| path!["recorded", "accepted", i, key];
            if let Err((said, word)) = ranges::read(&accepted.releases) {
                let hint = suggestion(word, "releases", Release::ALL.iter().map(|r| r.as_str()));
                self.at(&here("releases"), said, "not a release or a range of releases", hint);
            }
            if accepted.reason.split_whitespace().count() < 3 {
                let hint = "say why nobody has to correct it: what in the laboratory, or which simplification";
                self.at(&here("reason"), "an accepted difference without a reason", "not a sentence", hint);
            }
        }
    }
    pub(super) fn expectations(&mut self, expect: &BTreeMap<Str, Expect>) {
        if expect.is_empty() {
            self.at(
                &path!["expect"],
                "nothing is expected",
                "empty",
                "say what must come of it, e.g. `next: { holds: all }`",
            );
        }
        let mut owner: BTreeMap<Release, &str> = BTreeMap::new();
        // In file order, so that the later of two keys is the one that is reported.
        let mut keys: Vec<&Str> = expect.keys().collect();
        keys.sort_by_key(|key| self.root.key_place(&self.full(&path!["expect", key.as_str()])).start);
        for key in keys {
            let at = path!["expect", key.as_str()];
            match ranges::read(key) {
                Err((said, word)) => {
                    let names = Release::ALL.iter().map(|r| r.as_str()).chain(["all", "tagged", "others"]);
                    self.at_key(&at, said, "not a release or a range of releases", suggestion(word, "releases", names));
                }
                Ok(Releases::Others) => {}
                Ok(Releases::Listed(listed)) => {
                    let twice: Vec<Release> = listed.iter().copied().filter(|r| owner.contains_key(r)).collect();
                    if let (Some(first), Some(before)) = (twice.first(), twice.first().and_then(|r| owner.get(r))) {
                        let said = format!("release {first} is expected twice");
                        let label = format!("also in `{before}`");
                        self.at_key(&at, said, label, "let ranges not overlap; `others` names what no other key names");
                    }
                    for release in listed {
                        owner.entry(release).or_insert(key);
                    }
                }
            }
            self.expectation(key, &expect[key]);
        }
    }
    fn expectation(&mut self, key: &str, expect: &Expect) {
        let here = |name: &str| path!["expect", key, name];
        for (name, list) in [("violates", &expect.violates), ("may_violate", &expect.may_violate)] {
            for (i, id) in list.iter().enumerate() {
                let at = path!["expect", key, name, i];
                self.known(&at, "invariant", id, INVARIANTS.iter().map(|i| i.id));
                if list[..i].contains(id) {
                    self.at(&at, format!("invariant `{id}` listed twice"), "listed before", "list it once");
                }
            }
        }
        if let Some(both) = expect.violates.iter().position(|id| expect.may_violate.contains(id)) {
            let at = path!["expect", key, "violates", both];
            self.at(
                &at,
                format!("`{}` must and may be violated", expect.violates[both]),
                "also in may_violate",
                "keep it in one list",
            );
        }
        if expect.holds.is_some() && !(expect.violates.is_empty() && expect.may_violate.is_empty()) {
            self.at_key(
                &here("holds"),
                "every invariant holds, and some are violated",
                "contradicts `violates`",
                "keep one of the two",
            );
        }
        if *expect == Expect::default() {
            self.at(
                &path!["expect", key],
                "nothing is expected of this release",
                "empty",
                "write `holds: all`, or what is violated",
            );
        }
        for metric in expect.metrics.keys() {
            let at = path!["expect", key, "metrics", metric.as_str()];
            if !METRICS.iter().any(|m| m.id == metric.as_str()) {
                let hint = suggestion(metric, "metrics", METRICS.iter().map(|m| m.id));
                self.at_key(&at, format!("unknown metric `{metric}`"), "not a metric of a run", hint);
            }
        }
        let ids = super::ids(self.body);
        for (i, id) in expect.may_not_fire.iter().enumerate() {
            self.known(&path!["expect", key, "may_not_fire", i], "entry", id, ids.keys().map(|id| id.as_str()));
        }
    }
}
