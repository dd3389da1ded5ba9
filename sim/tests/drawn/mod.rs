//! Small worlds, workloads, operators and faults at random, as scenario files. Only what the engine really carries out is drawn.
//!
//! Everything is text that proptest's own values are mapped to, so a failure shrinks: entries disappear, numbers fall, choices
//! move to the first of their list.
#![allow(dead_code, missing_docs)]

use std::fmt::Write as _;

use arc_sim::plan::Plan;
use arc_sim::scenario::{self, Loaded};
use controller_core::Release;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// Jobs arrive and faults happen for so long, in seconds.
pub const RUN_FOR: u32 = 360;
/// Longer than any bound of an invariant after its calm.
const SETTLE: &str = "25m";

/// A scale set.
#[derive(Clone, Debug)]
pub struct Set {
    pub min: u32,
    pub max: u32,
    pub mode: &'static str,
}

/// What an entry needs of the world.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Needs {
    Nothing,
    Dind,
    Acquire,
}

/// An entry: when, how long (faults), and the text of what it does. `@` stands for a scale set.
#[derive(Clone, Debug)]
pub struct Entry {
    pub at: u32,
    pub lasts: u32,
    pub set: usize,
    pub needs: Needs,
    /// A trigger instead of a time.
    pub when: Option<String>,
    pub what: String,
}

/// Jobs.
#[derive(Clone, Debug)]
pub struct Jobs {
    pub at: u32,
    pub count: u32,
    pub every: u32,
    pub times: u32,
    pub duration: u32,
    pub set: usize,
    pub cancel: Option<u32>,
}

/// A drawn scenario.
#[derive(Clone, Debug)]
pub struct Case {
    pub seed: u64,
    pub acquire: bool,
    pub eventual: bool,
    pub replicas: u32,
    pub sets: Vec<Set>,
    pub jobs: Vec<Jobs>,
    pub faults: Vec<Entry>,
    pub operators: Vec<Entry>,
    /// A rolling update of the controller and how the two pods overlap.
    pub roll: Option<(u32, u32, u32)>,
}

