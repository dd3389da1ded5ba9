//! How plans name things: globs, actors, scale sets, releases, API failures. Never looks anything up in a world.

use std::fmt;
use std::str::FromStr;

use arc_api::Str;
use controller_core::Release;

use super::values::{Dur, NotA};

/// A name in which `*` stands for any text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Glob(pub Str);

impl Glob {
    /// Whether `name` fits.
    pub fn matches(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
        let mut last = None;
        for part in parts {
            if let Some(middle) = last.replace(part) {
                match rest.find(middle) {
                    Some(at) => rest = &rest[at + middle.len()..],
                    None => return false,
                }
            }
        }
        last.map_or(rest.is_empty(), |suffix| rest.ends_with(suffix))
    }
    /// Whether it has no `*`, so that it names one thing.
    pub fn is_exact(&self) -> bool {
        !self.0.contains('*')
    }
}

impl Default for Glob {
    fn default() -> Glob {
        Glob(Str::new_static("*"))
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Glob {
    type Err = NotA;
    fn from_str(text: &str) -> Result<Glob, NotA> {
        if text.is_empty() { Err(NotA("a name or pattern")) } else { Ok(Glob(text.into())) }
    }
}

macro_rules! roles {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal;)*) => {
        /// What kind of component an actor is.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Role { $($(#[doc = $doc])* $name),* }
        impl Role {
            /// All of them with their names and what they are.
            pub const ALL: &'static [(Role, &'static str, &'static str)] =
                &[$((Role::$name, $text, concat!($($doc),*))),*];
            /// The name scenario files use.
            pub const fn as_str(self) -> &'static str { match self { $(Role::$name => $text),* } }
        }
    };
}

roles! {
    /// A controller manager process: `controller/NAME` is one installation, `controller/NAME/1` its second replica.
    Controller = "controller";
    /// A listener process, by its scale set.
    Listener = "listener";
    /// A runner process, by its pod.
    Runner = "runner";
    /// A docker daemon beside a runner, by its pod.
    Dind = "dind";
    /// A container hook in a runner, by its pod.
    Hook = "hook";
    /// A workflow pod that a hook made.
    Workflow = "workflow";
    /// The kubelet of a node, by the node.
    Kubelet = "kubelet";
    /// The scheduler.
    Scheduler = "scheduler";
    /// The loops of Kubernetes' own controller manager (garbage collection, namespaces, quota, node life cycle).
    KubeControllers = "kube_controllers";
    /// The API server.
    KubeApi = "kube_api";
    /// The Actions service.
    Github = "github";
    /// The egress proxy.
    Proxy = "proxy";
    /// The person or pipeline that runs helm and kubectl.
    Operator = "operator";
}

impl FromStr for Role {
    type Err = NotA;
    fn from_str(text: &str) -> Result<Role, NotA> {
        let found = Role::ALL.iter().find(|(_, name, _)| *name == text);
        found
            .map(|(role, ..)| *role)
            .ok_or(NotA("a component (controller, listener, runner, kubelet, kube_api, github, …)"))
    }
}

/// A component, or all components of a role.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Actor {
    /// Its role.
    pub role: Role,
    /// Which; absent is every one.
    pub name: Option<Glob>,
}

impl Actor {
    /// Every component of a role.
    pub const fn all(role: Role) -> Actor {
        Actor { role, name: None }
    }
    /// Whether a component is meant.
    pub fn matches(&self, role: Role, name: &str) -> bool {
        self.role == role && self.name.as_ref().is_none_or(|glob| glob.matches(name))
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            None => f.write_str(self.role.as_str()),
            Some(name) => write!(f, "{}/{name}", self.role.as_str()),
        }
    }
}

impl FromStr for Actor {
    type Err = NotA;
    fn from_str(text: &str) -> Result<Actor, NotA> {
        match text.split_once('/') {
            None => Ok(Actor { role: text.parse()?, name: None }),
            Some((role, name)) => Ok(Actor { role: role.parse()?, name: Some(name.parse()?) }),
        }
    }
}

/// A scale set; in a compiled plan the cluster is always stated.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SetRef {
    /// Cluster, if stated.
    pub cluster: Option<Str>,
    /// Name within the cluster (what Helm calls the release).
    pub name: Str,
}

impl SetRef {
    /// Whether the scale set `name` of `cluster` is meant.
    pub fn matches(&self, cluster: &str, name: &str) -> bool {
        self.name == name && self.cluster.as_ref().is_none_or(|c| c == cluster)
    }
}

