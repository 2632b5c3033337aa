//! The faults that end an established session, and the alerts that tell the peer (RFC 8446 §6.2).

use thiserror::Error;

#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Violation {
    #[error("a record that was not sealed with the key of the session")]
    BadRecord,
    #[error("a record that is too long")]
    TooLong,
    #[error("a message that does not belong here")]
    Unexpected,
    #[error("a message that cannot be understood")]
    Malformed,
    #[error("a value that is not allowed")]
    Illegal,
    #[error("too many messages without data")]
    Idle,
    #[error("the peer gave up with alert {0}")]
    Alert(u8),
    #[error("too many records for one key")]
    WornOut,
    #[error("encryption failed")]
    Internal,
}

impl Violation {
    /// The alert for the peer; `None`: the peer is not told.
    pub fn alert(self) -> Option<u8> {
        Some(match self {
            Violation::BadRecord => 20,
            Violation::TooLong => 22,
            Violation::Unexpected | Violation::Idle => 10,
            Violation::Malformed => 50,
            Violation::Illegal => 47,
            Violation::Alert(_) | Violation::WornOut => return None,
            Violation::Internal => 80,
        })
    }
}
