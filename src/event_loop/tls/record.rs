//! One direction of an established session: its key, and records sealed or opened with it (RFC 8446 §5.2
//! and §5.3, RFC 5246 §6.2.3.3, RFC 5288 §3, RFC 7905 §2). This file does not know the meaning of records.

use super::violation::Violation;
use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey,
};
use rustls::ConnectionTrafficSecrets;

/// Plain bytes of one record (RFC 8446 §5.1).
pub const MAX_PLAIN: usize = 1 << 14;
pub const HEADER: usize = 5;
/// The most bytes by which a record is longer than its content: header, explicit nonce, kind and tag.
pub const MAX_OVERHEAD: usize = HEADER + EXPLICIT_NONCE + 1 + TAG;
const TAG: usize = 16;
const EXPLICIT_NONCE: usize = 8;

pub const ALERT: u8 = 21;
pub const HANDSHAKE: u8 = 22;
pub const DATA: u8 = 23;

pub struct RecordKey {
    key: LessSafeKey,
    iv: [u8; NONCE_LEN],
    sequence: u64,
    form: Form,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Tls13,
    /// The explicit part of the nonce is in front of each record.
    Tls12Gcm,
    Tls12Chacha,
}

impl RecordKey {
    /// `None`: the cipher is not one that rustls may negotiate here.
    pub fn new(tls13: bool, sequence: u64, secrets: &ConnectionTrafficSecrets) -> Option<Self> {
        let (algorithm, key, iv, tls12) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv, Form::Tls12Gcm),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv, Form::Tls12Gcm),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => {
                (&CHACHA20_POLY1305, key, iv, Form::Tls12Chacha)
            }
            _ => return None,
        };
        let key = LessSafeKey::new(UnboundKey::new(algorithm, key.as_ref()).ok()?);
        let form = if tls13 { Form::Tls13 } else { tls12 };
        Some(RecordKey { key, iv: iv.as_ref().try_into().ok()?, sequence, form })
    }

    /// Records sealed or opened so far.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    pub fn is_tls13(&self) -> bool {
        self.form == Form::Tls13
    }

    /// The largest length that the header of a record may have.
    pub fn max_sealed(&self) -> usize {
        MAX_PLAIN + if self.is_tls13() { 256 } else { 2048 }
    }

    /// Seals the `len` bytes that `fill` writes as one record at the front of `out`, which has room for them
    /// and `MAX_OVERHEAD`; returns its size.
    pub fn seal(
        &mut self,
        kind: u8,
        len: usize,
        out: &mut [u8],
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<usize, Violation> {
        let nonce = self.nonce();
        let (explicit, kind_inside) = match self.form {
            Form::Tls13 => (0, 1),
            Form::Tls12Gcm => (EXPLICIT_NONCE, 0),
            Form::Tls12Chacha => (0, 0),
        };
        let (start, inner) = (HEADER + explicit, len + kind_inside);
        let outer_kind = if self.is_tls13() { DATA } else { kind };
        let header = header(outer_kind, explicit + inner + TAG);
        out[..HEADER].copy_from_slice(&header);
        out[HEADER..start].copy_from_slice(&nonce[NONCE_LEN - explicit..]);
        let body = &mut out[start..start + inner];
        fill(&mut body[..len]);
        if kind_inside == 1 {
            body[len] = kind;
        }
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = match self.form {
            Form::Tls13 => self.key.seal_in_place_separate_tag(nonce, Aad::from(header), body),
            _ => self.key.seal_in_place_separate_tag(nonce, Aad::from(self.tls12_aad(kind, len)), body),
        };
        let tag = tag.map_err(|_| Violation::Internal)?;
        out[start + inner..start + inner + TAG].copy_from_slice(tag.as_ref());
        self.sequence += 1;
        Ok(start + inner + TAG)
    }

    /// Opens the record with this kind and body into `out`, which has room for the body; returns the kind and
    /// the length of its content.
    pub fn open(&mut self, kind: u8, body: &[u8], out: &mut [u8]) -> Result<(u8, usize), Violation> {
        let mut nonce = self.nonce();
        let mut cipher = body;
        if self.form == Form::Tls12Gcm {
            let (explicit, rest) = body.split_at_checked(EXPLICIT_NONCE).ok_or(Violation::BadRecord)?;
            nonce[..NONCE_LEN - EXPLICIT_NONCE].copy_from_slice(&self.iv[..NONCE_LEN - EXPLICIT_NONCE]);
            nonce[NONCE_LEN - EXPLICIT_NONCE..].copy_from_slice(explicit);
            cipher = rest;
        }
        let len = cipher.len().checked_sub(TAG).ok_or(Violation::BadRecord)?;
        let (cipher, tag) = cipher.split_at(len);
        let out = &mut out[..len];
        let nonce = Nonce::assume_unique_for_key(nonce);
        let opened = match self.form {
            Form::Tls13 => {
                let aad = Aad::from(header(kind, body.len()));
                self.key.open_separate_gather(nonce, aad, cipher, tag, out)
            }
            _ => {
                let aad = Aad::from(self.tls12_aad(kind, len));
                self.key.open_separate_gather(nonce, aad, cipher, tag, out)
            }
        };
        opened.map_err(|_| Violation::BadRecord)?;
        self.sequence += 1;
        let (kind, len) = if self.is_tls13() { unpad(out)? } else { (kind, len) };
        if len > MAX_PLAIN {
            return Err(Violation::TooLong);
        }
        Ok((kind, len))
    }

    /// RFC 8446 §5.3; in TLS 1.2 as well, where any nonce that is not used twice will do.
    fn nonce(&self) -> [u8; NONCE_LEN] {
        let mut nonce = self.iv;
        let sequence = self.sequence.to_be_bytes();
        for (byte, sequence) in nonce[NONCE_LEN - sequence.len()..].iter_mut().zip(sequence) {
            *byte ^= sequence;
        }
        nonce
    }

    fn tls12_aad(&self, kind: u8, len: usize) -> [u8; 13] {
        let mut aad = [0; 13];
        aad[..8].copy_from_slice(&self.sequence.to_be_bytes());
        aad[8..].copy_from_slice(&header(kind, len));
        aad
    }
}

