//! What is left at the end: the objects that still exist, with what holds those that are going, what they say of themselves, and what
//! the service still knows. Never looks at how it came about: histories do.
//!
//! A recording's side is what its writes come to, those of Helm, people, kubelets and the cluster's own controllers included; where
//! the recordings list the objects at their end, the two agree. The simulator's side is its stores.

use std::collections::{BTreeMap, BTreeSet};

use arc_api::meta::Key;
use arc_api::{Kind, Object, Str, Time, Uid, format_smolstr};
use fake_github::event::ServiceEvent;
use serde_json::Value;

use super::history::{Histories, Subject};
use super::names::Suffixes;
use super::normal::role;
use crate::trace::{self, Trace};

/// Kinds that are compared: what ARC and its charts make.
const KINDS: [Kind; 9] = [
    Kind::AutoscalingRunnerSet,
    Kind::AutoscalingListener,
    Kind::EphemeralRunnerSet,
    Kind::EphemeralRunner,
    Kind::Pod,
    Kind::Secret,
    Kind::ServiceAccount,
    Kind::Role,
    Kind::RoleBinding,
];

/// What cannot be compared: a name, and why it hides nothing.
pub const RULES: [(&str, &str); 6] = [
    (
        "deployments",
        "The manager's pods are a Deployment's, whose traffic recordings leave out; its processes are compared.",
    ),
    ("helms-records", "Helm keeps its releases in secrets that recordings leave out."),
    ("default-accounts", "Every namespace has a ServiceAccount `default`, whose creation recordings leave out."),
    ("probes", "Pods called `probe`, which the laboratory made to ask the API server something."),
    (
        "garbage",
        "Objects of the simulator whose owners are gone and that the recording has no more: when the collector comes is drawn \
         within the half minute that it takes.",
    ),
    ("definitions", "Objects of kinds whose definitions people deleted: the API server removes them without a line."),
];

/// Something that is left.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Item {
    /// Kind, or `runner`, `session`, `scale set` of the service.
    pub what: Str,
    /// Namespace of an object.
    pub namespace: Str,
    /// Name with its generated parts.
    pub name: Str,
    /// It is marked for deletion.
    pub going: bool,
    /// What holds it.
    pub finalizers: Vec<Str>,
    /// Its owners are gone: the garbage collector's, sooner or later. Only the simulator's side tells.
    pub garbage: bool,
}

impl Item {
    fn of_service(what: &str, name: &Str) -> Item {
        Item {
            what: what.into(),
            namespace: Str::default(),
            name: name.clone(),
            going: false,
            finalizers: Vec::new(),
            garbage: false,
        }
    }
    /// As compact recordings keep it.
    pub fn to_json(&self) -> Value {
        serde_json::json!([self.what, self.namespace, self.name, self.going, self.finalizers])
    }
    /// Read back; `None` if it is none.
    pub fn from_json(value: &Value) -> Option<Item> {
        let text = |n: usize| value[n].as_str().map(Str::from);
        let finalizers = value[4].as_array()?.iter().filter_map(Value::as_str).map(Str::from).collect();
        Some(Item {
            what: text(0)?,
            namespace: text(1)?,
            name: text(2)?,
            going: value[3].as_bool()?,
            finalizers,
            garbage: false,
        })
    }
}

/// What a recording's lines leave, line by line.
#[derive(Debug, Default)]
pub struct Ledger {
    objects: BTreeMap<(Kind, Key), (bool, Vec<Str>)>,
    runners: BTreeMap<i64, Str>,
    sets: BTreeMap<i64, Str>,
    sessions: BTreeMap<Str, Str>,
}

