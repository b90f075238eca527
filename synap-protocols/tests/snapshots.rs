//! Snapshots and payloads of real servers here, and ours there.
//!
//! Every `redis-server` and `valkey-server` on the PATH is filled with all types in all encodings and saves; we read the
//! file, and hold every key against what the server says. Then we write what we read, and the servers start with that.
//! Without a server on the PATH the test says so and passes.

mod servers;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use servers::{Connection, Server, Words};
use synap_core::snapshot::{
    Flavour, Header, Item, Key, ReadOptions, Reader, Skipped, Unsupported, Usage, WriteOptions, Writer, dump, restore,
};
use synap_core::testing::{content, split};
use synap_core::types::Limits;
use synap_protocols::resp::Value;

const PROGRAMS: [&str; 2] = ["valkey-server", "redis-server"];

/// What makes a server keep everything small, and everything large.
const SETTINGS: [&str; 3] = [
    "hash-max-listpack-entries 512 set-max-intset-entries 512 zset-max-listpack-entries 128 list-max-listpack-size -2",
    "hash-max-listpack-entries 0 set-max-intset-entries 0 zset-max-listpack-entries 0 list-max-listpack-size 3 \
     list-compress-depth 1",
    "hash-max-listpack-entries 5000 hash-max-listpack-value 5000 set-max-intset-entries 5000 \
     zset-max-listpack-entries 5000 zset-max-listpack-value 5000 list-max-listpack-size -5 list-compress-depth 0",
];

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("synap-snapshots-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left is in the folder of temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn start(program: &str, folder: &Path) -> Option<Server> {
    Server::start(program, folder, &["--enable-debug-command", "yes", "--dbfilename", "dump.rdb"])
}

fn words(parts: &[&[u8]]) -> Words {
    parts.iter().map(|part| part.to_vec()).collect()
}

#[track_caller]
fn good(connection: &mut Connection, parts: &[&[u8]]) -> Value {
    let value = connection.call(&words(parts));
    assert!(!value.is_error(), "{}: {value:?}", servers::show(&words(parts)));
    value
}

/// Elements of every kind: integers of every width, short and long text, bytes, what compresses and what does not.
fn elements(count: usize) -> Vec<Vec<u8>> {
    let ints = [0, 1, 12, 13, -1, 127, 128, -129, 4095, 4096, 32767, -32769, 8_388_608, 1 << 31, i64::MAX, i64::MIN];
    let element = |i: usize| match i % 8 {
        0 | 1 => ints.get(i / 8).copied().unwrap_or(i as i64 * 7919).to_string().into_bytes(),
        2 => format!("word {i}").into_bytes(),
        3 => (0..i % 90).map(|at| (at * i) as u8).collect(),
        4 => format!("user:{i}:name ").repeat(i % 40 + 2).into_bytes(),
        5 => vec![b'a' + (i % 26) as u8; i % 300],
        6 => format!("{}.{i}", i * i).into_bytes(),
        _ => format!("00{i}").into_bytes(),
    };
    let mut elements: Vec<_> = (0..count).map(element).collect();
    elements.sort();
    elements.dedup();
    elements
}

