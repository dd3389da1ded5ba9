//! The runner's program, step by step.

use super::*;
use arc_api::service::{JobNeeds, ServiceError};

fn env() -> RunnerEnv {
    RunnerEnv {
        jit: Token(9),
        wait_for_docker: 0,
        docker_socket: None,
        hooks: None,
        require_container: false,
        deprecated_exit_code: true,
        version: "2.336.0".into(),
        boot: Duration::from_millis(500),
        exit: Duration::from_millis(200),
        lost: Duration::from_millis(200),
        refused: Duration::from_millis(200),
        retry: Duration::from_secs(30),
        shutdown: Duration::from_secs(2),
    }
}

/// Feeds the runner until it exits; answers every service call with `answer`.
fn live(
    env: RunnerEnv,
    term_at: Option<Time>,
    docker_from: Time,
    mut answer: impl FnMut(&Op) -> Option<Result<ServiceOk, CallError>>,
) -> (Vec<&'static str>, i32, Vec<(JobResult, &'static str)>, Time) {
    let mut r = Runner::new(env);
    let (mut ops, mut ends, mut now, mut wake) = (vec![], vec![], Time(0), Time::NEVER);
    let mut term = term_at;
    let mut next = Some(RunnerInput::Start { docker: docker_from <= now });
    for _ in 0..500 {
        match next.take() {
            Some(input) => r.handle(input, now),
            None if term.is_some_and(|t| t <= wake) => {
                now = term.take().expect("checked");
                r.handle(RunnerInput::Term, now);
            }
            None => {
                assert!(wake != Time::NEVER, "sleeps for ever after {ops:?}");
                now = std::mem::replace(&mut wake, Time::NEVER);
                r.handle(RunnerInput::Wake { docker: docker_from <= now }, now);
            }
        }
        for out in r.take_outputs() {
            match out {
                RunnerOutput::Service(Slot::Main, req) => {
                    ops.push(req.op.code());
                    next = answer(&req.op).map(|r| RunnerInput::Service(Slot::Main, r));
                }
                RunnerOutput::WakeAt(t) => wake = t,
                RunnerOutput::JobEnded(_, result, why) => ends.push((result, why)),
                RunnerOutput::Exit(code, _) => return (ops, code, ends, now),
                RunnerOutput::Service(..)
                | RunnerOutput::Kube(..)
                | RunnerOutput::Cancel(_)
                | RunnerOutput::ExecBegins
                | RunnerOutput::JobBegan(_) => {}
            }
        }
    }
    panic!("never exits: {ops:?}");
}

fn job(docker_after: Option<u64>) -> ServiceOk {
    ServiceOk::Job(Arc::new(JobOrder {
        id: arc_api::JobId(1),
        runs_for: Duration::from_secs(10),
        result: JobResult::Succeeded,
        needs: JobNeeds { docker_after: docker_after.map(Duration::from_secs), ..JobNeeds::default() },
    }))
}

fn healthy(needs: Option<u64>) -> impl FnMut(&Op) -> Option<Result<ServiceOk, CallError>> {
    move |op| {
        Some(Ok(match op {
            Op::RunnerConnect { .. } => ServiceOk::Connected { runner: RunnerId(5), token: Token(1) },
            Op::RunnerPoll => job(needs),
            _ => ServiceOk::Done,
        }))
    }
}

#[test]
fn a_job_is_run_once_and_the_exit_is_zero() {
    let (ops, code, ends, _) = live(env(), None, Time(0), healthy(None));
    assert_eq!(ops, ["runner-connect", "runner-next", "runner-finish"]);
    assert_eq!((code, ends), (0, vec![(JobResult::Succeeded, "")]));
}

#[test]
fn docker_that_never_comes_delays_the_start_by_exactly_the_wait_and_fails_the_job() {
    let env = RunnerEnv { wait_for_docker: 120, docker_socket: Some("/var/run/docker.sock".into()), ..env() };
    let (_, code, ends, now) = live(env, None, Time::NEVER, healthy(Some(1)));
    assert_eq!((code, ends), (0, vec![(JobResult::Failed, "docker-socket")]));
    assert_eq!(now.secs(), 121);
}

#[test]
fn a_daemon_that_dies_while_the_runner_waits_for_a_job_was_there_once() {
    for (after, why) in [(10, "docker-lost"), (400, "docker-socket")] {
        let (mut r, start) = (Runner::new(env()), Time::from_secs(100));
        r.handle(RunnerInput::Start { docker: true }, start);
        r.handle(RunnerInput::Wake { docker: true }, start.after(Duration::from_secs(1)));
        r.handle(
            RunnerInput::Service(Slot::Main, Ok(ServiceOk::Connected { runner: RunnerId(1), token: Token(2) })),
            start,
        );
        r.handle(RunnerInput::DockerLost, start);
        let began = start.after(Duration::from_secs(after));
        r.handle(RunnerInput::Service(Slot::Main, Ok(job(Some(1)))), began);
        r.take_outputs();
        r.handle(RunnerInput::Wake { docker: false }, began.after(Duration::from_secs(1)));
        let ends = |o: &RunnerOutput| matches!(o, RunnerOutput::JobEnded(_, JobResult::Failed, w) if *w == why);
        assert!(r.take_outputs().iter().any(ends), "{after}");
    }
}

