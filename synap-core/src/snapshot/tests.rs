//! What is written reads back as what it was; what somebody else wrote reads as what they meant; what nobody wrote is
//! refused.

use std::io::Read;

use proptest::prelude::*;

use super::format::{AUX_DEADLINES, kind, opcode};
use super::output::length_bytes;
use super::*;
use crate::keyspace::entry::Entry;
use crate::keyspace::value::{Value, ValueRef};
use crate::testing::content;
use crate::types::Limits;
use crate::types::hash::Hash;
use crate::types::list::List;
use crate::types::set::Set;
use crate::types::zset::ZSet;

/// Collections leave their compact forms at the third element.
const SMALL: Limits = Limits {
    hash_entries: 2,
    hash_value_bytes: 10,
    list_size: 2,
    set_intset_entries: 2,
    set_entries: 2,
    set_value_bytes: 10,
    zset_entries: 2,
    zset_value_bytes: 10,
};

// ---- round trips ----

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => prop::collection::vec(any::<u8>(), 0..40),
        3 => any::<i64>().prop_map(|int| int.to_string().into_bytes()),
        2 => any::<i16>().prop_map(|int| int.to_string().into_bytes()),
        1 => ("[ab]{1,3}", 0..400_usize).prop_map(|(text, times)| text.repeat(times).into_bytes()),
        1 => (any::<u8>(), 0..70_000_usize).prop_map(|(byte, len)| vec![byte; len]),
    ]
}

fn deadline() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![3 => Just(None), 2 => (1..2_000_000_000_000_i64).prop_map(Some), 1 => (0..i64::MAX - 1).prop_map(Some)]
}

fn elements() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop_oneof![prop::collection::vec(bytes(), 1..6), prop::collection::vec("[a-z]{0,12}".prop_map(Vec::from), 1..400)]
}

fn score() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<i32>().prop_map(f64::from),
        any::<f64>().prop_filter("a number", |score| !score.is_nan()),
        Just(f64::INFINITY),
    ]
}

/// A value of any type, and limits to make it under.
fn made() -> impl Strategy<Value = (Made, Limits)> {
    let limits = prop_oneof![Just(Limits::default()), Just(SMALL)];
    let made = prop_oneof![
        bytes().prop_map(Made::String),
        elements().prop_map(Made::List),
        elements().prop_map(Made::Set),
        prop::collection::vec(any::<i64>(), 1..40).prop_map(Made::Ints),
        prop::collection::vec((bytes(), bytes(), deadline()), 1..8).prop_map(Made::Hash),
        prop::collection::vec(("[a-z]{0,8}".prop_map(Vec::from), bytes(), Just(None)), 1..300).prop_map(Made::Hash),
        prop::collection::vec((bytes(), score()), 1..200).prop_map(Made::ZSet),
    ];
    (made, limits)
}

#[derive(Clone, Debug)]
enum Made {
    String(Vec<u8>),
    List(Vec<Vec<u8>>),
    Set(Vec<Vec<u8>>),
    Ints(Vec<i64>),
    Hash(Vec<(Vec<u8>, Vec<u8>, Option<i64>)>),
    ZSet(Vec<(Vec<u8>, f64)>),
}

impl Made {
    fn build(&self, limits: &Limits) -> Value {
        match self {
            Made::String(bytes) => Value::string(bytes),
            Made::List(elements) => {
                let mut list = List::new();
                elements.iter().for_each(|element| list.push_back(element, limits));
                // Popped elements of the first chunk stay in memory, and must not be written.
                if list.len() > 3 {
                    list.pop_front();
                }
                Value::List(list)
            }
            Made::Set(elements) => {
                let mut set = Set::new();
                for element in elements {
                    set.add(&element[..], limits);
                }
                Value::Set(set)
            }
            Made::Ints(ints) => {
                let mut set = Set::new();
                for int in ints {
                    set.add(*int, limits);
                }
                Value::Set(set)
            }
            Made::Hash(fields) => {
                let mut hash = Hash::new();
                for (field, value, deadline_ms) in fields {
                    hash.set_until(field, value, *deadline_ms, limits);
                }
                Value::Hash(hash)
            }
            Made::ZSet(members) => {
                let mut zset = ZSet::new();
                for (member, score) in members {
                    zset.insert(member, *score, limits);
                }
                Value::ZSet(zset)
            }
        }
    }
}

