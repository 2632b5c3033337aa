//! The parts of a request that decide which stored reply it may have.
#![forbid(unsafe_code)]

use crate::protocol::http::request::RequestHead;
use std::borrow::Cow;

/// Stands before the values of each header by which replies differ. Neither it nor `VALUE` can be in a target
/// or in a value: the parser refuses both.
const HEADER: u8 = b'\n';
/// Stands before each value of such a header.
const VALUE: u8 = b'\r';

/// Headers by which a client says who it is (RFC 9111 §3.5).
const CREDENTIALS: [&[u8]; 2] = [b"authorization", b"proxy-authorization"];
/// Headers that ask for a part of the resource, or for a condition that only the handler can check
/// (RFC 9110 §13.1 and §14.2).
const PARTICULAR: [&[u8]; 4] = [b"range", b"if-range", b"if-match", b"if-unmodified-since"];
/// Conditions that are checked against the stored reply (RFC 9110 §13.1.2 and §13.1.3).
const CONDITIONS: [&[u8]; 2] = [b"if-none-match", b"if-modified-since"];

/// The names, in lower case, of the headers of a request by which the replies of a route differ.
pub type Vary = [Box<[u8]>];

/// Whether the reply to a request is for its client alone: it is neither taken from the store, nor stored,
/// nor given to others who wait for the same.
pub fn is_for_one(head: &RequestHead, bytes: &[u8], vary: &Vary) -> bool {
    head.headers.iter().any(|field| {
        let name = field.name.of(bytes);
        PARTICULAR.contains(&name) || CREDENTIALS.contains(&name) && !is_in(vary, name)
    })
}

fn is_in(vary: &Vary, name: &[u8]) -> bool {
    vary.iter().any(|each| **each == *name)
}

/// The key of a request: its target as sent, then the values of the headers in `vary`. Requests with equal
/// keys have the same target and the same values.
pub fn key<'a>(head: &RequestHead, bytes: &'a [u8], vary: &Vary) -> Cow<'a, [u8]> {
    let target = target(head, bytes);
    if vary.is_empty() {
        return target;
    }
    let mut key = target.into_owned();
    for name in vary {
        key.push(HEADER);
        for field in head.headers.iter().filter(|field| *field.name.of(bytes) == **name) {
            key.push(VALUE);
            key.extend_from_slice(field.value.of(bytes));
        }
    }
    Cow::Owned(key)
}

/// Path and query, as sent.
fn target<'a>(head: &RequestHead, bytes: &'a [u8]) -> Cow<'a, [u8]> {
    let Some(query) = head.query else { return Cow::Borrowed(head.path.of(bytes)) };
    if query.start != head.path.end + 1 {
        // An empty path in absolute form stands before the authority, which is none of the key's.
        return Cow::Owned([head.path.of(bytes), b"?", query.of(bytes)].concat());
    }
    Cow::Borrowed(bytes.get(head.path.start as usize..query.end as usize).unwrap_or_default())
}

/// The target of a key.
pub fn target_of(key: &[u8]) -> &[u8] {
    &key[..memchr::memchr(HEADER, key).unwrap_or(key.len())]
}

/// Whether a stored reply's key is meant by a URL, or by a prefix of URLs that ends in `*`.
pub fn is_meant(key: &[u8], url: &[u8]) -> bool {
    match url.strip_suffix(b"*") {
        Some(prefix) => target_of(key).starts_with(prefix),
        None => target_of(key) == url,
    }
}

