//! Scenario files: the only language in which worlds, failures and expectations are written down.
//!
//! Reading goes text → [`source`] (tree with places) → [`shape`] (checked against the schema, all problems) → [`file`]
//! (typed) → [`check`] (meaning, all problems) → [`compile`] (plans). Nothing here runs a world.

pub mod compile;
pub mod diagnostic;
pub mod entry;
pub mod file;
pub mod merge;
pub mod ranges;
pub mod shape;
pub mod source;
pub mod vocabulary;
