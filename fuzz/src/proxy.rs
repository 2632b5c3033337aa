//! PROXY headers of both versions: the crate `ppp` reads the same addresses, the result does not depend on the
//! ends of reads, and a header that is written is read back.

use crate::input::{Input, ends};
use ppp::HeaderResult;
use std::net::{IpAddr, SocketAddr};
use uws_rs::protocol::http::proxy::{
    Likeness, MAX_LINE, MAX_PAYLOAD, ProxyError, ProxyHeader, SIGNATURE, looks_like_proxy, parse,
};

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let pieces = input.pieces();
    let stream = input.stream();
    let whole = parse(stream);
    check_cuts(stream, &pieces, &whole);
    compare(stream, &whole);
    write_and_read(stream);
}

fn check_cuts(stream: &[u8], pieces: &[usize], whole: &Result<Option<(ProxyHeader, usize)>, ProxyError>) {
    let every = 0..stream.len().min(MAX_LINE + 2);
    for end in every.chain(ends(pieces, stream.len())) {
        match (parse(&stream[..end]), whole) {
            (Ok(None), Ok(Some((_, used)))) => assert!(end < *used),
            (Ok(None), _) => {}
            (part, whole) => assert_eq!(part, *whole, "{end} bytes"),
        }
        let (part, all) = (looks_like_proxy(&stream[..end]), looks_like_proxy(stream));
        assert!(part == all || part == Likeness::Maybe);
    }
}

fn compare(stream: &[u8], ours: &Result<Option<(ProxyHeader, usize)>, ProxyError>) {
    let theirs = HeaderResult::parse(stream);
    match (ours, &theirs) {
        (Ok(Some((header, used))), HeaderResult::V2(Ok(theirs))) => {
            assert_eq!(*used, theirs.as_bytes().len());
            assert_eq!(*header, addresses_v2(theirs));
        }
        (Ok(Some((header, used))), HeaderResult::V1(Ok(theirs))) => {
            assert_eq!(*used, theirs.header.len());
            let expected = match theirs.addresses {
                ppp::v1::Addresses::Unknown => ProxyHeader::default(),
                ppp::v1::Addresses::Tcp4(a) => pair(
                    (a.source_address.into(), a.source_port),
                    (a.destination_address.into(), a.destination_port),
                ),
                ppp::v1::Addresses::Tcp6(a) => pair(
                    (a.source_address.into(), a.source_port),
                    (a.destination_address.into(), a.destination_port),
                ),
            };
            assert_eq!(*header, expected);
        }
        // They refuse transports and families that we need not know.
        (Ok(Some((header, _))), HeaderResult::V2(Err(_))) => {
            assert!(*header == ProxyHeader::default() || stream[13] & 0xf > 2 || stream[13] & 0xf == 0)
        }
        (Ok(Some(_)), HeaderResult::V1(Err(_))) => {}
        (Err(ProxyError::TooLarge), HeaderResult::V2(_)) => {
            assert!(usize::from(u16::from_be_bytes([stream[14], stream[15]])) > MAX_PAYLOAD);
        }
        (Err(_), HeaderResult::V2(Ok(theirs))) => panic!("{ours:?}, ppp: {theirs:?}"),
        (Ok(None), HeaderResult::V1(Ok(_)) | HeaderResult::V2(Ok(_))) => panic!("{ours:?}, ppp: {theirs:?}"),
        (Ok(None) | Err(_), _) => {}
    }
}

fn pair(source: (IpAddr, u16), destination: (IpAddr, u16)) -> ProxyHeader {
    ProxyHeader { source: Some(SocketAddr::from(source)), destination: Some(SocketAddr::from(destination)) }
}

fn addresses_v2(header: &ppp::v2::Header) -> ProxyHeader {
    if header.command == ppp::v2::Command::Local {
        return ProxyHeader::default();
    }
    match header.addresses {
        ppp::v2::Addresses::IPv4(a) => {
            pair((a.source_address.into(), a.source_port), (a.destination_address.into(), a.destination_port))
        }
        ppp::v2::Addresses::IPv6(a) => {
            pair((a.source_address.into(), a.source_port), (a.destination_address.into(), a.destination_port))
        }
        _ => ProxyHeader::default(),
    }
}

/// The addresses are taken from the input.
fn write_and_read(stream: &[u8]) {
    let Some((ip, rest)) = stream.split_first_chunk::<32>() else { return };
    let Some((ports, tlvs)) = rest.split_first_chunk::<4>() else { return };
    let port = |at: usize| u16::from_be_bytes([ports[at], ports[at + 1]]);
    let address = |at: usize| -> [u8; 16] { ip[at..at + 16].try_into().expect("half") };
    let four = |at: usize| -> [u8; 4] { ip[at..at + 4].try_into().expect("a part") };
    let six = pair((address(0).into(), port(0)), (address(16).into(), port(2)));
    let v4 = pair((four(0).into(), port(0)), (four(16).into(), port(2)));
    let tlvs = &tlvs[..tlvs.len().min(1000)];
    for (header, family, addresses) in [(six, 0x21, ip.to_vec()), (v4, 0x11, [four(0), four(16)].concat())] {
        let payload = [&addresses, &ports[..], tlvs].concat();
        let length = (payload.len() as u16).to_be_bytes();
        let bytes = [&SIGNATURE[..], &[0x21, family], &length, &payload].concat();
        assert_eq!(parse(&bytes), Ok(Some((header, bytes.len()))));
        let (source, destination) =
            (header.source.expect("source"), header.destination.expect("destination"));
        let name = if family == 0x21 { "TCP6" } else { "TCP4" };
        let (from, to) = (source.ip(), destination.ip());
        let line = format!("PROXY {name} {from} {to} {} {}\r\n", source.port(), destination.port());
        assert_eq!(parse(line.as_bytes()), Ok(Some((header, line.len()))));
    }
}
