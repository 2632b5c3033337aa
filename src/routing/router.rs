//! Routes: finds the handlers for a method and a path, in the order in which they are asked.
//!
//! A plain data structure, owned by the loop thread. It knows neither requests nor the meaning of a handler.
//! When a handler yields, the caller goes on to the next match.
//!
//! The order is that of uWebSockets.js 20.57: the `ws` routes (for an upgrade), then the routes of the
//! method, then those of any method. Within each, literal segments before parameters before wildcards, with
//! backtracking.
#![forbid(unsafe_code)]

use smallvec::SmallVec;
use std::cmp::Ordering;

use crate::protocol::http::request::Span;

pub type HandlerId = u32;

/// Only wildcards match a path with more segments than this; a pattern with more never matches.
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

    /// The method a request names, which is case-sensitive (RFC 9110 §9.1).
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

/// Called with each match: the handler, its kind, and the spans of its parameters in the path. Returns
/// whether to go on.
pub type Visit<'a> = dyn FnMut(HandlerId, RouteKind, &[Span]) -> bool + 'a;

#[derive(Debug, Default)]
pub struct Router {
    trees: [Node; Method::COUNT],
}

impl Router {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a route, in place of one of the same method, pattern and priority. The names of parameters do not
    /// belong to a pattern: `/:a` and `/:b` are the same.
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

    /// The handlers of exactly this method and pattern, in the order they are asked.
    pub fn at(&self, method: Method, pattern: &[u8]) -> SmallVec<[HandlerId; 1]> {
        let start = Some(&self.trees[method as usize]);
        let node = segments(pattern).fold(start, |node, segment| node?.child(segment));
        node.into_iter().flat_map(|node| &node.handlers).map(|&(_, id)| id).collect()
    }

    /// The handlers of all routes.
    pub fn handlers(&self) -> Vec<HandlerId> {
        let mut all = Vec::new();
        self.trees.iter().for_each(|tree| tree.list_handlers(&mut all));
        all
    }

    pub fn is_empty(&self) -> bool {
        self.trees.iter().all(Node::is_empty)
    }

    /// Visits every match in the order of the module's description until `visit` returns false. `method` is
    /// as the client sent it, `upgrade` whether it asks for a WebSocket. True when a visit ended it.
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

/// The segments of a pattern. As in the original the first byte is skipped, slash or not.
///
/// Those that no path can reach are one segment. So the trees are never deeper than paths are long, however
/// long a pattern is, and what walks them, their end included, may do so by recursion.
fn segments(pattern: &[u8]) -> impl Iterator<Item = &[u8]> {
    pattern.get(1..).into_iter().flat_map(|rest| rest.splitn(MAX_SEGMENTS + 2, |&byte| byte == b'/'))
}

#[derive(Debug, Default)]
struct Node {
    literals: Literals,
    parameter: Option<Box<Node>>,
    /// Segments that begin with `*`, in order of registration. Segments of a pattern behind a wildcard are
    /// never reached.
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
            _ => self.literals.get_or_insert(segment),
        }
    }

    fn child(&self, segment: &[u8]) -> Option<&Node> {
        match segment.first() {
            Some(b':') => self.parameter.as_deref(),
            Some(b'*') => position(&self.wildcards, segment).map(|at| &self.wildcards[at].1),
            _ => self.literals.get(segment),
        }
    }

    /// Removes the handlers at the end of `rest`, and the nodes on the way that lead nowhere any more.
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
            _ => self.literals.remove(segment, rest),
        }
    }

    fn list_handlers(&self, all: &mut Vec<HandlerId>) {
        all.extend(self.handlers.iter().map(|&(_, id)| id));
        let named = self.literals.children.iter().chain(&self.wildcards).map(|(_, node)| node);
        named.chain(self.parameter.as_deref()).for_each(|node| node.list_handlers(all));
    }

    fn is_empty(&self) -> bool {
        self.literals.children.is_empty()
            && self.parameter.is_none()
            && self.wildcards.is_empty()
            && self.handlers.is_empty()
    }
}

fn position(children: &[(Box<[u8]>, Node)], segment: &[u8]) -> Option<usize> {
    children.iter().position(|(name, _)| **name == *segment)
}

