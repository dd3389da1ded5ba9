//! Reads audit logs of API servers (`audit.k8s.io/v1`, one event per line), with a journal of the Actions service beside it if
//! somebody kept one. Never guesses: an event without what a comparison needs is an error with its line.
//!
//! Who is who goes by the user: the manager's and the listener's service accounts have the names that the charts give them,
//! other accounts of the cluster are its own controllers, and everybody else is a person.

use std::collections::BTreeMap;

use arc_api::meta::Key;
use arc_api::{Duration, Kind, Str, Time};
use serde_json::Value;

use super::event::{Event, KubeCall, What, Who};
use super::lines::{self, Refusal};
use super::names::Suffixes;
use super::project::open_secret;
use super::recording::{self, Recording};
use crate::scenario::{Problem, Rejected};

const WHAT: &str = "an audit log is JSON, one event per line, as `--audit-log-format=json` writes it";

/// Whether a text looks like an audit log.
pub fn is_audit(text: &str) -> bool {
    let first = text.lines().find(|l| !l.trim().is_empty()).unwrap_or_default();
    first.contains("audit.k8s.io/")
}

/// Reads an audit log; `journal` is a file of service calls and process events, in the form of recordings, with times of the same
/// clock (RFC 3339).
///
/// # Errors
/// The first lines that cannot be read, with their places.
pub fn read(file: &str, text: &str, journal: Option<(&str, &str)>) -> Result<Recording, Rejected> {
    let mut reader = Reader::default();
    let mut problems = lines::each(text, |body, line| reader.line(body, line));
    if problems.is_empty() && reader.events.is_empty() {
        problems.push(
            Problem::new(0..0, "no call of manager, listener or people in this audit log")
                .hint("does its policy log the writes of the namespaces in question? The README has one that does"),
        );
    }
    if !problems.is_empty() {
        return Err(Rejected::new(file, text, problems));
    }
    let begin = reader.events.iter().map(|(t, _)| *t).min().unwrap_or_default();
    let mut events: Vec<(i64, Event)> = reader.events;
    let with_journal = journal.is_some();
    if let Some((file, text)) = journal {
        events.extend(journal_events(file, text, &reader.names)?);
    }
    // Lines stand in the order of completion, of several servers perhaps; what is of one instant keeps its order.
    events.sort_by_key(|(t, _)| *t);
    let events: Vec<Event> = events
        .into_iter()
        .filter(|(t, _)| *t >= begin)
        .map(|(t, event)| Event { at: since(begin, t), ..event })
        .collect();
    let ends_at = events.last().map_or(Time::ZERO, |e| e.at);
    Ok(Recording {
        file: file.to_owned(),
        events,
        commands: Vec::new(),
        sources: Vec::new(),
        ends_at,
        journal: with_journal,
        left: None,
    })
}

fn since(begin: i64, t: i64) -> Time {
    Time::ZERO.after(Duration::from_micros((t - begin).max(0) as u64))
}

/// The lines of a journal: those of a recording, with absolute times.
fn journal_events(file: &str, text: &str, names: &Suffixes) -> Result<Vec<(i64, Event)>, Rejected> {
    let mut relative = String::with_capacity(text.len());
    let (mut times, mut problems, mut offset) = (Vec::new(), Vec::new(), 0);
    for line in text.split_inclusive('\n') {
        let at = offset;
        offset += line.len();
        if line.trim().is_empty() {
            relative.push('\n');
            times.push(0);
            continue;
        }
        let parsed: Result<Value, _> = serde_json::from_str(line.trim_end());
        let time = parsed.as_ref().ok().and_then(|v| micros(v["t"].as_str()?));
        let (Ok(mut value), Some(time)) = (parsed, time) else {
            let said = "no event of a journal: JSON with `t` as RFC 3339";
            problems.push(Problem::new(at..at + line.trim_end().len(), said).hint("is the file cut off?"));
            if problems.len() == 10 {
                break;
            }
            continue;
        };
        names.rename_all(&mut value);
        value["t"] = 0.into();
        times.push(time);
        relative.push_str(&value.to_string());
        relative.push('\n');
    }
    if !problems.is_empty() {
        return Err(Rejected::new(file, text, problems));
    }
    let read = recording::read(file, &relative)?;
    let time = |e: &Event| times.get(e.line as usize - 1).copied().unwrap_or_default();
    Ok(read.events.into_iter().map(|e| (time(&e), e)).collect())
}