impl Case {
    /// The scenario file.
    pub fn yaml(&self) -> String {
        let mut y = String::new();
        let w = &mut y;
        let _ = writeln!(w, "name: drawn\nwhy: drawn at random\nrelease: next\nseed: {}", self.seed);
        let mode = if self.acquire { "acquire_required" } else { "push" };
        let _ = writeln!(w, "github: {{ mode: {mode} }}");
        let strategy = if self.eventual { "eventual" } else { "immediate" };
        let _ = writeln!(w, "clusters:\n  - name: prod\n    kubernetes: \"1.34\"\n    nodes: 3");
        let _ = writeln!(
            w,
            "    controllers: [{{ name: arc, replicas: {}, update_strategy: {strategy} }}]\n    scale_sets:",
            self.replicas
        );
        for (n, set) in self.sets.iter().enumerate() {
            let max = set.max.max(set.min).max(1);
            let _ = writeln!(
                w,
                "      - {{ name: s{n}, min_runners: {}, max_runners: {max}, container_mode: {} }}",
                set.min, set.mode
            );
        }
        if !self.jobs.is_empty() {
            let _ = writeln!(w, "workload:");
        }
        for jobs in &self.jobs {
            let set = jobs.set % self.sets.len();
            let mut kind = match self.sets[set].mode {
                "dind" => "pattern: docker_first_step",
                "kubernetes" => "pattern: container_job",
                _ => "pattern: burst",
            }
            .to_owned();
            if let Some(after) = jobs.cancel {
                kind = format!("pattern: cancel_running, cancel_after: {after}s");
            }
            // No arrival after the end.
            let times = jobs.times.min((RUN_FOR - 1 - jobs.at) / jobs.every.max(1)).max(1);
            let every =
                if jobs.every > 0 { format!(", every: {}s, times: {times}", jobs.every) } else { String::new() };
            let _ = writeln!(
                w,
                "  - {{ {kind}, scale_set: s{set}, at: {}s, count: {}, duration: {}s{every} }}",
                jobs.at, jobs.count, jobs.duration
            );
        }
        let faults: Vec<&Entry> = self.faults.iter().filter(|f| self.has(f.needs)).collect();
        if !faults.is_empty() || self.roll.is_some() {
            let _ = writeln!(w, "faults:");
        }
        for (n, f) in faults.into_iter().enumerate() {
            let id = if f.what.starts_with("id:") { String::new() } else { format!("id: f{n}, ") };
            let what = f.what.replace('@', &format!("s{}", f.set % self.sets.len()));
            let at = f.when.as_ref().map_or(format!("at: {}s", f.at), |t| format!("when: {t}"));
            let _ = writeln!(w, "  - {{ {id}{at}, for: {}s, {what} }}", f.lasts.max(1));
        }
        if let Some((at, start, term)) = self.roll {
            let _ = writeln!(
                w,
                "  - {{ id: roll, at: {}s, for: 90s, roll_overlap: {{ new_start: {start}s, old_sigterm: {term}s }} }}",
                at.saturating_sub(1)
            );
        }
        if !self.operators.is_empty() || self.roll.is_some() {
            let _ = writeln!(w, "operators:");
        }
        for o in &self.operators {
            let what = o.what.replace('@', &format!("s{}", o.set % self.sets.len()));
            let _ = writeln!(w, "  - {{ at: {}s, {what} }}", o.at);
        }
        if let Some((at, ..)) = self.roll {
            let _ = writeln!(w, "  - {{ at: {at}s, scale_controller: {{ restart: true }} }}");
        }
        let _ = writeln!(w, "run_for: {RUN_FOR}s\nsettle: {SETTLE}\nexpect:\n  next: {{ holds: all }}");
        y
    }

    fn has(&self, needs: Needs) -> bool {
        match needs {
            Needs::Nothing => true,
            Needs::Dind => self.sets.iter().any(|s| s.mode == "dind"),
            Needs::Acquire => self.acquire,
        }
    }

    /// The file, read.
    pub fn load(&self) -> Loaded {
        let text = self.yaml();
        scenario::load("drawn.yaml", &text).unwrap_or_else(|e| panic!("{}\n{text}", e.render(false)))
    }

    /// Its plan for the corrected controller.
    pub fn plan(&self) -> Plan {
        self.load().plan(None, Release::Next, self.seed).expect("it has no variants")
    }
}

fn share() -> impl Strategy<Value = &'static str> {
    select(vec!["1/1", "1/2", "1/5", "1/20"])
}

