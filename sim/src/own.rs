//! Which machines of a world are somebody else's: given to a world when it is made, never part of a plan, which is data.
//!
//! Worlds without any are the same to the last event as worlds that know of none. Decides nothing.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use arc_api::Kind;
pub use controller_core::own::{DynListener, DynPass, ListenerProgram, Reconciler};

/// One of the four controllers in a manager process, by the kind it reconciles.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Controller {
    /// The user's object to scale set, EphemeralRunnerSet and AutoscalingListener.
    AutoscalingRunnerSet,
    /// The listener's pod, configuration and rights.
    AutoscalingListener,
    /// As many EphemeralRunners as the listener asked for.
    EphemeralRunnerSet,
    /// Registration, secret and pod of one runner.
    EphemeralRunner,
}

impl Controller {
    /// All four, in the order of their work queues.
    pub const ALL: [Controller; 4] = [
        Controller::AutoscalingRunnerSet,
        Controller::AutoscalingListener,
        Controller::EphemeralRunnerSet,
        Controller::EphemeralRunner,
    ];
    /// The kind it reconciles.
    pub const fn kind(self) -> Kind {
        match self {
            Controller::AutoscalingRunnerSet => Kind::AutoscalingRunnerSet,
            Controller::AutoscalingListener => Kind::AutoscalingListener,
            Controller::EphemeralRunnerSet => Kind::EphemeralRunnerSet,
            Controller::EphemeralRunner => Kind::EphemeralRunner,
        }
    }
}

/// Machines that stand in the places of ARC's. The default has none.
#[derive(Clone, Default)]
pub struct OwnMachines {
    reconcilers: [Option<Arc<dyn Reconciler>>; 4],
    listener: Option<Arc<dyn ListenerProgram>>,
}

impl OwnMachines {
    /// Puts a reconciler in the place of one of ARC's.
    pub fn set_reconciler(&mut self, controller: Controller, reconciler: Arc<dyn Reconciler>) {
        self.reconcilers[controller as usize] = Some(reconciler);
    }
    /// Puts a program in the place of ARC's listener.
    pub fn set_listener(&mut self, program: Arc<dyn ListenerProgram>) {
        self.listener = Some(program);
    }
    /// Whether all machines are ARC's.
    pub fn is_empty(&self) -> bool {
        self.listener.is_none() && self.reconcilers.iter().all(Option::is_none)
    }
    /// The reconciler of a manager's slot, if it is somebody else's.
    pub(crate) fn reconciler(&self, slot: usize) -> Option<&dyn Reconciler> {
        self.reconcilers.get(slot)?.as_deref()
    }
    /// The listener program, if it is somebody else's.
    pub(crate) fn listener(&self) -> Option<&dyn ListenerProgram> {
        self.listener.as_deref()
    }
}

impl fmt::Debug for OwnMachines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = Controller::ALL.into_iter().filter(|c| self.reconciler(*c as usize).is_some());
        f.debug_set().entries(own).entries(self.listener.iter().map(|_| "Listener")).finish()
    }
}

// Machines are pure, so whatever a panic of one leaves behind is not seen by anybody: see `controller_core::own`.
impl UnwindSafe for OwnMachines {}
impl RefUnwindSafe for OwnMachines {}
