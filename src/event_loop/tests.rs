//! The loop over loopback, without Node: what JavaScript would take and send is taken and sent by a harness.

mod endings;
mod harness;
mod http;
mod lifecycle;
mod pressure;
mod websocket;
