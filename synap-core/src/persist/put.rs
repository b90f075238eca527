//! Brings the keys of a file into an engine. One thread reads and decodes, because a file is one stream with one checksum;
//! others put what it has read into the shards, each into its own, so that the two do not wait for each other's memory.
//! With one core the reader does both.

use std::io::Read;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use super::enter;
use crate::execute::State;
use crate::keyspace::entry::Entry;
use crate::keyspace::hasher::shard_of;
use crate::snapshot::{self, Item, Usage};

/// Keys that are put in during one visit inside the gate.
const KEYS_A_TURN: usize = 64;

/// Keys that are handed over at once, and how often before the reader waits: what it may be ahead.
const KEYS_A_BATCH: usize = 256;
const BATCHES_AHEAD: usize = 16;

/// More threads than this wait for the reader.
const HELPERS_MAX: usize = 3;

/// A key on its way into its shard.
struct Hashed {
    hash: u64,
    db: u32,
    entry: Entry,
    usage: Usage,
}

/// Puts all keys that `reader` has into the shards; `other` is told what else stands there, `progress` of the bytes that
/// were read. Returns how many keys there were.
///
/// Nothing counts before this has returned well: the checksum stands at the end.
pub fn put_keys<R: Read>(
    state: &State,
    reader: &mut snapshot::Reader<R>,
    other: &mut dyn FnMut(Item),
    progress: &mut dyn FnMut(u64),
) -> Result<u64, snapshot::ReadError> {
    put_keys_with(state, helpers(), reader, other, progress)
}

/// Threads beside the reader's.
fn helpers() -> usize {
    thread::available_parallelism().map_or(0, |cores| (cores.get() - 1).min(HELPERS_MAX))
}

fn put_keys_with<R: Read>(
    state: &State,
    helpers: usize,
    reader: &mut snapshot::Reader<R>,
    other: &mut dyn FnMut(Item),
    progress: &mut dyn FnMut(u64),
) -> Result<u64, snapshot::ReadError> {
    thread::scope(|scope| {
        let start = |_| {
            let (sender, batches) = sync_channel::<Vec<Hashed>>(BATCHES_AHEAD);
            // Where the system gives no thread, the reader does its work.
            let helper = thread::Builder::new().name("synap-load".into());
            let run = move || batches.into_iter().for_each(|batch| put(state, batch));
            helper.spawn_scoped(scope, run).ok().map(|_| sender)
        };
        let senders: Vec<SyncSender<Vec<Hashed>>> = (0..helpers).filter_map(start).collect();
        let batch_keys = if senders.is_empty() { KEYS_A_TURN } else { KEYS_A_BATCH };
        let mut batches: Vec<Vec<Hashed>> = Vec::new();
        batches.resize_with(senders.len().max(1), || Vec::with_capacity(batch_keys));
        let hand_over = |index: usize, batch: Vec<Hashed>| match senders.get(index) {
            None => put(state, batch),
            // A helper that is gone has panicked, and the scope will say so.
            Some(sender) => drop(sender.send(batch)),
        };
        let mut keys = 0;
        loop {
            let item = match reader.next() {
                None => break,
                Some(item) => item?,
            };
            let Item::Key(key) = item else {
                other(item);
                continue;
            };
            keys += 1;
            let hash = state.hasher.hash(key.entry.key());
            let index = shard_of(hash) % batches.len();
            batches[index].push(Hashed { hash, db: key.db, entry: key.entry, usage: key.usage });
            if batches[index].len() == batch_keys {
                let batch = std::mem::replace(&mut batches[index], Vec::with_capacity(batch_keys));
                hand_over(index, batch);
                progress(reader.offset());
            }
        }
        batches.into_iter().enumerate().for_each(|(index, batch)| hand_over(index, batch));
        // The helpers end when they have put all, and the scope waits for them.
        Ok(keys)
    })
}

fn put(state: &State, batch: Vec<Hashed>) {
    let mut rest = batch.into_iter().peekable();
    while rest.peek().is_some() {
        let turn = enter(state);
        for Hashed { hash, db, entry, usage } in rest.by_ref().take(KEYS_A_TURN) {
            let mut cx = turn.shard_context(shard_of(hash));
            cx.load(db, hash, entry, usage);
            cx.unlock();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{ReadOptions, WriteOptions, Writer};
    use crate::testing::TestEngine;

    fn file(keys: u32) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new(), WriteOptions::default()).expect("memory takes it");
        for number in 0..keys {
            let entry = Entry::of_string(format!("key:{number}").as_bytes(), number.to_string().as_bytes());
            let usage = Usage::default();
            writer.key(number % 3, entry.key(), entry.value(), None, usage).expect("memory takes it");
        }
        writer.finish().expect("memory takes it")
    }

    fn load(helpers: usize, file: &[u8]) -> (TestEngine, Result<u64, snapshot::ReadError>) {
        let test = TestEngine::replaying(1);
        let mut reader = snapshot::Reader::new(file, ReadOptions::default()).expect("a file");
        let mut read = 0;
        let result = put_keys_with(test.engine.state(), helpers, &mut reader, &mut |_| (), &mut |bytes| read = bytes);
        assert!(read <= file.len() as u64);
        (test, result)
    }

    #[test]
    fn however_many_help_all_keys_are_there() {
        let file = file(10_000);
        for helpers in 0..=3 {
            let (mut test, result) = load(helpers, &file);
            assert_eq!(result.expect("it is whole"), 10_000);
            assert_eq!(test.call("DBSIZE"), "3334");
            assert_eq!(test.call("GET key:9999"), "\"9999\"");
        }
    }

    #[test]
    fn a_wrong_checksum_is_an_error_whoever_helps() {
        let mut file = file(1000);
        *file.last_mut().expect("bytes") ^= 1;
        for helpers in 0..=2 {
            assert!(load(helpers, &file).1.is_err());
        }
    }
}