/// The request that the handler of a shared reply sees: without conditions, which are checked for each client
/// when the reply is there, and always a GET, whose reply has the head for those who asked by HEAD.
/// `compress`: the reply is compressed for each client, so the handler makes a plain one.
pub fn shared<'a>(head: &RequestHead, bytes: &'a [u8], compress: bool) -> (RequestHead, Cow<'a, [u8]>) {
    let mut shared = head.clone();
    shared.headers.retain(|field| {
        let name = field.name.of(bytes);
        let is_hidden = CONDITIONS.contains(&name) || compress && name == b"accept-encoding";
        !is_hidden
    });
    let mut bytes = Cow::Borrowed(bytes);
    if head.method.of(&bytes) == b"HEAD" {
        let start = head.method.start as usize;
        bytes.to_mut()[start..start + 4].copy_from_slice(b"GET ");
        shared.method.end -= 1;
    }
    (shared, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::http::request::{Limits, parse};

    fn request(text: &str) -> (RequestHead, Vec<u8>) {
        let mut bytes = text.replace('\n', "\r\n").into_bytes();
        let mut head = RequestHead::default();
        parse(&mut bytes, &Limits::default(), &mut head).expect("a request").expect("a whole one");
        (head, bytes)
    }

    fn vary(names: &[&str]) -> Vec<Box<[u8]>> {
        names.iter().map(|name| name.as_bytes().into()).collect()
    }

    fn key_of(text: &str, names: &[&str]) -> Vec<u8> {
        let (head, bytes) = request(text);
        key(&head, &bytes, &vary(names)).into_owned()
    }

    #[test]
    fn the_key_is_the_target_as_sent() {
        for (line, expected) in [
            ("GET /a HTTP/1.1", "/a"),
            ("GET /a?b=1&c HTTP/1.1", "/a?b=1&c"),
            ("GET /a%20b?%41 HTTP/1.0", "/a%20b?%41"),
            ("GET http://x.y/a?b HTTP/1.1", "/a?b"),
            ("GET http://x.y HTTP/1.1", "/"),
            ("GET /? HTTP/1.1", "/?"),
            ("GET http://x.y? HTTP/1.1", "/?"),
            ("GET http://x.y?a=/b HTTP/1.1", "/?a=/b"),
        ] {
            assert_eq!(key_of(&format!("{line}\nHost: a\n\n"), &[]), expected.as_bytes());
        }
        // A query that is empty is none of the key's business only if the handler cannot tell either.
        assert_ne!(
            key_of("GET /a?x HTTP/1.1\nHost: a\n\n", &[]),
            key_of("GET /ax HTTP/1.1\nHost: a\n\n", &[])
        );
    }

    #[test]
    fn values_of_different_requests_never_make_the_same_key() {
        let requests = [
            "GET /a HTTP/1.1\nHost: a\n\n",
            "GET /a HTTP/1.1\nHost: a\nX:\n\n",
            "GET /a HTTP/1.1\nHost: a\nX: 1\n\n",
            "GET /a HTTP/1.1\nHost: a\nY: 1\n\n",
            "GET /a HTTP/1.1\nHost: a\nX: 1, 2\n\n",
            "GET /a HTTP/1.1\nHost: a\nX: 1\nX: 2\n\n",
            "GET /a HTTP/1.1\nHost: a\nX: 1\nY: 2\n\n",
            "GET /a HTTP/1.1\nHost: a\nX: 1\nX:\n\n",
            "GET /a1 HTTP/1.1\nHost: a\n\n",
        ];
        let keys: std::collections::BTreeSet<_> =
            requests.iter().map(|text| key_of(text, &["x", "y"])).collect();
        assert_eq!(keys.len(), requests.len());
        // The order of other headers, and the case of a name, play no part.
        assert_eq!(
            key_of("GET /a HTTP/1.1\nHost: a\nY: 2\nx: 1\n\n", &["x", "y"]),
            key_of("GET /a HTTP/1.1\nX: 1\nHost: b\nCookie: c\nY: 2\n\n", &["x", "y"])
        );
    }

    #[test]
    fn requests_of_one_client_alone() {
        for (fields, names, expected) in [
            ("", &[][..], false),
            ("Cookie: a=b\n", &[], false),
            ("Authorization: Basic x\n", &[], true),
            ("Proxy-Authorization: Basic x\n", &["authorization"], true),
            ("Authorization: Basic x\n", &["authorization"], false),
            ("Range: bytes=0-1\n", &["authorization", "range"], true),
            ("If-Range: \"a\"\n", &[], true),
            ("If-Match: *\n", &[], true),
            ("If-Unmodified-Since: x\n", &[], true),
            ("If-None-Match: \"a\"\n", &[], false),
        ] {
            let (head, bytes) = request(&format!("GET / HTTP/1.1\nHost: a\n{fields}\n"));
            assert_eq!(is_for_one(&head, &bytes, &vary(names)), expected, "{fields}");
        }
    }

    #[test]
    fn urls_and_prefixes_mean_keys() {
        let key = key_of("GET /a/b?c HTTP/1.1\nHost: a\nX: /z\n\n", &["x"]);
        for (url, expected) in [
            ("/a/b?c", true),
            ("/a/b", false),
            ("/a/b*", true),
            ("/a/*", true),
            ("*", true),
            ("/a/b?c*", true),
            ("/a/b?c\n*", false),
            ("/z*", false),
            ("", false),
        ] {
            assert_eq!(is_meant(&key, url.as_bytes()), expected, "{url}");
        }
    }

    #[test]
    fn a_shared_handler_sees_a_get_without_conditions() {
        for method in ["GET", "HEAD"] {
            let (head, bytes) = request(&format!(
                "{method} /a HTTP/1.1\nHost: a\nIf-None-Match: \"a\"\nif-modified-since: x\nAccept: b\nAccept-Encoding: c\n\n",
            ));
            assert_eq!(shared(&head, &bytes, false).0.headers.len(), 3);
            let (head, bytes) = shared(&head, &bytes, true);
            let names: Vec<_> = head.headers.iter().map(|field| field.name.of(&bytes)).collect();
            assert_eq!(names, [&b"host"[..], b"accept"]);
            assert_eq!((head.method.of(&bytes), head.path.of(&bytes)), (&b"GET"[..], &b"/a"[..]));
        }
    }
}