fn micros(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_microsecond)
}

#[derive(Default)]
struct Reader {
    events: Vec<(i64, Event)>,
    names: Suffixes,
    /// The resource version that an object was last seen with: a write that leaves it as it is changed nothing.
    versions: BTreeMap<(Kind, Key), String>,
}

impl Reader {
    fn line(&mut self, text: &str, line: u32) -> Result<(), Refusal> {
        let value = lines::json(text)?;
        let version = value["apiVersion"].as_str().unwrap_or_default();
        if value["kind"] != "Event" || version != "audit.k8s.io/v1" {
            let kind = value["kind"].as_str().unwrap_or("no kind");
            return Err((0, format!("{kind} of `{version}` where an Event of audit.k8s.io/v1 was expected"), WHAT));
        }
        // Panics and the stages before the answer say nothing about what came of a call.
        if value["stage"] != "ResponseComplete" {
            return Ok(());
        }
        let missing = |key: &str| (0, format!("no `{key}` in this event"), WHAT);
        let stamp = value["stageTimestamp"].as_str().or(value["requestReceivedTimestamp"].as_str());
        let at = stamp.and_then(micros).ok_or_else(|| missing("stageTimestamp"))?;
        let user = value["user"]["username"].as_str().ok_or_else(|| missing("user.username"))?;
        let verb = value["verb"].as_str().ok_or_else(|| missing("verb"))?;
        let Some(resource) = value["objectRef"]["resource"].as_str() else { return Ok(()) };
        if !matches!(verb, "create" | "update" | "patch" | "delete" | "deletecollection") {
            return Ok(());
        }
        let code = value["responseStatus"]["code"].as_u64().ok_or_else(|| missing("responseStatus.code"))?;
        let asked = &value["requestObject"];
        let answer = &value["responseObject"];
        let answered = answer["metadata"]["name"].as_str().filter(|_| code < 300);
        let name = value["objectRef"]["name"].as_str().or(answered).unwrap_or_default();
        if let Some(base) = asked["metadata"]["generateName"].as_str().filter(|_| verb == "create" && code < 300) {
            self.names.learn(base, name);
        }
        let who = match who(user) {
            Some(who) => who,
            None if is_person(user) => {
                self.events.push((at, Event { at: Time::ZERO, line, who: Who::Other, what: What::Acted }));
                return Ok(());
            }
            None => Who::Other,
        };
        let Some(kind) = Kind::from_plural(resource) else { return Ok(()) };
        let key = Key::new(value["objectRef"]["namespace"].as_str().unwrap_or_default(), name);
        let changed = self.changed(kind, &key, verb, code, answer);
        if who == Who::Other {
            return Ok(());
        }
        let mut body = asked.clone();
        if kind == Kind::Secret {
            open_secret(&mut body);
        }
        self.names.rename_all(&mut body);
        let reason = value["responseStatus"]["reason"].as_str().filter(|_| code >= 300).unwrap_or_default();
        let what = What::Kube(KubeCall {
            verb: verb.into(),
            kind,
            sub: value["objectRef"]["subresource"].as_str().unwrap_or_default().into(),
            key: Key::new(key.namespace.clone(), self.names.rename(&key.name)),
            code: code as u16,
            reason: reason.into(),
            told: verb == "delete" || !asked.is_null(),
            heard: true,
            body,
            changed,
        });
        self.events.push((at, Event { at: Time::ZERO, line, who, what }));
        Ok(())
    }

    /// Whether a write changed the store, by the version that it was answered with.
    fn changed(&mut self, kind: Kind, key: &Key, verb: &str, code: u64, answer: &Value) -> bool {
        if code >= 300 {
            return false;
        }
        let version = answer["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        if verb.starts_with("delete") || version.is_empty() {
            return true;
        }
        let before = self.versions.insert((kind, key.clone()), version.to_owned());
        before.is_none_or(|old| old != version)
    }
}

/// Manager or listener, by the name of a service account.
fn who(user: &str) -> Option<Who> {
    let account: Str = user.strip_prefix("system:serviceaccount:")?.split_once(':')?.1.into();
    match () {
        () if account.ends_with("gha-rs-controller") => Some(Who::Manager),
        () if account.ends_with("-listener") => Some(Who::Listener),
        () => None,
    }
}

fn is_person(user: &str) -> bool {
    !user.starts_with("system:") || user == "system:admin"
}

#[cfg(test)]
#[path = "audit_tests.rs"]
mod tests;
