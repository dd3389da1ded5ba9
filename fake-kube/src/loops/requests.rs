//! What a pod asks of a node: pods, cpu, memory. Never reads the cluster.
//!
//! Source: kubernetes-api.md §4.4 (effective request).

use arc_api::core::Node;
use arc_api::pod::{Container, PodSpec};

use crate::kubelet::container::init_kind;
use crate::kubelet::effects::ContainerKind;
use crate::quantity::Quantity;

fn milli(text: &str) -> Option<u64> {
    Some(Quantity::parse(text)?.millis().max(0) as u64)
}
fn units(text: &str) -> Option<u64> {
    Some(Quantity::parse(text)?.value().max(0) as u64)
}

/// An amount of the three resources that decide where a pod fits.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Requests {
    /// Pods.
    pub pods: u64,
    /// Thousandths of a core.
    pub cpu: u64,
    /// Bytes.
    pub memory: u64,
}

impl Requests {
    /// The effective request of a pod: the larger of its main containers plus sidecars, and of each init container plus the
    /// sidecars started before it.
    pub fn of(spec: &PodSpec, minor: u32) -> Requests {
        let mut sidecars = Requests::default();
        let mut peak = Requests::default();
        for c in &spec.init_containers {
            let own = Requests::container(c);
            if init_kind(c, minor) == ContainerKind::Sidecar {
                sidecars = sidecars.plus(own);
                peak = peak.max(sidecars);
            } else {
                peak = peak.max(sidecars.plus(own));
            }
        }
        let main = spec.containers.iter().fold(sidecars, |sum, c| sum.plus(Requests::container(c)));
        Requests { pods: 1, ..peak.max(main) }
    }
    /// One container: its request, else its limit (the server defaults it so).
    fn container(c: &Container) -> Requests {
        let amount = |name: &str| c.resources.requests.get(name).or_else(|| c.resources.limits.get(name));
        Requests {
            pods: 0,
            cpu: amount("cpu").and_then(|q| milli(q)).unwrap_or(0),
            memory: amount("memory").and_then(|q| units(q)).unwrap_or(0),
        }
    }
    /// What a node has. A resource it does not state is unlimited.
    pub fn allocatable(node: &Node) -> Requests {
        let amount = |name: &str, read: fn(&str) -> Option<u64>| {
            node.allocatable.get(name).and_then(|q| read(q)).unwrap_or(u64::MAX)
        };
        Requests { pods: amount("pods", units), cpu: amount("cpu", milli), memory: amount("memory", units) }
    }
    /// Both together.
    pub fn plus(self, other: Requests) -> Requests {
        Requests {
            pods: self.pods.saturating_add(other.pods),
            cpu: self.cpu.saturating_add(other.cpu),
            memory: self.memory.saturating_add(other.memory),
        }
    }
    /// This without `other`.
    pub fn minus(self, other: Requests) -> Requests {
        Requests {
            pods: self.pods.saturating_sub(other.pods),
            cpu: self.cpu.saturating_sub(other.cpu),
            memory: self.memory.saturating_sub(other.memory),
        }
    }
    fn max(self, other: Requests) -> Requests {
        Requests {
            pods: self.pods.max(other.pods),
            cpu: self.cpu.max(other.cpu),
            memory: self.memory.max(other.memory),
        }
    }
    /// The resources of which there is not enough when `used` of `total` is taken: name, used, total, wanted.
    pub fn missing(self, used: Requests, total: Requests) -> impl Iterator<Item = (&'static str, u64, u64, u64)> {
        [
            ("pods", used.pods, total.pods, self.pods),
            ("cpu", used.cpu, total.cpu, self.cpu),
            ("memory", used.memory, total.memory, self.memory),
        ]
        .into_iter()
        // A pod that asks for nothing fits whatever is used.
        .filter(|(_, used, total, wanted)| *wanted > 0 && used.saturating_add(*wanted) > *total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arc_api::pod::Resources;

    fn container(cpu: &str, sidecar: bool) -> Container {
        Container {
            resources: Resources { requests: [("cpu".into(), cpu.into())].into(), ..Resources::default() },
            restart_policy: sidecar.then(|| "Always".into()),
            ..Container::default()
        }
    }

    #[test]
    fn init_containers_count_with_the_sidecars_before_them() {
        let spec = PodSpec {
            init_containers: vec![container("1", true), container("3", false), container("500m", true)],
            containers: vec![container("2", false)],
            ..PodSpec::default()
        };
        // 1 + 3 while initialising, 1.5 + 2 while running.
        assert_eq!(Requests::of(&spec, 34).cpu, 4_000);
        // Without native sidecars each is an ordinary one: the largest alone, against the main container alone.
        assert_eq!(Requests::of(&spec, 28).cpu, 3_000);
    }
}
