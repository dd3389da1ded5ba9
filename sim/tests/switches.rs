//! Switches that are broken one by one must be noticed: each row names a scenario that no longer shows what it promises.
//!
//! A switch is broken by giving one release the value of another. `ARC_SIM_SWITCHES=all` tries every value of every switch on
//! every run of every scenario and prints which run notices it first, and which switches nobody notices; `=next` only those on
//! the corrected controller, and prints all runs that notice.
#![allow(clippy::disallowed_methods, clippy::expect_used)]

use std::path::{Path, PathBuf};

use arc_sim::plan::Plan;
use arc_sim::report::engine::run;
use arc_sim::report::{RunOptions, Verdict, judge};
use arc_sim::scenario::{Expect, Loaded, load};
use controller_core::Release;
use controller_core::behaviour::Behaviour;

fn scenarios() -> Vec<Loaded> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let mut files: Vec<PathBuf> = ["field", "healthy", "found", "quirks"]
        .iter()
        .flat_map(|folder| std::fs::read_dir(root.join(folder)).expect("a folder of scenarios"))
        .map(|entry| entry.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .collect();
    files.sort();
    let read = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).expect("it was listed");
        load(&path.display().to_string(), &text).expect("scenarios of the repository are right")
    };
    files.iter().map(read).collect()
}

/// One run with what is expected of it.
struct Run<'l> {
    name: String,
    release: Release,
    plan: Plan,
    expect: &'l Expect,
}

impl Run<'_> {
    /// It shows what it promises, with one switch of its controllers changed or none.
    fn holds(&self, switch: Option<(&str, &str)>) -> bool {
        let mut plan = self.plan.clone();
        if let Some((name, value)) = switch {
            plan.switch(name, value);
        }
        let report = run(&plan, &RunOptions::default());
        judge(Some(self.expect), &plan, &report).verdict == Verdict::Pass
    }
}

fn runs(loaded: &[Loaded]) -> Vec<Run<'_>> {
    let mut all = Vec::new();
    for l in loaded {
        let mut add = |variant: Option<&str>, release, expect: Option<_>| {
            if let (Some(expect), Some(plan)) = (expect, l.plan(variant, release, l.seed())) {
                let name = variant.map_or(l.scenario.name.to_string(), |v| format!("{}/{v}", l.scenario.name));
                all.push(Run { name, release, plan, expect });
            }
        };
        for release in l.releases() {
            add(None, release, l.expect(release));
        }
        for variant in &l.scenario.variants {
            for release in variant.releases(l.release()) {
                add(Some(&variant.name), release, variant.expectation(release));
            }
        }
    }
    all
}

