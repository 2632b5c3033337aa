//! Multipart bodies: a form that is written is read back, and a naive parser finds the same parts in any body.

use crate::input::{Input, ends};
use uws_rs::protocol::http::multipart::{Part, boundary, parts};

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let pieces = input.pieces();
    let stream = input.stream();
    // The first line names the boundary, as a content type.
    let mut lines = stream.splitn(2, |byte| *byte == b'\n');
    let (first, body) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let named = boundary(first);
    if let Some(named) = &named {
        assert!((1..=70).contains(&named.len()));
        assert!(first.len() >= named.len());
    }
    for boundary in [named.as_deref(), Some(b"b"), Some(b"--x")].into_iter().flatten() {
        check(&parts(body, boundary), body, boundary);
    }
    write_and_read(stream, &pieces);
}

fn check(found: &[Part], body: &[u8], boundary: &[u8]) {
    let expected = naive(body, boundary);
    assert_eq!(found.len(), expected.len());
    for (part, expected) in found.iter().zip(&expected) {
        let (head, data) = match expected.windows(4).position(|four| four == b"\r\n\r\n") {
            _ if expected.starts_with(b"\r\n") => (&b""[..], &expected[2..]),
            Some(end) => (&expected[..end], &expected[end + 4..]),
            None => (&expected[..], &b""[..]),
        };
        assert_eq!(part.data, data);
        for value in [part.name.as_deref(), part.filename.as_deref(), part.content_type].into_iter().flatten()
        {
            assert!(value.len() <= head.len());
        }
    }
}

/// The bytes between the lines that are delimiters.
fn naive<'a>(body: &'a [u8], boundary: &[u8]) -> Vec<&'a [u8]> {
    let dashed = [b"--", boundary].concat();
    let (mut between, mut begin) = (Vec::new(), None);
    let mut at = 0;
    while at + dashed.len() <= body.len() {
        let starts_line = at == 0 || body[..at].ends_with(b"\r\n");
        let rest = &body[at..];
        let Some(behind) = rest.strip_prefix(&dashed[..]) else {
            at += 1;
            continue;
        };
        let padding = behind.iter().take_while(|byte| b" \t".contains(byte)).count();
        let last = behind.starts_with(b"--");
        if starts_line && (last || behind[padding..].starts_with(b"\r\n")) {
            if let Some(begin) = begin {
                let end = at.saturating_sub(2).max(begin);
                between.push(&body[begin..end]);
            }
            if last {
                break;
            }
            begin = Some(at + dashed.len() + padding + 2);
        }
        // Delimiters do not overlap, wherever they stand.
        at += dashed.len();
    }
    between
}

fn write_and_read(stream: &[u8], pieces: &[usize]) {
    const BOUNDARY: &[u8] = b"----uws-rs-boundary-4c1f";
    if stream.windows(BOUNDARY.len()).any(|window| window == BOUNDARY) {
        return;
    }
    let quoted = |value: &[u8]| {
        let escaped = value.iter().flat_map(|byte| match byte {
            b'"' | b'\\' => vec![b'\\', *byte],
            byte => vec![*byte],
        });
        escaped.collect::<Vec<u8>>()
    };
    let (mut body, mut expected, mut start) = (Vec::new(), Vec::new(), 0);
    for (at, end) in ends(pieces, stream.len()).into_iter().enumerate() {
        let data = &stream[start..end];
        start = end;
        let is_name = |byte: &&u8| !b"\r\n".contains(byte);
        let name: Vec<u8> = data.iter().take(at).filter(is_name).copied().collect();
        let file = at % 2 == 1;
        body.extend_from_slice(&[b"--", BOUNDARY, b"\r\nContent-Disposition: form-data; name=\""].concat());
        body.extend_from_slice(&quoted(&name));
        body.push(b'"');
        if file {
            body.extend_from_slice(
                &[b"; filename=\"", &quoted(&name)[..], b"\"\r\nContent-Type: a/b"].concat(),
            );
        }
        body.extend_from_slice(&[b"\r\n\r\n", data, b"\r\n"].concat());
        expected.push((name, file, data));
    }
    body.extend_from_slice(&[b"--", BOUNDARY, b"--\r\n"].concat());
    let found = parts(&body, BOUNDARY);
    assert_eq!(found.len(), expected.len());
    for (part, (name, file, data)) in found.iter().zip(&expected) {
        assert_eq!(part.name.as_deref(), Some(&name[..]));
        assert_eq!(part.filename.as_deref(), file.then_some(&name[..]));
        assert_eq!(part.content_type, file.then_some(&b"a/b"[..]));
        assert_eq!(part.data, *data);
    }
}
