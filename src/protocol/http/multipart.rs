//! Multipart bodies (RFC 2046 §5.1) as forms send them (RFC 7578), for `getParts`.
//!
//! The parser works on a whole body in memory and borrows from it.

use memchr::memmem;
use std::borrow::Cow;

/// RFC 2046 §5.1.1.
const MAX_BOUNDARY: usize = 70;

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Part<'a> {
    pub name: Option<Cow<'a, [u8]>>,
    pub filename: Option<Cow<'a, [u8]>>,
    pub content_type: Option<&'a [u8]>,
    pub data: &'a [u8],
}

/// The boundary that a `multipart/…` content type names; `None` for any other content type.
pub fn boundary(content_type: &[u8]) -> Option<Cow<'_, [u8]>> {
    let (kind, rest) = content_type.split_at_checked(b"multipart/".len())?;
    if !kind.eq_ignore_ascii_case(b"multipart/") {
        return None;
    }
    let boundary = parameters(rest).find(|(name, _)| name.eq_ignore_ascii_case(b"boundary"))?.1;
    (1..=MAX_BOUNDARY).contains(&boundary.len()).then_some(boundary)
}

/// The parts between delimiters, in order. The bytes before the first and after the last delimiter are left
/// out, and so is a part that has no end.
pub fn parts<'a>(body: &'a [u8], boundary: &[u8]) -> Vec<Part<'a>> {
    let dashed = [b"--", boundary].concat();
    let mut delimiters = Delimiters { body, finder: memmem::Finder::new(&dashed), at: 0 };
    let mut parts = Vec::new();
    let Some(mut previous) = delimiters.next() else { return parts };
    while !previous.last
        && let Some(next) = delimiters.next()
    {
        parts.push(part(&body[previous.end..next.start.max(previous.end)]));
        previous = next;
    }
    parts
}

/// A delimiter with the line break before it, which belongs to it, and the one after it.
struct Delimiter {
    start: usize,
    end: usize,
    last: bool,
}

struct Delimiters<'a, 'f> {
    body: &'a [u8],
    finder: memmem::Finder<'f>,
    at: usize,
}

impl Iterator for Delimiters<'_, '_> {
    type Item = Delimiter;

    fn next(&mut self) -> Option<Delimiter> {
        loop {
            let dashes = self.at + self.finder.find(&self.body[self.at..])?;
            self.at = dashes + self.finder.needle().len();
            let begins_a_line = dashes == 0 || self.body[..dashes].ends_with(b"\r\n");
            let rest = &self.body[self.at..];
            let padding = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
            let (last, length) = match (rest.starts_with(b"--"), rest[padding..].starts_with(b"\r\n")) {
                (true, _) => (true, 2),
                (false, true) => (false, padding + 2),
                (false, false) => continue,
            };
            if begins_a_line {
                // The line break stays for the next search: a part may be nothing but its delimiters.
                let (start, end) = (dashes.saturating_sub(2), self.at + length);
                return Some(Delimiter { start, end, last });
            }
        }
    }
}

/// Header lines, a blank line, data.
fn part(bytes: &[u8]) -> Part<'_> {
    let (head, data) = match memmem::find(bytes, b"\r\n\r\n") {
        _ if bytes.starts_with(b"\r\n") => (&b""[..], &bytes[2..]),
        Some(end) => (&bytes[..end], &bytes[end + 4..]),
        None => (bytes, &b""[..]),
    };
    let mut part = Part { data, ..Part::default() };
    for line in head.split(|byte| *byte == b'\n') {
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let (name, value) = (line[..colon].trim_ascii(), line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-type") {
            part.content_type = Some(value);
        } else if name.eq_ignore_ascii_case(b"content-disposition") {
            for (name, value) in parameters(value) {
                if name.eq_ignore_ascii_case(b"name") {
                    part.name = Some(value);
                } else if name.eq_ignore_ascii_case(b"filename") {
                    part.filename = Some(value);
                }
            }
        }
    }
    part
}

