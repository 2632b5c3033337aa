//! Tests of the loop over loopback, without Node: a harness takes events and sends commands in place of
//! JavaScript.

mod allocations;
mod budget;
mod cached;
mod endings;
mod harness;
mod http;
mod lifecycle;
mod limits;
mod pressure;
mod shutdown;
mod websocket;
