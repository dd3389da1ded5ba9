//! What holds for every pod, whatever its shape, its processes and what happens to it.

mod rig;

use arc_api::kube::{DeleteOptions, WatchType};
use arc_api::pod::{ExecAction, Handler, Lifecycle, Pod, PodPhase, Probe, SleepAction};
use arc_api::{Duration, Kind, Time};
use fake_kube::cluster::{ClusterSettings, StartFailure};
use proptest::prelude::*;
use rig::{Behaviour, Rig, container, pod, sidecar};

fn millis(m: u64) -> Duration {
    Duration::from_millis(m)
}

/// One container of a generated pod.
#[derive(Clone, Debug)]
struct Shape {
    kind: u8,
    probe: bool,
    hook: u8,
    start: u64,
    fails: u8,
    exits: Option<(u64, i32)>,
    on_term: Option<(u64, i32)>,
    hook_takes: u64,
    healthy_after: Option<u64>,
}

fn shape() -> impl Strategy<Value = Shape> {
    let exits = prop::option::of((0u64..90_000, prop::sample::select(vec![0, 0, 1, 137])));
    let on_term = prop::option::weighted(0.7, (0u64..40_000, prop::sample::select(vec![0, 1, 143])));
    (0u8..4, any::<bool>(), 0u8..5, 0u64..5_000, 0u8..12, exits, on_term, 0u64..50_000, prop::option::of(0u64..60_000))
        .prop_map(|(kind, probe, hook, start, fails, exits, on_term, hook_takes, healthy_after)| Shape {
            kind,
            probe,
            hook,
            start,
            fails,
            exits,
            on_term,
            hook_takes,
            healthy_after,
        })
}

/// Something that happens to the pod.
#[derive(Clone, Debug)]
enum Happens {
    Delete(Option<i64>),
    Evict(bool),
    PowerOff,
    CutOff,
    Back,
    ApiDown,
    ApiUp,
    Drain,
    Unhealthy,
    Lost,
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        4 => prop::option::of(0i64..40).prop_map(Happens::Delete),
        1 => any::<bool>().prop_map(Happens::Evict),
        1 => Just(Happens::PowerOff),
        1 => Just(Happens::CutOff),
        2 => Just(Happens::Back),
        1 => Just(Happens::ApiDown),
        2 => Just(Happens::ApiUp),
        1 => Just(Happens::Drain),
        1 => Just(Happens::Unhealthy),
        1 => Just(Happens::Lost),
    ]
}

const NODE: &str = "node-1";

fn build(minor: u32, policy: &str, shapes: &[Shape]) -> Rig {
    let mut rig = Rig::new(ClusterSettings::version(minor).with_nodes(1));
    let mut spec = pod("p", &[], |s| s.restart_policy = policy.into());
    let inner = std::sync::Arc::make_mut(&mut spec.spec);
    inner.termination_grace_period_seconds = Some(20);
    for (i, shape) in shapes.iter().enumerate() {
        let name = format!("c{i}");
        let is_sidecar = shape.kind == 1 && minor >= 29;
        let mut c = if is_sidecar { sidecar(&name) } else { container(&name) };
        let ordinary_init = shape.kind == 0;
        if !ordinary_init {
            let exec = Some(ExecAction { command: vec!["true".into()], rest: None });
            c.startup_probe =
                shape.probe.then(|| Probe { exec: exec.clone(), period_seconds: Some(3), ..Probe::default() });
            c.liveness_probe = c.startup_probe.clone().filter(|_| shape.hook > 2);
            let handler = match shape.hook {
                1 => Some(Handler { exec, ..Handler::default() }),
                2 => {
                    Some(Handler { sleep: Some(SleepAction { seconds: (shape.hook_takes / 1000) as i64 }), exec: None })
                }
                _ => None,
            };
            c.lifecycle = handler.map(|h| Lifecycle { pre_stop: Some(h), ..Lifecycle::default() });
        }
        rig.behaviours.insert(
            name,
            Behaviour {
                start: millis(shape.start),
                fails: match shape.fails {
                    0 => Some(StartFailure::ImagePull),
                    1 => Some(StartFailure::StartError(128, "no".into())),
                    2 => Some(StartFailure::ConfigError("no".into())),
                    _ => None,
                },
                exits: shape.exits.map(|(t, code)| (millis(t), if ordinary_init { 0 } else { code })),
                on_term: shape.on_term.map(|(t, code)| (millis(t), code)),
                hook: millis(shape.hook_takes),
                healthy_after: shape.healthy_after.map(millis),
            },
        );
        if shape.kind < 2 && (is_sidecar || ordinary_init) {
            inner.init_containers.push(c)
        } else {
            inner.containers.push(c)
        }
    }
    if inner.containers.is_empty() {
        inner.containers.push(container("last"));
    }
    rig.create(spec);
    rig
}