/// Release, switch, the foreign value, and the run that notices.
const NOTICED: &[(Release, &str, &str, &str)] = &[
    (Release::Next, "ers_gate", "always", "invalid-init-restart-policy"),
    (Release::Next, "ers_gate", "patch-id", "invalid-init-restart-policy"),
    (Release::Next, "ers_probe", "none", "invalid-init-restart-policy"),
    (Release::Next, "ers_failed_counts", "counted", "invalid-init-restart-policy"),
    (Release::Next, "er_jit_store", "status", "upgrade-finalizer-not-found"),
    (Release::Next, "er_rejection", "mark-failed", "invalid-init-restart-policy"),
    (Release::Next, "er_rejection", "error", "invalid-init-restart-policy"),
    (Release::Next, "er_used_jit", "reused", "invalid-init-restart-policy/kubernetes-1.34"),
    (Release::Next, "er_going_set", "ignored", "runner-made-for-a-set-that-goes"),
    (Release::Next, "busy_test", "job-request-id", "deleted-pod-brings-its-runner-back"),
    (Release::Next, "ars_version_gate", "exact", "upgrade-finalizer-not-found"),
    (Release::Next, "ars_version_gate", "minor", "upgrade-finalizer-not-found"),
    (Release::Next, "ars_stale_object", "believed", "registered-while-it-was-deleted"),
    (Release::Next, "ars_status", "on-total", "invalid-init-restart-policy"),
    (Release::Next, "ars_status", "on-total-or-phase", "invalid-init-restart-policy"),
    (Release::Next, "ars_listener_binding", "ignored", "kube-mode-hook-forbidden"),
    (Release::Next, "ars_identity", "ignored", "kube-mode-hook-forbidden"),
    (Release::Next, "conditions", "none", "invalid-init-restart-policy"),
    (Release::Next, "listener_conflict", "exit", "listener-session-conflict"),
    (Release::Next, "listener_order", "delete-last", "listener-session-conflict"),
    (Release::Next, "listener_order", "acquire-then-delete", "listener-session-conflict"),
    (Release::Next, "listener_order", "never-acquires", "listener-session-conflict"),
    (Release::Next, "listener_order", "delete-then-acquire", "listener-session-conflict"),
    (Release::Next, "scaler", "floor", "kubernetes-mode"),
    (Release::Next, "scaler", "on-change", "upgrade-finalizer-not-found"),
    (Release::Next, "scaler", "empty-resets", "invalid-init-restart-policy"),
    (Release::Next, "ers_own_status", "at-once", "two-managers-answer-each-other"),
    (Release::Next, "ers_scale_down", "any-patch", "cancelled-job-takes-anothers-runner"),
    (Release::Next, "ers_scale_down", "forced-only", "refused-removal-is-forgotten"),
    (Release::Next, "outdated", "tears-down", "runner-version-refused"),
    (Release::Next, "er_backoff", "none", "back-off-overtaken"),
    (Release::Next, "er_backoff", "lost-wakeup", "lost-wake-up"),
    (Release::Next, "er_pod_exists", "error", "pod-name-is-taken"),
    (Release::Next, "er_pod_exists", "after-5s", "pod-name-is-taken"),
    (Release::Next, "er_pod_failed", "evicted-only", "kubelet-has-no-room"),
    (Release::Next, "er_removal", "status-id", "killed-between-registration-and-record"),
    (Release::Next, "er_registration_check", "never", "daemon-dead-registration-gone"),
    (Release::Next, "ars_drain", "replicas-only", "eventual-update-of-the-image"),
    (Release::Next, "ars_ers_name", "generated", "github-forgets-the-scale-set"),
    (Release::Next, "ars_scale_set_gone", "error", "uninstalled-after-github-forgot"),
    (Release::Next, "ars_eventual_listener", "waits-for-runners", "eventual-update-of-a-limit"),
    (Release::Next, "ars_scale_set_check", "never", "github-forgets-the-scale-set"),
    (Release::Next, "overlays", "supported", "labels-without-annotations"),
    (Release::Next, "al_replace", "phase-failed", "listener-ends-with-zero"),
    (Release::Next, "al_replace", "terminated", "listener-evicted"),
    (Release::Next, "al_replace", "terminated-or-evicted", "listener-refused-by-the-kubelet"),
    (Release::Next, "al_restart", "immediate", "github-forgets-the-scale-set"),
    (Release::Next, "al_set_gone", "error", "finalizers-stripped"),
    (Release::Next, "al_role_rules", "hash-label", "rules-emptied"),
    (Release::Next, "queue_bucket", "yes", "credentials-deleted-before-the-set"),
    (Release::Next, "queue_bucket", "no", "credentials-deleted-before-the-set"),
    (Release::Next, "http_timeout", "none", "poll-on-a-dead-connection"),
    (Release::Next, "http_timeout", "five-minutes", "registration-that-hangs"),
    (Release::Next, "listener_conflict", "sleep-and-retry", "two-sets-of-one-name"),
    (Release::Next, "listener_close", "never", "stop-without-an-answer"),
    (Release::Next, "listener_job_id", "no", "deleted-runner-still-works"),
    (Release::Next, "scaler", "every-message", "statistics-of-zero"),
    (Release::Next, "scaler", "empty-keeps", "statistics-of-zero"),
    (Release::V0_12_0, "ers_gate", "always", "invalid-init-restart-policy"),
    (Release::V0_9_0, "ers_scale_down", "forced-only", "invalid-init-restart-policy"),
    (Release::V0_9_0, "ers_scale_down", "forced-with-retry", "invalid-init-restart-policy"),
    (Release::V0_12_0, "ers_failed_counts", "not-counted", "invalid-init-restart-policy"),
];

#[test]
fn a_broken_switch_is_noticed() {
    let loaded = scenarios();
    let all = runs(&loaded);
    let mut wrong = Vec::new();
    for (release, switch, value, name) in NOTICED {
        let run = all.iter().find(|r| r.name == *name && r.release == *release).expect("a run of the scenarios");
        if !run.holds(None) {
            wrong.push(format!("{name} {release} does not hold by itself"));
        } else if run.holds(Some((switch, value))) {
            wrong.push(format!("{name} {release} does not notice {switch}={value}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_corrected_controllers_table_on_demand() {
    if std::env::var("ARC_SIM_SWITCHES").as_deref() != Ok("next") {
        return;
    }
    let loaded = scenarios();
    let mut all = runs(&loaded);
    all.retain(|r| r.release == Release::Next && r.holds(None));
    for switch in Behaviour::SWITCHES {
        for (value, _) in switch.values {
            if Behaviour::of(Release::Next).get(switch.name) == Some(value) {
                continue;
            }
            let noticed = all.iter().filter(|r| !r.holds(Some((switch.name, value))));
            let names: Vec<&str> = noticed.map(|r| r.name.as_str()).collect();
            println!("{} {value}: {}", switch.name, names.join(" "));
        }
    }
}

#[test]
fn the_whole_table_on_demand() {
    if std::env::var("ARC_SIM_SWITCHES").as_deref() != Ok("all") {
        return;
    }
    let loaded = scenarios();
    let mut all = runs(&loaded);
    all.retain(|r| r.holds(None));
    // Small worlds first: most switches are noticed by any world.
    all.sort_by_key(|r| run(&r.plan, &RunOptions::default()).events);
    for only_next in [true, false] {
        for switch in Behaviour::SWITCHES {
            for (value, _) in switch.values {
                let noticed = all.iter().filter(|r| (r.release == Release::Next) == only_next).find(|r| {
                    Behaviour::of(r.release).get(switch.name) != Some(value) && !r.holds(Some((switch.name, value)))
                });
                match noticed {
                    Some(r) => println!("({:?}, \"{}\", \"{value}\", \"{}\"),", r.release, switch.name, r.name),
                    None => println!("nobody {only_next} {} {value}", switch.name),
                }
            }
        }
    }
}
