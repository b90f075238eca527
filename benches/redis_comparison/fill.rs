//! What stands in the servers before a measurement.

use super::Result;
use super::client::{Client, Reply, encode};
use super::rows::{ELEMENTS, Family};

/// The value that a string or hash field has before the load changes it: four bytes, and the number of its key.
pub const FIRST_TAG: &str = "val:";

const KEYS_A_CALL: u64 = 100;

pub fn key(family: Family, number: u64) -> Vec<u8> {
    format!("{}{number:012}", family.prefix()).into_bytes()
}

/// Makes keys 0 to `keys` of a family, which must not be there.
pub fn make(client: &mut Client, family: Family, keys: u64) -> Result<()> {
    client.many(
        keys,
        |number, out| encode(out, &words(family, number).iter().map(Vec::as_slice).collect::<Vec<_>>()),
        |_, reply| match family {
            Family::Strings | Family::Counters => reply == Reply::Status(b"OK"),
            _ => reply == Reply::Int(ELEMENTS as i64),
        },
    )
}

/// Deletes keys 0 to `keys` of a family, which must be there.
pub fn delete(client: &mut Client, family: Family, keys: u64) -> Result<()> {
    many_keys(client, b"DEL", family, keys)
}

/// Fails unless keys 0 to `keys` of a family are all there.
pub fn all_there(client: &mut Client, family: Family, keys: u64) -> Result<()> {
    many_keys(client, b"EXISTS", family, keys)
}

fn many_keys(client: &mut Client, command: &[u8], family: Family, keys: u64) -> Result<()> {
    let keys_of = |call: u64| call * KEYS_A_CALL..((call + 1) * KEYS_A_CALL).min(keys);
    client.many(
        keys.div_ceil(KEYS_A_CALL),
        |call, out| {
            let names: Vec<Vec<u8>> = keys_of(call).map(|number| key(family, number)).collect();
            let words: Vec<&[u8]> = std::iter::once(command).chain(names.iter().map(Vec::as_slice)).collect();
            encode(out, &words);
        },
        |call, reply| reply == Reply::Int(keys_of(call).count() as i64),
    )
}

/// The call that makes one key with all that it has at first.
fn words(family: Family, number: u64) -> Vec<Vec<u8>> {
    let mut words = vec![key(family, number)];
    for element in 0..ELEMENTS {
        let member = format!("member:{element:02}").into_bytes();
        match family {
            Family::Strings | Family::Counters => {}
            Family::Hashes => words
                .extend([format!("field:{element:02}"), format!("{FIRST_TAG}{number:012}")].map(String::into_bytes)),
            Family::Sets => words.push(member),
            Family::SortedSets => words.extend([format!("{}", 100_000 + element * 6_000).into_bytes(), member]),
            Family::Lists => words.push(format!("item:{element:02}").into_bytes()),
        }
    }
    let command = match family {
        Family::Strings => {
            words.push(format!("{FIRST_TAG}{number:012}").into_bytes());
            "SET"
        }
        Family::Counters => {
            words.push(b"0".to_vec());
            "SET"
        }
        Family::Hashes => "HSET",
        Family::Sets => "SADD",
        Family::SortedSets => "ZADD",
        Family::Lists => "LPUSH",
    };
    words.insert(0, command.as_bytes().to_vec());
    words
}

/// Counts all elements of all collections of a family by reading them.
pub fn count_elements(client: &mut Client, family: Family, keys: u64) -> Result<u64> {
    let mut count = 0;
    client.many(
        keys,
        |number, out| {
            let key = key(family, number);
            match family {
                Family::Strings | Family::Counters => encode(out, &[b"GET", &key]),
                Family::Hashes => encode(out, &[b"HGETALL", &key]),
                Family::Sets => encode(out, &[b"SMEMBERS", &key]),
                Family::SortedSets => encode(out, &[b"ZRANGE", &key, b"0", b"-1"]),
                Family::Lists => encode(out, &[b"LRANGE", &key, b"0", b"-1"]),
            }
        },
        |_, reply| {
            let Reply::Array(elements) = reply else { return false };
            count += if family == Family::Hashes { elements / 2 } else { elements };
            true
        },
    )?;
    Ok(count)
}
