//! Whether a client has the stored reply already (RFC 9110 §13).
#![forbid(unsafe_code)]

use crate::protocol::http::request::RequestHead;
use std::time::SystemTime;

/// The values by which a stored reply is compared.
#[derive(Clone, Copy, Debug, Default)]
pub struct Validators<'a> {
    /// An entity tag as it is in the header `ETag`, quotes included.
    pub etag: Option<&'a [u8]>,
    pub last_modified: Option<SystemTime>,
}

/// Whether the answer to a GET or HEAD is 304, given that it would be 200 otherwise. A condition on a tag
/// takes precedence over one on a date (RFC 9110 §13.2.2).
pub fn is_not_modified(head: &RequestHead, bytes: &[u8], validators: Validators<'_>) -> bool {
    let mut tags = head.headers.iter().filter(|field| field.name.of(bytes) == b"if-none-match").peekable();
    if tags.peek().is_some() {
        return tags.any(|field| lists(field.value.of(bytes), validators.etag));
    }
    let since = head.header(bytes, b"if-modified-since").and_then(date);
    matches!((since, validators.last_modified), (Some(since), Some(modified)) if modified <= since)
}

/// A value of `Last-Modified`.
pub fn date(value: &[u8]) -> Option<SystemTime> {
    httpdate::parse_http_date(std::str::from_utf8(value).ok()?).ok()
}

/// Whether `If-None-Match` lists a tag, by weak comparison (RFC 9110 §8.8.3.2). `*` is any.
fn lists(list: &[u8], etag: Option<&[u8]>) -> bool {
    let list = list.trim_ascii();
    if list == b"*" {
        return true;
    }
    let Some(wanted) = etag.map(opaque) else { return false };
    // A tag is quoted, may have commas in it, and has no escapes.
    let mut rest = list;
    while let Some(open) = memchr::memchr(b'"', rest) {
        let Some(length) = memchr::memchr(b'"', &rest[open + 1..]) else { return false };
        let end = open + length + 2;
        if &rest[open..end] == wanted {
            return true;
        }
        rest = &rest[end..];
    }
    false
}

/// A tag without the mark that it is weak.
fn opaque(etag: &[u8]) -> &[u8] {
    etag.strip_prefix(b"W/").unwrap_or(etag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::http::request::{Limits, parse};
    use proptest::prelude::*;

    fn not_modified(fields: &str, etag: Option<&str>, modified: Option<&str>) -> bool {
        let mut bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes();
        let mut head = RequestHead::default();
        parse(&mut bytes, &Limits::default(), &mut head).expect("a request").expect("a whole one");
        let last_modified = modified.and_then(|text| date(text.as_bytes()));
        is_not_modified(&head, &bytes, Validators { etag: etag.map(str::as_bytes), last_modified })
    }

    #[test]
    fn tags_are_compared_weakly() {
        for (list, etag, expected) in [
            ("\"a\"", Some("\"a\""), true),
            ("W/\"a\"", Some("\"a\""), true),
            ("\"a\"", Some("W/\"a\""), true),
            ("\"b\"", Some("\"a\""), false),
            ("\"b\", \"a\"", Some("\"a\""), true),
            ("\"b\",W/\"a\"", Some("\"a\""), true),
            ("\"b,\"a\"", Some("\"a\""), false),
            ("*", Some("\"a\""), true),
            ("*", None, true),
            ("\"*\"", Some("\"a\""), false),
            ("\"a\"", None, false),
            ("a", Some("\"a\""), false),
            ("\"a", Some("\"a\""), false),
            ("", Some("\"a\""), false),
            ("\"\"", Some("\"\""), true),
            ("\"x, y\"", Some("\"x, y\""), true),
            ("\"A\"", Some("\"a\""), false),
        ] {
            assert_eq!(not_modified(&format!("If-None-Match: {list}\r\n"), etag, None), expected, "{list}");
        }
        assert!(not_modified("If-None-Match: \"b\"\r\nIf-None-Match: \"a\"\r\n", Some("\"a\""), None));
    }

    #[test]
    fn dates_count_where_no_tag_is_asked_for() {
        const EARLIER: &str = "Sat, 28 Nov 2026 10:00:00 GMT";
        const LATER: &str = "Sat, 28 Nov 2026 10:00:01 GMT";
        let since = |date: &str| format!("If-Modified-Since: {date}\r\n");
        assert!(not_modified(&since(EARLIER), None, Some(EARLIER)));
        assert!(not_modified(&since(LATER), None, Some(EARLIER)));
        assert!(!not_modified(&since(EARLIER), None, Some(LATER)));
        assert!(!not_modified(&since("yesterday"), None, Some(EARLIER)));
        assert!(!not_modified(&since(LATER), None, Some("yesterday")));
        assert!(!not_modified(&since(LATER), None, None));
        assert!(!not_modified("", Some("\"a\""), Some(EARLIER)));
        let both = format!("If-None-Match: \"b\"\r\n{}", since(LATER));
        assert!(!not_modified(&both, Some("\"a\""), Some(EARLIER)), "the tag takes precedence");
    }

    proptest! {
        #[test]
        fn any_list_comes_to_an_end(list in prop::collection::vec(prop::sample::select(b"\"W/*, a".to_vec()), 0..40)) {
            let listed = lists(&list, Some(b"\"a\""));
            prop_assert!(!listed || list.trim_ascii() == b"*" || list.windows(3).any(|tag| tag == b"\"a\""));
        }
    }
}
