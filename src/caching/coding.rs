//! Content codings of stored replies (RFC 9110 §8.4 and §12.5.3): which replies are worth one, which one a
//! client gets, and the compression itself.
#![forbid(unsafe_code)]

use super::response::{field, fields};
use crate::protocol::http::request::RequestHead;
use brotli::enc::BrotliEncoderParams;
use zlib_rs::{DeflateConfig, ReturnCode, compress_bound, compress_slice};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    Brotli,
    Gzip,
}

/// Bodies below this size fit into a packet or two as they are.
const SMALLEST: usize = 1 << 10;
/// Larger ones take the helper too long.
const LARGEST: usize = 8 << 20;
/// The best ratio of time and size for text that is compressed once and sent often.
const BROTLI_QUALITY: i32 = 5;
const BROTLI_WINDOW: i32 = 22;
const GZIP_LEVEL: i32 = 6;
/// zlib's number for the largest window with gzip's header and checksum.
const GZIP_WINDOW: i32 = 15 + 16;

impl Coding {
    /// In the order of preference among those that a client likes as much.
    pub const ALL: [Coding; 2] = [Coding::Brotli, Coding::Gzip];

    pub fn name(self) -> &'static [u8] {
        match self {
            Coding::Brotli => b"br",
            Coding::Gzip => b"gzip",
        }
    }

    /// `None`: the compressed body is hardly smaller.
    pub fn compress(self, body: &[u8]) -> Option<Vec<u8>> {
        let compressed = match self {
            Coding::Brotli => brotli(body)?,
            Coding::Gzip => gzip(body)?,
        };
        (compressed.len() < body.len() - body.len() / 8).then_some(compressed)
    }
}

fn brotli(body: &[u8]) -> Option<Vec<u8>> {
    let (quality, lgwin, size_hint) = (BROTLI_QUALITY, BROTLI_WINDOW, body.len());
    let parameters = BrotliEncoderParams { quality, lgwin, size_hint, ..Default::default() };
    let mut compressed = Vec::new();
    brotli::BrotliCompress(&mut &*body, &mut compressed, &parameters).ok()?;
    Some(compressed)
}

fn gzip(body: &[u8]) -> Option<Vec<u8>> {
    let config = DeflateConfig { level: GZIP_LEVEL, window_bits: GZIP_WINDOW, ..DeflateConfig::default() };
    // The header and the checksum of gzip are longer than those of zlib, for which the bound is.
    let mut room = vec![0; compress_bound(body.len()) + 32];
    let (compressed, code) = compress_slice(&mut room, body, config);
    let length = compressed.len();
    room.truncate(length);
    (code == ReturnCode::Ok).then_some(room)
}

/// Whether a response may be compressed, and is likely to become smaller.
pub fn is_worth_it(status: &[u8], lines: &[u8], body: &[u8]) -> bool {
    let ok = status.is_empty() || status.starts_with(b"200");
    let kind = field(lines, b"content-type").unwrap_or_default();
    let is_kind =
        |prefix: &[u8]| kind.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    let packed = (is_kind(b"image/") && !is_kind(b"image/svg")) || is_kind(b"video/") || is_kind(b"audio/");
    let is_coded = field(lines, b"content-encoding").is_some();
    let keeps = fields(lines).any(|(name, value)| {
        name.eq_ignore_ascii_case(b"cache-control")
            && value
                .split(|&byte| byte == b',')
                .any(|each| each.trim_ascii().eq_ignore_ascii_case(b"no-transform"))
    });
    ok && !packed && !is_coded && !keeps && (SMALLEST..=LARGEST).contains(&body.len())
}

/// The header lines of a reply of which there may be compressed variants: `lines`, and `Vary`.
pub fn varied(lines: &[u8]) -> Vec<u8> {
    let says_so = fields(lines).any(|(name, value)| {
        name.eq_ignore_ascii_case(b"vary")
            && value
                .split(|&byte| byte == b',')
                .any(|each| each.trim_ascii().eq_ignore_ascii_case(b"accept-encoding"))
    });
    let added: &[u8] = if says_so { b"" } else { b"Vary: Accept-Encoding\r\n" };
    [lines, added].concat()
}

