//! Every fault of the catalogue has an effect on a world in which it can have one. A fault without effect makes a run vacuous.

use arc_sim::outcome::RunReport;
use arc_sim::plan::fault::Fault;
use arc_sim::scenario::load;
use arc_sim::world::{RunOptions, run};
use controller_core::Release;

/// One fault in a small world: what the world has besides one scale set with one idle runner, and a line that its history shows.
struct Case {
    fault: &'static str,
    set: &'static str,
    more: &'static str,
    work: &'static str,
    shows: &'static str,
}

const JOBS: &str = "{ pattern: trickle, scale_set: linux, every: 40s, duration: 30s, until: 4m }";
const CONTAINER: &str = "{ pattern: container_job, scale_set: linux, at: 60s, duration: 60s }";
const KUBE: &str = "container_mode: kubernetes";
const DIND: &str = "container_mode: dind";

fn case(fault: &'static str) -> Case {
    Case { fault, set: "", more: "", work: JOBS, shows: "" }
}

impl Case {
    fn set(mut self, set: &'static str) -> Case {
        self.set = set;
        self
    }
    fn more(mut self, more: &'static str) -> Case {
        self.more = more;
        self
    }
    fn work(mut self, work: &'static str) -> Case {
        self.work = work;
        self
    }
    fn shows(mut self, shows: &'static str) -> Case {
        self.shows = shows;
        self
    }
    fn text(&self) -> String {
        let set = if self.set.is_empty() { String::new() } else { format!(", {}", self.set) };
        let cluster = if self.more.starts_with("cluster:") { self.more.trim_start_matches("cluster:") } else { "" };
        let more = if self.more.starts_with("cluster:") { "" } else { self.more };
        format!(
            "name: x\nwhy: One fault.\nrelease: 0.12.1\nrun_for: 6m\nsettle: 2m\n{more}\nclusters:\n  - name: prod\n    nodes: 3\n{cluster}\n    scale_sets: [{{ name: linux, min_runners: 1, max_runners: 5{set} }}]\n\
             workload:\n  - {}\nfaults:\n  - {{ {} }}\nexpect: {{ all: {{ holds: all }} }}\n",
            self.work, self.fault
        )
    }
    fn run(&self) -> (RunReport, usize) {
        let text = self.text();
        let loaded = load("x.yaml", &text).unwrap_or_else(|e| panic!("{text}\n{}", e.render(false)));
        let plan = loaded.plan(None, Release::V0_12_1, 3).unwrap();
        let at = plan.actions.iter().position(|a| matches!(a.what, arc_sim::plan::Action::Fault(_))).unwrap();
        (run(&plan, &RunOptions { trace: true, ..RunOptions::default() }), at)
    }
}

