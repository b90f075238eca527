//! `#[derive(Args)]`: the argument struct of a command is its grammar.
