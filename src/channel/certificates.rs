//! The certificates that clients of SSLApps have sent, for JavaScript to read.
//!
//! The connection owns its entry: the loop makes it when the handshake is complete, before any event of the
//! connection, and drops it with the connection, which is when JavaScript has heard of the end. Most clients
//! send none, so there is nothing for them here.

use super::layout::ExchangeId;
use super::sync::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// Those of all connections of a loop, by slot.
#[derive(Default)]
pub struct Certificates {
    by_slot: Mutex<HashMap<u32, Entry>>,
}

struct Entry {
    generation: u32,
    der: Arc<[u8]>,
}

impl Certificates {
    /// The certificate in the form of DER. `None`: the connection has none, or is gone.
    pub fn get(&self, id: ExchangeId) -> Option<Arc<[u8]>> {
        let all = self.by_slot.lock();
        all.get(&id.slot).filter(|entry| entry.generation == id.generation).map(|entry| entry.der.clone())
    }
}

/// The entry of one connection, which goes with it.
pub struct Certificate {
    all: Arc<Certificates>,
    id: ExchangeId,
}

impl Certificate {
    pub fn new(all: &Arc<Certificates>, id: ExchangeId, der: Arc<[u8]>) -> Self {
        all.by_slot.lock().insert(id.slot, Entry { generation: id.generation, der });
        Certificate { all: all.clone(), id }
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        self.all.by_slot.lock().remove(&self.id.slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_there_for_its_connection_alone_and_as_long_as_it() {
        let all = Arc::new(Certificates::default());
        let [id, other, next] =
            [(1, 7), (2, 7), (1, 8)].map(|(slot, generation)| ExchangeId::new(0, slot, generation));
        let kept = Certificate::new(&all, id, Arc::from(&b"der"[..]));
        assert_eq!(all.get(id).as_deref(), Some(&b"der"[..]));
        assert_eq!((all.get(other), all.get(next)), (None, None));
        drop(kept);
        assert_eq!(all.get(id), None);
        let _next = Certificate::new(&all, next, Arc::from(&b"next"[..]));
        assert_eq!((all.get(id), all.get(next).as_deref()), (None, Some(&b"next"[..])));
    }
}
