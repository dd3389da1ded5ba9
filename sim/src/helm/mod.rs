//! Helm, ARC's two charts and the people who use them, as pure machines: from a user's `values.yaml` to API calls.
//!
//! **Never**: talks to a cluster, reads a clock, waits. An operation ([`HelmOp`], [`Kubectl`]) is stepped like a reconciler:
//! each step sees the reply to its last call and answers with exactly one request, a pause, or its result.
//!
//! Reading order: [`values`], [`controller_values`] → [`scale_set_chart`] (with [`pod_shapes`], [`rbac`], [`names`]) and [`controller_chart`] (with
//! [`manager_args`], the way back from a pod to what its manager was told) → [`command`],
//! [`operation`] (install, upgrade, uninstall; with [`patches`] and the world's [`Releases`]) → [`task`], [`kubectl`]
//! (everything else a person does to a cluster).

pub mod command;
pub mod controller_chart;
pub mod controller_values;
mod digest;
pub mod kubectl;
pub mod manager_args;
pub mod merge;
pub mod names;
pub mod operation;
pub mod patches;
pub mod pod_shapes;
pub mod rbac;
pub mod releases;
pub mod scale_set_chart;
pub mod task;
pub mod values;

pub use command::{Command, HelmResult, HelmStep};
pub use controller_chart::MANAGER;
pub use controller_values::ControllerValues;
pub use kubectl::{Kubectl, KubectlStep};
pub use manager_args::ManagerArgs;
pub use operation::HelmOp;
pub use releases::{Chart, ChartName, Releases, Revision, Status};
pub use task::{Select, Task, Verb};
pub use values::{ChartError, ContainerMode, ScaleSetValues};