impl Ledger {
    /// Takes a line of a recording.
    pub fn line(&mut self, line: &Value) {
        let text = |key: &str| Str::from(line[key].as_str().unwrap_or_default());
        if line["actor"] == "service" {
            match line["event"].as_str() {
                Some("runner-registered") => drop(self.runners.insert(number(&line["runnerId"]), text("runner"))),
                Some("runner-removed") => drop(self.runners.remove(&number(&line["runnerId"]))),
                Some("scaleset-created") => drop(self.sets.insert(number(&line["id"]), text("scaleSet"))),
                Some("scaleset-deleted") => drop(self.sets.remove(&number(&line["id"]))),
                Some("session-created") => drop(self.sessions.insert(text("sessionId"), text("scaleSet"))),
                Some("session-deleted" | "session-expired" | "session-scaleset-deleted") => {
                    self.sessions.remove(&text("sessionId"));
                }
                _ => {}
            }
            return;
        }
        if let Some(definition) = line["mark"].as_str().and_then(|m| m.strip_prefix("kubectl delete crd ")) {
            self.objects.retain(|(kind, _), _| kind.plural() != definition.trim());
        }
        let refused = line["code"].as_i64().is_some_and(|code| !(200..300).contains(&code));
        let Some(kind) = line["resource"].as_str().and_then(Kind::from_plural).filter(|k| KINDS.contains(k)) else {
            return;
        };
        let of_itself = line["subresource"].as_str().is_none_or(str::is_empty);
        if refused || !of_itself {
            return;
        }
        let key = Key::new(text("ns"), text("name"));
        let finalizers = finalizers(&line["request"]["metadata"]["finalizers"]);
        match line["verb"].as_str() {
            Some("create") => drop(self.objects.insert((kind, key), (false, finalizers))),
            Some("patch" | "update") if line["request"]["metadata"].get("finalizers").is_some() => {
                // The DELETE may have been answered to nobody: its caller was killed.
                let deleting = line["changed"]["metadata"].get("deletionGracePeriodSeconds").is_some();
                if let Some((going, held)) = self.objects.get_mut(&(kind, key.clone())) {
                    *held = finalizers;
                    if (*going || deleting) && held.is_empty() && kind != Kind::Pod {
                        self.objects.remove(&(kind, key));
                    }
                }
            }
            Some("delete") => {
                let grace =
                    |v: &Value| v["gracePeriodSeconds"] == 0 || v["metadata"]["deletionGracePeriodSeconds"] == 0;
                // A deletion that changed nothing that is still there: not even a finalizer that came meanwhile held it.
                let at_once = line.get("changed").is_none() || kind == Kind::Pod && grace(&line["changed"]);
                self.delete(kind, key, at_once || kind == Kind::Pod && grace(&line["request"]));
            }
            Some("deletecollection") => {
                let of = |(k, at): &&(Kind, Key)| *k == kind && at.namespace == key.namespace;
                let all: Vec<Key> = self.objects.keys().filter(of).map(|(_, at)| at.clone()).collect();
                all.into_iter().for_each(|at| self.delete(kind, at, false));
            }
            _ => {}
        }
    }

    /// A pod waits for its kubelet unless it is told not to, anything else for its finalizers.
    fn delete(&mut self, kind: Kind, key: Key, at_once: bool) {
        if let Some((going, held)) = self.objects.get_mut(&(kind, key.clone())) {
            *going = true;
            if at_once || kind != Kind::Pod && held.is_empty() {
                self.objects.remove(&(kind, key));
            }
        }
    }

    /// What is left.
    pub fn left(self) -> Vec<Item> {
        let object = |((kind, key), (going, finalizers)): ((Kind, Key), (bool, Vec<Str>))| Item {
            what: kind.as_str().into(),
            namespace: key.namespace,
            name: key.name,
            going,
            finalizers,
            garbage: false,
        };
        let service = [("runner", self.runners.into_values().collect::<Vec<_>>())];
        let service = service.into_iter().chain([
            ("scale set", self.sets.into_values().collect()),
            ("session", self.sessions.into_values().collect()),
        ]);
        let service =
            service.flat_map(|(what, names)| names.into_iter().map(move |name| Item::of_service(what, &name)));
        self.objects.into_iter().map(object).chain(service).filter(|item| !is_folded(item)).collect()
    }
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_default()
}

fn finalizers(value: &Value) -> Vec<Str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(Str::from).collect()
}

fn is_folded(item: &Item) -> bool {
    item.what == "Secret" && item.name.starts_with("sh.helm.release.")
        || item.what == "Pod" && item.name == "probe"
        || item.what == "ServiceAccount" && item.name == "default"
}

