//! Machines of somebody else's making in the places of ours: a reconciler for one of the four kinds, a listener program.
//!
//! The contract is that of [`crate::reconcile`] and [`crate::listener`], behind pointers, since such machines are chosen when a
//! world is made. **Never** decides anything. What implements [`Pass`] is a [`DynPass`], and a function that makes passes is a
//! [`Reconciler`]: `ErsPass::new` is one.
//!
//! A machine must be pure: no clock, no chance, no I/O, no hash-ordered containers, nothing shared between its copies. Worlds are
//! cloned, replayed and searched, and a machine that remembers anything outside itself makes every fingerprint a lie.

use std::fmt;
use std::sync::Arc;

use arc_api::Time;
use arc_api::meta::Key;

use crate::listener::{Input, Listener, Output, Setup};
use crate::reconcile::{Decision, Observed, Pass, Settings};

/// A reconcile pass behind a pointer; see [`Pass`] for what its methods promise.
pub trait DynPass: fmt::Debug + Send + Sync {
    /// Decides what comes next. Same pass, same observation: same decision.
    fn step(&mut self, observed: &mut Observed<'_>) -> Decision;
    /// The name of the step it will resume at, for traces and crash points.
    fn at(&self) -> &'static str;
    /// A copy that shares nothing that changes.
    fn clone_box(&self) -> Box<dyn DynPass>;
}

impl<P: Pass + fmt::Debug + Send + Sync + 'static> DynPass for P {
    fn step(&mut self, observed: &mut Observed<'_>) -> Decision {
        Pass::step(self, observed)
    }
    fn at(&self) -> &'static str {
        Pass::at(self)
    }
    fn clone_box(&self) -> Box<dyn DynPass> {
        Box::new(self.clone())
    }
}

impl Clone for Box<dyn DynPass> {
    fn clone(&self) -> Self {
        (**self).clone_box()
    }
}

/// Makes the passes of one controller. It stands in the place of ARC's in every manager process of a world, whichever release
/// that runs (`settings.version` says which); informers, work queues, their triggers and their limits stay ARC's.
pub trait Reconciler: Send + Sync {
    /// A pass over one key, which has not seen anything yet.
    fn begin(&self, key: Key, settings: &Settings) -> Box<dyn DynPass>;
}

impl<F, P> Reconciler for F
where
    F: Fn(Key) -> P + Send + Sync,
    P: DynPass + 'static,
{
    fn begin(&self, key: Key, _: &Settings) -> Box<dyn DynPass> {
        Box::new(self(key))
    }
}

/// A listener process behind a pointer; see [`Listener`] for the order of its methods.
pub trait DynListener: fmt::Debug + Send + Sync {
    /// Takes one input.
    fn handle(&mut self, input: Input, now: Time);
    /// The next output; [`Output::WaitUntil`] and [`Output::Exit`] are the last of their input.
    fn poll(&mut self) -> Output;
    /// A copy that shares nothing that changes.
    fn clone_box(&self) -> Box<dyn DynListener>;
}

impl DynListener for Listener {
    fn handle(&mut self, input: Input, now: Time) {
        Listener::handle(self, input, now);
    }
    fn poll(&mut self) -> Output {
        Listener::poll(self)
    }
    fn clone_box(&self) -> Box<dyn DynListener> {
        Box::new(self.clone())
    }
}

impl Clone for Box<dyn DynListener> {
    fn clone(&self) -> Self {
        (**self).clone_box()
    }
}

/// The program in listener images.
pub trait ListenerProgram: Send + Sync {
    /// A process that has read its configuration at `now`; its first outputs can be polled.
    fn start(&self, setup: Arc<Setup>, now: Time) -> Box<dyn DynListener>;
}

impl<F, L> ListenerProgram for F
where
    F: Fn(Arc<Setup>, Time) -> L + Send + Sync,
    L: DynListener + 'static,
{
    fn start(&self, setup: Arc<Setup>, now: Time) -> Box<dyn DynListener> {
        Box::new(self(setup, now))
    }
}
