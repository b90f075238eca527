//! How good a cache is that is too small: keys are read by their popularity (Zipf), and stored when they are missed. Both
//! servers get the same reads, in turns and in the same seconds, and the same bytes beyond what they take when empty.

use super::Result;
use super::client::{Client, Reply, encode};
use super::options::Options;
use super::servers::{Launch, Server};
use super::system::Cores;

/// The policies that look at how keys are used, and the one that does not, which they should beat.
const POLICIES: [&str; 3] = ["allkeys-lru", "allkeys-lfu", "allkeys-random"];

/// Ours may miss so much more than theirs: the choice is by chance.
const SLACK: f64 = 0.01;

/// Values have from 64 bytes to so many more: no server's size classes fit better than the other's.
const VALUE_BYTES_MORE: u64 = 1500;
const BUDGET_BYTES: u64 = 16 << 20;
const KEYS: u64 = 100_000;
/// The popularity of the key with rank *r* is 1 / *r* to this power.
const SKEW: f64 = 0.9;
const READS: u64 = 1_500_000;
const READS_QUICK: u64 = 150_000;
/// Reads that one server gets before the other one has its turn.
const TURN: usize = 256;

pub struct Line {
    pub policy: &'static str,
    /// Reads that found their key, of all.
    pub ours: f64,
    pub theirs: f64,
}

impl Line {
    pub fn is_missed(&self) -> bool {
        self.ours < self.theirs - SLACK
    }
}

pub fn compare(options: &Options, ours: &Launch, theirs: &Launch, cores: &Cores) -> Result<Vec<Line>> {
    POLICIES.into_iter().map(|policy| compare_one(options, ours, theirs, cores, policy)).collect()
}

fn compare_one(options: &Options, ours: &Launch, theirs: &Launch, cores: &Cores, policy: &'static str) -> Result<Line> {
    let servers = [Server::start(ours, cores)?, Server::start(theirs, cores)?];
    let mut caches = servers.iter().map(|server| Cache::new(server, policy)).collect::<Result<Vec<_>>>()?;
    let popularity = Popularity::new();
    let mut seed = options.seed;
    let reads = if options.quick { READS_QUICK } else { READS };
    for turn in 0..reads / TURN as u64 {
        // What comes first fills the caches.
        let counts = turn * TURN as u64 > reads / 5;
        let keys: Vec<u64> = (0..TURN).map(|_| popularity.draw(&mut seed)).collect();
        for cache in &mut caches {
            cache.read(&keys, counts)?;
        }
    }
    Ok(Line { policy, ours: caches[0].hit_ratio(), theirs: caches[1].hit_ratio() })
}

/// One server as a cache.
struct Cache {
    client: Client,
    reads: u64,
    hits: u64,
}

impl Cache {
    fn new(server: &Server, policy: &str) -> Result<Cache> {
        let used = server.used_bytes()?.ok_or("a server does not say what memory it uses")?;
        let mut client = server.client()?;
        client.expect_ok(&[b"CONFIG", b"SET", b"maxmemory-policy", policy.as_bytes()])?;
        client.expect_ok(&[b"CONFIG", b"SET", b"maxmemory", (used + BUDGET_BYTES).to_string().as_bytes()])?;
        Ok(Cache { client, reads: 0, hits: 0 })
    }

    fn read(&mut self, keys: &[u64], counts: bool) -> Result<()> {
        let mut missed = Vec::new();
        self.client.many(
            keys.len() as u64,
            |index, out| encode(out, &[b"GET", name(keys[index as usize]).as_bytes()]),
            |index, reply| {
                if reply == Reply::Null {
                    missed.push(keys[index as usize]);
                }
                matches!(reply, Reply::Null | Reply::Bulk(_))
            },
        )?;
        if counts {
            self.reads += keys.len() as u64;
            self.hits += (keys.len() - missed.len()) as u64;
        }
        let value = [b'v'; 64 + VALUE_BYTES_MORE as usize];
        self.client.many(
            missed.len() as u64,
            |index, out| {
                let key = missed[index as usize];
                let len = 64 + key.wrapping_mul(2_654_435_761) % VALUE_BYTES_MORE;
                encode(out, &[b"SET", name(key).as_bytes(), &value[..len as usize]]);
            },
            |_, reply| reply == Reply::Status(b"OK"),
        )
    }

    fn hit_ratio(&self) -> f64 {
        self.hits as f64 / self.reads.max(1) as f64
    }
}

fn name(key: u64) -> String {
    format!("key:{key:012}")
}

/// Which keys are read how often.
struct Popularity {
    /// For each rank the share of all reads that goes to it and to those before it.
    shares: Vec<f64>,
}

impl Popularity {
    fn new() -> Popularity {
        let mut sum = 0.0;
        let mut shares: Vec<f64> = (1..=KEYS)
            .map(|rank| {
                sum += (rank as f64).powf(-SKEW);
                sum
            })
            .collect();
        shares.iter_mut().for_each(|share| *share /= sum);
        Popularity { shares }
    }

    fn draw(&self, seed: &mut u64) -> u64 {
        *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        // 53 bits are what a double between 0 and 1 has.
        let at = (mixed >> 11) as f64 / (1_u64 << 53) as f64;
        self.shares.partition_point(|share| *share <= at) as u64
    }
}
