//! The opening handshake (RFC 6455 §4.2.2): the answer to an upgrade, the subprotocol, and
//! permessage-deflate's negotiation (RFC 7692 §5, §7.1).
//!
//! The router decides whether a request is an upgrade. `protocol/deflate` makes codecs with the negotiated
//! parameters.

use std::borrow::Cow;

use tungstenite::handshake::derive_accept_key;

const PERMESSAGE_DEFLATE: &[u8] = b"permessage-deflate";
/// The LZ77 window, unless a smaller one was negotiated (RFC 7692 §7.1.2).
pub const MAX_WINDOW_BITS: u8 = 15;
/// The smallest window of a compressor, since zlib cannot produce raw deflate with 8 bits. A larger window
/// can read data with a window of 8 bits.
pub const MIN_WINDOW_BITS: u8 = 9;

/// The contents of the 101 response.
#[derive(Debug, Clone, Copy, Default)]
pub struct Upgrade<'a> {
    /// Status the user wrote before upgrading; the default is `101 Switching Protocols`.
    pub status: Option<&'a [u8]>,
    /// Lines `name: value\r\n` written by the user before upgrading.
    pub headers: &'a [u8],
    pub key: &'a [u8],
    /// Offered subprotocols, of which the first is selected.
    pub protocol: &'a [u8],
    /// Negotiated extensions.
    pub extensions: Option<&'a str>,
    pub date: Option<&'a [u8]>,
}

/// The `compression` option of a `ws` route: memory level in bits 0–3, window bits of the compressor in 4–7,
/// window bits of the decompressor in 8–11, where a lone 1 is "shared".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CompressOptions(pub u16);

/// How this side compresses. Shared: no context survives a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compressor {
    Shared { window_bits: u8 },
    Dedicated { window_bits: u8, memory_level: u8 },
}

