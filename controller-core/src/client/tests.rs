//! Tests of the service client: attempt times as recorded, token refresh, mutexes, cancellation.

use arc_api::{GroupId, RunnerId, ScaleSetId, SessionId};

use super::*;
use crate::Release;

const SET: ScaleSetId = ScaleSetId(41);
const FOREVER: Time = Time::from_secs(1_000_000);

pub(super) fn client(release: Release) -> Client {
    client_of(Behaviour::of(release), Credentials::Pat("pat".into()))
}
fn client_of(behaviour: Behaviour, credentials: Credentials) -> Client {
    let key =
        ClientKey { url: "https://ghes/my-org".into(), namespace: "arc".into(), credentials: Arc::new(credentials) };
    Client::new(Arc::new(behaviour), Arc::new(key))
}
pub(super) fn refused(status: u16) -> Result<ServiceOk, CallError> {
    Err(CallError::Service(Arc::new(ServiceError::new(status, Exception::InvalidToken, "no"))))
}
pub(super) fn lost(how: Transport) -> Result<ServiceOk, CallError> {
    Err(CallError::Transport(how))
}
pub(super) fn good(op: &Op, expires: Time) -> Result<ServiceOk, CallError> {
    Ok(match op {
        Op::AccessToken | Op::RegistrationToken { .. } => ServiceOk::Token(Token(1)),
        Op::RunnerRegistration { .. } => ServiceOk::Admin { token: Token(2), expires },
        _ => ServiceOk::Done,
    })
}
pub(super) fn remove(n: i64) -> Op {
    Op::RemoveRunner(RunnerId(n))
}
fn create_session() -> Op {
    Op::CreateSession { id: SET, owner: "demo-listener".into() }
}

/// Runs a client against a script; the record says when which attempt left and how the calls ended.
struct Rig {
    client: Client,
    now: Time,
    record: Vec<String>,
    latency: Duration,
    flying: VecDeque<(Time, AttemptId, Result<ServiceOk, CallError>)>,
}

impl Rig {
    fn new(client: Client) -> Rig {
        Rig { client, now: Time::ZERO, record: Vec::new(), latency: Duration::ZERO, flying: VecDeque::new() }
    }
    fn submit(&mut self, id: u64, op: Op, bearer: Bearer) {
        self.client.submit(CallId(id), op, bearer, self.now);
    }
    /// `service` answers the n-th attempt of an operation (from 1); `None` is a black hole.
    fn run(&mut self, mut service: impl FnMut(&ServiceRequest, usize, Time) -> Option<Result<ServiceOk, CallError>>) {
        let mut counts = std::collections::BTreeMap::<&'static str, usize>::new();
        loop {
            while let Some(output) = self.client.poll() {
                let at = self.now.0 as f64 / 1e6;
                match output {
                    Output::Send { attempt, request } => {
                        let n = counts.entry(request.op.code()).or_default();
                        *n += 1;
                        let empty = matches!(request.op, Op::RunnerRegistration { has_body: false, .. });
                        self.record.push(format!("{at} {}{}", short(&request.op), if empty { " empty" } else { "" }));
                        if let Some(reply) = service(&request, *n, self.now) {
                            self.flying.push_back((self.now.after(self.latency), attempt, reply));
                        }
                    }
                    Output::Abort { attempt } => {
                        self.flying.retain(|(_, a, _)| *a != attempt);
                        self.record.push(format!("{at} abort"));
                    }
                    Output::Done { call, result, .. } => {
                        let text = match result {
                            Ok(_) => "ok".to_owned(),
                            Err(CallError::Service(e)) => {
                                format!("{}{}", e.status, if lost_body(&e) { "!" } else { "" })
                            }
                            Err(CallError::Transport(t)) => format!("{t:?}"),
                            Err(CallError::Api(_)) => "api".to_owned(),
                        };
                        self.record.push(format!("{at} {}={text}", call.0));
                    }
                }
            }
            let wake = self.client.next_wake();
            match self.flying.front() {
                Some((at, ..)) if *at <= wake => {
                    let (at, attempt, reply) = self.flying.pop_front().expect("looked at");
                    self.now = at;
                    self.client.on_reply(attempt, reply, at);
                }
                _ if wake < FOREVER => {
                    assert!(wake >= self.now, "a wake-up in the past");
                    self.now = wake;
                    self.client.on_wake(wake);
                }
                _ => return,
            }
        }
    }
}

