use super::*;
use crate::conform::history::{Subject, histories};

/// Written by hand: a person installs a set, the manager takes it up, a patch says nothing new, a creation is refused.
const LOG: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"RequestResponse","auditID":"1","stage":"ResponseComplete","requestURI":"/x","verb":"create","user":{"username":"kubernetes-admin"},"objectRef":{"resource":"autoscalingrunnersets","namespace":"arc-runners","name":"linux","apiGroup":"actions.github.com","apiVersion":"v1alpha1"},"responseStatus":{"code":201},"requestObject":{"spec":{}},"requestReceivedTimestamp":"2026-03-01T10:00:00.000000Z","stageTimestamp":"2026-03-01T10:00:00.010000Z"}
{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"RequestResponse","auditID":"2","stage":"RequestReceived","verb":"patch","user":{"username":"system:serviceaccount:arc-systems:arc-gha-rs-controller"},"objectRef":{"resource":"autoscalingrunnersets","namespace":"arc-runners","name":"linux"},"requestReceivedTimestamp":"2026-03-01T10:00:00.020000Z","stageTimestamp":"2026-03-01T10:00:00.020000Z"}
{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"RequestResponse","auditID":"2","stage":"ResponseComplete","verb":"patch","user":{"username":"system:serviceaccount:arc-systems:arc-gha-rs-controller"},"objectRef":{"resource":"autoscalingrunnersets","namespace":"arc-runners","name":"linux"},"responseStatus":{"code":200},"requestObject":{"metadata":{"finalizers":["autoscalingrunnerset.actions.github.com/finalizer"]}},"responseObject":{"metadata":{"name":"linux","resourceVersion":"7"}},"requestReceivedTimestamp":"2026-03-01T10:00:00.020000Z","stageTimestamp":"2026-03-01T10:00:00.030000Z"}
{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"RequestResponse","auditID":"3","stage":"ResponseComplete","verb":"patch","user":{"username":"system:serviceaccount:arc-systems:arc-gha-rs-controller"},"objectRef":{"resource":"autoscalingrunnersets","namespace":"arc-runners","name":"linux"},"responseStatus":{"code":200},"requestObject":{"metadata":{"finalizers":["autoscalingrunnerset.actions.github.com/finalizer"]}},"responseObject":{"metadata":{"name":"linux","resourceVersion":"7"}},"stageTimestamp":"2026-03-01T10:00:00.040000Z"}
{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"RequestResponse","auditID":"4","stage":"ResponseComplete","verb":"create","user":{"username":"system:serviceaccount:arc-systems:arc-gha-rs-controller"},"objectRef":{"resource":"ephemeralrunnersets","namespace":"arc-runners"},"responseStatus":{"code":201},"requestObject":{"metadata":{"generateName":"linux-"},"spec":{"ephemeralRunnerSpec":{}}},"responseObject":{"metadata":{"name":"linux-x7k2p","resourceVersion":"8"}},"stageTimestamp":"2026-03-01T10:00:01.040000Z"}
{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"RequestResponse","auditID":"5","stage":"ResponseComplete","verb":"create","user":{"username":"system:serviceaccount:kube-system:generic-garbage-collector"},"objectRef":{"resource":"pods","namespace":"arc-runners","name":"p"},"responseStatus":{"code":201},"stageTimestamp":"2026-03-01T10:00:01.050000Z"}
{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"6","stage":"ResponseComplete","verb":"create","user":{"username":"system:serviceaccount:arc-systems:arc-gha-rs-controller"},"objectRef":{"resource":"pods","namespace":"arc-runners","name":"linux-x7k2p-runner-abcde"},"responseStatus":{"code":403,"reason":"Forbidden"},"stageTimestamp":"2026-03-01T10:00:01.060000Z"}
"#;

fn said(recording: &Recording) -> Vec<String> {
    let mut out = Vec::new();
    for (id, steps) in histories(&recording.events).of {
        let Subject::Object(kind) = id.subject else { continue };
        for s in steps {
            out.push(format!("{kind} {} {} {} {} changed={}", id.name, s.verb, s.code, s.reason, s.changed));
        }
    }
    out
}

