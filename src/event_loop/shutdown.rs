//! `app.shutdown()`: an app accepts nothing more, its connections end as soon as they owe nothing, and those
//! that are left at a deadline are cut.
//!
//! Owner: the `App`, from the command to the event that says it is done, one for each command. The app counts
//! its open sockets itself (`open`: up in `adopt`, down in `enter_closed`).
//!
//! | connection | ends |
//! | --- | --- |
//! | between two requests, for a second at least | at once, if the kernel has no bytes of it |
//! | between two requests, for less | behind the next request, or after `NEXT_REQUEST` seconds |
//! | with requests that were read | behind their responses, the last of which says `Connection: close` |
//! | without a request so far | behind its first, or after `FIRST_REQUEST` seconds |
//! | WebSocket | behind what is queued for it, by a close frame with 1001 |
//!
//! None of this needs JavaScript: an app shuts down while JavaScript is blocked, too.

use super::app::Shutdown;
use super::net::listener::BACKLOG;
use super::timer::Tick;
use super::turn::*;
use crate::channel::{ExchangeId, JsEvent};
use std::io::ErrorKind;

impl EventLoop {
    pub(super) fn shut_down(&mut self, app: u32, seconds: Tick) {
        // Connections that other loops handed over before belong to the app.
        self.execute_inbox();
        let Some(entry) = self.ctx.apps.get_mut(app as usize) else { return };
        if entry.shutdown.is_none() {
            entry.shutdown = Some(Shutdown { cut_at: Tick::MAX, cut: 0 });
            self.ctx.shutting_down += 1;
            self.accept_the_rest(app);
            self.close_listeners(|listening| listening.app == app);
            self.ask_to_end(app);
        }
        self.hurry_up(app, seconds);
    }

    /// Cuts an app that shuts down after so many seconds, unless it would be cut earlier.
    pub(super) fn hurry_up(&mut self, app: u32, seconds: Tick) {
        // Rounded up, since the current tick has begun already.
        let cut_at = self.ctx.now().saturating_add(seconds).saturating_add(1);
        let shutdown = self.ctx.apps.get_mut(app as usize).and_then(|app| app.shutdown.as_mut());
        let Some(shutdown) = shutdown else { return };
        shutdown.cut_at = shutdown.cut_at.min(cut_at);
        if seconds == 0 {
            // The kernel takes what it can of the last bytes.
            self.flush();
            self.cut(app);
        }
    }

    /// Accepts the connections that clients take for accepted, since the kernel resets them with the
    /// listener. Those that come while this goes on are not waited for without end.
    fn accept_the_rest(&mut self, app: u32) {
        for index in 0..self.listeners.len() {
            for _ in 0..=BACKLOG {
                let Some(Some(listening)) = self.listeners.get(index) else { break };
                if listening.app != app {
                    break;
                }
                match listening.socket.accept() {
                    Ok((stream, peer)) => self.let_in(stream, peer, app),
                    Err(error) if is_transient(&error) => {}
                    Err(error) => {
                        if error.kind() != ErrorKind::WouldBlock {
                            self.rest(index, &error);
                        }
                        break;
                    }
                }
            }
        }
    }

    fn ask_to_end(&mut self, app: u32) {
        let EventLoop { slots, ctx, .. } = self;
        for connection in slots.iter_mut().filter_map(|slot| slot.connection.as_mut()) {
            if connection.app() == app {
                connection.shut_down(ctx);
            }
        }
    }

    /// Cuts the apps whose time is over; called once in each tick.
    pub(super) fn cut_due(&mut self) {
        let now = self.ctx.now();
        for app in 0..self.ctx.apps.len() {
            if self.ctx.apps[app].shutdown.as_ref().is_some_and(|shutdown| shutdown.cut_at <= now) {
                self.cut(app as u32);
            }
        }
    }

    fn cut(&mut self, app: u32) {
        let EventLoop { slots, ctx, .. } = self;
        for connection in slots.iter_mut().filter_map(|slot| slot.connection.as_mut()) {
            if connection.app() == app {
                ctx.note_cut(app, connection.owes());
                connection.cut(ctx);
            }
        }
    }

    /// Tells JavaScript of the apps whose last connection is over. All ends of their connections were told
    /// before.
    pub(super) fn finish_shutdowns(&mut self) {
        for app in 0..self.ctx.apps.len() {
            let entry = &mut self.ctx.apps[app];
            if entry.open > 0 {
                continue;
            }
            if let Some(Shutdown { cut, .. }) = entry.shutdown.take() {
                self.ctx.shutting_down -= 1;
                self.ctx.event(JsEvent::ShutDown { app: app as u32, cut }, ExchangeId::default(), b"");
            }
        }
    }
}
