//! One key with its value: one allocation behind an 8-byte slot.
