//! The events of a poll, in a form that the system's and a simulated one have in common.

use mio::Token;

/// The readiness of one socket, as a poll reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    pub token: Token,
    pub readable: bool,
    pub writable: bool,
    /// The peer closed its sending side.
    pub read_closed: bool,
    /// The socket has an error.
    pub error: bool,
}

impl From<&mio::event::Event> for Event {
    fn from(event: &mio::event::Event) -> Self {
        Event {
            token: event.token(),
            readable: event.is_readable(),
            writable: event.is_writable(),
            read_closed: event.is_read_closed(),
            error: event.is_error(),
        }
    }
}
