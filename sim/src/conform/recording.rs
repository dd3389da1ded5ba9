//! Reads recordings: JSON, one line per call, event or mark. A line that is none of ours is an error with its place.
//!
//! Reads what histories are made of and skips the rest. Never guesses.

use std::collections::BTreeMap;

use arc_api::meta::Key;
use arc_api::{Duration, Kind, Str, Time, format_smolstr};
use serde_json::Value;

use super::event::{About, Event, KubeCall, ServiceCall, What, Who};
use super::left::{Item, Ledger};
use super::lines::{self, Refusal};
use crate::scenario::{Problem, Rejected};

/// A recording as events.
#[derive(Clone, Debug)]
pub struct Recording {
    /// File as given.
    pub file: String,
    /// Events in order.
    pub events: Vec<Event>,
    /// When each of Helm's commands began to write what matters: definitions and namespaces take Helm seconds of its own.
    pub commands: Vec<Time>,
    /// The lines that say something.
    pub sources: Vec<Source>,
    /// When it ends.
    pub ends_at: Time,
    /// Whether calls of the service and processes were written down, too.
    pub journal: bool,
    /// What is left at its end, where that is told.
    pub left: Option<Vec<Item>>,
}

/// A line that says something.
#[derive(Clone, Debug)]
pub struct Source {
    /// The line.
    pub value: Value,
    /// The event that it was read as; none for a call of Helm.
    pub event: Option<usize>,
}

/// Reads a recording.
///
/// # Errors
/// The first lines that cannot be read, with their places.
pub fn read(file: &str, text: &str) -> Result<Recording, Rejected> {
    let (mut events, mut sources) = (Vec::new(), Vec::new());
    let mut ends_at = Time::ZERO;
    let (mut commands, mut begun): (Vec<Time>, Vec<Str>) = (Vec::new(), Vec::new());
    let mut polled = About::Nothing;
    let mut written = BTreeMap::new();
    let mut compact: BTreeMap<u32, usize> = BTreeMap::new();
    let (mut ledger, mut told) = (Ledger::default(), None);
    let mut problems = lines::each(text, |body, number| {
        let line = lines::json(body)?;
        // A compact recording has lines that are like others, and says at its end what is left.
        if line.get("like").is_none() && compact.is_empty() {
            ledger.line(&line);
        }
        if let Some(items) = line["left"].as_array() {
            told = Some(items.iter().filter_map(Item::from_json).collect());
        }
        match read_line(line, number, &compact, &sources)? {
            read @ (Read::Event(..) | Read::Helm(..)) => {
                let helm = matches!(read, Read::Helm(..));
                let (Read::Event(mut event, value) | Read::Helm(mut event, value)) = read else { return Ok(()) };
                acknowledges(&mut event, &mut polled);
                overtaken(&mut event, &value, &mut written);
                ends_at = event.at;
                if helm && has_begun(&mut begun, value["name"].as_str().unwrap_or_default()) {
                    commands.push(event.at);
                }
                if value.get("line").is_some() {
                    compact.insert(event.line, sources.len());
                }
                sources.push(Source { value, event: Some(events.len()) });
                events.push(event);
            }
            Read::Skip(time) => ends_at = time,
            Read::Command(time, value) => {
                ends_at = time;
                begun.push(value["argv"][2].as_str().unwrap_or_default().into());
                sources.push(Source { value, event: None });
            }
        }
        Ok(())
    });
    if problems.is_empty() && events.is_empty() {
        problems.push(Problem::new(0..0, "no line of a recording in this file").hint(WHAT));
    }
    if problems.is_empty() {
        let left = told.or_else(|| compact.is_empty().then(|| ledger.left()));
        Ok(Recording { file: file.to_owned(), events, commands, sources, ends_at, journal: true, left })
    } else {
        Err(Rejected::new(file, text, problems))
    }
}

const WHAT: &str =
    "a recording is JSON, one object per line, each with `t` and `actor`; its README says what stands in them";

enum Read {
    Event(Event, Value),
    /// A write of Helm's that is not of definitions or namespaces.
    Helm(Event, Value),
    /// Helm is called.
    Command(Time, Value),
    Skip(Time),
}

