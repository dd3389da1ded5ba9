//! Draws time zero: GitHub's personality, clusters, controllers, scale sets, and how fast or slow everything is.
//!
//! Settings stay where a correct controller can keep its promises within their bounds: waits are shortened rather than
//! lengthened, capacities suffice for the runners that are asked for.

use arc_api::{Str, format_smolstr};
use controller_core::Release;

use super::super::draws::Draws;
use super::super::profile::Profile;
use crate::plan::fault::RateKey;
use crate::plan::world::*;
use crate::plan::{Delay, Dur, Ratio, ReleaseRef, WorldSpec};
use crate::rand::Streams;

/// Settings that are drawn anew now and then: each from a stream of its own, so that another one shifts no part of the world.
pub(super) struct Knobs {
    /// Family of their streams.
    pub(super) streams: Streams,
    /// How often one is turned.
    pub(super) share: Ratio,
}

impl Knobs {
    fn turn(&self, name: &str, set: impl FnOnce(&mut Draws)) {
        let mut d = Draws::of(&self.streams, name);
        if d.hits(self.share) {
            set(&mut d);
        }
    }
}

/// A world for a release.
pub(super) fn draw(d: &mut Draws, knobs: &Knobs, release: Release, profile: &Profile) -> WorldSpec {
    let mut world = WorldSpec { clusters: Vec::new(), ..WorldSpec::default() };
    world.github.mode = d.one(&[Personality::Push, Personality::AcquireRequired]);
    let kind = d.one(&[CredentialKind::Pat, CredentialKind::Pat, CredentialKind::App]);
    let spare = CredentialSpec { name: "spare".into(), ..CredentialSpec::default() };
    world.github.orgs[0].credentials.push(spare);
    world.github.orgs[0].credentials.iter_mut().for_each(|c| c.kind = kind);
    let clusters = if d.one_in(8) { 2 } else { 1 };
    let mut number = 0;
    for n in 0..clusters {
        let mut cluster = cluster(d, release, n);
        for _ in 0..d.between(1, profile.most.scale_sets.max(1)) {
            cluster.scale_sets.push(scale_set(d, number));
            number += 1;
        }
        world.clusters.push(cluster);
    }
    older(d, &mut world, release);
    github(knobs, &mut world.github);
    for cluster in &mut world.clusters {
        tempo(knobs, cluster);
    }
    knobs.turn("cluster network", |d| world.network.cluster = d.varying(1, 40));
    knobs.turn("github network", |d| world.network.github = d.varying(5, 400));
    world
}

fn cluster(d: &mut Draws, release: Release, n: usize) -> ClusterSpec {
    let replicas = d.one(&[1, 1, 2]);
    ClusterSpec {
        name: if n == 0 { "prod".into() } else { format_smolstr!("prod{}", n + 1) },
        kubernetes: d.one(&["1.34", "1.34", "1.34", "1.32", "1.30", "1.28"]).into(),
        nodes: d.between(2, 4),
        controllers: vec![ControllerSpec {
            release: ReleaseRef::Exact(release),
            replicas,
            update_strategy: d.one(&[Strategy::Immediate, Strategy::Eventual]),
            runner_workers: d.one(&[None, None, None, Some(1), Some(2), Some(5)]),
            metrics: d.one_in(3),
            ..ControllerSpec::default()
        }],
        scale_sets: Vec::new(),
        ..ClusterSpec::default()
    }
}

fn scale_set(d: &mut Draws, n: usize) -> ScaleSetSpec {
    let mode = d.one(&[
        ContainerMode::None,
        ContainerMode::None,
        ContainerMode::None,
        ContainerMode::Dind,
        ContainerMode::Kubernetes,
        ContainerMode::KubernetesNovolume,
    ]);
    let (min, max) = (d.between(0, 2), d.between(1, 5));
    let (bounded, own_secret, graceful) = (!d.one_in(8), d.one_in(8), d.one_in(8));
    let mut set = ScaleSetSpec {
        name: format_smolstr!("s{n}"),
        chart: ReleaseRef::Run,
        min_runners: (min > 0).then_some(min),
        max_runners: bounded.then_some(max.max(min)),
        container_mode: mode,
        grace: graceful.then(|| Dur::secs(5)),
        ..ScaleSetSpec::default()
    };
    if own_secret {
        set.secret =
            SecretSpec { kind: SecretKind::External, name: format_smolstr!("secret-{n}"), credential: Str::default() };
    }
    if mode == ContainerMode::Dind {
        set.dind.layout =
            d.one(&[DindLayout::Chart, DindLayout::Chart, DindLayout::TwoContainers, DindLayout::NativeSidecar]);
        set.dind.pre_stop = d.one_in(4);
    }
    set
}

