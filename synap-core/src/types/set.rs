//! TEMPORARY stub of the set type, replaced by the real one.

/// A set. Must stay at most 16 bytes, 8-aligned.
pub struct Set(Box<u8>);

impl Set {
    pub fn new() -> Set {
        Set(Box::new(0))
    }
    pub fn freeze(&self) -> Set {
        Set(self.0.clone())
    }
}
