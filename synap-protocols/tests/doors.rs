//! One call, many doors: generated calls over all rows, and over all other names of them, through RESP2, RESP3, REST by
//! body and by path, envelopes and tools of agents. Each door has an engine of its own; replies and data are the same in all of them.
//!
//! What is compared with what: the reply in RESP3, read back and written as JSON, with the JSON of the other doors, text
//! for text; RESP2 with RESP3 leaf by leaf, for it knows neither maps nor numbers with a point.

use synap_core::access::User;
use synap_core::command::table;
use synap_core::execute::row::{Command, Flags, Kind, Tool};
use synap_core::execute::state::Rows as _;
use synap_core::grammar::generate::{self, Choices};
use synap_core::session::{Door, Session};
use synap_core::testing::{TestEngine, numbers, run_at_once, vocabulary_of};
use synap_core::types::score::format_double;
use synap_core::{Code, Error, Reply};
use synap_protocols::json::{JsonReply, Words, render, text};
use synap_protocols::mcp::answer;
use synap_protocols::mcp::tools::{self, Tools};
use synap_protocols::resp::value::ValueLimits;
use synap_protocols::resp::{RespWriter, Value};
use synap_protocols::rest::operation::{Operation, Operations};
use synap_protocols::stream;

/// Sequences, and calls of each.
const SEQUENCES: u64 = 40;
const CALLS: u64 = 250;

/// Rows of sessions whose replies do not depend on who asks or when.
const OF_SESSIONS: &[&str] =
    &["PING", "ECHO", "PUBLISH", "SPUBLISH", "COMMAND GETKEYS", "COMMAND COUNT", "FLUSHALL", "FLUSHDB", "SWAPDB"];

/// Rows that tell of other things than data: the network, the allocator, the clock of the machine.
const LEFT_OUT: &[&str] = &["MIGRATE", "DEBUG RELOAD", "MEMORY USAGE"];

fn is_compared(row: &Command) -> bool {
    let is_of_data = matches!(row.kind, Kind::Read | Kind::Write | Kind::Walk) || OF_SESSIONS.contains(&row.name);
    is_of_data && !row.flags.has(Flags::RESP_ONLY) && !LEFT_OUT.contains(&row.name)
}

/// A door with an engine of its own.
struct Side {
    test: TestEngine,
    session: Session,
}

impl Side {
    fn new(seed: u64, door: Door, resp3: bool) -> Side {
        let mut test = TestEngine::prepared(seed);
        // The order of large sets and hashes is another in each of them.
        for setting in ["hash-max-listpack", "set-max-listpack"] {
            for limit in ["entries", "value"] {
                assert_eq!(test.call(&format!("CONFIG SET {setting}-{limit} 1000000")), "OK");
            }
        }
        let mut session = test.engine.session(door, "test".into(), "test".into());
        session.speak(resp3);
        Side { test, session }
    }

    fn run(&mut self, words: &Words, reply: &mut dyn Reply) {
        let slices: Vec<&[u8]> = words.iter().collect();
        run_at_once(&self.test.engine, &mut self.session, &slices, reply);
    }

    fn resp(&mut self, words: &Words) -> Value {
        let mut out = Vec::new();
        let resp3 = self.session.resp3;
        self.run(words, &mut RespWriter::new(&mut out, resp3));
        let (value, length) = Value::parse(&out, &ValueLimits::DEFAULT).expect("a reply").expect("all of it");
        assert_eq!(length, out.len(), "one reply");
        value
    }

    /// The JSON text of the reply, or the error as RESP says it.
    fn json(&mut self, operation: &Operation, words: &Words) -> String {
        let mut reply = JsonReply::new(&operation.row.returns);
        self.run(words, &mut reply);
        shown(reply)
    }
}

/// What an agent is told of a call that the door has lowered by itself. A reply that is cut says so, and is not compared.
fn told(agent: &mut Side, tools: &Tools, operation: &Operation, body: &str, words: &Words, expected: &str) {
    if operation.row.tool == Tool::Never || (operation.is_alias() && operation.tool != Tool::Default) {
        agent.json(operation, words);
        return;
    }
    let Ok(call) = tools.call(&tools::name(operation.op), body, &User::default_user()) else {
        panic!("no tool {}", operation.op)
    };
    assert_eq!(&call.words, words, "{}", operation.op);
    let mut reply = answer::writer(operation.row);
    agent.run(words, &mut reply);
    let is_cut = !reply.left_out().is_nothing();
    let text = answer::text(reply, operation.row).unwrap_or_else(|error| error.to_string());
    assert!(is_cut || text == expected, "{} {body}: {text} instead of {expected}", operation.op);
}

fn shown(reply: JsonReply) -> String {
    reply.finish().map_or_else(|error| error.to_string(), |text| String::from_utf8(text).expect("JSON is UTF-8"))
}

/// Writes what was read back.
fn play(value: &Value, reply: &mut dyn Reply) {
    let all = |items: &[Value], reply: &mut dyn Reply| items.iter().for_each(|item| play(item, reply));
    match value {
        Value::Status(text) => reply.status(text),
        Value::Error(text) => {
            let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
            let code = Code::ALL.iter().find(|code| code.word() == word).copied().expect("a known code");
            reply.error(&Error { code, text: rest.to_string().into() });
        }
        Value::Int(value) => reply.int(*value),
        Value::Bulk(bytes) => reply.bulk(bytes),
        Value::Null | Value::NullArray => reply.null(),
        Value::Boolean(value) => reply.boolean(*value),
        Value::Double(value) => reply.double(*value),
        Value::BigNumber(text) => reply.text(text),
        Value::Verbatim { text, .. } => reply.verbatim("txt", std::str::from_utf8(text).expect("text")),
        Value::Array(items) => {
            reply.array(items.len());
            all(items, reply);
        }
        Value::Set(items) => {
            reply.set(items.len());
            all(items, reply);
        }
        Value::Push(items) => {
            reply.push(items.len());
            all(items, reply);
        }
        Value::Map(pairs) => {
            reply.map(pairs.len());
            pairs.iter().for_each(|(key, value)| {
                play(key, reply);
                play(value, reply);
            });
        }
    }
}

