//! Whose set this is when two controllers watch it, e.g. two releases of the controller chart in one cluster. Never writes.
//!
//! The chart gives the rights in a set's namespace to one controller's account. A controller that finds a listener of another
//! controller's namespace asks for the set's secret: who may not read it has no business with the set and leaves it alone;
//! who may replaces the listener, which a controller that is gone has left behind. Without that, each of two controllers
//! deletes the listener of the other as soon as it sees it, and nobody ever listens (Q-TWO-CONTROLLERS-GATE;
//! recorded: d_seed_two). Only the corrected controller looks.

use std::sync::Arc;

use arc_api::crd::AutoscalingListener;
use arc_api::kube::{KubeRequest, Reason};
use arc_api::meta::Key;
use arc_api::{Duration, Kind};

use super::{ArsPass, Step};
use crate::behaviour::ListenerBinding;
use crate::reconcile::{Decision, Observed, Outcome};

/// How often somebody else's set is looked at: rights may be given, and the other controller may go.
const LOOK_AGAIN: Duration = Duration::from_secs(5 * 60);
/// A listener of another namespace is younger than this only while another controller goes on making them.
const LEFT_BEHIND: Duration = Duration::from_secs(60);

impl ArsPass {
    /// The question whether the set is ours, if there is a doubt.
    pub(super) fn doubts_rights(&mut self, o: &Observed<'_>) -> Option<Decision> {
        if self.has_rights || o.settings.behaviour.ars_listener_binding == ListenerBinding::Ignored {
            return None;
        }
        let elsewhere = |l: &&Arc<AutoscalingListener>| l.metadata.namespace != o.settings.namespace;
        self.strays(o).find(elsewhere)?;
        let key = Key::new(self.key.namespace.clone(), self.ars().spec.github_config_secret.clone());
        Some(self.kube(Step::AfterRightsRead, KubeRequest::Get { kind: Kind::Secret, key }))
    }

    pub(super) fn after_rights_read(&mut self, o: &mut Observed<'_>) -> Decision {
        match o.take_reply().into_object() {
            Err(e) if e.status().is_some_and(|s| s.reason == Reason::Forbidden) => {
                o.info("Another controller has the rights on this autoscaling runner set. Leaving it alone");
                Decision::End(Outcome::After(LOOK_AGAIN))
            }
            Ok(_) | Err(_) => {
                self.has_rights = true;
                self.register(o)
            }
        }
    }

    /// The next listener that listens for this set under another name or in another namespace and has to go.
    pub(super) fn next_stray<'a>(&mut self, o: &Observed<'a>) -> Option<&'a Arc<AutoscalingListener>> {
        let mut young = false;
        let found = self.strays(o).find(|l| {
            let elsewhere = l.metadata.namespace != o.settings.namespace;
            let waits = elsewhere && !l.metadata.is_deleting();
            let waits = waits && o.now < l.metadata.creation_timestamp.after(LEFT_BEHIND);
            young |= waits;
            !waits
        });
        if young {
            self.again.get_or_insert(LEFT_BEHIND);
        }
        found
    }
}
