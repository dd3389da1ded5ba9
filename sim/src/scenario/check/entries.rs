//! Checks workloads, the heads of entries and triggers. Never looks at what an entry does.

use std::ops::Range;

use super::Check;
use crate::plan::fault::GhOp;
use crate::plan::world::Personality;
use crate::plan::{Actor, Dur, ObjectIs, Role, Trigger};
use crate::scenario::diagnostic::suggestion;
use crate::scenario::entry::Head;
use crate::scenario::file::{Arrivals, Pattern, Workload};
use crate::scenario::ranges::{self, Releases};
use crate::scenario::source::Seg;

impl Check<'_> {
    /// Checks the entries with these positions in the merged lists; their places are counted from the beginning of the range.
    pub(super) fn entries(&mut self, workload: Range<usize>, faults: Range<usize>, operators: Range<usize>) {
        self.unique_ids(&workload, &faults, &operators);
        for (place, i) in workload.clone().enumerate() {
            let w = &self.body.workload[i];
            self.workload(w, &path!["workload", place]);
        }
        for (place, i) in faults.clone().enumerate() {
            let entry = &self.body.faults[i];
            let at = path!["faults", place];
            self.entry(&entry.head, &at, true);
            self.fault(entry, &at);
        }
        for (place, i) in operators.clone().enumerate() {
            let entry = &self.body.operators[i];
            let at = path!["operators", place];
            self.entry(&entry.head, &at, false);
            self.operator(&entry.what, &at);
        }
    }
    pub(super) fn marks(&mut self) {
        for i in 0..self.body.marks.len() {
            let head = &self.body.marks[i].head;
            self.entry(head, &path!["marks", i], false);
        }
    }
    fn unique_ids(&mut self, workload: &Range<usize>, faults: &Range<usize>, operators: &Range<usize>) {
        let body = self.body;
        let mut seen: Vec<&str> = Vec::new();
        let all = body
            .workload
            .iter()
            .enumerate()
            .map(|(i, w)| ("workload", i, w.id.as_ref(), workload))
            .chain(body.faults.iter().enumerate().map(|(i, e)| ("faults", i, e.head.id.as_ref(), faults)))
            .chain(body.operators.iter().enumerate().map(|(i, e)| ("operators", i, e.head.id.as_ref(), operators)));
        for (list, i, id, range) in all {
            let Some(id) = id else { continue };
            if range.contains(&i) && id.contains('.') {
                let at = path![list, i - range.start, "id"];
                self.at(&at, format!("id `{id}` has a dot"), "dots number repetitions and jobs", "use a dash");
            }
            if seen.contains(&id.as_str()) && range.contains(&i) {
                let at = path![list, i - range.start, "id"];
                self.at(&at, format!("id `{id}` used twice"), "used before", "give each entry an id of its own");
            }
            seen.push(id);
        }
    }
    fn entry(&mut self, head: &Head, at: &[Seg], lasting: bool) {
        let here = |key: &str| [at, &path![key]].concat();
        self.begins(head.at, head.when.as_ref(), at);
        if let Some(cluster) = &head.cluster {
            self.known(&here("cluster"), "cluster", cluster, self.body.clusters.iter().map(|c| c.name.as_str()));
        }
        if head.lasts.is_some() && head.until.is_some() {
            self.at_key(&here("until"), "both `for` and `until`", "one end is enough", "remove one of the two");
        }
        if head.lasts == Some(Dur::ZERO) && lasting {
            self.at(
                &here("for"),
                "a fault that lasts no time can never fire",
                "0s",
                "give it a length, or leave `for` out",
            );
        }
        if let Some(until) = head.until {
            if until <= head.at.unwrap_or_default() && head.when.is_none() {
                self.at(
                    &here("until"),
                    format!("ends at {until}, before it begins"),
                    "not after `at`",
                    "write a later time, or use `for`",
                );
            }
            if head.when.is_some() && lasting {
                self.at_key(
                    &here("until"),
                    "`until` needs `at`",
                    "the beginning is not known",
                    "use `for` with `when`",
                );
            }
        }
        if let Some(id) = &head.ends_with {
            let known = self.entry_ids();
            self.known(&here("ends_with"), "entry", id, known.iter().map(arc_api::Str::as_str));
        }
        if let Some(text) = &head.releases {
            match ranges::read(text) {
                Ok(Releases::Listed(_)) => {}
                Ok(Releases::Others) => {
                    self.at(&here("releases"), "`others` has no meaning here", "others than which?", "name releases");
                }
                Err((said, _)) => self.at(&here("releases"), said, "no releases", "write 0.12.0 or 0.9.0..=0.11.0"),
            }
        }
        if !lasting && head.ends_with.is_some() {
            self.at_key(&here("ends_with"), "only faults last", "has no end", "remove `ends_with`");
        }
        if !lasting && head.lasts.is_some() {
            self.at_key(&here("for"), "only faults last", "has no length", "remove `for`");
        }
        self.repeats(head.every, head.times, at);
    }
    /// Ids of all entries of the file.
    fn entry_ids(&self) -> Vec<arc_api::Str> {
        let body = self.body;
        let jobs = body.workload.iter().filter_map(|w| w.id.clone());
        let marks = body.marks.iter().filter_map(|e| e.head.id.clone());
        let faults = body.faults.iter().filter_map(|e| e.head.id.clone());
        jobs.chain(marks).chain(faults).chain(body.operators.iter().filter_map(|e| e.head.id.clone())).collect()
    }
    fn repeats(&mut self, every: Option<Dur>, times: Option<u32>, at: &[Seg]) {
        let here = |key: &str| [at, &path![key]].concat();
        if every == Some(Dur::ZERO) {
            self.at(&here("every"), "repeated without pause", "0s", "write a length of time");
        }
        if times == Some(0) {
            self.at(
                &here("times"),
                "an entry that never takes place",
                "0 times",
                "write at least 1, or remove the entry",
            );
        }
        if times.is_some_and(|n| n > 1) && every.is_none() {
            self.at_key(&here("times"), "`times` needs `every`", "how far apart?", "add `every: …`");
        }
    }
    fn begins(&mut self, at_time: Option<Dur>, when: Option<&Trigger>, at: &[Seg]) {
        let here = |key: &str| [at, &path![key]].concat();
        if at_time.is_some() && when.is_some() {
            self.at_key(
                &here("when"),
                "both `at` and `when`",
                "one beginning is enough",
                "remove one of the two, or use `not_before` in `when`",
            );
        }
        if let Some(time) = at_time
            && time >= self.body.run_for
        {
            let said = format!("begins at {time}, when the run is over");
            self.at(
                &here("at"),
                said,
                format!("run_for is {}", self.body.run_for),
                "write an earlier time, or a longer run_for",
            );
        }
        if let Some(trigger) = when {
            self.trigger(trigger, &here("when"));
        }
    }
    fn trigger(&mut self, trigger: &Trigger, at: &[Seg]) {
        let here = |key: &str| [at, &path![key]].concat();
        let stated = [
            trigger.call.is_some(),
            trigger.step.is_some(),
            trigger.object.is_some(),
            trigger.job.is_some(),
            trigger.done.is_some(),
            trigger.begun.is_some(),
        ];
        if stated.iter().filter(|s| **s).count() != 1 {
            self.at(
                at,
                "a trigger states exactly one of call, step, object, job, done, begun",
                "which event?",
                "keep one of them",
            );
        }
        if trigger.occurrence == 0 {
            self.at(&here("occurrence"), "the first occurrence is 1", "0", "count from 1");
        }
        if let Some(call) = &trigger.call {
            let call = call.0.as_str();
            match call.split_once('.') {
                Some(("github", op)) => {
                    let names = || GhOp::ALL.iter().map(|op| op.as_str()).filter(|op| *op != "all");
                    if !op.contains('*') && !names().any(|name| name == op) {
                        self.at(
                            &here("call"),
                            format!("unknown operation `{op}`"),
                            "not an operation of github",
                            suggestion(op, "operations", names()),
                        );
                    }
                    self.never_called(op, &here("call"));
                }
                Some(("kube", request)) => {
                    let (verb, kind) = request.split_once(' ').unwrap_or((request, "*"));
                    let verbs =
                        ["get", "list", "watch", "create", "update", "patch", "delete", "bind", "evict", "exec", "*"];
                    if !verbs.contains(&verb) {
                        self.at(
                            &here("call"),
                            format!("unknown verb `{verb}`"),
                            "not a verb of the Kubernetes API",
                            suggestion(verb, "verbs", verbs),
                        );
                    }
                    self.kind(&here("call"), kind);
                }
                _ => self.at(
                    &here("call"),
                    format!("`{call}` is not a call"),
                    "neither github nor kube",
                    "write github.OPERATION or `kube.VERB RESOURCE`, e.g. github.delete_message, kube.create pods",
                ),
            }
        }
        if let Some(object) = &trigger.object {
            self.kind(&[at, &path!["object", "kind"]].concat(), &object.kind.0);
            if let Some(set) = &object.scale_set {
                self.set(&[at, &path!["object", "scale_set"]].concat(), set);
            }
            if (object.is == ObjectIs::Phase) != object.phase.is_some() {
                let at = [at, &path!["object", "is"]].concat();
                self.at(
                    &at,
                    "`phase` belongs to `is: phase`",
                    "one without the other",
                    "write `is: phase, phase: Running`",
                );
            }
        }
        if let Some(done) = &trigger.done {
            let mut ids = super::ids(self.body);
            ids.retain(|_, list| *list == "operators");
            self.known(&here("done"), "operator action", done, ids.keys().map(|id| id.as_str()));
        }
        let known = self.entry_ids();
        if let Some(id) = trigger.begun.as_ref().filter(|g| !known.iter().any(|id| g.matches(id))) {
            self.known(&here("begun"), "entry", &id.0, known.iter().map(arc_api::Str::as_str));
        }
        if let Some(id) = &trigger.since {
            self.known(&here("since"), "entry", id, known.iter().map(arc_api::Str::as_str));
        }
        if trigger.within.is_some() && trigger.since.is_none() {
            self.at_key(
                &here("within"),
                "`within` needs `since`",
                "counted from what?",
                "add `since`, or use `at_latest`",
            );
        }
        if let Some(actor) = &trigger.actor {
            self.actor(&here("actor"), actor);
        }
        for (key, time) in [("not_before", trigger.not_before), ("at_latest", trigger.at_latest)] {
            if time.is_some_and(|t| t >= self.body.run_for) {
                self.at(
                    &here(key),
                    "a trigger that waits until the run is over",
                    format!("run_for is {}", self.body.run_for),
                    "write an earlier time",
                );
            }
        }
    }
    /// Operations that no component calls in this world.
    pub(super) fn never_called(&mut self, op: &str, at: &[Seg]) {
        if matches!(op, "acquire_jobs" | "acquirable_jobs") && self.body.github.mode == Personality::Push {
            self.at(
                at,
                format!("`{op}` is never called here, so this can never fire"),
                "github.mode is push: jobs are assigned, not offered",
                "write `github: { mode: acquire_required }`, or choose another operation",
            );
        }
    }
    /// A kind or resource of the Kubernetes API, or a pattern.
    pub(super) fn kind(&mut self, at: &[Seg], kind: &str) {
        let name = kind.split('/').next().unwrap_or(kind);
        let fits = |k: &arc_api::Kind| k.as_str().eq_ignore_ascii_case(name) || k.plural() == name;
        if name.contains('*') || arc_api::Kind::ALL.iter().any(fits) {
            return;
        }
        let names = arc_api::Kind::ALL.iter().map(|k| k.as_str());
        self.at(
            at,
            format!("unknown kind `{name}`"),
            "not a kind of the simulated API",
            suggestion(name, "kinds", names),
        );
    }
    /// A component that this world has.
    pub(super) fn actor(&mut self, at: &[Seg], actor: &Actor) {
        let Some(glob) = actor.name.as_ref().filter(|glob| glob.is_exact()) else { return };
        let name = glob.0.as_str();
        let names: Vec<String> = match actor.role {
            Role::Controller => {
                let controllers = self.body.clusters.iter().flat_map(|c| &c.controllers);
                let base = name.split('/').next().unwrap_or(name);
                if controllers.clone().any(|c| c.name == base) {
                    return;
                }
                controllers.map(|c| c.name.to_string()).collect()
            }
            Role::Listener => {
                self.sets().flat_map(|(c, s)| [s.name.to_string(), format!("{}/{}", c.name, s.name)]).collect()
            }
            Role::Kubelet => {
                let most = self.body.clusters.iter().map(|c| c.nodes.max(c.nodes_max)).max().unwrap_or(0);
                (1..=most.min(200)).map(|n| format!("n{n}")).collect()
            }
            _ => return,
        };
        let what = actor.role.as_str();
        self.known(at, what, name, names.iter().map(String::as_str));
    }
    fn workload(&mut self, w: &Workload, at: &[Seg]) {
        let here = |key: &str| [at, &path![key]].concat();
        self.set(&here("scale_set"), &w.scale_set);
        self.begins(w.at, w.when.as_ref(), at);
        self.repeats(w.every, w.times, at);
        if let Some(until) = w.until
            && until <= w.at.unwrap_or_default()
        {
            self.at(
                &here("until"),
                format!("ends at {until}, before it begins"),
                "not after `at`",
                "write a later time",
            );
        }
        if w.until.is_some_and(|until| until > self.body.run_for) {
            self.at(
                &here("until"),
                "jobs after the end of the run",
                format!("run_for is {}", self.body.run_for),
                "write an earlier time, or a longer run_for",
            );
        }
        let needs = |key: &'static str, has: bool| (!has).then_some(key);
        let missing = match w.pattern {
            Pattern::Trickle => needs("every", w.every.is_some()),
            Pattern::Burst => needs("count", w.count.is_some()),
            Pattern::Long | Pattern::IdleGap => needs("duration", w.duration.is_some()),
            Pattern::CancelQueued | Pattern::CancelRunning => needs("cancel_after", w.cancel_after.is_some()),
            Pattern::SilentStep => needs("silent_for", w.silent_for.is_some()),
            Pattern::Single | Pattern::DockerFirstStep | Pattern::ContainerJob => None,
        };
        if let Some(key) = missing {
            let said = format!("pattern `{}` needs `{key}`", w.pattern);
            self.at(&here("pattern"), said, format!("`{key}` is missing"), format!("add `{key}: …`"));
        }
        let only =
            |keys: &'static str, set: bool, fits: &[Pattern]| (set && !fits.contains(&w.pattern)).then_some(keys);
        for key in [
            only("cancel_after", w.cancel_after.is_some(), &[Pattern::CancelQueued, Pattern::CancelRunning]),
            only("silent_for", w.silent_for.is_some(), &[Pattern::SilentStep]),
            (w.count.is_some_and(|n| n > 1) && w.pattern == Pattern::Single).then_some("count"),
            ((w.every.is_some() || w.times.is_some()) && w.pattern == Pattern::Single).then_some("every"),
        ]
        .into_iter()
        .flatten()
        {
            let said = format!("pattern `{}` has no `{key}`", w.pattern);
            self.at_key(&here(key), said, "means nothing here", "remove it, or choose the pattern that it belongs to");
        }
        if w.arrivals == Arrivals::Poisson && w.every.is_none() {
            self.at(
                &here("arrivals"),
                "Poisson arrivals need `every`",
                "the mean interval is missing",
                "add `every: …`",
            );
        }
    }
}