fn read_line(mut value: Value, line: u32, compact: &BTreeMap<u32, usize>, sources: &[Source]) -> Result<Read, Refusal> {
    if let Some(like) = value["like"].as_u64() {
        let said = || (0, format!("like line {like}, which is none before this"), WHAT);
        let base = compact.get(&(like as u32)).and_then(|n| sources.get(*n)).ok_or_else(said)?;
        value = expanded(&base.value, value);
    }
    let missing = |key: &str| (0, format!("no `{key}` in this line"), WHAT);
    let t = value["t"].as_f64().ok_or_else(|| missing("t"))?;
    let at = Time::ZERO.after(Duration::from_micros((t.max(0.0) * 1e6).round() as u64));
    let actor = value["actor"].as_str().ok_or_else(|| missing("actor"))?;
    // A compact recording keeps the numbers of the lines that it was made of.
    let line = value["line"].as_u64().map_or(line, |n| n as u32);
    let who = match actor {
        "manager" => Who::Manager,
        "listener" => Who::Listener,
        _ => Who::Other,
    };
    let what = if value["verb"] == "informers" {
        None
    } else if value.get("verb").is_some() {
        match is_acted(&value) {
            true => Some(What::Acted),
            false if matches!(value["verb"].as_str(), Some("get" | "list")) || who == Who::Other => None,
            false => kube(&value).map_err(missing)?.map(What::Kube),
        }
    } else if let Some(mark) = value["mark"].as_str() {
        match mark.strip_prefix("phase:") {
            Some(phase) => Some(What::Phase(phase.trim().into())),
            None if mark.starts_with("state") || mark.contains('\n') => None,
            None => Some(What::Mark(mark.into())),
        }
    } else if value["op"] == "event" || actor == "kubelet" {
        happened(&value)
    } else if value.get("op").is_some() {
        if who == Who::Other { None } else { service(&value).map(What::Service) }
    } else if value.get("argv").is_some() || value.get("event").is_some() {
        None
    } else {
        return Err((0, "neither a call, an event nor a mark".into(), WHAT));
    };
    let prepares = prepares(&value["resource"]);
    Ok(match what {
        Some(what) if actor == "helm" && !prepares => Read::Helm(Event { at, line, who, what }, value),
        Some(what) => Read::Event(Event { at, line, who, what }, value),
        None if value["argv"][0] == "helm" => Read::Command(at, value),
        None => Read::Skip(at),
    })
}

