//! The HTTP door of the built server, beyond one call and one reply: other names, values as they are, calls that belong
//! together, lines of calls, and events.

#[path = "support/http_client.rs"]
mod http_client;
#[path = "support/server.rs"]
mod server;
#[path = "support/steady.rs"]
mod steady;

use std::thread;
use std::time::{Duration, Instant};

use http_client::{Client, Response};
use serde_json::{Value, json};
use server::{Server, eventually};
use synap_core::command::table;
use synap_core::execute::row::{Command, Flags, Kind};
use synap_core::execute::state::Rows;
use synap_core::grammar::generate::{self, Choices};
use synap_core::testing::{numbers, vocabulary_of};
use synap_protocols::json::render;
use synap_protocols::rest::operation::Operations;
use synap_protocols::rest::route;

impl Server {
    fn client(&self) -> Client {
        Client::connect(self.http)
    }
}

#[track_caller]
fn problem(response: &Response, status: u16, code: &str, detail: &str) {
    assert_eq!(response.status, status, "{}", response.body);
    assert_eq!(response.header("content-type"), Some("application/problem+json"));
    let document = response.json();
    assert_eq!(document["code"], code, "{document}");
    let found = document["detail"].as_str().expect("a sentence");
    assert!(found.contains(detail), "{found:?} does not say {detail:?}");
}

fn call(op: &str, payload: Value) -> Value {
    json!({"command": op, "payload": payload})
}

// ---- names ----

