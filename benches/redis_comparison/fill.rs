//! What stands in the servers before a measurement.

use super::Result;
use super::client::{Client, Reply, encode};
use super::rows::Family;

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
            Family::Strings | Family::Counters | Family::Bitmaps => reply == Reply::Status(b"OK"),
            _ => reply == Reply::Int(family.elements() as i64),
        },
    )
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
    let command = match family {
        Family::Strings | Family::Counters | Family::Bitmaps => "SET",
        Family::Hashes | Family::WideHashes => "HSET",
        Family::Sets | Family::LargeSets => "SADD",
        Family::SortedSets => "ZADD",
        Family::Lists | Family::LongLists => "LPUSH",
        Family::HyperLogLogs => "PFADD",
        Family::Places => "GEOADD",
    };
    let mut words = vec![command.as_bytes().to_vec(), key(family, number)];
    for element in 0..family.elements() {
        let text = |text: String| text.into_bytes();
        match family {
            Family::Strings => words.push(text(format!("{FIRST_TAG}{number:012}"))),
            Family::Counters => words.push(b"0".to_vec()),
            Family::Bitmaps => {
                words.push((0..4_096_u64).map(|at| (at.wrapping_mul(number + 0x9e37) >> 5) as u8).collect());
            }
            Family::Hashes | Family::WideHashes => {
                words.extend([text(format!("field:{element:02}")), text(format!("{FIRST_TAG}{number:012}"))]);
            }
            Family::Sets | Family::HyperLogLogs => words.push(text(format!("member:{element:02}"))),
            // Any two of them share just half of their members.
            Family::LargeSets => {
                let half = family.elements() / 2;
                let own = if element < half { 0 } else { number + 1 };
                words.push(text(format!("member:{own}:{element:05}")));
            }
            Family::SortedSets => {
                words.extend([text((100_000 + element * 6_000).to_string()), text(format!("member:{element:02}"))]);
            }
            Family::Lists | Family::LongLists => words.push(text(format!("item:{element:02}"))),
            Family::Places => {
                let (east, north) = (element % 40, element / 40);
                let place = [format!("{}", east as f64 / 2.0), format!("{}", 40.0 + north as f64 / 2.5)];
                words.extend(place.map(text));
                words.push(text(format!("place:{element:04}")));
            }
        }
    }
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
                Family::Strings | Family::Counters | Family::Bitmaps | Family::HyperLogLogs => {
                    encode(out, &[b"GET", &key]);
                }
                Family::Hashes | Family::WideHashes => encode(out, &[b"HGETALL", &key]),
                Family::Sets | Family::LargeSets => encode(out, &[b"SMEMBERS", &key]),
                Family::SortedSets | Family::Places => encode(out, &[b"ZRANGE", &key, b"0", b"-1"]),
                Family::Lists | Family::LongLists => encode(out, &[b"LRANGE", &key, b"0", b"-1"]),
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