fn happen(rig: &mut Rig, what: &Happens) {
    let now = rig.now;
    let uid = rig.pod("p").map(|p| p.metadata.uid);
    match what {
        Happens::Delete(grace) => {
            let options = DeleteOptions { grace_period_seconds: *grace, ..DeleteOptions::default() };
            let _ = rig.delete(Kind::Pod, "default", "p", options);
        }
        Happens::Evict(before) => rig.cluster.pressure(NODE, "memory", *before, now),
        Happens::PowerOff => {
            rig.cluster.power_off(NODE, now);
            rig.drain_effects();
            // The same pod may be started again when the node is back.
            rig.forgotten.clear();
        }
        Happens::CutOff => rig.cluster.cut_off(NODE, now),
        Happens::Back => rig.cluster.node_back(NODE, now),
        Happens::ApiDown => rig.cluster.set_api_up(false, now),
        Happens::ApiUp => rig.cluster.set_api_up(true, now),
        Happens::Drain => rig.cluster.drain(NODE, None, now),
        Happens::Unhealthy => {
            if let Some(uid) = uid {
                rig.cluster.set_healthy(uid, "c0", false, now);
            }
        }
        Happens::Lost => {
            if let Some(uid) = uid {
                rig.cluster.container_lost(uid, "c0", now);
            }
        }
    }
    rig.drain_effects();
}

/// Runs with a limit on steps, so that a loop is a failure and not a hang.
fn run(rig: &mut Rig, d: Duration) {
    let end = rig.now.after(d);
    let mut steps = 0;
    while rig.step(end) {
        steps += 1;
        assert!(steps < 20_000, "it never rests: {:?}", rig.effects.last());
    }
    rig.now = rig.now.max(end);
}

fn phases(rig: &Rig) -> Vec<PodPhase> {
    let from = rig.cluster.api().history_floor(Kind::Pod);
    let events = rig.cluster.api().events_after(Kind::Pod, from).expect("in history");
    events
        .filter(|e| e.type_ != WatchType::Deleted)
        .filter_map(|e| e.object.get::<Pod>())
        .map(|p| p.status.phase)
        .collect()
}

fn rank(phase: PodPhase) -> u8 {
    match phase {
        PodPhase::Pending => 0,
        PodPhase::Running | PodPhase::Unknown => 1,
        PodPhase::Succeeded | PodPhase::Failed => 2,
    }
}

fn story() -> impl Strategy<Value = (u32, &'static str, Vec<Shape>, Vec<(u64, Happens)>)> {
    (
        prop::sample::select(vec![28u32, 30, 34]),
        prop::sample::select(vec!["Never", "Never", "OnFailure", "Always"]),
        prop::collection::vec(shape(), 1..5),
        prop::collection::vec((0u64..60_000, happens()), 0..6),
    )
}