fn encoding(value: ValueRef<'_>) -> &'static str {
    match value {
        ValueRef::String(_) => "string",
        ValueRef::List(list) => list.encoding(),
        ValueRef::Set(set) => set.encoding(),
        ValueRef::Hash(hash) => hash.encoding(),
        ValueRef::ZSet(zset) => zset.encoding(),
    }
}

/// What is in a file, line by line.
fn lines(bytes: impl Read, options: ReadOptions) -> std::result::Result<Vec<String>, ReadError> {
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    Reader::new(bytes, options)?
        .map(|item| {
            Ok(match item? {
                Item::Aux { name, value } => format!("aux {}={}", text(&name), text(&value)),
                Item::Function(library) => format!("function {}", text(&library)),
                Item::Sizes { db, keys, volatile } => format!("sizes {db} {keys} {volatile}"),
                Item::Key(key) => line(&key),
                Item::Skipped(skipped) => format!("{skipped:?}"),
            })
        })
        .collect()
}

fn line(Key { db, entry, usage }: &Key) -> String {
    let name = entry.key().escape_ascii();
    format!("{db} {name} {} until {:?} {usage:?}", content(entry.value()), entry.expires_at())
}

fn lenient() -> ReadOptions {
    ReadOptions { unsupported: Unsupported::Skip, ..ReadOptions::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_dumped_value_is_restored((made, limits) in made()) {
        let value = made.build(&limits);
        for flavour in Flavour::ALL {
            let payload = dump(value.freeze().view(), flavour);
            let again = restore(&payload, &limits).expect("what was dumped");
            prop_assert_eq!(content(again.view()), content(value.view()));
            // A list that was popped from is a large one still, and a hash that lost its deadlines is no plain listpack.
            if !matches!(value, Value::List(_) | Value::Hash(_)) {
                prop_assert_eq!(encoding(again.view()), encoding(value.view()));
            }
            // Under other limits the content is the same.
            for other in [Limits::default(), SMALL] {
                let again = restore(&payload, &other).expect("what was dumped");
                prop_assert_eq!(content(again.view()), content(value.view()));
            }
        }
    }

    #[test]
    fn a_file_reads_back(
        keys in prop::collection::vec((0..3_u32, bytes(), made(), deadline(), any::<(Option<u8>, Option<u64>)>()), 0..12),
        compress in any::<bool>(),
    ) {
        for flavour in Flavour::ALL {
            let mut expected = Vec::new();
            let mut writer = Writer::new(Vec::new(), WriteOptions { flavour, compress }).expect("memory");
            writer.aux(b"name", b"value").expect("memory");
            writer.function(b"#!lua name=x").expect("memory");
            for (db, name, (made, limits), deadline_ms, (frequency, idle_s)) in &keys {
                let usage = Usage { frequency: *frequency, idle_s: *idle_s };
                let value = made.build(limits);
                writer.key(*db, name, value.view(), *deadline_ms, usage).expect("memory");
                let entry = Entry::new(name, value.freeze()).until(*deadline_ms);
                expected.push(line(&Key { db: *db, entry, usage }));
            }
            let len = writer.len();
            let file = writer.finish().expect("memory");
            prop_assert_eq!(file.len() as u64, len + 1 + 8);
            let read = lines(&file[..], ReadOptions::default()).expect("a file");
            prop_assert_eq!(&read[..2], &["aux name=value", "function #!lua name=x"]);
            prop_assert_eq!(&read[2..], &expected);
            // Byte by byte it is the same.
            prop_assert!(file.len() > 3000 || lines(Slow(&file), ReadOptions::default()).expect("a file") == read);
        }
    }

    #[test]
    fn any_bytes_are_judged(kind in 0..30_u8, version in prop_oneof![1..13_u16, Just(80)], body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = restore(&sealed(kind, &body, version), &SMALL);
        let mut file = format!("REDIS{version:04}").into_bytes();
        file.push(kind);
        file.extend_from_slice(&body);
        let _ = lines(&file[..], lenient());
    }
}

/// Gives one byte at a time.
struct Slow<'a>(&'a [u8]);

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let Some((byte, rest)) = self.0.split_first() else { return Ok(0) };
        buffer[0] = *byte;
        self.0 = rest;
        Ok(1)
    }
}

