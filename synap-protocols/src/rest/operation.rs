//! The rows of the table as operations: which methods each has, how its name becomes words, and the document of all.

use std::collections::HashMap;

use smallvec::SmallVec;
use synap_core::Result;
use synap_core::execute::row::{Command, Flags};

use super::openapi::{self, Info};
use super::route::Verbs;
use crate::json::{self, Words};
use crate::spec::{Access, ArgKind, ArgSpec};

/// All operations of a table by their names.
pub struct Operations {
    all: Vec<Operation>,
    by_op: HashMap<&'static str, usize>,
}

/// One row, ready to be called by name.
pub struct Operation {
    pub row: &'static Command,
    pub verbs: Verbs,
    /// The words of the row's name.
    name: SmallVec<[&'static str; 2]>,
}

impl Operations {
    pub fn of(rows: &'static [Command]) -> Operations {
        let all: Vec<Operation> = rows.iter().map(Operation::of).collect();
        let by_op = all.iter().enumerate().map(|(index, operation)| (operation.row.op, index)).collect();
        Operations { all, by_op }
    }

    /// The operation `hash.set`, also one that [`Operation::refusal`] refuses.
    pub fn find(&self, op: &str) -> Option<&Operation> {
        self.by_op.get(op).map(|&index| &self.all[index])
    }

    /// In the order of the table, without those that need a connection.
    pub fn offered(&self) -> impl Iterator<Item = &Operation> {
        self.all.iter().filter(|operation| operation.refusal().is_none())
    }

    /// The OpenAPI document as text.
    pub fn document(&self, version: &str) -> String {
        let info = Info { title: "Synap", version, description: DESCRIPTION };
        let docs: Vec<String> = self.offered().map(doc).collect();
        let described: Vec<openapi::Operation> = self.offered().zip(&docs).map(describe).collect();
        openapi::text(&info, &described)
    }
}

const DESCRIPTION: &str = "Every command of the server as an operation. \
    Bytes that are not UTF-8 are `{\"base64\":\"…\"}`, in arguments and in replies. \
    The header `Synap-Database` chooses a numbered database; 0 is the default.";

fn doc(operation: &Operation) -> String {
    format!("`{}`, {}.", operation.row.name, operation.row.complexity)
}

fn describe<'a>((operation, doc): (&'a Operation, &'a String)) -> openapi::Operation<'a> {
    let row = operation.row;
    openapi::Operation {
        op: row.op,
        group: row.group.op,
        summary: row.summary,
        doc,
        args: row.args,
        returns: &row.returns,
        verbs: operation.verbs,
        is_deprecated: false,
    }
}

impl Operation {
    fn of(row: &'static Command) -> Operation {
        let verbs = Verbs { get: row.only_reads(), delete: only_removes(row) };
        Operation { row, verbs, name: row.name.split(' ').collect() }
    }

    /// Why a door whose calls stand for themselves does not have it.
    pub fn refusal(&self) -> Option<String> {
        self.row.flags.has(Flags::RESP_ONLY).then(|| {
            let op = self.row.op;
            format!("`{op}` acts on the connection that it comes through, and here every call stands for itself")
        })
    }

    /// The words of a call from the JSON text of its arguments.
    pub fn lower(&self, text: &[u8]) -> Result<Words> {
        json::lower(&self.name, self.row.args, text)
    }

    /// As [`Operation::lower`], from a value of a document that was checked as a whole.
    pub fn lower_checked(&self, value: &str) -> Result<Words> {
        json::lower::lower_checked(&self.name, self.row.args, value)
    }