/// How this side inflates. Shared: no context survives a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decompressor {
    Shared,
    Dedicated { window_bits: u8 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Negotiated {
    pub compressor: Compressor,
    pub decompressor: Decompressor,
}

impl CompressOptions {
    pub const DISABLED: Self = Self(0);

    /// The configured parameters, before negotiation.
    pub fn wanted(self) -> Option<Negotiated> {
        if self == Self::DISABLED {
            return None;
        }
        let [high, low] = self.0.to_be_bytes();
        let compressor = match low >> 4 {
            0 => Compressor::Shared { window_bits: MAX_WINDOW_BITS },
            bits => Compressor::Dedicated {
                window_bits: bits.max(MIN_WINDOW_BITS),
                memory_level: (low & 0x0f).clamp(1, 9),
            },
        };
        let decompressor = match high & 0x0f {
            0 | 1 => Decompressor::Shared,
            bits => Decompressor::Dedicated { window_bits: bits.max(MIN_WINDOW_BITS) },
        };
        Some(Negotiated { compressor, decompressor })
    }
}

/// `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key`.
pub fn accept_key(key: &[u8]) -> String {
    derive_accept_key(key)
}

/// Appends the 101 response. The user's headers come first, as in uWebSockets.
pub fn write_response(out: &mut Vec<u8>, upgrade: &Upgrade) {
    let line = |out: &mut Vec<u8>, parts: &[&[u8]]| parts.iter().for_each(|part| out.extend_from_slice(part));
    line(out, &[b"HTTP/1.1 ", upgrade.status.unwrap_or(b"101 Switching Protocols"), b"\r\n"]);
    out.extend_from_slice(upgrade.headers);
    out.extend_from_slice(b"Upgrade: websocket\r\nConnection: Upgrade\r\n");
    line(out, &[b"Sec-WebSocket-Accept: ", accept_key(upgrade.key).as_bytes(), b"\r\n"]);
    let protocol = first_subprotocol(upgrade.protocol);
    if !protocol.is_empty() {
        line(out, &[b"Sec-WebSocket-Protocol: ", protocol, b"\r\n"]);
    }
    if let Some(extensions) = upgrade.extensions {
        line(out, &[b"Sec-WebSocket-Extensions: ", extensions.as_bytes(), b"\r\n"]);
    }
    if let Some(date) = upgrade.date {
        line(out, &[b"Date: ", date, b"\r\n"]);
    }
    out.extend_from_slice(b"\r\n");
}

/// The first of a comma-separated list; empty if that could not stand in a header line.
pub fn first_subprotocol(offered: &[u8]) -> &[u8] {
    let first = offered.split(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
    if first.iter().any(u8::is_ascii_control) { b"" } else { first }
}

/// Picks the first acceptable offer of permessage-deflate; returns the header value of the answer and the
/// parameters.
///
/// An offer with an unknown, repeated or malformed parameter is declined (RFC 7692 §7). Offers are as in
/// `Sec-WebSocket-Extensions`; several headers are joined by commas.
pub fn negotiate(offers: &[u8], options: CompressOptions) -> Option<(String, Negotiated)> {
    let wanted = options.wanted()?;
    Offers { rest: offers }.find_map(|offer| offer.accept(wanted))
}

/// Whether the client is Safari 15.0 to 15.3, which accepts `client_no_context_takeover` and does not keep to
/// it. No compression is negotiated with it.
pub fn has_broken_compression(user_agent: &[u8]) -> bool {
    const VERSION: &[u8] = b" Version/15.";
    let Some(at) = memchr::memmem::find(user_agent, VERSION) else { return false };
    let [b'0'..=b'3', rest @ ..] = &user_agent[at + VERSION.len()..] else { return false };
    rest.starts_with(b" ") && memchr::memmem::find(rest, b" Safari/").is_some()
}

/// One well-formed offer of permessage-deflate (RFC 7692 §7.1).
#[derive(Debug, Default, PartialEq, Eq)]
struct Offer {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    /// The inner value is optional: without it the client only says that it understands the parameter.
    client_max_window_bits: Option<Option<u8>>,
}

impl Offer {
    /// Adds a parameter; `None` if it makes the offer one to decline.
    fn add(mut self, name: &[u8], value: Option<&[u8]>) -> Option<Self> {
        match (name, value) {
            (b"server_no_context_takeover", None) if !self.server_no_context_takeover => {
                self.server_no_context_takeover = true;
            }
            (b"client_no_context_takeover", None) if !self.client_no_context_takeover => {
                self.client_no_context_takeover = true;
            }
            (b"server_max_window_bits", Some(bits)) if self.server_max_window_bits.is_none() => {
                self.server_max_window_bits = Some(window_bits(bits)?);
            }
            (b"client_max_window_bits", None) if self.client_max_window_bits.is_none() => {
                self.client_max_window_bits = Some(None);
            }
            (b"client_max_window_bits", Some(bits)) if self.client_max_window_bits.is_none() => {
                self.client_max_window_bits = Some(Some(window_bits(bits)?));
            }
            _ => return None,
        }
        Some(self)
    }

    fn accept(&self, wanted: Negotiated) -> Option<(String, Negotiated)> {
        let compressor = self.compressor(wanted.compressor)?;
        let decompressor = self.decompressor(wanted.decompressor);
        let mut answer = String::from("permessage-deflate");
        match decompressor {
            Decompressor::Shared => answer.push_str("; client_no_context_takeover"),
            Decompressor::Dedicated { window_bits: MAX_WINDOW_BITS } => {}
            Decompressor::Dedicated { window_bits } => {
                answer.push_str(&format!("; client_max_window_bits={window_bits}"));
            }
        }
        let (Compressor::Shared { window_bits } | Compressor::Dedicated { window_bits, .. }) = compressor;
        if let Compressor::Shared { .. } = compressor {
            answer.push_str("; server_no_context_takeover");
        }
        // RFC 7692 §7.1.2.1: a client that asks for a limit gets an answer to it, also when that is the
        // default.
        if self.server_max_window_bits.is_some() || window_bits < MAX_WINDOW_BITS {
            answer.push_str(&format!("; server_max_window_bits={window_bits}"));
        }
        Some((answer, Negotiated { compressor, decompressor }))
    }

    /// RFC 7692 §7.1.1.1, §7.1.2.1: the server keeps to the client's demands or declines the offer.
    fn compressor(&self, wanted: Compressor) -> Option<Compressor> {
        let limit = self.server_max_window_bits.unwrap_or(MAX_WINDOW_BITS);
        if limit < MIN_WINDOW_BITS {
            return None;
        }
        Some(match wanted {
            Compressor::Dedicated { window_bits, memory_level } if !self.server_no_context_takeover => {
                let memory_level =
                    if limit < window_bits { memory_level.min(limit - 7) } else { memory_level };
                Compressor::Dedicated { window_bits: window_bits.min(limit), memory_level }
            }
            _ => Compressor::Shared { window_bits: limit },
        })
    }

    /// RFC 7692 §7.1.1.2, §7.1.2.2: a smaller window may be asked only of a client that says it can; one
    /// without context takeover fits every client.
    fn decompressor(&self, wanted: Decompressor) -> Decompressor {
        let Decompressor::Dedicated { window_bits } = wanted else { return Decompressor::Shared };
        if self.client_no_context_takeover {
            return Decompressor::Shared;
        }
        match self.client_max_window_bits {
            Some(limit) => {
                Decompressor::Dedicated { window_bits: window_bits.min(limit.unwrap_or(MAX_WINDOW_BITS)) }
            }
            None if window_bits == MAX_WINDOW_BITS => wanted,
            None => Decompressor::Shared,
        }
    }
}

/// Walks the grammar of RFC 6455 §9.1, yielding the acceptable offers; ends at a syntax error.
struct Offers<'a> {
    rest: &'a [u8],
}

impl Iterator for Offers<'_> {
    type Item = Offer;

    fn next(&mut self) -> Option<Offer> {
        loop {
            while self.eat(b',') {}
            let name = self.token()?;
            let mut offer = (name == PERMESSAGE_DEFLATE).then(Offer::default);
            while self.eat(b';') {
                let name = self.token()?;
                let value = if self.eat(b'=') { Some(self.value()?) } else { None };
                offer = offer.and_then(|offer| offer.add(name, value.as_deref()));
            }
            if !self.at_end_of_element() {
                return None;
            }
            if offer.is_some() {
                return offer;
            }
        }
    }
}

