//! Which handler a request goes to, and the answers that are declared instead of computed.

pub mod declarative;
pub mod router;
