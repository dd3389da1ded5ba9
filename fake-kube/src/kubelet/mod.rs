//! The kubelet as a pure machine: one [`worker::PodWorker`] per pod, and [`node::Kubelets`] around them.
//!
//! The kubelet decides *what* a node does and when a back-off, probe or grace period ends. What the processes do, and how
//! long pulls, starts and hooks take, belongs to the engine: it reads [`NodeEffect`]s and answers with inputs.
//!
//! Reading order: [`effects`] → [`container`] → [`probe`] → [`phase`] → [`worker`] → `sync` → [`stop`] → [`report`] → [`needs`] →
//! [`node`].
//!
//! Source: kubernetes-api.md §5; pkg/kubelet of kubernetes/kubernetes (kuberuntime, prober, status).

pub mod container;
pub mod effects;
pub mod needs;
pub mod node;
pub mod phase;
pub mod probe;
pub mod report;
pub mod stop;
mod sync;
pub mod worker;

pub use effects::{ContainerKind, Exit, HookKind, NodeEffect, Signal, StartFailure};
pub use node::{AdmissionRule, Kubelets};
