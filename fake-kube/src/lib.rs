//! The Kubernetes side of the world.

mod admission;
pub mod api;
pub mod cluster;
pub mod crds;
pub mod delete;
mod history;
pub mod kubelet;
pub mod loops;
mod names;
mod namespaces;
mod parts;
mod patch;
mod pod_defaults;
mod pod_validation;
mod prune;
pub mod quantity;
mod rbac;
pub mod settings;
mod status;
mod store;
pub mod tokens;
mod validation;
mod write;

pub use api::{ApiServer, ApiSettings, PendingDelete};
pub use cluster::Cluster;