/// One fault with its parameters.
fn fault_text() -> impl Strategy<Value = (Needs, String)> {
    let n = Needs::Nothing;
    let op = select(vec![
        "get_message",
        "generate_jit",
        "create_session",
        "delete_message",
        "refresh_session",
        "get_runner",
        "get_runner_by_name",
        "remove_runner",
        "get_scaleset",
        "create_scaleset",
        "registration_token",
        "runner_registration",
        "runner_connect",
        "runner_poll",
        "runner_renew",
        "runner_complete",
        "delete_session",
        "all",
    ]);
    let kind = select(vec![
        "ephemeralrunners",
        "ephemeralrunners/status",
        "ephemeralrunnersets",
        "ephemeralrunnersets/status",
        "pods",
        "secrets",
        "autoscalinglisteners",
        "autoscalingrunnersets",
        "rolebindings",
        "*",
    ]);
    let lagging = select(vec![
        "EphemeralRunner",
        "Pod",
        "EphemeralRunnerSet",
        "AutoscalingListener",
        "AutoscalingRunnerSet",
        "Secret",
        "*",
    ]);
    let actor = select(vec!["controller", "listener", "runner"]);
    let process = select(vec!["controller", "listener", "runner", "dind"]);
    prop_oneof![
        4 => (op.clone(), select(vec![500u16, 503, 429, 401, 403, 502]), any::<bool>(), share(), 1u32..30).prop_map(
            move |(op, status, applied, p, count)| (n, format!(
                "gh_error: {{ op: {op}, status: {status}, applied: {applied}, probability: {p}, count: {count} }}"
            ))
        ),
        2 => (op.clone(), 1u32..200, any::<bool>(), share()).prop_map(move |(op, d, applied, p)| (n, format!(
            "gh_hang: {{ op: {op}, duration: {d}s, applied: {applied}, probability: {p} }}"
        ))),
        1 => (op.clone(), any::<bool>(), share()).prop_map(move |(op, applied, p)| (n, format!(
            "gh_hang: {{ op: {op}, applied: {applied}, probability: {p} }}"
        ))),
        1 => (op, select(vec!["empty_200", "truncated"]), share(), 1u32..10).prop_map(move |(op, mode, p, count)| (n, format!(
            "gh_malformed: {{ op: {op}, mode: {mode}, probability: {p}, count: {count} }}"
        ))),
        2 => select(vec!["{ mode: evict }", "{ mode: foreign }", "{ mode: ghost, ttl: 120s }"])
            .prop_map(move |f| (n, format!("gh_session: {f}"))),
        3 => (
            select(vec!["JobAssigned", "JobStarted", "JobCompleted", "JobAvailable", "any"]),
            select(vec!["drop", "delay", "duplicate", "reorder", "redeliver"]),
            1u32..90,
            1u32..6,
        ).prop_map(move |(t, mode, by, count)| (n, format!(
            "gh_message: {{ type: {t}, mode: {mode}, by: {by}s, count: {count} }}"
        ))),
        1 => (select(vec!["total_assigned", "all"]), select(vec!["zero", "freeze"]))
            .prop_map(move |(f, m)| (n, format!("gh_stats: {{ field: {f}, mode: {m} }}"))),
        1 => (1u32..4).prop_map(move |k| (n, format!("gh_registration_loss: {{ fraction: 1/{k} }}"))),
        1 => Just((n, "gh_rate_limit: { ops: [all], budget: 20 per 60s, key: org, answer: 429, retry_after: 10s }".into())),
        1 => select(vec!["message_queue", "admin", "registration"])
            .prop_map(move |t| (n, format!("gh_token_expiry: {{ token: {t}, revoke: true }}"))),
        1 => Just((n, "credential: { mode: revoked }".into())),
        4 => (
            actor.clone(),
            select(vec!["kube_api", "github"]),
            select(vec!["refused", "reset", "blackhole", "lose_request", "lose_reply", "duplicate", "delay"]),
            1u32..60,
            share(),
        ).prop_map(move |(from, to, mode, by, p)| {
            let by = if mode == "delay" { format!(", by: {by}s") } else { String::new() };
            (n, format!("net_cut: {{ from: {from}, to: {to}, mode: {mode}, probability: {p}{by} }}"))
        }),
        4 => (
            select(vec!["create", "patch", "delete", "get", "update", "list", "*"]),
            kind,
            select(vec!["500", "503", "429", "504", "timeout", "conflict"]),
            any::<bool>(),
            share(),
            1u32..20,
        ).prop_map(move |(verb, kind, status, applied, p, count)| (n, format!(
            "api_error: {{ actor: controller, verb: \"{verb}\", kind: \"{kind}\", status: {status}, applied: {applied}, probability: {p}, count: {count} }}"
        ))),
        1 => (select(vec!["pods", "ephemeralrunners", "secrets"]), select(vec!["Forbidden quota", "Forbidden webhook", "Invalid"]), 1u32..8)
            .prop_map(move |(k, c, count)| (n, format!("api_reject: {{ verb: create, kind: {k}, class: {c}, actor: controller, count: {count} }}"))),
        2 => select(vec!["frozen", "down"]).prop_map(move |m| (n, format!("api_outage: {{ mode: {m} }}"))),
        3 => (lagging.clone(), 50u32..20_000, share())
            .prop_map(move |(k, by, p)| (n, format!("cache_lag: {{ kind: \"{k}\", by: {by}ms, probability: {p} }}"))),
        1 => lagging.prop_map(move |k| (n, format!("cache_lag: {{ kind: \"{k}\", relist: true }}"))),
        4 => (process.clone(), any::<bool>()).prop_map(move |(t, _)| {
            let needs = if t == "dind" { Needs::Dind } else { n };
            (needs, format!("actor_crash: {{ target: {t} }}"))
        }),
        2 => (actor, 1u32..60).prop_map(move |(t, d)| (n, format!("actor_slow: {{ target: {t}, pause: {d}s }}"))),
        1 => (1u32..4).prop_map(move |d| (n, format!("actor_slow: {{ target: controller, kube_latency: {d}s }}"))),
        4 => (
            select(vec!["runner", "listener", "controller"]),
            select(vec![1i32, 0, 2, 137, 7]),
            select(vec!["before_job", "mid_job", ""]),
            0u32..20,
            1u32..5,
        ).prop_map(move |(t, code, phase, after, times)| {
            let phase = if t == "runner" && !phase.is_empty() { format!(", phase: {phase}") } else { String::new() };
            (n, format!("container_exit: {{ target: {t}, code: {code}, after: {after}s, times: {times}{phase} }}"))
        }),
        2 => (select(vec!["unschedulable", "slow_start", "image_pull_error"]), select(vec!["runner", "listener"]), 1u32..90, share())
            .prop_map(move |(m, t, by, p)| (n, format!("pod_delay: {{ mode: {m}, target: {t}, by: {by}s, probability: {p} }}"))),
        2 => (select(vec!["OutOfpods", "OutOfcpu", "OutOfmemory"]), select(vec!["runner", "listener"]), 1u32..5)
            .prop_map(move |(r, t, count)| (n, format!("pod_reject: {{ reason: {r}, target: {t}, count: {count} }}"))),
        2 => (select(vec!["drain", "pressure_eviction", "power_off", "vanish"]), select(vec!["n1", "n2", "n3"]))
            .prop_map(move |(m, t)| (n, format!("node_fault: {{ mode: {m}, target: {t} }}"))),
        1 => (1u32..40).prop_map(|d| (Needs::Dind, format!("sidecar_fault: {{ target: dind, mode: ready_delay, delay: {d}s }}"))),
        1 => (select(vec!["crash_at_start", "crash_mid_job"]), 1u32..4)
            .prop_map(|(m, c)| (Needs::Dind, format!("sidecar_fault: {{ target: dind, mode: {m}, count: {c} }}"))),
        1 => (select(vec!["start_error", "exit", "never_completes"]), 1u32..4)
            .prop_map(|(m, c)| (Needs::Dind, format!("init_fail: {{ mode: {m}, code: 1, count: {c} }}"))),
        1 => (select(vec![500u16, 503, 401]), share()).prop_map(|(s, p)| (Needs::Acquire, format!(
            "gh_error: {{ op: acquire_jobs, status: {s}, probability: {p} }}"
        ))),
    ]
}

