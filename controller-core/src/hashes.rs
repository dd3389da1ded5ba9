//! Hashes: FNV-1a 32 in the safe alphabet, and the spec hashes that decide what is replaced. Never keeps state that could
//! be seen from outside: the memo below only saves rendering the same shared spec again.
//!
//! Source: arc-controllers.md §1.7. Upstream hashes a dump of Go structs; here the JSON rendering of the typed spec is hashed
//! after a salt that stands for the generation of the Go types, so that an upgrade across a release which added spec fields
//! changes every hash, as recorded (a_basic: 0.10.1 → 0.11.0 → 0.12.0 → 0.13.0 → 0.14.0).
//! Differs: the values themselves are not upstream's, only when they change is.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;

use arc_api::crd::ArsSpec;
use arc_api::{Labels, ScaleSetId, SmolStrBuilder, Str};
use serde::Serialize;

use crate::behaviour::{Behaviour, SpecGeneration};

/// The alphabet of Kubernetes' generated suffixes: no vowels, no look-alikes.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
const OFFSET: u32 = 0x811c_9dc5;
const PRIME: u32 = 0x0100_0193;

/// A running FNV-1a 32 hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fnv(u32);

impl Default for Fnv {
    fn default() -> Self {
        Fnv(OFFSET)
    }
}

impl Fnv {
    /// Adds bytes.
    pub fn bytes(mut self, bytes: &[u8]) -> Fnv {
        for b in bytes {
            self.0 = (self.0 ^ u32::from(*b)).wrapping_mul(PRIME);
        }
        self
    }
    /// Adds the JSON rendering of a value.
    pub fn value(mut self, value: &impl Serialize) -> Fnv {
        // Writing into the hash cannot fail, and our types have no maps with keys that are not text.
        let _ = serde_json::to_writer(&mut self, value);
        self
    }
    /// The number itself.
    pub fn number(self) -> u32 {
        self.0
    }
    /// The text that objects carry: decimal digits through the safe alphabet, up to ten characters.
    pub fn text(self) -> Str {
        let (digits, at) = self.digits();
        ascii(&digits[at..]).into()
    }
    /// Appends the first eight characters of the text.
    pub fn push8(self, to: &mut SmolStrBuilder) {
        let (digits, at) = self.digits();
        to.push_str(ascii(&digits[at..digits.len().min(at + 8)]));
    }
    fn digits(self) -> ([u8; 10], usize) {
        let mut digits = [0u8; 10];
        let (mut n, mut at) = (self.0, digits.len());
        loop {
            at -= 1;
            digits[at] = ALPHABET[(b'0' as usize + (n % 10) as usize) % ALPHABET.len()];
            n /= 10;
            if n == 0 {
                break;
            }
        }
        (digits, at)
    }
}

/// Letters of the alphabet as text.
fn ascii(letters: &[u8]) -> &str {
    std::str::from_utf8(letters).unwrap_or_default()
}

