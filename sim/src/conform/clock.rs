//! What people did is an input: a plan whose phases and commands are those of a recording gets the recording's times for them.
//!
//! Scripts wait by their own patience, and Helm takes what it takes; neither is ARC's. Never moves anything else.

use arc_api::{Duration, Str, Time};

use super::event::What;
use super::normal::role;
use super::recording::Recording;
use crate::plan::{Action, Dur, Operator, Plan, When};

/// From the beginning of a command here to its first write of an object that matters.
const COMMAND: Duration = Duration::from_millis(60);

/// Lets a plan run by a recording's clock. Phases, commands and marks of one text go by their order; if their numbers differ, they
/// stay as they are. Says whether the phases are the recording's: then the plan ends with it.
pub fn follow(plan: &mut Plan, recording: &Recording) -> bool {
    let phases: Vec<Time> =
        recording.events.iter().filter(|e| matches!(e.what, What::Phase(_))).map(|e| e.at).collect();
    let followed = move_to(plan, &phases, |what| matches!(what, Action::Mark(text) if text.starts_with("phase:")));
    let mut texts: Vec<Str> = plan
        .actions
        .iter()
        .filter_map(|a| match &a.what {
            Action::Mark(text) if !text.starts_with("phase:") => Some(text.clone()),
            _ => None,
        })
        .collect();
    texts.sort();
    texts.dedup();
    for text in texts {
        // Generated names differ from recording to recording: a scenario writes `*` for them.
        let said = |what: &What| matches!(what, What::Mark(t) if role(t) == role(&text));
        let times: Vec<Time> = recording.events.iter().filter(|e| said(&e.what)).map(|e| e.at).collect();
        move_to(plan, &times, |what| matches!(what, Action::Mark(t) if *t == text));
    }
    let commands: Vec<Time> =
        recording.commands.iter().map(|at| Time(at.0.saturating_sub(COMMAND.as_micros() as u64))).collect();
    move_to(plan, &commands, |what| {
        matches!(what, Action::Operator(Operator::Install(_) | Operator::Upgrade(_) | Operator::Uninstall(_)))
    });
    if followed {
        plan.run_for = Dur::micros(recording.ends_at.0.max(1));
        plan.settle = Dur::ZERO;
    }
    followed
}

/// Gives the actions that are meant the stated times, in their order, and with each all that waits for the same thing.
fn move_to(plan: &mut Plan, times: &[Time], meant: impl Fn(&Action) -> bool) -> bool {
    let mut found: Vec<usize> = (0..plan.actions.len()).filter(|n| meant(&plan.actions[*n].what)).collect();
    // A file may name a command before one that begins earlier (d_seed_overlap: the upgrade of the controller).
    if found.iter().all(|n| plan.actions[*n].when.at().is_some()) {
        found.sort_by_key(|n| plan.actions[*n].when.at());
    }
    if found.is_empty() || found.len() != times.len() {
        return false;
    }
    for (n, at) in found.into_iter().zip(times) {
        let moved = When::At(Dur::micros(at.0));
        let before = std::mem::replace(&mut plan.actions[n].when, moved.clone());
        if matches!(before, When::Event(_)) {
            plan.actions.iter_mut().filter(|a| a.when == before).for_each(|a| a.when = moved.clone());
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_and_commands_begin_when_they_began_in_the_recording() {
        let text = "name: p\nwhy: x\nrelease: 0.9.3\nclusters: [{ controllers: [{ name: arc, installed: false }], scale_sets: [{ name: linux }] }]\nrun_for: 1h\n\
                    operators: [{ id: o, at: 1s, install: { chart: { controller: arc } } }]\n\
                    marks: [{ id: a, when: &w { object: { kind: Pod, is: added } }, mark: \"phase: 1 x\" }, { id: n, at: 9s, mark: \"jobs 1 x 2s\" }, { id: q, at: 9s, mark: other }]\n\
                    workload: [{ id: j, pattern: single, scale_set: linux, when: *w }]\nexpect: { 0.9.3: { holds: all } }\n";
        let loaded = crate::scenario::load("p.yaml", text).unwrap_or_else(|r| panic!("{}", r.render(false)));
        let mut plan = loaded.plan(None, controller_core::Release::Next, 1).unwrap_or_else(|| panic!("no plan"));
        let lines = "{\"t\":0.0,\"actor\":\"script\",\"argv\":[\"helm\",\"install\",\"arc\"]}\n\
                     {\"t\":3.0,\"actor\":\"helm\",\"verb\":\"create\",\"resource\":\"namespaces\",\"code\":201}\n\
                     {\"t\":5.0,\"actor\":\"helm\",\"verb\":\"create\",\"resource\":\"roles\",\"name\":\"arc-gha-rs-controller\",\"code\":201}\n\
                     {\"t\":7.5,\"actor\":\"script\",\"mark\":\"phase: 1 x\"}\n\
                     {\"t\":7.6,\"actor\":\"script\",\"mark\":\"jobs 1 x 2s\"}\n";
        let recording =
            super::super::recording::read("r.jsonl", lines).unwrap_or_else(|r| panic!("{}", r.render(false)));
        assert!(follow(&mut plan, &recording));
        let at = |id: &str| plan.actions.iter().find(|a| a.id == id).map(|a| a.when.clone());
        assert_eq!(at("a"), Some(When::At(Dur::millis(7500))));
        assert_eq!(at("j.1"), Some(When::At(Dur::millis(7500))));
        assert_eq!(at("n"), Some(When::At(Dur::millis(7600))));
        assert_eq!(at("q"), Some(When::At(Dur::secs(9))));
        assert_eq!(at("o"), Some(When::At(Dur::millis(4940))));
        assert_eq!(plan.run_for, Dur::millis(7600));
    }

    #[test]
    fn two_commands_at_one_moment_are_told_apart_by_their_releases() {
        let lines = "{\"t\":1.0,\"actor\":\"script\",\"argv\":[\"helm\",\"uninstall\",\"demo\"]}\n\
                     {\"t\":1.1,\"actor\":\"script\",\"argv\":[\"helm\",\"uninstall\",\"arc\"]}\n\
                     {\"t\":2.0,\"actor\":\"helm\",\"verb\":\"delete\",\"resource\":\"roles\",\"name\":\"demo-gha-rs-manager\",\"code\":200}\n\
                     {\"t\":2.1,\"actor\":\"helm\",\"verb\":\"delete\",\"resource\":\"secrets\",\"name\":\"demo-gha-rs-github-secret\",\"code\":200}\n\
                     {\"t\":3.0,\"actor\":\"helm\",\"verb\":\"delete\",\"resource\":\"roles\",\"name\":\"arc-gha-rs-controller\",\"code\":200}\n";
        let commands = |text: &str| {
            super::super::recording::read("r.jsonl", text).unwrap_or_else(|r| panic!("{}", r.render(false))).commands
        };
        assert_eq!(commands(lines), [Time::from_secs(2), Time::from_secs(3)]);
        let compact =
            super::super::compact::compact("r.jsonl", lines).unwrap_or_else(|r| panic!("{}", r.render(false)));
        assert_eq!(commands(&compact), [Time::from_secs(2), Time::from_secs(3)]);
    }
}
