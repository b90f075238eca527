//! The rows of the table as operations: which methods each has, how its name becomes words, and the document of all.

use std::collections::HashMap;

use smallvec::SmallVec;
use synap_core::Result;
use synap_core::command::alias::{ALIASES, Alias, PUTS, Put};
use synap_core::execute::row::{Command, Flags, Tool};

use super::openapi::{self, Info};
use super::route::Verbs;
use crate::json::lower::lower_url;
use crate::json::members::path_arguments;
use crate::json::{self, Words};
use crate::spec::{Access, ArgKind, ArgSpec};

/// All operations of a table by their names.
pub struct Operations {
    all: Vec<Operation>,
    by_op: HashMap<&'static str, usize>,
}

/// One row, or another name of one, ready to be called by name.
pub struct Operation {
    /// Its name: that of the row, or an alias.
    pub op: &'static str,
    /// The named arguments.
    pub args: &'static [ArgSpec],
    /// Whose reply, rights and flags it has. Where an argument chooses between rows they have these in common.
    pub row: &'static Command,
    pub verbs: Verbs,
    /// How agents see it.
    pub tool: Tool,
    /// An argument that a path may end with though it may be left out.
    pub segment: Option<&'static ArgSpec>,
    /// The rows that the first argument chooses between; else just the row.
    rows: SmallVec<[&'static Command; 2]>,
    /// The words of the row's name; none where an argument chooses it.
    name: SmallVec<[&'static str; 2]>,
}

impl Operations {
    pub fn of(rows: &'static [Command]) -> Operations {
        let mut all: Vec<Operation> = rows.iter().map(Operation::of).collect();
        let by_op: HashMap<&str, &Command> = rows.iter().map(|row| (row.op, row)).collect();
        all.extend(ALIASES.iter().filter_map(|alias| Operation::also(alias, &by_op)));
        let by_op = all.iter().enumerate().map(|(index, operation)| (operation.op, index)).collect();
        Operations { all, by_op }
    }

    /// The operation `hash.set`, also one that [`Operation::refusal`] refuses.
    pub fn find(&self, op: &str) -> Option<&Operation> {
        self.by_op.get(op).map(|&index| &self.all[index])
    }

    /// In the order of the table, then the aliases; without those that need a connection.
    pub fn offered(&self) -> impl Iterator<Item = &Operation> {
        self.all.iter().filter(|operation| operation.refusal().is_none())
    }

    /// The operation that `PUT /api/v1/{path}/{key}` is, and which of its arguments the body is.
    pub fn put(&self, path: &str) -> Option<(&Operation, &'static Put)> {
        let put = PUTS.iter().find(|put| put.path == path)?;
        Some((self.find(put.row)?, put))
    }

    /// The OpenAPI document as text.
    pub fn document(&self, version: &str) -> String {
        let info = Info { title: "Synap", version, description: DESCRIPTION };
        let docs: Vec<String> = self.offered().map(doc).collect();
        let described: Vec<openapi::Operation> = self.offered().zip(&docs).map(describe).collect();
        let puts: Vec<(&Put, &openapi::Operation)> = PUTS
            .iter()
            .filter_map(|put| Some((put, described.iter().find(|operation| operation.op == put.row)?)))
            .collect();
        openapi::text(&info, &described, &puts)
    }
}

const DESCRIPTION: &str = "Every command of the server as an operation. \
    Bytes that are not UTF-8 are `{\"base64\":\"…\"}`, in arguments and in replies. \
    The header `Synap-Database` chooses a numbered database; 0 is the default.";

fn doc(operation: &Operation) -> String {
    let rows = operation.rows.iter().map(|row| format!("`{}`", row.name)).collect::<Vec<_>>().join(" or ");
    let other = if operation.is_alias() && operation.rows.len() == 1 {
        format!(" Another name of `{}`.", operation.row.op)
    } else {
        String::new()
    };
    format!("{rows}, {}.{other}", operation.row.complexity)
}

fn describe<'a>((operation, doc): (&'a Operation, &'a String)) -> openapi::Operation<'a> {
    let row = operation.row;
    openapi::Operation {
        op: operation.op,
        group: operation.op.split_once('.').map_or(row.group.op, |(group, _)| group),
        summary: row.summary,
        doc,
        args: operation.args,
        segment: operation.segment,
        returns: &row.returns,
        verbs: operation.verbs,
        is_deprecated: false,
    }
}

impl Operation {
    fn of(row: &'static Command) -> Operation {
        let verbs = Verbs { get: row.only_reads(), delete: only_removes(row) };
        let (name, rows) = (row.name.split(' ').collect(), SmallVec::from_slice(&[row]));
        Operation { op: row.op, args: row.args, row, verbs, tool: row.tool, segment: None, rows, name }
    }

    /// An alias; `None` when there are no such rows.
    fn also(alias: &'static Alias, rows: &HashMap<&str, &'static Command>) -> Option<Operation> {
        let rows: SmallVec<[&'static Command; 2]> =
            alias.rows.iter().map(|op| rows.get(op).copied()).collect::<Option<_>>()?;
        let own = Operation::of(rows.first()?);
        let segment = own.args.iter().find(|arg| arg.name == alias.segment);
        Some(match alias.args {
            [] => Operation { op: alias.op, segment, tool: alias.tool, ..own },
            args => Operation { op: alias.op, segment, tool: alias.tool, args, rows, name: SmallVec::new(), ..own },
        })
    }

    /// True when it is another name for what a row has.
    pub fn is_alias(&self) -> bool {
        self.op != self.row.op
    }

    /// Each row that a call of it may reach.
    pub fn rows(&self) -> &[&'static Command] {
        &self.rows
    }

    /// The row that `words`, which this operation has lowered, are a call of.
    pub fn row_of(&self, words: &Words) -> &'static Command {
        match self.rows.as_slice() {
            [row] => row,
            rows => {
                let named = |row: &&&Command| words.iter().next() == Some(row.name.as_bytes());
                rows.iter().find(named).copied().unwrap_or(self.row)
            }
        }
    }

    /// Why a door whose calls stand for themselves does not have it.
    pub fn refusal(&self) -> Option<String> {
        self.row.flags.has(Flags::RESP_ONLY).then(|| {
            let op = self.op;
            format!("`{op}` acts on the connection that it comes through, and here every call stands for itself")
        })
    }

    /// The words of a call from the JSON text of its arguments.
    pub fn lower(&self, text: &[u8]) -> Result<Words> {
        json::lower(&self.name, self.args, text).map(|words| self.chosen(words))
    }

    /// As [`Operation::lower`], from a value of a document that was checked as a whole.
    pub fn lower_checked(&self, value: &str) -> Result<Words> {
        json::lower::lower_checked(&self.name, self.args, value).map(|words| self.chosen(words))
    }

    /// The words of a call from what follows the operation in a path, and a query without its `?`.
    pub fn lower_query(&self, segments: &[&str], query: &str) -> Result<Words> {
        let expected = path_arguments(self.args).chain(self.segment);
        lower_url(&self.name, self.args, expected, segments, query, None).map(|words| self.chosen(words))
    }

    /// As [`Operation::lower_query`] of the first segment of a path alone, with the argument `name` from elsewhere.
    pub fn lower_put(&self, segment: &str, query: &str, name: &'static str, value: Vec<u8>) -> Result<Words> {
        let expected = path_arguments(self.args).take(1);
        lower_url(&self.name, self.args, expected, &[segment], query, Some((name, value)))
            .map(|words| self.chosen(words))
    }

    /// Puts the name of the row where the word that chooses it stands.
    fn chosen(&self, words: Words) -> Words {
        if !self.name.is_empty() {
            return words;
        }
        let mut all = words.iter();
        let token = all.next().unwrap_or_default();
        let index = match self.args.first().map(|arg| arg.kind) {
            Some(ArgKind::OneOf(sides)) => sides.iter().position(|side| side.token.as_bytes() == token),
            _ => None,
        };
        let row = index.and_then(|index| self.rows.get(index)).copied().unwrap_or(self.row);
        all.fold(Words::named(&[row.name]), |mut words, word| {
            // As many as there were, and as long.
            let _ = words.push(word);
            words
        })
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
        operations()
            .all
            .iter()
            .filter(|operation| !operation.is_alias() && has(operation))
            .map(|operation| operation.op)
            .collect()
    }

    #[test]
    fn every_row_has_an_operation_of_its_own() {
        let operations = operations();
        assert_eq!(operations.by_op.len(), operations.all.len(), "two rows have the same op");
        for operation in &operations.all {
            assert_eq!(members::clash(operation.args), None, "{}", operation.op);
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

    #[test]
    fn aliases_are_calls_of_rows() {
        let operations = operations();
        let lowered = |op: &str, text: &str| {
            let operation = operations.find(op).expect(op);
            let words = operation.lower(text.as_bytes()).expect(text);
            let shown: Vec<_> = words.iter().map(String::from_utf8_lossy).collect();
            (shown.join(" "), operation.row_of(&words).op)
        };
        assert_eq!(lowered("kv.get", r#"{"key":"k"}"#), ("GET k".into(), "string.get"));
        let push = r#"{"key":"l","elements":["a","b"],"position":"RIGHT"}"#;
        assert_eq!(lowered("list.push", push), ("RPUSH l a b".into(), "list.rpush"));
        assert_eq!(lowered("list.pop", r#"{"position":"left","key":"l","count":2}"#), ("LPOP l 2".into(), "list.lpop"));
        assert!(operations.find("list.push").expect("it").lower(br#"{"key":"l","elements":["a"]}"#).is_err());
        let info = operations.find("info").expect("it");
        for (segments, query, expected) in
            [(&["memory"][..], "", 2), (&[], "section=memory&section=cpu", 3), (&[], "", 1)]
        {
            assert_eq!(info.lower_query(segments, query).expect("words").len(), expected);
        }
        let (set, put) = operations.put("kv").expect("it");
        let words = set.lower_put("a%2Fb", "ex=10", put.body, b"\xff".to_vec()).expect("words");
        assert_eq!(words.iter().collect::<Vec<_>>(), [&b"SET"[..], b"a/b", b"\xff", b"EX", b"10"]);
        assert!(set.lower_put("a", "value=1", put.body, Vec::new()).is_err());
    }

    proptest! {
        #[test]
        fn json_and_paths_give_the_words_of_every_row(
            numbers in prop::collection::vec(any::<u32>(), 0..60),
            forms in prop::collection::vec(any::<u32>(), 0..200),
        ) {
            for operation in operations().all {
                let args = operation.args;
                let given = generate::arguments(args, &mut Choices::new(&numbers));
                let mut expected: Vec<Vec<u8>> = operation.name.iter().map(|word| word.as_bytes().to_vec()).collect();
                expected.extend(generate::words(args, &given));
                if operation.name.is_empty() {
                    let is_first = expected[0] == b"left";
                    expected[0] = operation.rows[usize::from(!is_first)].name.into();
                }

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
