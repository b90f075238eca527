//! The HTTP door of the built server.

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
use server::Server;
use synap_core::command::table;
use synap_core::execute::row::{Command, Flags};
use synap_core::execute::state::Rows;
use synap_core::grammar::generate::{self, Choices};
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
    assert_eq!((&document["status"], &document["code"]), (&json!(status), &json!(code)), "{document}");
    let found = document["detail"].as_str().expect("a sentence");
    assert!(found.contains(detail), "{found:?} does not say {detail:?}");
}

#[test]
fn the_first_call_of_the_readme_works() {
    let server = Server::start();
    let mut client = server.client();
    let set = client.post("/api/v1/hash/set", r#"{"key":"user:1","field":"name","value":"Ann"}"#);
    assert_eq!((set.status, set.body.as_str()), (200, r#"{"added":1}"#));
    assert_eq!(set.header("content-type"), Some("application/json"));
    assert_eq!(client.get("/api/v1/hash/get/user:1/name").body, r#"{"value":"Ann"}"#);
}

#[test]
fn bytes_survive_in_every_form() {
    let server = Server::start();
    let mut client = server.client();
    let values = [
        (r#""caf\u00e9""#, json!("café")),
        ("9007199254740993", json!("9007199254740993")),
        ("1.0", json!("1.0")),
        ("1e400", json!("1e400")),
        (r#"{"base64":"/wA="}"#, json!({"base64": "/wA="})),
        (r#"{"base64":"Y2Fmw6k="}"#, json!("café")),
        (r#"{"b": [1, 2]}"#, json!(r#"{"b":[1,2]}"#)),
        (r#""""#, json!("")),
    ];
    for (given, expected) in values {
        client.call("string.set", &format!(r#"{{"key":"bytes","value":{given}}}"#));
        assert_eq!(client.get("/api/v1/string/get/bytes").json(), json!({"value": expected}), "{given}");
    }
    // The same bytes by another way in, as a key.
    client.call("string.set", r#"{"key":{"base64":"/yc="},"value":1}"#);
    assert_eq!(client.get("/api/v1/string/get/%FF'").body, r#"{"value":"1"}"#);
}

#[test]
fn reads_are_got_by_path_and_query() {
    let server = Server::start();
    let mut client = server.client();
    client.call("zset.add", r#"{"key":"get z","members":[[1,"a"],[2.5,"b"]]}"#);
    assert_eq!(client.get("/api/v1/zset/rank/get%20z/b").json()["place"], 1);
    assert_eq!(client.get("/api/v1/zset/rank?key=get+z&member=b").json()["place"], 1);
    let ranged = client.get("/api/v1/zset/range/get%20z/0/-1?withscores");
    assert_eq!(ranged.status, 200, "{}", ranged.body);
    assert!(ranged.body.contains("2.5"), "{}", ranged.body);
    assert_eq!(client.get("/api/v1/string/mget?keys=no1&keys=no2").json()["values"], json!([null, null]));
    assert_eq!(client.get("/api/v1/connection/echo/a%2Fb+c").json(), json!({"message": "a/b+c"}));
    assert_eq!(client.get("/api/v1/connection/ping").json(), json!({"reply": "PONG"}));
    assert!(client.get("/api/v1/server/info?section=server").body.contains("redis_version"));
    assert!(client.get("/api/v1/command/docs?command_names=get").json()["docs"]["get"].is_object());
    let head = client.request("HEAD", "/api/v1/connection/ping", None);
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(client.get("/api/v1/string/get/nothing").body, r#"{"value":null}"#);
}

#[test]
fn deletions_are_deletes() {
    let server = Server::start();
    let mut client = server.client();
    client.call("hash.set", r#"{"key":"delete h","fields":{"a":"1","b":"2","c":"3"}}"#);
    assert_eq!(client.delete("/api/v1/hash/del/delete%20h?fields=a&fields=x").body, r#"{"removed":1}"#);
    client.call("set.add", r#"{"key":"delete s","members":["a","b"]}"#);
    assert_eq!(client.delete("/api/v1/set/rem/delete%20s?members=a").json()["removed"], 1);
    assert_eq!(client.delete("/api/v1/key/del?keys=delete%20h&keys=delete%20s").body, r#"{"removed":2}"#);
}

#[test]
fn errors_are_problems() {
    let server = Server::start();
    let mut client = server.client();
    client.call("string.set", r#"{"key":"errors","value":"x"}"#);
    problem(&client.get("/api/v1/hash/get/errors/f"), 409, "WRONGTYPE", "wrong kind of value");
    problem(&client.post("/api/v1/string/incr", r#"{"key":"errors"}"#), 400, "ERR", "not an integer");
    problem(&client.post("/api/v1/string/set", r#"{"key":"k"}"#), 400, "ERR", "value");
    problem(&client.post("/api/v1/string/set", r#"{"key":"k","value":"v","nix":1}"#), 400, "ERR", "nix");
    problem(&client.post("/api/v1/string/set", r#"{"key":"k","key":"l","value":"v"}"#), 400, "ERR", "key");
    problem(&client.post("/api/v1/string/set", r#"{"key":"k","value":"v""#), 400, "ERR", "not JSON at byte");
    problem(&client.request("POST", "/api/v1/string/get", Some(b"{\"key\":\"\xff\"}")), 400, "ERR", "not UTF-8");
    problem(&client.post("/api/v1/string/get?key=k", ""), 400, "ERR", "body");
    problem(&client.get("/api/v1/string/get/%zz"), 400, "ERR", "percent-encoded");
    problem(&client.get("/api/v1/string/get/a/b"), 400, "ERR", "too many segments");
    problem(&client.get("/api/v1/string/get"), 400, "ERR", "key");
}

#[test]
fn paths_and_methods_that_are_not_there() {
    let server = Server::start();
    let mut client = server.client();
    for path in ["/", "/api", "/api/v1", "/api/v1/", "/api/v2/string/get", "/api/v1/string", "/api/v1/string/no"] {
        problem(&client.get(path), 404, "ERR", "nothing is at this path");
    }
    for (method, path, allow) in [
        ("GET", "/api/v1/string/set/k/v", "POST"),
        ("DELETE", "/api/v1/string/get/k", "GET, HEAD"),
        ("DELETE", "/api/v1/string/get", "GET, HEAD, POST"),
        ("PUT", "/api/v1/string/get", "GET, HEAD, POST"),
        ("PUT", "/api/v1/string/get/k", "GET, HEAD"),
        ("POST", "/api/v1/string/get/k", "GET, HEAD"),
        ("OPTIONS", "/api/v1/string/set/k", "POST"),
        ("PATCH", "/api/v1/key/del", "DELETE, POST"),
        ("GET", "/api/v1/command", "POST"),
        ("POST", "/health", "GET, HEAD"),
        ("DELETE", "/openapi.json", "GET, HEAD"),
        ("GET", "/api/v1/pipeline", "POST"),
        ("GET", "/api/v1/transaction", "POST"),
        ("POST", "/api/v1/events", "GET"),
        ("GET", "/api/v1/kv/key", "PUT"),
        ("PUT", "/api/v1/kv/get", "GET, HEAD, POST"),
    ] {
        let response = client.request(method, path, None);
        problem(&response, 405, "ERR", allow);
        assert_eq!(response.header("allow"), Some(allow), "{method} {path}");
    }
    for op in ["transaction/multi", "pubsub/subscribe", "connection/auth", "server/monitor"] {
        problem(&client.post(&format!("/api/v1/{op}"), ""), 404, "ERR", "acts on the connection");
    }
}

#[test]
fn the_server_is_well() {
    let health = Server::start().client().get("/health");
    assert_eq!((health.status, health.body.as_str()), (200, r#"{"status":"ok"}"#));
}

#[test]
fn a_connection_is_kept() {
    let server = Server::start();
    let mut client = server.client();
    for number in 0..100 {
        client.call("string.set", &format!(r#"{{"key":"kept","value":{number}}}"#));
    }
    // Two requests at once are answered in order.
    client.send("GET", "/api/v1/connection/echo/1", None).expect("room");
    client.send("GET", "/api/v1/connection/echo/2", None).expect("room");
    for message in ["1", "2"] {
        assert_eq!(client.receive("GET").expect("an answer").json(), json!({"message": message}));
    }
}

#[test]
fn databases_are_chosen_by_header() {
    let server = Server::start();
    let mut other = server.client().with_header("Synap-Database: 3");
    other.call("string.set", r#"{"key":"database","value":"3"}"#);
    assert_eq!(server.client().get("/api/v1/string/get/database").body, r#"{"value":null}"#);
    assert_eq!(other.get("/api/v1/string/get/database").body, r#"{"value":"3"}"#);
    let mut none = server.client().with_header("Synap-Database: 16");
    problem(&none.get("/api/v1/string/get/database"), 400, "ERR", "out of range");
}

#[test]
fn pages_of_other_sites_are_refused() {
    let server = Server::start();
    let mut own = server.client().with_header("Origin: http://localhost");
    assert_eq!(own.get("/api/v1/connection/ping").status, 200);
    for origin in ["http://evil.example", "null", "http://localhost.evil.example", "http://localhost:1"] {
        let mut other = server.client().with_header(&format!("Origin: {origin}"));
        problem(&other.post("/api/v1/connection/ping", ""), 403, "ERR", "other sites");
    }
    let mut both = server.client().with_header("Origin: http://localhost\r\nOrigin: http://evil.example");
    problem(&both.get("/api/v1/connection/ping"), 403, "ERR", "other sites");
}

#[test]
fn pages_under_foreign_names_are_refused() {
    let ask = |server: &Server, host: &str| {
        let mut client = server.client();
        client.raw(format!("GET /health HTTP/1.1\r\n{host}\r\n").as_bytes()).expect("room");
        client.receive("GET").expect("an answer")
    };
    let server = Server::start();
    for host in ["localhost", "LocalHost:15500", "127.0.0.1:1", "[::1]:15500", "192.168.0.1"] {
        assert_eq!(ask(&server, &format!("Host: {host}\r\n")).status, 200, "{host}");
    }
    for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", ""] {
        problem(&ask(&server, &format!("Host: {host}\r\n")), 421, "ERR", "not known by that Host");
    }
    problem(&ask(&server, ""), 400, "ERR", "no Host");
    problem(&ask(&server, "Host: localhost\r\nHost: evil.example\r\n"), 400, "ERR", "more than one Host");
    // A whole address in the first line stands above the header.
    let absolute = |address: &str| {
        let mut client = server.client();
        client.raw(format!("GET {address} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).expect("room");
        client.receive("GET").expect("an answer")
    };
    assert_eq!(absolute("http://127.0.0.1:1/health").status, 200);
    problem(&absolute("http://evil.example/health"), 421, "ERR", "not known by that Host");
    let known = Server::with(&["--http-allowed-hosts", "a.example b.example"]);
    assert_eq!(ask(&known, "Host: B.example:80\r\n").status, 200);
    assert_eq!(ask(&known, "Host: c.example\r\n").status, 421);
}

#[test]
fn browsers_do_not_guess() {
    let server = Server::start();
    let mut client = server.client();
    for path in ["/health", "/openapi.json", "/docs", "/api/v1/string/get/k", "/nothing"] {
        let response = client.get(path);
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(response.header("access-control-allow-origin"), None, "{path}");
    }
    let page = client.get("/docs");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.header("content-security-policy").is_some_and(|policy| policy.starts_with("default-src 'none'")));
    assert!(!page.body.contains("http://") && !page.body.contains("https://"), "it loads nothing from elsewhere");
}

#[test]
fn a_password_is_asked_for() {
    let server = Server::with(&["--requirepass", "secret"]);
    let asks = |response: Response, code| {
        problem(&response, 401, code, "");
        assert_eq!(response.header("www-authenticate"), Some(r#"Basic realm="synap", charset="UTF-8""#));
    };
    let with = |credentials: &str| server.client().with_header(&format!("Authorization: {credentials}"));
    asks(server.client().get("/api/v1/connection/ping"), "NOAUTH");
    asks(with("Basic ZGVmYXVsdDp3cm9uZw==").get("/api/v1/connection/ping"), "WRONGPASS");
    asks(with("Bearer secret").get("/api/v1/connection/ping"), "WRONGPASS");
    for credentials in ["Basic ZGVmYXVsdDpzZWNyZXQ=", "Basic OnNlY3JldA=="] {
        assert_eq!(with(credentials).get("/api/v1/connection/ping").status, 200);
    }
    // Whether it lives is no secret.
    assert_eq!(server.client().get("/health").status, 200);
}

#[test]
fn bodies_are_limited() {
    let server = Server::start();
    const LIMIT: usize = 64 << 20;
    let head = |length: &str| format!("POST /api/v1/string/set HTTP/1.1\r\nHost: localhost\r\n{length}\r\n\r\n");
    let mut announced = server.client();
    announced.raw(head(&format!("Content-Length: {}", LIMIT + 1)).as_bytes()).expect("room");
    problem(&announced.receive("POST").expect("an answer"), 413, "ERR", "larger than 67108864 bytes");
    assert!(announced.is_closed());

    let mut chunked = server.client();
    chunked.raw(head("Transfer-Encoding: chunked").as_bytes()).expect("room");
    let chunk = [format!("{:x}\r\n", 1 << 20).into_bytes(), vec![b' '; 1 << 20], b"\r\n".to_vec()].concat();
    // The server may close before it has read the last one.
    for _ in 0..=LIMIT >> 20 {
        if chunked.raw(&chunk).is_err() {
            break;
        }
    }
    if let Ok(response) = chunked.receive("POST") {
        problem(&response, 413, "ERR", "larger than 67108864 bytes");
    }

    let mut large = server.client();
    let value = "x".repeat(8 << 20);
    large.call("string.set", &format!(r#"{{"key":"large","value":"{value}"}}"#));
    assert_eq!(large.get("/api/v1/string/get/large").json()["value"], json!(value));
    large.delete("/api/v1/key/del?keys=large");

    let mut packed = server.client().with_header("Content-Encoding: gzip");
    problem(&packed.post("/api/v1/connection/ping", "x"), 415, "ERR", "Content-Encoding");
    let mut long = server.client();
    let too_long = long.get(&format!("/api/v1/string/get/{}", "k".repeat(128 << 10)));
    problem(&too_long, 431, "ERR", "the head of the request is too large");
}

/// What is no request is refused, whatever it is, and the next client is served.
#[test]
fn malformed_requests_are_the_clients_fault() {
    let server = Server::start();
    let head = "Host: localhost\r\n";
    let many: String = (0..100).map(|number| format!("X-{number}: 1\r\n")).collect();
    for request in [
        "\r\n\r\n\r\nnonsense\r\n\r\n".to_string(),
        "*1\r\n$4\r\nPING\r\n".into(),
        format!("GET  HTTP/1.1\r\n{head}\r\n"),
        format!("GET /health HTTP/9.9\r\n{head}\r\n"),
        format!("GET /health HTTP/1.1\r\n{head}no colon\r\n\r\n"),
        format!("GET /health HTTP/1.1\r\n{head}{many}\r\n"),
        format!("POST /api/v1/kv/set HTTP/1.1\r\n{head}Content-Length: -1\r\n\r\n"),
        format!("POST /api/v1/kv/set HTTP/1.1\r\n{head}Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx"),
        format!("POST /api/v1/kv/set HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
        format!("POST /api/v1/kv/set HTTP/1.1\r\n{head}Content-Length: 1000001\r\n\r\n{}", "[".repeat(1_000_001)),
        format!("POST /api/v1/command HTTP/1.1\r\n{head}Content-Length: 9\r\n\r\n{{\"a\":\"\u{1}\"}}"),
        format!("GET /api/v1/kv/get/%f HTTP/1.1\r\n{head}\r\n"),
    ] {
        let mut client = server.client();
        client.raw(request.as_bytes()).expect("room");
        // A connection that is closed without a word is an answer too.
        if let Ok(response) = client.receive("GET") {
            assert!((400..500).contains(&response.status), "{} {request:.80?}", response.status);
            problem(&response, response.status, "ERR", "");
        }
    }
    assert_eq!(server.client().get("/health").status, 200);
}

#[test]
fn connections_are_limited() {
    let server = Server::with(&["--maxclients", "3"]);
    let mut kept: Vec<Client> = (0..3).map(|_| server.client()).collect();
    kept.iter_mut().for_each(|client| assert_eq!(client.get("/health").status, 200));
    let mut refused = server.client();
    let answer = refused.receive("GET").expect("it says why");
    assert_eq!((answer.status, &answer.json()["code"]), (503, &json!("ERR")));
    assert!(refused.is_closed());
    drop(kept.pop());
    server::eventually("there is room again", || {
        let mut client = server.client();
        client.send("GET", "/health", None).is_ok() && client.receive("GET").is_ok_and(|answer| answer.status == 200)
    });
}

/// Nobody is kept from learning that the server lives.
#[test]
fn the_server_is_well_while_a_long_call_runs() {
    let server = Server::start();
    let elements: Vec<String> = (0..400_000_u32).map(|number| number.wrapping_mul(0x9e37_79b1).to_string()).collect();
    server.client().call("list.rpush", &json!({"key": "l", "elements": elements}).to_string());
    let (mut sorts, mut client) = (server.client(), server.client());
    assert_eq!(client.get("/health").status, 200);
    sorts.send("POST", "/api/v1/key/sort", Some(br#"{"key":"l","alpha":true,"store":"m"}"#)).expect("room");
    let mut asked = 0;
    let sorting = thread::spawn(move || sorts.receive("POST").expect("an answer").status);
    while !sorting.is_finished() {
        assert_eq!(client.get("/health").status, 200);
        asked += 1;
    }
    assert_eq!(sorting.join().expect("no panic"), 200);
    assert!(asked > 3, "it was answered {asked} times");
}

// ---- calls that wait ----

/// Waits until a call with this name waits.
fn until_blocked(client: &mut Client, count: usize, row: &str) {
    let begin = Instant::now();
    let blocked = |client: &mut Client| {
        let list = client.get("/api/v1/client/list").json();
        let lines = list["clients"].as_str().expect("text").lines();
        lines.filter(|line| line.contains(&format!("cmd={row}")) && line.contains("flags=b")).count()
    };
    while blocked(client) != count {
        assert!(begin.elapsed() < Duration::from_secs(10), "{count} {row} never waited");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_call_waits_until_another_one_serves_it() {
    let server = Server::start();
    let mut client = server.client();
    let mut waits = server.client();
    let popped = thread::spawn(move || waits.call("list.blpop", r#"{"keys":["a","b"],"timeout":20}"#));
    until_blocked(&mut client, 1, "blpop");
    client.call("list.rpush", r#"{"key":"b","elements":["1","2"]}"#);
    let popped: Value = serde_json::from_str(&popped.join().expect("an answer")).expect("JSON");
    assert_eq!(popped, json!({"popped": {"key": "b", "element": "1"}}));
    assert_eq!(client.get("/api/v1/list/range/b/0/-1").json()["elements"], json!(["2"]));
}

#[test]
fn a_call_that_waits_in_vain_says_so() {
    let server = Server::start();
    let begin = Instant::now();
    let answer = server.client().call("list.blpop", r#"{"keys":"never","timeout":0.05}"#);
    assert!(answer.ends_with(":null}"), "{answer}");
    assert!(begin.elapsed() >= Duration::from_millis(50));
}

#[test]
fn a_client_that_hangs_up_while_it_waits_takes_nothing() {
    let server = Server::start();
    let mut client = server.client();
    let mut gone = server.client();
    gone.send("POST", "/api/v1/list/blpop", Some(br#"{"keys":["a"],"timeout":0}"#)).expect("room");
    until_blocked(&mut client, 1, "blpop");
    gone.hang_up();
    until_blocked(&mut client, 0, "blpop");
    client.call("list.rpush", r#"{"key":"a","elements":["1"]}"#);
    assert_eq!(client.get("/api/v1/list/range/a/0/-1").json()["elements"], json!(["1"]));
}

#[test]
fn a_shutdown_is_answered_and_ends_calls_that_wait() {
    let server = Server::start();
    let mut client = server.client();
    let mut waits = server.client();
    waits.send("POST", "/api/v1/list/blpop", Some(br#"{"keys":["a"],"timeout":0}"#)).expect("room");
    until_blocked(&mut client, 1, "blpop");
    assert_eq!(client.call("server.shutdown", r#"{"nosave":true}"#), "{}");
    problem(&waits.receive("POST").expect("an answer"), 503, "ERR", "");
    assert!(waits.is_closed() && client.is_closed());
    assert!(server.wait());
}

// ---- envelopes ----

#[test]
fn envelopes_are_answered_with_their_id() {
    let server = Server::start();
    let mut client = server.client();
    let mut ask = |body: &str| {
        let response = client.post("/api/v1/command", body);
        assert_eq!(response.status, 200, "{}", response.body);
        response.body
    };
    assert_eq!(
        ask(r#"{"command":"hash.set","payload":{"key":"env","field":"f","value":"v"},"request_id":"r1"}"#),
        r#"{"request_id":"r1","success":true,"payload":{"added":1}}"#
    );
    assert_eq!(
        ask(r#"{"request_id":{"n": 1e400},"command":"list.range","payload":{"key":"env","start":0,"stop":-1}}"#),
        concat!(
            r#"{"request_id":{"n":1e400},"success":false,"error":{"code":"WRONGTYPE","message":"#,
            r#""Operation against a key holding the wrong kind of value","status":409}}"#
        )
    );
    assert_eq!(
        ask(r#"{"command":"no.such"}"#),
        r#"{"request_id":null,"success":false,"error":{"code":"ERR","message":"unknown command `no.such`","status":404}}"#
    );
    assert!(ask(r#"{"command":"transaction.multi"}"#).contains("acts on the connection"));
    assert!(ask(r#"{"command":"string.get","payload":{}}"#).contains(r#""status":400"#));
}

#[test]
fn an_array_of_envelopes_is_answered_in_order() {
    let server = Server::start();
    let mut client = server.client();
    let calls: Vec<Value> = (0..500)
        .map(|number| json!({"command": "list.rpush", "payload": {"key": "batch", "elements": [number]}, "request_id": number}))
        .collect();
    let answers = client.post("/api/v1/command", &json!(calls).to_string()).json();
    let answers = answers.as_array().expect("an array");
    assert_eq!(answers.len(), 500);
    for (number, answer) in answers.iter().enumerate() {
        assert_eq!(*answer, json!({"request_id": number, "success": true, "payload": {"length": number + 1}}));
    }
    let mixed = client.post("/api/v1/command", r#"[1,{"command":"connection.ping"},{"request_id":7}]"#).json();
    let successes: Vec<&Value> = mixed.as_array().expect("an array").iter().map(|answer| &answer["success"]).collect();
    assert_eq!(successes, [&json!(false), &json!(true), &json!(false)]);
    assert_eq!(mixed[2]["request_id"], 7);
    assert_eq!(client.post("/api/v1/command", "[]").body, "[]");
    for body in ["", "7", "{", r#""text""#] {
        assert_eq!(client.post("/api/v1/command", body).status, 400, "{body}");
    }
}

// ---- the whole table ----

/// Rows that end or disturb the server that they are tried on.
fn is_disruptive(row: &Command) -> bool {
    ["SHUTDOWN", "CLIENT KILL", "CLIENT PAUSE", "CONFIG SET", "DEBUG SLEEP"].contains(&row.name)
        || row.flags.has(Flags::BLOCKING)
}

#[test]
fn every_row_is_reached_with_random_arguments() {
    let server = Server::start();
    let mut client = server.client();
    let mut good_count = 0;
    for row in table().all() {
        // Three seeds each, printed when something fails.
        for seed in 0..3_u32 {
            let path = route::path(row.op);
            let numbers: Vec<u32> = (0..60).map(|n| (seed * 60 + n).wrapping_mul(0x9e37_79b1) >> 7).collect();
            let numbers = if seed == 0 { &[][..] } else { &numbers };
            if is_disruptive(row) && seed > 0 {
                continue;
            }
            let mut body = render::json(
                row.args,
                &generate::arguments(row.args, &mut Choices::new(numbers)),
                &mut Choices::new(numbers),
            );
            if is_disruptive(row) {
                body = r#"{"no such argument":1}"#.to_string();
            }
            let response = client.post(&format!("/api/v1{path}"), &body);
            let context = format!("{} seed {seed}: {body}: {} {}", row.name, response.status, response.body);
            let document = response.json();
            if row.flags.has(Flags::RESP_ONLY) {
                problem(&response, 404, "ERR", "acts on the connection");
            } else if response.status == 200 {
                good_count += 1;
                assert!(document.is_object(), "{context}");
            } else {
                assert!([400, 403, 404, 409].contains(&response.status), "{context}");
                assert_eq!(response.header("content-type"), Some("application/problem+json"), "{context}");
                assert!(document["code"].is_string() && document["detail"].is_string(), "{context}");
            }
        }
    }
    assert!(good_count > table().all().len(), "only {good_count} calls went well");
}

#[test]
fn every_read_is_got_as_it_is_posted() {
    let server = Server::start();
    let mut client = server.client();
    client.call("string.set", r#"{"key":"a","value":"1"}"#);
    for row in table().all().iter().filter(|row| row.only_reads() && !row.flags.has(Flags::RESP_ONLY)) {
        let given = generate::arguments(row.args, &mut Choices::new(&[]));
        let body = render::json(row.args, &given, &mut Choices::new(&[]));
        let (segments, query) = render::query(row.args, &given, &mut Choices::new(&[9; 50]));
        let segments: String = segments.iter().map(|segment| format!("/{segment}")).collect();
        let path = format!("/api/v1{}{segments}?{query}", route::path(row.op));
        let posted = client.post(&format!("/api/v1{}", route::path(row.op)), &body);
        let got = client.get(&path);
        assert_eq!(got.status, posted.status, "{path} {}", got.body);
        if steady::is_steady(row) {
            assert_eq!(got.body, posted.body, "{path}");
        }
    }
}

#[test]
fn the_document_has_every_route_once() {
    let text = Server::start().client().get("/openapi.json").body;
    let document: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(document["openapi"], "3.1.0");
    for operation in Operations::of(table().all()).offered() {
        let path = route::path(operation.op);
        assert!(document["paths"][&path]["post"].is_object(), "{path}");
        assert_eq!(text.matches(&format!("\"{path}\": {{")).count(), 1, "{path}");
        let by_path = &document["paths"][route::template(operation.op, operation.args)];
        assert_eq!(by_path["get"].is_object(), operation.verbs.get, "{path}");
        assert_eq!(by_path["delete"].is_object(), operation.verbs.delete, "{path}");
    }
    for row in table().all().iter().filter(|row| row.flags.has(Flags::RESP_ONLY)) {
        assert!(document["paths"][route::path(row.op)].is_null(), "{}", row.name);
    }
}