/// The n-th call of a component.
fn trigger() -> impl Strategy<Value = String> {
    let point = select(vec!["after-reply", "after-apply", "before-send"]);
    let actor = select(vec!["controller", "controller", "listener", "runner"]);
    (select(vec!["kube.*", "github.*"]), actor, 1u32..120, point).prop_map(|(call, actor, n, point)| {
        let n = if actor == "controller" { n } else { n / 8 + 1 };
        format!("{{ call: \"{call}\", actor: {actor}, occurrence: {n}, point: {point} }}")
    })
}

fn fault() -> impl Strategy<Value = Entry> {
    let at = prop_oneof![1 => 0u32..25, 4 => 0u32..RUN_FOR - 60];
    let lasts = select(vec![20u32, 5, 60, 120, 300]);
    (at, lasts, 0usize..2, proptest::option::weighted(0.2, trigger()), fault_text()).prop_map(
        |(at, lasts, set, when, (needs, what))| Entry { at, lasts: lasts.min(RUN_FOR - at), set, needs, when, what },
    )
}

fn operator() -> impl Strategy<Value = Entry> {
    let what = prop_oneof![
        2 => (0u32..3, 1u32..6).prop_map(|(min, max)| format!(
            "upgrade: {{ chart: {{ scale_set: @ }}, set: {{ min_runners: {min}, max_runners: {} }} }}", max.max(min)
        )),
        1 => Just("upgrade: { chart: { scale_set: @ }, set: { image: \"runner:v2\" } }".to_owned()),
        1 => (0u32..3, 1u32..6).prop_map(|(min, max)| format!(
            "patch: {{ scale_set: @, set: {{ min_runners: {min}, max_runners: {} }} }}", max.max(min)
        )),
        1 => select(vec!["autoscalinglistener", "ephemeralrunnerset", "ephemeralrunner"])
            .prop_map(|k| format!("delete: {{ kind: {k}, scale_set: @ }}")),
        1 => select(vec!["listener", "controller"]).prop_map(|t| format!("delete_pod: {{ target: {t}, which: all }}")),
        1 => select(vec!["oldest", "idle", "all"]).prop_map(|w| format!("delete_pod: {{ target: runner, which: {w} }}")),
        1 => Just("uninstall: { chart: { scale_set: @ } }".to_owned()),
        1 => Just("scale_controller: { leader_change: true }".to_owned()),
    ];
    (30u32..RUN_FOR - 60, 0usize..2, what).prop_map(|(at, set, what)| Entry {
        at,
        lasts: 0,
        set,
        needs: Needs::Nothing,
        when: None,
        what,
    })
}

