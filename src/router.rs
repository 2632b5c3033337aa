//! Routes: from a method and a path to the handlers that may answer, in the order they are to be asked.
//!
//! A plain data structure, owned by the loop thread. Knows neither requests nor what a handler is; a handler that
//! yields is the caller's going on to the next match.
//!
//! The order is that of uWebSockets.js 20.57: the `ws` routes (for an upgrade), then the routes of the method, then
//! those of any method. Within each, literal segments before parameters before wildcards, with backtracking.
#![forbid(unsafe_code)]

use smallvec::SmallVec;

use crate::protocol::request::Span;

pub type HandlerId = u32;

/// More segments than this in a path are seen by wildcards only; a pattern with more never matches.
pub const MAX_SEGMENTS: usize = 100;

/// Paths with more segments than this cost an allocation.
const INLINE_SEGMENTS: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
    Options,
    Delete,
    Patch,
    Put,
    Head,
    Connect,
    Trace,
    /// Every method, known here or not, after the method's own routes.
    Any,
    /// A GET that asks for an upgrade, before all others.
    WebSocket,
}

impl Method {
    const COUNT: usize = Method::WebSocket as usize + 1;

    /// The method a request names, which is case-sensitive (RFC 9110, 9.1).
    pub fn from_request(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"GET" => Method::Get,
            b"POST" => Method::Post,
            b"OPTIONS" => Method::Options,
            b"DELETE" => Method::Delete,
            b"PATCH" => Method::Patch,
            b"PUT" => Method::Put,
            b"HEAD" => Method::Head,
            b"CONNECT" => Method::Connect,
            b"TRACE" => Method::Trace,
            _ => return None,
        })
    }
}

/// Order among the handlers of one and the same method and pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    High,
    Medium,
    Low,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteKind {
    Http,
    WebSocket,
}

/// Told of a match: the handler, its kind, and where in the path its parameters are. Returns whether to go on.
pub type Visit<'a> = dyn FnMut(HandlerId, RouteKind, &[Span]) -> bool + 'a;

#[derive(Debug, Default)]
pub struct Router {
    trees: [Node; Method::COUNT],
}

impl Router {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a route, in place of one of the same method, pattern and priority. The names of parameters are no part
    /// of a pattern: `/:a` and `/:b` are the same.
    pub fn add(&mut self, method: Method, pattern: &[u8], priority: Priority, id: HandlerId) {
        let mut node = &mut self.trees[method as usize];
        for segment in segments(pattern) {
            node = node.child_mut(segment);
        }
        let at = node.handlers.partition_point(|&(other, _)| other < priority);
        match node.handlers.get_mut(at) {
            Some(handler) if handler.0 == priority => handler.1 = id,
            _ => node.handlers.insert(at, (priority, id)),
        }
    }

    /// Removes the routes of this method and pattern; false if there was none.
    pub fn remove(&mut self, method: Method, pattern: &[u8]) -> bool {
        self.trees[method as usize].remove(segments(pattern))
    }

    /// Visits every match in the order of the module's description until `visit` returns false. `method` is as the
    /// client sent it, `upgrade` whether it asks for a WebSocket. True when a visit ended it.
    pub fn route(&self, method: &[u8], path: &[u8], upgrade: bool, visit: &mut Visit) -> bool {
        let method = Method::from_request(method);
        let websocket = (upgrade && method == Some(Method::Get)).then_some(Method::WebSocket);
        let mut walk = Walk::new(path, visit);
        [websocket, method, Some(Method::Any)].into_iter().flatten().any(|method| {
            walk.kind = if method == Method::WebSocket { RouteKind::WebSocket } else { RouteKind::Http };
            walk.visit_node(&self.trees[method as usize], 0)
        })
    }
}

/// The names of a pattern's parameters, without the colon, in the order of their values.
pub fn parameter_names(pattern: &[u8]) -> impl Iterator<Item = &[u8]> {
    segments(pattern).filter_map(|segment| segment.strip_prefix(b":"))
}

/// The segments of a pattern. As in the original the first byte is passed over, slash or not.
fn segments(pattern: &[u8]) -> impl Iterator<Item = &[u8]> {
    pattern.get(1..).into_iter().flat_map(|rest| rest.split(|&byte| byte == b'/'))
}

#[derive(Debug, Default)]
struct Node {
    /// Sorted, since a segment equals at most one of them.
    literals: Vec<(Box<[u8]>, Node)>,
    parameter: Option<Box<Node>>,
    /// Segments that begin with `*`, in order of registration. What a pattern has after one is never reached.
    wildcards: Vec<(Box<[u8]>, Node)>,
    /// In order of priority.
    handlers: SmallVec<[(Priority, HandlerId); 1]>,
}

