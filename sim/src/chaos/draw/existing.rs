//! Draws what is there when a world begins: runners as they were left, jobs that wait, sessions of listeners that are gone.
//!
//! Never more runners than a set may have: who made those is not in this world.

use super::super::draws::Draws;
use crate::plan::world::{Backlog, ExistingRunners, ExistingSession, ExistingSpec, ScaleSetSpec};
use crate::plan::{Dur, JobSpec, Ratio, SetRef, WorldSpec};

/// Sometimes something, of every scale set or of one.
pub(super) fn draw(d: &mut Draws, share: Ratio, world: &mut WorldSpec) {
    if !d.hits(share) {
        return;
    }
    let mut out = ExistingSpec::default();
    let session_ttl = world.github.session_ttl;
    for (set, spec) in world.set_refs() {
        let (at_work, waited, haunted) = (!d.one_in(3), d.one_in(3), d.one_in(6));
        if at_work {
            out.runners.extend(runners(d, &set, spec));
        }
        if waited {
            let job =
                JobSpec { duration: d.secs(1, 40), container: spec.container_mode.has_hooks(), ..JobSpec::default() };
            out.backlog.push(Backlog { scale_set: set.clone(), count: d.between(1, 4), job });
        }
        // Nobody's listener had a session there before the set was made: it has one only where runners were at work.
        if haunted && at_work {
            out.sessions.push(ExistingSession { scale_set: set, owner: "ghost".into(), ttl: session_ttl });
        }
    }
    world.existing = out;
}

fn runners(d: &mut Draws, set: &SetRef, spec: &ScaleSetSpec) -> Vec<ExistingRunners> {
    let mut room = spec.max_runners.unwrap_or(4).min(4);
    let mut out = Vec::new();
    for _ in 0..d.between(1, 3) {
        let (count, how, busy, failures) = (d.between(1, 3).min(room), d.below(8), d.secs(1, 200), d.between(1, 7));
        room -= count;
        let left = ExistingRunners { scale_set: set.clone(), count, ..ExistingRunners::default() };
        let left = match how {
            0 | 1 => left,
            2 | 3 => ExistingRunners { busy_for: busy, ..left },
            4 => ExistingRunners { registered: false, ..left },
            5 => ExistingRunners { pods: false, ..left },
            6 => ExistingRunners { registered: false, pods: false, ..left },
            _ => ExistingRunners { failures, ..left },
        };
        if count > 0 {
            out.push(left);
        }
    }
    out
}

/// The longest job that was there before.
pub(in crate::chaos) fn longest_job(existing: &ExistingSpec) -> Dur {
    let waiting = existing.backlog.iter().map(|b| b.job.duration);
    waiting.chain(existing.runners.iter().map(|r| r.busy_for)).max().unwrap_or_default()
}
