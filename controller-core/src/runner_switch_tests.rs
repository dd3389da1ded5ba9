//! Every switch that the two runner reconcilers read changes what they do: flipping any of them, one at a time, changes the
//! calls or the ends of passes of at least one of the situations below. A switch that changes nothing is not wired.

use std::sync::Arc;

use arc_api::core::Secret;
use arc_api::crd::{EphemeralRunner, EphemeralRunnerSet, ErPhase, Overlay, Proxy, ProxyServer};
use arc_api::kube::{Reason, Status};
use arc_api::meta::Key;
use arc_api::meta::labels;
use arc_api::pod::{Container, ContainerStatus, EnvVar, Pod, PodPhase};
use arc_api::{Kind, Meta, RunnerId, ScaleSetId};

use crate::behaviour::Behaviour;
use crate::reconcile::Outcome;
use crate::release::Release;
use crate::test_world::{NS, SET, World, exited, running, waiting};

/// A few passes over a runner, following its waits; situations must end also where a mixture of switches makes no sense.
fn passes(w: &mut World, name: &str, n: usize) {
    for _ in 0..n {
        if w.get::<EphemeralRunner>(name).is_none() {
            return;
        }
        if let Outcome::After(wait) = w.run(name) {
            w.now = w.now.after(wait);
        }
    }
}

fn born(w: &mut World) {
    w.add_runner("r", ErPhase::Empty, None);
    w.update::<EphemeralRunner>("r", |r| r.metadata.finalizers = [].into());
    w.sync();
    passes(w, "r", 6);
}

fn with_pod(w: &mut World, change: impl FnOnce(&mut Pod)) {
    if w.get::<Pod>("r").is_some() {
        w.update::<Pod>("r", change);
        w.sync();
    }
}

fn report(w: &mut World, state: arc_api::pod::ContainerState) {
    if w.get::<Pod>("r").is_some() {
        w.kubelet("r", state);
    }
}

fn up(w: &mut World) {
    born(w);
    report(w, waiting("ContainerCreating"));
    passes(w, "r", 2);
    report(w, running(w.now));
    passes(w, "r", 2);
}

fn ends(w: &mut World, code: i32, job: bool) {
    up(w);
    if job {
        w.job_started("r");
        w.registered.clear();
    }
    report(w, exited(code));
    passes(w, "r", 8);
}

fn refused(w: &mut World, reason: Reason, text: &str) {
    w.pod_refusal = Some(Arc::new(Status::new(reason, text)));
    born(w);
    w.wait(700);
    passes(w, "r", 4);
}

fn delete(w: &mut World) {
    let now = w.now;
    if w.get::<EphemeralRunner>("r").is_some() {
        w.update::<EphemeralRunner>("r", |r| r.metadata.deletion_timestamp = Some(now));
        w.sync();
        passes(w, "r", 6);
    }
}

fn sets(w: &mut World, runners: &[ErPhase], replicas: i32, patch_id: i64) {
    for (n, phase) in runners.iter().enumerate() {
        w.add_registered(&format!("r{n}"), *phase, Some(1));
        w.wait(1);
    }
    w.listener(replicas, patch_id);
    for _ in 0..3 {
        w.run_set();
    }
}

fn name_taken(w: &mut World, set: i64) {
    w.registered.insert(RunnerId(900), ("r".into(), ScaleSetId(set)));
    born(w);
    passes(w, "r", 4);
}

/// A situation, played to its end.
type Situation = fn(&mut World);

