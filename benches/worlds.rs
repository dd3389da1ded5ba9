//! How fast the reference worlds run: events a second, virtual against real time, whole runs, and what a fork costs.
//!
//! `cargo bench -p arc-sim-benches`; one world: `cargo bench -p arc-sim-benches -- W1`. Ratios are comparable, absolute times
//! only on one machine.

#![allow(missing_docs, reason = "made by criterion's macros")]

use std::hint::black_box;
use std::sync::Arc;

use arc_sim::outcome::RunReport;
use arc_sim::plan::Plan;
use arc_sim::world::{RunOptions, World, run};
use arc_sim_benches::{Reference, all};
use criterion::measurement::{Measurement, WallTime};
use criterion::{BatchSize, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};

const OPTIONS: RunOptions = RunOptions { trace: false, stop_at_violation: false, stop_on: None };

/// Seconds that this thread has computed, if the system tells: on a busy machine the clock on the wall says nothing.
fn computed() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse::<u64>().ok().map(|nanoseconds| nanoseconds as f64 / 1e9)
}

/// A run's report and its seconds: of computing where the system tells, else the best on the wall.
fn timed(plan: &Plan) -> (RunReport, f64) {
    let report = run(black_box(plan), &OPTIONS);
    let (before, wall) = (computed(), WallTime);
    let (mut runs, mut best, began) = (0u32, f64::MAX, wall.start());
    loop {
        let start = wall.start();
        black_box(run(black_box(plan), &OPTIONS));
        best = best.min(wall.end(start).as_secs_f64());
        runs += 1;
        if wall.end(began).as_secs_f64() >= 1.0 {
            break;
        }
    }
    let each = before.zip(computed()).map(|(a, b)| (b - a) / f64::from(runs));
    (report, each.unwrap_or(best))
}

fn table(worlds: &[Reference]) {
    println!("{:<6} {:>10} {:>12} {:>14} {:>10}  fingerprint", "world", "events", "events/s", "virtual:real", "runs/s");
    for world in worlds {
        let (report, took) = timed(&world.plan);
        let virtual_time = report.ended_at.0 as f64 / 1e6;
        println!(
            "{:<6} {:>10} {:>12.0} {:>14.0} {:>10.1}  {:016x} {} violations",
            world.name,
            report.events,
            report.events as f64 / took,
            virtual_time / took,
            1.0 / took,
            report.fingerprint,
            report.violations.len(),
        );
    }
}

/// The world in the middle of its run.
fn half_way(plan: &Plan) -> World {
    let mut world = World::new(Arc::new(plan.clone()), false);
    let half = arc_sim_benches::half_way(plan);
    while world.now() < half && world.step() {}
    world
}

/// The worlds that the command line names; all, if it names none.
fn chosen() -> Vec<Reference> {
    let named = |w: &Reference| std::env::args().skip(1).any(|a| a.contains(w.name));
    let worlds = all();
    let some = worlds.iter().any(named);
    worlds.into_iter().filter(|w| !some || named(w)).collect()
}

fn runs(c: &mut Criterion) {
    let worlds = chosen();
    if !std::env::args().any(|a| a == "--test" || a == "--list" || a == "--profile-time") {
        table(&worlds);
    }
    let mut group = c.benchmark_group("run");
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    for world in &worlds {
        group.throughput(Throughput::Elements(run(&world.plan, &OPTIONS).events));
        group.bench_function(world.name, |b| b.iter(|| run(black_box(&world.plan), &OPTIONS)));
    }
    group.finish();
}

fn forks(c: &mut Criterion) {
    let mut group = c.benchmark_group("fork");
    for world in chosen().iter().filter(|w| ["W0", "W1", "W3"].contains(&w.name)) {
        let half = half_way(&world.plan);
        group.bench_function(world.name, |b| b.iter_batched(|| (), |()| half.clone(), BatchSize::LargeInput));
    }
    group.finish();
}

criterion_group!(benches, runs, forks);
criterion_main!(benches);
