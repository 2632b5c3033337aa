//! The exported functions that show figures, as text of JSON or for scrapers, and that begin traces.

use super::engine::control;
use super::place;
use crate::event_loop::{Control, registry};
use crate::metrics::{Format, Reading, Scope, render};
use crate::trace;
use napi_derive::napi;

/// The figures of the process as JSON. They are there before the first App, too.
#[napi]
pub fn process_stats() -> String {
    render(Format::Json, Scope::Process, &registry::reading())
}

/// The figures of an app as JSON.
#[napi]
pub fn app_stats(engine: u32, app: u32) -> String {
    render(Format::Json, Scope::App, &reading_of(engine, app))
}

/// Zeros for an app that the loop has not added yet, or whose loop has ended.
fn reading_of(engine: u32, app: u32) -> Reading {
    let mut reading = Reading::default();
    place::with(engine, |session| {
        if let Some(counts) = session.event_loop.shared.counters.app(app) {
            counts.read(&mut reading);
        }
    });
    reading
}

/// Has the loop answer for `handler`, whose route is added after this, with figures: of its app alone, or of
/// the process.
#[napi]
pub fn declare_metrics(engine: u32, handler: u32, app_alone: bool) {
    let scope = if app_alone { Scope::App } else { Scope::Process };
    control(engine, Control::Metrics { handler, scope });
}

/// The answer for the value of an `Accept` header, where JavaScript answers: [content type, text].
#[napi]
pub fn metrics_answer(engine: u32, accept: String, app: Option<u32>) -> Vec<String> {
    let format = Format::accepted(accept.as_bytes());
    let (scope, reading) = match app {
        Some(app) => (Scope::App, reading_of(engine, app)),
        None => (Scope::Process, registry::reading()),
    };
    vec![format.content_type().to_owned(), render(format, scope, &reading)]
}

/// Begins the traces that `UWS_DEBUG` names; returns the names that are not known.
#[napi]
pub fn start_trace(list: String) -> Vec<String> {
    trace::start(&list)
}

/// The names that `UWS_DEBUG` may have.
#[napi]
pub fn trace_names() -> String {
    trace::known()
}