/// The header lines of the variant with a coding: those of the reply, with a tag of its own.
pub fn coded(lines: &[u8], coding: Coding) -> Vec<u8> {
    let mut all = Vec::with_capacity(lines.len() + 32);
    for line in lines.split_inclusive(|&byte| byte == b'\n') {
        let name = &line[..memchr::memchr(b':', line).unwrap_or(0)];
        // The lines of others have no quotes at their ends, or are none of ours.
        match memchr::memrchr(b'"', line).filter(|_| name.eq_ignore_ascii_case(b"etag")) {
            Some(quote) => {
                all.extend([&line[..quote], b"-", coding.name(), &line[quote..]].concat());
            }
            None => all.extend_from_slice(line),
        }
    }
    all.extend([&b"Content-Encoding: "[..], coding.name(), b"\r\n"].concat());
    all
}

/// The coding that a client likes best of those that `is_there`; `None`: it gets the body as it is.
pub fn choose(head: &RequestHead, bytes: &[u8], is_there: impl Fn(Coding) -> bool) -> Option<Coding> {
    let fields = head.headers.iter().filter(|field| field.name.of(bytes) == b"accept-encoding");
    let wishes: Vec<(&[u8], u16)> = fields.flat_map(|field| wishes(field.value.of(bytes))).collect();
    let weight_of = |name: &[u8]| {
        let find = |wanted: &[u8]| wishes.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        find(name).or_else(|| find(b"*")).map(|(_, weight)| *weight)
    };
    let plain = weight_of(b"identity").unwrap_or(0);
    let mut best = None;
    for coding in Coding::ALL.into_iter().filter(|coding| is_there(*coding)) {
        let weight = weight_of(coding.name()).unwrap_or(0);
        let is_better = best.is_none_or(|(_, other)| weight > other);
        if weight > 0 && weight >= plain && is_better {
            best = Some((coding, weight));
        }
    }
    best.map(|(coding, _)| coding)
}

/// The codings of `Accept-Encoding` with their weights in thousandths (RFC 9110 §12.4.2). A weight that is
/// malformed is 0.
fn wishes(value: &[u8]) -> impl Iterator<Item = (&[u8], u16)> {
    value.split(|&byte| byte == b',').map(|each| {
        let mut parts = each.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let name = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| {
            let (start, rest) = part.split_at_checked(2)?;
            start.eq_ignore_ascii_case(b"q=").then_some(rest)
        });
        (name, weight.map_or(1000, thousandths))
    })
}