fn cases() -> Vec<Case> {
    vec![
        case("at: 1m, for: 2m, gh_error: { op: get_message, status: 500, count: 3 }"),
        case("at: 1m, gh_malformed: { op: get_message, mode: unknown_event_type, count: 1 }"),
        case("at: 1m, for: 1m, gh_settings: { poll_hold: 20s }"),
        case("at: 1m, for: 1m, gh_message: { type: JobStarted, mode: inject }"),
        case("at: 1m, for: 5s, gh_message: { type: any, mode: inject, body: truncated }").shows("is poison"),
        case("at: 1m, actor_crash: { target: listener, signal: term }").shows("SIGTERM"),
        case("at: 1m, gh_hang: { op: generate_jit, duration: 20s, count: 1 }"),
        case("at: 1m, gh_rate_limit: { ops: [generate_jit], budget: 1 per 1m, key: org, answer: 429, retry_after: 5s }"),
        case("at: 1m, for: 2m, gh_session: { mode: evict }"),
        case("at: 1m, for: 2m, gh_session: { mode: foreign }"),
        case("at: 0s, gh_session: { mode: ghost, ttl: 5m }"),
        case("at: 1m, gh_session: { mode: evict, of: runner }").shows("RunnerOffline"),
        case("at: 0s, gh_token_expiry: { token: message_queue, life: 1m }"),
        case("at: 0s, gh_token_expiry: { token: admin, life: 2m }"),
        case("at: 30s, gh_token_expiry: { token: message_queue, falls_on: ack, count: 1 }").shows("TokenRevoked"),
        case("at: 0s, gh_token_expiry: { token: message_queue, falls_on: poll, count: 1 }").shows("TokenRevoked"),
        case("at: 1m, gh_token_expiry: { token: admin, revoke: true }").shows("TokenRevoked"),
        case("at: 30s, gh_message: { type: JobStarted, mode: drop, count: 2 }").shows("EventDropped"),
        case("at: 0s, gh_message: { type: JobCompleted, mode: delay, by: 5s, probability: 1/2 }").shows("FaultFired"),
        case("at: 1m, for: 2m, gh_stats: { field: total_assigned, mode: zero }"),
        case("at: 0s, gh_stale_view: { op: get_runner, lag: 30s }"),
        case("at: 0s, gh_stale_view: { op: remove_runner, lag: 1h }")
            .work("{ pattern: burst, scale_set: linux, at: 40s, count: 5, duration: 3m }")
            .more("operators: [{ at: 1m, patch: { scale_set: linux, set: { max_runners: 1 } } }, { at: 90s, delete: { kind: EphemeralRunner, scale_set: linux } }]"),
        case("at: 0s, gh_stale_view: { op: get_scaleset, lag: 10s }"),
        case("at: 30s, gh_job_state: { mode: message_not_found, runner_effect: { exits: 2 }, count: 1 }").shows("ProcessExit { code: 2"),
        case("at: 30s, gh_job_state: { mode: message_not_found, count: 1 }")
            .work("{ pattern: burst, scale_set: linux, at: 40s, count: 5, duration: 30s }"),
        case("at: 30s, gh_job_state: { mode: premature_completed, after: 10s, count: 1 }").shows("JobEndedLate"),
        case("at: 30s, gh_job_state: { mode: lease_lost, after: 5s, runner_effect: { exits: 3 }, count: 1 }").shows("ProcessExit { code: 3"),
        case("at: 1m, gh_registration_loss: { fraction: 1/1, runner_effect: { exits: 4 } }").shows("ProcessExit { code: 4"),
        case("at: 1m, for: 2m, gh_registration_loss: { names: [\"linux-*\"] }"),
        case("at: 1m, gh_scaleset_loss: { scale_set: linux }").shows("ScaleSetDeleted"),
        case("at: 0s, for: 2m, gh_version_reject: {}").shows("FaultFired"),
        case("at: 0s, for: 2m, gh_version_reject: { versions: [\"2.32*\"], exit_code: 9 }").shows("ProcessExit { code: 9"),
        case("at: 1m, credential: { mode: revoked }"),
        case("at: 1m, for: 2m, net_cut: { from: listener, to: github, mode: blackhole_established }").shows("dead connection"),
        case("at: 1m, for: 2m, net_cut: { from: controller, to: kube_api, mode: blackhole_established }"),
        case("at: 1m, for: 1m, net_cut: { from: listener, to: kube_api, mode: refused }").shows("refused"),
        case("at: 1m, net_cut: { from: controller, to: github, mode: lose_reply, call: generate_jit, count: 1 }"),
        case("at: 1m, for: 1m, net_cut: { from: listener, to: proxy, mode: reset }").set("proxy: { url: \"http://proxy:3128\" }"),
        case("at: 0s, clock_skew: { target: runner, offset: +6m }").shows("ProcessExit"),
        case("at: 0s, clock_skew: { target: controller, offset: -15m }"),
        case("at: 0s, clock_skew: { target: controller, offset: +2m }")
            .more("github: { orgs: [{ name: acme, credentials: [{ name: app, kind: app }] }] }"),
        case("at: 1m, for: 1m, api_error: { actor: listener, verb: patch, status: 503 }"),
        case("at: 1m, for: 20s, api_outage: { mode: frozen }"),
        case("at: 1m, for: 12s, api_outage: { mode: down, watches_return: 5s..20s }").shows("refused"),
        case("at: 0s, roll_overlap: { new_start: 4s, old_sigterm: 2s }")
            .more("operators: [{ at: 1m, scale_controller: { restart: true } }]"),
        case("at: 1m, for: 1m, api_reject: { kind: Pod, verb: create, class: Forbidden quota, scale_set: linux }"),
        case("at: 0s, cache_lag: { kind: EphemeralRunner, by: 50ms..500ms }"),
        case("at: 1m, cache_lag: { kind: EphemeralRunnerSet, relist: true }"),
        case("at: 60s, for: 1m, node_fault: { mode: drain, target: listener/linux, grace: 30s }"),
        case("at: 60s, node_fault: { mode: pressure_eviction, target: listener/linux, before_status: true }"),
        case("at: 60s, for: 4m, node_fault: { mode: power_off, target: listener/linux, object_removed_after: 1m }").shows("DELETED Node"),
        case("at: 60s, node_fault: { mode: vanish, target: listener/linux }"),
        case("at: 1m, for: 2m, pod_reject: { reason: OutOfpods, count: 1 }").shows("OutOfpods"),
        case("at: 0s, pod_reject: { reason: OutOfcpu, target: workflow }").set(KUBE).work(CONTAINER).shows("OutOfcpu"),
        case("at: 30s, pod_delay: { mode: unschedulable, by: 20s, count: 2 }"),
        case("at: 30s, for: 1m, pod_delay: { mode: image_pull_error }"),
        case("at: 30s, for: 1m, pod_delay: { mode: slow_start }"),
        case("at: 0s, for: 1m, init_fail: { mode: start_error }").set(DIND),
        case("at: 0s, for: 1m, init_fail: { mode: exit, code: 1 }").set(DIND),
        case("at: 0s, init_fail: { mode: never_completes }").set(DIND),
        case("at: 30s, container_exit: { target: runner, phase: before_job, code: 5, times: 1 }").shows("ProcessExit { code: 5"),
        case("at: 30s, container_exit: { target: runner, phase: before_connect, code: 5, after: 3s, times: 1 }").shows("ProcessExit { code: 5"),
        case("at: 30s, container_exit: { target: runner, phase: mid_job, code: 137, reason: OOMKilled, after: 2s, times: 1 }"),
        case("at: 30s, container_exit: { target: runner, phase: after_job, code: 6, times: 1 }").shows("ProcessExit { code: 6"),
        case("at: 1m, container_exit: { target: listener, code: 7, times: 1 }").shows("ProcessExit { code: 7"),
        case("at: 0s, container_exit: { target: workflow, code: 8, after: 5s, times: 1 }").set(KUBE).work(CONTAINER).shows("exec-reset"),
        case("at: 0s, sidecar_fault: { target: dind, mode: ready_delay, delay: 10s }").set(DIND),
        case("at: 0s, sidecar_fault: { target: dind, mode: crash_mid_job, delay: 2s, count: 1 }").set(DIND),
        case("at: 0s, sidecar_fault: { target: injected, mode: outlives_main }").more("cluster:    injected_sidecar: mesh"),
        case("at: 30s, sidecar_fault: { target: injected, mode: crash_at_start, code: 11, count: 1 }")
            .more("cluster:    injected_sidecar: mesh").shows("ProcessExit { code: 11"),
        case("at: 0s, for: 2m, volume_fault: { mode: slow_attach }").set(KUBE).work(CONTAINER),
        case("at: 90s, exec_cut: { mode: clean_close }").set(KUBE).work(CONTAINER).shows("exec-closed"),
        case("at: 0s, exec_cut: { after_idle: 30s, mode: reset }")
            .set(KUBE)
            .work("{ pattern: silent_step, scale_set: linux, at: 1m, silent_for: 2m, duration: 2m, exit_code: 1, result: failed }")
            .shows("exec-reset"),
        case("when: { call: github.delete_message, occurrence: 1, point: before-send }, actor_crash: { target: listener/linux, restart_after: 20s }"),
        case("when: { step: \"*\", actor: controller, occurrence: 30 }, actor_crash: { target: controller, restart_after: 5s, in_flight_applied: 1/2 }"),
        case("at: 1m, actor_crash: { target: controller, leader: true, pod: true }").more("cluster:    controllers: [{ replicas: 2 }]"),
        case("at: 1m, actor_slow: { target: controller, workers: { EphemeralRunner: 1 }, qps: 5, burst: 5, order_seed: 7 }"),
        case("at: 1m, for: 2m, actor_slow: { target: controller, github_latency: 300ms, pause: 10s }"),
    ]
}

/// What a run says, event by event.
fn history(report: &RunReport) -> String {
    report.trace.events().iter().map(|e| format!("{:?} {}\n", e.what, e.what)).collect()
}

#[test]
fn every_fault_has_an_effect() {
    let mut wrong = Vec::new();
    for case in &cases() {
        let (report, at) = case.run();
        if report.hits[at] == 0 {
            wrong.push(format!("no hit: {}", case.fault));
        } else if !history(&report).contains(case.shows) {
            wrong.push(format!("history without `{}`: {}", case.shows, case.fault));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases().len(), wrong.join("\n"));
}

#[test]
fn every_kind_of_fault_is_among_the_cases() {
    for id in Fault::IDS {
        assert!(cases().iter().any(|c| c.fault.contains(&format!(" {id}: "))), "no case for {id}");
    }
}
