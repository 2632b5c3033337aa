//! Reads the ClientHello before the handshake begins: its server name and ciphers decide which settings
//! rustls gets.
//!
//! This file refuses nothing: malformed bytes count as a hello without a name, and rustls, which knows the
//! alert, refuses them.

use rustls::pki_types::DnsName;
use std::borrow::Cow;

/// The parts of a ClientHello that the settings depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// The server name (RFC 6066 §3), in lower case.
    pub name: Option<String>,
    /// Of the ciphers that we have, the client names ChaCha20 first, because it has no hardware for AES.
    pub prefers_chacha: bool,
}

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const RECORD_LIMIT: usize = 1 << 14;
const HELLO_LIMIT: usize = 0xffff;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;

/// Suites of TLS 1.3, ECDSA and RSA, in this order.
const CHACHA: [u16; 3] = [0x1303, 0xcca9, 0xcca8];
const AES: [u16; 6] = [0x1301, 0x1302, 0xc02b, 0xc02c, 0xc02f, 0xc030];

/// The ClientHello at the front of `records`; `None` as long as it is not complete.
pub fn look(records: &[u8]) -> Option<ClientHello> {
    let (mut rest, mut message) = (records, Cow::Borrowed(&[][..]));
    loop {
        let (&[kind, _, _, high, low], behind) = rest.split_first_chunk()?;
        let len = usize::from(u16::from_be_bytes([high, low]));
        if kind != HANDSHAKE || len == 0 || len > RECORD_LIMIT {
            return Some(ClientHello::default());
        }
        let (fragment, behind) = behind.split_at_checked(len)?;
        // A hello in one record, which is the usual case, is not copied.
        match message.is_empty() {
            true => message = Cow::Borrowed(fragment),
            false => message.to_mut().extend_from_slice(fragment),
        }
        rest = behind;
        match whole(&message) {
            Ok(None) => {}
            Ok(Some(hello)) => return Some(parse(hello).unwrap_or_default()),
            Err(Malformed) => return Some(ClientHello::default()),
        }
    }
}

struct Malformed;

/// The body of a ClientHello; `None` as long as it is not complete.
fn whole(message: &[u8]) -> Result<Option<&[u8]>, Malformed> {
    match *message {
        [CLIENT_HELLO, 0, high, low, ref body @ ..] => {
            Ok(body.get(..usize::from(u16::from_be_bytes([high, low])).min(HELLO_LIMIT)))
        }
        [CLIENT_HELLO] | [CLIENT_HELLO, 0] | [CLIENT_HELLO, 0, _] => Ok(None),
        _ => Err(Malformed),
    }
}

/// RFC 8446 §4.1.2; RFC 5246 §7.4.1.2 has the same shape.
fn parse(mut hello: &[u8]) -> Option<ClientHello> {
    const VERSION_AND_RANDOM: usize = 2 + 32;
    take(&mut hello, VERSION_AND_RANDOM)?;
    let _session = vec8(&mut hello)?;
    let prefers_chacha = prefers_chacha(vec16(&mut hello)?);
    let _compression = vec8(&mut hello)?;
    let mut asked = ClientHello { name: None, prefers_chacha };
    let mut extensions = vec16(&mut hello).unwrap_or_default();
    while !extensions.is_empty() {
        let kind = u16::from_be_bytes(*take(&mut extensions, 2)?.first_chunk()?);
        let extension = vec16(&mut extensions)?;
        if kind == SERVER_NAME {
            asked.name = server_name(extension);
        }
    }
    Some(asked)
}

fn prefers_chacha(suites: &[u8]) -> bool {
    let mut suites = suites.as_chunks().0.iter().map(|pair| u16::from_be_bytes(*pair));
    suites.find(|suite| CHACHA.contains(suite) || AES.contains(suite)).is_some_and(|it| CHACHA.contains(&it))
}