fn refused(text: &str) -> String {
    match read("audit.log", text, None) {
        Ok(_) => panic!("read"),
        Err(r) => r.render(false),
    }
}

#[test]
fn an_audit_log_becomes_histories() {
    assert!(is_audit(LOG));
    let recording = read("audit.log", LOG, None).unwrap_or_else(|r| panic!("{}", r.render(false)));
    let expected = [
        "EphemeralRunnerSet linux-<suffix-1> create 201  changed=true",
        "AutoscalingRunnerSet linux patch 200  changed=true",
        "AutoscalingRunnerSet linux patch 200  changed=false",
        "Pod linux-<suffix-1>-runner-abcde create 403 Forbidden changed=false",
    ];
    let mut found = said(&recording);
    found.sort();
    let mut expected: Vec<String> = expected.map(str::to_owned).into();
    expected.sort();
    assert_eq!(found, expected);
    // A person's write is what waits are measured from; times count from the first call that matters.
    assert_eq!(histories(&recording.events).acted, [Time::ZERO]);
    assert_eq!(recording.ends_at, Time::ZERO.after(Duration::from_micros(1_050_000)));
    assert!(!recording.journal);
}

#[test]
fn a_body_that_was_not_logged_is_not_compared() {
    let recording = read("audit.log", LOG, None).unwrap_or_else(|r| panic!("{}", r.render(false)));
    let steps = histories(&recording.events).of;
    let pod = steps.iter().find(|(id, _)| id.subject == Subject::Object(Kind::Pod)).map(|(_, s)| s[0].clone());
    let Some(pod) = pod else { panic!("no pod") };
    let whole = super::super::history::Step { fields: vec![("a".into(), "b".into())], told: true, ..pod.clone() };
    assert!(pod.same(&whole) && whole.same(&pod));
    let known = super::super::history::Step { told: true, ..pod };
    assert!(!known.same(&whole));
}

#[test]
fn a_log_that_is_cut_off_is_refused_with_its_line() {
    let text = refused(&LOG[..LOG.len() - 40]);
    assert!(text.contains("audit.log:7:") && text.contains("is the file cut off?"), "{text}");
}

#[test]
fn what_is_no_audit_event_is_refused() {
    let text = refused("{\"kind\":\"EventList\",\"apiVersion\":\"audit.k8s.io/v1\",\"items\":[]}\n");
    assert!(text.contains("EventList of `audit.k8s.io/v1`") && text.contains("one event per line"), "{text}");
    let text = refused(&LOG.replace("\"code\":201", "\"status\":\"x\""));
    assert!(text.contains("no `responseStatus.code` in this event"), "{text}");
    let text = refused("{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",\"stage\":\"RequestReceived\"}\n");
    assert!(text.contains("no call of manager"), "{text}");
}

#[test]
fn a_journal_of_the_service_stands_between_the_calls() {
    let journal = "{\"t\":\"2026-03-01T10:00:00.500000Z\",\"actor\":\"manager\",\"op\":\"E14\",\"path\":\"/x\",\"request\":{\"name\":\"linux-x7k2p-runner-abcde\"},\"status\":200}\n";
    let recording =
        read("audit.log", LOG, Some(("journal.jsonl", journal))).unwrap_or_else(|r| panic!("{}", r.render(false)));
    let place = recording.events.iter().position(|e| matches!(e.what, What::Service(_)));
    assert_eq!((place, recording.journal), (Some(3), true));
    let name = histories(&recording.events).of.into_keys().find(|id| matches!(id.subject, Subject::Service(_)));
    assert_eq!(name.map(|id| id.name), Some("linux-<suffix-1>-runner-abcde".into()));
    let cut = read("audit.log", LOG, Some(("journal.jsonl", &journal[..40])));
    let Err(cut) = cut else { panic!("read") };
    assert!(cut.render(false).contains("journal.jsonl:1:"), "{}", cut.render(false));
}
