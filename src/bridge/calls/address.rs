//! Calls about the peer of a connection: its addresses and its certificate.

use super::call::Call;
use crate::bridge::value::{self, Value};
use crate::channel::{ExchangeId, RequestBlock};
use crate::protocol::http::forwarded::{self, Speaker};
use pkcs8::der::pem::{self, LineEnding};
use std::net::{IpAddr, SocketAddr};

fn address_of(call: &Call<'_>) -> Option<SocketAddr> {
    let ExchangeId { slot, generation } = call.id(0);
    let slot = call.session.event_loop.shared.slots.get(slot);
    if call.args.u32(2) == 0 { slot.peer(generation) } else { slot.proxied(generation) }
}

/// `address(slot, generation, proxied) → ArrayBuffer` of 0, 4 or 16 bytes
pub fn address(call: Call<'_>) -> Value {
    match address_of(&call).map(|address| address.ip()) {
        None => value::array_buffer(call.env(), b""),
        Some(IpAddr::V4(ip)) => value::array_buffer(call.env(), &ip.octets()),
        Some(IpAddr::V6(ip)) => value::array_buffer(call.env(), &ip.octets()),
    }
}

/// `addressText(slot, generation, proxied) → ArrayBuffer`; IPv6 fully written out
pub fn address_text(call: Call<'_>) -> Value {
    let text = match address_of(&call).map(|address| address.ip()) {
        None => String::new(),
        Some(IpAddr::V4(ip)) => ip.to_string(),
        Some(IpAddr::V6(ip)) => ip.segments().map(|segment| format!("{segment:04x}")).join(":"),
    };
    value::array_buffer(call.env(), text.as_bytes())
}

/// `port(slot, generation, proxied) → number`
pub fn port(call: Call<'_>) -> Value {
    value::integer(call.env(), address_of(&call).map_or(0, |address| i32::from(address.port())))
}

/// `clientAddress(slot, generation, app, offset, length) → string`: the address of the client whose request
/// has its block at that place, by the word of trusted proxies if it came by some; empty for one without an
/// address, and if another connection has the slot by now
pub fn client_address(call: Call<'_>) -> Value {
    let id = call.id(0);
    let slots = &call.session.event_loop.shared.slots;
    let ip = |address: Option<SocketAddr>| address.map(|address| address.ip());
    let slot = slots.get(id.slot);
    let (peer, proxied) = (ip(slot.peer(id.generation)), ip(slot.proxied(id.generation)));
    // Looked at behind the addresses: a peer that is gone must not be taken for one of a Unix socket.
    let is_there = slot.account(id.generation).is_some();
    let address = match call.session.trusted.get(&call.args.u32(2)) {
        None => peer,
        Some(_) if !is_there => None,
        Some(trusted) => {
            let block = RequestBlock::of(call.session.payload(call.args.u32(3), call.args.u32(4)));
            match forwarded::speaker(trusted, peer, proxied, block.header_fields()) {
                Speaker::Peer | Speaker::Proxy => peer,
                Speaker::Client(address) => address,
            }
        }
    };
    let text = address.map_or(String::new(), |address| address.to_canonical().to_string());
    value::latin1(call.env(), text.as_bytes())
}

/// `clientCertificate(slot, generation) → string`: in the form of PEM; empty if the client has sent none
pub fn client_certificate(call: Call<'_>) -> Value {
    let der = call.session.event_loop.shared.certificates.get(call.id(0));
    let text = der.and_then(|der| pem::encode_string("CERTIFICATE", LineEnding::LF, &der).ok());
    value::latin1(call.env(), text.unwrap_or_default().as_bytes())
}
