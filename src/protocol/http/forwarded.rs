//! The address of a client behind proxies: whom a program believes, and the fields in which proxies pass the
//! address on (`Forwarded`, RFC 7239, and `X-Forwarded-For`, which is older and has no RFC).
//!
//! Anyone can send such fields, so they are read from the right, where the nearest proxy wrote, and only as
//! far as trusted proxies wrote them.

use core::net::IpAddr;
use ipnet::{IpNet, Ipv4Net};
use smallvec::SmallVec;

/// The proxies that a program believes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trusted {
    networks: Vec<IpNet>,
    /// Whoever connects to a Unix socket, and has no address.
    unix: bool,
}

/// The name for the peers of Unix sockets in a list.
const UNIX: &str = "unix";

/// The speaker of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    /// The peer is no trusted proxy, so it speaks for itself.
    Peer,
    /// The peer is a trusted proxy that names nobody.
    Proxy,
    /// A client at this address, by the word of trusted proxies. If they name nobody, or contradict each
    /// other, it is the last one of them; `None`: that has no address.
    Client(Option<IpAddr>),
}

impl Trusted {
    /// Reads a list of addresses and networks. An error is the entry that is neither.
    pub fn parse(list: &[String]) -> Result<Self, &str> {
        let mut trusted = Trusted::default();
        for entry in list {
            match entry.as_str() {
                UNIX => trusted.unix = true,
                text => trusted.networks.push(network(text).ok_or(text)?),
            }
        }
        Ok(trusted)
    }

    /// Whether the proxy at this address is trusted; `None`: it connects to a Unix socket.
    pub fn includes(&self, address: Option<IpAddr>) -> bool {
        match address.map(|address| address.to_canonical()) {
            Some(address) => self.networks.iter().any(|network| network.contains(&address)),
            None => self.unix,
        }
    }
}

/// An address, or a network in CIDR notation. Networks of addresses of IPv4 that are written as those of IPv6
/// become those of IPv4, as the addresses do.
fn network(text: &str) -> Option<IpNet> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical().into());
    }
    let network: IpNet = text.parse().ok()?;
    match (network.addr().to_canonical(), network.prefix_len()) {
        (IpAddr::V4(address), length @ 96..) => Ipv4Net::new(address, length - 96).ok().map(IpNet::V4),
        _ => Some(network),
    }
}

/// Finds out who speaks. `peer` is the address of the socket (`None`: a Unix socket), `proxied` the one in a
/// PROXY header, `fields` are the names, in lower case, and values of the request.
pub fn speaker<'a>(
    trusted: &Trusted,
    peer: Option<IpAddr>,
    proxied: Option<IpAddr>,
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> Speaker {
    if !trusted.includes(peer) {
        return Speaker::Peer;
    }
    if proxied.is_some() && !trusted.includes(proxied) {
        return Speaker::Client(proxied.map(|address| address.to_canonical()));
    }
    let hop = proxied.or(peer).map(|address| address.to_canonical());
    let (mut standard, mut usual) = (Hops::new(), Hops::new());
    for (name, value) in fields {
        match name {
            b"forwarded" => read_forwarded(value, &mut standard),
            // This field has no quoted strings, in which a client could hide what a proxy appends.
            b"x-forwarded-for" => usual.extend(value.split(|byte| *byte == b',').map(node)),
            _ => {}
        }
    }
    let clients = [&standard, &usual].map(|hops| (!hops.is_empty()).then(|| walk(trusted, hop, hops)));
    match clients {
        [None, None] if proxied.is_some() => Speaker::Client(hop),
        [None, None] => Speaker::Proxy,
        [Some(client), None] | [None, Some(client)] => Speaker::Client(client),
        // A proxy writes one of them, and may pass on what its client wrote into the other.
        [Some(one), Some(other)] => Speaker::Client(if one == other { one } else { hop }),
    }
}

/// The nodes of a field from left to right; `None`: one that is no address.
type Hops = SmallVec<[Option<IpAddr>; 4]>;

/// The right-most node that is no trusted proxy. Behind a node that is no address nobody is known.
fn walk(trusted: &Trusted, hop: Option<IpAddr>, hops: &Hops) -> Option<IpAddr> {
    let mut last = hop;
    for node in hops.iter().rev() {
        let Some(address) = node else { break };
        last = Some(*address);
        if !trusted.includes(last) {
            break;
        }
    }
    last
}

/// RFC 7239 §4: elements with parameters, of which `for` names the node.
fn read_forwarded(value: &[u8], hops: &mut Hops) {
    for element in split(value, b',') {
        let mut named = split(element, b';').filter_map(parameter);
        let node_of = |value: &[u8]| match value.strip_prefix(b"\"") {
            Some(quoted) => quoted.strip_suffix(b"\"").and_then(node),
            None => node(value),
        };
        hops.push(named.find(|(name, _)| name.eq_ignore_ascii_case(b"for")).and_then(|(_, v)| node_of(v)));
    }
}