/// A file with a bit of everything.
fn sample(flavour: Flavour) -> Vec<u8> {
    let limits = SMALL;
    let words = |count: usize| (0..count).map(|i| format!("word{}", i % 7 * i).into_bytes()).collect::<Vec<_>>();
    let fields = |count: usize| {
        let deadline = |i| (i % 2 == 0).then_some(1_700_000_000_000 + i as i64);
        words(count).into_iter().enumerate().map(|(i, word)| (format!("f{i}").into(), word, deadline(i))).collect()
    };
    let scored = |count| words(count).into_iter().enumerate().map(|(i, word)| (word, i as f64 / 3.0)).collect();
    let values = [
        Made::String(b"hello".to_vec()),
        Made::String(b"12345".to_vec()),
        Made::String(b"again and again ".repeat(9)),
        Made::List(words(1)),
        Made::List(words(9)),
        Made::Set(words(2)),
        Made::Set(words(9)),
        Made::Ints(vec![1, -70_000]),
        Made::Hash(fields(1)),
        Made::Hash(fields(5)),
        Made::ZSet(scored(2)),
        Made::ZSet(scored(7)),
    ];
    let mut writer = Writer::new(Vec::new(), WriteOptions { flavour, compress: true }).expect("memory");
    let position = Some(Position { history: "0123456789abcdef".into(), offset: 4711, db: Some(3) });
    let header = Header { redis_version: "7.2.4", created_s: 1_700_000_000, used_memory: 1 << 20, position };
    writer.header(&header).expect("memory");
    writer.sizes(0, 12, 6).expect("memory");
    for (index, made) in values.into_iter().enumerate() {
        let deadline_ms = (index % 2 == 0).then_some(1_900_000_000_000);
        let (name, value) = (format!("key{index}"), made.build(&limits));
        let usage = Usage { idle_s: Some(index as u64), frequency: None };
        writer.key(index as u32 / 6, name.as_bytes(), value.view(), deadline_ms, usage).expect("memory");
    }
    writer.finish().expect("memory")
}

#[test]
fn a_file_says_where_in_the_log_it_stands() {
    let mut heard = Position::default();
    for item in Reader::new(&sample(Flavour::Redis72)[..], ReadOptions::default()).expect("a file") {
        if let Item::Aux { name, value } = item.expect("an item") {
            heard.hear(&name, &value);
        }
    }
    assert_eq!(heard, Position { history: "0123456789abcdef".into(), offset: 4711, db: Some(3) });
    assert!(!heard.hear(b"repl-offset", b"1") && !heard.hear(b"synap-offset", b"x") && !heard.hear(b"synap-db", b"-1"));
}

#[test]
fn any_flipped_bit_is_noticed() {
    for flavour in Flavour::ALL {
        let mut file = sample(flavour);
        let whole = lines(&file[..], ReadOptions::default()).expect("a file");
        for at in 0..file.len() * 8 {
            file[at / 8] ^= 1 << (at % 8);
            if let Ok(lines) = lines(&file[..], ReadOptions::default()) {
                assert_eq!(lines, whole, "bit {at}");
            }
            file[at / 8] ^= 1 << (at % 8);
        }
    }
}

#[test]
fn any_flipped_bit_of_a_payload_is_noticed() {
    let hash = Made::Hash(vec![(b"f".to_vec(), b"v".to_vec(), Some(5)), (b"g".to_vec(), b"w".to_vec(), None)]);
    for flavour in Flavour::ALL {
        let mut payload = dump(hash.build(&SMALL).view(), flavour);
        for at in 0..payload.len() * 8 {
            payload[at / 8] ^= 1 << (at % 8);
            assert!(matches!(restore(&payload, &SMALL), Err(RestoreError::Footer)), "bit {at}");
            payload[at / 8] ^= 1 << (at % 8);
        }
    }
}

