//! What a command is: a row of constants, an argument struct that is its grammar, and a handler.

pub mod check_reply;
pub mod follow;
#[cfg(any(test, feature = "testing"))]
pub mod generate;
pub mod spec;