impl<'a> Offers<'a> {
    fn at_end_of_element(&mut self) -> bool {
        self.rest = self.rest.trim_ascii_start();
        matches!(self.rest, [] | [b',', ..])
    }

    fn eat(&mut self, wanted: u8) -> bool {
        match self.rest.trim_ascii_start() {
            [byte, rest @ ..] if *byte == wanted => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn token(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest.trim_ascii_start();
        let len = rest.iter().take_while(|byte| is_token_byte(**byte)).count();
        let (token, rest) = rest.split_at(len);
        self.rest = rest;
        (len > 0).then_some(token)
    }

    fn value(&mut self) -> Option<Cow<'a, [u8]>> {
        if self.eat(b'"') { self.quoted().map(Cow::Owned) } else { self.token().map(Cow::Borrowed) }
    }

    /// The rest of a quoted string, unescaped.
    fn quoted(&mut self) -> Option<Vec<u8>> {
        let mut value = Vec::new();
        loop {
            let (byte, rest) = match self.rest {
                [b'"', rest @ ..] => {
                    self.rest = rest;
                    return Some(value);
                }
                [b'\\', byte, rest @ ..] => (*byte, rest),
                [byte, rest @ ..] => (*byte, rest),
                [] => return None,
            };
            value.push(byte);
            self.rest = rest;
        }
    }
}

/// 8 to 15, without leading zeroes (RFC 7692 §7.1.2).
fn window_bits(value: &[u8]) -> Option<u8> {
    match value {
        [digit @ b'8'..=b'9'] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Some(10 + digit - b'0'),
        _ => None,
    }
}

/// RFC 9110 §5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Lines `options | offer | answer of uWebSockets 20.30 and 20.57 | our answer, or = | why it differs`,
    /// where `-` is no extension at all. Gathered by asking both over a socket.
    const GOLDEN: &str = include_str!("../../../testdata/handshake.txt");