impl Node {
    fn child_mut(&mut self, segment: &[u8]) -> &mut Node {
        match segment.first() {
            Some(b':') => self.parameter.get_or_insert_default(),
            Some(b'*') => {
                let at = position(&self.wildcards, segment).unwrap_or_else(|| {
                    self.wildcards.push((segment.into(), Node::default()));
                    self.wildcards.len() - 1
                });
                &mut self.wildcards[at].1
            }
            _ => {
                let at = search(&self.literals, segment).unwrap_or_else(|at| {
                    self.literals.insert(at, (segment.into(), Node::default()));
                    at
                });
                &mut self.literals[at].1
            }
        }
    }

    fn literal(&self, segment: &[u8]) -> Option<&Node> {
        search(&self.literals, segment).ok().map(|at| &self.literals[at].1)
    }

    /// Removes the handlers at the end of `rest`, and on the way back the nodes that lead nowhere any more.
    fn remove<'a>(&mut self, mut rest: impl Iterator<Item = &'a [u8]>) -> bool {
        let Some(segment) = rest.next() else {
            return !std::mem::take(&mut self.handlers).is_empty();
        };
        let rest: &mut dyn Iterator<Item = &[u8]> = &mut rest;
        match segment.first() {
            Some(b':') => {
                let Some(node) = &mut self.parameter else { return false };
                let removed = node.remove(rest);
                self.parameter = self.parameter.take().filter(|node| !node.is_empty());
                removed
            }
            Some(b'*') => remove_below(&mut self.wildcards, segment, rest),
            _ => remove_below(&mut self.literals, segment, rest),
        }
    }

    fn is_empty(&self) -> bool {
        self.literals.is_empty()
            && self.parameter.is_none()
            && self.wildcards.is_empty()
            && self.handlers.is_empty()
    }
}

fn position(children: &[(Box<[u8]>, Node)], segment: &[u8]) -> Option<usize> {
    children.iter().position(|(name, _)| **name == *segment)
}

fn search(children: &[(Box<[u8]>, Node)], segment: &[u8]) -> Result<usize, usize> {
    children.binary_search_by(|(name, _)| (**name).cmp(segment))
}

fn remove_below(
    children: &mut Vec<(Box<[u8]>, Node)>,
    segment: &[u8],
    rest: &mut dyn Iterator<Item = &[u8]>,
) -> bool {
    let Some(at) = position(children, segment) else { return false };
    let removed = children[at].1.remove(rest);
    if children[at].1.is_empty() {
        children.remove(at);
    }
    removed
}

/// One path on its way through the trees.
struct Walk<'a, 'v> {
    path: &'a [u8],
    /// At most `MAX_SEGMENTS`.
    segments: SmallVec<[Span; INLINE_SEGMENTS]>,
    /// The path has more segments than were kept.
    overlong: bool,
    parameters: SmallVec<[Span; INLINE_SEGMENTS]>,
    kind: RouteKind,
    visit: &'a mut Visit<'v>,
}

impl<'a, 'v> Walk<'a, 'v> {
    fn new(path: &'a [u8], visit: &'a mut Visit<'v>) -> Self {
        let mut all = spans(path);
        let segments = all.by_ref().take(MAX_SEGMENTS).collect();
        let overlong = all.next().is_some();
        Walk { path, segments, overlong, parameters: SmallVec::new(), kind: RouteKind::Http, visit }
    }

    /// Visits the matches below a node that stands before segment `at`; true when a visit ended it.
    fn visit_node(&mut self, node: &Node, at: usize) -> bool {
        let Some(&span) = self.segments.get(at) else {
            return !self.overlong && self.visit_handlers(node);
        };
        let segment = span.of(self.path);
        if node.literal(segment).is_some_and(|child| self.visit_node(child, at + 1)) {
            return true;
        }
        if let Some(child) = node.parameter.as_deref().filter(|_| !segment.is_empty()) {
            self.parameters.push(span);
            if self.visit_node(child, at + 1) {
                return true;
            }
            self.parameters.pop();
        }
        node.wildcards.iter().any(|(_, child)| self.visit_handlers(child))
    }

    fn visit_handlers(&mut self, node: &Node) -> bool {
        node.handlers.iter().any(|&(_, id)| !(self.visit)(id, self.kind, &self.parameters))
    }
}

/// Where the segments of a path are. Its first byte is passed over, as in `segments`.
fn spans(path: &[u8]) -> impl Iterator<Item = Span> {
    let mut start = 1;
    std::iter::from_fn(move || {
        let rest = path.get(start..)?;
        let end = start + memchr::memchr(b'/', rest).unwrap_or(rest.len());
        let span = Span::new(start, end);
        start = end + 1;
        Some(span)
    })
}