fn lost_body(e: &ServiceError) -> bool {
    e.message.contains("giving up after 5 attempt(s)") && e.exception == Exception::None
}
fn short(op: &Op) -> &'static str {
    match op.code() {
        "access-token" => "A",
        "registration-token" => "B",
        "runner-registration" => "C",
        code => code,
    }
}

#[track_caller]
fn check(
    client: Client,
    op: Op,
    service: impl FnMut(&ServiceRequest, usize, Time) -> Option<Result<ServiceOk, CallError>>,
    want: &str,
) {
    let mut rig = Rig::new(client);
    rig.submit(1, op, Bearer::Admin);
    rig.run(service);
    assert_eq!(rig.record.join(", "), want);
    assert!(rig.client.is_idle());
}

#[test]
fn the_first_admin_call_asks_for_its_token_and_the_second_does_not() {
    let mut rig = Rig::new(client(Release::V0_13_1));
    rig.submit(1, remove(1), Bearer::Admin);
    rig.submit(2, remove(2), Bearer::Admin);
    rig.run(|r, _, _| Some(good(&r.op, FOREVER)));
    assert_eq!(rig.record.join(", "), "0 B, 0 C, 0 E17, 0 E17, 0 1=ok, 0 2=ok");
}

#[test]
fn an_app_asks_for_an_installation_token_at_every_refresh() {
    let app = Credentials::App { app_id: "1".into(), installation_id: "2".into(), private_key: "k".into() };
    let mut rig = Rig::new(client_of(Behaviour::of(Release::V0_14_2), app));
    for (n, at) in [(1, 0), (2, 40), (3, 41)] {
        rig.now = Time::from_secs(at);
        rig.submit(n, remove(1), Bearer::Admin);
        rig.run(|r, _, now| Some(good(&r.op, now.after(Duration::from_secs(100)))));
    }
    assert_eq!(
        rig.record.join(", "),
        "0 A, 0 B, 0 C, 0 E17, 0 1=ok, 40 E17, 40 2=ok, 41 A, 41 B, 41 C, 41 E17, 41 3=ok"
    );
}

/// Recorded: every endpoint, b_github_create, c_msg_http.
#[test]
fn an_attempt_is_repeated_after_1_3_7_and_15_seconds() {
    for release in Release::ALL {
        let want = "0 B, 0 C, 0 E17, 1 E17, 3 E17, 7 E17, 15 E17, 15 1=500!";
        check(client(*release), remove(1), |r, _, _| Some(fail_op(r, 500)), want);
    }
    let want = "0 B, 0 C, 0 E17, 1 E17, 3 E17, 7 E17, 15 E17, 15 1=Refused";
    let service =
        |r: &ServiceRequest, _, _| Some(if is_op(r) { lost(Transport::Refused) } else { good(&r.op, FOREVER) });
    check(client(Release::V0_12_1), remove(1), service, want);
}
fn is_op(r: &ServiceRequest) -> bool {
    matches!(r.op, Op::RemoveRunner(_) | Op::CreateSession { .. } | Op::GenerateJitConfig { .. })
}
fn fail_op(r: &ServiceRequest, status: u16) -> Result<ServiceOk, CallError> {
    if is_op(r) { refused(status) } else { good(&r.op, FOREVER) }
}

