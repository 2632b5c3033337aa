//! Simulated runs of the event loop, which follow from a seed.

pub mod rng;
