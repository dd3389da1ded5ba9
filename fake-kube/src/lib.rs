//! The Kubernetes side of the world.

pub mod api;
pub mod crds;
pub mod delete;
mod history;
mod namespaces;
mod parts;
mod patch;
mod rbac;
pub mod settings;
mod status;
mod store;
pub mod tokens;
mod write;

pub use api::{ApiServer, ApiSettings, PendingDelete};
