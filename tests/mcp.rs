//! The door of agents of the built server: over HTTP with the SDK's own client and with raw requests, and over standard
//! input and output.

#[path = "support/http_client.rs"]
mod http_client;
#[path = "support/server.rs"]
mod server;
#[path = "support/steady.rs"]
mod steady;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use http_client::{Client, Response};
use rmcp::model::{
    ArgumentInfo, CallToolRequestParams, CallToolResult, CompleteRequestParams, PaginatedRequestParams,
    ProtocolVersion, ReadResourceRequestParams, Reference, ResourceContents,
};
use rmcp::service::{ClientInitializeError, RoleClient, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::{ClientLifecycleMode, ClientServiceExt};
use serde_json::{Value, json};
use server::{DataFolder, Server};
use synap_core::command::table;
use synap_core::execute::row::{Command as Row, Flags, Kind, Tool};
use synap_core::execute::state::Rows as _;
use synap_core::grammar::generate::{self, Choices};
use synap_protocols::json::render;
use synap_protocols::mcp::answer::{CUT, ROOM};
use synap_protocols::mcp::tools;
use synap_protocols::rest::operation::{Operation, Operations};
use synap_protocols::rest::route;

// ---- with the SDK's client ----

type Agent = RunningService<RoleClient, ()>;

/// The revisions of the protocol before sessions went, and since.
const ERAS: [ProtocolVersion; 2] = [ProtocolVersion::V_2025_11_25, ProtocolVersion::V_2026_07_28];

async fn connect(server: &Server, era: &ProtocolVersion) -> Result<Agent, ClientInitializeError> {
    let transport = StreamableHttpClientTransport::from_uri(format!("http://{}/mcp", server.http));
    let lifecycle = if era.has_initialize() {
        ClientLifecycleMode::Initialize
    } else {
        ClientLifecycleMode::Discover { preferred_versions: vec![era.clone()] }
    };
    ().serve_with_lifecycle(transport, lifecycle).await
}

async fn call(agent: &Agent, tool: &'static str, arguments: Value) -> CallToolResult {
    let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
    agent.call_tool(CallToolRequestParams::new(tool).with_arguments(arguments)).await.expect(tool)
}

fn text_of(result: &CallToolResult) -> &str {
    result.content[0].as_text().map(|text| text.text.as_str()).expect("text")
}

#[tokio::test]
async fn an_agent_of_either_era_finds_its_tools_and_uses_them() {
    let server = Server::start();
    for era in ERAS {
        let agent = connect(&server, &era).await.expect("it is let in");
        let info = agent.peer_info().expect("it introduced itself");
        assert!(info.instructions.as_ref().is_some_and(|text| text.contains("WRONGTYPE")), "{info:?}");
        let tools = agent.list_all_tools().await.expect("tools");
        assert!((10..=20).contains(&tools.len()), "{}", tools.len());
        let set = tools.iter().find(|tool| tool.name == "synap_hash_set").expect("it is essential");
        assert!(set.output_schema.is_some() && set.input_schema["properties"]["key"].is_object());
        let hints = set.annotations.as_ref().expect("hints");
        assert_eq!((hints.read_only_hint, hints.idempotent_hint), (Some(false), Some(true)));

        let key = format!("user:{era}");
        let fields = json!([{"field": "name", "value": "Ann"}]);
        let added = call(&agent, "synap_hash_set", json!({"key": key, "fields": fields})).await;
        assert_eq!(added.structured_content, Some(json!({"added": 1})));
        assert_eq!((text_of(&added), added.is_error), (r#"{"added":1}"#, Some(false)));
        let all = call(&agent, "synap_hash_getall", json!({"key": key})).await;
        assert_eq!(all.structured_content, Some(json!({"fields": {"name": "Ann"}})));
        call(&agent, "synap_list_push", json!({"key": "l", "position": "right", "elements": ["a", "b"]})).await;
        let popped = call(&agent, "synap_list_pop", json!({"key": "l", "position": "right"})).await;
        assert!(text_of(&popped).contains("\"b\""), "{popped:?}");

        // What it can act on is a result; what it cannot name is an error of the request.
        let wrong = call(&agent, "synap_kv_get", json!({"key": key})).await;
        assert_eq!(wrong.is_error, Some(true));
        assert!(text_of(&wrong).starts_with("WRONGTYPE Operation against"), "{wrong:?}");
        let missing = call(&agent, "synap_hash_get", json!({"key": key})).await;
        assert!(missing.is_error == Some(true) && text_of(&missing).contains("field"), "{missing:?}");
        let unknown = agent.call_tool(CallToolRequestParams::new("synap_zset_add")).await;
        assert!(unknown.is_err_and(|error| error.to_string().contains("no tool")));
        let arguments = json!({"command": "ZADD", "arguments": {"key": "z", "members": [{"score": 1, "member": "a"}]}});
        assert_eq!(call(&agent, tools::COMMAND, arguments).await.is_error, Some(false));
        agent.cancel().await.expect("it leaves");
    }
}

#[tokio::test]
async fn keys_and_chapters_of_info_are_resources() {
    let server = Server::start();
    let mut client = server.client();
    client.call("string.set", r#"{"key":"user:1","value":"Ann"}"#);
    client.call("string.set", r#"{"key":"user:*","value":{"base64":"/wA="}}"#);
    client.call("zset.add", r#"{"key":"scores","members":[[1,"a"]]}"#);
    for era in ERAS {
        let agent = connect(&server, &era).await.expect("it is let in");
        let templates = agent.list_all_resource_templates().await.expect("templates");
        let templates: Vec<&str> = templates.iter().map(|template| template.uri_template.as_str()).collect();
        assert_eq!(templates, ["synap://key/{key}", "synap://info/{section}"]);
        let resources = agent.list_all_resources().await.expect("resources");
        assert!(resources.iter().any(|resource| resource.uri == "synap://info/memory"), "{resources:?}");

        let read = async |uri: &str| {
            let read = agent.read_resource(ReadResourceRequestParams::new(uri)).await;
            read.map(|result| result.contents.into_iter().next().expect("contents"))
        };
        match read("synap://key/user%3A1").await.expect("it is there") {
            ResourceContents::TextResourceContents { text, mime_type, .. } => {
                assert_eq!((text.as_str(), mime_type.as_deref()), ("Ann", Some("text/plain")));
            }
            other => panic!("{other:?}"),
        }
        match read("synap://key/user:*").await.expect("it is there") {
            ResourceContents::BlobResourceContents { blob, .. } => assert_eq!(blob, "/wA="),
            other => panic!("{other:?}"),
        }
        match read("synap://key/scores").await.expect("it is there") {
            ResourceContents::TextResourceContents { text, mime_type, .. } => {
                assert_eq!(mime_type.as_deref(), Some("application/json"));
                assert!(text.contains("\"a\""), "{text}");
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(
            read("synap://info/server").await,
            Ok(ResourceContents::TextResourceContents { text, .. }) if text.contains("redis_version")
        ));
        for nothing in ["synap://key/none", "synap://info/none", "synap://other/x", "file:///etc/passwd"] {
            assert!(read(nothing).await.is_err(), "{nothing}");
        }

        let complete = async |template: &str, name: &str, value: &str| {
            let request = CompleteRequestParams::new(Reference::for_resource(template), ArgumentInfo::new(name, value));
            agent.complete(request).await.map(|result| result.completion.values)
        };
        assert_eq!(complete("synap://key/{key}", "key", "user:").await.expect("names"), ["user:*", "user:1"]);
        assert_eq!(complete("synap://key/{key}", "key", "user:*").await.expect("names"), ["user:*"]);
        assert_eq!(complete("synap://info/{section}", "section", "me").await.expect("names"), ["memory"]);
        assert!(complete("synap://key/{key}", "other", "").await.is_err());
        agent.cancel().await.expect("it leaves");
    }
}

#[tokio::test]
async fn long_lists_of_tools_come_in_pages() {
    let server = Server::with(&["--mcp-tools", "full"]);
    let agent = connect(&server, &ERAS[1]).await.expect("it is let in");
    let first = agent.list_tools(None).await.expect("a page");
    assert_eq!(first.tools.len(), 50);
    let second = PaginatedRequestParams::default().with_cursor(first.next_cursor);
    let second = agent.list_tools(Some(second)).await.expect("a page");
    assert_ne!(first.tools[0].name, second.tools[0].name);
    let all = agent.list_all_tools().await.expect("pages");
    let mut names: Vec<&str> = all.iter().map(|tool| &*tool.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all.len());
    let wrong = PaginatedRequestParams::default().with_cursor(Some("x".into()));
    assert!(agent.list_tools(Some(wrong)).await.is_err());
    agent.cancel().await.expect("it leaves");
}

// ---- raw requests ----

impl Server {
    fn client(&self) -> Client {
        Client::connect(self.http)
    }

    /// A client that sends what every agent has to send.
    fn agent(&self) -> Client {
        self.client()
            .with_header("Accept: application/json, text/event-stream")
            .with_header("Content-Type: application/json")
    }
}

fn request(id: u32, method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#)
}

/// The result of a call of a tool, whose arguments are JSON text.
#[track_caller]
fn called(client: &mut Client, tool: &str, arguments: &str) -> Value {
    let params = format!(r#"{{"name":"{tool}","arguments":{arguments}}}"#);
    let response = client.post("/mcp", &request(1, "tools/call", &params));
    assert_eq!(response.status, 200, "{}", response.body);
    response.json()["result"].take()
}

#[track_caller]
fn listed(client: &mut Client) -> Vec<String> {
    let response = client.post("/mcp", &request(1, "tools/list", "{}"));
    assert_eq!(response.status, 200, "{}", response.body);
    let document = response.json();
    let tools = document["result"]["tools"].as_array().expect("tools");
    tools.iter().map(|tool| tool["name"].as_str().expect("a name").to_string()).collect()
}

#[test]
fn values_arrive_as_they_were_written() {
    let server = Server::start();
    let mut agent = server.agent();
    for (given, stored) in [
        ("9007199254740993", json!("9007199254740993")),
        ("1.0", json!("1.0")),
        ("1e400", json!("1e400")),
        (r#"{"b": [1, 2], "a": 1.50}"#, json!(r#"{"b":[1,2],"a":1.50}"#)),
        (r#"{"base64":"/wA="}"#, json!({"base64": "/wA="})),
        (r#""caf\u00e9""#, json!("café")),
    ] {
        let set = called(&mut agent, "synap_kv_set", &format!(r#"{{"key":"k","value":{given}}}"#));
        assert_eq!(set["isError"], false, "{given}: {set}");
        let got = called(&mut agent, "synap_kv_get", r#"{"key":"k"}"#);
        assert_eq!(got["structuredContent"], json!({"value": stored}), "{given}");
        assert_eq!(
            serde_json::from_str::<Value>(got["content"][0]["text"].as_str().expect("text")).expect("JSON"),
            got["structuredContent"]
        );
    }
    let twice = called(&mut agent, "synap_kv_set", r#"{"key":"k","key":"l","value":1}"#);
    assert_eq!(twice["isError"], true, "{twice}");
}

#[test]
fn large_answers_are_cut_and_say_so() {
    let server = Server::start();
    let members: Vec<String> = (0..5000).map(|number| format!("\"member {number}\"")).collect();
    server.client().call("set.add", &format!(r#"{{"key":"s","members":[{}]}}"#, members.join(",")));
    server.client().call("string.set", &format!(r#"{{"key":"v","value":"{}"}}"#, "x".repeat(1 << 20)));
    let mut agent = server.agent();
    let set = called(&mut agent, "synap_set_members", r#"{"key":"s"}"#);
    let kept = set["structuredContent"]["members"].as_array().expect("members").len();
    assert!(kept <= ROOM.item_count_max, "{kept}");
    assert_eq!(set["structuredContent"][CUT]["items_left_out"], 5000 - kept);
    let value = called(&mut agent, "synap_kv_get", r#"{"key":"v"}"#);
    let kept = value["structuredContent"]["value"].as_str().expect("text").len();
    assert!(kept <= ROOM.bytes_max, "{kept}");
    assert_eq!(value["structuredContent"][CUT]["bytes_left_out"], (1 << 20) - kept);
    let resource = agent.post("/mcp", &request(1, "resources/read", r#"{"uri":"synap://key/v"}"#)).json();
    let contents = &resource["result"]["contents"][0];
    assert!(contents["text"].as_str().expect("text").len() <= ROOM.bytes_max);
    assert_eq!(contents["_meta"]["synap/cut"]["bytes_left_out"], (1 << 20) - kept);
}

#[test]
fn hostile_messages_are_refused() {
    let server = Server::start();
    let status = |response: &Response, statuses: &[u16]| {
        assert!(statuses.contains(&response.status), "{}: {}", response.status, response.body);
    };
    let mut agent = server.agent();
    let is_invalid = |response: &Response| assert_eq!(response.json()["error"]["code"], -32600, "{}", response.body);
    for (body, code) in [
        ("", -32700),
        ("{", -32700),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping"} x"#, -32700),
        (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#, -32600),
        (r#"{"id":1,"method":"tools/call","params":{"name":"a","arguments":{},"arguments":{}}}"#, -32600),
    ] {
        let response = agent.post("/mcp", body);
        status(&response, &[400]);
        let document = response.json();
        assert_eq!((&document["error"]["code"], document.get("id")), (&json!(code), Some(&Value::Null)), "{body}");
    }
    status(&agent.post("/mcp", &"[".repeat(100_000)), &[400]);
    status(&agent.request("POST", "/mcp", Some(b"{\"method\":\"\xff\"}")), &[400]);
    for body in [
        "[]",
        "1",
        "{}",
        "null",
        r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#,
        r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#,
    ] {
        let response = agent.post("/mcp", body);
        status(&response, &[400]);
        is_invalid(&response);
    }
    let long = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"x":"{}"}}}}"#, "x".repeat(2 << 20));
    status(&agent.post("/mcp", &long), &[400]);
    let unknown = agent.post("/mcp", &request(1, "no/such", "{}"));
    assert_eq!(unknown.json()["error"]["code"], -32601, "{}", unknown.body);
    for arguments in ["[]", "7", r#""x""#] {
        let params = format!(r#"{{"name":"synap_kv_get","arguments":{arguments}}}"#);
        status(&agent.post("/mcp", &request(1, "tools/call", &params)), &[400, 415, 422]);
    }
    for tool in ["", "synap_", "kv.get", "../x", "SYNAP_KV_GET"] {
        let response = agent.post("/mcp", &request(1, "tools/call", &format!(r#"{{"name":"{tool}"}}"#)));
        assert_eq!(response.json()["error"]["code"], -32602, "{}", response.body);
    }
    for method in ["GET", "DELETE", "PUT", "OPTIONS"] {
        let response = server.agent().request(method, "/mcp", None);
        status(&response, &[405]);
        assert_eq!(response.header("allow"), Some("POST"));
    }
    let wrong_type = server.client().with_header("Accept: application/json, text/event-stream");
    for (mut client, expected) in [
        (server.client(), 406),
        (wrong_type.with_header("Content-Type: text/plain"), 415),
        (server.agent().with_header("MCP-Protocol-Version: 1999-01-01"), 400),
    ] {
        let response = client.post("/mcp", &request(1, "ping", "{}"));
        status(&response, &[expected]);
        is_invalid(&response);
    }
    // The connection and the server live.
    assert_eq!(agent.post("/mcp", &request(1, "ping", "{}")).status, 200);
}

#[test]
fn pages_of_other_sites_are_refused() {
    let server = Server::start();
    let ping = request(1, "ping", "{}");
    for origin in ["http://evil.example", "null", "http://localhost.evil.example"] {
        let response = server.agent().with_header(&format!("Origin: {origin}")).post("/mcp", &ping);
        assert_eq!(response.status, 403, "{origin}: {}", response.body);
    }
    assert_eq!(server.agent().with_header("Origin: http://localhost").post("/mcp", &ping).status, 200);
    // A name that somebody had point at this machine.
    let mut rebound = server.client();
    let length = ping.len();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: evil.example\r\nAccept: application/json, text/event-stream\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{ping}"
    );
    rebound.raw(head.as_bytes()).expect("room");
    let response = rebound.receive("POST").expect("an answer");
    assert!([403, 421].contains(&response.status), "{}", response.status);
}

#[test]
fn a_password_is_asked_for() {
    let server = Server::with(&["--requirepass", "secret"]);
    let ping = request(1, "ping", "{}");
    let refused = server.agent().post("/mcp", &ping);
    assert_eq!((refused.status, refused.header("www-authenticate").is_some()), (401, true));
    let with = |credentials: &str| server.agent().with_header(&format!("Authorization: {credentials}"));
    assert_eq!(with("Basic ZGVmYXVsdDp3cm9uZw==").post("/mcp", &ping).status, 401);
    assert_eq!(with("Basic ZGVmYXVsdDpzZWNyZXQ=").post("/mcp", &ping).status, 200);
}

#[test]
fn databases_are_chosen_by_header() {
    let server = Server::start();
    let mut other = server.agent().with_header("Synap-Database: 3");
    called(&mut other, "synap_kv_set", r#"{"key":"k","value":"3"}"#);
    assert_eq!(
        called(&mut server.agent(), "synap_kv_get", r#"{"key":"k"}"#)["structuredContent"],
        json!({"value": null})
    );
    assert_eq!(called(&mut other, "synap_kv_get", r#"{"key":"k"}"#)["structuredContent"], json!({"value": "3"}));
}

#[test]
fn the_setting_says_which_tools_there_are() {
    let own = Server::with(&["--mcp-tools", "kv.get synap_hash_set"]);
    let mut agent = own.agent();
    assert_eq!(listed(&mut agent), ["synap_hash_set", "synap_kv_get"]);
    let forbidden =
        agent.post("/mcp", &request(1, "tools/call", r#"{"name":"synap_kv_set","arguments":{"key":"k","value":1}}"#));
    assert_eq!(forbidden.json()["error"]["code"], -32602, "{}", forbidden.body);
    assert!(
        agent.post("/mcp", &request(1, "resources/read", r#"{"uri":"synap://info/server"}"#)).json()["error"]
            .is_object()
    );

    let reader = Server::with(&["--mcp-tools", "read-only"]);
    let mut agent = reader.agent();
    assert!(listed(&mut agent).contains(&"synap_hash_get".to_string()));
    let write = called(&mut agent, tools::COMMAND, r#"{"command":"string.set","arguments":{"key":"k","value":1}}"#);
    assert_eq!(write["isError"], true, "{write}");
    assert_eq!(reader.client().get("/api/v1/key/exists?keys=k").json()["count"], 0);

    assert_eq!(Server::with(&["--mcp-tools", ""]).agent().post("/mcp", &request(1, "ping", "{}")).status, 404);
    assert!(Server::refuses(&["--mcp-tools", "everything"]).contains("everything"));
}

// ---- calls that wait ----

#[track_caller]
fn until_blocked(client: &mut Client, count: usize) {
    let begin = Instant::now();
    let blocked = |client: &mut Client| {
        let list = client.get("/api/v1/client/list").json();
        list["clients"].as_str().expect("text").lines().filter(|line| line.contains("flags=b")).count()
    };
    while blocked(client) != count {
        assert!(begin.elapsed() < Duration::from_secs(10), "{count} never waited");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Waits for an element of `key`, as a message.
fn waits(id: u32, key: &str) -> String {
    let arguments = format!(r#"{{"command":"list.blpop","arguments":{{"keys":["{key}"],"timeout":0}}}}"#);
    request(id, "tools/call", &format!(r#"{{"name":"{}","arguments":{arguments}}}"#, tools::COMMAND))
}

#[test]
fn a_call_that_waits_is_served() {
    let server = Server::start();
    let mut client = server.client();
    let mut agent = server.agent();
    agent.send("POST", "/mcp", Some(waits(1, "a").as_bytes())).expect("room");
    until_blocked(&mut client, 1);
    client.call("list.rpush", r#"{"key":"a","elements":["1"]}"#);
    let result = agent.receive("POST").expect("an answer").json();
    assert_eq!(result["result"]["structuredContent"], json!({"popped": {"key": "a", "element": "1"}}));
}

#[test]
fn a_call_that_is_cancelled_takes_nothing() {
    let server = Server::start();
    let mut client = server.client();
    // The current era: the client hangs up.
    let mut gone = server.agent();
    gone.send("POST", "/mcp", Some(waits(1, "a").as_bytes())).expect("room");
    until_blocked(&mut client, 1);
    gone.hang_up();
    until_blocked(&mut client, 0);
    // The one before: it says so in another message of its session.
    let hello = r#"{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"0"}}"#;
    let hello = server.agent().post("/mcp", &request(0, "initialize", hello));
    assert_eq!(hello.json()["result"]["protocolVersion"], "2025-06-18", "{}", hello.body);
    let session = format!("Mcp-Session-Id: {}", hello.header("mcp-session-id").expect("a session"));
    let mut waiting = server.agent().with_header(&session);
    waiting.send("POST", "/mcp", Some(waits(7, "a").as_bytes())).expect("room");
    until_blocked(&mut client, 1);
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}"#;
    // Neither another session nor another id ends it.
    assert_eq!(server.agent().with_header("Mcp-Session-Id: 0").post("/mcp", cancel).status, 202);
    assert_eq!(server.agent().with_header(&session).post("/mcp", &cancel.replace('7', "8")).status, 202);
    until_blocked(&mut client, 1);
    assert_eq!(server.agent().with_header(&session).post("/mcp", cancel).status, 202);
    let ended = waiting.receive("POST").expect("an answer").json();
    assert!(ended["error"].is_object() && ended["id"] == 7, "{ended}");
    until_blocked(&mut client, 0);
    client.call("list.rpush", r#"{"key":"a","elements":["1"]}"#);
    assert_eq!(client.get("/api/v1/list/range/a/0/-1").json()["elements"], json!(["1"]));
}

// ---- the whole table ----

/// Rows that end or disturb the server that they are tried on.
fn is_disruptive(row: &Row) -> bool {
    let disturbs = ["SHUTDOWN", "CLIENT KILL", "CLIENT PAUSE", "CONFIG SET"];
    disturbs.contains(&row.name) || row.name.starts_with("DEBUG") || row.flags.has(Flags::BLOCKING)
}

/// That the doors agree on data is a test of `synap-protocols`, where the clock stands still.
#[test]
fn every_row_is_reached_by_its_tool() {
    let server = Server::with(&["--mcp-tools", "full"]);
    let (mut agent, mut client) = (server.agent(), server.client());
    client.call("hash.set", r#"{"key":"b","field":"a","value":"1"}"#);
    let operations = Operations::of(table().all());
    let mut good_count = 0;
    let has_tool = |operation: &&Operation| !operation.is_alias() && operation.tool != Tool::Never;
    for operation in operations.offered().filter(has_tool).filter(|operation| !is_disruptive(operation.row)) {
        for seed in 0..3_u32 {
            let numbers: Vec<u32> = (0..60).map(|n| (seed * 60 + n).wrapping_mul(0x9e37_79b1) >> 7).collect();
            let numbers = if seed == 0 { &[][..] } else { &numbers };
            let given = generate::arguments(operation.args, &mut Choices::new(numbers));
            let arguments = render::json(operation.args, &given, &mut Choices::new(numbers));
            let told = called(&mut agent, &tools::name(operation.op), &arguments);
            let context = format!("{} {arguments}: {told}", operation.op);
            let text = told["content"][0]["text"].as_str().expect("text");
            if told["isError"] == true {
                assert!(told["structuredContent"].is_null(), "{context}");
                assert!(text.starts_with(|letter: char| letter.is_ascii_uppercase()), "{context}");
            } else {
                good_count += 1;
                assert!(told["structuredContent"].is_object(), "{context}");
                assert_eq!(serde_json::from_str::<Value>(text).expect("JSON"), told["structuredContent"], "{context}");
            }
            let row = operation.row;
            if !(matches!(row.kind, Kind::Read | Kind::Walk) && row.only_reads() && steady::is_steady(row)) {
                continue;
            }
            let answered = client.post(&format!("/api/v1{}", route::path(operation.op)), &arguments);
            let document = answered.json();
            if answered.status == 200 {
                assert_eq!(told["structuredContent"], document, "{context}");
            } else {
                let part = |name: &str| document[name].as_str().expect("text");
                assert_eq!(text, format!("{} {}", part("code"), part("detail")), "{context}");
            }
        }
    }
    assert!(good_count > 150, "only {good_count} calls went well");
}

// ---- over standard input and output ----

/// `synap-server mcp --stdio` as a child.
struct Program {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Program {
    fn start(data: &DataFolder, flags: &[&str]) -> Program {
        let mut child = Command::new(env!("CARGO_BIN_EXE_synap-server"))
            .args(["mcp", "--stdio", "--dir"])
            .arg(&data.0)
            .args(flags)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server was built");
        let input = child.stdin.take().expect("it is piped");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        Program { child, input, output }
    }

    fn say(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("it listens");
    }

    fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("it speaks");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    fn ask(&mut self, line: &str) -> Value {
        self.say(line);
        self.hear()
    }

    /// As a client of the era before would begin.
    fn greet(&mut self) {
        let hello = r#"{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"0"}}"#;
        assert_eq!(self.ask(&request(0, "initialize", hello))["result"]["serverInfo"]["name"], "synap");
        self.say(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    }

    /// Closes its input; true when it ended well.
    fn end(mut self) -> bool {
        drop(self.input);
        let mut rest = String::new();
        while self.output.read_line(&mut rest).is_ok_and(|count| count > 0) {}
        assert_eq!(rest, "", "nobody asked for more");
        self.child.wait().expect("it is our child").success()
    }
}

fn tool_call(id: u32, tool: &str, arguments: &str) -> String {
    request(id, "tools/call", &format!(r#"{{"name":"{tool}","arguments":{arguments}}}"#))
}

#[test]
fn an_agent_starts_the_program_and_its_data_stay() {
    let data = DataFolder::new();
    let mut program = Program::start(&data, &[]);
    program.greet();
    let set = program.ask(&tool_call(1, "synap_kv_set", r#"{"key":"k","value":9007199254740993}"#));
    assert_eq!(set["result"]["isError"], false, "{set}");
    assert_eq!(
        program.ask(&tool_call(2, "synap_kv_get", r#"{"key":"k"}"#))["result"]["structuredContent"]["value"],
        "9007199254740993"
    );
    // A second program finds the folder taken.
    let mut second = Program::start(&data, &[]);
    assert!(!second.child.wait().expect("it is our child").success());
    // What it does not understand does not end it.
    assert_eq!(program.ask("{")["error"]["code"], -32700);
    assert_eq!(program.ask(r#"{"jsonrpc":"2.0","id":3,"method":"no/such"}"#)["error"]["code"], -32601);
    program.say("");
    assert_eq!(program.ask(&request(4, "ping", "{}"))["id"], 4);
    assert!(program.end());

    let server = Server::on(&data, &[]);
    assert_eq!(server.client().get("/api/v1/kv/get/k").json()["value"], "9007199254740993");
}

#[test]
fn the_current_era_needs_no_greeting() {
    let data = DataFolder::new();
    let mut program = Program::start(&data, &["--mcp-tools", "hash"]);
    let meta = concat!(
        r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","#,
        r#""io.modelcontextprotocol/clientInfo":{"name":"t","version":"0"},"#,
        r#""io.modelcontextprotocol/clientCapabilities":{}}"#
    );
    let discovered = program.ask(&request(1, "server/discover", &format!("{{{meta}}}")));
    assert!(
        discovered["result"]["supportedVersions"].as_array().is_some_and(|all| all.contains(&json!("2026-07-28"))),
        "{discovered}"
    );
    let listed = program.ask(&request(2, "tools/list", &format!("{{{meta}}}")));
    let tools = listed["result"]["tools"].as_array().expect("tools");
    assert!(tools.iter().all(|tool| tool["name"].as_str().is_some_and(|name| name.starts_with("synap_hash_"))));
    assert!(program.end());
}

#[test]
fn a_cancelled_call_over_standard_input_takes_nothing() {
    let data = DataFolder::new();
    let mut program = Program::start(&data, &[]);
    program.greet();
    program.say(&waits(5, "a"));
    program.say(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":5}}"#);
    program.say(&tool_call(6, "synap_list_push", r#"{"key":"a","position":"left","elements":["1"]}"#));
    let mut answer = program.hear();
    while answer["id"] != 6 {
        answer = program.hear();
    }
    let range = program.ask(&tool_call(7, "synap_list_range", r#"{"key":"a","start":0,"stop":-1}"#));
    assert_eq!(range["result"]["structuredContent"]["elements"], json!(["1"]));
    assert!(program.end());
}