fn header(kind: u8, len: usize) -> [u8; HEADER] {
    let [high, low] = (len as u16).to_be_bytes();
    [kind, 3, 3, high, low]
}

/// The kind, which stands behind the content, and the length of the content (RFC 8446 §5.4).
fn unpad(plain: &[u8]) -> Result<(u8, usize), Violation> {
    let len = plain.iter().rposition(|byte| *byte != 0).ok_or(Violation::Unexpected)?;
    Ok((plain[len], len))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::crypto::cipher::{AeadKey, Iv};

    fn forms() -> Vec<[RecordKey; 2]> {
        let secrets = |cipher: u8| {
            let (key, iv) = (AeadKey::from([7; 32]), Iv::from([9; 12]));
            match cipher {
                0 => ConnectionTrafficSecrets::Aes256Gcm { key, iv },
                _ => ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv },
            }
        };
        let key = |tls13, cipher| RecordKey::new(tls13, 3, &secrets(cipher)).expect("key");
        [(true, 0), (true, 1), (false, 0), (false, 1)].map(|(v, c)| [key(v, c), key(v, c)]).into()
    }

    fn seal(key: &mut RecordKey, kind: u8, plain: &[u8]) -> Vec<u8> {
        let mut out = vec![0; plain.len() + MAX_OVERHEAD];
        let len = key.seal(kind, plain.len(), &mut out, |to| to.copy_from_slice(plain)).expect("sealed");
        out.truncate(len);
        out
    }

    #[test]
    fn records_sealed_by_one_side_are_opened_by_the_other_in_order() {
        for [mut sealer, mut opener] in forms() {
            for len in [0, 1, 20, 16383, 16384] {
                let plain: Vec<u8> = (0..len).map(|i| i as u8).collect();
                let record = seal(&mut sealer, ALERT, &plain);
                assert_eq!(usize::from(u16::from_be_bytes([record[3], record[4]])) + HEADER, record.len());
                let mut out = vec![0; record.len()];
                let opened = opener.open(record[0], &record[HEADER..], &mut out).expect("opened");
                assert_eq!(opened, (ALERT, plain.len()));
                assert_eq!(out[..plain.len()], plain);
            }
        }
    }

    #[test]
    fn a_record_changed_repeated_or_left_out_is_not_opened() {
        for [mut sealer, mut opener] in forms() {
            let (first, second) = (seal(&mut sealer, DATA, b"first"), seal(&mut sealer, DATA, b"second"));
            let mut out = vec![0; 100];
            for at in HEADER..first.len() {
                let mut changed = first.clone();
                changed[at] ^= 1;
                assert!(opener.open(DATA, &changed[HEADER..], &mut out).is_err(), "{at}");
            }
            assert!(opener.open(DATA, &second[HEADER..], &mut out).is_err());
            assert!(opener.open(HANDSHAKE, &first[HEADER..], &mut out).is_err());
            for len in 0..first.len() - HEADER {
                assert!(opener.open(DATA, &first[HEADER..HEADER + len], &mut out).is_err(), "{len}");
            }
            assert!(opener.open(DATA, &first[HEADER..], &mut out).is_ok());
            assert!(opener.open(DATA, &first[HEADER..], &mut out).is_err());
        }
    }

    #[test]
    fn padding_is_taken_off_and_nothing_but_padding_is_refused() {
        assert_eq!(unpad(b"abc\x17\0\0\0"), Ok((DATA, 3)));
        assert_eq!(unpad(b"\x17"), Ok((DATA, 0)));
        assert!(unpad(b"\0\0").is_err() && unpad(b"").is_err());
    }

    #[test]
    fn a_plain_text_that_is_too_long_is_refused() {
        for [mut sealer, mut opener] in forms() {
            let record = seal(&mut sealer, DATA, &[1; MAX_PLAIN + 1]);
            let mut out = vec![0; record.len()];
            assert_eq!(opener.open(record[0], &record[HEADER..], &mut out), Err(Violation::TooLong));
        }
    }
}
