//! The parts of a response that decide who may have it.
#![forbid(unsafe_code)]

use super::request::Vary;
use crate::protocol::http::response::is_bodiless;

/// Statuses that answer one request by its conditions or ranges, and no other (RFC 9110 §15.3.7, §15.4.5,
/// §15.5.13, §15.5.17).
const PARTICULAR: [&[u8]; 4] = [b"206", b"304", b"412", b"416"];

/// Header lines, as `write_header` makes them, as name and value.
pub fn fields(lines: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    lines.split(|&byte| byte == b'\n').filter_map(|line| {
        let colon = memchr::memchr(b':', line)?;
        Some((&line[..colon], line[colon + 1..].trim_ascii()))
    })
}

/// The first value of a field.
pub fn field<'a>(lines: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    fields(lines).find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// Whether a response may be given to clients other than the one whose request the handler saw, now or
/// later: it sets no cookie, does not say that it is private or must not be stored, and depends on no header
/// by which the route's replies do not differ (RFC 9111 §3 and §4.1).
///
/// `compress`: the handler has not seen `Accept-Encoding`, so its reply does not depend on it.
pub fn is_for_all(status: &[u8], lines: &[u8], vary: &Vary, compress: bool) -> bool {
    let particular = PARTICULAR.iter().any(|each| status.starts_with(each)) || status.starts_with(b"1");
    !particular && fields(lines).all(|(name, value)| allows(name, value, vary, compress))
}

/// Whether one field of a response allows that others have it, too.
fn allows(name: &[u8], value: &[u8], vary: &Vary, compress: bool) -> bool {
    let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
    if is(b"set-cookie") || is(b"set-cookie2") || is(b"content-range") {
        return false;
    }
    if is(b"cache-control") {
        return elements(value).all(|directive| {
            let name = directive.split(|&byte| byte == b'=').next().unwrap_or_default().trim_ascii();
            !name.eq_ignore_ascii_case(b"private") && !name.eq_ignore_ascii_case(b"no-store")
        });
    }
    if is(b"vary") {
        return elements(value).all(|name| {
            vary.iter().any(|known| known.eq_ignore_ascii_case(name))
                || compress && name.eq_ignore_ascii_case(b"accept-encoding")
        });
    }
    true
}

/// The elements of a list. A quoted comma separates as well, which makes more elements, never fewer.
fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

/// The header lines of a 304 response in place of this one (RFC 9110 §15.4.5): those about the content that
/// it does not have are left out.
pub fn lines_not_modified(lines: &[u8]) -> Vec<u8> {
    const CONTENT: [&[u8]; 4] =
        [b"content-type", b"content-encoding", b"content-language", b"content-disposition"];
    let kept = lines.split_inclusive(|&byte| byte == b'\n').filter(|line| {
        let name = &line[..memchr::memchr(b':', line).unwrap_or(0)];
        !CONTENT.iter().any(|content| content.eq_ignore_ascii_case(name))
    });
    kept.flatten().copied().collect()
}

/// Whether a status leaves no body.
pub fn has_no_body(status: &[u8]) -> bool {
    is_bodiless(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vary(names: &[&str]) -> Vec<Box<[u8]>> {
        names.iter().map(|name| name.as_bytes().into()).collect()
    }

    #[test]
    fn responses_of_one_client_alone() {
        for (status, lines, names, expected) in [
            ("", "", &[][..], true),
            ("200 OK", "Content-Type: text/html\r\nCache-Control: public, max-age=5\r\n", &[], true),
            ("200", "Cache-Control: no-cache\r\n", &[], true),
            ("404 Not Found", "A: b\r\n", &[], true),
            ("200 OK", "Set-Cookie: a=b\r\n", &[], false),
            ("200 OK", "A: b\r\nsET-cookie: a=b\r\n", &[], false),
            ("200 OK", "Set-Cookie2: a=b\r\n", &[], false),
            ("200 OK", "cache-control: max-age=5 ,PRIVATE\r\n", &[], false),
            ("200 OK", "cache-control: private=\"set-cookie, a\"\r\n", &[], false),
            ("200 OK", "Cache-Control: a\r\nCache-Control: No-Store\r\n", &[], false),
            ("200 OK", "Cache-Control: no-store-not, x=private\r\n", &[], true),
            ("200 OK", "Vary: Accept\r\n", &[], false),
            ("200 OK", "Vary: Accept\r\n", &["accept"], true),
            ("200 OK", "Vary: Accept, cookie\r\n", &["accept"], false),
            ("200 OK", "Vary: *\r\n", &["accept"], false),
            ("200 OK", "Vary: \r\n", &[], true),
            ("200 OK", "Vary: Accept-Encoding\r\n", &["accept-encoding"], true),
            ("206 Partial Content", "", &[], false),
            ("200 OK", "Content-Range: bytes 0-1/2\r\n", &[], false),
            ("304 Not Modified", "", &[], false),
            ("412", "", &[], false),
            ("416 Range Not Satisfiable", "", &[], false),
            ("101", "", &[], false),
        ] {
            let allowed = is_for_all(status.as_bytes(), lines.as_bytes(), &vary(names), false);
            assert_eq!(allowed, expected, "{status} {lines:?} {names:?}");
            assert_eq!(is_for_all(status.as_bytes(), lines.as_bytes(), &vary(names), true), expected);
        }
    }

    #[test]
    fn a_reply_that_is_compressed_for_each_client_may_say_so() {
        let lines = b"Vary: Accept-Encoding\r\n";
        assert_eq!([true, false].map(|compress| is_for_all(b"", lines, &[], compress)), [true, false]);
    }

    #[test]
    fn a_304_has_the_lines_that_are_not_about_content() {
        let lines = b"Content-Type: a\r\nETag: \"b\"\r\ncontent-encoding: c\r\nX: content-type: d\r\n";
        assert_eq!(lines_not_modified(lines), b"ETag: \"b\"\r\nX: content-type: d\r\n");
        assert_eq!(field(lines, b"etag"), Some(&b"\"b\""[..]));
        assert_eq!(fields(b"broken\r\n\r\n:\r\n").collect::<Vec<_>>(), [(&b""[..], &b""[..])]);
    }
}
