//! Carrying out what JavaScript sent: the rare commands of the channel and the records of the batches.

use super::*;
use crate::router::{HandlerId, Router};
use smallvec::SmallVec;

impl EventLoop {
    pub(super) fn carry_out_commands(&mut self) {
        self.carry_out_control();
        let mut batch = std::mem::take(&mut self.commands);
        while self.ctx.shared.commands.take(&mut batch) {
            self.batches += 1;
            // What was put before this batch through the other channel counts as earlier.
            self.carry_out_control();
            let (bytes, owned) = batch.parts();
            let mut at = 0;
            while let Some(command) = CommandBatch::next(bytes, owned, &mut at) {
                self.carry_out(command);
            }
        }
        self.commands = batch;
    }

    pub(super) fn carry_out_control(&mut self) {
        while let Ok(control) = self.control.try_recv() {
            match control {
                Control::AddApp { app } => {
                    let apps = &mut self.ctx.apps;
                    apps.resize_with(apps.len().max(app as usize + 1), Default::default);
                }
                Control::Secure { app, settings } => {
                    if let Some(app) = self.app(app) {
                        app.names = Some(tls::Names::new(settings));
                    }
                }
                Control::ServerNames { app, change } => {
                    if let Some(names) = self.app(app).and_then(|app| app.names.as_mut()) {
                        names.change(change);
                    }
                }
                Control::Route { app, domain, method, pattern, priority, handler } => {
                    self.change_routes(app, domain.as_deref(), method, &pattern, |routes| {
                        routes.add(method, &pattern, priority, handler);
                    });
                }
                Control::RemoveRoute { app, domain, method, pattern } => {
                    self.change_routes(app, domain.as_deref(), method, &pattern, |routes| {
                        routes.remove(method, &pattern);
                    });
                }
                Control::Behaviour(behaviour) => {
                    let (id, behaviours) = (behaviour.id as usize, &mut self.ctx.behaviours);
                    behaviours.resize_with(behaviours.len().max(id + 1), || None);
                    behaviours[id] = Some(Arc::new(behaviour));
                }
                Control::Declared { handler, program } => self.ctx.declare(handler, program),
                Control::Timeouts { app, timeouts } => {
                    if let Some(app) = self.app(app) {
                        app.timeouts = timeouts;
                    }
                }
                Control::Filter { app } => {
                    if let Some(app) = self.app(app) {
                        app.filter = true;
                    }
                }
                Control::AddChild { app, descriptor } => {
                    if let Some(app) = self.app(app) {
                        app.add_child(descriptor);
                    }
                }
                Control::RemoveChild { app, descriptor } => {
                    if let Some(app) = self.app(app) {
                        app.remove_child(descriptor);
                    }
                }
                Control::Adopt { app, stream, peer, .. } => self.adopt(stream, peer, app),
                Control::Listen { app, listener, bound } => self.listen(app, listener, bound),
                Control::Panic(message) => panic!("{message}"),
            }
        }
    }

    /// Handlers that are replaced or removed by it are not named in any event from here on, and JavaScript is told so.
    fn change_routes(
        &mut self,
        app: u32,
        domain: Option<&str>,
        method: Method,
        pattern: &[u8],
        change: impl FnOnce(&mut Router),
    ) {
        let Some(app) = self.app(app) else { return };
        let mut gone = SmallVec::<[HandlerId; 1]>::new();
        app.change_routes(domain, |routes| {
            gone = routes.at(method, pattern);
            change(routes);
            let left = routes.at(method, pattern);
            gone.retain(|id| !left.contains(id));
        });
        for id in gone {
            self.ctx.event(EventKind::Forgotten, ConnId::default(), [id, 0, 0], b"");
        }
    }

    fn app(&mut self, app: u32) -> Option<&mut context::App> {
        self.ctx.apps.get_mut(app as usize)
    }

