//! TEMPORARY stub of the zset type, replaced by the real one.

/// A zset. Must stay at most 16 bytes, 8-aligned.
pub struct ZSet(Box<u8>);

impl ZSet {
    pub fn new() -> ZSet {
        ZSet(Box::new(0))
    }
    pub fn freeze(&self) -> ZSet {
        ZSet(self.0.clone())
    }
}