#[test]
fn a_file_that_ends_early_is_not_whole() {
    let file = sample(Flavour::Redis72);
    for end in 0..file.len() {
        let error = lines(&file[..end], ReadOptions::default()).expect_err("half a file");
        assert!(matches!(error.cause, Cause::Short), "{error}");
        assert_eq!(error.offset, end as u64);
    }
}

#[test]
fn what_follows_a_file_is_given_back() {
    let mut stream = sample(Flavour::Redis72);
    stream.extend_from_slice(b"*1\r\n$4\r\nPING\r\n");
    let mut reader = Reader::new(&stream[..], ReadOptions::default()).expect("a file");
    assert!(reader.by_ref().all(|item| item.is_ok()));
    let (_, rest) = reader.into_rest();
    assert_eq!(rest, b"*1\r\n$4\r\nPING\r\n");
}

#[test]
fn a_checksum_of_zero_is_none() {
    let mut file = sample(Flavour::Redis72);
    let sum_at = file.len() - 8;
    file[sum_at..].fill(1);
    let error = lines(&file[..], ReadOptions::default()).expect_err("a wrong sum");
    assert!(matches!(error.cause, Cause::Checksum { .. }));
    assert!(lines(&file[..], ReadOptions { checksum: false, ..ReadOptions::default() }).is_ok());
    file[sum_at..].fill(0);
    assert!(lines(&file[..], ReadOptions::default()).is_ok());
}

// ---- what others wrote ----

/// A payload of these bytes with a good footer.
fn sealed(kind: u8, body: &[u8], version: u16) -> Vec<u8> {
    let mut payload = vec![kind];
    payload.extend_from_slice(body);
    payload.extend_from_slice(&version.to_le_bytes());
    let sum = crc64::update(0, &payload);
    payload.extend_from_slice(&sum.to_le_bytes());
    payload
}

fn string(bytes: &[u8]) -> Vec<u8> {
    let (len, count) = length_bytes(bytes.len() as u64);
    [&len[..count], bytes].concat()
}

/// What a body of a type restores to, or why not.
fn restored(kind: u8, body: &[u8]) -> String {
    match restore(&sealed(kind, body, 9), &SMALL) {
        Ok(value) => format!("{}: {}", encoding(value.view()), content(value.view())),
        Err(RestoreError::Content(error)) => error.to_string(),
        Err(RestoreError::Footer) => "footer".into(),
    }
}

/// A ziplist of elements whose heads and data are given.
fn ziplist(elements: &[&[u8]]) -> Vec<u8> {
    let (mut body, mut before, mut last) = (Vec::new(), 0, 10);
    for element in elements {
        last = 10 + body.len();
        let start = body.len();
        if before < 254 {
            body.push(before as u8);
        } else {
            body.push(254);
            body.extend_from_slice(&(before as u32).to_le_bytes());
        }
        body.extend_from_slice(element);
        before = body.len() - start;
    }
    let total = body.len() as u32 + 11;
    let count = elements.len() as u16;
    [&total.to_le_bytes()[..], &(last as u32).to_le_bytes(), &count.to_le_bytes(), &body, &[0xff]].concat()
}