/// The `; name=value` pairs behind a header's first word.
fn parameters(value: &[u8]) -> impl Iterator<Item = (&[u8], Cow<'_, [u8]>)> {
    let mut rest = value;
    std::iter::from_fn(move || {
        loop {
            rest = &rest[memchr::memchr(b';', rest)? + 1..];
            let end = rest.iter().position(|byte| matches!(byte, b'=' | b';'))?;
            if rest[end] == b';' {
                continue;
            }
            let name = rest[..end].trim_ascii();
            let (value, used) = parameter_value(&rest[end + 1..]);
            rest = &rest[end + 1 + used..];
            return Some((name, value));
        }
    })
}

/// A token or a quoted string, and how many bytes it took.
fn parameter_value(bytes: &[u8]) -> (Cow<'_, [u8]>, usize) {
    let blank = bytes.len() - bytes.trim_ascii_start().len();
    let Some(quoted) = bytes[blank..].strip_prefix(b"\"") else {
        let end = memchr::memchr(b';', bytes).unwrap_or(bytes.len());
        return (Cow::Borrowed(bytes[..end].trim_ascii()), end);
    };
    let (mut at, mut escaped) = (0, false);
    while at < quoted.len() && quoted[at] != b'"' {
        let pair = is_escape(&quoted[at..]);
        escaped |= pair;
        at += if pair { 2 } else { 1 };
    }
    let inner = &quoted[..at.min(quoted.len())];
    let value = if escaped { Cow::Owned(unescape(inner)) } else { Cow::Borrowed(inner) };
    (value, blank + 1 + inner.len())
}

/// Only quotes and backslashes are escaped: some clients send Windows paths as they are.
fn is_escape(bytes: &[u8]) -> bool {
    matches!(bytes, [b'\\', b'"' | b'\\', ..])
}