#[test]
fn names_that_people_type_are_there() {
    let server = Server::start();
    let mut client = server.client();
    assert_eq!(client.call("kv.set", r#"{"key":"k","value":"v","ex":100}"#), r#"{"result":true}"#);
    assert_eq!(client.get("/api/v1/kv/get/k").body, r#"{"value":"v"}"#);
    assert!(client.get("/api/v1/kv/ttl/k").status == 200);
    assert_eq!(client.delete("/api/v1/kv/del?keys=k").body, r#"{"removed":1}"#);
    client.call("hash.mset", r#"{"key":"h","fields":{"a":"1","b":"2"}}"#);
    assert_eq!(client.get("/api/v1/hash/getall/h").json()["fields"], json!({"a": "1", "b": "2"}));
    for (position, element) in [("left", "b"), ("RIGHT", "c"), ("left", "a")] {
        client.call("list.push", &json!({"key": "l", "elements": [element], "position": position}).to_string());
    }
    assert_eq!(client.get("/api/v1/list/range/l/0/-1").json()["elements"], json!(["a", "b", "c"]));
    let popped = client.call("list.pop", r#"{"key":"l","position":"right"}"#);
    assert!(popped.contains(r#""c""#), "{popped}");
    problem(&client.post("/api/v1/list/pop", r#"{"key":"l"}"#), 400, "ERR", "position");
    problem(&client.post("/api/v1/list/pop", r#"{"key":"l","position":"up"}"#), 400, "ERR", "left, right");
    client.call("set.add", r#"{"key":"s","members":["x"]}"#);
    assert_eq!(client.get("/api/v1/set/inter?keys=s").json()["members"], json!(["x"]));
    assert!(client.get("/api/v1/info").body.contains("redis_version"));
    let memory = client.get("/api/v1/info/memory").body;
    assert!(memory.contains("# Memory") && !memory.contains("redis_version"), "{memory}");
}

// ---- values as they are ----

#[test]
fn values_go_in_and_out_as_they_are() {
    let server = Server::start();
    let mut client = server.client();
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let put = client.request("PUT", "/api/v1/kv/a%2Fb?ex=100", Some(&bytes));
    assert_eq!((put.status, put.body.as_str()), (200, r#"{"result":true}"#));
    let mut raw = server.client().with_header("Accept: application/octet-stream");
    let got = raw.get("/api/v1/kv/get/a%2Fb");
    assert_eq!((got.status, got.header("content-type")), (200, Some("application/octet-stream")));
    assert_eq!(got.bytes, bytes);
    assert_eq!(raw.post("/api/v1/string/get", r#"{"key":"a/b"}"#).bytes, bytes);
    problem(&raw.get("/api/v1/kv/get/none"), 404, "ERR", "no such value");
    problem(&raw.get("/api/v1/hash/getall/h"), 406, "ERR", "only JSON");
    client.call("hash.set", r#"{"key":"h","field":"f","value":{"base64":"/wA="}}"#);
    assert_eq!(raw.get("/api/v1/hash/get/h/f").bytes, [0xff, 0]);
    problem(&raw.get("/api/v1/kv/get/h"), 409, "WRONGTYPE", "");
    problem(&client.request("PUT", "/api/v1/kv/k?nix=1", Some(b"v")), 400, "ERR", "nix");
    problem(&client.request("PUT", "/api/v1/kv/k?value=1", Some(b"v")), 400, "ERR", "more than once");
    problem(&client.request("PUT", "/api/v1/kv/a/b", Some(b"v")), 404, "ERR", "");
    assert_eq!(client.request("PUT", "/api/v1/kv/empty", Some(b"")).status, 200);
    assert_eq!(raw.get("/api/v1/kv/get/empty").bytes, b"");
}

// ---- calls that belong together ----

#[test]
fn a_pipeline_goes_on_after_an_error() {
    let server = Server::start();
    let mut client = server.client();
    let calls = json!([
        call("kv.set", json!({"key": "k", "value": "v"})),
        call("list.len", json!({"key": "k"})),
        {"command": "kv.get", "payload": {"key": "k"}, "request_id": 3},
    ]);
    let answers = client.post("/api/v1/pipeline", &calls.to_string()).json();
    assert_eq!(answers[1]["error"]["code"], "WRONGTYPE");
    assert_eq!(answers[2], json!({"request_id": 3, "success": true, "payload": {"value": "v"}}));
    problem(&client.post("/api/v1/pipeline", r#"{"command":"connection.ping"}"#), 400, "ERR", "an array");
}

#[test]
fn a_transaction_is_all_or_nothing() {
    let server = Server::start();
    let mut client = server.client();
    let calls = json!([
        {"command": "kv.set", "payload": {"key": "a", "value": "1"}, "request_id": "x"},
        call("list.push", json!({"key": "l", "elements": ["e"], "position": "left"})),
        call("hash.getall", json!({"key": "none"})),
        call("string.incr", json!({"key": "l"})),
    ]);
    let answers = client.post("/api/v1/transaction", &calls.to_string());
    assert_eq!(answers.status, 200, "{}", answers.body);
    let answers = answers.json();
    assert_eq!(answers[0], json!({"request_id": "x", "success": true, "payload": {"result": true}}));
    assert_eq!(answers[1]["payload"], json!({"length": 1}));
    assert_eq!(answers[2]["payload"], json!({"fields": {}}));
    assert_eq!(answers[3]["error"]["status"], 409);
    // One that cannot be taken keeps all from being done.
    for bad in [
        call("kv.set", json!({"key": "b"})),
        call("no.such", json!({})),
        call("transaction.exec", json!({})),
        call("kv.expire", json!({"key": "a", "seconds": 1, "nix": 1})),
    ] {
        let calls = json!([call("kv.del", json!({"keys": ["a"]})), bad]);
        let refused = client.post("/api/v1/transaction", &calls.to_string());
        assert!([400, 404].contains(&refused.status), "{}", refused.body);
        assert!(refused.body.contains("call 2") && refused.body.contains("nothing was done"), "{}", refused.body);
    }
    assert_eq!(client.get("/api/v1/kv/get/a").body, r#"{"value":"1"}"#);
    assert_eq!(client.post("/api/v1/transaction", "[]").body, "[]");
}

#[test]
fn a_transaction_has_conditions() {
    let server = Server::start();
    let mut client = server.client();
    client.call("kv.set", r#"{"key":"a","value":"1"}"#);
    client.call("hash.set", r#"{"key":"h","field":"version","value":7}"#);
    let mut run = |watch: Value| {
        let body = json!({"watch": watch, "calls": [call("string.incr", json!({"key": "count"}))]});
        client.post("/api/v1/transaction", &body.to_string())
    };
    assert_eq!(run(json!([{"key": "a", "equals": 1}, {"key": "h", "field": "version", "equals": 7}])).status, 200);
    problem(&run(json!([{"key": "a", "equals": "2"}])), 409, "ERR", "does not hold");
    problem(&run(json!([{"key": "a", "exists": false}])), 409, "ERR", "does not hold");
    assert_eq!(run(json!([{"key": "none", "equals": null}, {"key": "a", "exists": true}])).status, 200);
    problem(&run(json!([{"key": "a"}])), 400, "ERR", "equals");
    assert_eq!(client.get("/api/v1/kv/get/count").body, r#"{"value":"2"}"#);
}

/// Many who each read a number and add one to it, if it is still the same: none is lost.
#[test]
fn conditions_and_calls_are_one_moment() {
    let server = Server::start();
    server.client().call("kv.set", r#"{"key":"n","value":0}"#);
    let add = |mut client: Client| {
        for _ in 0..50 {
            loop {
                let now: i64 = client.get("/api/v1/kv/get/n").json()["value"].as_str().unwrap().parse().unwrap();
                let body = json!({
                    "watch": [{"key": "n", "equals": now}],
                    "calls": [call("kv.set", json!({"key": "n", "value": now + 1}))],
                });
                match client.post("/api/v1/transaction", &body.to_string()).status {
                    200 => break,
                    status => assert_eq!(status, 409),
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..4 {
            let client = server.client();
            scope.spawn(move || add(client));
        }
    });
    assert_eq!(server.client().get("/api/v1/kv/get/n").body, r#"{"value":"200"}"#);
}

// ---- lines ----

/// Begins a request whose lines are sent and answered as they come.
fn lines(server: &Server) -> Client {
    lines_of(server.client())
}

fn lines_of(mut client: Client) -> Client {
    let own: String = client.headers.iter().map(|line| format!("{line}\r\n")).collect();
    let head = format!(
        "POST /api/v1/command HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n\
         Transfer-Encoding: chunked\r\n{own}\r\n"
    );
    client.raw(head.as_bytes()).expect("room");
    client
}

#[test]
fn lines_are_answered_as_they_come() {
    let server = Server::start();
    let mut client = lines(&server);
    let first = format!("{}\n", call("kv.set", json!({"key": "k", "value": "v"})));
    client.send_piece(&first.as_bytes()[..20]).expect("room");
    client.send_piece(&first.as_bytes()[20..]).expect("room");
    let head = client.receive_head().expect("a head");
    assert_eq!((head.status, head.header("content-type")), (200, Some("application/x-ndjson")));
    let mut next = || String::from_utf8(client.piece().expect("a piece").expect("no end")).expect("text");
    assert_eq!(next(), "{\"request_id\":null,\"success\":true,\"payload\":{\"result\":true}}\n");
    let more = concat!(
        r#"{"command":"kv.get","payload":{"key":"k"},"request_id":1}"#,
        "\r\n\n",
        "{\n",
        r#"{"command":"list.len","payload":{"key":"k"},"request_id":2}"#,
        "\n",
        r#"{"command":"no.such","request_id":3}"#,
        "\n",
        r#"{"command":"server.flushall","request_id":4}"#,
        "\n",
        r#"{"command":"transaction.multi"}"#,
        "\n",
    );
    client.send_piece(more.as_bytes()).expect("room");
    client.send_piece(br#"{"command":"connection.ping","request_id":5}"#).expect("room");
    client.send_piece(b"").expect("room");
    let mut text = String::new();
    while let Some(piece) = client.piece().expect("a piece") {
        text += std::str::from_utf8(&piece).expect("text");
    }
    let answers: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert_eq!(answers.len(), 7, "{text}");
    assert_eq!(answers[0]["payload"], json!({"value": "v"}));
    assert_eq!(answers[1]["error"]["status"], 400);
    assert_eq!((&answers[2]["error"]["code"], &answers[2]["request_id"]), (&json!("WRONGTYPE"), &json!(2)));
    assert_eq!(answers[3]["error"]["status"], 404);
    assert_eq!(answers[4]["payload"], json!({"ok": true}));
    assert_eq!(answers[5]["error"]["status"], 404);
    assert_eq!((&answers[6]["payload"], &answers[6]["request_id"]), (&json!({"reply": "PONG"}), &json!(5)));
    // The connection is kept.
    assert_eq!(client.get("/api/v1/kv/get/k").body, r#"{"value":null}"#);
}

#[test]
fn any_number_of_lines_flows_through() {
    const COUNT: usize = 100_000;
    let server = Server::start();
    let mut reads = lines(&server);
    let mut writes = reads.another_end();
    let sent = thread::spawn(move || {
        for batch in 0..COUNT / 1000 {
            let text: String = (0..1000)
                .map(|at| {
                    let number = batch * 1000 + at;
                    format!("{{\"command\":\"kv.set\",\"payload\":{{\"key\":\"k{number}\",\"value\":{number}}},\"request_id\":{number}}}\n")
                })
                .collect();
            writes.send_piece(text.as_bytes()).expect("room");
        }
        writes.send_piece(b"").expect("room");
    });
    reads.receive_head().expect("a head");
    let mut text = Vec::new();
    let mut count = 0;
    while let Some(piece) = reads.piece().expect("a piece") {
        text.extend_from_slice(&piece);
        let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        for line in text.drain(..end).collect::<Vec<u8>>().split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
        {
            let expected = format!("{{\"request_id\":{count},\"success\":true,\"payload\":{{\"result\":true}}}}");
            assert_eq!(String::from_utf8_lossy(line), expected);
            count += 1;
        }
    }
    sent.join().expect("all was sent");
    assert_eq!(count, COUNT);
    assert_eq!(server.client().get("/api/v1/key/count").json()["count"], COUNT);
}

#[test]
fn a_line_that_waits_holds_back_those_behind_it_only() {
    let server = Server::start();
    let mut client = lines(&server);
    let text = [
        call("connection.ping", json!({})),
        call("list.blpop", json!({"keys": ["l"], "timeout": 20})),
        call("connection.echo", json!({"message": "behind"})),
    ];
    client.send_piece(text.iter().map(|line| format!("{line}\n")).collect::<String>().as_bytes()).expect("room");
    client.receive_head().expect("a head");
    let first = client.piece().expect("a piece").expect("no end");
    assert!(String::from_utf8_lossy(&first).contains("PONG"));
    until_blocked(&server, 1);
    server.client().call("list.rpush", r#"{"key":"l","elements":["e"]}"#);
    client.send_piece(b"").expect("room");
    let mut rest = Vec::new();
    while let Some(piece) = client.piece().expect("a piece") {
        rest.extend_from_slice(&piece);
    }
    let rest = String::from_utf8_lossy(&rest).into_owned();
    assert!(rest.contains(r#""element":"e""#) && rest.trim_end().ends_with(r#"{"message":"behind"}}"#), "{rest}");
    // And one that hangs up takes nothing.
    let mut gone = lines(&server);
    gone.send_piece(format!("{}\n", text[1]).as_bytes()).expect("room");
    until_blocked(&server, 1);
    gone.hang_up();
    until_blocked(&server, 0);
}

/// Answers that nobody takes hold up the lines, and not the server's memory.
#[test]
fn lines_wait_for_a_reader() {
    let server = Server::start();
    server.client().call("kv.set", &json!({"key": "large", "value": "x".repeat(1 << 20)}).to_string());
    let before = server.resident_bytes();
    let mut client = lines(&server);
    client.set_write_timeout(Duration::from_millis(500));
    let line = format!("{}\n", call("kv.get", json!({"key": "large"})));
    let mut sent = 0;
    // 64 bytes in, a million out: it must stop long before all is in.
    while sent < 10_000 && client.send_piece(line.repeat(10).as_bytes()).is_ok() {
        sent += 10;
    }
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 100 << 20, "{grown} bytes for {sent} lines");
}

// ---- events ----

fn until_blocked(server: &Server, count: usize) {
    let mut client = server.client();
    eventually("calls wait", || {
        let list = client.get("/api/v1/client/list").json();
        list["clients"].as_str().expect("text").lines().filter(|line| line.contains("flags=b")).count() == count
    });
}

/// An event stream, which has begun.
struct Events {
    client: Client,
    text: String,
}

impl Events {
    fn open(server: &Server, query: &str) -> Events {
        Events::of(server.client(), query)
    }

    /// A stream of whoever the client is.
    fn of(client: Client, query: &str) -> Events {
        let mut client = client.with_header("Accept: text/event-stream");
        client.send("GET", &format!("/api/v1/events?{query}"), None).expect("room");
        let head = client.receive_head().expect("a head");
        assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
        let mut events = Events { client, text: String::new() };
        assert_eq!(events.block(), ":");
        events
    }

    /// Lines up to the next blank one.
    fn block(&mut self) -> String {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let block = block.to_string();
                self.text = rest.to_string();
                return block;
            }
            let piece = self.client.piece().expect("a piece").expect("no end");
            self.text += std::str::from_utf8(&piece).expect("text");
        }
    }

    /// True when the connection ends in the middle, and not by an end of the stream.
    fn is_cut(&mut self) -> bool {
        self.client.piece().is_err()
    }

    /// The next event and its data.
    fn next(&mut self) -> (String, Value) {
        let block = self.block();
        let (name, data) = block.split_once('\n').unwrap_or_else(|| panic!("{block:?}"));
        let data = data.strip_prefix("data: ").expect("data");
        (name.strip_prefix("event: ").expect("a name").into(), serde_json::from_str(data).expect("JSON"))
    }
}

#[test]
fn messages_are_events() {
    let server = Server::start();
    let mut events = Events::open(&server, "channels=news&patterns=a%2A");
    let mut client = server.client();
    for (channel, message) in [("news", "1"), ("other", "2"), ("abc", "l\nm")] {
        client.call("pubsub.publish", &json!({"channel": channel, "message": message}).to_string());
    }
    client.call("pubsub.publish", r#"{"channel":"news","message":{"base64":"/w=="}}"#);
    let message = |data: Value| ("message".to_string(), data);
    assert_eq!(events.next(), message(json!({"channel": "news", "message": "1"})));
    assert_eq!(events.next(), message(json!({"pattern": "a*", "channel": "abc", "message": "l\nm"})));
    assert_eq!(events.next(), message(json!({"channel": "news", "message": {"base64": "/w=="}})));
    // Closing the request ends it.
    events.client.hang_up();
    eventually("nobody listens", || {
        client.get("/api/v1/pubsub/numsub?channels=news").body.contains(r#""news":0"#)
            || client.get("/api/v1/pubsub/channels").json()["channels"] == json!([])
    });
}

#[test]
fn changes_of_keys_are_events_with_values() {
    let server = Server::start();
    let mut events = Events::open(&server, "keys=a&key_patterns=user:*");
    let mut client = server.client();
    client.call("kv.set", r#"{"key":"a","value":"1"}"#);
    client.call("kv.set", r#"{"key":"b","value":"1"}"#);
    client.call("hash.set", r#"{"key":"user:1","field":"name","value":"Ann"}"#);
    let mut elsewhere = server.client().with_header("Synap-Database: 1");
    elsewhere.call("kv.set", r#"{"key":"a","value":"other"}"#);
    client.delete("/api/v1/kv/del?keys=a&keys=b");
    client.call("kv.set", &json!({"key": "a", "value": "x".repeat(100_000)}).to_string());
    client.call("server.flushall", "");
    let change = |data: Value| ("change".to_string(), data);
    assert_eq!(events.next(), change(json!({"key": "a", "event": "set", "type": "string", "value": "1"})));
    assert_eq!(events.next(), change(json!({"key": "user:1", "event": "hset", "type": "hash"})));
    assert_eq!(events.next(), change(json!({"key": "a", "event": "del", "type": null})));
    assert_eq!(events.next(), change(json!({"key": "a", "event": "set", "type": "string"})));
    assert_eq!(events.next(), change(json!({"key": null, "event": "flush", "type": null})));
    problem(&client.get("/api/v1/events"), 400, "ERR", "must be given");
    problem(&client.get("/api/v1/events?key=a"), 400, "ERR", "not known");
}

#[test]
fn a_call_that_waits_is_an_event() {
    let server = Server::start();
    let mut client = server.client().with_header("Accept: text/event-stream");
    client.send("POST", "/api/v1/list/blpop", Some(br#"{"keys":["l"],"timeout":20}"#)).expect("room");
    assert_eq!(client.receive_head().expect("a head").header("content-type"), Some("text/event-stream"));
    until_blocked(&server, 1);
    server.client().call("list.rpush", r#"{"key":"l","elements":["e"]}"#);
    let mut text = Vec::new();
    while let Some(piece) = client.piece().expect("a piece") {
        text.extend_from_slice(&piece);
    }
    let text = String::from_utf8(text).expect("text");
    assert_eq!(text, "event: reply\ndata: {\"popped\":{\"key\":\"l\",\"element\":\"e\"}}\n\n");
    problem(&client.get("/api/v1/list/len/l"), 406, "ERR", "POST");
    // Closing the request ends what it waited for.
    client.send("POST", "/api/v1/list/blpop", Some(br#"{"keys":["l"],"timeout":0}"#)).expect("room");
    until_blocked(&server, 1);
    client.hang_up();
    until_blocked(&server, 0);
}

/// Somebody listens and does not read: the server lets go of it, and of what it kept for it.
#[test]
fn a_listener_that_does_not_read_is_cut_off() {
    let server = Server::start();
    let events = Events::open(&server, "channels=c");
    let mut client = server.client();
    let message = json!({"channel": "c", "message": "x".repeat(1 << 20)}).to_string();
    let begin = Instant::now();
    while client.call("pubsub.publish", &message) != r#"{"receivers":0}"# {
        assert!(begin.elapsed() < Duration::from_secs(50), "it is never cut off");
    }
    drop(events);
}

#[test]
fn killed_listeners_end() {
    let server = Server::start();
    let mut events = Events::open(&server, "channels=c");
    let mut client = server.client();
    let list = client.get("/api/v1/client/list").json();
    let line = list["clients"].as_str().expect("text").lines().find(|line| line.contains("sub=1")).expect("a listener");
    let id = line.split(' ').next().and_then(|id| id.strip_prefix("id=")).expect("an id").to_string();
    client.call("client.kill", &json!({"filters": [{"id": id}]}).to_string());
    assert!(events.client.piece().is_err(), "it is cut");
}

// ---- rights ----

/// Gives ann these rules; her password is `secret`.
fn set_ann(server: &Server, rules: &[&str]) {
    server.client().call("acl.setuser", &json!({"username": "ann", "rules": rules}).to_string());
}

fn ann(server: &Server) -> Client {
    server.client().with_header("Authorization: Basic YW5uOnNlY3JldA==")
}

#[test]
fn who_may_not_hear_of_something_is_refused() {
    let server = Server::start();
    set_ann(&server, &["on", ">secret", "~ann:*", "%W~bob:*", "&ann:*", "+@all"]);
    let mut client = ann(&server);
    let mut refused = |query: &str, detail: &str| {
        problem(&client.get(&format!("/api/v1/events?{query}")), 403, "NOPERM", detail);
    };
    for keys in ["keys=carl:1", "keys=ann:1&keys=carl:1", "keys=bob:1", "keys=ann:1&key_patterns=*&keys=carl:1"] {
        refused(keys, "access a key");
    }
    for channels in
        ["channels=bob", "channels=ann:1&channels=bob", "patterns=*", "patterns=ann:?", "keys=ann:1&channels=b"]
    {
        refused(channels, "access a channel");
    }
    Events::of(ann(&server), "keys=ann:1&key_patterns=*&channels=ann:1&patterns=ann:*");
    set_ann(&server, &["-subscribe"]);
    refused("channels=ann:1", "'subscribe'");
    Events::of(ann(&server), "patterns=ann:*");
    set_ann(&server, &["-get"]);
    refused("keys=ann:1", "access a key");
    refused("key_patterns=*", "'get'");
    set_ann(&server, &["off"]);
    problem(&client.get("/api/v1/events?patterns=ann:*"), 401, "WRONGPASS", "");
}

#[test]
fn who_listens_to_a_pattern_hears_of_keys_that_it_may_read() {
    let server = Server::start();
    set_ann(&server, &["on", ">secret", "~ann:*", "%W~bob:*", "+@all"]);
    let mut events = Events::of(ann(&server), "key_patterns=*");
    let mut admin = server.client();
    for key in ["carl:1", "bob:1", "ann:1"] {
        admin.call("kv.set", &json!({"key": key, "value": "v"}).to_string());
    }
    assert_eq!(events.next().1["key"], "ann:1");
}

#[test]
fn who_loses_the_right_to_what_it_hears_is_cut_off() {
    let server = Server::start();
    set_ann(&server, &["on", ">secret", "~ann:*", "&ann:*", "+@all"]);
    let [mut channel, mut pattern, mut key, mut keys] =
        ["channels=ann:1", "patterns=ann:*", "keys=ann:1", "key_patterns=*"]
            .map(|query| Events::of(ann(&server), query));
    let mut admin = server.client();
    let mut set = |key: &str| admin.call("kv.set", &json!({"key": key, "value": "v"}).to_string());

    set_ann(&server, &["resetchannels", "&ann:*", "~more:*"]);
    set_ann(&server, &["resetchannels", "&other"]);
    assert!(channel.is_cut() && pattern.is_cut());
    // Rights to channels are none to keys.
    set("ann:1");
    assert_eq!((&key.next().1["key"], &keys.next().1["key"]), (&json!("ann:1"), &json!("ann:1")));

    set_ann(&server, &["resetkeys", "~more:*"]);
    assert!(key.is_cut());
    set("ann:1");
    set("more:1");
    assert_eq!(keys.next().1["key"], "more:1");
    set_ann(&server, &["-get"]);
    assert!(keys.is_cut());

    set_ann(&server, &["reset", "on", ">secret", "~*", "&*", "+@all"]);
    let mut key = Events::of(ann(&server), "keys=ann:1");
    let mut stream = lines_of(ann(&server));
    stream.send_piece(format!("{}\n", call("connection.ping", json!({}))).as_bytes()).expect("room");
    stream.receive_head().expect("a head");
    stream.piece().expect("a piece").expect("no end");
    server.client().call("acl.deluser", r#"{"usernames":["ann"]}"#);
    assert!(key.is_cut() && stream.piece().is_err());
}

#[test]
fn streams_end_with_the_key_that_they_came_with() {
    let server = Server::start();
    set_ann(&server, &["on", ">secret", "~*", "&*", "+@all"]);
    let mut admin = server.client();
    let mut create = || -> (String, Client) {
        let key: Value = serde_json::from_str(&admin.call("apikey.create", r#"{"username":"ann"}"#)).expect("JSON");
        let secret = key["secret"].as_str().expect("a secret");
        let client = server.client().with_header(&format!("Authorization: Bearer {secret}"));
        (key["id"].as_str().expect("an id").into(), client)
    };
    let ((id, revoked), (_, kept)) = (create(), create());
    let mut ends = Events::of(revoked, "keys=k");
    let mut goes_on = Events::of(kept, "keys=k");
    server.client().call("apikey.revoke", &json!({"id": id}).to_string());
    assert!(ends.is_cut());
    server.client().call("kv.set", r#"{"key":"k","value":"v"}"#);
    assert_eq!(goes_on.next().1["key"], "k");
}

#[test]
fn conditions_are_for_who_may_read_the_key() {
    let server = Server::start();
    server.client().call("hash.set", r#"{"key":"bob:1","field":"f","value":7}"#);
    set_ann(&server, &["on", ">secret", "~ann:*", "%W~bob:*", "+@all"]);
    let mut client = ann(&server);
    let mut run = |watch: Value, call: Value| {
        client.post("/api/v1/transaction", &json!({"watch": watch, "calls": [call]}).to_string())
    };
    let incr = || call("string.incr", json!({"key": "ann:count"}));
    for watch in [
        json!({"key": "bob:1", "exists": true}),
        json!({"key": "bob:1", "exists": false}),
        json!({"key": "bob:1", "field": "f", "equals": 7}),
        json!({"key": "carl:1", "equals": null}),
    ] {
        // Whether it would have held is not told either.
        problem(&run(json!([watch, {"key": "ann:1", "exists": true}]), incr()), 403, "NOPERM", "access a key");
    }
    problem(&run(json!([]), call("string.incr", json!({"key": "carl:1"}))), 403, "NOPERM", "call 1");
    assert_eq!(run(json!([{"key": "ann:1", "exists": false}]), incr()).status, 200);
    set_ann(&server, &["-get"]);
    problem(&run(json!([{"key": "ann:1", "exists": false}]), incr()), 403, "NOPERM", "");
    assert_eq!(server.client().get("/api/v1/kv/get/ann:count").body, r#"{"value":"1"}"#);
}

// ---- all doors ----

/// What is answered in an order, or by a chance, that each server has for itself.
fn is_of_one_server(row: &Command) -> bool {
    let words = ["RAND", "SPOP", "SCAN", "KEYS", "MEMORY", "MIGRATE", "DEBUG"];
    matches!(row.kind, Kind::Walk | Kind::Session)
        || !steady::is_steady(row)
        || words.iter().any(|word| row.name.contains(word))
}

/// The clock goes on between the servers.
fn is_about_time(word: &[u8]) -> bool {
    let word = String::from_utf8_lossy(word);
    ["EX", "PX", "EXAT", "PXAT", "SETEX", "PSETEX", "RESTORE"].contains(&&*word) || word.contains("EXPIRE")
}

/// The same calls to four servers, each through another door: the same replies, and the same data in the end.
#[test]
fn one_call_through_every_door_of_the_server() {
    let [posts, wraps, streams, paths] = [(); 4].map(|()| Server::start());
    let mut clients = [&posts, &wraps, &paths].map(Server::client);
    let data = json!([
        call("kv.set", json!({"key": "text", "value": "hello"})),
        call("kv.set", json!({"key": "number", "value": 10})),
        call("list.rpush", json!({"key": "list", "elements": ["a", "b", "1"]})),
        call("set.add", json!({"key": "ints", "members": [1, 2, 3]})),
        call("hash.set", json!({"key": "hash", "fields": {"a": 1, "b": 2}})),
        call("zset.add", json!({"key": "zset", "members": [[1, "a"], [2, "b"]]})),
    ]);
    let mut lines = lines(&streams);
    for client in &mut clients {
        assert_eq!(client.post("/api/v1/pipeline", &data.to_string()).status, 200);
    }
    let text: String = data.as_array().expect("calls").iter().map(|call| format!("{call}\n")).collect();
    lines.send_piece(text.as_bytes()).expect("room");
    lines.receive_head().expect("a head");
    let mut read = LinesOf { client: lines, text: String::new() };
    for _ in 0..6 {
        read.next();
    }

    let operations = Operations::of(table().all());
    for operation in operations.offered().filter(|operation| !is_of_one_server(operation.row)) {
        let row = operation.row;
        for seed in 0..2 {
            if row.flags.has(Flags::BLOCKING) {
                continue;
            }
            let numbers = numbers(seed, 200);
            let given = generate::arguments(operation.args, &mut Choices::within(&numbers, vocabulary_of(row.group)));
            let body = render::json(operation.args, &given, &mut Choices::new(&numbers));
            let words = operation.lower(body.as_bytes()).expect("they were generated");
            if words.iter().any(is_about_time) {
                continue;
            }
            let url = format!("/api/v1{}", route::path(operation.op));
            let [post, wrap, path] = &mut clients;
            let posted = post.post(&url, &body);
            let envelope = format!("{{\"command\":\"{}\",\"payload\":{body}}}", operation.op);
            let wrapped = wrap.post("/api/v1/command", &envelope).json();
            read.client.send_piece(format!("{}\n", envelope.replace(['\n', '\r'], " ")).as_bytes()).expect("room");
            let streamed: Value = serde_json::from_str(&read.next()).expect("JSON");
            let (segments, query) = render::query(operation.args, &given, &mut Choices::new(&numbers));
            let segments: String = segments.iter().map(|segment| format!("/{segment}")).collect();
            let got = match (operation.verbs.get, operation.verbs.delete) {
                (true, _) => path.get(&format!("{url}{segments}?{query}")),
                (_, true) => path.delete(&format!("{url}{segments}?{query}")),
                _ => path.post(&url, &body),
            };
            assert_eq!((posted.status, &posted.body), (got.status, &got.body), "{} {body}", operation.op);
            assert_eq!(wrapped, streamed, "{} {body}", operation.op);
            match posted.status {
                200 => assert_eq!(posted.json(), wrapped["payload"], "{} {body}", operation.op),
                status => {
                    assert_eq!(wrapped["error"]["status"], status, "{} {body}", operation.op);
                    assert_eq!(posted.json()["code"], wrapped["error"]["code"]);
                    assert_eq!(posted.json()["detail"], wrapped["error"]["message"]);
                }
            }
        }
    }
    let keys =
        ["text", "number", "list", "list2", "set", "ints", "hash", "hash2", "zset", "zset2", "places", "none", ""];
    let dumps = |server: &Server| {
        let mut client = server.client();
        keys.map(|key| client.post("/api/v1/key/dump", &json!({"key": key}).to_string()).body)
    };
    let expected = dumps(&posts);
    for server in [&wraps, &streams, &paths] {
        assert_eq!(dumps(server), expected);
    }
}

/// Lines of a response that comes in chunks.
struct LinesOf {
    client: Client,
    text: String,
}

impl LinesOf {
    fn next(&mut self) -> String {
        loop {
            if let Some((line, rest)) = self.text.split_once('\n') {
                let line = line.to_string();
                self.text = rest.to_string();
                return line;
            }
            let piece = self.client.piece().expect("a piece").expect("no end");
            self.text += std::str::from_utf8(&piece).expect("text");
        }
    }
}
