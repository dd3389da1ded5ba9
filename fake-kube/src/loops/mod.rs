//! Everything in a cluster that acts by itself beside the kubelets: scheduler and controllers, as pure machines.
//!
//! Each has the same three parts: `notice` takes one change from the log and only sets timers, `next_deadline` says when it
//! wants to act, `run_one` does one thing that is due. None of them scans the store because something changed.
//!
//! | module | what it is |
//! |---|---|
//! | [`scheduler`], [`claims`] | binds pods; ephemeral volumes and claim protection |
//! | [`gc`] | owner references, foreground, orphans |
//! | [`namespaces`], [`accounts`], [`definitions`] | emptying namespaces, `default` accounts, terminating CRDs |
//! | [`quota`], [`deployments`] | usage, rolling updates |
//! | [`nodes`] | heartbeats that stop, taints and their evictions, PodGC, drain |
//! | [`settings`], [`scope`], [`requests`], [`timers`] | what they share |

pub mod accounts;
pub mod claims;
pub mod definitions;
pub mod deployments;
pub mod gc;
pub mod namespaces;
pub mod nodes;
pub mod quota;
pub mod requests;
pub mod scheduler;
pub mod scope;
pub mod settings;
pub mod timers;
