//! The time of the loop: the system's, or that of a simulated run.

use std::time::{Instant, SystemTime};

/// Now, for spans of time and deadlines.
pub fn now() -> Instant {
    #[cfg(any(test, feature = "simulation"))]
    if let Some(now) = super::simulated::now() {
        return now;
    }
    Instant::now()
}

/// Now, for the `Date` header.
pub fn date() -> SystemTime {
    #[cfg(any(test, feature = "simulation"))]
    if let Some(date) = super::simulated::date() {
        return date;
    }
    SystemTime::now()
}
