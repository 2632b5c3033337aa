//! The router, which finds the handlers of a request, and declared answers, which need no handler.

pub mod declarative;
pub mod router;
