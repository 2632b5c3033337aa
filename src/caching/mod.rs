//! The rules of cached routes: how long a reply may be used, by whom, and which replies go when there are too
//! many. Bytes and numbers in, decisions out: it knows no sockets, no clock and no JavaScript.

use freshness::Lifetimes;

pub mod coding;
pub mod conditional;
pub mod etag;
pub mod freshness;
pub mod request;
pub mod response;
pub mod store;

/// The options of a cached route, which JavaScript has checked.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub lifetimes: Lifetimes,
    /// Seconds that a handler has for its answer.
    pub timeout: u32,
    /// The names, in lower case, of the headers of a request by which replies differ.
    pub vary: Vec<Box<[u8]>>,
    /// HEAD requests are answered, too.
    pub head: bool,
    /// Replies are compressed once, for clients that accept it.
    pub compress: bool,
    pub max_entries: usize,
    /// Of all entries of the route together, with their keys and a little for each.
    pub max_bytes: usize,
}