/// Keys of all types, as the server's settings have them.
fn fill(connection: &mut Connection, prefix: &str) {
    for (index, element) in elements(200).iter().enumerate() {
        good(connection, &[b"SET", format!("{prefix}:string:{index}").as_bytes(), element]);
    }
    good(connection, &[b"SET", format!("{prefix}:long").as_bytes(), &b"0123456789abcdef".repeat(20_000)]);
    for count in [1, 5, 100, 1000] {
        let key = |kind: &str| format!("{prefix}:{kind}:{count}").into_bytes();
        let ints: Vec<_> = (0..count as i64).map(|i| (i * i * i - 5000).to_string().into_bytes()).collect();
        for (index, element) in elements(count).iter().enumerate() {
            let score: &[u8] = match index % 4 {
                0 => b"-inf",
                1 => b"3",
                2 => &ints[index],
                _ => b"3.14159265358979",
            };
            good(connection, &[b"RPUSH", &key("list"), element]);
            good(connection, &[b"SADD", &key("set"), element]);
            good(connection, &[b"SADD", &key("ints"), &ints[index]]);
            good(connection, &[b"HSET", &key("hash"), element, format!("value {index}").as_bytes()]);
            good(connection, &[b"ZADD", &key("zset"), score, element]);
        }
        good(connection, &[b"PEXPIREAT", &key("hash"), b"4102444800123"]);
    }
    good(connection, &[b"RPUSH", format!("{prefix}:large").as_bytes(), &[b'x'; 100_000], b"small"]);
}

fn fill_all(connection: &mut Connection) {
    for (index, settings) in SETTINGS.iter().enumerate() {
        for setting in split(settings).chunks(2) {
            good(connection, &[b"CONFIG", b"SET", &setting[0], &setting[1]]);
        }
        good(connection, &[b"SELECT", index.to_string().as_bytes()]);
        fill(connection, &format!("p{index}"));
    }
    // With ids that its own settings have, a file made by them loads the same way.
    for setting in split(SETTINGS[0]).chunks(2) {
        good(connection, &[b"CONFIG", b"SET", &setting[0], &setting[1]]);
    }
    let library = b"#!lua name=lib\nredis.register_function('f', function() return 1 end)";
    good(connection, &[b"FUNCTION", b"LOAD", library]);
}

fn items(path: &Path) -> Vec<Item> {
    let options = ReadOptions { unsupported: Unsupported::Skip, ..ReadOptions::default() };
    let reader = Reader::new(File::open(path).expect("a file"), options).expect("an RDB");
    reader.map(|item| item.unwrap_or_else(|error| panic!("{}: {error}", path.display()))).collect()
}

