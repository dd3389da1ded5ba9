//! The Kubernetes side of the world.