#[test]
fn other_client_errors_and_501_are_final() {
    for status in [400, 401, 403, 404, 409, 422, 501] {
        let want = format!("0 B, 0 C, 0 E7, 0 1={status}");
        check(client(Release::V0_14_2), create_session(), |r, _, _| Some(fail_op(r, status)), &want);
    }
}

#[test]
fn retry_after_replaces_the_wait_of_429_and_503_only() {
    for (status, second) in [(429, 3), (503, 3), (500, 1)] {
        let service = |r: &ServiceRequest, n: usize, _| {
            let mut e = ServiceError::new(status, Exception::None, "later");
            e.retry_after = Some(3);
            Some(if is_op(r) && n == 1 { Err(CallError::Service(Arc::new(e))) } else { good(&r.op, FOREVER) })
        };
        check(client(Release::V0_14_2), remove(1), service, &format!("0 B, 0 C, 0 E17, {second} E17, {second} 1=ok"));
    }
}

/// Recorded: c_token/0.9.3, 0.12.1, 0.14.2 (registration 403 for ever); none up to 0.8.3.
#[test]
fn a_refused_registration_is_repeated_as_recorded() {
    let forever = |r: &ServiceRequest, _, _| Some(fail_registration(r));
    let check = |release, want| check(client(release), create_session(), forever, want);
    check(Release::V0_8_3, "0 B, 0 C, 0 1=403");
    check(Release::V0_9_3, "0 B, 0 C, 1 C empty, 2.5 C empty, 4.5 C empty, 4.5 1=403");
    let long = "0 B, 0 C, 1 C empty, 3 C empty, 7 C empty, 15 C empty, 31 C empty, 31 1=403";
    check(Release::V0_10_0, long);
    check(Release::V0_12_1, long);
    check(Release::V0_14_2, "0 B, 0 C, 1 C, 3 C, 7 C, 15 C, 15 1=403!");
}
fn fail_registration(r: &ServiceRequest) -> Result<ServiceOk, CallError> {
    if matches!(r.op, Op::RunnerRegistration { .. }) { refused(403) } else { good(&r.op, FOREVER) }
}

/// R14: a service that reads the body answers the second attempt 422, which hides the true cause.
#[test]
fn a_registration_repeated_without_its_body_ends_at_422() {
    let service = |r: &ServiceRequest, n: usize, _| {
        Some(match r.op {
            Op::RunnerRegistration { has_body: false, .. } => refused(422),
            Op::RunnerRegistration { .. } if n == 1 => refused(401),
            _ => good(&r.op, FOREVER),
        })
    };
    check(client(Release::V0_13_1), create_session(), service, "0 B, 0 C, 1 C empty, 1 1=422");
    check(client(Release::V0_14_2), create_session(), service, "0 B, 0 C, 1 C, 1 E7, 1 1=ok");
}

/// Recorded: c_token, C1 to C3.
#[test]
fn a_registration_token_is_asked_once_unless_the_service_fails() {
    for status in [401, 404] {
        let service = |r: &ServiceRequest, _, _| {
            Some(if r.op.code() == "registration-token" { refused(status) } else { good(&r.op, FOREVER) })
        };
        check(client(Release::V0_12_1), create_session(), service, &format!("0 B, 0 1={status}"));
    }
    let service = |r: &ServiceRequest, n: usize, _| {
        Some(if r.op.code() == "registration-token" && n < 3 { refused(500) } else { good(&r.op, FOREVER) })
    };
    check(client(Release::V0_12_1), create_session(), service, "0 B, 1 B, 3 B, 3 C, 3 E7, 3 1=ok");
}

#[test]
fn a_black_hole_costs_five_minutes_an_attempt_and_nothing_ends_it_in_0_7_0() {
    let hole = |r: &ServiceRequest, _, _| (!is_op(r)).then(|| good(&r.op, FOREVER));
    let want = "0 B, 0 C, 0 E17, 300 abort, 301 E17, 601 abort, 603 E17, 903 abort, 907 E17, 1207 abort, 1215 E17, 1515 abort, 1515 1=Timeout";
    check(client(Release::V0_8_0), remove(1), hole, want);
    let mut rig = Rig::new(client(Release::V0_7_0));
    rig.submit(1, remove(1), Bearer::Admin);
    rig.run(hole);
    assert_eq!(rig.record.join(", "), "0 B, 0 C, 0 E17");
    assert_eq!(rig.client.next_wake(), Time::NEVER);
}