/// The situations, and what they are about.
const SITUATIONS: &[(&str, Situation)] = &[
    ("exit 0 without a job", |w| ends(w, 0, false)),
    ("exit 0 with a job", |w| ends(w, 0, true)),
    ("deleted after success", |w| {
        ends(w, 0, true);
        delete(w);
    }),
    ("exit 1 without a job", |w| ends(w, 1, false)),
    ("exit 1 with a job", |w| ends(w, 1, true)),
    ("exit 7", |w| ends(w, 7, false)),
    ("exit 1 with a request id only", |w| {
        up(w);
        w.job_started("r");
        w.update::<EphemeralRunner>("r", |r| {
            let job = arc_api::crd::JobRef { job_request_id: arc_api::RequestId(1), ..Default::default() };
            r.status.job = Some(Arc::new(job));
        });
        w.sync();
        report(w, exited(1));
        passes(w, "r", 4);
    }),
    ("six failures", |w| {
        born(w);
        for _ in 0..8 {
            report(w, exited(1));
            passes(w, "r", 4);
        }
    }),
    ("a failure and a look inside its wait", |w| {
        up(w);
        report(w, exited(1));
        w.run("r");
        w.run("r");
    }),
    ("a pod under an open wait", |w| {
        up(w);
        report(w, exited(1));
        let before = w.caches.get::<EphemeralRunner>(&Key::new(NS, "r")).cloned();
        w.run("r");
        if let Some(r) = before {
            w.caches.of_mut(Kind::EphemeralRunner).insert(r.into());
        }
        w.run("r");
        report(w, running(w.now));
        w.run("r");
    }),
    ("invalid pod", |w| refused(w, Reason::Invalid, "no")),
    ("full quota", |w| refused(w, Reason::Forbidden, "exceeded quota: x")),
    ("pod that the cache lacks", |w| {
        w.put(Pod { metadata: Meta::named(NS, "r"), ..Pod::default() });
        born(w);
    }),
    ("pod that exists at creation", |w| {
        refused(w, Reason::AlreadyExists, "pods \"r\" already exists");
    }),
    ("name taken by our set", |w| name_taken(w, 1)),
    ("name taken by another set", |w| name_taken(w, 2)),
    ("deleted while registered", |w| {
        up(w);
        delete(w);
    }),
    ("deleted before the secret", |w| {
        w.add_runner("r", ErPhase::Empty, None);
        let limit = 3;
        w.pass(crate::ephemeral_runner::ErPass::new(Key::new(NS, "r")), limit);
        delete(w);
    }),
    ("hooks", |w| {
        up(w);
        let metadata = || Meta { labels: labels([("runner-pod", "r")]), ..Meta::named(NS, "w") };
        w.put(Secret { metadata: metadata(), ..Secret::default() });
        w.update::<EphemeralRunner>("r", |r| {
            let template = Arc::make_mut(&mut Arc::make_mut(&mut r.spec).template);
            let env = &mut Arc::make_mut(&mut template.spec).containers[0].env;
            env.push(EnvVar::value("ACTIONS_RUNNER_CONTAINER_HOOKS", "x"));
        });
        delete(w);
    }),
    ("failed init container", |w| {
        up(w);
        with_pod(w, |p| {
            let init = ContainerStatus { name: "i".into(), state: exited(1), ..ContainerStatus::default() };
            p.status.init_container_statuses = vec![init];
        });
        passes(w, "r", 2);
    }),
    ("failed sidecar", |w| {
        up(w);
        with_pod(w, |p| {
            let restart_policy = Some("Always".into());
            let spec = Arc::make_mut(&mut p.spec);
            spec.init_containers = vec![Container { name: "i".into(), restart_policy, ..Container::default() }];
            let init = ContainerStatus { name: "i".into(), state: exited(137), ..ContainerStatus::default() };
            p.status.init_container_statuses = vec![init];
        });
        passes(w, "r", 2);
    }),
    ("failed pod without a status", |w| {
        born(w);
        with_pod(w, |p| p.status.phase = PodPhase::Failed);
        passes(w, "r", 3);
    }),
    ("no longer ready", |w| {
        up(w);
        with_pod(w, |p| p.status.conditions[0].status = false);
        passes(w, "r", 2);
    }),
    ("vanished pod", |w| {
        up(w);
        w.objects.remove(&(Kind::Pod, Key::new(NS, "r")));
        w.sync();
        passes(w, "r", 3);
    }),
    ("pod stuck terminating", |w| {
        up(w);
        let now = w.now;
        with_pod(w, |p| p.metadata.deletion_timestamp = Some(now));
        w.wait(300);
        passes(w, "r", 2);
    }),
    ("idle for ten minutes", |w| {
        up(w);
        w.registered.clear();
        passes(w, "r", 4);
    }),
    ("working directory", |w| {
        w.add_runner("r", ErPhase::Empty, None);
        w.update::<EphemeralRunner>("r", |r| {
            let template = Arc::make_mut(&mut Arc::make_mut(&mut r.spec).template);
            Arc::make_mut(&mut template.spec).containers[0].working_dir = "/work".into();
        });
        w.sync();
        passes(w, "r", 4);
    }),
    ("config secret overlay", |w| {
        w.add_runner("r", ErPhase::Empty, None);
        w.update::<EphemeralRunner>("r", |r| {
            let overlay = Overlay { labels: labels([("a", "b")]), ..Overlay::default() };
            Arc::make_mut(&mut r.spec).ephemeral_runner_config_secret_metadata = Some(Arc::new(overlay));
        });
        w.sync();
        passes(w, "r", 4);
    }),
    ("set: scale up", |w| sets(w, &[], 2, 1)),
    ("set: answered id", |w| sets(w, &[ErPhase::Running], 2, 1)),
    ("set: surplus under an id", |w| sets(w, &[ErPhase::Running, ErPhase::Empty], 1, 2)),
    ("set: forced surplus, busy", |w| {
        sets(w, &[ErPhase::Running], 1, 1);
        w.busy = w.registered.keys().copied().collect();
        w.listener(0, 0);
        w.run_set();
    }),
    ("set: finished, answered", |w| sets(w, &[ErPhase::Succeeded, ErPhase::Running], 1, 1)),
    ("set: finished, open", |w| sets(w, &[ErPhase::Succeeded, ErPhase::Running], 2, 2)),
    ("set: failed", |w| sets(w, &[ErPhase::Failed, ErPhase::Running], 2, 2)),
    ("set: outdated", |w| sets(w, &[ErPhase::Outdated, ErPhase::Running], 2, 2)),
    ("set: unregistered surplus", |w| {
        w.add_runner("r", ErPhase::Empty, Some(1));
        sets(w, &[], 0, 0);
    }),
    ("set: job id only", |w| {
        w.add_registered("r", ErPhase::Running, Some(1));
        w.update::<EphemeralRunner>("r", |r| {
            let job = arc_api::crd::JobRef { job_id: Some(arc_api::JobId(1)), ..Default::default() };
            r.status.job = Some(Arc::new(job));
        });
        sets(w, &[], 0, 0);
    }),
    ("set: labels and overlay", |w| {
        w.update::<EphemeralRunnerSet>(SET, |s| {
            let overlay = Overlay { labels: labels([("a", "b")]), ..Overlay::default() };
            s.spec.ephemeral_runner_metadata = Some(Arc::new(overlay));
            s.metadata.labels = labels([("team", "x"), ("app.kubernetes.io/version", "1")]);
        });
        sets(w, &[], 1, 1);
    }),
    ("set: proxy", |w| {
        w.update::<EphemeralRunnerSet>(SET, |s| {
            let server = ProxyServer { url: "http://p".into(), ..ProxyServer::default() };
            let proxy = Proxy { http: Some(server), ..Proxy::default() };
            Arc::make_mut(&mut s.spec.ephemeral_runner_spec).proxy = Some(Arc::new(proxy));
        });
        sets(w, &[], 1, 1);
    }),
    ("of a deleted set", |w| {
        let now = w.now;
        w.update::<EphemeralRunnerSet>(SET, |s| s.metadata.deletion_timestamp = Some(now));
        w.add_runner("r", ErPhase::Empty, None);
        let set = arc_api::OwnerRef::controller(Kind::EphemeralRunnerSet, &w.set().metadata);
        w.update::<EphemeralRunner>("r", |r| r.metadata.owner_references = [set].into());
        w.sync();
        passes(w, "r", 4);
    }),
    ("set: deleted", |w| {
        sets(w, &[ErPhase::Running, ErPhase::Failed], 2, 1);
        w.busy = w.registered.keys().copied().collect();
        let now = w.now;
        w.update::<EphemeralRunnerSet>(SET, |s| s.metadata.deletion_timestamp = Some(now));
        w.sync();
        w.run_set();
    }),
    ("set: counts", |w| {
        sets(w, &[ErPhase::Empty], 1, 1);
        w.update::<EphemeralRunner>("r0", |r| r.status.phase = ErPhase::Running);
        w.sync();
        w.run_set();
    }),
];