#[test]
fn ziplists_of_old_files() {
    let long = [&[0x41, 0x2c][..], &[b'x'; 300]].concat();
    let longer = [&[0x80, 0, 0, 0x40, 1][..], &[b'y'; 0x4001]].concat();
    let every: &[&[u8]] = &[
        b"\x05hello",
        &long,
        b"\xf1",
        b"\xfd",
        b"\xfe\xff",
        b"\xc0\x00\x80",
        b"\xf0\xff\xff\x7f",
        b"\xd0\x00\x00\x00\x80",
        b"\xe0\x00\x00\x00\x00\x00\x00\x00\x80",
        &longer,
    ];
    let text = format!(
        "\"hello\" \"{}\" \"0\" \"12\" \"-1\" \"-32768\" \"8388607\" \"-2147483648\" \"-9223372036854775808\" \"{}\"",
        "x".repeat(300),
        "y".repeat(0x4001)
    );
    let expected = format!("quicklist: list {text}");
    assert_eq!(restored(kind::LIST_ZIPLIST, &string(&ziplist(every))), expected);
    let (first, second) = every.split_at(4);
    let nodes = [&[2][..], &string(&ziplist(first)), &string(&ziplist(second))].concat();
    assert_eq!(restored(kind::LIST_QUICKLIST, &nodes), expected);
    let pairs = string(&ziplist(&[b"\x01b", b"\xf2", b"\x01a", b"\x031.5"]));
    assert_eq!(restored(kind::ZSET_ZIPLIST, &pairs), "listpack: zset \"b\"=1.0 \"a\"=1.5");
    // Not in order.
    let pairs = string(&ziplist(&[b"\x01a", b"\x031.5", b"\x01b", b"\xf2"]));
    assert_eq!(restored(kind::ZSET_ZIPLIST, &pairs), "listpack: zset \"b\"=1.0 \"a\"=1.5");
    assert_eq!(restored(kind::HASH_ZIPLIST, &pairs), "listpack: hash \"a\"=\"1.5\" \"b\"=\"1\"");
    let twice = string(&ziplist(&[b"\x01a", b"\xf1", b"\x01a", b"\xf2"]));
    for kind in [kind::HASH_ZIPLIST, kind::ZSET_ZIPLIST] {
        assert!(restored(kind, &twice).contains("not distinct"));
    }
    let good = ziplist(every);
    for at in (0..40).chain(good.len() - 2..good.len()) {
        let mut bad = good.clone();
        bad[at] ^= 0x55;
        let restored = restored(kind::LIST_ZIPLIST, &string(&bad));
        // Elements have no checksum of their own.
        assert!(restored.contains("malformed") || (10..good.len() - 1).contains(&at), "{at}: {restored}");
        assert!(super::old::ziplist(&good[..at]).is_none());
    }
}

#[test]
fn zipmaps_of_old_files() {
    let map = b"\x02\x03foo\x03\x00bar\x05hello\x05\x02world__\xff";
    assert_eq!(restored(kind::HASH_ZIPMAP, &string(map)), "listpack: hash \"foo\"=\"bar\" \"hello\"=\"world\"");
    let long = [b"\x01\xfe\x2c\x01\x00\x00".as_slice(), &[b'x'; 300], b"\x01\x00y\xff"].concat();
    assert_eq!(restored(kind::HASH_ZIPMAP, &string(&long)), format!("hashtable: hash \"{}\"=\"y\"", "x".repeat(300)));
    for end in 0..map.len() {
        assert!(super::old::zipmap(&map[..end]).is_none());
    }
    for bad in [&b"\x01\x01a\x01\x00b\x01a\x01\x00c\xff"[..], b"\x01\xff\x01\x00b\xff", b"\x01\x01a\x05\x00b\xff"] {
        assert!(restored(kind::HASH_ZIPMAP, &string(bad)).contains("malformed"));
    }
}

#[test]
fn plain_collections_of_old_files() {
    let words = [&[3][..], &string(b"a"), &string(b"b"), &[0xc1, 0x00, 0x80]].concat();
    assert_eq!(restored(kind::LIST, &words), "quicklist: list \"a\" \"b\" \"-32768\"");
    assert_eq!(restored(kind::SET, &words), "hashtable: set \"-32768\" \"a\" \"b\"");
    let fields = [&[1][..], &string(b"f"), &string(b"v")].concat();
    assert_eq!(restored(kind::HASH, &fields), "listpack: hash \"f\"=\"v\"");
    let scores = [&[3][..], &string(b"a"), b"\x041e10", &string(b"b"), &[255], &string(b"c"), &[254]].concat();
    assert_eq!(restored(kind::ZSET, &scores), "skiplist: zset \"b\"=-inf \"a\"=10000000000.0 \"c\"=inf");
    for score in [&b"\x03nan"[..], &[253], b"\x02x1", b"\x00"] {
        let scores = [&[1][..], &string(b"a"), score].concat();
        assert!(restored(kind::ZSET, &scores).contains("score"));
    }
    let compressed = [0xc3, 5, 10, 0, b'z', 0xe0, 0, 0];
    assert_eq!(restored(kind::STRING, &compressed), format!("string: string \"{}\"", "z".repeat(10)));
    let plain = [&[2, 1][..], &string(b"one"), &[2], &string(b"\x0a\x00\x00\x00\x01\x00\x81b\x02\xff")].concat();
    assert_eq!(restored(kind::LIST_QUICKLIST_2, &plain), "listpack: list \"one\" \"b\"");
}

