//! The set reconciler against reaction vectors and recorded sequences.
