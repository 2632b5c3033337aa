//! One call.

use crate::bridge::session::Session;
use crate::bridge::value::{Arguments, Env};
use crate::channel::ExchangeId;

/// A call, as the function for it sees it.
pub struct Call<'a> {
    pub args: Arguments,
    pub session: &'a mut Session,
}

impl Call<'_> {
    pub fn env(&self) -> Env {
        self.args.env
    }

    /// Slot and generation in the arguments from `index` on.
    pub fn id(&self, index: usize) -> ExchangeId {
        ExchangeId { slot: self.args.u32(index), generation: self.args.u32(index + 1) }
    }
}
