//! Many of everything, without looking at a clock: the service must not forget, and a fork must stay a fork.

mod common;

use arc_api::service::*;
use arc_api::*;
use common::*;
use fake_github::*;

fn assert_world<T: Send + Sync + Clone>() {}

#[test]
fn fifty_scale_sets_and_a_thousand_runners_serve_a_thousand_jobs_once() {
    assert_world::<GitHub>();
    let mut w = World::of(Personality::Broker);
    let sets: Vec<ScaleSetId> = (0..50).map(|i| w.create(&format!("set-{i}"))).collect();
    let listeners: Vec<Held> = sets.iter().map(|set| w.listen(*set)).collect();
    let mut parked = Vec::new();
    for (i, set) in sets.iter().enumerate() {
        for r in 0..20 {
            let (_, jit) = w.register(*set, &format!("set-{i}-r{r}"));
            let token = w.connect(jit);
            let Outcome::Parked(ticket) = w.runner(token, Op::RunnerPoll) else { panic!() };
            parked.push((ticket, token));
        }
    }
    w.wait(2.0);
    for held in &listeners {
        let Outcome::Parked(_) = w.poll(*held, 0, 20) else { panic!() };
    }
    let fork = w.github.clone();
    for _ in 0..20 {
        for i in 0..50 {
            w.job(&format!("set-{i}"));
        }
    }
    for (ticket, token) in parked {
        assert!(matches!(w.answered(ticket), Some(Ok(ServiceOk::Job(_)))));
        w.call(Auth::Runner(token), Op::RunnerComplete(JobResult::Succeeded)).expect("its job");
    }
    assert_eq!(w.github.audit(), Ok(()));
    assert_eq!((w.github.open_jobs().count(), w.github.jobs().count()), (0, 1000));
    assert_eq!((w.github.runners().count(), fork.runners().count(), fork.jobs().count()), (0, 1000, 0));
    assert_eq!(fork.audit(), Ok(()));
    // Nothing of the thousand jobs is left to be done but the deliveries and idle times of the fifty listeners.
    assert!(w.github.timers_pending() <= 100, "{}", w.github.timers_pending());
}
