//! Every switch of `next` turned back to each value that a release has. Found in the table of switches, never listed by hand.

use arc_api::format_smolstr;
use controller_core::{Behaviour, Release};

use super::{Change, Mutant};

pub(super) fn all() -> Vec<Mutant> {
    let next = Behaviour::of(Release::Next);
    let releases: Vec<Behaviour> =
        Release::ALL.iter().filter(|r| **r != Release::Next).map(|r| Behaviour::of(*r)).collect();
    let mut all = Vec::new();
    for switch in Behaviour::SWITCHES {
        let own = next.get(switch.name);
        for (value, meaning) in switch.values.iter().filter(|(value, _)| Some(*value) != own) {
            if releases.iter().any(|r| r.get(switch.name) == Some(value)) {
                all.push(Mutant {
                    id: format_smolstr!("switch {}={value}", switch.name),
                    what: first_sentence(meaning).into(),
                    part: "switch",
                    unseen: None,
                    change: Change::Switch { name: switch.name, value },
                });
            }
        }
    }
    all
}

fn first_sentence(text: &str) -> &str {
    let text = text.trim();
    text.lines().next().map_or(text, str::trim)
}
