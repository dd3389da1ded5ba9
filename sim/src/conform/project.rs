//! Turns the kept trace of a simulated run into the events of a recording: same names, same codes. Never judges.

use std::collections::{BTreeMap, BTreeSet};

use arc_api::kube::KubeRequest;
use arc_api::service::Op;
use arc_api::{Kind, Str, format_smolstr};
use fake_github::event::ServiceEvent;
use serde_json::Value;

use super::event::{About, Event, KubeCall, ServiceCall, What, Who};
use super::names::Suffixes;
use crate::plan::Role;
use crate::trace::{self, Actor, Trace};

/// Who the actors of a trace are, and the names that API servers generated in it.
#[derive(Default)]
struct Names {
    actors: BTreeMap<Actor, (Role, Str, Str)>,
    suffixes: Suffixes,
}

/// The events of a run whose trace was kept.
pub fn events(trace: &Trace) -> Vec<Event> {
    let mut names = Names::default();
    let mut out = Vec::new();
    // A call of the service whose answer never came is none: recordings show it without a status.
    let mut unheard: BTreeSet<trace::EventId> = BTreeSet::new();
    let mut gone: BTreeSet<Actor> = BTreeSet::new();
    let mut blamed: BTreeMap<trace::EventId, trace::EventId> = BTreeMap::new();
    // No answer is on its way for less than an instant.
    let mut ends: BTreeSet<(Actor, arc_api::Time)> = BTreeSet::new();
    for event in trace.events() {
        match &event.what {
            trace::What::ProcessExit { .. } => {
                ends.insert((event.actor, event.at));
            }
            // Between an answer and its loss stands the fault that took it.
            trace::What::Fault { .. } => {
                blamed.insert(event.id, event.cause);
            }
            trace::What::Lost { part: "reply", .. } => {
                unheard.insert(blamed.get(&event.cause).copied().unwrap_or(event.cause));
            }
            _ => {}
        }
    }
    for event in trace.events() {
        if matches!(event.what, trace::What::Service { .. }) && unheard.contains(&event.id) {
            continue;
        }
        if let trace::What::ProcessStart { role, pod, container } = &event.what {
            gone.remove(&event.actor);
            names.actors.insert(event.actor, (*role, pod.clone(), container.clone()));
        }
        if let trace::What::ProcessExit { .. } = &event.what {
            gone.insert(event.actor);
        }
        let who = match names.actors.get(&event.actor) {
            Some((Role::Controller, ..)) => Who::Manager,
            Some((Role::Listener, ..)) => Who::Listener,
            _ => Who::Other,
        };
        if let Some(mut what) = project(&event.what, event.actor, who, &mut names) {
            if let What::Kube(call) = &mut what {
                let dead = gone.contains(&event.actor) || ends.contains(&(event.actor, event.at));
                call.heard = !dead && !unheard.contains(&event.id);
            }
            out.push(Event { at: event.at, line: event.id, who, what });
        }
    }
    out
}