/// Enough to find each fault these were tried on; a second in all.
const CASES: u32 = 300;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(CASES) })]

    /// A terminal phase is the last one; without node faults nothing goes backwards but a restart under a new sandbox.
    #[test]
    fn prop_a_terminal_phase_is_the_last((minor, policy, shapes, events) in story()) {
        let mut rig = build(minor, policy, &shapes);
        for (after, what) in &events {
            run(&mut rig, millis(*after));
            happen(&mut rig, what);
        }
        run(&mut rig, Duration::from_secs(300));
        let phases = phases(&rig);
        let rebooted = events.iter().any(|(_, e)| matches!(e, Happens::PowerOff));
        for pair in phases.windows(2) {
            if pair[0].is_terminal() {
                prop_assert_eq!(pair[1], pair[0]);
            } else if !rebooted {
                prop_assert!(rank(pair[1]) >= rank(pair[0]), "{:?}", phases);
            }
        }
    }

    /// A deleted pod is gone when its grace, the two seconds after it for each container, and the tear-down are over,
    /// however deaf its processes and hooks are.
    #[test]
    fn prop_grace_always_ends((minor, policy, shapes, _) in story(), wait in 0u64..100_000, grace in 0i64..60) {
        let mut rig = build(minor, policy, &shapes);
        run(&mut rig, millis(wait));
        happen(&mut rig, &Happens::Delete(Some(grace)));
        run(&mut rig, Duration::from_secs(grace as u64 + 3));
        prop_assert!(rig.pod("p").is_none());
        run(&mut rig, Duration::from_secs(5));
        prop_assert_eq!(rig.next(), Time::NEVER);
    }

    /// Nothing is asked of a pod after `Forget` (the engine of these tests checks it), and a world whose faults are over
    /// comes to rest or goes on restarting for a reason.
    #[test]
    fn prop_no_effect_for_forgotten_pods((minor, policy, shapes, events) in story()) {
        let mut rig = build(minor, policy, &shapes);
        for (after, what) in &events {
            run(&mut rig, millis(*after));
            happen(&mut rig, what);
        }
        for what in [Happens::ApiUp, Happens::Back, Happens::Delete(None)] {
            happen(&mut rig, &what);
        }
        run(&mut rig, Duration::from_secs(90));
        prop_assert!(rig.pod("p").is_none(), "{:?}", rig.life("p").last());
        run(&mut rig, Duration::from_secs(600));
        prop_assert_eq!(rig.next(), Time::NEVER);
    }

    /// Sidecars hear SIGTERM after every main container has ended, or when the grace is over.
    #[test]
    fn prop_sidecars_go_last(policy in prop::sample::select(vec!["Never", "Always"]), shapes in prop::collection::vec(shape(), 2..5)) {
        let mut shapes = shapes;
        for shape in &mut shapes {
            shape.kind = 1 + shape.kind % 2;
            (shape.fails, shape.exits, shape.probe, shape.hook) = (9, None, false, 0);
        }
        let mut rig = build(34, policy, &shapes);
        run(&mut rig, Duration::from_secs(60));
        let began = rig.now;
        happen(&mut rig, &Happens::Delete(Some(20)));
        run(&mut rig, Duration::from_secs(40));
        let ends = |i: usize| {
            let term = rig.effect_at(&format!("Term c{i}"));
            let own = shapes[i].on_term.and_then(|(t, _)| Some(term?.after(millis(t))));
            match (own, rig.effect_at(&format!("Kill c{i}"))) {
                (Some(own), Some(kill)) => Some(own.min(kill)),
                (a, b) => a.or(b),
            }
        };
        let over = began.after(Duration::from_secs(20));
        for i in (0..shapes.len()).filter(|i| shapes[*i].kind == 1) {
            let term = rig.effect_at(&format!("Term c{i}")).expect("a sidecar is stopped");
            for j in (0..shapes.len()).filter(|j| shapes[*j].kind != 1 || *j > i) {
                let end = ends(j).expect("everything ends");
                prop_assert!(term >= end || term >= over, "c{i} at {term}, c{j} ended {end}");
            }
        }
    }

    /// A clone and its original do the same, and neither sees the other.
    #[test]
    fn prop_clones_are_independent((minor, policy, shapes, events) in story(), fork in 0u64..60_000) {
        let mut rig = build(minor, policy, &shapes);
        run(&mut rig, millis(fork));
        let mut clone = rig.clone();
        let before = rig.life("p");
        let play = |rig: &mut Rig| {
            for (after, what) in &events {
                run(rig, millis(*after));
                happen(rig, what);
            }
            run(rig, Duration::from_secs(100));
        };
        play(&mut clone);
        prop_assert_eq!(rig.life("p"), before);
        play(&mut rig);
        prop_assert_eq!(rig.life("p"), clone.life("p"));
        prop_assert_eq!(&rig.effects, &clone.effects);
        prop_assert_eq!(rig.cluster.api().resource_version(), clone.cluster.api().resource_version());
    }
}