/// Everything the situations make a controller do.
fn play(behaviour: &Behaviour) -> Vec<String> {
    let mut all = vec![];
    for (name, situation) in SITUATIONS {
        let mut w = World::new(Release::V0_14_2);
        w.settings.behaviour = Arc::new(behaviour.clone());
        situation(&mut w);
        all.push(format!("## {name}"));
        all.append(&mut w.history);
    }
    all
}

/// The switches that decide something in these two reconcilers.
fn is_ours(name: &str) -> bool {
    let others = ["er_workers", "ers_own_status"];
    let shared = ["busy_test", "outdated", "label_propagation", "overlays"];
    !others.contains(&name) && (name.starts_with("ers_") || name.starts_with("er_") || shared.contains(&name))
}

const BASES: [Release; 5] = [Release::V0_8_3, Release::V0_11_0, Release::V0_12_1, Release::V0_14_2, Release::Next];

#[test]
fn flipping_any_switch_changes_what_is_done() {
    // A probe means nothing but under the gate of `next`.
    let mut without_probe = Behaviour::of(Release::Next);
    without_probe.set("ers_probe", "none").expect("a switch");
    let bases = BASES.iter().map(|r| Behaviour::of(*r)).chain([without_probe]);
    let played: Vec<(Behaviour, Vec<String>)> = bases
        .map(|behaviour| {
            let history = play(&behaviour);
            (behaviour, history)
        })
        .collect();
    let mut dead = vec![];
    for switch in Behaviour::SWITCHES.iter().filter(|s| is_ours(s.name)) {
        for (value, _) in switch.values {
            let differs = played.iter().any(|(base, history)| {
                let mut changed = base.clone();
                changed.set(switch.name, value).expect("a listed value");
                changed != *base && play(&changed) != *history
            });
            if !differs {
                dead.push(format!("{}={value}", switch.name));
            }
        }
    }
    assert!(dead.is_empty(), "these change nothing in any situation: {dead:?}");
}

#[test]
fn every_release_differs_from_its_predecessor_where_the_matrix_says_so() {
    for pair in Release::ALL.windows(2) {
        let (old, new) = (Behaviour::of(pair[0]), Behaviour::of(pair[1]));
        let ours = Behaviour::SWITCHES.iter().any(|s| is_ours(s.name) && old.get(s.name) != new.get(s.name));
        assert_eq!(play(&old) != play(&new), ours, "{} and {}", pair[0], pair[1]);
    }
}

#[test]
fn the_same_situation_is_played_the_same_way_twice() {
    for release in BASES {
        assert_eq!(play(&Behaviour::of(release)), play(&Behaviour::of(release)));
    }
}
