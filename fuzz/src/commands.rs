//! Batches of commands: those that are written are read as they were written, and any bytes do no harm.

use crate::input::steps;
use arbitrary::{Arbitrary, Unstructured};
use std::collections::BTreeSet;
use uws_rs::channel::buffers::Blocks;
use uws_rs::channel::mailbox::Batch;
use uws_rs::channel::{
    Command, CommandBatch, ExchangeId, Op, ResponseParts, begin_parts, command_cost, set_part,
};

#[derive(Arbitrary, Debug)]
struct Record<'a> {
    op: u8,
    flags: u32,
    id: (u32, u32),
    arg: u32,
    extra: u32,
    payload: &'a [u8],
    end: End<'a>,
}

#[derive(Arbitrary, Debug)]
enum End<'a> {
    Finish,
    Owned(&'a [u8]),
    Moving(u8),
    /// The record is dropped before it is finished.
    Dropped,
    Boxed(u64),
    /// The payload is the parts of a response.
    Parts(&'a [u8], &'a [u8]),
}

pub fn run(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    if kind % 2 == 0 { write_and_read(data, usize::from(kind / 2)) } else { read_anything(data) }
}

/// A command as it must be read.
#[derive(Debug, PartialEq)]
struct Seen {
    op: u32,
    flags: u32,
    id: (u32, u32),
    arg: u32,
    extra: u32,
    payload: Vec<u8>,
    owned: Option<Vec<u8>>,
    boxed: Option<u64>,
}

impl Seen {
    fn of(command: Command) -> Self {
        let cost = command.cost();
        let carried = command.owned.as_ref().map_or(command.payload.len(), Vec::len);
        assert!(cost == 0 || (command_cost(0)..=command_cost(carried)).contains(&cost));
        Seen {
            op: command.op as u32,
            flags: command.flags,
            id: (command.id.slot, command.id.generation),
            arg: command.arg,
            extra: command.extra,
            payload: command.payload.to_vec(),
            owned: command.owned,
            boxed: command.boxed.map(|boxed| *boxed.downcast().expect("a number")),
        }
    }
}

fn write_and_read(data: &[u8], stop: usize) {
    let blocks = Blocks::default();
    let (mut batch, mut expected) = (CommandBatch::default(), Vec::new());
    for record in steps::<Record>(data, 200) {
        write(record, &mut batch, &blocks, &mut expected);
    }
    assert_eq!(batch.is_empty(), expected.is_empty());
    let carried: usize =
        expected.iter().map(|seen| seen.payload.len() + seen.owned.as_ref().map_or(0, Vec::len)).sum();
    assert!(batch.bytes() >= carried);
    // The loop stops somewhere when its time is up, and goes on there.
    let (mut seen, mut at) = (Vec::new(), Some(0));
    while let Some(position) = at {
        let mut records = batch.records(position);
        seen.extend(records.by_ref().take(stop + 1).map(Seen::of));
        at = records.position();
    }
    assert_eq!(seen, expected);
    batch.give_back(&blocks);
    assert!(batch.is_empty() && batch.bytes() == 0 && batch.records(0).next().is_none());
}

fn write(record: Record, batch: &mut CommandBatch, blocks: &Blocks, expected: &mut Vec<Seen>) {
    let op = Op::ALL[usize::from(record.op) % Op::ALL.len()];
    let (slot, generation) = record.id;
    let flags = record.flags & 0x00ff_ffff;
    let mut seen = Seen {
        op: op as u32,
        flags,
        id: record.id,
        arg: record.arg,
        extra: record.extra,
        payload: record.payload.to_vec(),
        owned: None,
        boxed: None,
    };
    if let End::Boxed(number) = record.end {
        let arg = expected.iter().filter(|seen: &&Seen| seen.boxed.is_some()).count() as u32;
        batch.push_boxed(Box::new(number));
        let none = ExchangeId::default();
        let control = Op::Control as u32;
        let id = (none.slot, none.generation);
        let seen = Seen {
            op: control,
            flags: 0,
            id,
            arg,
            extra: 0,
            payload: Vec::new(),
            boxed: Some(number),
            ..seen
        };
        return expected.push(seen);
    }
    if matches!(op, Op::Control) {
        return;
    }
    let mut writer = batch.record(op, flags, ExchangeId { slot, generation }, record.arg, record.extra);
    writer.payload().extend_from_slice(record.payload);
    match record.end {
        End::Finish | End::Boxed(_) => writer.finish(),
        End::Owned(bytes) => {
            writer.finish_owned(blocks.copy(bytes));
            seen.owned = Some(bytes.to_vec());
        }
        End::Moving(len) => {
            let rest = record.payload.len() - record.payload.len().min(usize::from(len));
            writer.finish_moving(record.payload.len() - rest, blocks);
            seen.owned = Some(seen.payload.split_off(rest));
        }
        End::Dropped => return,
        End::Parts(status, headers) => {
            let payload = writer.payload();
            let start = payload.len() - record.payload.len();
            payload.truncate(start);
            let parts = begin_parts(payload);
            for (index, part) in [status, headers].into_iter().enumerate() {
                payload.extend_from_slice(part);
                set_part(payload, parts, index, part.len());
            }
            payload.extend_from_slice(record.payload);
            seen.payload = payload[start..].to_vec();
            let read = ResponseParts::parse(&seen.payload);
            assert_eq!(read, ResponseParts { status, headers, body: record.payload });
            writer.finish();
        }
    }
    expected.push(seen);
}

/// Reading ends, each command is where the last one ended, and no buffer is handed out twice.
fn read_anything(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let Ok(owned) = input.arbitrary::<Vec<&[u8]>>() else { return };
    // An owned buffer says which one it is by its length.
    let owned: Vec<_> = (1..=owned.len() % 8).map(|number| vec![0xee; number]).collect();
    let bytes = input.take_rest().to_vec();
    let mut batch = CommandBatch::of_bytes(bytes.clone(), owned);
    let (mut at, mut taken) = (0, BTreeSet::new());
    loop {
        let mut records = batch.records(at);
        let Some(command) = records.next() else { break };
        assert!(command.boxed.is_none());
        let parts = ResponseParts::parse(command.payload);
        assert!(parts.status.len() + parts.headers.len() + parts.body.len() <= command.payload.len().max(8));
        if let Some(owned) = command.owned.as_ref().filter(|owned| !owned.is_empty()) {
            assert!(taken.insert(owned.len()), "a buffer with two owners");
        }
        let payload = command.payload.to_vec();
        let _ = command.cost();
        let Some(next) = records.position() else { break };
        assert!(next > at && bytes[..next].ends_with(&payload));
        at = next;
    }
}