/// The children for literal segments. A path's segment equals at most one of them.
#[derive(Debug, Default)]
struct Literals {
    /// Sorted.
    children: Vec<(Box<[u8]>, Node)>,
    /// The first bytes of each child's name. Most comparisons need only these, and not the names, which are
    /// elsewhere in memory.
    prefixes: Vec<u64>,
}

impl Literals {
    fn get(&self, segment: &[u8]) -> Option<&Node> {
        self.search(segment).ok().map(|at| &self.children[at].1)
    }

    fn get_or_insert(&mut self, segment: &[u8]) -> &mut Node {
        let at = self.search(segment).unwrap_or_else(|at| {
            self.children.insert(at, (segment.into(), Node::default()));
            self.prefixes.insert(at, prefix(segment));
            at
        });
        &mut self.children[at].1
    }

    /// As [`Node::remove`].
    fn remove(&mut self, segment: &[u8], rest: &mut dyn Iterator<Item = &[u8]>) -> bool {
        let Ok(at) = self.search(segment) else { return false };
        let removed = self.children[at].1.remove(rest);
        if self.children[at].1.is_empty() {
            self.children.remove(at);
            self.prefixes.remove(at);
        }
        removed
    }

    /// The index of the segment, or the one at which it would have to be inserted.
    fn search(&self, segment: &[u8]) -> Result<usize, usize> {
        let wanted = prefix(segment);
        let first = self.prefixes.partition_point(|&prefix| prefix < wanted);
        let alike = self.prefixes[first..].iter().take_while(|&&prefix| prefix == wanted).count();
        let found =
            self.children[first..first + alike].binary_search_by(|(name, _)| compare_alike(name, segment));
        found.map(|at| first + at).map_err(|at| first + at)
    }
}

/// Orders names whose prefixes are equal. If no name is longer than a prefix, they differ only in zero bytes
/// at the end.
fn compare_alike(name: &[u8], segment: &[u8]) -> Ordering {
    if name.len().max(segment.len()) <= PREFIX { name.len().cmp(&segment.len()) } else { name.cmp(segment) }
}

const PREFIX: usize = 8;