    /// The words of a call from what follows the operation in a path, and a query without its `?`.
    pub fn lower_query(&self, segments: &[&str], query: &str) -> Result<Words> {
        json::lower_query(&self.name, self.row.args, segments, query)
    }
}

/// True for a row that names keys and does nothing but remove something of them. It gives nothing of what it removes
/// back: a pop is no deletion.
fn only_removes(row: &Command) -> bool {
    fn keys(args: &[ArgSpec], found: &mut Vec<Access>) {
        for arg in args {
            match arg.kind {
                ArgKind::Key(access) => found.push(access),
                ArgKind::Block(parts) | ArgKind::OneOf(parts) | ArgKind::AnyOrder(parts) => keys(parts, found),
                _ => (),
            }
        }
    }
    let mut accesses = Vec::new();
    keys(row.args, &mut accesses);
    let removes = |noted: &Access| {
        let access = row.access(*noted);
        access.has(Access::DELETE)
            && [Access::ACCESS, Access::UPDATE, Access::INSERT].iter().all(|other| !access.has(*other))
    };
    row.writes() && !accesses.is_empty() && accesses.iter().all(removes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use synap_core::command::table;
    use synap_core::execute::row::Tool;
    use synap_core::execute::state::Rows;
    use synap_core::grammar::generate::{self, Choices};

    use super::*;
    use crate::json::{members, render};

    fn operations() -> Operations {
        Operations::of(table().all())
    }

    fn ops(has: impl Fn(&Operation) -> bool) -> Vec<&'static str> {
        operations().all.iter().filter(|operation| has(operation)).map(|operation| operation.row.op).collect()
    }

    #[test]
    fn every_row_has_an_operation_of_its_own() {
        let operations = operations();
        assert_eq!(operations.by_op.len(), operations.all.len(), "two rows have the same op");
        for operation in &operations.all {
            assert_eq!(members::clash(operation.row.args), None, "{}", operation.row.name);
        }
    }

    #[test]
    fn what_only_reads_is_got_and_what_only_removes_is_deleted() {
        let is_read = |op: &str| operations().find(op).expect("an operation").verbs.get;
        for op in ["string.get", "key.scan", "connection.ping", "server.info", "config.get", "command.docs"] {
            assert!(is_read(op), "{op}");
        }
        for op in ["string.set", "key.sort", "set.pop", "config.set", "server.shutdown", "pubsub.publish"] {
            assert!(!is_read(op), "{op}");
        }
        let deleted = ops(|operation| operation.verbs.delete);
        for op in ["key.del", "hash.del", "set.rem"] {
            assert!(deleted.contains(&op), "{op}");
        }
        for op in ["set.pop", "list.lpop", "list.blpop", "key.rename", "server.flushall", "key.persist"] {
            assert!(!deleted.contains(&op), "{op}");
        }
        assert_eq!(ops(|operation| operation.verbs.get && operation.row.writes()), [""; 0]);
    }

    #[test]
    fn what_needs_a_connection_is_offered_to_nobody_without_one() {
        assert_eq!(
            ops(|operation| operation.row.tool != Tool::Never && operation.refusal().is_some()),
            [""; 0],
            "no tool can be what no door has"
        );
        let document = operations().document("0");
        assert!(!document.contains("transaction/multi") && document.contains("/hash/set"));
    }

    proptest! {
        #[test]
        fn json_and_paths_give_the_words_of_every_row(
            numbers in prop::collection::vec(any::<u32>(), 0..60),
            forms in prop::collection::vec(any::<u32>(), 0..200),
        ) {
            for operation in operations().all {
                let args = operation.row.args;
                let given = generate::arguments(args, &mut Choices::new(&numbers));
                let mut expected: Vec<Vec<u8>> = operation.name.iter().map(|word| word.as_bytes().to_vec()).collect();
                expected.extend(generate::words(args, &given));

                let text = render::json(args, &given, &mut Choices::new(&forms));
                let words = operation.lower(text.as_bytes());
                let words: Vec<Vec<u8>> = words.expect(&text).iter().map(<[u8]>::to_vec).collect();
                prop_assert_eq!(&words, &expected, "{}", text);

                let (segments, query) = render::query(args, &given, &mut Choices::new(&forms));
                let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
                let words = operation.lower_query(&segments, &query);
                let words: Vec<Vec<u8>> = words.expect(&query).iter().map(<[u8]>::to_vec).collect();
                prop_assert_eq!(&words, &expected, "{:?} ? {}", segments, query);
            }
        }
    }
}
