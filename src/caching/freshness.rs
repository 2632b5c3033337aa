//! How long a stored reply may be used, in whole seconds.
#![forbid(unsafe_code)]

/// The two ages of a route's replies, as the options `lowerExpiry` and `upperExpiry` say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lifetimes {
    /// Beyond it a reply is still used, and renewed meanwhile.
    pub lower: u32,
    /// From it on a reply is used no longer. 0: none is ever used again.
    pub upper: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    Fresh,
    /// Used, and renewed.
    Stale,
    Expired,
}

impl Lifetimes {
    /// The state at second `now` of a reply that was made at second `created`.
    pub fn state(self, created: u64, now: u64) -> Freshness {
        let age = now.saturating_sub(created);
        if age >= u64::from(self.upper) {
            Freshness::Expired
        } else if age > u64::from(self.lower) {
            Freshness::Stale
        } else {
            Freshness::Fresh
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_fresh_then_stale_then_expired() {
        let of = |lower, upper| {
            let lifetimes = Lifetimes { lower, upper };
            (100..107).map(|now| format!("{:?}", lifetimes.state(100, now))).collect::<Vec<_>>().join(" ")
        };
        // The example of the original: fresh at ages 0 and 1, stale at 2 to 4.
        assert_eq!(of(1, 5), "Fresh Fresh Stale Stale Stale Expired Expired");
        assert_eq!(of(0, 3), "Fresh Stale Stale Expired Expired Expired Expired");
        assert_eq!(of(9, 2), "Fresh Fresh Expired Expired Expired Expired Expired");
        assert_eq!(of(0, 0), "Expired Expired Expired Expired Expired Expired Expired");
        let ever = Lifetimes { lower: u32::MAX, upper: u32::MAX };
        assert_eq!(ever.state(5, 5 + u64::from(u32::MAX) - 1), Freshness::Fresh);
        // A clock never goes back, but nothing depends on that.
        assert_eq!(Lifetimes { lower: 1, upper: 2 }.state(100, 7), Freshness::Fresh);
    }
}