/// Whether a write of Helm's is the first of a command: several may be at work, and an object is called after its release. What a
/// release was told before and wrote nothing for had failed.
fn has_begun(begun: &mut Vec<Str>, object: &str) -> bool {
    let is_of = |release: &Str| {
        object.strip_prefix(release.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    let before = begun.len();
    begun.retain(|release| !is_of(release));
    begun.len() < before
}

/// An acknowledgement that does not say of which scale set is of the one that was polled last: it follows its message at once.
fn acknowledges(event: &mut Event, polled: &mut About) {
    if let What::Service(call) = &mut event.what {
        match call.op.as_str() {
            "E10" => *polled = call.about.clone(),
            "E11" if call.about == About::Nothing => call.about = polled.clone(),
            _ => {}
        }
    }
}

/// The last write of every object: what it asked for, and what the log says that it changed.
type Written = BTreeMap<(Kind, Key), (Value, Value)>;

/// The log compares an answer with the one before, and two writes that are under way at one time may be told in the wrong order: a
/// patch is then said to have changed what it does not speak of (c_graceful/0.8.3 line 181: one of `spec`, `status`). It changed
/// something if the write told before it changed what this one speaks of, and nothing else (c_msg_http/0.9.1 line 1932).
fn overtaken(event: &mut Event, value: &Value, written: &mut Written) {
    let What::Kube(call) = &mut event.what else { return };
    if call.code >= 300 || !matches!(call.verb.as_str(), "create" | "update" | "patch") {
        return;
    }
    let object = (call.kind, call.key.clone());
    if call.verb == "patch" && call.changed && value["changed"].is_object() {
        let (asked, changed) = written.get(&object).unwrap_or(&(Value::Null, Value::Null));
        call.changed = touches(&call.body, &Value::Null, &value["changed"]) || touches(&call.body, asked, changed);
    }
    written.insert(object, (call.body.clone(), value["changed"].clone()));
}

/// Whether a change is of what a patch speaks of and another does not.
fn touches(patch: &Value, other: &Value, changed: &Value) -> bool {
    changed.as_object().into_iter().flatten().any(|(key, now)| match (patch.get(key), now.as_object()) {
        (None, _) => false,
        (Some(Value::Object(_)), Some(inner)) if !inner.is_empty() => {
            touches(&patch[key], other.get(key).unwrap_or(&Value::Null), now)
        }
        (Some(_), _) => other.get(key).is_none(),
    })
}

/// A line of a compact recording with what it shares with an earlier one.
fn expanded(base: &Value, line: Value) -> Value {
    let mut whole = base.clone();
    if let (Value::Object(whole), Value::Object(own)) = (&mut whole, line) {
        for (key, value) in own.into_iter().filter(|(key, _)| key != "like") {
            if key == "but" {
                arc_api::json::merge(whole.entry("request").or_insert(Value::Null), &value);
            } else if value.is_null() {
                whole.remove(&key);
            } else {
                whole.insert(key, value);
            }
        }
    }
    whole
}

/// Whether a line says that people or Helm wrote something.
pub fn is_acted(value: &Value) -> bool {
    let actor = value["actor"].as_str().unwrap_or_default();
    (matches!(actor, "helm" | "admin") || actor.starts_with("script"))
        && !matches!(value["verb"].as_str(), None | Some("get" | "list" | "informers"))
}

/// Whether Helm only prepares: definitions and namespaces come before what a chart is about.
pub fn prepares(resource: &Value) -> bool {
    matches!(resource.as_str(), Some("customresourcedefinitions" | "namespaces"))
}

fn text(value: &Value, key: &str) -> Str {
    value[key].as_str().unwrap_or_default().into()
}

/// A call of the API; `None` for kinds that nobody here models.
fn kube(value: &Value) -> Result<Option<KubeCall>, &'static str> {
    let resource = value["resource"].as_str().ok_or("resource")?;
    let Some(kind) = Kind::from_plural(resource) else { return Ok(None) };
    let code = value["code"].as_u64().ok_or("code")?;
    // The caller was killed while its request waited in admission: nothing was carried out, and nobody heard the answer.
    if code == 504 && value["message"].as_str().is_some_and(|m| m.ends_with("context canceled")) {
        return Ok(None);
    }
    let body = value.get("request").cloned().unwrap_or(Value::Null);
    let changed = match &value["changed"] {
        // The log shows no change for deletions of kinds that answer with a Status.
        _ if value["verb"] == "delete" => code < 300,
        Value::Object(map) => !map.is_empty(),
        Value::String(_) => true,
        _ => code < 300,
    };
    Ok(Some(KubeCall {
        verb: text(value, "verb"),
        kind,
        sub: text(value, "subresource"),
        key: Key::new(text(value, "ns"), text(value, "name")),
        code: code as u16,
        reason: text(value, "reason"),
        told: value["verb"] == "delete" || value.get("request").is_some(),
        body,
        changed,
        heard: true,
    }))
}

/// What the service and the kubelet told.
fn happened(value: &Value) -> Option<What> {
    let (pod, container) = (text(value, "pod"), text(value, "container"));
    match value["event"].as_str()? {
        "runner-registered" => Some(What::Registered { id: value["runnerId"].as_i64()?, name: text(value, "runner") }),
        "scaleset-created" => Some(What::ScaleSet { id: value["id"].as_i64()?, name: text(value, "scaleSet") }),
        "process-start" => Some(What::Start { pod, container }),
        "runner-start" => Some(What::Start { pod, container: "runner".into() }),
        "container-exit" => Some(What::Exit { pod, container, code: value["code"].as_i64()? }),
        _ => None,
    }
}

/// A call of manager or listener to the service; `None` for the beginning of a long poll.
fn service(value: &Value) -> Option<ServiceCall> {
    if value["phase"] == "start" {
        return None;
    }
    let op = text(value, "op");
    let path = value["path"].as_str().unwrap_or_default();
    let query = |key: &str| {
        let pairs = path.split_once('?').map_or("", |(_, q)| q).split('&');
        pairs.filter_map(|p| p.split_once('=')).find(|(k, _)| *k == key).map(|(_, v)| Str::from(v))
    };
    let number_after = |part: &str| {
        let rest = path.split_once(part)?.1;
        rest.split(['/', '?']).next()?.parse::<i64>().ok()
    };
    // The broker's queue has a path without the scale set; its recorder names the set beside it.
    let set = || match (number_after("/runnerscalesets/"), value["scaleSet"].as_str()) {
        (Some(id), _) => About::SetId(id),
        (None, Some(name)) => About::Set(name.into()),
        (None, None) => About::Nothing,
    };
    let request = &value["request"];
    let (about, detail): (About, Str) = match op.as_str() {
        "E1" => (About::Set(query("name").unwrap_or_default()), Str::default()),
        "E3" => (About::Set(text(request, "name")), Str::default()),
        "E4" => {
            let group = request["runnerGroupId"].as_i64().map_or(String::new(), |g| format!(" group {g}"));
            let name = request["name"].as_str().map_or(String::new(), |n| format!(" name {n}"));
            (set(), format!("{name}{group}").trim().into())
        }
        "E10" => {
            let last = match value["lastMessageId"].as_i64() {
                Some(last) => format_smolstr!("{last}"),
                None => query("lastMessageId").unwrap_or_else(|| "0".into()),
            };
            let capacity = value["capacity"].as_i64().map_or_else(|| "none".into(), |c| c.to_string());
            // A poll that was refused, or answered by a fault, was written down without its headers.
            let refused = value["status"].as_u64().is_some_and(|s| s >= 400) || value.get("lastMessageId").is_none();
            let said = if refused { String::new() } else { format!(" capacity {capacity}") };
            (set(), format_smolstr!("after {last}{said}"))
        }
        "E11" => {
            let message = number_after("/messages/").or_else(|| number_after("/message/"));
            (set(), message.map_or(Str::default(), |m| format_smolstr!("message {m}")))
        }
        "E12" => {
            let ids = request.as_array().map_or_else(|| "null".into(), |ids| ids.len().to_string());
            (set(), format_smolstr!("{ids} offers"))
        }
        "E14" => (About::Runner(text(request, "name")), Str::default()),
        "E16" => (About::Runner(query("agentName").unwrap_or_default()), Str::default()),
        "E15" | "E17" => (number_after("/agents/").map_or(About::Nothing, About::RunnerId), Str::default()),
        "E6" => (About::Nothing, query("groupName").unwrap_or_default()),
        _ => (set(), Str::default()),
    };
    Some(ServiceCall { op, status: value["status"].as_u64().unwrap_or(0) as u16, about, detail })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_is_not_told_to_have_changed_what_another_changed() {
        // Whether the last of these writes (request, change) changed anything.
        let last = |writes: &[(&str, &str)]| {
            let line = |(request, changed): &(&str, &str)| {
                format!(
                    "{{\"t\":1.0,\"actor\":\"listener\",\"verb\":\"patch\",\"resource\":\"ephemeralrunnersets\",\"name\":\"r\",\
                     \"ns\":\"a\",\"code\":200,\"request\":{request},\"changed\":{changed}}}\n"
                )
            };
            let text: String = writes.iter().map(line).collect();
            let read = read("r.jsonl", &text).unwrap_or_else(|r| panic!("{}", r.render(false)));
            match &read.events[writes.len() - 1].what {
                What::Kube(call) => call.changed,
                other => panic!("{other:?}"),
            }
        };
        let spec = r#"{"spec":{"patchID":3,"replicas":null}}"#;
        assert!(last(&[(spec, r#""as requested""#)]));
        assert!(last(&[(spec, r#"{"metadata":{"generation":2},"spec":{"replicas":null}}"#)]));
        assert!(!last(&[(spec, "{}")]));
        // Another write's work.
        assert!(!last(&[(spec, r#"{"status":null}"#)]));
        assert!(!last(&[(spec, r#"{"metadata":{"finalizers":["x"]}}"#)]));
        // A definition without the field prunes it, and leaves an empty status.
        assert!(last(&[(r#"{"status":{"phase":"Pending"}}"#, r#"{"status":{}}"#)]));
        // Told in the wrong order: the other one is said to have changed both.
        let status = r#"{"status":{"currentReplicas":1}}"#;
        let both = r#"{"spec":{"patchID":3},"status":{"currentReplicas":1}}"#;
        assert!(last(&[(status, both), (spec, r#"{"status":{"currentReplicas":2}}"#)]));
        assert!(!last(&[(status, status), (spec, r#"{"status":{"currentReplicas":2}}"#)]));
    }
}