fn jobs() -> impl Strategy<Value = Jobs> {
    (
        0u32..RUN_FOR - 120,
        1u32..4,
        select(vec![0u32, 10, 25]),
        1u32..9,
        select(vec![3u32, 20, 60]),
        0usize..2,
        proptest::option::weighted(0.1, 1u32..20),
    )
        .prop_map(|(at, count, every, times, duration, set, cancel)| Jobs {
            at,
            count,
            every,
            times,
            duration,
            set,
            cancel,
        })
}

fn set() -> impl Strategy<Value = Set> {
    (0u32..3, 1u32..6, select(vec!["none", "none", "dind", "kubernetes"])).prop_map(|(min, max, mode)| Set {
        min,
        max,
        mode,
    })
}

/// Worlds with up to so many faults.
pub fn cases(most_faults: usize) -> impl Strategy<Value = Case> {
    let vec = proptest::collection::vec::<BoxedStrategy<Entry>>;
    (
        any::<u16>(),
        any::<bool>(),
        any::<bool>(),
        select(vec![1u32, 1, 2]),
        proptest::collection::vec(set(), 1..3),
        proptest::collection::vec(jobs(), 0..4),
        vec(fault().boxed(), 0..=most_faults),
        vec(operator().boxed(), 0..=1),
        proptest::option::weighted(0.15, (60u32..200, 1u32..20, 1u32..40)),
    )
        .prop_map(|(seed, acquire, eventual, replicas, sets, jobs, faults, operators, roll)| Case {
            seed: seed.into(),
            acquire,
            eventual,
            replicas,
            sets,
            jobs,
            faults,
            operators,
            roll,
        })
}

/// The case of a number: for suites that need many different worlds and no shrinking.
pub fn case(number: u64) -> Case {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    cases(4).new_tree(&mut runner).expect("strategies that reject nothing").current()
}