    fn answer(options: u16, offers: &str) -> String {
        match negotiate(offers.as_bytes(), CompressOptions(options)) {
            Some((answer, _)) => answer,
            None => "-".into(),
        }
    }

    #[test]
    fn answers_as_recorded() {
        let mut rows = 0;
        for line in GOLDEN.lines() {
            let fields: Vec<&str> = line.split('|').map(str::trim).collect();
            let [options, offers, theirs, ours, why] = fields[..] else { panic!("{line}") };
            let expected = if ours == "=" { theirs } else { ours };
            assert_eq!(answer(options.parse().unwrap(), offers), expected, "{line}");
            assert_eq!(ours == "=", why.is_empty(), "a difference has a reason: {line}");
            rows += 1;
        }
        assert_eq!(rows, 380);
    }

    #[test]
    fn disabled_is_no_extension() {
        assert_eq!(answer(0, "permessage-deflate"), "-");
    }

    #[test]
    fn constants_are_unpacked() {
        let wanted = |options| CompressOptions(options).wanted().unwrap();
        let shared = Compressor::Shared { window_bits: 15 };
        let dedicated = |window_bits, memory_level| Compressor::Dedicated { window_bits, memory_level };
        assert_eq!(CompressOptions::DISABLED.wanted(), None);
        assert_eq!(wanted(1).compressor, shared);
        assert_eq!(wanted(256).compressor, shared);
        assert_eq!(wanted(145).compressor, dedicated(9, 1));
        assert_eq!(wanted(180).compressor, dedicated(11, 4));
        assert_eq!(wanted(248).compressor, dedicated(15, 8));
        assert_eq!(wanted(1).decompressor, Decompressor::Shared);
        assert_eq!(wanted(257).decompressor, Decompressor::Shared);
        assert_eq!(wanted(2304).decompressor, Decompressor::Dedicated { window_bits: 9 });
        assert_eq!(wanted(248 | 3840).decompressor, Decompressor::Dedicated { window_bits: 15 });
    }

    #[test]
    fn the_parameters_are_those_of_the_answer() {
        let negotiated = |options, offer: &str| {
            negotiate(offer.as_bytes(), CompressOptions(options)).map(|(_, negotiated)| negotiated)
        };
        let lowered =
            negotiated(248 | 3840, "permessage-deflate; server_max_window_bits=10; client_max_window_bits=8");
        assert_eq!(
            lowered,
            Some(Negotiated {
                compressor: Compressor::Dedicated { window_bits: 10, memory_level: 3 },
                decompressor: Decompressor::Dedicated { window_bits: 8 },
            })
        );
        let without_context = negotiated(
            197 | 3072,
            "permessage-deflate; server_no_context_takeover; server_max_window_bits=13; client_no_context_takeover",
        );
        assert_eq!(
            without_context,
            Some(Negotiated {
                compressor: Compressor::Shared { window_bits: 13 },
                decompressor: Decompressor::Shared
            })
        );
        // The server may ask for the smaller window only if the client says that it understands that.
        let Some(Negotiated { decompressor, .. }) = negotiated(1 | 3072, "permessage-deflate") else {
            panic!()
        };
        assert_eq!(decompressor, Decompressor::Shared);
    }

    #[test]
    fn understands_the_grammar_of_extensions() {
        let taken = "permessage-deflate; client_no_context_takeover; server_no_context_takeover";
        for offers in [
            ",permessage-deflate,",
            "\tpermessage-deflate\t;\tclient_max_window_bits\t",
            r#"permessage-deflate; client_max_window_bits="1\0""#,
            r#"foo; bar=", permessage-deflate", permessage-deflate"#,
            "permessage-deflate; foo=\"a;b,c\", permessage-deflate",
        ] {
            assert_eq!(answer(1, offers), taken, "{offers}");
        }
        for offers in [
            "",
            ",",
            ";",
            "permessage-deflate;",
            "permessage-deflate; =1",
            "permessage-deflate; client_max_window_bits=",
            r#"permessage-deflate; client_max_window_bits="10"#,
            r#"foo; bar="permessage-deflate"#,
            "foo bar, permessage-deflate",
            "foo/bar, permessage-deflate",
        ] {
            assert_eq!(answer(1, offers), "-", "{offers}");
        }
    }