#[test]
fn a_timer_of_the_job_does_not_wake_what_comes_after_it() {
    let (mut r, start) = (Runner::new(env()), Time::from_secs(100));
    let after = |ms| start.after(Duration::from_millis(ms));
    r.handle(RunnerInput::Start { docker: true }, start);
    r.handle(RunnerInput::Wake { docker: true }, after(1000));
    let connected = ServiceOk::Connected { runner: RunnerId(1), token: Token(2) };
    r.handle(RunnerInput::Service(Slot::Main, Ok(connected)), after(1000));
    r.handle(RunnerInput::Service(Slot::Main, Ok(job(Some(1)))), after(1000));
    r.handle(RunnerInput::DockerLost, after(1990));
    r.handle(RunnerInput::Service(Slot::Main, Ok(ServiceOk::Done)), after(1999));
    let exit = r.take_outputs().iter().rev().find_map(|o| match o {
        RunnerOutput::WakeAt(at) => Some(*at),
        _ => None,
    });
    r.handle(RunnerInput::Wake { docker: false }, after(2000));
    assert_eq!(r.take_outputs(), [RunnerOutput::WakeAt(exit.expect("it exits"))]);
    r.handle(RunnerInput::Wake { docker: false }, exit.expect("it exits"));
    assert_eq!(r.take_outputs(), [RunnerOutput::Exit(0, Str::default())]);
}

#[test]
fn docker_within_the_wait_is_waited_for() {
    let env = RunnerEnv { wait_for_docker: 120, docker_socket: Some("/var/run/docker.sock".into()), ..env() };
    let (_, _, ends, _) = live(env, None, Time::from_secs(90), healthy(Some(1)));
    assert_eq!(ends, vec![(JobResult::Succeeded, "")]);
}

#[test]
fn a_deleted_registration_looks_like_success() {
    let gone = || CallError::Service(Arc::new(ServiceError::new(401, Exception::InvalidClient, "gone")));
    let (ops, code, _, _) = live(env(), None, Time(0), |_| Some(Err(gone())));
    assert_eq!((ops.as_slice(), code), (&["runner-connect"][..], 0));
}

#[test]
fn an_old_version_exits_seven_only_when_asked_to() {
    let old = || CallError::Service(Arc::new(ServiceError::new(403, Exception::RunnerVersionTooOld, "old")));
    assert_eq!(live(env(), None, Time(0), |_| Some(Err(old()))).1, 7);
    assert_eq!(live(RunnerEnv { deprecated_exit_code: false, ..env() }, None, Time(0), |_| Some(Err(old()))).1, 0);
}

#[test]
fn a_session_conflict_is_retried_for_210_seconds() {
    let conflict = || CallError::Service(Arc::new(ServiceError::new(409, Exception::RunnerSessionConflict, "busy")));
    let (ops, code, _, now) = live(env(), None, Time(0), |_| Some(Err(conflict())));
    assert_eq!((ops.len(), code, now.secs()), (8, 0, 210));
}

#[test]
fn sigterm_while_idle_leaves_the_registration_and_exits_143() {
    let (ops, code, _, _) = live(env(), Some(Time::from_secs(3)), Time(0), |op| match op {
        Op::RunnerPoll => None,
        Op::RunnerConnect { .. } => Some(Ok(ServiceOk::Connected { runner: RunnerId(5), token: Token(1) })),
        _ => Some(Ok(ServiceOk::Done)),
    });
    assert_eq!((ops.last().copied(), code), (Some("runner-disconnect"), 143));
}

#[test]
fn sigterm_while_busy_fails_the_job_and_exits_143() {
    let (_, code, ends, _) = live(env(), Some(Time::from_secs(3)), Time(0), healthy(None));
    assert_eq!((code, ends), (143, vec![(JobResult::Failed, "shutdown-signal")]));
}

#[test]
fn a_runner_that_is_not_wanted_takes_its_time_to_leave() {
    let env = || RunnerEnv { lost: Duration::from_secs(3), refused: Duration::from_secs(7), ..env() };
    let refusal =
        |status, exception| Some(Err(CallError::Service(Arc::new(ServiceError::new(status, exception, "gone")))));
    // Its registration is gone while it waits for a job; it may still be told to go, and ends as it would have.
    for term in [None, Some(Time(1_500_000))] {
        let (ops, code, _, now) = live(env(), term, Time(0), |op| match op {
            Op::RunnerConnect { .. } => Some(Ok(ServiceOk::Connected { runner: RunnerId(5), token: Token(1) })),
            _ => refusal(404, Exception::RunnerNotFound),
        });
        assert_eq!((ops, code, now.0), (vec!["runner-connect", "runner-next"], 0, 3_500_000));
    }
    // It is refused.
    let (_, code, _, now) = live(env(), None, Time(0), |_| refusal(401, Exception::InvalidClient));
    assert_eq!((code, now.0), (0, 7_500_000));
    // It is told to go before it has a job.
    let (_, code, _, now) = live(env(), Some(Time(200_000)), Time(0), |_| None);
    assert_eq!((code, now.0), (143, 7_200_000));
}