/// What a simulated run leaves at a time.
pub fn of_trace(trace: &Trace, until: Time) -> Vec<Item> {
    let mut suffixes = Suffixes::default();
    let mut objects: BTreeMap<(Kind, Key), Item> = BTreeMap::new();
    let mut service: BTreeMap<(&str, i64), Str> = BTreeMap::new();
    let mut sets: BTreeMap<i64, Str> = BTreeMap::new();
    let mut owners: BTreeMap<(Kind, Key), (Uid, Vec<Uid>)> = BTreeMap::new();
    for event in trace.events().iter().filter(|e| e.at <= until) {
        match &event.what {
            trace::What::Kube { key, request, refused: None, .. } => {
                if let arc_api::kube::KubeRequest::Create(object) = &**request
                    && let Some(base) = &object.meta().generate_name
                {
                    suffixes.learn(base, &key.name);
                }
            }
            trace::What::Commit { verb, object, .. } if KINDS.contains(&object.kind()) => {
                let meta = object.meta();
                let key = (object.kind(), meta.key());
                if *verb == arc_api::kube::WatchType::Deleted || is_managers(object) {
                    objects.remove(&key);
                    owners.remove(&key);
                } else {
                    let owned = meta.owner_references.iter().map(|o| o.uid).collect();
                    owners.insert(key.clone(), (meta.uid, owned));
                    let finalizers = meta.finalizers.iter().cloned().collect();
                    let (namespace, name) = (meta.namespace.clone(), meta.name.clone());
                    let what = object.kind().as_str().into();
                    let going = meta.is_deleting();
                    objects.insert(key, Item { what, namespace, name, going, finalizers, garbage: false });
                }
            }
            trace::What::ServiceEvent(said) => match &**said {
                ServiceEvent::RunnerRegistered { runner, name, .. } => {
                    service.insert(("runner", runner.0), name.clone());
                }
                ServiceEvent::RunnerRemoved { runner, .. } => drop(service.remove(&("runner", runner.0))),
                ServiceEvent::ScaleSetCreated { scale_set, name } => {
                    sets.insert(scale_set.0, name.clone());
                    service.insert(("scale set", scale_set.0), name.clone());
                }
                ServiceEvent::ScaleSetDeleted { scale_set, .. } => drop(service.remove(&("scale set", scale_set.0))),
                ServiceEvent::SessionCreated { scale_set, session, .. } => {
                    let set = sets.get(&scale_set.0).cloned().unwrap_or_default();
                    service.insert(("session", session.0 as i64), set);
                }
                ServiceEvent::SessionEnded { session, .. } => drop(service.remove(&("session", session.0 as i64))),
                _ => {}
            },
            _ => {}
        }
    }
    let live: BTreeSet<Uid> = owners.values().map(|(uid, _)| *uid).collect();
    for (key, item) in &mut objects {
        let owned = owners.get(key).map_or(&[] as &[Uid], |(_, owned)| owned);
        item.garbage = !owned.is_empty() && !owned.iter().any(|uid| live.contains(uid));
    }
    let named = |item: Item| Item { name: suffixes.rename(&item.name), ..item };
    let service = service.into_iter().map(|((what, _), name)| Item::of_service(what, &name));
    objects.into_values().chain(service).map(named).filter(|item| !is_folded(item)).collect()
}

fn is_managers(object: &Object) -> bool {
    matches!(object, Object::Pod(pod) if pod.spec.containers.iter().any(|c| c.name == "manager"))
}

/// What two sides leave: how much, how much of it is the same, and the rest.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Compared {
    /// On the side that leaves more, of every sort.
    pub items: usize,
    /// The same on both.
    pub equal: usize,
    /// Only on the recording's side.
    pub recorded: Vec<String>,
    /// Only on the simulator's.
    pub simulated: Vec<String>,
}

/// Compares what is left, with the state in which the histories leave it; items of one role are a set.
pub fn compare(recorded: (&[Item], &Histories), simulated: (&[Item], &Histories)) -> Compared {
    let mut told: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for item in recorded.0 {
        told.entry(describe(item, recorded.1)).or_default().0 += 1;
    }
    for item in simulated.0 {
        let text = describe(item, simulated.1);
        if !item.garbage || told.get(&text).is_some_and(|(left, right)| left > right) {
            told.entry(text).or_default().1 += 1;
        }
    }
    let mut out = Compared::default();
    for (text, (left, right)) in told {
        out.equal += left.min(right);
        out.recorded.extend(std::iter::repeat_n(text.clone(), left.saturating_sub(right)));
        out.simulated.extend(std::iter::repeat_n(text, right.saturating_sub(left)));
    }
    out.items = out.equal + out.recorded.len().max(out.simulated.len());
    out
}

/// An item in one line, with names as roles.
fn describe(item: &Item, histories: &Histories) -> String {
    let at = if item.namespace.is_empty() { String::new() } else { format!("{}/", item.namespace) };
    let mut text = format!("{} {at}{}", item.what, role(&item.name));
    if item.going {
        text.push_str(" deleting");
    }
    let mut held: Vec<&str> = item.finalizers.iter().map(|f| f.rsplit('/').next().unwrap_or(f)).collect();
    held.sort_unstable();
    if !held.is_empty() {
        text.push_str(&format!(" held by {}", held.join(", ")));
    }
    for (path, value) in state(item, histories) {
        text.push_str(&format!(" {path}={value}"));
    }
    text
}

/// What ARC's own objects say at last: the values that the writes of their histories leave.
fn state(item: &Item, histories: &Histories) -> BTreeMap<Str, Str> {
    let own = histories.of.iter().filter(|(id, _)| {
        matches!(id.subject, Subject::Object(kind) if kind.as_str() == item.what)
            && id.name == item.name
            && id.namespace == item.namespace
    });
    let mut fields = BTreeMap::new();
    for step in own.flat_map(|(_, steps)| steps).filter(|s| s.is_ok()) {
        if step.verb == "create" {
            fields.clear();
        }
        for (path, value) in step.fields.iter().filter(|(path, _)| is_state(path)) {
            match value.as_str() {
                "null" | "0" | "false" | "" => drop(fields.remove(path.as_str())),
                _ => drop(fields.insert(format_smolstr!("{path}"), format_smolstr!("{value}"))),
            }
        }
    }
    fields
}