/// Every release name is made exact; a tagged release sometimes finds its predecessor installed, which people then upgrade.
/// The corrected controller never runs beside an ARC that has the faults it corrects.
fn older(d: &mut Draws, world: &mut WorldSpec, release: Release) {
    let before = ReleaseRef::Previous.resolve(release);
    let upgrades = d.one_in(6) && release != Release::Next && before != release;
    let at_first = ReleaseRef::Exact(if upgrades { before } else { release });
    for cluster in &mut world.clusters {
        cluster.controllers.iter_mut().for_each(|c| c.release = at_first);
        cluster.scale_sets.iter_mut().for_each(|s| s.chart = at_first);
    }
}

fn github(knobs: &Knobs, g: &mut GithubSpec) {
    knobs.turn("poll_hold", |d| g.poll_hold = d.secs(5, 50));
    knobs.turn("delivery_latency", |d| g.delivery_latency = d.varying(10, 3_000));
    knobs.turn("assign_latency", |d| g.assign_latency = d.varying(10, 5_000));
    knobs.turn("start_latency", |d| g.start_latency = d.varying(50, 8_000));
    knobs.turn("session_ttl", |d| g.session_ttl = d.secs(60, 120));
    knobs.turn("session_ends", |d| g.session_ends_with_scale_set = d.one_in(2));
    knobs.turn("queue_token_ttl", |d| g.queue_token_ttl = d.secs(60, 600));
    knobs.turn("admin_token_ttl", |d| g.admin_token_ttl = d.secs(70, 400));
    knobs.turn("registration_token_ttl", |d| g.registration_token_ttl = d.secs(60, 600));
    knobs.turn("pickup_timeout", |d| g.pickup_timeout = d.secs(60, 300));
    knobs.turn("dead_runner_after", |d| g.dead_runner_after = d.secs(60, 570));
    knobs.turn("capacity_gate", |d| g.capacity_gate = d.one_in(2));
    knobs.turn("remove_unknown_runner", |d| g.remove_unknown_runner = d.one(&[204, 404]));
    knobs.turn("acquire_null", |d| g.acquire_null = d.one(&[400, 200]));
    knobs.turn("service latency", |d| g.latency = d.varying(1, 600));
    knobs.turn("rate_budget", |d| {
        g.orgs[0].rate_budget = Some(crate::plan::Rate { count: d.between(200, 900), per: Dur::secs(60) });
        g.orgs[0].rate_key = d.one(&[RateKey::App, RateKey::Org]);
    });
}

fn tempo(knobs: &Knobs, c: &mut ClusterSpec) {
    let (k, api) = (&mut c.kubelet, &mut c.api);
    let delays: [(&str, &mut Delay, u32, u32); 14] = [
        ("schedule", &mut k.schedule, 1, 3_000),
        ("create", &mut k.create, 50, 6_000),
        ("image_pull", &mut k.image_pull, 100, 15_000),
        ("container_start", &mut k.container_start, 10, 1_500),
        ("init_run", &mut k.init_run, 10, 4_000),
        ("teardown", &mut k.teardown, 1, 4_000),
        ("sigterm", &mut k.sigterm, 1, 2_000),
        ("status_latency", &mut k.status_latency, 1, 2_000),
        ("runner_start", &mut k.runner_start, 100, 8_000),
        ("listener_start", &mut k.listener_start, 50, 5_000),
        ("api read", &mut api.read, 1, 50),
        ("api write", &mut api.write, 1, 80),
        ("api watch", &mut api.watch, 1, 400),
        ("garbage_collection", &mut api.garbage_collection, 10, 5_000),
    ];
    for (name, delay, least, most) in delays {
        knobs.turn(&format!("{} {name}", c.name), |d| *delay = d.varying(least, most));
    }
    knobs.turn(&format!("{} watch_timeout", c.name), |d| api.watch_timeout = d.delay(20, 120));
    for m in &mut c.controllers {
        knobs.turn(&format!("{} throttle", c.name), |d| {
            let (qps, burst) = (d.between(10, 60), d.between(10, 80));
            (m.qps, m.burst) = (Some(qps), Some(burst.max(qps)));
        });
    }
    knobs.turn(&format!("{} sidecar", c.name), |d| {
        if d.one_in(3) {
            c.injected_sidecar = "mesh-proxy".into();
        }
    });
}
