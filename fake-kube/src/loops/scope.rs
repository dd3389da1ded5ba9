//! Which pods a fault or hold is about. Never acts.

use arc_api::Str;
use arc_api::pod::Pod;

/// Pods by namespace, name prefix, label and node; everything left out matches all.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PodScope {
    /// Namespace.
    pub namespace: Option<Str>,
    /// The name begins with this.
    pub name_prefix: Str,
    /// Labels the pod carries.
    pub labels: Vec<(Str, Str)>,
    /// Labels the pod carries, whatever their value.
    pub label_keys: Vec<Str>,
    /// The node it is bound to.
    pub node: Option<Str>,
}

impl PodScope {
    /// Every pod.
    pub fn all() -> PodScope {
        PodScope::default()
    }
    /// Pods of one namespace.
    pub fn namespace(namespace: impl Into<Str>) -> PodScope {
        PodScope { namespace: Some(namespace.into()), ..PodScope::default() }
    }
    /// Pods whose name begins so.
    pub fn named(prefix: impl Into<Str>) -> PodScope {
        PodScope { name_prefix: prefix.into(), ..PodScope::default() }
    }
    /// Whether `pod` is meant.
    pub fn matches(&self, pod: &Pod) -> bool {
        let meta = &pod.metadata;
        self.namespace.as_ref().is_none_or(|n| *n == meta.namespace)
            && meta.name.starts_with(self.name_prefix.as_str())
            && self.node.as_ref().is_none_or(|n| pod.node_name.as_ref() == Some(n))
            && self.labels.iter().all(|(k, v)| meta.labels.get(k) == Some(v))
            && self.label_keys.iter().all(|k| meta.labels.contains_key(k))
    }
}

/// A stable draw in `0..bound` from a seed, a label and a number: the same question has the same answer in every run.
pub(crate) fn draw(seed: u64, label: &str, n: u64, bound: u64) -> u64 {
    // FNV-1a over the label, then SplitMix64's finisher.
    let mut z =
        label.bytes().fold(0xcbf2_9ce4_8422_2325 ^ seed, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    z = z.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) % bound.max(1)
}