impl fmt::Display for SetRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(cluster) = &self.cluster {
            write!(f, "{cluster}/")?;
        }
        f.write_str(&self.name)
    }
}

impl FromStr for SetRef {
    type Err = NotA;
    fn from_str(text: &str) -> Result<SetRef, NotA> {
        let (cluster, name) = text.split_once('/').map_or((None, text), |(c, n)| (Some(c), n));
        if name.is_empty() || name.contains('/') || cluster == Some("") {
            return Err(NotA("the name of a scale set, or cluster/name"));
        }
        Ok(SetRef { cluster: cluster.map(Str::from), name: name.into() })
    }
}

/// A release, stated or relative to the run's. Compiled plans hold only stated ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum ReleaseRef {
    /// The release that the run is for.
    #[default]
    Run,
    /// The tag before the run's release; the oldest has itself, `next` has the newest tag.
    Previous,
    /// This one.
    Exact(Release),
}

impl ReleaseRef {
    /// What it means in a run for `run`.
    pub fn resolve(self, run: Release) -> Release {
        match self {
            ReleaseRef::Run => run,
            ReleaseRef::Exact(release) => release,
            ReleaseRef::Previous => Release::ALL.iter().rev().copied().find(|r| *r < run).unwrap_or(run),
        }
    }
    /// The release of a compiled plan.
    ///
    /// # Panics
    /// On a relative one: plans are resolved before they reach an engine.
    pub fn exact(self) -> Release {
        match self {
            ReleaseRef::Exact(release) => release,
            ReleaseRef::Run | ReleaseRef::Previous => panic!("a plan states its releases"),
        }
    }
}

impl fmt::Display for ReleaseRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ReleaseRef::Run => "run",
            ReleaseRef::Previous => "previous",
            ReleaseRef::Exact(release) => release.as_str(),
        })
    }
}

impl FromStr for ReleaseRef {
    type Err = NotA;
    fn from_str(text: &str) -> Result<ReleaseRef, NotA> {
        match text {
            "run" => Ok(ReleaseRef::Run),
            "previous" => Ok(ReleaseRef::Previous),
            _ => text.parse().map(ReleaseRef::Exact).map_err(|_| NotA("a release of the scale-set mode")),
        }
    }
}

/// How the API server fails a request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ApiStatus {
    /// An HTTP status with the reason that belongs to it.
    Http(u16),
    /// No answer within the client's limit; the request may have been carried out.
    Timeout,
    /// 409, reason Conflict.
    Conflict,
    /// 409, reason AlreadyExists.
    AlreadyExists,
}

impl fmt::Display for ApiStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ApiStatus::Http(status) => write!(f, "{status}"),
            ApiStatus::Timeout => f.write_str("timeout"),
            ApiStatus::Conflict => f.write_str("conflict"),
            ApiStatus::AlreadyExists => f.write_str("already_exists"),
        }
    }
}

impl FromStr for ApiStatus {
    type Err = NotA;
    fn from_str(text: &str) -> Result<ApiStatus, NotA> {
        match text {
            "timeout" => Ok(ApiStatus::Timeout),
            "conflict" => Ok(ApiStatus::Conflict),
            "already_exists" => Ok(ApiStatus::AlreadyExists),
            "401" | "403" | "404" | "410" | "422" | "429" | "500" | "502" | "503" | "504" => {
                text.parse().map(ApiStatus::Http).map_err(|_| NotA("a status"))
            }
            _ => Err(NotA("500, 503, 429, 410, 404, timeout, conflict or already_exists")),
        }
    }
}

/// What replaces a time that the chart states.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Wait {
    /// What the chart says.
    #[default]
    Chart,
    /// The variable is absent.
    Unset,
    /// So long.
    For(Dur),
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wait::Chart => f.write_str("chart"),
            Wait::Unset => f.write_str("unset"),
            Wait::For(d) => d.fmt(f),
        }
    }
}

impl FromStr for Wait {
    type Err = NotA;
    fn from_str(text: &str) -> Result<Wait, NotA> {
        match text {
            "chart" => Ok(Wait::Chart),
            "unset" => Ok(Wait::Unset),
            _ => text.parse().map(Wait::For).map_err(|_| NotA("chart, unset or a duration")),
        }
    }
}
