//! What a command is: a row of constants, an argument struct that is its grammar, and a handler.

pub mod spec;
