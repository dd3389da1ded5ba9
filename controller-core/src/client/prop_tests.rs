//! Properties of the service client under arbitrary interleavings.

use arc_api::service::Op;
use proptest::prelude::*;

use super::tests::{client, good, lost, refused, remove};
use super::*;
use crate::Release;

#[derive(Clone, Debug)]
enum Act {
    Submit(bool),
    Reply(usize, u8),
    Late(usize),
    Cancel(usize),
    Wake(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        any::<bool>().prop_map(Act::Submit),
        (0usize..4, 0u8..8).prop_map(|(i, k)| Act::Reply(i, k)),
        (0usize..8).prop_map(Act::Late),
        (0usize..4).prop_map(Act::Cancel),
        (1u64..400_000_000).prop_map(Act::Wake),
    ]
}

proptest! {
    #[test]
    fn every_call_ends_once_and_sends_nothing_afterwards(acts in prop::collection::vec(act(), 1..120), which in 0usize..20) {
        let mut c = client(Release::ALL[which % Release::ALL.len()]);
        let mut now = Time::ZERO;
        let (mut open, mut done) = (Vec::new(), Vec::new());
        let (mut flying, mut gone) = (Vec::new(), Vec::new());
        let mut next = 0;
        let mut last = AttemptId(0);
        let drain = |c: &mut Client, open: &mut Vec<u64>, done: &mut Vec<u64>, flying: &mut Vec<(AttemptId, Op)>, last: &mut AttemptId| {
            while let Some(output) = c.poll() {
                match output {
                    Output::Send { attempt, request } => {
                        assert!(attempt > *last, "attempts are never named twice");
                        *last = attempt;
                        flying.push((attempt, request.op));
                    }
                    Output::Abort { attempt } => flying.retain(|(a, _)| *a != attempt),
                    Output::Done { call, .. } => {
                        assert!(open.contains(&call.0), "{call:?} ended twice");
                        open.retain(|o| *o != call.0);
                        done.push(call.0);
                    }
                }
            }
            assert!(flying.len() <= open.len(), "an attempt outlives its call");
        };
        for act in acts {
            match act {
                Act::Submit(queue) => {
                    let bearer = if queue { Bearer::Queue(Token(9)) } else { Bearer::Admin };
                    open.push(next);
                    c.submit(CallId(next), remove(1), bearer, now);
                    next += 1;
                }
                Act::Reply(i, kind) if i < flying.len() => {
                    let (attempt, op) = flying.remove(i);
                    gone.push(attempt);
                    let reply = match kind {
                        0 => refused(500),
                        1 => refused(401),
                        2 => refused(404),
                        3 => lost(Transport::Reset),
                        4 => lost(Transport::Refused),
                        _ => good(&op, now.after(Duration::from_secs(90))),
                    };
                    c.on_reply(attempt, reply, now);
                }
                Act::Late(i) if i < gone.len() => c.on_reply(gone[i], refused(500), now),
                Act::Cancel(i) if i < open.len() => c.cancel(CallId(open[i]), now),
                Act::Wake(d) => {
                    now = now.after(Duration::from_micros(d));
                    c.on_wake(now);
                    prop_assert!(c.next_wake() > now);
                }
                Act::Reply(..) | Act::Late(_) | Act::Cancel(_) => {}
            }
            drain(&mut c, &mut open, &mut done, &mut flying, &mut last);
        }
        for id in open.clone() {
            c.cancel(CallId(id), now);
        }
        // The deaf sleeps of step C are the only thing that may be left: 20 s at most.
        now = now.after(Duration::from_secs(20));
        c.on_wake(now);
        drain(&mut c, &mut open, &mut done, &mut flying, &mut last);
        prop_assert!(open.is_empty() && flying.is_empty() && c.is_idle(), "left: {open:?}");
        prop_assert_eq!(done.len() as u64, next);
    }
}