#[test]
fn deadlines_of_fields_of_younger_servers() {
    let expected = "hash \"f\"=\"v\"@5000 \"g\"=\"w\"";
    let check = |kind: u8, version: u16, body: &[u8]| {
        let value = restore(&sealed(kind, body, version), &Limits::default()).expect("a hash");
        assert_eq!(content(value.view()), expected, "{kind}");
    };
    let (f, v, g, w) = (string(b"f"), string(b"v"), string(b"g"), string(b"w"));
    let [at, first] = [5000_i64.to_le_bytes(), 4000_i64.to_le_bytes()];
    check(kind::HASH_2, 80, &[&[2][..], &f, &v, &at, &g, &w, &[0xff; 8]].concat());
    check(kind::HASH_METADATA, 12, &[&first[..], &[2], &[0x43, 0xe9], &f, &v, &[0], &g, &w].concat());
    check(kind::HASH_METADATA_PRE_GA, 12, &[&[2][..], &[0x53, 0x88], &f, &v, &[0], &g, &w].concat());
    let mut pack = crate::types::listpack::Listpack::new();
    ["f", "v", "5000", "g", "w", "0"].iter().for_each(|text| pack.push_back(text.as_bytes()));
    let pack = string(&pack.to_redis());
    check(kind::HASH_LISTPACK_EX, 12, &[&at[..], &pack].concat());
    check(kind::HASH_LISTPACK_EX_PRE_GA, 12, &pack);
    // Of ours, behind a plain hash.
    let deadlines = [&f[..], &at].concat();
    let aux = [&[opcode::AUX][..], &string(AUX_DEADLINES), &string(&deadlines)].concat();
    check(kind::HASH, 10, &[&[2][..], &f, &v, &g, &w, &aux].concat());
    // None of that for a field that is not there, for a list, or cut off.
    let other = [&[1][..], &g, &w, &aux].concat();
    assert!(restored(kind::HASH, &other).contains("malformed"));
    assert!(restored(kind::LIST, &other[..other.len()]).contains("malformed"));
    assert!(restored(kind::HASH, &[&[2][..], &f, &v, &g, &w, &aux[..aux.len() - 1]].concat()).contains("ends"));
    // Deadlines that nobody could have set.
    let body = [&[1][..], &f, &v, &i64::MIN.to_le_bytes()].concat();
    assert!(restore(&sealed(kind::HASH_2, &body, 80), &SMALL).is_err());
    let body = [&i64::MAX.to_le_bytes()[..], &[1, 9], &f, &v].concat();
    assert!(restore(&sealed(kind::HASH_METADATA, &body, 12), &SMALL).is_err());
}

/// A file of these bytes between header and end, without a checksum.
fn file(magic: &[u8; 9], body: &[u8]) -> Vec<u8> {
    [&magic[..], body, &[opcode::END], &[0; 8]].concat()
}

