//! Batches of events and the blocks of requests: what is written is read, and any bytes do no harm.

use crate::input::{Input, steps};
use arbitrary::Arbitrary;
use uws_rs::channel::mailbox::Batch;
use uws_rs::channel::{
    EventBatch, ExchangeId, JsEvent, OWNED, OWNED_EVENT, RequestBlock, write_request_block,
};
use uws_rs::protocol::http::request::{Limits, RequestHead, parse};

pub fn run(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    match kind % 3 {
        0 => events(data),
        1 => request(data),
        _ => read_anything(data),
    }
}

// ---- events

#[derive(Arbitrary, Debug)]
struct Step<'a> {
    id: (u32, u32),
    kind: u8,
    args: (u32, u32, u32),
    payload: &'a [u8],
    repeat: u16,
    way: Way,
}

#[derive(Arbitrary, Debug)]
enum Way {
    Push,
    TryPush,
    /// Nobody wants it.
    Unwanted,
    Failed,
    Owned,
}

fn events(data: &[u8]) {
    let (mut batch, mut expected) = (EventBatch::default(), Vec::new());
    for step in steps::<Step>(data, 100) {
        let (slot, generation) = step.id;
        let id = ExchangeId { slot, generation };
        let (a, b, c) = step.args;
        let event = match step.kind % 6 {
            0 => JsEvent::Request { handler: a, flags: b, app: c },
            1 => JsEvent::Data { flags: a, remaining: u64::from(b) | u64::from(c) << 32 },
            2 => JsEvent::Message { binary: a % 2 == 1 },
            3 => JsEvent::Gone { code: a },
            4 => JsEvent::Filter { app: a, accepted: b % 2 == 1 },
            _ => JsEvent::Quiet,
        };
        let payload = step.payload.repeat(1 + usize::from(step.repeat) % 64);
        let before = (batch.arena.len(), batch.headers.len());
        let wanted = match step.way {
            Way::Push => {
                batch.push(event, id, &payload);
                true
            }
            Way::Owned => {
                batch.push_owned(event, id, payload.clone().into());
                true
            }
            Way::TryPush | Way::Unwanted | Way::Failed => {
                let answer = match step.way {
                    Way::TryPush => Ok(true),
                    Way::Unwanted => Ok(false),
                    _ => Err("failed"),
                };
                let result = batch.try_push_with(event, id, |arena| {
                    arena.extend_from_slice(&payload);
                    answer
                });
                assert_eq!(result, answer.map(drop));
                answer == Ok(true)
            }
        };
        if wanted {
            expected.push((event, id, payload, matches!(step.way, Way::Owned)));
        } else {
            assert_eq!((batch.arena.len(), batch.headers.len()), before);
        }
    }
    assert_eq!(batch.items(), expected.len());
    let carried: usize = expected.iter().map(|event| event.2.len()).sum();
    assert!(batch.bytes() >= carried);
    for (header, (event, id, payload, owned)) in batch.headers.iter().zip(&expected) {
        assert_eq!((header.slot, header.generation), (id.slot, id.generation));
        assert_eq!(header.kind, event.kind() as u32);
        assert_eq!(JsEvent::read(event.kind(), [header.a, header.b, header.c]), *event);
        assert_eq!(header.len as usize, payload.len());
        let is_owned = header.offset & OWNED != 0;
        let bytes = if is_owned {
            assert!(*owned || payload.len() >= OWNED_EVENT);
            batch.owned[(header.offset & !OWNED) as usize].as_ref().expect("a payload").bytes()
        } else {
            &batch.arena[header.offset as usize..][..header.len as usize]
        };
        assert!(bytes == payload);
    }
    batch.recycle();
    assert!(batch.is_empty() && batch.bytes() == 0);
}

// ---- request blocks

/// The head of a request, with matches and a body, is read as it was parsed.
fn request(data: &[u8]) {
    let mut input = Input::new(data);
    let matches: Vec<(u32, usize)> =
        (0..input.number() % 6).map(|_| (input.number() as u32 * 0x0101_0101, input.number() % 5)).collect();
    let mut bytes = input.stream().to_vec();
    let mut head = RequestHead::default();
    let Ok(Some(used)) = parse(&mut bytes, &Limits::default(), &mut head) else { return };
    let (bytes, body) = bytes.split_at(used);
    // The parameters are parts of the path, one behind the other.
    let path = (head.path.start, head.path.end);
    let part = |index: usize| {
        let at = (path.0 + index as u32).min(path.1);
        (at, (at + 1).min(path.1))
    };
    let mut words = Vec::new();
    for (handler, parameters) in &matches {
        words.extend([*handler, *parameters as u32]);
        words.extend((0..*parameters).flat_map(|index| [part(index).0, part(index).1]));
    }
    let mut arena = b"another event".to_vec();
    let start = arena.len();
    write_request_block(&mut arena, &head, &words, bytes, body);
    let block = RequestBlock::of(&arena[start..]);
    assert_eq!(block.method(), head.method.of(bytes));
    assert_eq!(block.path(), head.path.of(bytes));
    assert_eq!(block.query(), head.query.map(|query| query.of(bytes)));
    let fields: Vec<_> =
        head.headers.iter().map(|header| (header.name.of(bytes), header.value.of(bytes))).collect();
    assert_eq!(block.header_fields().collect::<Vec<_>>(), fields);
    assert_eq!(block.body(body.len()), body);
    for (at, (handler, parameters)) in matches.iter().enumerate() {
        assert_eq!(block.handler(at as u32), Some(*handler));
        for index in 0..*parameters {
            let (from, to) = part(index);
            assert_eq!(block.parameter(at as u32, index as u32), Some(&bytes[from as usize..to as usize]));
        }
        assert_eq!(block.parameter(at as u32, *parameters as u32), None);
    }
    assert_eq!(block.handler(matches.len() as u32), None);
}

/// No part of a block is outside of its bytes.
fn read_anything(data: &[u8]) {
    let block = RequestBlock::of(data);
    let within = |part: &[u8]| {
        part.is_empty() || {
            let (all, part) = (data.as_ptr_range(), part.as_ptr_range());
            all.start <= part.start && part.end <= all.end
        }
    };
    assert!(within(block.method()) && within(block.path()) && block.query().is_none_or(within));
    for (name, value) in block.header_fields().take(1000) {
        assert!(within(name) && within(value));
    }
    for wanted in [0, 1, 2, 100, u32::MAX] {
        let _ = block.handler(wanted);
        for index in [0, 1, 7, u32::MAX - 1] {
            assert!(block.parameter(wanted, index).is_none_or(within));
        }
    }
    assert!(within(block.body(data.len())) && within(block.body(usize::MAX)));
}
