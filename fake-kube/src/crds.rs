//! Which custom kinds are served, and by which release's schema. Never changes an object beyond dropping members that the
//! schema does not know.

use arc_api::core::CustomResourceDefinition;
use arc_api::{Kind, Meta, Object, Str};

use crate::store::Store;

/// ARC's four kinds, in the order of [`Kind`].
const CUSTOM: [Kind; 4] =
    [Kind::AutoscalingRunnerSet, Kind::AutoscalingListener, Kind::EphemeralRunnerSet, Kind::EphemeralRunner];

/// A release as its CRDs are marked, e.g. (0, 9, 0).
pub(crate) type SchemaVersion = (u32, u32, u32);

/// One definition, as requests meet it.
#[derive(Clone, Copy, Debug)]
struct Definition {
    schema: SchemaVersion,
    terminating: bool,
}

/// The custom kinds that are served.
#[derive(Clone, Debug, Default)]
pub(crate) struct Served([Option<Definition>; 4]);

/// Text such as `0.9.0`; anything else (`next`, empty) is the newest schema.
fn parse(schema: &str) -> SchemaVersion {
    let mut parts = schema.split('.').map(|p| p.parse::<u32>().ok());
    match (parts.next().flatten(), parts.next().flatten(), parts.next().flatten()) {
        (Some(a), Some(b), c) => (a, b, c.unwrap_or(0)),
        _ => (u32::MAX, 0, 0),
    }
}

impl Served {
    /// Reads the definitions that are stored.
    pub(crate) fn of(store: &Store) -> Served {
        let mut served = Served::default();
        for object in store.iter(Kind::CustomResourceDefinition) {
            if let Object::CustomResourceDefinition(crd) = object
                && let Some(slot) = crd.defines.and_then(Served::slot)
            {
                let terminating = crd.metadata.is_deleting();
                served.0[slot] = Some(Definition { schema: parse(&crd.schema), terminating });
            }
        }
        served
    }
    fn slot(kind: Kind) -> Option<usize> {
        CUSTOM.iter().position(|k| *k == kind)
    }
    pub(crate) fn is_served(&self, kind: Kind) -> bool {
        Served::slot(kind).is_none_or(|slot| self.0[slot].is_some())
    }
    pub(crate) fn is_terminating(&self, kind: Kind) -> bool {
        Served::slot(kind).is_some_and(|slot| self.0[slot].is_some_and(|d| d.terminating))
    }
    /// The schema of a custom kind.
    pub(crate) fn schema(&self, kind: Kind) -> Option<SchemaVersion> {
        Served::slot(kind).and_then(|slot| self.0[slot]).map(|d| d.schema)
    }
}

/// The four CustomResourceDefinitions as a release's chart installs them.
pub fn arc_crds(release: &str) -> Vec<CustomResourceDefinition> {
    let one = |kind: &Kind| CustomResourceDefinition {
        metadata: Meta::named("", kind.resource()),
        defines: Some(*kind),
        schema: Str::from(release),
    };
    CUSTOM.iter().map(one).collect()
}

/// The name of the finalizer that holds a terminating definition until its objects are gone.
pub const CLEANUP_FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";