#[test]
fn everything_that_may_stand_between_keys() {
    let key = [&[kind::STRING][..], &string(b"k"), &string(b"v")].concat();
    let until_s = [&[opcode::EXPIRE_S][..], &1_700_000_000_i32.to_le_bytes()].concat();
    let module = [
        &[opcode::MODULE_AUX, 0x81][..],
        &[0x69, 0xb7, 0x1d, 0x79, 0xf8, 0x21, 0x88, 0x01],
        &[2, 1, 5, 1, b'x', 3, 0, 0, 0, 0, 4],
    ]
    .concat();
    let module = [&module[..], &[0; 8], &[1, 7, 0]].concat();
    let between: Vec<u8> = [
        &string(b"")[..0],
        &[opcode::SELECT_DB, 0x40, 0x80],
        &[opcode::RESIZE_DB, 1, 0],
        &[opcode::SLOT_INFO, 1, 2, 3],
        &module,
        &until_s,
        &[opcode::IDLE, 9],
        &[opcode::FREQUENCY, 255],
        &key,
        &[opcode::AUX],
        &string(b"ctime"),
        &[0xc2, 1, 2, 3, 4],
        &[kind::SET],
        &string(b"empty"),
        &[0],
        &key,
    ]
    .concat();
    let expected = [
        "sizes 128 1 0",
        "ModuleData { name: \"abcdefghi\" }",
        "128 k string \"v\" until Some(1700000000000) Usage { idle_s: Some(9), frequency: Some(255) }",
        "aux ctime=67305985",
        "Empty { db: 128, key: [101, 109, 112, 116, 121] }",
        "128 k string \"v\" until None Usage { idle_s: None, frequency: None }",
    ];
    assert_eq!(lines(&file(b"REDIS0012", &between)[..], lenient()).expect("a file"), expected);
    // Before version 5 there is no checksum.
    let old = [&b"REDIS0003"[..], &key, &[opcode::END]].concat();
    assert_eq!(lines(&old[..], lenient()).expect("a file").len(), 1);
    let import = [&[opcode::SLOT_IMPORT][..], &string(&[b'j'; 40]), &[1, 0, 5], &key].concat();
    assert_eq!(lines(&file(b"VALKEY080", &import)[..], lenient()).expect("a file")[0], "SlotImport");
}

#[test]
fn streams_and_modules_are_passed_over_or_refused() {
    let key = [&[kind::STRING][..], &string(b"after"), &string(b"v")].concat();
    let group = |kind: u8| {
        let read: &[u8] = if kind == kind::STREAM { &[] } else { &[3] };
        let active = if kind == kind::STREAM_3 { 16 } else { 8 };
        [
            &string(b"group")[..],
            &[1, 1],
            read,
            &[1],
            &[0; 24],
            &[1, 1],
            &string(b"me"),
            &vec![0; active],
            &[1],
            &[0; 16],
        ]
        .concat()
    };
    for kind in [kind::STREAM, kind::STREAM_2, kind::STREAM_3] {
        let ids: &[u8] = if kind == kind::STREAM { &[1, 1, 1] } else { &[1, 1, 1, 1, 1, 0, 0, 1] };
        let body =
            [&[kind][..], &string(b"s"), &[1], &string(&[0; 16]), &string(b"pack"), ids, &[1], &group(kind), &key];
        let file = file(b"REDIS0011", &body.concat());
        let lines = lines(&file[..], lenient()).expect("a file");
        assert_eq!(lines[0], "Stream { db: 0, key: [115] }");
        assert!(lines[1].contains("after"));
        let error = super::tests::lines(&file[..], ReadOptions::default()).expect_err("refused").to_string();
        assert_eq!(error, "not supported: a stream, which the key \"s\" of database 0 holds, at byte 12");
    }
    let id = 0x69b7_1d79_f821_8801_u64.to_be_bytes();
    let body = [&[kind::MODULE_2][..], &string(b"m"), &[0x81], &id, &[5], &string(b"x"), &[0], &key].concat();
    let file_of_module = file(b"REDIS0011", &body);
    let read = lines(&file_of_module[..], lenient()).expect("a file");
    assert_eq!(read[0], "Module { db: 0, key: [109], name: \"abcdefghi\" }");
    let error = lines(&file_of_module[..], ReadOptions::default()).expect_err("refused").to_string();
    assert!(error.contains("a value of the module type \"abcdefghi\", which the key \"m\""), "{error}");
    // Nobody can pass over these.
    for body in [&[kind::MODULE_PRE_GA, 1, b'm', 1][..], &[opcode::FUNCTION_PRE_GA, 1], &[100, 1, b'k', 0]] {
        let error = lines(&file(b"REDIS0011", body)[..], lenient()).expect_err("refused");
        assert!(matches!(error.cause, Cause::Unsupported(_)), "{error}");
    }
}