fn thousandths(weight: &[u8]) -> u16 {
    let (whole, fraction) = match weight {
        [whole @ (b'0' | b'1')] => (*whole, &b""[..]),
        [whole @ (b'0' | b'1'), b'.', fraction @ ..] if fraction.len() <= 3 => (*whole, fraction),
        _ => return 0,
    };
    if !fraction.iter().all(u8::is_ascii_digit) {
        return 0;
    }
    let digit = |at: usize| u16::from(fraction.get(at).map_or(0, |digit| digit - b'0'));
    (u16::from(whole - b'0') * 1000 + digit(0) * 100 + digit(1) * 10 + digit(2)).min(1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::http::request::{Limits, parse};
    use proptest::prelude::*;
    use std::io::Read;

    fn chosen(fields: &str, there: &[Coding]) -> Option<Coding> {
        let mut bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes();
        let mut head = RequestHead::default();
        parse(&mut bytes, &Limits::default(), &mut head).expect("a request").expect("a whole one");
        choose(&head, &bytes, |coding| there.contains(&coding))
    }

    #[test]
    fn clients_get_the_coding_they_like_best() {
        use Coding::{Brotli, Gzip};
        for (value, expected) in [
            ("gzip, deflate, br, zstd", Some(Brotli)),
            ("gzip", Some(Gzip)),
            ("GZIP", Some(Gzip)),
            ("br;q=0.5, gzip", Some(Gzip)),
            ("br;q=0.5, gzip;q=0.5", Some(Brotli)),
            ("br;q=0.001, gzip;q=0", Some(Brotli)),
            ("br;q=0, gzip;q=0.000", None),
            ("br; Q=0.3 , gzip ; q=0.4", Some(Gzip)),
            ("*", Some(Brotli)),
            ("*;q=0.1, br;q=0", Some(Gzip)),
            ("gzip;q=0.5, *;q=0", Some(Gzip)),
            ("identity", None),
            ("identity, gzip;q=0.5", None),
            ("identity;q=0.5, gzip;q=0.5", Some(Gzip)),
            ("identity;q=0", None),
            ("br;q=2, gzip;q=x", None),
            ("br;q=, gzip;q=1.000", Some(Gzip)),
            ("br;q=0.1234", None),
            ("x-gzip, brotli", None),
            ("", None),
            (",;q=1,", None),
        ] {
            let fields = format!("Accept-Encoding: {value}\r\n");
            assert_eq!(chosen(&fields, &Coding::ALL), expected, "{value}");
        }
        assert_eq!(chosen("", &Coding::ALL), None, "without a wish the body is as it is");
        assert_eq!(chosen("Accept-Encoding: br, gzip;q=0.1\r\n", &[Gzip]), Some(Gzip));
        assert_eq!(chosen("Accept-Encoding: br, gzip\r\n", &[]), None);
        assert_eq!(chosen("Accept-Encoding: x\r\nAccept-Encoding: gzip\r\n", &Coding::ALL), Some(Gzip));
    }

    #[test]
    fn replies_that_are_worth_it() {
        let long = vec![b'a'; 2000];
        for (status, lines, body, expected) in [
            ("", "", &long[..], true),
            ("200 OK", "Content-Type: text/html\r\n", &long[..], true),
            ("200 OK", "Content-Type: image/svg+xml\r\n", &long[..], true),
            ("200 OK", "Content-Type: IMAGE/png\r\n", &long[..], false),
            ("200 OK", "content-type: video/mp4\r\n", &long[..], false),
            ("200 OK", "Content-Encoding: br\r\n", &long[..], false),
            ("200 OK", "Cache-Control: public, No-Transform\r\n", &long[..], false),
            ("404 Nothing", "", &long[..], false),
            ("200 OK", "", &long[..1000], false),
        ] {
            assert_eq!(
                is_worth_it(status.as_bytes(), lines.as_bytes(), body),
                expected,
                "{status} {lines:?}"
            );
        }
        assert!(!is_worth_it(b"", b"", &vec![0; LARGEST + 1]));
    }

    #[test]
    fn variants_say_what_they_are() {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        assert_eq!(text(varied(b"A: b\r\n")), "A: b\r\nVary: Accept-Encoding\r\n");
        assert_eq!(text(varied(b"vary: x, accept-encoding\r\n")), "vary: x, accept-encoding\r\n");
        assert_eq!(
            text(coded(b"A: \"b\"\r\nEtag: W/\"c\"\r\n", Coding::Brotli)),
            "A: \"b\"\r\nEtag: W/\"c-br\"\r\nContent-Encoding: br\r\n"
        );
        assert_eq!(text(coded(b"ETag: none\r\n", Coding::Gzip)), "ETag: none\r\nContent-Encoding: gzip\r\n");
    }

    fn inflated(compressed: &[u8], length: usize) -> Vec<u8> {
        let mut output = vec![0; length + 1];
        let mut inflate = zlib_rs::Inflate::new(true, GZIP_WINDOW as u8);
        let status = inflate.decompress(compressed, &mut output, zlib_rs::InflateFlush::Finish);
        assert_eq!(status.expect("gzip"), zlib_rs::Status::StreamEnd);
        output.truncate(inflate.total_out() as usize);
        output
    }

    fn unbrotlied(compressed: &[u8]) -> Vec<u8> {
        let mut output = Vec::new();
        brotli::Decompressor::new(compressed, 4096).read_to_end(&mut output).expect("brotli");
        output
    }

    #[test]
    fn bytes_that_do_not_shrink_are_left_alone() {
        let noise: Vec<u8> = (0u32..3000)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 13 ^ n.wrapping_mul(40_503)) as u8)
            .collect();
        assert!(Coding::ALL.iter().all(|coding| coding.compress(&noise).is_none_or(|c| c.len() < 2625)));
        assert_eq!(Coding::ALL.map(|coding| coding.compress(b"")), [None, None]);
    }

    proptest! {
        #[test]
        fn compressed_bodies_come_back(words in prop::collection::vec(0usize..50, 100..3000)) {
            let body: Vec<u8> = words.iter().flat_map(|n| format!("word{n} ").into_bytes()).collect();
            let gzip = Coding::Gzip.compress(&body).expect("smaller");
            prop_assert_eq!(inflated(&gzip, body.len()), body.clone());
            let brotli = Coding::Brotli.compress(&body).expect("smaller");
            prop_assert_eq!(unbrotlied(&brotli), body);
        }

        #[test]
        fn any_wish_does_no_harm(value in prop::collection::vec(prop::sample::select(b"br,;q=01.* gzip".to_vec()), 0..30)) {
            for (_, weight) in wishes(&value) {
                prop_assert!(weight <= 1000);
            }
        }
    }
}