/// The first bytes of a segment as a number, which orders segments. Segments with the same number may still
/// differ.
fn prefix(segment: &[u8]) -> u64 {
    let mut bytes = [0; PREFIX];
    let len = segment.len().min(PREFIX);
    bytes[..len].copy_from_slice(&segment[..len]);
    u64::from_be_bytes(bytes)
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
        if node.literals.get(segment).is_some_and(|child| self.visit_node(child, at + 1)) {
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

/// The spans of the segments of a path. Its first byte is skipped, as in `segments`.
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Handler, kind, parameters.
    type Match = (HandlerId, RouteKind, Vec<Vec<u8>>);

    fn matches(router: &Router, method: &str, path: &str, upgrade: bool) -> Vec<Match> {
        let mut found = Vec::new();
        let stopped = router.route(method.as_bytes(), path.as_bytes(), upgrade, &mut |id, kind, spans| {
            let values = spans.iter().map(|span| span.of(path.as_bytes()).to_vec());
            found.push((id, kind, values.collect()));
            true
        });
        assert!(!stopped);
        found
    }

    fn ids(router: &Router, method: &str, path: &str) -> Vec<HandlerId> {
        matches(router, method, path, false).into_iter().map(|(id, ..)| id).collect()
    }

    fn router(routes: &[(Method, &str)]) -> Router {
        let mut router = Router::new();
        for (id, (method, pattern)) in routes.iter().enumerate() {
            router.add(*method, pattern.as_bytes(), Priority::Medium, id as HandlerId);
        }
        router
    }

    fn method_named(name: &str) -> Method {
        match name {
            "any" => Method::Any,
            "ws" => Method::WebSocket,
            "del" => Method::Delete,
            _ => Method::from_request(name.to_ascii_uppercase().as_bytes()).unwrap(),
        }
    }

    fn show(matches: &[Match]) -> String {
        matches.iter().fold(String::new(), |mut text, (id, _, values)| {
            text.push_str(&format!(" {id}"));
            if !values.is_empty() {
                text.push_str(&format!("({})", String::from_utf8(values.join(&b',')).unwrap()));
            }
            text
        })
    }

    #[test]
    fn matches_in_the_order_of_the_original() {
        let golden = include_str!("../../testdata/routes.txt");
        let mut requests = 0;
        for block in golden.split("\n\n").skip(1) {
            let mut router = Router::new();
            for (at, line) in block.lines().enumerate() {
                let (what, rest) = line.split_once(' ').unwrap();
                let (method, pattern) = rest.split_once(' ').unwrap();
                match what {
                    "+" => {
                        let method = method_named(method);
                        router.add(method, pattern.as_bytes(), Priority::Medium, at as HandlerId);
                    }
                    "-" => drop(router.remove(method_named(method), pattern.as_bytes())),
                    _ => {
                        let (path, expected) = pattern.split_once(" =").unwrap();
                        let found = matches(&router, method, path, what == "?^");
                        assert_eq!(show(&found), expected, "{line}\nin\n{block}");
                        requests += 1;
                    }
                }
            }
        }
        assert!(requests > 1500, "{requests}");
    }

    #[test]
    fn table() {
        use Method::{Any, Get, Post};
        // Routes, request, ids expected.
        type Case<'a> = (&'a [(Method, &'a str)], (&'a str, &'a str), &'a [HandlerId]);
        let table: &[Case] = &[
            (&[(Get, "/*"), (Get, "/a/:x"), (Get, "/:y/b"), (Get, "/a/b")], ("GET", "/a/b"), &[3, 1, 2, 0]),
            (&[(Any, "/a"), (Get, "/*"), (Get, "/a")], ("GET", "/a"), &[2, 1, 0]),
            (&[(Any, "/a"), (Get, "/a")], ("BREW", "/a"), &[0]),
            (&[(Get, "/a")], ("get", "/a"), &[]),
            (&[(Get, "/a")], ("GET", "/A"), &[]),
            (&[(Get, "/a")], ("GET", "/%61"), &[]),
            (&[(Get, "/a"), (Get, "/a/"), (Get, "/a//")], ("GET", "/a/"), &[1]),
            (&[(Get, "/"), (Get, "//")], ("GET", "//"), &[1]),
            (&[(Get, "/:x")], ("GET", "/"), &[]),
            (&[(Get, "/a/*")], ("GET", "/a"), &[]),
            (&[(Get, "/a/*")], ("GET", "/a/"), &[0]),
            (&[(Get, "/*/b")], ("GET", "/a/b"), &[]),
            (&[(Get, "abc")], ("GET", "/bc"), &[0]),
            (&[(Get, "")], ("GET", "/"), &[]),
            (&[(Method::Options, "/*")], ("OPTIONS", "*"), &[0]),
            (&[(Method::Connect, "/*")], ("CONNECT", "host:80"), &[0]),
            (&[(Post, "/a"), (Post, "/a")], ("POST", "/a"), &[1]),
            (&[(Post, "/:a"), (Post, "/:b")], ("POST", "/x"), &[1]),
        ];
        for (routes, (method, path), expected) in table {
            assert_eq!(ids(&router(routes), method, path), *expected, "{routes:?} {method} {path}");
        }
    }

    #[test]
    fn all_handlers_are_listed() {
        let mut router = router(&[
            (Method::Get, "/a/:x/*"),
            (Method::Any, "/*"),
            (Method::Any, "/*"),
            (Method::Get, "/a"),
        ]);
        router.add(Method::Get, b"/a", Priority::Low, 4);
        router.add(Method::WebSocket, b"/:b", Priority::Medium, 5);
        router.remove(Method::Get, b"/none");
        let mut all = router.handlers();
        all.sort_unstable();
        assert_eq!(all, [0, 2, 3, 4, 5], "1 was replaced");
    }

    #[test]
    fn websocket_routes_come_first_and_only_for_an_upgrade() {
        let router = router(&[
            (Method::Get, "/a"),
            (Method::WebSocket, "/*"),
            (Method::Any, "/a"),
            (Method::Post, "/a"),
        ]);
        let http = |id| (id, RouteKind::Http, vec![]);
        let expected = vec![(1, RouteKind::WebSocket, vec![]), http(0), http(2)];
        assert_eq!(matches(&router, "GET", "/a", true), expected);
        assert_eq!(matches(&router, "GET", "/a", false), expected[1..]);
        assert_eq!(matches(&router, "POST", "/a", true), [http(3), http(2)]);
    }

    #[test]
    fn stops_when_told_to() {
        let router = router(&[(Method::Get, "/:x"), (Method::Get, "/a"), (Method::Any, "/*")]);
        for stop in 0..3 {
            let mut seen = 0;
            let stopped = router.route(b"GET", b"/a", false, &mut |_, _, _| {
                seen += 1;
                seen <= stop
            });
            assert!(stopped);
            assert_eq!(seen, stop + 1);
        }
    }

    #[test]
    fn priorities_order_one_pattern() {
        let mut router = Router::new();
        for (priority, id) in
            [(Priority::Low, 1), (Priority::High, 2), (Priority::Medium, 3), (Priority::Low, 4)]
        {
            router.add(Method::Any, b"/*", priority, id);
        }
        assert_eq!(ids(&router, "GET", "/x"), [2, 3, 4]);
        assert!(router.remove(Method::Any, b"/*"));
        assert!(ids(&router, "GET", "/x").is_empty());
    }

    #[test]
    fn removing_leaves_no_nodes_behind() {
        let patterns = ["/a/b/c", "/a/b", "/a/:x/c", "/:x", "/a/*", "/*", "/", ""];
        let mut router = router(&patterns.map(|pattern| (Method::Get, pattern)));
        assert!(!router.remove(Method::Get, b"/a"), "a node on the way is no route");
        assert!(!router.remove(Method::Get, b"/zz/y"));
        assert!(!router.remove(Method::Get, b"/*/y"));
        assert!(!router.remove(Method::Post, b"/*"));
        assert_eq!(ids(&router, "GET", "/a/b/c"), [0, 2, 4, 5]);
        for pattern in patterns {
            assert!(router.remove(Method::Get, pattern.as_bytes()), "{pattern}");
            assert!(!router.remove(Method::Get, pattern.as_bytes()), "{pattern}");
        }
        assert!(router.trees.iter().all(Node::is_empty));
    }

    #[test]
    fn long_paths_are_for_wildcards_only() {
        let literal = |length: usize| "/a".repeat(length);
        let parameters = |length: usize| "/:p".repeat(length);
        let below = format!("{}/*", literal(99));
        let router = router(&[
            (Method::Get, &literal(100)),
            (Method::Get, &literal(101)),
            (Method::Get, &parameters(100)),
            (Method::Get, &parameters(101)),
            (Method::Get, &below),
            (Method::Any, "/*"),
        ]);
        assert_eq!(ids(&router, "GET", &literal(99)), [5]);
        assert_eq!(ids(&router, "GET", &literal(100)), [0, 4, 2, 5]);
        assert_eq!(ids(&router, "GET", &literal(101)), [4, 5]);
        assert_eq!(ids(&router, "GET", &literal(2000)), [4, 5]);
        let found = matches(&router, "GET", &literal(100), false);
        assert_eq!(found[2].2, vec![b"a".to_vec(); 100]);
    }

    #[test]
    fn patterns_of_any_length_need_no_deep_stack() {
        for segment in ["/a", "/:a", "/*"] {
            let pattern = segment.repeat(200_000);
            let mut router = router(&[(Method::Get, &pattern), (Method::Get, "/a")]);
            assert_eq!(router.at(Method::Get, pattern.as_bytes()).len(), 1);
            assert!(ids(&router, "GET", &"/a".repeat(300)).is_empty());
            assert_eq!(ids(&router, "GET", "/a"), [1]);
            assert!(router.remove(Method::Get, pattern.as_bytes()));
            router.add(Method::Get, pattern.as_bytes(), Priority::Medium, 7);
        }
    }

    #[test]
    fn names_of_parameters() {
        let table: &[(&str, &[&str])] = &[
            ("/:a/b/:c", &["a", "c"]),
            ("/", &[]),
            ("", &[]),
            ("/:/:x", &["", "x"]),
            ("/a:b/*", &[]),
            ("/:a/*/:b", &["a", "b"]),
        ];
        for (pattern, names) in table {
            let found: Vec<_> = parameter_names(pattern.as_bytes()).collect();
            assert_eq!(found, names.iter().map(|name| name.as_bytes()).collect::<Vec<_>>(), "{pattern}");
        }
    }

    /// A segment of a pattern in the naive router: how it ranks and what it takes.
    fn rank(segment: &str) -> u8 {
        match segment.as_bytes().first() {
            Some(b'*') => 2,
            Some(b':') => 1,
            _ => 0,
        }
    }

    /// Scans all routes, keeps those that match and sorts them: by tree, then segment by segment by rank.
    fn naive(routes: &[(Method, String)], method: &str, path: &str, upgrade: bool) -> Vec<HandlerId> {
        let bare = |pattern: &str| {
            pattern[1..]
                .split('/')
                .map(|s| if rank(s) == 1 { ":" } else { s }.to_string())
                .collect::<Vec<_>>()
        };
        let segments: Vec<&str> = path[1..].split('/').collect();
        let fits = |pattern: &[String]| match pattern.iter().position(|s| rank(s) == 2) {
            Some(star) if star + 1 < pattern.len() || star >= segments.len() => false,
            star => {
                let upto = star.unwrap_or(pattern.len());
                (star.is_some() || segments.len() == upto)
                    && pattern[..upto]
                        .iter()
                        .zip(&segments)
                        .all(|(p, s)| if rank(p) == 1 { !s.is_empty() } else { p == s })
            }
        };
        let tree = |m: Method| match m {
            Method::WebSocket => (upgrade && method == "GET").then_some(0),
            Method::Any => Some(2),
            m => (Method::from_request(method.as_bytes()) == Some(m)).then_some(1),
        };
        let mut found: Vec<(u8, Vec<u8>, usize, HandlerId)> = Vec::new();
        for (id, (m, pattern)) in routes.iter().enumerate() {
            let same = |(other, text): &(Method, String)| other == m && bare(text) == bare(pattern);
            if routes[id + 1..].iter().any(same) {
                continue;
            }
            let first = routes.iter().position(same).unwrap();
            let pattern = bare(pattern);
            if let Some(tree) = tree(*m).filter(|_| fits(&pattern)) {
                let ranks = pattern.iter().map(|segment| rank(segment)).collect();
                found.push((tree, ranks, first, id as HandlerId));
            }
        }
        found.sort();
        found.into_iter().map(|(.., id)| id).collect()
    }

    fn path_of(segments: &'static [&'static str]) -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(segments), 1..5)
            .prop_map(|segments| format!("/{}", segments.join("/")))
    }

    fn any_method() -> impl Strategy<Value = Method> {
        prop::sample::select(vec![Method::Get, Method::Get, Method::Post, Method::Any, Method::WebSocket])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn agrees_with_a_naive_router(
            routes in prop::collection::vec(
                (any_method(), path_of(&["a", "b", "", "a\0", "segments", "segments of", "segments or", ":x", ":y", "*"])),
                0..16,
            ),
            removed in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
            method in prop::sample::select(vec!["GET", "POST", "BREW"]),
            path in path_of(&["a", "b", "", "c", "a\0", "segments", "segments\0", "segments of", "segments or"]),
            upgrade in any::<bool>(),
        ) {
            let mut router = router(&routes.iter().map(|(m, p)| (*m, p.as_str())).collect::<Vec<_>>());
            let before = naive(&routes, method, &path, upgrade);
            let found: Vec<_> = matches(&router, method, &path, upgrade).into_iter().map(|m| m.0).collect();
            prop_assert_eq!(&found, &before);

            if routes.is_empty() {
                return Ok(());
            }
            let mut expected = before;
            for index in removed {
                let (method, pattern) = index.get(&routes);
                router.remove(*method, pattern.as_bytes());
                let normal = |p: &str| p.replace(":y", ":x");
                expected.retain(|&id| {
                    let (m, p) = &routes[id as usize];
                    m != method || normal(p) != normal(pattern)
                });
            }
            let found: Vec<_> = matches(&router, method, &path, upgrade).into_iter().map(|m| m.0).collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_thousand_routes_and_any_bytes() {
        let patterns: Vec<String> = (0..1000).map(|n| format!("/api/r{n}/:id")).collect();
        let router = router(&patterns.iter().map(|p| (Method::Get, p.as_str())).collect::<Vec<_>>());
        for n in 0..1000 {
            assert_eq!(ids(&router, "GET", &format!("/api/r{n}/7")), [n]);
        }
        let mut odd = Vec::from(*b"/api/\xff\0/");
        odd.extend(0..=255u8);
        assert!(!router.route(b"GET", &odd, false, &mut |_, _, _| false));
        assert!(!router.route(b"", b"", true, &mut |_, _, _| false));
    }
}
