//! The fields in which proxies pass on the address of a client: a naive reader, which goes by characters and
//! from the client on, finds the same, and nothing that a client writes in front changes what a trusted proxy
//! has appended.

use crate::input::Input;
use std::net::IpAddr;
use uws_rs::protocol::http::forwarded::{Speaker, Trusted, speaker};

/// Addresses that the input chooses by a number: trusted ones and others.
const ADDRESSES: [&str; 6] = ["10.1.2.3", "8.8.8.8", "::ffff:10.0.0.9", "2001:db8::1", "2001:db9::1", "::1"];
const TRUSTED: [&str; 4] = ["10.0.0.0/8", "2001:db8::/32", "::1", "unix"];

type Field<'a> = (&'a [u8], &'a [u8]);

/// Behind the fields, one in a line, stand the numbers of the peer and of a PROXY header.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let (peer, proxied) = (chosen(input.number()), chosen(input.number()));
    let trusted = Trusted::parse(&TRUSTED.map(String::from)).expect("networks");
    let fields: Vec<Field> = input.stream().split(|byte| *byte == b'\n').filter_map(field).collect();
    let found = speaker(&trusted, peer, proxied, fields.iter().copied());
    assert_eq!(found, naive(peer, proxied, &fields));
    check_forging(&trusted, &fields);
}

fn chosen(number: usize) -> Option<IpAddr> {
    ADDRESSES.get(number).map(|text| text.parse().expect("address"))
}

fn field(line: &[u8]) -> Option<Field<'_>> {
    let (first, value) = line.split_first()?;
    let name: &[u8] = match first {
        b'f' => b"forwarded",
        b'x' => b"x-forwarded-for",
        _ => b"x-other",
    };
    Some((name, value))
}

/// A proxy that appends in a line of its own cannot be talked out of it, nor in the same line, where there
/// are no quotes.
fn check_forging(trusted: &Trusted, fields: &[Field]) {
    let proxy = ADDRESSES[0].parse().ok();
    let client = Speaker::Client(ADDRESSES[1].parse().ok());
    for (name, appended) in [("forwarded", "for=8.8.8.8"), ("x-forwarded-for", "8.8.8.8")] {
        let mut lines: Vec<Field> = fields.iter().copied().filter(|f| f.0 == name.as_bytes()).collect();
        lines.push((name.as_bytes(), appended.as_bytes()));
        assert_eq!(speaker(trusted, proxy, None, lines.iter().copied()), client);
        if name == "x-forwarded-for" {
            let joined = lines.iter().map(|line| line.1).collect::<Vec<_>>().join(&b","[..]);
            assert_eq!(speaker(trusted, proxy, None, [(lines[0].0, &joined[..])].into_iter()), client);
        }
    }
}

// ---- the naive reader

fn is_trusted(address: Option<IpAddr>) -> bool {
    match address.map(|address| address.to_canonical()) {
        None => true,
        Some(IpAddr::V4(address)) => address.octets()[0] == 10,
        Some(IpAddr::V6(address)) => {
            address.segments()[..2] == [0x2001, 0xdb8] || address == "::1".parse::<IpAddr>().expect("address")
        }
    }
}

fn naive(peer: Option<IpAddr>, proxied: Option<IpAddr>, fields: &[Field]) -> Speaker {
    if !is_trusted(peer) {
        return Speaker::Peer;
    }
    let canonical = |address: Option<IpAddr>| address.map(|address| address.to_canonical());
    if proxied.is_some() && !is_trusted(proxied) {
        return Speaker::Client(canonical(proxied));
    }
    let nearest = canonical(proxied.or(peer));
    let nodes_of = |name: &[u8], read: fn(&str) -> Vec<Option<IpAddr>>| -> Vec<Option<IpAddr>> {
        let lines = fields.iter().filter(|field| field.0 == name);
        lines
            .flat_map(|line| read(&line.1.iter().map(|byte| char::from(*byte)).collect::<String>()))
            .collect()
    };
    let standard = nodes_of(b"forwarded", read_standard);
    let usual = nodes_of(b"x-forwarded-for", |line| line.split(',').map(node).collect());
    let client = |nodes: &[Option<IpAddr>]| {
        let mut hop = nearest;
        let mut left = nodes.to_vec();
        while is_trusted(hop) {
            match left.pop() {
                Some(Some(address)) => hop = Some(address),
                _ => break,
            }
        }
        hop
    };
    match (standard.is_empty(), usual.is_empty()) {
        (true, true) if proxied.is_none() => Speaker::Proxy,
        (true, true) => Speaker::Client(nearest),
        (false, true) => Speaker::Client(client(&standard)),
        (true, false) => Speaker::Client(client(&usual)),
        (false, false) if client(&standard) == client(&usual) => Speaker::Client(client(&standard)),
        (false, false) => Speaker::Client(nearest),
    }
}

fn read_standard(line: &str) -> Vec<Option<IpAddr>> {
    pieces(line, ',').iter().map(|element| node_of(element)).collect()
}

fn node_of(element: &str) -> Option<IpAddr> {
    for pair in pieces(element, ';') {
        let Some((name, value)) = pair.split_once('=') else { continue };
        if blank(name).eq_ignore_ascii_case("for") {
            let value = blank(value);
            return match value.strip_prefix('"') {
                Some(rest) => node(rest.strip_suffix('"')?),
                None => node(value),
            };
        }
    }
    None
}

fn blank(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\r', '\n', '\x0c'])
}

fn pieces(text: &str, separator: char) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let mut within = false;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if !within && character == separator {
            pieces.push(String::new());
            continue;
        }
        let piece = pieces.last_mut().expect("piece");
        piece.push(character);
        match character {
            '"' => within = !within,
            '\\' if within => piece.extend(characters.next()),
            _ => {}
        }
    }
    pieces
}

fn node(text: &str) -> Option<IpAddr> {
    let text = blank(text);
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    let (address, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let end = rest.find(']')?;
            (IpAddr::V6(rest[..end].parse().ok()?), &rest[end + 1..])
        }
        None => {
            let colon = text.find(':')?;
            (IpAddr::V4(text[..colon].parse().ok()?), &text[colon..])
        }
    };
    let is_hidden = |port: &str| {
        port.len() > 1
            && port.starts_with('_')
            && port.chars().skip(1).all(|c| c.is_ascii_alphanumeric() || ['.', '_', '-'].contains(&c))
    };
    let fits = match port.strip_prefix(':') {
        Some(port) => {
            is_hidden(port) || !port.is_empty() && port.len() < 6 && port.chars().all(|c| c.is_ascii_digit())
        }
        None => port.is_empty(),
    };
    fits.then(|| address.to_canonical())
}