fn unescape(mut bytes: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(bytes.len());
    while let [byte, rest @ ..] = bytes {
        let escape = is_escape(bytes);
        value.push(if escape { rest[0] } else { *byte });
        bytes = &bytes[if escape { 2 } else { 1 }..];
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Name, file name, type and data of a part, as text.
    type Read = (Option<String>, Option<String>, Option<String>, String);

    fn read(body: &str) -> Vec<Read> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let read = |part: Part| {
            let optional = |value: Option<Cow<[u8]>>| value.map(|value| text(&value));
            (optional(part.name), optional(part.filename), part.content_type.map(text), text(part.data))
        };
        parts(body.as_bytes(), b"b").into_iter().map(read).collect()
    }

    fn named(name: &str, data: &str) -> Read {
        (Some(name.into()), None, None, data.into())
    }

    #[test]
    fn boundaries() {
        let table: &[(&str, Option<&str>)] = &[
            ("multipart/form-data; boundary=b", Some("b")),
            ("Multipart/Mixed;Boundary=\"a b\"; charset=x", Some("a b")),
            ("multipart/form-data; charset=\"; boundary=x\"; boundary=y", Some("y")),
            ("multipart/form-data; flag; boundary = z ", Some("z")),
            ("multipart/form-data; boundary=\"q\\\"\\\\\"", Some("q\"\\")),
            ("multipart/form-data", None),
            ("multipart/form-data; boundary=", None),
            ("multipart/form-data; boundary=\"\"", None),
            ("multipar", None),
            ("application/json; boundary=b", None),
            ("", None),
        ];
        for (content_type, expected) in table {
            let found = boundary(content_type.as_bytes());
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{content_type}");
        }
        let of_length = |n: usize| format!("multipart/x; boundary={}", "b".repeat(n));
        assert!(boundary(of_length(70).as_bytes()).is_some());
        assert!(boundary(of_length(71).as_bytes()).is_none());
    }

    #[test]
    fn a_form_comes_apart() {
        let form = "before\r\n--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--b  \r\n\
            CONTENT-TYPE: text/plain; x=y\r\ncontent-disposition:form-data;filename=\"c;d=e\";name=n\r\n\r\n\
            two\r\nlines\r\n\r\n--b--\r\nafter\r\n--b\r\n\r\nnot a part\r\n--b--";
        let file = (
            Some("n".into()),
            Some("c;d=e".into()),
            Some("text/plain; x=y".into()),
            "two\r\nlines\r\n".into(),
        );
        assert_eq!(read(form), [named("a", "1"), file]);
    }

    #[test]
    fn odd_parts() {
        let nameless = |data: &str| (None, None, None, data.into());
        let head = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n";
        assert_eq!(read(&format!("{head}\r\n--b--")), [named("a", "")], "empty data");
        assert_eq!(read(&format!("{head}x--b\r\n--bc\r\ny\r\n--b--")), [named("a", "x--b\r\n--bc\r\ny")]);
        assert_eq!(read(&format!("{head}no end")), []);
        assert_eq!(read(&format!("{head}1--b--")), [], "a delimiter begins a line");
        assert_eq!(read("--b\r\n\r\n1\r\n--b--"), [nameless("1")]);
        assert_eq!(read("--b\r\nnonsense\r\n\r\n1\r\n--b--"), [nameless("1")]);
        assert_eq!(read("--b\r\n--b\r\n\r\n--b--"), [nameless(""), nameless("")]);
        assert_eq!(read("--b--"), []);
        assert_eq!(read(""), []);
    }

    #[test]
    fn names_are_unescaped_as_little_as_possible() {
        for (sent, expected) in [
            (r#""a\"b""#, r#"a"b"#),
            (r#""C:\dir\f.txt""#, r"C:\dir\f.txt"),
            (r#""C:\\dir""#, r"C:\dir"),
            (r#""a%22b""#, "a%22b"),
            ("\"gr\u{fc}n \u{1f33f}\"", "gr\u{fc}n \u{1f33f}"),
            (r#""unfinished"#, "unfinished"),
            (r#""ends in \"#, r"ends in \"),
        ] {
            let body = format!("--b\r\nContent-Disposition: form-data; name={sent}\r\n\r\n1\r\n--b--");
            assert_eq!(read(&body), [named(expected, "1")], "{sent}");
        }
    }

    fn unescaped(field: &str) -> String {
        let (mut text, mut characters) = (String::new(), field.chars());
        while let Some(character) = characters.next() {
            text.push(match (character, character == '\\') {
                (_, true) => match characters.next() {
                    Some('0') => '\0',
                    Some('r') => '\r',
                    Some('n') => '\n',
                    Some('t') => '\t',
                    other => other.expect("something escaped"),
                },
                (plain, false) => plain,
            });
        }
        text
    }

    #[test]
    fn well_formed_bodies_come_apart_as_in_the_original() {
        let golden = include_str!("../../../testdata/multipart.txt");
        for line in golden.lines().skip_while(|line| line.starts_with('#')) {
            let fields: Vec<String> = line.split('\t').map(unescaped).collect();
            let boundary = boundary(fields[0].as_bytes()).expect("a boundary");
            let found = parts(fields[1].as_bytes(), &boundary).into_iter().flat_map(|part| {
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
                let optional =
                    |bytes: Option<&[u8]>| bytes.map_or("-".to_owned(), |bytes| format!("={}", text(bytes)));
                [
                    optional(part.name.as_deref()),
                    optional(part.filename.as_deref()),
                    optional(part.content_type),
                    text(part.data),
                ]
            });
            assert_eq!(found.collect::<Vec<_>>(), fields[2..], "{line}");
        }
        assert!(golden.lines().count() > 400);
    }

    proptest! {
        #[test]
        fn joined_parts_come_apart_again(data in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..5)) {
            let data: Vec<_> = data.into_iter().filter(|data| memmem::find(data, b"--bound").is_none()).collect();
            let mut body = Vec::new();
            for data in &data {
                body.extend_from_slice(b"--bound\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n");
                body.extend_from_slice(data);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"--bound--\r\n");
            let found: Vec<_> = parts(&body, b"bound").into_iter().map(|part| part.data.to_vec()).collect();
            prop_assert_eq!(found, data);
        }

        #[test]
        fn random_bytes_do_no_harm(pieces in prop::collection::vec(prop::sample::select(vec![
            &b"--b"[..], b"\r\n", b"--", b"\r", b"\n", b":", b"Content-Disposition: form-data; name=", b"\"", b"\\", b";", b"=", b"x", b" ",
        ]), 0..40)) {
            let body = pieces.concat();
            let total: usize = parts(&body, b"b").iter().map(|part| part.data.len()).sum();
            prop_assert!(total <= body.len());
            let _ = boundary(&[b"multipart/", &body[..]].concat());
        }
    }
}