/// The leaves of a reply as bytes.
fn leaves(value: &Value, out: &mut Vec<Vec<u8>>) {
    match value {
        Value::Status(text) | Value::Error(text) | Value::BigNumber(text) => out.push(text.clone().into_bytes()),
        Value::Int(value) => out.push(value.to_string().into_bytes()),
        Value::Bulk(bytes) | Value::Verbatim { text: bytes, .. } => out.push(bytes.clone()),
        Value::Null | Value::NullArray => out.push(b"nil".to_vec()),
        Value::Boolean(value) => out.push(i64::from(*value).to_string().into_bytes()),
        Value::Double(value) => out.push(format_double(*value).as_bytes().to_vec()),
        Value::Array(items) | Value::Set(items) | Value::Push(items) => items.iter().for_each(|item| leaves(item, out)),
        Value::Map(pairs) => pairs.iter().for_each(|(key, value)| {
            leaves(key, out);
            leaves(value, out);
        }),
    }
}

/// The same bytes, or the same number: places have all their digits in RESP2, as Redis writes them.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let number = |bytes| std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<f64>().ok());
    let is_near = |one: f64, other: f64| (one - other).abs() <= 1e-9;
    one == other || number(one).zip(number(other)).is_some_and(|(one, other)| is_near(one, other))
}

/// What each door makes of a call; all must be the same words.
fn lowered(operations: &Operations, operation: &Operation, given: &[generate::Given], forms: &[u32]) -> [Words; 3] {
    let args = operation.args;
    let body = render::json(args, given, &mut Choices::new(forms));
    let (segments, query) = render::query(args, given, &mut Choices::new(forms));
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let envelope = format!("{{\"command\":\"{}\",\"payload\":{body}}}", operation.op);
    let envelope = stream::read(text::check(envelope.as_bytes()).expect("JSON")).expect("an envelope");
    let named = operations.find(&envelope.command).expect("an operation");
    [
        operation.lower(body.as_bytes()).expect(&body),
        operation.lower_query(&segments, &query).expect(&query),
        named.lower_checked(envelope.payload).expect(&body),
    ]
}

#[test]
fn a_call_is_the_same_through_every_door() {
    let operations = Operations::of(table().all());
    let tools = Tools::new(table().all(), "full").expect("all tools");
    let compared: Vec<&Operation> = operations.offered().filter(|operation| is_compared(operation.row)).collect();
    for seed in 0..SEQUENCES {
        let mut resp2 = Side::new(seed, Door::Resp, false);
        let mut resp3 = Side::new(seed, Door::Resp, true);
        let [mut body, mut path, mut envelope, mut agent] = [(); 4].map(|()| Side::new(seed, Door::Http, true));
        let mut history = String::new();
        for index in 0..CALLS {
            let numbers = numbers(seed * 1_000_003 + index, 260);
            // Every one of them in turn, so that none is left out.
            let operation = compared[(seed * CALLS + index) as usize % compared.len()];
            let row = operation.row;
            let given =
                generate::arguments(operation.args, &mut Choices::within(&numbers[..200], vocabulary_of(row.group)));
            let [by_body, by_path, by_envelope] = lowered(&operations, operation, &given, &numbers[200..]);
            assert_eq!(by_body, by_path, "{}", operation.op);
            assert_eq!(by_body, by_envelope, "{}", operation.op);
            if !operation.is_alias() {
                let mut words: Vec<Vec<u8>> = row.name.split(' ').map(|word| word.as_bytes().to_vec()).collect();
                words.extend(generate::words(row.args, &given));
                assert!(by_body.iter().eq(words.iter().map(Vec::as_slice)), "{}", operation.op);
            }
            let line: Vec<_> = by_body.iter().map(|word| word.escape_ascii().to_string()).collect();
            history += &format!("{}\n", line.join(" "));

            let in_resp3 = resp3.resp(&by_body);
            let in_resp2 = resp2.resp(&by_body);
            let [mut of_resp2, mut of_resp3] = [Vec::new(), Vec::new()];
            leaves(&in_resp2, &mut of_resp2);
            leaves(&in_resp3, &mut of_resp3);
            let is_same =
                of_resp2.len() == of_resp3.len() && of_resp2.iter().zip(&of_resp3).all(|(a, b)| is_same(a, b));
            assert!(is_same, "seed {seed}: RESP2 {in_resp2:?} and RESP3 {in_resp3:?} after\n{history}");

            let mut played = JsonReply::new(&row.returns);
            play(&in_resp3, &mut played);
            let expected = shown(played);
            for (name, side, words) in [
                ("body", &mut body, &by_body),
                ("path", &mut path, &by_path),
                ("envelope", &mut envelope, &by_envelope),
            ] {
                let got = side.json(operation, words);
                assert_eq!(expected, got, "seed {seed}: RESP3 (left) and {name} after\n{history}");
            }
            let arguments = render::json(operation.args, &given, &mut Choices::new(&numbers[200..]));
            told(&mut agent, &tools, operation, &arguments, &by_body, &expected);
        }
        let expected = resp3.test.dump();
        for mut side in [resp2, resp3, body, path, envelope, agent] {
            assert_eq!(side.test.dump(), expected, "seed {seed}: the data after\n{history}");
            side.test.engine.leave(&mut side.session);
        }
    }
}
