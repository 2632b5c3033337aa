//! The access that a protocol has to its connection while it parses bytes or executes a command.

use super::close::{Cause, Close, JsHandle};
use super::outbound::SharedBytes;
use super::transport::Transport;
use crate::channel::buffers::Payload;
use crate::channel::{ExchangeId, JsEvent, Limit};
use crate::event_loop::app::Timeouts;
use crate::event_loop::context::Context;
use crate::event_loop::limits::{Admission, AppLimits};
use crate::event_loop::timer::Tick;
use crate::metrics::Metric;
use crate::trace::trace;
use std::rc::Rc;

/// The parts of a connection beside its protocol, and the loop's context. An end takes effect (topics,
/// deadline, socket) when the protocol returns; that it has been decided is visible here at once.
pub struct Io<'a> {
    pub app: u32,
    pub transport: &'a mut Transport,
    pub js: &'a mut JsHandle,
    pub admission: &'a mut Option<Box<Admission>>,
    pub close: &'a mut Close,
    pub ctx: &'a mut Context,
    /// Received bytes wait behind the ones that are being handled.
    pub more: bool,
}

impl Io<'_> {
    pub fn id(&self) -> ExchangeId {
        self.transport.id
    }

    pub fn timeouts(&self) -> Timeouts {
        self.ctx.timeouts(self.app)
    }

    /// Whether the app shuts down.
    pub fn is_shutting_down(&self) -> bool {
        self.ctx.is_shutting_down(self.app)
    }

    /// Counts one in the metrics of the app.
    pub fn count(&self, metric: Metric) {
        self.transport.counts().one(metric);
    }

    /// The limits of the app, if it has any of its own.
    pub fn limits(&self) -> Option<&AppLimits> {
        self.ctx.guard(self.app).map(|guard| &guard.limits)
    }

    pub fn breach(&self, limit: Limit) {
        self.count(limit.metric());
        trace!(LOOP, self.id(), "over the limit {limit:?}");
    }

    // ---- sending

    pub fn send(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.transport.send(self.ctx, write);
    }

    pub fn send_dated(&mut self, write: impl FnOnce(&mut Vec<u8>, &[u8])) {
        self.transport.send_dated(self.ctx, write);
    }

    /// A payload: `owned`, if there is one, or `inline`.
    pub fn send_payload(&mut self, inline: &[u8], owned: Option<Vec<u8>>) {
        match owned {
            Some(bytes) => self.transport.push(self.ctx, bytes),
            None => self.send(|out| out.extend_from_slice(inline)),
        }
    }

    /// Bytes that other connections send as well.
    pub fn send_shared(&mut self, bytes: &Rc<SharedBytes>) {
        self.transport.push_shared(self.ctx, bytes);
    }

    pub fn flush_if_large(&mut self) {
        self.transport.flush_if_large(self.ctx);
    }

    pub fn unsent(&self) -> usize {
        self.transport.unsent()
    }

    // ---- deadlines

    pub fn set_timeout(&mut self, in_s: Tick) {
        self.transport.set_timeout(self.ctx, in_s);
    }

    pub fn set_deadline(&mut self, deadline: Tick) {
        self.transport.set_deadline(self.ctx, deadline);
    }

    // ---- JavaScript

    pub fn event(&mut self, event: JsEvent, payload: &[u8]) {
        self.ctx.event(event, self.transport.id, payload);
    }

    pub fn payload_event(&mut self, event: JsEvent, payload: Payload<'_>) {
        self.ctx.payload_event(event, self.transport.id, payload);
    }

    /// Called when an event was pushed with which JavaScript makes an object.
    pub fn attach(&mut self) {
        if *self.js == JsHandle::Detached {
            *self.js = JsHandle::Attached;
        }
    }

    /// Called when JavaScript is done with its object without being told: the response is complete.
    pub fn detach(&mut self) {
        if *self.js == JsHandle::Attached {
            *self.js = JsHandle::Detached;
        }
    }

    // ---- ends

    /// Whether commands of JavaScript are still executed: the connection is open, or ends behind them.
    pub fn takes_commands(&self) -> bool {
        self.close.takes_commands()
    }

    /// `code` and `reason` are for JavaScript, if it is to be told.
    pub fn end(&mut self, cause: Cause, code: u16, reason: &[u8]) {
        let (close, js) = self.close.after(cause, *self.js);
        if close != *self.close {
            trace!(LOOP, self.transport.id, "ends: {cause:?} {code}");
        }
        if (*self.js, js) == (JsHandle::Attached, JsHandle::Told) {
            self.event(JsEvent::Gone { code: u32::from(code) }, reason);
        }
        (*self.close, *self.js) = (close, js);
    }
}