#[test]
fn next_gives_up_a_dead_poll_after_two_minutes_and_a_dead_call_after_thirty_seconds() {
    let mut rig = Rig::new(client(Release::Next));
    rig.submit(1, remove(1), Bearer::Admin);
    let poll = Op::GetMessage { id: SET, last: arc_api::MessageId(0), capacity: None };
    rig.submit(2, poll, Bearer::Queue(Token(9)));
    rig.run(|r, n, _| (n > 1 || !is_op(r) && r.op.code() != "E10").then(|| good(&r.op, FOREVER)));
    assert_eq!(
        rig.record.join(", "),
        "0 B, 0 E10, 0 C, 0 E17, 30 abort, 31 E17, 31 1=ok, 120 abort, 121 E10, 121 2=ok"
    );
}

/// Recorded: a dropped reply of E10 is invisible, one of E7, E11, E12, E14 costs an attempt (0.7.0, 0.9.3, 0.13.1, 0.14.2).
#[test]
fn the_transport_repeats_a_get_at_once_when_a_kept_connection_breaks() {
    let mut rig = Rig::new(client(Release::V0_13_1));
    let poll = Op::GetMessage { id: SET, last: arc_api::MessageId(0), capacity: None };
    rig.submit(1, poll.clone(), Bearer::Queue(Token(9)));
    rig.run(|_, n, _| Some(if n == 1 { lost(Transport::Reset) } else { Ok(ServiceOk::Nothing) }));
    rig.submit(2, poll, Bearer::Queue(Token(9)));
    rig.run(|_, n, _| Some(if n == 1 { lost(Transport::Reset) } else { Ok(ServiceOk::Nothing) }));
    rig.submit(3, remove(1), Bearer::Queue(Token(9)));
    rig.run(|_, n, _| Some(if n == 1 { lost(Transport::Reset) } else { Ok(ServiceOk::Done) }));
    let want = "0 E10, 1 E10, 1 1=ok, 1 E10, 1 E10, 1 2=ok, 1 E17, 2 E17, 2 3=ok";
    assert_eq!(rig.record.join(", "), want, "the first connection is new, so its loss counts");
}

/// R15. Recorded: b_github_create/0.14.2 (second runner's first call 15 s later), side by side in 0.12.1.
#[test]
fn one_failing_call_holds_up_all_others_from_0_14_on() {
    let service = |r: &ServiceRequest, _, _| {
        let first = matches!(&r.op, Op::GenerateJitConfig { name, .. } if name == "a");
        Some(if first { lost(Transport::Refused) } else { good(&r.op, FOREVER) })
    };
    let jit = |name: &str| Op::GenerateJitConfig { id: SET, name: name.into(), work_folder: "".into() };
    for (release, second_done) in
        [(Release::V0_14_2, "15 2=ok"), (Release::V0_12_1, "0 2=ok"), (Release::Next, "0 2=ok")]
    {
        let mut rig = Rig::new(client(release));
        rig.submit(1, jit("a"), Bearer::Admin);
        rig.submit(2, jit("b"), Bearer::Admin);
        rig.run(service);
        assert!(rig.record.iter().any(|l| l == second_done), "{release}: {:?}", rig.record);
    }
}

#[test]
fn a_hundred_slow_calls_take_their_sum_from_0_14_on() {
    for (release, end) in [(Release::V0_14_2, 204), (Release::V0_13_1, 6)] {
        let mut rig = Rig::new(client(release));
        rig.latency = Duration::from_secs(2);
        (0..100).for_each(|n| rig.submit(n, remove(n as i64), Bearer::Admin));
        rig.run(|r, _, _| Some(good(&r.op, FOREVER)));
        assert_eq!(rig.now, Time::from_secs(end), "{release}");
    }
}

