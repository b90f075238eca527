//! The one hash of a key, and how its 64 bits are shared out.
//!
//! ```text
//! 63 ............................ 21 20 ...... 14 13 ..... 6 5 ..... 0
//! directory prefix (from the top)    bucket (128)  tag        shard
//! ```

use std::hash::Hasher;

use foldhash::SharedSeed;
use foldhash::fast::FoldHasher;

/// Shards of an engine; a lock set is one `u64`.
pub const SHARD_COUNT: usize = 64;

/// Seeded, so that nobody outside can aim at one bucket; the same for all shards and databases of an engine.
#[derive(Clone, Copy, Debug)]
pub struct KeyHasher {
    seed: u64,
    shared: &'static SharedSeed,
}

impl KeyHasher {
    /// The same seed gives the same hashes. Leaks 64 bytes: one is made for each engine.
    pub fn new(seed: u64) -> KeyHasher {
        KeyHasher { seed: seed.rotate_left(32), shared: Box::leak(Box::new(SharedSeed::from_u64(seed))) }
    }

    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.seed, self.shared);
        hasher.write(key);
        // foldhash's fast variant leaves the low bits weak, and all 64 are used here: spread them once more.
        let product = u128::from(hasher.finish() ^ 0x9e37_79b9_7f4a_7c15) * 0xa076_1d64_78bd_642f;
        (product as u64) ^ (product >> 64) as u64
    }
}

/// The shard of a key.
#[inline]
pub fn shard_of(hash: u64) -> usize {
    (hash & (SHARD_COUNT as u64 - 1)) as usize
}