fn parameter(pair: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = memchr::memchr(b'=', pair)?;
    Some((pair[..equals].trim_ascii(), pair[equals + 1..].trim_ascii()))
}

/// The parts between separators that are not within a quoted string (RFC 9110 §5.6.4), without white space
/// around them. A string that does not end takes in all that follows.
fn split(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |&byte| {
        let is_plain = !std::mem::take(&mut escaped);
        match byte {
            b'\\' if quoted && is_plain => escaped = true,
            b'"' if is_plain => quoted = !quoted,
            _ => {}
        }
        byte == separator && !quoted
    })
    .map(<[u8]>::trim_ascii)
}

/// RFC 7239 §6: an address, perhaps with a port; IPv6 in brackets. `X-Forwarded-For` has IPv6 without them,
/// too. Names such as `unknown` and `_hidden` are no addresses.
fn node(text: &[u8]) -> Option<IpAddr> {
    let text = core::str::from_utf8(text.trim_ascii()).ok()?;
    let address = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (address, rest) = bracketed.split_once(']')?;
            let is_end = rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port);
            address.parse().ok().filter(|address| is_end && matches!(address, IpAddr::V6(_)))?
        }
        None => match text.split_once(':') {
            Some((address, port)) if is_port(port) => IpAddr::V4(address.parse().ok()?),
            _ => text.parse().ok()?,
        },
    };
    Some(address.to_canonical())
}