/// Q-ADMIN-401-NOREFRESH. Recorded: b_github_create, c_token.
#[test]
fn a_revoked_token_is_kept_until_it_nears_its_end_except_in_next() {
    let revoked = |r: &ServiceRequest, n: usize, _| {
        Some(if is_op(r) && n == 1 { refused(401) } else { good(&r.op, Time::from_secs(100)) })
    };
    for (release, want) in [
        (Release::V0_9_3, "0 B, 0 C, 0 E17, 0 1=401, 40 E17, 40 2=401, 41 B, 41 C, 41 E17, 41 3=401"),
        (Release::V0_14_2, "0 B, 0 C, 0 E17, 0 1=401, 40 E17, 40 2=401, 41 B, 41 C, 41 E17, 41 3=401"),
        (Release::Next, "0 B, 0 C, 0 E17, 0 B, 0 C, 0 E17, 0 1=ok"),
    ] {
        let mut rig = Rig::new(client(release));
        for (n, at) in [(1, 0), (2, 40), (3, 41)] {
            rig.now = Time::from_secs(at);
            if release != Release::Next || n == 1 {
                rig.submit(n, remove(1), Bearer::Admin);
                rig.run(revoked);
            }
        }
        assert_eq!(rig.record.join(", "), want, "{release}");
    }
}

/// Recorded order E10, E11, B, C, E12 (c_token/0.14.2).
#[test]
fn an_acquire_refreshes_the_admin_token_from_0_14_on() {
    for (release, want) in [(Release::V0_14_2, "0 B, 0 C, 0 E12, 0 1=ok"), (Release::V0_13_1, "0 E12, 0 1=ok")] {
        let mut rig = Rig::new(client(release));
        rig.submit(1, Op::AcquireJobs { id: SET, requests: Some(Vec::new()) }, Bearer::Queue(Token(9)));
        rig.run(|r, _, _| {
            if r.op.code() == "E12" {
                assert_eq!(r.auth, Auth::Queue(Token(9)));
            }
            Some(good(&r.op, FOREVER))
        });
        assert_eq!(rig.record.join(", "), want, "{release}");
    }
}

#[test]
fn a_cancelled_call_ends_at_once_but_not_in_the_deaf_sleep_of_step_c() {
    for (release, end) in [(Release::V0_12_1, "3 1=Cancelled"), (Release::V0_14_2, "2 1=Cancelled")] {
        let mut c = client(release);
        c.submit(CallId(1), create_session(), Bearer::Admin, Time::ZERO);
        let mut rig = Rig::new(c);
        // Cancel after the second refusal, one second into the wait of two.
        while rig.now < Time::from_secs(2) {
            while let Some(output) = rig.client.poll() {
                if let Output::Send { attempt, request } = output {
                    rig.client.on_reply(attempt, fail_registration(&request), rig.now);
                }
            }
            rig.now = Time(rig.now.0 + 500_000);
            rig.client.on_wake(rig.now);
        }
        rig.client.cancel(CallId(1), rig.now);
        rig.run(|_, _, _| None);
        assert_eq!(rig.record.join(", "), end, "{release}");
        assert!(rig.client.is_idle());
    }
}

#[test]
fn the_session_is_named_in_error_texts() {
    let (method, path) = endpoint(&Op::DeleteSession { id: SET, session: SessionId(7) });
    assert_eq!(
        (method, path.as_str()),
        ("DELETE", "_apis/runtime/runnerscalesets/41/sessions/00000000-0000-4000-8000-000000000007")
    );
    assert_eq!(endpoint(&Op::GetScaleSet { group: GroupId(1), name: "x".into() }).0, "GET");
}
