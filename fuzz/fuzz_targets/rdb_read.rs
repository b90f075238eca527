//! Hostile bytes against the reader of snapshots and payloads: it never panics, and what it takes reads back the same
//! in every flavour.

#![no_main]

use libfuzzer_sys::fuzz_target;
use synap_core::snapshot::{
    Flavour, Item, Key, ReadOptions, Reader, Unsupported, Usage, WriteOptions, Writer, crc64, dump, restore,
};
use synap_core::testing::content;
use synap_core::types::Limits;

fn keys(file: &[u8], checksum: bool) -> Option<Vec<Key>> {
    let options = ReadOptions { unsupported: Unsupported::Skip, checksum, ..ReadOptions::default() };
    let items: Result<Vec<Item>, _> = Reader::new(file, options).ok()?.collect();
    Some(items.ok()?.into_iter().filter_map(|item| if let Item::Key(key) = item { Some(key) } else { None }).collect())
}

fn check_file(file: &[u8]) {
    let Some(keys) = keys(file, false) else { return };
    for flavour in Flavour::ALL {
        let mut writer = Writer::new(Vec::new(), WriteOptions { flavour, compress: true }).expect("memory");
        for Key { db, entry, .. } in &keys {
            let usage = Usage::default();
            writer.key(*db, entry.key(), entry.value(), entry.expires_at(), usage).expect("memory");
        }
        let again = self::keys(&writer.finish().expect("memory"), true).expect("what was written");
        assert_eq!(again.len(), keys.len());
        for (before, after) in keys.iter().zip(&again) {
            assert_eq!(before.entry.key(), after.entry.key());
            assert_eq!(before.entry.expires_at(), after.entry.expires_at());
            assert_eq!(content(before.entry.value()), content(after.entry.value()));
        }
    }
}

/// The bytes with a footer that holds.
fn check_payload(version: u8, body: &[u8]) {
    let mut payload = [body, &[version, 0]].concat();
    payload.extend_from_slice(&crc64::update(0, &payload).to_le_bytes());
    let Ok(value) = restore(&payload, &Limits::default()) else { return };
    for flavour in Flavour::ALL {
        let again = restore(&dump(value.view(), flavour), &Limits::default()).expect("what was dumped");
        assert_eq!(content(again.view()), content(value.view()));
    }
}

fuzz_target!(|data: &[u8]| {
    let _ = restore(data, &Limits::default());
    check_file(data);
    if let Some((&version, body)) = data.split_first() {
        check_payload(version, body);
    }
});