#[test]
fn what_is_no_rdb_of_ours_is_refused() {
    for magic in
        [b"REDIS0000", b"REDIS0013", b"REDIS9999", b"VALKEY081", b"VALKEY011", b"REDIS0080", b"REDISabcd", b"nonsense!"]
    {
        assert!(Reader::new(&magic[..], lenient()).is_err());
    }
    for version in [0, 13, 79, 81, u16::MAX] {
        assert!(matches!(restore(&sealed(0, b"\x01v", version), &SMALL), Err(RestoreError::Footer)));
    }
    assert!(restore(&sealed(0, b"\x01v", 80), &SMALL).is_ok());
    for short in 0..10 {
        assert!(matches!(restore(&sealed(0, b"", 9)[..short], &SMALL), Err(RestoreError::Footer)));
    }
}

#[test]
fn nothing_is_allocated_for_a_length_that_was_only_announced() {
    let huge = [&[0x81][..], &[0x0f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]].concat();
    for kind in 0..26_u8 {
        let body = [&huge[..], b"abc"].concat();
        assert!(restore(&sealed(kind, &body, 12), &SMALL).is_err(), "{kind}");
        // Announced by a compressed string.
        let body = [&[0xc3, 3][..], &huge, b"abc"].concat();
        assert!(restore(&sealed(kind, &body, 12), &SMALL).is_err(), "{kind}");
    }
}

/// A server has a table for each database below the highest one.
#[test]
fn a_database_that_nobody_has_is_refused() {
    let key = [&[kind::STRING][..], &string(b"k"), &string(b"v")].concat();
    let of_db = |db: u32| file(b"REDIS0010", &[&[opcode::SELECT_DB, 0x80][..], &db.to_be_bytes(), &key].concat());
    let read = |db: u32, databases: u32| lines(&of_db(db)[..], ReadOptions { databases, ..lenient() });
    assert!(read(9, 10).is_ok());
    let cause = |db, databases| read(db, databases).map_err(|error| error.cause);
    assert!(matches!(cause(9, 9), Err(Cause::Database { db: 9, databases: 9 })));
    assert!(matches!(lines(&of_db(u32::MAX)[..], lenient()), Err(ReadError { cause: Cause::Database { .. }, .. })));
}

#[test]
fn a_list_of_whole_chunks_is_written_without_what_was_popped() {
    let limits = Limits::default();
    let mut list = List::new();
    (0..5000).for_each(|i| list.push_back(format!("element {i}").as_bytes(), &limits));
    (0..700).for_each(|_| drop(list.pop_front()));
    assert_eq!(list.chunks().map(|(_, count)| count).sum::<usize>(), list.len());
    let value = Value::List(list);
    let again = restore(&dump(value.view(), Flavour::Redis72), &limits).expect("a list");
    assert_eq!(content(again.view()), content(value.view()));
}

#[test]
fn a_large_value_goes_through_a_small_buffer() {
    /// Notes how much came at once.
    #[derive(Default)]
    struct Most(usize, usize);
    impl std::io::Write for Most {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            *self = Most(self.0.max(bytes.len()), self.1 + bytes.len());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut hash = Hash::new();
    let limits = Limits::default();
    for i in 0..100_000 {
        hash.set_until(format!("field {i}").as_bytes(), b"value", Some(i), &limits);
    }
    let mut writer = Writer::new(Most::default(), WriteOptions::default()).expect("memory");
    writer.key(0, b"large", ValueRef::Hash(&hash), None, Usage::default()).expect("memory");
    let Most(most, all) = writer.finish().expect("memory");
    assert!(most <= 64 << 10 && all > 2 << 20, "{most} of {all}");
}