/// A port, or a name that hides it.
fn is_port(text: &str) -> bool {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match text.strip_prefix('_') {
        Some(name) => !name.is_empty() && name.bytes().all(is_name),
        None => (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    fn trusted(list: &[&str]) -> Trusted {
        Trusted::parse(&list.iter().map(|text| text.to_string()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn networks_and_addresses_of_both_kinds() {
        let table: &[(&str, &[&str], &[&str])] = &[
            ("10.0.0.0/8", &["10.0.0.0", "10.255.0.1", "::ffff:10.1.2.3"], &["11.0.0.0", "::10.1.2.3"]),
            ("10.1.2.3", &["10.1.2.3", "::ffff:10.1.2.3"], &["10.1.2.4"]),
            ("::ffff:10.0.0.0/104", &["10.9.9.9", "::ffff:10.9.9.9"], &["11.0.0.1"]),
            ("::ffff:10.1.2.3", &["10.1.2.3"], &["10.1.2.4"]),
            ("::1", &["::1"], &["::2", "127.0.0.1"]),
            ("2001:db8::/32", &["2001:db8:ffff::1"], &["2001:db9::1"]),
            ("0.0.0.0/0", &["1.2.3.4", "::ffff:1.2.3.4"], &["::1"]),
            ("::/0", &["::1", "2001:db8::1"], &["1.2.3.4"]),
            ("10.1.2.3/8", &["10.9.9.9"], &["9.9.9.9"]),
        ];
        for (network, inside, outside) in table {
            let trusted = trusted(&[network]);
            assert!(inside.iter().all(|text| trusted.includes(ip(text))), "{network}");
            assert!(!outside.iter().any(|text| trusted.includes(ip(text))), "{network}");
            assert!(!trusted.includes(None));
        }
        assert!(trusted(&["unix"]).includes(None) && !trusted(&["unix"]).includes(ip("::1")));
    }

    #[test]
    fn entries_that_are_neither_are_named() {
        for wrong in ["", "10", "10.0.0.0/33", "10.0.0.0/-1", "localhost", "10.0.0.0/8 ", "::1/129", "Unix"] {
            let list = ["::1", wrong].map(String::from);
            assert_eq!(Trusted::parse(&list), Err(wrong));
        }
    }

    fn speaks(peer: &str, proxied: Option<&str>, fields: &[(&str, &str)]) -> Speaker {
        let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        speaker(&trusted(&["10.0.0.0/8", "::1"]), ip(peer), proxied.and_then(ip), fields)
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let client = |text: &str| Speaker::Client(ip(text));
        let xff = |value| [("x-forwarded-for", value)];
        assert_eq!(speaks("8.8.8.8", None, &xff("1.1.1.1")), Speaker::Peer);
        assert_eq!(speaks("8.8.8.8", Some("1.1.1.1"), &xff("2.2.2.2")), Speaker::Peer);
        assert_eq!(speaks("10.0.0.1", None, &[]), Speaker::Proxy);
        assert_eq!(speaks("10.0.0.1", Some("1.1.1.1"), &xff("2.2.2.2")), client("1.1.1.1"));
        assert_eq!(speaks("10.0.0.1", Some("10.0.0.2"), &xff("2.2.2.2")), client("2.2.2.2"));
        assert_eq!(speaks("10.0.0.1", Some("10.0.0.2"), &[]), client("10.0.0.2"));
        let table = [
            ("1.1.1.1", "1.1.1.1"),
            ("6.6.6.6, 1.1.1.1", "1.1.1.1"),
            ("6.6.6.6,1.1.1.1 ,\t10.0.0.3, 10.0.0.2", "1.1.1.1"),
            ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
            ("1.1.1.1:80", "1.1.1.1"),
            ("[2001:db8::1]:80", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("::ffff:1.1.1.1", "1.1.1.1"),
            // Whoever stands behind a node that is no address is not known.
            ("1.1.1.1, unknown, 10.0.0.2", "10.0.0.2"),
            ("1.1.1.1, ", "10.0.0.1"),
            ("1.1.1.1, 2.2.2.2:x", "10.0.0.1"),
            ("1.1.1.1, 2.2.2", "10.0.0.1"),
            ("", "10.0.0.1"),
        ];
        for (value, expected) in table {
            assert_eq!(speaks("10.0.0.1", None, &xff(value)), client(expected), "{value}");
        }
        let two = [("x-forwarded-for", "6.6.6.6"), ("a", "b"), ("x-forwarded-for", "1.1.1.1, 10.0.0.2")];
        assert_eq!(speaks("::1", None, &two), client("1.1.1.1"));
    }

    #[test]
    fn the_standard_field_is_read_with_its_quotes() {
        let table = [
            ("for=1.1.1.1", "1.1.1.1"),
            ("proto=https ; For = \"1.1.1.1:4711\";by=10.0.0.1", "1.1.1.1"),
            ("for=6.6.6.6, for=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
            ("for=6.6.6.6;host=\"a,b;for=7.7.7.7\", for=1.1.1.1;by=\"x\\\",\"", "1.1.1.1"),
            ("for=1.1.1.1, for=10.0.0.2", "1.1.1.1"),
            ("for=1.1.1.1:_hidden", "1.1.1.1"),
            // A string that a client left open swallows what the proxy appended.
            ("for=\"6.6.6.6, for=1.1.1.1", "10.0.0.1"),
            ("for=\"6.6.6.6\\\", for=1.1.1.1", "10.0.0.1"),
            ("for=unknown", "10.0.0.1"),
            ("for=_secret, for=10.0.0.2", "10.0.0.2"),
            ("by=1.1.1.1", "10.0.0.1"),
            ("1.1.1.1", "10.0.0.1"),
            ("for=[1.1.1.1]", "10.0.0.1"),
        ];
        for (value, expected) in table {
            let found = speaks("10.0.0.1", None, &[("forwarded", value)]);
            assert_eq!(found, Speaker::Client(ip(expected)), "{value}");
        }
    }

    #[test]
    fn fields_that_contradict_each_other_name_nobody() {
        let both = |one, other| speaks("10.0.0.1", None, &[("forwarded", one), ("x-forwarded-for", other)]);
        assert_eq!(both("for=1.1.1.1", "6.6.6.6, 1.1.1.1"), Speaker::Client(ip("1.1.1.1")));
        assert_eq!(both("for=6.6.6.6", "1.1.1.1"), Speaker::Client(ip("10.0.0.1")));
        assert_eq!(both("", "1.1.1.1"), Speaker::Client(ip("10.0.0.1")));
        let unix = trusted(&["unix"]);
        let fields = [(&b"forwarded"[..], &b"for=unknown"[..])];
        assert_eq!(speaker(&unix, None, None, fields.into_iter()), Speaker::Client(None));
        assert_eq!(speaker(&unix, None, None, [].into_iter()), Speaker::Proxy);
    }

    proptest! {
        #[test]
        fn whatever_a_client_writes_in_front_the_answer_is_what_the_proxy_appended(
            forged in "[ -~]{0,40}", in_one_line in any::<bool>(),
        ) {
            let lines = match in_one_line {
                true => vec![format!("{forged}, 1.1.1.1")],
                false => vec![forged.clone(), "1.1.1.1".into()],
            };
            let fields: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", line.as_str())).collect();
            let found = speaks("10.0.0.1", None, &fields);
            prop_assert_eq!(found, Speaker::Client(ip("1.1.1.1")));
        }

        #[test]
        fn any_bytes_are_survived(value in prop::collection::vec(any::<u8>(), 0..60)) {
            for name in [&b"forwarded"[..], b"x-forwarded-for"] {
                let fields = [(name, &value[..])];
                let _ = speaker(&trusted(&["::1"]), ip("::1"), None, fields.into_iter());
            }
        }
    }
}
