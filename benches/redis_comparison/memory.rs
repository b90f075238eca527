//! Bytes per key and per idle connection: a fresh server for each case, and what it grew by.

use std::time::Duration;

use super::Result;
use super::client::{Client, Reply, encode};
use super::options::Options;
use super::servers::{Launch, Server};
use super::system::Cores;

const COLLECTIONS: u64 = 100_000;
const CONNECTIONS: u64 = 2_000;

/// Time for allocators to give back what they no longer need, and for servers to shrink the buffers of idle
/// connections (Redis waits five seconds).
const SETTLE_KEYS: Duration = Duration::from_secs(2);
const SETTLE_CONNECTIONS: Duration = Duration::from_secs(12);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    Strings { keys: u64, value_bytes: usize },
    Hashes,
    Lists,
    Sets,
    SortedSets,
    Connections,
}

/// The most that ours may have.
#[derive(Clone, Copy, Debug)]
pub enum Floor {
    /// As a part of the reference's.
    Ratio(f64),
    Bytes(f64),
}

pub struct Line {
    pub case: Case,
    pub count: u64,
    pub ours: Growth,
    pub theirs: Growth,
}

/// Bytes for each key or connection.
pub struct Growth {
    /// As the server counts it (`used_memory`); not every server has that number.
    pub used: Option<f64>,
    /// As the kernel counts it.
    pub resident: f64,
}

impl Case {
    fn all(options: &Options) -> Vec<Case> {
        let strings = options.memory_keys().into_iter();
        let strings = strings.flat_map(|keys| [16, 100].map(|value_bytes| Case::Strings { keys, value_bytes }));
        strings.chain([Case::Hashes, Case::Lists, Case::Sets, Case::SortedSets, Case::Connections]).collect()
    }

    fn count(self, options: &Options) -> u64 {
        match self {
            Case::Strings { keys, .. } => keys,
            Case::Connections => CONNECTIONS,
            _ if options.quick => COLLECTIONS / 10,
            _ => COLLECTIONS,
        }
    }

    pub fn title(self) -> String {
        match self {
            Case::Strings { value_bytes, .. } => format!("key of 16 bytes, value of {value_bytes}"),
            Case::Hashes => "hash of ten fields".to_owned(),
            Case::Lists => "list of ten elements".to_owned(),
            Case::Sets => "set of ten members".to_owned(),
            Case::SortedSets => "sorted set of ten members".to_owned(),
            Case::Connections => "idle connection".to_owned(),
        }
    }

    pub fn floor(self) -> Floor {
        match self {
            Case::Strings { value_bytes: 16, .. } => Floor::Ratio(0.75),
            Case::Strings { .. } => Floor::Ratio(0.85),
            Case::Connections => Floor::Bytes(8_000.0),
            _ => Floor::Ratio(1.0),
        }
    }

    /// The call that makes one key.
    fn encode(self, number: u64, out: &mut Vec<u8>) {
        let key = format!("key:{number:012}");
        let number = number % 1_000_000;
        let mut words = vec![key];
        let command = match self {
            Case::Strings { value_bytes, .. } => {
                words.push(format!("{number:0>value_bytes$}"));
                "SET"
            }
            Case::Hashes => {
                words.extend((0..10).flat_map(|index| [format!("field:{index:02}"), format!("value:{number:06}")]));
                "HSET"
            }
            Case::Lists => {
                words.extend((0..10).map(|index| format!("item:{index:02}:{number:06}")));
                "LPUSH"
            }
            Case::Sets => {
                words.extend((0..10).map(|index| format!("member:{index:02}")));
                "SADD"
            }
            Case::SortedSets => {
                words.extend((0..10).flat_map(|index| [format!("{}", number + index), format!("member:{index:02}")]));
                "ZADD"
            }
            Case::Connections => return,
        };
        let words: Vec<&[u8]> =
            std::iter::once(command).chain(words.iter().map(String::as_str)).map(str::as_bytes).collect();
        encode(out, &words);
    }
}

impl Line {
    pub fn used_ratio(&self) -> Option<f64> {
        Some(self.ours.used? / self.theirs.used?)
    }

    pub fn resident_ratio(&self) -> f64 {
        self.ours.resident / self.theirs.resident
    }

    /// By the server's own count and by the kernel's: both must hold.
    pub fn is_missed(&self) -> bool {
        match self.case.floor() {
            Floor::Ratio(most) => self.resident_ratio() > most || self.used_ratio().is_some_and(|ratio| ratio > most),
            Floor::Bytes(most) => self.ours.resident > most,
        }
    }
}

pub fn compare(options: &Options, ours: &Launch, theirs: &Launch, cores: &Cores) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for case in Case::all(options) {
        let count = case.count(options);
        let ours = measure(ours, cores, case, count)?;
        let theirs = measure(theirs, cores, case, count)?;
        let line = Line { case, count, ours, theirs };
        eprintln!(
            "{:34} × {count:<8} resident bytes {:8.1} : {:8.1}{}",
            case.title(),
            line.ours.resident,
            line.theirs.resident,
            if line.is_missed() { "  floor missed" } else { "" }
        );
        lines.push(line);
    }
    Ok(lines)
}

fn measure(launch: &Launch, cores: &Cores, case: Case, count: u64) -> Result<Growth> {
    let server = Server::start(launch, cores)?;
    // A connection that has worked, so that the first one's buffers are not counted.
    let mut client = server.client()?;
    client.expect_ok(&[b"SET", b"warm", b"up"])?;
    std::thread::sleep(Duration::from_millis(500));
    let (used_before, resident_before) = (server.used_bytes()?, server.resident_bytes()?);

    let connections = if case == Case::Connections {
        let connections = connect(&server, count)?;
        std::thread::sleep(SETTLE_CONNECTIONS);
        connections
    } else {
        client.many(
            count,
            |number, out| case.encode(number, out),
            |_, reply| matches!(reply, Reply::Status(b"OK") | Reply::Int(10)),
        )?;
        std::thread::sleep(SETTLE_KEYS);
        Vec::new()
    };

    let (used_after, resident_after) = (server.used_bytes()?, server.resident_bytes()?);
    drop(connections);
    let each = |after: u64, before: u64| after.saturating_sub(before) as f64 / count as f64;
    let used = used_after.zip(used_before).map(|(after, before)| each(after, before));
    Ok(Growth { used, resident: each(resident_after, resident_before) })
}

/// Connections that have each done one call.
fn connect(server: &Server, count: u64) -> Result<Vec<Client>> {
    let mut connections = Vec::new();
    for _ in 0..count {
        let mut client = server.client().map_err(|error| format!("{error} (connection {})", connections.len() + 1))?;
        client.ping()?;
        connections.push(client);
    }
    Ok(connections)
}
