//! The life of a call.

pub mod gate;
