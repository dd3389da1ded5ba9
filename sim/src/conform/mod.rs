//! Holds the simulator against recordings of the real ARC: the same scenario at the recording's release, object by object.
//!
//! Both sides become [`event`]s: [`recording`] reads a file and [`audit`] a cluster's own log, both by [`lines`], [`project`] a kept
//! trace, whose generated [`names`] are written alike. Events become histories per object ([`history`], with names and bodies in
//! the one form of [`normal`]), [`fold`] removes what no two runs of one program have in common, [`matching`] pairs the objects,
//! [`compare`] finds the first difference, [`left`] compares what is there at the end, [`report`] tells it. [`clock`] lets people act when they acted in the recording,
//! [`steer`] looks for the schedule that explains most and [`guide`] forks the world on the way, [`fidelity`] counts over all
//! recordings, [`blame`] finds switches that touch a difference, [`sabotage`] those that no recording notices, [`compact`] makes
//! test data of one. Never changes what a world does.

pub mod audit;
pub mod blame;
pub mod clock;
pub mod compact;
pub mod compare;
pub mod cut;
pub mod event;
pub mod fidelity;
pub mod fold;
pub mod guide;
pub mod history;
pub mod left;
pub mod lines;
pub mod matching;
pub mod names;
pub mod normal;
pub mod project;
pub mod recording;
pub mod report;
pub mod sabotage;
pub mod steer;
pub mod turns;