/// The server name. IP addresses, which some clients send although RFC 6066 §3 forbids it, do not count.
fn server_name(mut extension: &[u8]) -> Option<String> {
    let mut list = vec16(&mut extension)?;
    let &[HOST_NAME] = take(&mut list, 1)? else { return None };
    let name = DnsName::try_from(vec16(&mut list)?).ok()?;
    Some(name.as_ref().to_ascii_lowercase())
}

fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (front, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(front)
}

fn vec8<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let &[len] = take(bytes, 1)?.first_chunk()?;
    take(bytes, usize::from(len))
}

fn vec16<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = u16::from_be_bytes(*take(bytes, 2)?.first_chunk()?);
    take(bytes, usize::from(len))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A ClientHello body with these suites and this host name.
    fn hello(suites: &[u16], name: &str) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([0]);
        body.extend((suites.len() as u16 * 2).to_be_bytes());
        body.extend(suites.iter().flat_map(|suite| suite.to_be_bytes()));
        body.extend([1, 0]);
        let len = name.len() as u16;
        let mut extensions = vec![0, 43, 0, 3, 2, 3, 4, 0, 0];
        extensions.extend((len + 5).to_be_bytes());
        extensions.extend((len + 3).to_be_bytes());
        extensions.push(0);
        extensions.extend(len.to_be_bytes());
        extensions.extend(name.bytes());
        body.extend((extensions.len() as u16).to_be_bytes());
        body.extend(extensions);
        body
    }

    /// As a handshake message in records of at most `size` bytes.
    fn records(body: &[u8], size: usize) -> Vec<u8> {
        let mut message = vec![1, 0];
        message.extend((body.len() as u16).to_be_bytes());
        message.extend(body);
        let record =
            |fragment: &[u8]| [&[22, 3, 1], &(fragment.len() as u16).to_be_bytes()[..], fragment].concat();
        message.chunks(size).flat_map(record).collect()
    }

    #[test]
    fn the_name_and_the_preference_are_found_however_the_hello_is_cut_into_records() {
        let body = hello(&[0x0a0a, 0x1303, 0x1301], "Some.Example");
        let expected = ClientHello { name: Some("some.example".into()), prefers_chacha: true };
        for size in [1, 2, 3, 4, 5, 50, 16384] {
            let records = records(&body, size);
            assert_eq!(look(&records), Some(expected.clone()), "{size}");
            let mut behind = records.clone();
            behind.extend(b"more");
            assert_eq!(look(&behind), Some(expected.clone()), "{size}");
            for end in 0..records.len() {
                assert_eq!(look(&records[..end]), None, "{size} {end}");
            }
        }
    }

    #[test]
    fn only_chacha_in_front_of_aes_is_a_preference() {
        for (suites, preferred) in [
            (&[0x1301, 0x1303][..], false),
            (&[0x1302, 0x1301, 0x1303], false),
            (&[0xcca9, 0xc02b], true),
            (&[0x00ff], false),
            (&[], false),
        ] {
            let hello = look(&records(&hello(suites, "a.b"), 16384)).expect("complete");
            assert_eq!(hello.prefers_chacha, preferred, "{suites:x?}");
        }
    }

    #[test]
    fn addresses_and_invalid_names_count_as_none() {
        for name in ["", "..", "a b", "\u{e9}.example"] {
            assert_eq!(
                look(&records(&hello(&[0x1301], name), 16384)).expect("complete").name,
                None,
                "{name}"
            );
        }
    }

    #[test]
    fn bytes_that_are_no_hello_are_left_to_rustls_at_once() {
        for bytes in [
            &[22, 3, 1, 0, 4, 9, 9, 9, 9][..],
            &[22, 3, 1, 0, 0],
            &[22, 3, 1, 0xff, 0xff],
            &[23, 3, 3, 0, 1],
            &[22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff],
        ] {
            assert_eq!(look(bytes), Some(ClientHello::default()), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..400), at in 0usize..200, value in any::<u8>()) {
            let _ = look(&bytes);
            let mut almost = records(&hello(&[0x1301], "a.example"), 60);
            let at = at % almost.len();
            almost[at] = value;
            let _ = look(&almost);
        }
    }
}