fn project(what: &trace::What, actor: Actor, who: Who, names: &mut Names) -> Option<What> {
    match what {
        trace::What::Kube { verb, kind: Some(kind), key, sub, request, refused, changed } => {
            if let (KubeRequest::Create(object), None) = (&**request, refused)
                && let Some(base) = &object.meta().generate_name
            {
                names.suffixes.learn(base, &key.name);
            }
            if who == Who::Other {
                let person = names.actors.get(&actor).is_some_and(|(_, pod, _)| pod.is_empty());
                return (person && request.is_write()).then_some(What::Acted);
            }
            let mut body = match &**request {
                KubeRequest::Patch { patch, .. } => patch.to_json(),
                KubeRequest::Create(o) | KubeRequest::Update(o, _) => arc_api::json::to_json(o),
                _ => Value::Null,
            };
            if *kind == Kind::Secret {
                open_secret(&mut body);
            }
            names.suffixes.rename_all(&mut body);
            let code = match (refused, *verb) {
                (Some((reason, _)), _) => reason.code(),
                (None, "create") => 201,
                (None, _) => 200,
            };
            Some(What::Kube(KubeCall {
                verb: (*verb).into(),
                kind: *kind,
                sub: sub.unwrap_or_default().into(),
                key: arc_api::meta::Key::new(key.namespace.clone(), names.suffixes.rename(&key.name)),
                code,
                told: true,
                reason: refused.as_ref().map_or(Str::default(), |(r, _)| format_smolstr!("{r:?}")),
                body,
                changed: if *verb == "delete" { refused.is_none() } else { *changed },
                heard: true,
            }))
        }
        trace::What::Service { op, request, status, answer, .. } if who != Who::Other => {
            let (about, mut detail) = about(request, names);
            if (*status >= 400 || answer.starts_with("malformed"))
                && let (Op::GetMessage { .. }, Some((last, _))) = (&**request, detail.split_once(" capacity"))
            {
                detail = last.into();
            }
            Some(What::Service(ServiceCall { op: (*op).into(), status: *status, about, detail }))
        }
        trace::What::ServiceEvent(event) => match &**event {
            ServiceEvent::RunnerRegistered { runner, name, .. } => {
                Some(What::Registered { id: runner.0, name: names.suffixes.rename(name) })
            }
            ServiceEvent::ScaleSetCreated { scale_set, name } => {
                Some(What::ScaleSet { id: scale_set.0, name: name.clone() })
            }
            _ => None,
        },
        trace::What::ProcessStart { pod, container, .. } if !pod.is_empty() => {
            Some(What::Start { pod: names.suffixes.rename(pod), container: container.clone() })
        }
        trace::What::ProcessExit { code, .. } => {
            let (_, pod, container) = names.actors.get(&actor).filter(|(_, pod, _)| !pod.is_empty())?;
            Some(What::Exit { pod: names.suffixes.rename(pod), container: container.clone(), code: i64::from(*code) })
        }
        trace::What::Operator { did, .. } => did.strip_prefix("phase:").map(|p| What::Phase(p.trim().into())),
        _ => None,
    }
}

fn about(op: &Op, names: &Names) -> (About, Str) {
    let none = Str::default;
    match op {
        Op::GetScaleSet { name, .. } | Op::CreateScaleSet { name, .. } => (About::Set(name.clone()), none()),
        Op::UpdateScaleSet { id, group, name } => {
            let group = group.map_or(String::new(), |g| format!(" group {g}"));
            let name = name.as_ref().map_or(String::new(), |n| format!(" name {n}"));
            (About::SetId(id.0), format!("{name}{group}").trim().into())
        }
        Op::GetMessage { id, last, capacity } => {
            let capacity = capacity.map_or_else(|| "none".into(), |c| c.to_string());
            (About::SetId(id.0), format_smolstr!("after {last} capacity {capacity}"))
        }
        Op::DeleteMessage { id, message } => (About::SetId(id.0), format_smolstr!("message {message}")),
        Op::AcquireJobs { id, requests } => {
            let ids = requests.as_ref().map_or_else(|| "null".into(), |ids| ids.len().to_string());
            (About::SetId(id.0), format_smolstr!("{ids} offers"))
        }
        Op::GenerateJitConfig { name, .. } | Op::GetRunnerByName(name) => {
            (About::Runner(names.suffixes.rename(name)), none())
        }
        Op::GetRunner(id) | Op::RemoveRunner(id) => (About::RunnerId(id.0), none()),
        Op::GetRunnerGroup { name } => (About::Nothing, name.clone()),
        Op::GetScaleSetById(id)
        | Op::DeleteScaleSet(id)
        | Op::GetAcquirableJobs(id)
        | Op::CreateSession { id, .. }
        | Op::RefreshSession { id, .. }
        | Op::DeleteSession { id, .. } => (About::SetId(id.0), none()),
        Op::AccessToken
        | Op::RegistrationToken { .. }
        | Op::RunnerRegistration { .. }
        | Op::RunnerConnect { .. }
        | Op::RunnerPoll
        | Op::RunnerRenew
        | Op::RunnerComplete(_)
        | Op::RunnerDisconnect => (About::Nothing, none()),
    }
}

/// Recordings show the data of secrets as text, and JSON in it opened.
pub(super) fn open_secret(body: &mut Value) {
    let Some(Value::Object(data)) = body.get_mut("data") else { return };
    for (key, value) in data.iter_mut() {
        let Some(text) = value.as_str().and_then(|text| arc_api::wire::decode(text).ok()) else { continue };
        let text = String::from_utf8_lossy(&text).into_owned();
        *value = match key.as_str() {
            "config.json" => serde_json::from_str(&text).unwrap_or(Value::String(text)),
            _ => Value::String(text),
        };
    }
}