    #[test]
    fn broken_safari_gets_no_compression() {
        // Both versions of uWebSockets do the same.
        let safari =
            |version| format!("Mozilla/5.0 (Macintosh) AppleWebKit/605.1.15 (KHTML, like Gecko) {version}");
        for (version, refused) in [
            ("Version/15.0 Safari/605.1.15", true),
            ("Version/15.3 Safari/605.1.15", true),
            ("Version/15.2 Mobile/15E148 Safari/604.1", true),
            ("Version/15.4 Safari/605.1.15", false),
            ("Version/14.1 Safari/605.1.15", false),
            ("Version/15.2.1 Safari/604.1", false),
            ("Version/15.13 Safari/604.1", false),
            ("Version/15.2", false),
            ("Version/15.", false),
        ] {
            let user_agent = safari(version);
            assert_eq!(has_broken_compression(user_agent.as_bytes()), refused, "{version}");
        }
    }

    #[test]
    fn accept_key_of_the_rfc() {
        assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn selects_the_first_subprotocol() {
        let cases: [(&[u8], &[u8]); 7] = [
            (b"", b""),
            (b"chat", b"chat"),
            (b"chat, superchat", b"chat"),
            (b" chat\t,superchat", b"chat"),
            (b",chat", b""),
            (b"a/b c", b"a/b c"),
            (b"chat\r\nset-cookie: a=b", b""),
        ];
        for (offered, selected) in cases {
            assert_eq!(first_subprotocol(offered), selected, "{offered:?}");
        }
    }

    fn response(upgrade: Upgrade) -> String {
        let mut out = b"before".to_vec();
        write_response(&mut out, &upgrade);
        String::from_utf8(out).unwrap().split_off(6)
    }

    #[test]
    fn writes_the_response() {
        let key = b"dGhlIHNhbXBsZSBub25jZQ==";
        assert_eq!(
            response(Upgrade { key, ..Upgrade::default() }),
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
        );
        let full = Upgrade {
            status: Some(b"101 Yes"),
            headers: b"set-cookie: a=b\r\n",
            key,
            protocol: b"chat, superchat",
            extensions: Some("permessage-deflate"),
            date: Some(b"Thu, 01 Jan 1970 00:00:00 GMT"),
        };
        assert_eq!(
            response(full),
            "HTTP/1.1 101 Yes\r\nset-cookie: a=b\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\
             Sec-WebSocket-Extensions: permessage-deflate\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n"
        );
    }

    proptest! {
        #[test]
        fn any_offer_and_option_is_survived(
            options: u16,
            parts in proptest::collection::vec(
                proptest::sample::select(vec![
                    "permessage-deflate", ";", ",", "=", "\"", "\\", " ", "8", "10", "15", "client_max_window_bits",
                    "server_max_window_bits", "client_no_context_takeover", "server_no_context_takeover", "\u{e9}",
                ]),
                0..16,
            ),
        ) {
            let Some((_, Negotiated { compressor, decompressor })) =
                negotiate(parts.concat().as_bytes(), CompressOptions(options)) else { return Ok(()) };
            let (Compressor::Shared { window_bits } | Compressor::Dedicated { window_bits, .. }) = compressor;
            prop_assert!((MIN_WINDOW_BITS..=MAX_WINDOW_BITS).contains(&window_bits));
            if let Compressor::Dedicated { memory_level, .. } = compressor {
                prop_assert!((1..=9).contains(&memory_level));
            }
            if let Decompressor::Dedicated { window_bits } = decompressor {
                prop_assert!((8..=MAX_WINDOW_BITS).contains(&window_bits));
            }
        }
    }
}
