//! Which tools agents have: the setting `mcp-tools`, words with blanks or commas between them.
//!
//! | word | what it adds |
//! |---|---|
//! | `essential` | the operations that say [`Tool::Default`], and `synap_command` |
//! | `full` | all rows, and `synap_command` |
//! | `hash`, `kv` | the operations of a group |
//! | `hash.set`, `synap_hash_set`, `kv.get` | one operation |
//! | `synap_command` | the tool that runs what has no tool of its own |
//! | `read-only` | takes away what changes something; alone, it stands for everything that reads |
//!
//! What administers the server, or may lose much at once, is offered only where `full` or its own name is said.

use std::collections::HashSet;

use synap_core::access::Category;
use synap_core::execute::row::{Command, Tool};

use super::tools;
use crate::rest::operation::{Operation, Operations};

/// What agents may call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Operations with tools of their own.
    listed: HashSet<&'static str>,
    /// `synap_command` is there.
    has_command: bool,
    /// `synap_command` also runs what [`is_risky`].
    is_full: bool,
    only_reads: bool,
}

impl Choice {
    /// The error is a sentence about the value of the setting.
    pub fn parse(text: &str, operations: &Operations) -> Result<Choice, String> {
        let mut choice = Choice::default();
        let mut adds_something = false;
        for word in text.split([' ', ',', '\t']).filter(|word| !word.is_empty()) {
            if word == "read-only" {
                choice.only_reads = true;
            } else {
                choice.add(word, operations)?;
                adds_something = true;
            }
        }
        if choice.only_reads && !adds_something {
            choice.list(operations, |operation| is_in_full(operation) && !is_risky(operation.row));
            choice.has_command = true;
        }
        Ok(choice)
    }

    fn add(&mut self, word: &str, operations: &Operations) -> Result<(), String> {
        let found = match word {
            tools::COMMAND => {
                self.has_command = true;
                true
            }
            "full" => {
                (self.has_command, self.is_full) = (true, true);
                self.list(operations, is_in_full)
            }
            "essential" => {
                self.has_command = true;
                self.list(operations, |operation| operation.tool == Tool::Default)
            }
            _ => self.list(operations, |operation| {
                let group = operation.op.split('.').next();
                operation.op == word || tools::name(operation.op) == word || group == Some(word)
            }),
        };
        if found { Ok(()) } else { Err(format!("there is no tool, group or set {word:?}")) }
    }

    /// Adds those that `wanted` takes; true when there were some.
    fn list(&mut self, operations: &Operations, wanted: impl Fn(&Operation) -> bool) -> bool {
        let mut found = false;
        for operation in operations.offered().filter(|operation| is_tool(operation) && wanted(operation)) {
            self.listed.insert(operation.op);
            found = true;
        }
        found
    }

    /// True when it has a tool of its own.
    pub fn lists(&self, operation: &Operation) -> bool {
        self.listed.contains(operation.op) && self.allows_kind(operation)
    }

    /// True when it can be called, by its own tool or another way.
    pub fn allows(&self, operation: &Operation) -> bool {
        self.lists(operation) || (self.has_command && self.command_runs(operation))
    }

    pub fn has_command(&self) -> bool {
        self.has_command
    }

    /// True when `synap_command` runs it.
    pub fn command_runs(&self, operation: &Operation) -> bool {
        is_tool(operation) && self.allows_kind(operation) && (self.is_full || !is_risky(operation.row))
    }

    /// Nothing that can be called changes anything.
    pub fn only_reads(&self) -> bool {
        self.only_reads
    }

    fn allows_kind(&self, operation: &Operation) -> bool {
        !self.only_reads || operation.row.only_reads()
    }
}

fn is_tool(operation: &Operation) -> bool {
    operation.row.tool != Tool::Never
}

/// Every row once, and the further names that agents know from the beginning.
fn is_in_full(operation: &Operation) -> bool {
    !operation.is_alias() || operation.tool == Tool::Default
}

/// Administers the server, or may change much more than it names.
fn is_risky(row: &Command) -> bool {
    let categories = row.acl_categories();
    categories.has(Category::ADMIN) || (categories.has(Category::DANGEROUS) && !row.only_reads())
}

#[cfg(test)]
mod tests {
    use synap_core::command::table;
    use synap_core::execute::state::Rows as _;

    use super::*;

    fn operations() -> Operations {
        Operations::of(table().all())
    }

    fn chosen(text: &str) -> Choice {
        Choice::parse(text, &operations()).expect("a choice")
    }

    fn listed(text: &str) -> Vec<&'static str> {
        let choice = chosen(text);
        operations().offered().filter(|operation| choice.lists(operation)).map(|operation| operation.op).collect()
    }

    fn allows(choice: &Choice, op: &str) -> bool {
        operations().find(op).is_some_and(|operation| choice.allows(operation))
    }

    #[test]
    fn the_default_set_is_small() {
        let essential = listed("essential");
        assert!((10..=20).contains(&essential.len()), "{essential:?}");
        assert!(chosen("essential").has_command());
        for op in [
            "hash.set",
            "hash.get",
            "hash.getall",
            "list.push",
            "list.pop",
            "list.range",
            "set.add",
            "set.members",
            "set.inter",
            "kv.set",
            "kv.get",
            "kv.del",
            "kv.scan",
            "kv.expire",
        ] {
            assert!(essential.contains(&op), "{op}");
        }
    }

    #[test]
    fn full_is_all_that_makes_sense() {
        let full = listed("full");
        assert!(full.contains(&"config.set") && full.contains(&"zset.add"));
        for op in ["connection.auth", "transaction.multi", "pubsub.subscribe", "client.reply"] {
            assert!(!full.contains(&op) && !allows(&chosen("full"), op), "{op}");
        }
    }

    #[test]
    fn read_only_forbids_every_write_by_every_way() {
        for text in ["read-only", "full read-only", "read-only essential", "hash,read-only,synap_command"] {
            let choice = chosen(text);
            assert!(allows(&choice, "hash.get"), "{text}");
            let operations = operations();
            let writes = operations.offered().filter(|any| !any.row.only_reads() && choice.allows(any));
            assert_eq!(writes.map(|any| any.op).collect::<Vec<_>>(), [""; 0], "{text}");
        }
        assert!(!allows(&chosen("read-only"), "config.get"), "it tells passwords");
        assert!(allows(&chosen("full read-only"), "config.get"));
    }

    #[test]
    fn a_list_of_ones_own_is_all_there_is() {
        assert_eq!(listed("hash.get synap_list_len kv.get"), ["hash.get", "list.len", "kv.get"]);
        assert!(listed("kv").contains(&"kv.mget") && !listed("full").contains(&"kv.mget"));
        assert!(!allows(&chosen("hash.get"), "hash.set"));
        assert!(!chosen("hash.get").has_command());
        assert!(allows(&chosen("synap_command"), "hash.set"));
        assert_eq!(listed(""), [""; 0]);
    }

    #[test]
    fn the_generic_tool_leaves_the_server_alone() {
        let choice = chosen("essential");
        assert!(allows(&choice, "zset.add"));
        for op in ["server.flushall", "server.shutdown", "config.set", "config.get", "client.kill"] {
            assert!(!allows(&choice, op), "{op}");
            assert!(allows(&chosen("full"), op), "{op}");
            assert_eq!(listed(op), [op]);
        }
    }

    #[test]
    fn unknown_words_are_told() {
        for text in ["everything", "synap_hash", "hash.sett", "connection.auth"] {
            let error = Choice::parse(text, &operations()).expect_err(text);
            assert_eq!(error, format!("there is no tool, group or set {text:?}"));
        }
    }
}
