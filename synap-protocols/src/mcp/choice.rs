//! Which tools agents have: the setting `mcp-tools`, words with blanks or commas between them.
//!
//! | word | what it adds |
//! |---|---|
//! | `essential` | the rows that say [`Tool::Default`], and `synap_command` |
//! | `full` | all rows, and `synap_command` |
//! | `hash` | the rows of a group |
//! | `hash.set`, `synap_hash_set` | one row |
//! | `synap_command` | the tool that runs what has no tool of its own |
//! | `read-only` | takes away what changes something; alone, it stands for everything that reads |
//!
//! What administers the server, or may lose much at once, is offered only where `full` or its own name is said.

use synap_core::access::Category;
use synap_core::execute::row::{Command, Tool};

use super::tools;
use crate::rest::operation::{Operation, Operations};

/// What agents may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Tools of their own, by the row's number.
    listed: Vec<bool>,
    /// `synap_command` is there.
    has_command: bool,
    /// `synap_command` also runs what [`is_risky`].
    is_full: bool,
    only_reads: bool,
}

impl Choice {
    /// The error is a sentence about the value of the setting.
    pub fn parse(text: &str, operations: &Operations) -> Result<Choice, String> {
        let count = operations.offered().map(|operation| operation.row.id + 1).max().unwrap_or(0);
        let mut choice = Choice { listed: vec![false; count], has_command: false, is_full: false, only_reads: false };
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
            choice.list(operations, |operation| !is_risky(operation.row));
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
                self.list(operations, |_| true)
            }
            "essential" => {
                self.has_command = true;
                self.list(operations, |operation| operation.row.tool == Tool::Default)
            }
            _ => self.list(operations, |operation| {
                let op = operation.row.op;
                op == word || tools::name(op) == word || operation.row.group.op == word
            }),
        };
        if found { Ok(()) } else { Err(format!("there is no tool, group or set {word:?}")) }
    }

    /// Adds those that `wanted` takes; true when there were some.
    fn list(&mut self, operations: &Operations, wanted: impl Fn(&Operation) -> bool) -> bool {
        let mut found = false;
        for operation in operations.offered().filter(|operation| is_tool(operation.row) && wanted(operation)) {
            self.listed[operation.row.id] = true;
            found = true;
        }
        found
    }

    /// True when the row has a tool of its own.
    pub fn lists(&self, row: &Command) -> bool {
        self.listed.get(row.id).is_some_and(|listed| *listed) && self.allows_kind(row)
    }

    /// True when the row can be called, by its own tool or another way.
    pub fn allows(&self, row: &Command) -> bool {
        self.lists(row) || (self.has_command && self.command_runs(row))
    }

    pub fn has_command(&self) -> bool {
        self.has_command
    }

    /// True when `synap_command` runs the row.
    pub fn command_runs(&self, row: &Command) -> bool {
        is_tool(row) && self.allows_kind(row) && (self.is_full || !is_risky(row))
    }

    /// Nothing that can be called changes anything.
    pub fn only_reads(&self) -> bool {
        self.only_reads
    }

    fn allows_kind(&self, row: &Command) -> bool {
        !self.only_reads || row.only_reads()
    }
}

fn is_tool(row: &Command) -> bool {
    row.tool != Tool::Never
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
        table().all().iter().filter(|row| choice.lists(row)).map(|row| row.op).collect()
    }

    fn row(op: &str) -> &'static Command {
        table().all().iter().find(|row| row.op == op).expect("a row")
    }

    #[test]
    fn the_default_set_is_small() {
        let essential = listed("essential");
        assert!((10..=20).contains(&essential.len()), "{essential:?}");
        assert!(chosen("essential").has_command());
        for op in ["hash.set", "hash.get", "hash.getall", "list.range", "set.add", "set.members", "set.inter", "key.scan"] {
            assert!(essential.contains(&op), "{op}");
        }
    }

    #[test]
    fn full_is_all_that_makes_sense() {
        let full = listed("full");
        assert!(full.contains(&"config.set") && full.contains(&"zset.add"));
        for op in ["connection.auth", "transaction.multi", "pubsub.subscribe", "client.reply"] {
            assert!(!full.contains(&op) && !chosen("full").allows(row(op)), "{op}");
        }
    }

    #[test]
    fn read_only_forbids_every_write_by_every_way() {
        for text in ["read-only", "full read-only", "read-only essential", "hash,read-only,synap_command"] {
            let choice = chosen(text);
            assert!(choice.allows(row("hash.get")), "{text}");
            let writes: Vec<_> = table().all().iter().filter(|row| !row.only_reads() && choice.allows(row)).collect();
            assert!(writes.is_empty(), "{text}: {:?}", writes.iter().map(|row| row.op).collect::<Vec<_>>());
        }
        assert!(!chosen("read-only").allows(row("config.get")), "it tells passwords");
        assert!(chosen("full read-only").allows(row("config.get")));
    }

    #[test]
    fn a_list_of_ones_own_is_all_there_is() {
        assert_eq!(listed("hash.get synap_list_len"), ["hash.get", "list.len"]);
        assert!(!chosen("hash.get").allows(row("hash.set")));
        assert!(!chosen("hash.get").has_command());
        assert!(chosen("synap_command").allows(row("hash.set")));
        assert_eq!(listed(""), [""; 0]);
    }

    #[test]
    fn the_generic_tool_leaves_the_server_alone() {
        let choice = chosen("essential");
        assert!(choice.allows(row("zset.add")));
        for op in ["server.flushall", "server.shutdown", "config.set", "config.get", "client.kill"] {
            assert!(!choice.allows(row(op)), "{op}");
            assert!(chosen("full").allows(row(op)), "{op}");
            assert!(chosen(op).lists(row(op)), "{op}");
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