fn is_state(path: &str) -> bool {
    path.starts_with("status.") || matches!(path, "spec.replicas" | "spec.patchID")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ledger(lines: &[Value]) -> Vec<String> {
        let mut ledger = Ledger::default();
        lines.iter().for_each(|line| ledger.line(line));
        ledger.left().iter().map(|item| describe(item, &Histories::default())).collect()
    }

    fn line(verb: &str, resource: &str, name: &str, request: Value) -> Value {
        json!({ "t": 1, "actor": "manager", "verb": verb, "resource": resource, "ns": "n", "name": name, "code": 200, "request": request })
    }

    fn deleted(resource: &str, name: &str) -> Value {
        let changed = json!({ "metadata": { "deletionTimestamp": "T+1s", "deletionGracePeriodSeconds": 30 } });
        let mut line = line("delete", resource, name, json!({}));
        line["changed"] = changed;
        line
    }

    #[test]
    fn what_is_deleted_goes_with_its_last_finalizer_and_a_pod_with_its_kubelet() {
        let held = json!({ "metadata": { "finalizers": ["x/one", "x/two"] } });
        let one = json!({ "metadata": { "finalizers": ["x/one"] } });
        let none = json!({ "metadata": { "finalizers": null } });
        let made = [line("create", "ephemeralrunners", "r", held), deleted("ephemeralrunners", "r")];
        assert_eq!(ledger(&made), ["EphemeralRunner n/r deleting held by one, two"]);
        let less = [made[0].clone(), made[1].clone(), line("patch", "ephemeralrunners", "r", one)];
        assert_eq!(ledger(&less), ["EphemeralRunner n/r deleting held by one"]);
        let gone = [made[0].clone(), made[1].clone(), line("patch", "ephemeralrunners", "r", none)];
        assert_eq!(ledger(&gone), Vec::<String>::new());
        let pod = [line("create", "pods", "p", json!({})), deleted("pods", "p")];
        assert_eq!(ledger(&pod), ["Pod n/p deleting"]);
        let raced = [made[0].clone(), line("delete", "ephemeralrunners", "r", json!({}))];
        assert_eq!(ledger(&raced), Vec::<String>::new(), "the DELETE had read it before the finalizers came");
        let killed = [pod[0].clone(), pod[1].clone(), line("delete", "pods", "p", json!({ "gracePeriodSeconds": 0 }))];
        assert_eq!(ledger(&killed), Vec::<String>::new());
    }

    #[test]
    fn what_the_service_knows_and_what_nobody_can_compare() {
        let said = |event: &str, key: &str, value: Value, set: &str| json!({ "actor": "service", "event": event, key: value, set: "s" });
        let lines = [
            said("scaleset-created", "id", json!(1), "scaleSet"),
            said("session-created", "sessionId", json!("a"), "scaleSet"),
            said("session-created", "sessionId", json!("b"), "scaleSet"),
            said("session-expired", "sessionId", json!("a"), "scaleSet"),
            said("runner-registered", "runnerId", json!(7), "runner"),
            line("create", "secrets", "sh.helm.release.v1.s.v1", json!({})),
            line("create", "ephemeralrunnersets", "e", json!({})),
            json!({ "actor": "script", "mark": "kubectl delete crd ephemeralrunnersets" }),
        ];
        assert_eq!(ledger(&lines), ["runner s", "scale set s", "session s"]);
    }

    /// Nothing that one side leaves and the other does not passes unseen.
    #[test]
    fn a_planted_leftover_is_noticed() {
        let items = vec![Item::of_service("runner", &"s-<suffix-1>-runner-<suffix-2>".into())];
        let other = vec![Item::of_service("runner", &"s-<suffix-4>-runner-<suffix-9>".into())];
        let histories = Histories::default();
        let same = compare((&items, &histories), (&other, &histories));
        assert_eq!((same.items, same.equal), (1, 1), "{same:?}");
        let planted: Vec<Item> = other.iter().chain(&items).cloned().collect();
        let more = compare((&items, &histories), (&planted, &histories));
        assert_eq!((more.items, more.equal, more.simulated.len(), more.recorded.len()), (2, 1, 1, 0));
        let held = Item { finalizers: vec!["x/one".into()], going: true, ..items[0].clone() };
        let differs = compare((&items, &histories), (&[held], &histories));
        assert_eq!((differs.items, differs.equal), (1, 0));
        assert_eq!(Item::from_json(&planted[0].to_json()), Some(planted[0].clone()));
    }
}