    pub(super) fn listen(&mut self, app: u32, id: u32, bound: Bound) {
        let index = self.listeners.iter().position(Option::is_none).unwrap_or(self.listeners.len());
        let mut socket = Listener::new(bound);
        if let Err(error) = socket.register(self.poll.registry(), listener_token(index)) {
            let text = format!("uws-rs: a listening socket could not be watched: {error}");
            return self.ctx.event(EventKind::Warning, ConnId::default(), [0; 3], text.as_bytes());
        }
        self.listeners.resize_with(self.listeners.len().max(index + 1), || None);
        self.listeners[index] = Some(Listening { socket, app, id, rest: None });
        self.quiet = false;
    }

    pub(super) fn carry_out(&mut self, command: Command<'_>) {
        match command.op {
            Op::Publish => return self.publish(command),
            Op::Forget => return self.ctx.forget(command.arg),
            Op::CloseApp => return self.close_app(command.arg),
            Op::CloseListener => {
                return self.close_listeners(|listening| listening.id == command.arg);
            }
            _ => {}
        }
        let EventLoop { slots, ctx, .. } = self;
        let connection = connection_at(slots, command.id.slot as usize).filter(|c| c.id == command.id);
        let Some(connection) = connection else { return };
        match command.op {
            Op::Respond => connection.http_command(ctx, command, Connection::respond),
            Op::Write => connection.http_command(ctx, command, Connection::write_chunk),
            Op::TryEnd => connection.http_command(ctx, command, Connection::try_end),
            Op::Finish => connection.http_command(ctx, command, Connection::finish),
            Op::Upgrade => connection.http_command(ctx, command, Connection::upgrade),
            Op::Pause => connection.pause(),
            Op::Resume => connection.unpause(ctx),
            Op::WantWritable => connection.want_writable(ctx),
            Op::Release => connection.release(ctx),
            Op::Close => {
                connection.let_go();
                connection.close_socket(ctx);
            }
            Op::Send => connection.websocket_send(ctx, command),
            Op::End => connection.websocket_end(ctx, &command),
            Op::Subscribe => connection.subscribe(ctx, command.arg),
            Op::Unsubscribe => connection.unsubscribe(ctx, command.arg),
            Op::Overflow => connection.websocket_overflow(ctx),
            Op::ServerName => connection.server_name_answered(ctx),
            Op::Publish | Op::CloseApp | Op::CloseListener | Op::Forget => {}
        }
    }

    /// Goes to every subscriber but the sender; each distinct frame is built once.
    pub(super) fn publish(&mut self, command: Command<'_>) {
        let payload = command.owned.as_deref().unwrap_or(command.payload);
        let flag = |flag: u32| command.flags & flag != 0;
        let mut publication = Publication::new(flag(send_flag::BINARY), flag(send_flag::COMPRESS), payload);
        let sender = (command.id.slot != NOBODY).then_some(command.id.slot);
        // Backwards: a subscriber that is closed on the way leaves the topic, and the last one takes its place.
        for index in (0..self.ctx.topics.count(command.arg)).rev() {
            let Some(slot) = self.ctx.topics.subscriber(command.arg, index) else { continue };
            if Some(slot) == sender {
                continue;
            }
            let EventLoop { slots, ctx, .. } = self;
            if let Some(connection) = connection_at(slots, slot as usize) {
                connection.deliver(ctx, &mut publication);
            }
        }
        publication.recycle(&mut self.ctx.spare);
    }

    /// JavaScript has run the handlers of all its objects; what remains is to close the sockets.
    pub(super) fn close_app(&mut self, app: u32) {
        self.close_listeners(|listening| listening.app == app);
        let EventLoop { slots, ctx, .. } = self;
        for connection in slots.iter_mut().filter_map(|slot| slot.connection.as_mut()) {
            if connection.app == app {
                // What was answered before the close leaves first, as far as the kernel takes it.
                connection.flush(ctx);
                connection.let_go();
                connection.close_socket(ctx);
            }
        }
    }

    pub(super) fn close_listeners(&mut self, mut which: impl FnMut(&Listening) -> bool) {
        for place in &mut self.listeners {
            if place.as_ref().is_some_and(&mut which) {
                *place = None;
            }
        }
    }
}