impl io::Write for Fnv {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        *self = self.bytes(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The hash of a text.
pub fn of_text(text: &str) -> Str {
    Fnv::default().bytes(text.as_bytes()).text()
}

/// The first eight characters of the hash of a text: the part of a name (arc-controllers.md §8.1).
pub fn hash8(text: &str) -> Str {
    let mut name = SmolStrBuilder::new();
    Fnv::default().bytes(text.as_bytes()).push8(&mut name);
    name.finish()
}

/// The hash of any value, e.g. policy rules or secret data.
pub fn of_value(value: &impl Serialize) -> Str {
    Fnv::default().value(value).text()
}

/// The two hashes of one spec.
#[derive(Clone, Copy, Debug)]
pub struct SpecHashes {
    runner_set: Fnv,
    listener: Fnv,
}

impl SpecHashes {
    /// What the runners depend on: URL, secret, group, scale set name, proxy, CA, template.
    pub fn runner_set(&self) -> Str {
        self.runner_set.text()
    }
    /// The same, and the scale set the runners register with: a scale set registered anew makes every runner stale. Only the
    /// corrected controller asks for it.
    pub fn runner_set_of(&self, id: ScaleSetId) -> Str {
        self.runner_set.bytes(&id.0.to_le_bytes()).text()
    }
    /// The whole spec.
    pub fn listener(&self) -> Str {
        self.listener.text()
    }
    /// The whole spec and the labels (0.14.0 on).
    pub fn change(&self, labels: &Labels) -> Str {
        let mut hash = self.listener;
        for (key, value) in labels.iter() {
            hash = hash.bytes(key.as_bytes()).bytes(b"=").bytes(value.as_bytes()).bytes(b";");
        }
        hash.text()
    }
}

/// How many specs the memo holds; more scale sets than that in one process only cost time.
const MEMO: usize = 64;

thread_local! {
    /// Hashes of the specs seen last. Holding the `Arc` keeps its address from being used again.
    static SEEN: RefCell<Vec<(Arc<ArsSpec>, SpecGeneration, SpecHashes)>> = const { RefCell::new(Vec::new()) };
}

/// The hashes of a spec.
pub fn spec(spec: &Arc<ArsSpec>, behaviour: &Behaviour) -> SpecHashes {
    let generation = behaviour.spec_generation;
    SEEN.with_borrow_mut(|seen| {
        if let Some((_, _, known)) = seen.iter().rev().find(|(s, g, _)| Arc::ptr_eq(s, spec) && *g == generation) {
            return *known;
        }
        let hashes = compute(spec, generation);
        if seen.len() == MEMO {
            seen.remove(0);
        }
        seen.push((Arc::clone(spec), generation, hashes));
        hashes
    })
}

fn compute(spec: &ArsSpec, generation: SpecGeneration) -> SpecHashes {
    let salt = Fnv::default().bytes(&[generation as u8]);
    let runner_set = salt
        .value(&spec.github_config_url)
        .value(&spec.github_config_secret)
        .value(&spec.runner_group)
        .value(&spec.runner_scale_set_name)
        .value(&spec.proxy)
        .value(&spec.github_server_tls)
        .value(&spec.template);
    SpecHashes { runner_set, listener: salt.value(spec) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::Release;

    #[test]
    fn hashes_of_namespaces_are_the_recorded_ones() {
        // a_basic: `demo-754b578d-listener` up to 0.13.0, `demo-65b9b494-listener` from 0.13.1 on.
        assert_eq!(of_text("arc-runners"), "754b578df7");
        assert_eq!(hash8("arc-runners"), "754b578d");
        assert_eq!(hash8("arc-runners@@http://127.0.0.1:9090/my-org"), "65b9b494");
    }

    #[test]
    fn a_release_that_adds_spec_fields_changes_every_hash_and_others_change_none() {
        let one = Arc::new(ArsSpec { github_config_url: "u".into(), ..ArsSpec::default() });
        let hash = |r| spec(&one, &Behaviour::of(r)).listener();
        assert_eq!(hash(Release::V0_8_0), hash(Release::V0_10_1));
        assert_eq!(hash(Release::V0_12_0), hash(Release::V0_12_1));
        assert_eq!(hash(Release::V0_14_0), hash(Release::V0_14_2));
        for pair in
            [Release::V0_10_1, Release::V0_11_0, Release::V0_12_1, Release::V0_13_1, Release::V0_14_0].windows(2)
        {
            assert_ne!(hash(pair[0]), hash(pair[1]));
        }
    }

    #[test]
    fn limits_change_only_the_listener_hash() {
        let b = Behaviour::of(Release::V0_14_2);
        let (one, two) =
            (Arc::new(ArsSpec::default()), Arc::new(ArsSpec { max_runners: Some(5), ..ArsSpec::default() }));
        assert_eq!(spec(&one, &b).runner_set(), spec(&two, &b).runner_set());
        assert_ne!(spec(&one, &b).listener(), spec(&two, &b).listener());
    }
}
