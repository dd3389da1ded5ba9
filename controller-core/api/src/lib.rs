//! The wire types of the simulated world: what ARC, the Kubernetes API and GitHub's Actions service say to each other.
//!
//! Values only. Nothing here decides, waits, draws or does I/O; the controller, the fakes and the simulator share these
//! types and know nothing of each other. Objects are lean structs behind `Arc`, changed by copy on write and by *typed*
//! patches ([`kube::Patch`]); JSON exists only at the edges ([`json`]), and what a foreign client sends that we do not
//! model stays with the object in [`meta::Meta::rest`], so nothing is lost.
//!
//! Reading order: [`time`], [`ids`], [`meta`] → [`crd`] (ARC's four kinds), [`core`] (built-in kinds), [`pod`] →
//! [`object`] (one enum over all kinds) → [`kube`] (requests, patches, `Status`) → [`service`] (GitHub, operations E1–E17).

pub mod core;
pub mod crd;
pub mod ids;
pub mod json;
pub mod kube;
pub mod meta;
pub mod object;
pub mod pod;
pub mod service;
pub mod time;
pub mod wire;

pub use ids::*;
pub use meta::{Labels, Meta, OwnerRef};
pub use object::{Kind, Object, Resource};
pub use smol_str::{SmolStr as Str, SmolStrBuilder, ToSmolStr, format_smolstr};
pub use time::{Duration, Time};
