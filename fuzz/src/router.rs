//! The router against a list of routes that is searched from front to back.

use crate::input::steps;
use arbitrary::Arbitrary;
use uws_rs::protocol::http::request::Span;
use uws_rs::routing::router::{HandlerId, MAX_SEGMENTS, Method, Priority, RouteKind, Router};

#[derive(Arbitrary, Debug)]
enum Step<'a> {
    Add(u8, Pattern, u8),
    Remove(u8, Pattern),
    At(u8, Pattern),
    Match(u8, Path, bool, u8),
    MatchBytes(&'a [u8], bool),
    AddBytes(u8, &'a [u8]),
}

/// Segments by their numbers in `SEGMENTS`; short lists are alike often enough.
#[derive(Arbitrary, Debug)]
struct Pattern(Vec<u8>);

#[derive(Arbitrary, Debug)]
struct Path(Vec<u8>);

const SEGMENTS: [&str; 16] = [
    "a",
    "b",
    "",
    ":x",
    ":y",
    "*",
    "*.js",
    "segments",
    "segments\0",
    "segments of",
    "segments or",
    "a\0",
    ":",
    "c",
    "é",
    "*",
];
const METHODS: [Method; 11] = [
    Method::Get,
    Method::Post,
    Method::Any,
    Method::WebSocket,
    Method::Options,
    Method::Delete,
    Method::Patch,
    Method::Put,
    Method::Head,
    Method::Connect,
    Method::Trace,
];
const NAMES: [&str; 11] =
    ["GET", "POST", "BREW", "get", "OPTIONS", "DELETE", "PATCH", "PUT", "HEAD", "CONNECT", "TRACE"];

fn text(segments: &[u8]) -> Vec<u8> {
    let names = segments.iter().map(|at| SEGMENTS[usize::from(*at) % SEGMENTS.len()]);
    let mut text = b"/".to_vec();
    text.extend_from_slice(names.take(MAX_SEGMENTS + 3).collect::<Vec<_>>().join("/").as_bytes());
    text
}

struct Route {
    method: Method,
    pattern: Vec<u8>,
    priority: Priority,
    id: HandlerId,
}

/// The routes in the order of their registration.
#[derive(Default)]
struct Routes {
    list: Vec<Route>,
    /// The beginnings of patterns up to and including a wildcard. Those of one place are asked in the order in
    /// which they came, each as long as there is any route that begins so.
    beginnings: Vec<(Method, Vec<u8>)>,
}

pub fn run(data: &[u8]) {
    let (mut router, mut routes) = (Router::new(), Routes::default());
    for (number, step) in steps::<Step>(data, 400).enumerate() {
        let method = |at: u8| METHODS[usize::from(at) % METHODS.len()];
        match step {
            Step::Add(at, Pattern(pattern), priority) => {
                add(&mut router, &mut routes, method(at), text(&pattern), priority, number as HandlerId);
            }
            Step::AddBytes(at, pattern) => {
                add(&mut router, &mut routes, method(at), pattern.to_vec(), 0, number as HandlerId);
            }
            Step::Remove(at, Pattern(pattern)) => {
                let pattern = text(&pattern);
                assert_eq!(router.remove(method(at), &pattern), routes.remove(method(at), &pattern));
            }
            Step::At(at, Pattern(pattern)) => {
                let pattern = text(&pattern);
                let mut here: Vec<_> =
                    routes.list.iter().filter(|route| route.is_at(method(at), &pattern)).collect();
                here.sort_by_key(|route| route.priority);
                let ids: Vec<_> = here.iter().map(|route| route.id).collect();
                assert_eq!(router.at(method(at), &pattern)[..], ids);
            }
            Step::Match(name, Path(path), upgrade, stop) => {
                let name = NAMES[usize::from(name) % NAMES.len()].as_bytes();
                check(&router, &routes, name, &text(&path), upgrade, usize::from(stop));
            }
            Step::MatchBytes(path, upgrade) => check(&router, &routes, b"GET", path, upgrade, usize::MAX),
        }
        assert_eq!(router.is_empty(), routes.list.is_empty());
    }
}

fn add(router: &mut Router, routes: &mut Routes, method: Method, pattern: Vec<u8>, priority: u8, id: u32) {
    let priority = [Priority::Medium, Priority::High, Priority::Low][usize::from(priority) % 3];
    router.add(method, &pattern, priority, id);
    routes.add(Route { method, pattern, priority, id });
}

impl Routes {
    /// A new route replaces one of the same method, pattern and priority, and keeps its rank.
    fn add(&mut self, new: Route) {
        let same =
            |route: &&mut Route| route.is_at(new.method, &new.pattern) && route.priority == new.priority;
        if let Some(route) = self.list.iter_mut().find(same) {
            route.id = new.id;
            return;
        }
        if let Some(beginning) = new.beginning().filter(|beginning| !self.beginnings.contains(beginning)) {
            self.beginnings.push(beginning);
        }
        self.list.push(new);
    }

    fn remove(&mut self, method: Method, pattern: &[u8]) -> bool {
        let count = self.list.len();
        self.list.retain(|route| !route.is_at(method, pattern));
        let left: Vec<_> = self.list.iter().filter_map(Route::beginning).collect();
        self.beginnings.retain(|beginning| left.contains(beginning));
        self.list.len() < count
    }

    /// The place of a route's wildcard among those of one place.
    fn wildcard_order(&self, route: &Route) -> Option<usize> {
        let beginning = route.beginning()?;
        self.beginnings.iter().position(|each| *each == beginning)
    }
}

impl Route {
    /// Its method, and its pattern up to and including the first wildcard.
    fn beginning(&self) -> Option<(Method, Vec<u8>)> {
        let pattern = bare(&self.pattern);
        let star = pattern.iter().position(|segment| rank(segment) == 2)?;
        Some((self.method, pattern[..=star].join(&b"/"[..])))
    }

    fn is_at(&self, method: Method, pattern: &[u8]) -> bool {
        self.method == method && bare(&self.pattern) == bare(pattern)
    }
}

fn rank(segment: &[u8]) -> u8 {
    match segment.first() {
        Some(b'*') => 2,
        Some(b':') => 1,
        _ => 0,
    }
}

fn split(path: &[u8]) -> Vec<&[u8]> {
    if path.is_empty() { Vec::new() } else { path[1..].split(|byte| *byte == b'/').collect() }
}

/// The segments without the names of parameters.
fn bare(pattern: &[u8]) -> Vec<&[u8]> {
    split(pattern).into_iter().map(|segment| if rank(segment) == 1 { &b":"[..] } else { segment }).collect()
}

type Match = (HandlerId, RouteKind, Vec<Vec<u8>>);

fn check(router: &Router, routes: &Routes, name: &[u8], path: &[u8], upgrade: bool, stop: usize) {
    let mut expected = naive(routes, name, path, upgrade);
    let stops = stop < expected.len();
    expected.truncate(stop.saturating_add(1));
    let mut found: Vec<Match> = Vec::new();
    let ended = router.route(name, path, upgrade, &mut |id, kind, spans: &[Span]| {
        let values: Vec<_> = spans.iter().map(|span| span.of(path).to_vec()).collect();
        found.push((id, kind, values));
        found.len() <= stop
    });
    assert_eq!(found, expected, "{}", path.escape_ascii());
    assert_eq!(ended, stops);
}

/// All routes that match, in the order in which they are asked: by tree, then segment by segment by rank.
fn naive(routes: &Routes, name: &[u8], path: &[u8], upgrade: bool) -> Vec<Match> {
    let tree = |method: Method| match method {
        Method::WebSocket => (upgrade && name == b"GET").then_some(0),
        Method::Any => Some(2),
        method => (Method::from_request(name) == Some(method)).then_some(1),
    };
    let segments = split(path);
    let mut found = Vec::new();
    for route in &routes.list {
        let pattern = bare(&route.pattern);
        let Some((tree, values)) = tree(route.method).zip(fit(&pattern, &segments)) else { continue };
        let ranks: Vec<_> = pattern.iter().map(|segment| rank(segment)).collect();
        let order = routes.wildcard_order(route);
        let kind = if tree == 0 { RouteKind::WebSocket } else { RouteKind::Http };
        found.push(((tree, ranks, order, route.priority), (route.id, kind, values)));
    }
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    found.into_iter().map(|(_, found)| found).collect()
}

/// The values of the parameters, if the path matches.
fn fit(pattern: &[&[u8]], segments: &[&[u8]]) -> Option<Vec<Vec<u8>>> {
    let star = pattern.iter().position(|segment| rank(segment) == 2);
    let upto = star.unwrap_or(pattern.len());
    let length_fits = match star {
        Some(star) => star + 1 == pattern.len() && star < segments.len() && star < MAX_SEGMENTS,
        None => segments.len() == upto && segments.len() <= MAX_SEGMENTS,
    };
    let mut values = Vec::new();
    let fits = length_fits
        && pattern[..upto].iter().zip(segments).all(|(part, segment)| {
            if rank(part) == 1 {
                values.push(segment.to_vec());
                !segment.is_empty()
            } else {
                part == segment
            }
        });
    fits.then_some(values)
}
