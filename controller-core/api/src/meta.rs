//! Object metadata, as far as the world acts on it.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::object::Kind;
use crate::{Str, Time, Uid};

/// Labels or annotations: shared, copied on write.
pub type Labels = Arc<BTreeMap<Str, Str>>;

/// Builds [`Labels`] from pairs.
pub fn labels<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Labels {
    Arc::new(pairs.into_iter().map(|(k, v)| (Str::from(k), Str::from(v))).collect())
}

/// `metadata` of an API object. Times have one-second resolution.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta {
    /// Empty until the server generated it.
    #[serde(skip_serializing_if = "Str::is_empty")]
    pub name: Str,
    /// Empty for cluster-scoped kinds.
    #[serde(skip_serializing_if = "Str::is_empty")]
    pub namespace: Str,
    /// Base of a server-generated name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generate_name: Option<Str>,
    /// Set by the server at creation.
    pub uid: Uid,
    /// The store's counter at the last write; 0 before the object was stored. A decimal string on the wire.
    #[serde(with = "resource_version")]
    pub resource_version: u64,
    /// Counts changes outside metadata and status (custom resources, pods from 1.33).
    #[serde(skip_serializing_if = "is_zero")]
    pub generation: i64,
    /// Whole seconds.
    pub creation_timestamp: Time,
    /// Set by the first DELETE that has to wait for finalizers or grace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_timestamp: Option<Time>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_grace_period_seconds: Option<i64>,
    /// Labels.
    #[serde(skip_serializing_if = "map_is_empty")]
    pub labels: Labels,
    /// Annotations.
    #[serde(skip_serializing_if = "map_is_empty")]
    pub annotations: Labels,
    /// The object stays until this list is empty.
    #[serde(skip_serializing_if = "list_is_empty")]
    pub finalizers: Arc<[Str]>,
    /// Owners; the garbage collector deletes the object when all of them are gone.
    #[serde(skip_serializing_if = "list_is_empty")]
    pub owner_references: Arc<[OwnerRef]>,
    /// What the wire object carried and no typed field holds: kept beside the object, merged back when it is rendered.
    #[serde(skip)]
    pub rest: Option<Arc<serde_json::Value>>,
}

fn is_zero(n: &i64) -> bool {
    *n == 0
}
fn map_is_empty(m: &Labels) -> bool {
    m.is_empty()
}
fn list_is_empty<T>(l: &Arc<[T]>) -> bool {
    l.is_empty()
}

mod resource_version {
    use serde::{Deserialize, Deserializer, Serializer};
    pub(super) fn serialize<S: Serializer>(rv: &u64, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(rv)
    }
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        text.parse().map_err(|_| serde::de::Error::custom(format!("`{text}` is not a resource version")))
    }
}

impl Meta {
    /// Metadata with a name in a namespace (empty for cluster-scoped kinds).
    pub fn named(namespace: impl Into<Str>, name: impl Into<Str>) -> Meta {
        Meta { name: name.into(), namespace: namespace.into(), ..Meta::default() }
    }
    /// `namespace/name`.
    pub fn key(&self) -> Key {
        Key { namespace: self.namespace.clone(), name: self.name.clone() }
    }
    /// True from the first DELETE on.
    pub fn is_deleting(&self) -> bool {
        self.deletion_timestamp.is_some()
    }
    /// Whether `finalizer` is on the object.
    pub fn has_finalizer(&self, finalizer: &str) -> bool {
        self.finalizers.iter().any(|f| f == finalizer)
    }
    /// The finalizers without `finalizer`.
    pub fn finalizers_without(&self, finalizer: &str) -> Arc<[Str]> {
        self.finalizers.iter().filter(|f| *f != finalizer).cloned().collect()
    }
    /// The finalizers with `finalizer` appended unless present.
    pub fn finalizers_with(&self, finalizer: &str) -> Arc<[Str]> {
        let own = (!self.has_finalizer(finalizer)).then(|| Str::from(finalizer));
        self.finalizers.iter().cloned().chain(own).collect()
    }
    /// An annotation's value.
    pub fn annotation(&self, key: &str) -> Option<&Str> {
        self.annotations.get(key)
    }
    /// A label's value.
    pub fn label(&self, key: &str) -> Option<&Str> {
        self.labels.get(key)
    }
    /// The owner that has `controller: true`.
    pub fn controller(&self) -> Option<&OwnerRef> {
        self.owner_references.iter().find(|o| o.controller)
    }
}

/// One entry of `metadata.ownerReferences`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnerRef {
    /// The owner's kind.
    pub kind: Kind,
    /// The owner's name, in the dependent's namespace.
    pub name: Str,
    /// The owner's identity: an owner re-created under the same name is another owner.
    pub uid: Uid,
    /// Whether this is the managing owner.
    #[serde(default)]
    pub controller: bool,
    /// Matters for foreground deletion only.
    #[serde(default)]
    pub block_owner_deletion: bool,
}

impl OwnerRef {
    /// A controller reference with `blockOwnerDeletion`, as `SetControllerReference` makes it.
    pub fn controller(kind: Kind, owner: &Meta) -> OwnerRef {
        OwnerRef { kind, name: owner.name.clone(), uid: owner.uid, controller: true, block_owner_deletion: true }
    }
}

/// `namespace/name` of an object; the namespace is empty for cluster-scoped kinds. Ordered as API lists are.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Key {
    /// Namespace or empty.
    pub namespace: Str,
    /// Name.
    pub name: Str,
}

impl Key {
    /// A key from its parts.
    pub fn new(namespace: impl Into<Str>, name: impl Into<Str>) -> Key {
        Key { namespace: namespace.into(), name: name.into() }
    }
}

// By hand: keys are compared dozens of times per event, and nearly all of them are of the same namespace.
impl Ord for Key {
    fn cmp(&self, other: &Key) -> Ordering {
        by_words(&self.namespace, &other.namespace).then_with(|| by_words(&self.name, &other.name))
    }
}
impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Key) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The order of texts, a word at a time: generated names differ late, and a call for so few bytes costs more than they do.
#[inline]
fn by_words(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let shared = a.len().min(b.len());
    let word = |text: &[u8], at: usize| text[at..].first_chunk().map_or(0, |word| u64::from_be_bytes(*word));
    if shared < 8 {
        return a.cmp(b);
    }
    let mut at = 0;
    while at < shared {
        // The last word overlaps the one before it, where both texts are equal.
        let from = at.min(shared - 8);
        let (x, y) = (word(a, from), word(b, from));
        if x != y {
            return x.cmp(&y);
        }
        at += 8;
    }
    a.len().cmp(&b.len())
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_ordered_as_their_texts_are() {
        let texts = ["", "a", "ab", "arc-runn", "arc-runners", "arc-runnert", "arc-runners-2", "arc-runners-23", "b"];
        for a in texts {
            for b in texts {
                assert_eq!(by_words(a, b), a.cmp(b), "{a} {b}");
                assert_eq!(Key::new(a, b).cmp(&Key::new(b, a)), (a, b).cmp(&(b, a)), "{a} {b}");
            }
        }
    }
}
