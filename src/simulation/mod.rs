//! Simulated runs of the event loop with an oracle: the loop over a kernel in memory
//! (`event_loop::net::simulated`), the program as the loop knows it, and peers, all in one thread and in an
//! order that follows from a seed.
//!
//! Every byte says whose it is and where it belongs (`text`). The program and the peers follow a script
//! (`generate`), note in the `oracle` what the other side must see, and compare; so do the pure protocol
//! layers, which get the same bytes at once (`uncut`). `world` runs them, and checks memory, accounts,
//! progress, and that nothing is left at the end. A script that fails is made smaller (`shrink`). The faults
//! of 0.1, put back one by one (`crate::fault`), are found.

mod client;
pub mod generate;
mod javascript;
mod oracle;
pub mod rng;
pub mod script;
mod secure;
pub mod shrink;
pub mod text;
mod uncut;
pub mod world;

#[cfg(test)]
mod tests;