/// What a server says that a key holds, as [`content`] says it.
fn said(connection: &mut Connection, key: &[u8]) -> String {
    let quoted = |value: &Value| format!("\"{}\"", value.as_bytes().expect("bytes").escape_ascii());
    let all = |value: &Value| value.as_items().expect("items").iter().map(quoted).collect::<Vec<_>>();
    let sorted = |mut items: Vec<String>| {
        items.sort();
        items.join(" ")
    };
    let pairs = |items: Vec<String>| items.chunks(2).map(|pair| pair.join("=")).collect::<Vec<_>>();
    let kind = good(connection, &[b"TYPE", key]);
    match kind.as_bytes().expect("a type") {
        b"string" => format!("string {}", quoted(&good(connection, &[b"GET", key]))),
        b"list" => format!("list {}", all(&good(connection, &[b"LRANGE", key, b"0", b"-1"])).join(" ")),
        b"set" => format!("set {}", sorted(all(&good(connection, &[b"SMEMBERS", key])))),
        b"hash" => format!("hash {}", sorted(pairs(all(&good(connection, &[b"HGETALL", key]))))),
        b"zset" => {
            let reply = good(connection, &[b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"]);
            let items = reply.as_items().expect("items");
            let member = |pair: &[Value]| {
                let score = std::str::from_utf8(pair[1].as_bytes().expect("a score")).expect("text");
                format!("{}={:?}", quoted(&pair[0]), score.parse::<f64>().expect("a number"))
            };
            format!("zset {}", items.chunks(2).map(member).collect::<Vec<_>>().join(" "))
        }
        other => panic!("{other:?}"),
    }
}

/// Every key of a file, held against the server that saved it; payloads too, in both directions.
fn compare_with_server(connection: &mut Connection, items: &[Item]) {
    let keys: Vec<&Key> =
        items.iter().filter_map(|item| if let Item::Key(key) = item { Some(key) } else { None }).collect();
    let mut count = 0;
    for db in 0..16 {
        good(connection, &[b"SELECT", db.to_string().as_bytes()]);
        let Value::Int(size) = good(connection, &[b"DBSIZE"]) else { panic!("a number") };
        count += size as usize;
        for Key { entry, .. } in keys.iter().filter(|key| key.db == db) {
            let name = entry.key();
            let ours = content(entry.value());
            assert_eq!(ours, said(connection, name), "{}", name.escape_ascii());
            let Value::Int(deadline_ms) = good(connection, &[b"PEXPIRETIME", name]) else { panic!("a time") };
            assert_eq!(entry.expires_at().unwrap_or(-1), deadline_ms, "{}", name.escape_ascii());
            let payload = good(connection, &[b"DUMP", name]);
            let value = restore(payload.as_bytes().expect("a payload"), &Limits::default()).expect("their payload");
            assert_eq!(content(value.view()), ours, "{}", name.escape_ascii());
            let payload = dump(entry.value(), Flavour::Redis72);
            good(connection, &[b"RESTORE", b"restored", b"0", &payload, b"REPLACE"]);
            let digests = good(connection, &[b"DEBUG", b"DIGEST-VALUE", name, b"restored"]);
            let [theirs, again] = digests.as_items().expect("two digests") else { panic!("two digests") };
            // A deadline is a part of it.
            assert!(entry.expires_at().is_some() || theirs == again, "{}", name.escape_ascii());
            assert_eq!(said(connection, b"restored"), ours);
            good(connection, &[b"DEL", b"restored"]);
        }
    }
    assert_eq!(keys.len(), count, "keys");
}

/// What the server computes of each key.
fn digests(connection: &mut Connection, items: &[Item]) -> Vec<String> {
    let mut digest = |Key { db, entry, .. }: &Key| {
        good(connection, &[b"SELECT", db.to_string().as_bytes()]);
        let digest = good(connection, &[b"DEBUG", b"DIGEST-VALUE", entry.key()]);
        format!("{db} {} {digest:?}", entry.key().escape_ascii())
    };
    items.iter().filter_map(|item| if let Item::Key(key) = item { Some(digest(key)) } else { None }).collect()
}

/// Writes what was read.
fn write(path: &Path, items: &[Item], options: WriteOptions) {
    let mut writer = Writer::new(File::create(path).expect("a file"), options).expect("a file");
    let header = Header { redis_version: "7.2.4", ..Header::default() };
    writer.header(&header).expect("written");
    for item in items {
        match item {
            Item::Key(Key { db, entry, .. }) => {
                writer.key(*db, entry.key(), entry.value(), entry.expires_at(), Usage::default()).expect("written");
            }
            Item::Sizes { db, keys, volatile } => writer.sizes(*db, *keys, *volatile).expect("written"),
            Item::Function(library) => writer.function(library).expect("written"),
            Item::Aux { .. } | Item::Skipped(_) => {}
        }
    }
    writer.finish().expect("written");
}

#[test]
fn files_and_payloads_go_both_ways() {
    for program in PROGRAMS {
        let folder = Folder::new(program);
        let Some(server) = start(program, &folder.0) else {
            println!("skipped: there is no {program} on the PATH");
            continue;
        };
        println!("compared with {program} {:?}", server.version);
        let mut connection = Connection::open(server.port);
        fill_all(&mut connection);
        good(&mut connection, &[b"SAVE"]);
        let items = items(&folder.0.join("dump.rdb"));
        let digests = digests(&mut connection, &items);
        compare_with_server(&mut connection, &items);
        assert!(items.iter().any(|item| matches!(item, Item::Function(_))));
        for other in PROGRAMS {
            for compress in [false, true] {
                let folder = Folder::new(&format!("{program}-to-{other}-{compress}"));
                let options = WriteOptions { flavour: Flavour::Redis72, compress };
                write(&folder.0.join("dump.rdb"), &items, options);
                let Some(server) = start(other, &folder.0) else { continue };
                let mut connection = Connection::open(server.port);
                // They differ in how doubles go into a digest.
                if other == program {
                    let again = self::digests(&mut connection, &items);
                    let different = digests.iter().zip(&again).find(|(before, after)| before != after);
                    assert_eq!(different, None, "{program} to {other}");
                }
                compare_with_server(&mut connection, &items);
                let libraries = good(&mut connection, &[b"FUNCTION", b"LIST"]);
                assert_eq!(libraries.as_items().expect("libraries").len(), 1);
            }
        }
    }
}

#[test]
fn streams_of_real_servers_are_passed_over() {
    for program in PROGRAMS {
        let folder = Folder::new(&format!("{program}-streams"));
        let Some(server) = start(program, &folder.0) else { continue };
        let mut connection = Connection::open(server.port);
        for key in ["a", "b", "c"] {
            for index in 0..300 {
                let call = format!("XADD {key} {}-{index} field {index} name value", index / 7 + 1);
                assert!(!connection.call(&split(&call)).is_error());
            }
            for call in [
                format!("XGROUP CREATE {key} group 0"),
                format!("XGROUP CREATE {key} other $"),
                format!("XREADGROUP GROUP group ann COUNT 20 STREAMS {key} >"),
                format!("XREADGROUP GROUP group bob COUNT 3 STREAMS {key} >"),
                format!("XDEL {key} 3-15"),
                format!("SET after:{key} {key}"),
                format!("EXPIRE {key} 1000"),
            ] {
                assert!(!connection.call(&split(&call)).is_error(), "{call}");
            }
        }
        good(&mut connection, &[b"SAVE"]);
        let items = items(&folder.0.join("dump.rdb"));
        let skipped = items.iter().filter(|item| matches!(item, Item::Skipped(Skipped::Stream { db: 0, .. }))).count();
        let keys = items.iter().filter(|item| matches!(item, Item::Key(_))).count();
        assert_eq!((skipped, keys), (3, 3));
        let path = folder.0.join("dump.rdb");
        let mut reader = Reader::new(File::open(path).expect("a file"), ReadOptions::default()).expect("an RDB");
        let refused = reader.find_map(|item| item.err()).expect("streams are refused");
        assert!(refused.to_string().contains("a stream, which the key"), "{refused}");
    }
}

/// A hash whose fields have deadlines is an ordinary hash for those who do not know them, in files and payloads.
#[test]
fn deadlines_of_fields_do_not_hinder_others() {
    let mut hash = synap_core::types::hash::Hash::new();
    for index in 0..3000 {
        let deadline_ms = (index % 2 == 0).then_some(4_000_000_000_000 + index);
        hash.set_until(format!("f{index}").as_bytes(), b"value", deadline_ms, &Limits::default());
    }
    let value = synap_core::keyspace::value::ValueRef::Hash(&hash);
    for program in PROGRAMS {
        let folder = Folder::new(&format!("{program}-deadlines"));
        let path = folder.0.join("dump.rdb");
        let mut writer = Writer::new(File::create(&path).expect("a file"), WriteOptions::default()).expect("a file");
        for name in ["one", "two"] {
            writer.key(0, name.as_bytes(), value, None, Usage::default()).expect("written");
        }
        writer.finish().expect("written");
        let kept = items(&path)
            .iter()
            .filter(|i| matches!(i, Item::Key(k) if content(k.entry.value()) == content(value)))
            .count();
        assert_eq!(kept, 2);
        let Some(server) = start(program, &folder.0) else { continue };
        let mut connection = Connection::open(server.port);
        good(&mut connection, &[b"RESTORE", b"three", b"0", &dump(value, Flavour::Redis72)]);
        for key in ["one", "two", "three"] {
            assert_eq!(good(&mut connection, &[b"HLEN", key.as_bytes()]), Value::Int(3000));
            assert_eq!(good(&mut connection, &[b"HGET", key.as_bytes(), b"f7"]).as_bytes(), Some(&b"value"[..]));
        }
    }
}

/// The flavour in which a server has deadlines of fields, if it has them at all.
fn own_flavour(connection: &mut Connection) -> Option<Flavour> {
    if connection.call(&split("HPEXPIREAT none 1 FIELDS 1 f")).is_error() {
        return None;
    }
    let info = good(connection, &[b"INFO", b"server"]);
    let info = String::from_utf8_lossy(info.as_bytes().expect("text")).into_owned();
    Some(if info.contains("valkey_version") { Flavour::Valkey9 } else { Flavour::Redis8 })
}

/// Fields, values and deadlines as [`content`] says them.
fn said_with_deadlines(connection: &mut Connection, key: &[u8]) -> String {
    let hash = good(connection, &[b"HGETALL", key]);
    let items = hash.as_items().expect("items");
    let mut fields = Vec::new();
    for pair in items.chunks(2) {
        let [name, value] = [0, 1].map(|at| pair[at].as_bytes().expect("bytes"));
        let reply = good(connection, &[b"HPEXPIRETIME", key, b"FIELDS", b"1", name]);
        let at = match reply.as_items().expect("times") {
            [Value::Int(at_ms @ 0..)] => format!("@{at_ms}"),
            _ => String::new(),
        };
        fields.push(format!("\"{}\"=\"{}\"{at}", name.escape_ascii(), value.escape_ascii()));
    }
    fields.sort();
    format!("hash {}", fields.join(" "))
}

#[test]
fn deadlines_of_fields_go_both_ways_where_there_are_any() {
    for program in PROGRAMS {
        let folder = Folder::new(&format!("{program}-fields"));
        let Some(server) = start(program, &folder.0) else { continue };
        let mut connection = Connection::open(server.port);
        let Some(flavour) = own_flavour(&mut connection) else {
            println!("skipped: {program} has no deadlines of fields");
            continue;
        };
        println!("compared with {program} as {flavour:?}");
        for count in [1_i64, 7, 100, 1000] {
            let key = format!("hash{count}").into_bytes();
            for index in 0..count {
                let field = format!("field {index}").into_bytes();
                good(&mut connection, &[b"HSET", &key, &field, format!("{}", index * 77).as_bytes()]);
                if index % 3 != 1 {
                    let at_ms = (4_000_000_000_000 + index * index * 99).to_string();
                    good(&mut connection, &[b"HPEXPIREAT", &key, at_ms.as_bytes(), b"FIELDS", b"1", &field]);
                }
            }
        }
        good(&mut connection, &[b"SAVE"]);
        let items = items(&folder.0.join("dump.rdb"));
        let keys: Vec<&Key> =
            items.iter().filter_map(|i| if let Item::Key(key) = i { Some(key) } else { None }).collect();
        assert_eq!(keys.len(), 4);
        let folder = Folder::new(&format!("{program}-fields-back"));
        write(&folder.0.join("dump.rdb"), &items, WriteOptions { flavour, compress: true });
        let second = start(program, &folder.0).expect("the same program");
        let mut other = Connection::open(second.port);
        for Key { entry, .. } in keys {
            let (name, ours) = (entry.key(), content(entry.value()));
            assert_eq!(ours, said_with_deadlines(&mut connection, name));
            assert_eq!(ours, said_with_deadlines(&mut other, name));
            let payload = good(&mut connection, &[b"DUMP", name]);
            let value = restore(payload.as_bytes().expect("a payload"), &Limits::default()).expect("their payload");
            assert_eq!(content(value.view()), ours);
            good(&mut other, &[b"RESTORE", b"restored", b"0", &dump(entry.value(), flavour), b"REPLACE"]);
            assert_eq!(ours, said_with_deadlines(&mut other, b"restored"));
        }
    }
}
