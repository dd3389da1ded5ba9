//! One job from queue to end on the wire, in both personalities (actions-service.md §2.10), written down as text.

mod common;

use std::fmt::Write;

use arc_api::service::*;
use arc_api::*;
use common::*;
use fake_github::{Outcome, Personality};

fn line(reply: &ServiceReply) -> String {
    let stats = |s: &Statistics| {
        format!(
            "available:{} acquired:{} assigned:{} running:{} registered:{} busy:{} idle:{}",
            s.total_available_jobs,
            s.total_acquired_jobs,
            s.total_assigned_jobs,
            s.total_running_jobs,
            s.total_registered_runners,
            s.total_busy_runners,
            s.total_idle_runners
        )
    };
    match reply {
        Ok(ServiceOk::Message(message)) => {
            let requests: Vec<i64> = message.events.iter().map(|event| event.job.request.0).collect();
            format!("200 id {} {:?} {requests:?} {}", message.id, kinds(message), stats(&message.statistics))
        }
        Ok(ServiceOk::Session(session)) => format!("200 {}", stats(&session.statistics.expect("always present"))),
        Ok(ServiceOk::Acquired(ids)) => format!("200 {ids:?}"),
        Ok(ServiceOk::Nothing) => "202".into(),
        Ok(ServiceOk::Done) => "204".into(),
        Ok(ServiceOk::ScaleSet(found)) => format!("200 count {}", u8::from(found.is_some())),
        Ok(_) => "200".into(),
        Err(error) => format!("{} {}", error.status, error.exception.as_str()),
    }
}

struct Trace {
    w: World,
    text: String,
}

impl Trace {
    fn say(&mut self, what: &str, reply: &ServiceReply) {
        let _ = writeln!(self.text, "{:>6.1} {what:<6} {}", self.w.now.0 as f64 / 1e6, line(reply));
    }
    fn admin(&mut self, op: Op) -> ServiceReply {
        let code = op.code();
        let reply = self.w.admin(op);
        self.say(code, &reply);
        reply
    }
    fn poll(&mut self, held: Held, last: i64) -> i64 {
        let reply = self.w.poll_through(held, last, 5);
        self.say("E10", &reply);
        match reply {
            Ok(ServiceOk::Message(message)) => message.id.0,
            _ => last,
        }
    }
    fn ack(&mut self, held: Held, id: i64) {
        let reply = self.w.delete_message(held, MessageId(id));
        self.say("E11", &reply);
    }
}

fn one_job(personality: Personality) -> String {
    let mut t = Trace { w: World::of(personality), text: String::new() };
    t.admin(Op::GetScaleSet { group: GroupId(1), name: "linux-x64".into() }).expect("an empty list");
    let set = t.w.create("linux-x64");
    let held = t.w.listen(set);
    let refreshed = t.admin(Op::RefreshSession { id: set, session: held.session });
    let Ok(ServiceOk::Session(session)) = refreshed else { panic!() };
    let held = Held { queue: session.queue_token, ..held };
    let last = t.poll(held, 0);
    t.w.job("linux-x64");
    let mut last = t.poll(held, last);
    if personality == Personality::AcquireRequired {
        let reply = t.w.acquire(held, &[1001]);
        t.say("E12", &reply);
        t.ack(held, last);
        last = t.poll(held, last);
    }
    t.ack(held, last);
    let (id, jit) = t.w.register(set, "linux-x64-abcde-runner-f7k2p");
    t.w.wait(3.0);
    let token = t.w.connect(jit);
    let Outcome::Parked(ticket) = t.w.runner(token, Op::RunnerPoll) else { panic!("not ready yet") };
    let last = t.poll(held, last);
    assert!(matches!(t.w.answered(ticket), Some(Ok(ServiceOk::Job(_)))));
    t.ack(held, last);
    t.w.wait(60.0);
    t.w.call(Auth::Runner(token), Op::RunnerComplete(JobResult::Succeeded)).expect("its job");
    let last = t.poll(held, last);
    t.ack(held, last);
    t.admin(Op::RemoveRunner(id)).expect("gone already is fine");
    t.poll(held, last);
    t.admin(Op::DeleteSession { id: set, session: held.session }).expect("open");
    assert_eq!(t.w.github.audit(), Ok(()));
    assert_eq!(t.w.mailbox.len(), 0, "every answer had an asker");
    t.text
}

#[test]
fn broker_golden_trace() {
    insta::assert_snapshot!(one_job(Personality::Broker), @r#"
      0.0 E1     200 count 0
      0.0 E8     200 available:0 acquired:0 assigned:0 running:0 registered:0 busy:0 idle:0
     50.0 E10    202
     50.5 E10    200 id 100000001 ["JobAssigned"] [0] available:0 acquired:0 assigned:1 running:0 registered:0 busy:0 idle:0
     50.5 E11    204
     55.5 E10    200 id 100000002 ["JobStarted"] [0] available:0 acquired:0 assigned:1 running:1 registered:1 busy:1 idle:0
     55.5 E11    204
    116.0 E10    200 id 100000003 ["JobCompleted"] [0] available:0 acquired:0 assigned:0 running:0 registered:0 busy:0 idle:0
    116.0 E11    204
    116.0 E17    204
    166.0 E10    202
    166.0 E9     204
    "#);
}

#[test]
fn acquire_required_golden_trace() {
    insta::assert_snapshot!(one_job(Personality::AcquireRequired), @r#"
      0.0 E1     200 count 0
      0.0 E8     200 available:0 acquired:0 assigned:0 running:0 registered:0 busy:0 idle:0
     50.0 E10    202
     50.5 E10    200 id 1 ["JobAvailable"] [1001] available:1 acquired:0 assigned:0 running:0 registered:0 busy:0 idle:0
     50.5 E12    200 [RequestId(1001)]
     50.5 E11    204
     51.2 E10    200 id 2 ["JobAssigned"] [1001] available:0 acquired:0 assigned:1 running:0 registered:0 busy:0 idle:0
     51.2 E11    204
     56.2 E10    200 id 3 ["JobStarted"] [1001] available:0 acquired:0 assigned:1 running:1 registered:1 busy:1 idle:0
     56.2 E11    204
    116.7 E10    200 id 4 ["JobCompleted"] [1001] available:0 acquired:0 assigned:0 running:0 registered:0 busy:0 idle:0
    116.7 E11    204
    116.7 E17    204
    166.7 E10    202
    166.7 E9     204
    "#);
}

#[test]
fn an_expired_queue_token_is_refreshed_and_the_same_poll_repeated() {
    let mut w = World::of(Personality::Broker);
    w.github.tune(None, |profile| profile.session_ttl = Duration::MAX);
    let set = w.create("linux");
    let held = w.listen(set);
    w.wait(3600.0);
    let text = "The access token is invalid or has expired.";
    check_refused(w.poll_through(held, 0, 5), 401, Exception::InvalidToken, text);
    let Ok(ServiceOk::Session(session)) = w.admin(Op::RefreshSession { id: set, session: held.session }) else {
        panic!()
    };
    assert_eq!(session.id, held.session, "the id stays");
    assert_ne!(session.queue_token, held.queue);
    let held = Held { queue: session.queue_token, ..held };
    assert_eq!(w.poll_through(held, 0, 5), Ok(ServiceOk::Nothing));
}
