//! The grammar of calls: types that read themselves from words and describe themselves.
//!
//! A command's argument struct is made of the types in [`args`]; `#[derive(Args)]` joins them. What a type does not
//! say here, no door knows.

pub mod args;
#[cfg(any(test, feature = "testing"))]
pub mod generate;
pub mod numbers;
mod parser;
pub mod spec;
mod words;

pub use args::{Arg, Channel, Counted, Each, Family, Key, KeyPattern, Many, Optional, Pattern, PerItem, Slot, Word};
pub use parser::{How, KeyRef, Keys, Parser, Words};
pub use synap_derive::Args;
pub use words::{OwnedWords, WordList};

use spec::{Access, ArgKind};

/// The smallest of `values`.
pub const fn least(values: &[usize]) -> usize {
    let mut least = usize::MAX;
    let mut index = 0;
    while index < values.len() {
        if values[index] < least {
            least = values[index];
        }
        index += 1;
    }
    least
}

/// True when all `values` are the same.
pub const fn all_equal(values: &[usize]) -> bool {
    let mut index = 1;
    while index < values.len() {
        if values[index] != values[0] {
            return false;
        }
        index += 1;
    }
    true
}

/// `kind` with the access of the field that holds it.
pub const fn with_access(kind: ArgKind, access: Access) -> ArgKind {
    match kind {
        ArgKind::Key(_) => ArgKind::Key(access),
        other => other,
    }
}
