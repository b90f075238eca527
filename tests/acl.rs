//! Users on the built server: what they may do through every door, what happens to those who are connected when a user
//! changes, and what a file keeps of them.

#[path = "support/http_client.rs"]
mod http_client;
#[path = "support/server.rs"]
mod server;
#[path = "support/wire.rs"]
mod wire;

use std::fs;
use std::time::{Duration, Instant};

use http_client::Client;
use serde_json::{Value, json};
use server::{DataFolder, Server, eventually};
use synap_core::command::table;
use synap_core::execute::row::{Command, Flags};
use synap_core::execute::state::Rows;
use synap_core::grammar::generate::{self, Choices};
use synap_core::testing::VOCABULARY;
use synap_protocols::json::render;
use synap_protocols::rest::route;
use wire::{Wire, call, encode};

fn http(server: &Server, authorization: &str) -> Client {
    Client::connect(server.http).with_header(&format!("Authorization: {authorization}"))
}

/// `Basic` of ann and her password.
const ANN: &str = "Basic YW5uOnNlY3JldA==";

// ---- doors ----

fn rows_that_write() -> impl Iterator<Item = &'static Command> {
    table().all().iter().filter(|row| row.writes())
}

#[test]
fn who_may_only_read_is_refused_by_every_row_that_writes_through_every_door() {
    let server = Server::start();
    let mut admin = Wire::connect(server.resp);
    admin.expect("SET text kept", "+OK");
    admin.expect("RPUSH list a b c", ":3");
    admin.expect("ACL SETUSER ann on >secret ~* &* +@read", "+OK");
    let before = admin.call("INFO keyspace").text();
    let mut wire = Wire::connect(server.resp);
    wire.expect("AUTH ann secret", "+OK");
    let mut client = http(&server, ANN);
    let mut count = 0;
    for row in rows_that_write() {
        for seed in 0..3_u32 {
            let numbers: Vec<u32> = (0..200).map(|n| (seed * 200 + n).wrapping_mul(0x9e37_79b1) >> 7).collect();
            let given = generate::arguments(row.args, &mut Choices::within(&numbers, &VOCABULARY));
            let args = generate::words(row.args, &given);
            if args.len() < row.min_words {
                continue;
            }
            let words: Vec<&[u8]> =
                row.name.split(' ').map(str::as_bytes).chain(args.iter().map(Vec::as_slice)).collect();
            let refusal = format!("User ann has no permissions to run the '{}' command", row.full_name());
            assert_eq!(wire.call_bytes(&words).to_string(), format!("-NOPERM {refusal}"), "{}", row.name);
            count += 1;
            if row.flags.has(Flags::RESP_ONLY) {
                continue;
            }
            let body = render::json(row.args, &given, &mut Choices::new(&numbers));
            let response = client.post(&format!("/api/v1{}", route::path(row.op)), &body);
            assert_eq!(response.status, 403, "{} {body}: {}", row.name, response.body);
            assert_eq!(response.json()["code"], "NOPERM");
            let envelope = format!(r#"{{"command":"{}","payload":{body}}}"#, row.op);
            let answer = client.post("/api/v1/command", &envelope).json();
            assert_eq!(answer["error"]["code"], "NOPERM", "{envelope}: {answer}");
        }
    }
    assert!(count > 100, "only {count} calls were made");
    assert_eq!(admin.call("INFO keyspace").text(), before);
    admin.expect("GET text", "\"kept\"");
    wire.expect("GET text", "\"kept\"");
    assert_eq!(client.get("/api/v1/string/get/text").body, r#"{"value":"kept"}"#);
}

#[test]
fn a_key_stands_for_its_user_over_http() {
    let server = Server::with(&["--requirepass", "admin"]);
    let mut admin = http(&server, "Basic OmFkbWlu");
    admin.call("acl.setuser", r#"{"username":"ann","rules":["on","~ann:*","+@all","-@admin"]}"#);
    let key: Value = serde_json::from_str(&admin.call("apikey.create", r#"{"username":"ann"}"#)).expect("JSON");
    let secret = key["secret"].as_str().expect("a secret");
    let mut ann = http(&server, &format!("Bearer {secret}"));
    assert_eq!(ann.call("acl.whoami", ""), r#"{"username":"ann"}"#);
    ann.call("string.set", r#"{"key":"ann:1","value":"x"}"#);
    assert_eq!(ann.post("/api/v1/string/set", r#"{"key":"bob:1","value":"x"}"#).status, 403);
    assert_eq!(ann.post("/api/v1/apikey/create", r#"{"username":"ann"}"#).status, 403);
    // A key is no password.
    let mut wire = Wire::connect(server.resp);
    wire.expect(&format!("AUTH ann {secret}"), "-WRONGPASS…");

    let listed = admin.get("/api/v1/apikey/list").json();
    assert_eq!(listed["keys"][0]["id"], key["id"]);
    assert!(listed["keys"][0]["secret"].is_null());
    let brief: Value =
        serde_json::from_str(&admin.call("apikey.create", r#"{"username":"ann","ex":1}"#)).expect("JSON");
    let brief = format!("Bearer {}", brief["secret"].as_str().expect("a secret"));
    assert_eq!(http(&server, &brief).get("/api/v1/connection/ping").status, 200);
    std::thread::sleep(Duration::from_millis(1100));
    let late = http(&server, &brief).get("/api/v1/connection/ping");
    assert_eq!((late.status, &late.json()["code"]), (401, &json!("WRONGPASS")));
    assert!(late.headers.iter().any(|(name, value)| name == "www-authenticate" && value.starts_with("Bearer")));

    admin.call("apikey.revoke", &json!({"id": key["id"]}).to_string());
    assert_eq!(ann.get("/api/v1/connection/ping").status, 401, "on a connection that is open, too");
    let words = server.last_words();
    assert!(!words.contains(secret) && !words.contains("admin"), "{words}");
}

// ---- those who are connected ----

#[test]
fn who_is_removed_is_cut_off_and_who_loses_a_channel_too() {
    let server = Server::start();
    let mut admin = Wire::connect(server.resp);
    admin.expect("ACL SETUSER ann on nopass +@all ~* &news &sport:*", "+OK");
    let login = || {
        let mut wire = Wire::connect(server.resp);
        wire.expect("AUTH ann x", "+OK");
        wire
    };
    let (mut listens, mut by_pattern, mut in_shard, mut idle) = (login(), login(), login(), login());
    listens.call("SUBSCRIBE news");
    by_pattern.call("PSUBSCRIBE sport:*");
    in_shard.call("SSUBSCRIBE sport:1");
    // More rights end nobody; fewer end those who use them.
    admin.expect("ACL SETUSER ann &more", "+OK");
    admin.expect("PUBLISH news a", ":1");
    listens.hears("[\"message\" \"news\" \"a\"]");
    admin.expect("ACL SETUSER ann resetchannels &sport:*", "+OK");
    assert!(listens.rest().is_empty());
    admin.expect("PUBLISH sport:1 b", ":1");
    by_pattern.hears("[\"pmessage\" \"sport:*\" \"sport:1\" \"b\"]");
    admin.expect("ACL SETUSER ann resetchannels &sport:2", "+OK");
    let list = admin.call("CLIENT LIST").text();
    assert_eq!(list.matches("user=ann").count(), 1, "{list}");
    assert!(by_pattern.rest().is_empty() && in_shard.rest().is_empty());
    idle.expect("PING", "+PONG");
    // Who removes itself hears of it.
    let mut own = login();
    own.send(&[call("ACL DELUSER ann"), call("PING")].concat());
    own.hears(":1");
    assert!(own.rest().is_empty() && idle.rest().is_empty());
    admin.expect("PING", "+PONG");
}

#[test]
fn a_call_that_waits_is_refused_when_its_user_lost_the_right_to_it() {
    let server = Server::start();
    let mut admin = Wire::connect(server.resp);
    admin.expect("ACL SETUSER ann on nopass +@all ~*", "+OK");
    let mut waits = Wire::connect(server.resp);
    waits.expect("AUTH ann x", "+OK");
    waits.say("BLPOP list 0");
    eventually("it waits", || admin.call("INFO clients").text().contains("blocked_clients:1"));
    admin.expect("ACL SETUSER ann resetkeys", "+OK");
    admin.expect("LPUSH list a", ":1");
    waits.hears("-NOPERM No permissions to access a key");
    admin.expect("LRANGE list 0 -1", "[\"a\"]");
    waits.expect("PING", "+PONG");
}

#[test]
fn wrong_passwords_are_answered_later_and_later_and_nobody_else_waits() {
    let server = Server::with(&["--io-threads", "1", "--requirepass", "secret"]);
    let mut guesses = Wire::connect(server.resp);
    for _ in 0..11 {
        guesses.expect("AUTH wrong", "-WRONGPASS…");
    }
    // The next one waits for more than half a second; those who know the password do not.
    let begin = Instant::now();
    guesses.say("AUTH wrong");
    let mut other = Wire::connect(server.resp);
    other.expect("AUTH secret", "+OK");
    other.expect("SET k v", "+OK");
    assert!(begin.elapsed() < Duration::from_millis(400), "{:?}", begin.elapsed());
    guesses.hears("-WRONGPASS invalid username-password pair or user is disabled.");
    assert!(begin.elapsed() > Duration::from_millis(500), "{:?}", begin.elapsed());
    // The same patience for all doors, and inside MULTI.
    let begin = Instant::now();
    assert_eq!(http(&server, "Basic Ondyb25n").get("/api/v1/connection/ping").status, 401);
    assert!(begin.elapsed() > Duration::from_millis(500));
    let begin = Instant::now();
    other.send(&[call("MULTI"), call("AUTH a b"), call("AUTH a b"), call("EXEC")].concat());
    (0..4).for_each(|_| drop(other.read()));
    assert!(begin.elapsed() > Duration::from_millis(1000));
    let info = other.call("INFO stats").text();
    assert!(info.contains("acl_access_denied_auth:15"), "{info}");
    let words = server.last_words();
    assert!(words.contains("gave a wrong password for the user \"default\""), "{words}");
    assert!(!words.contains("wrong\""), "{words}");
}

// ---- the file ----

#[test]
fn a_file_keeps_users_and_keys() {
    let data = DataFolder::new();
    fs::create_dir_all(&data.0).expect("a folder");
    let file = data.0.join("users.acl");
    fs::write(&file, "user ann on >secret ~ann:* +@all\n\nuser default on nopass ~* &* +@all\n").expect("a file");
    let secret = {
        let server = Server::on(&data, &["--aclfile", "users.acl"]);
        let mut admin = Wire::connect(server.resp);
        admin.expect("ACL SETUSER bob on >hunter2 %R~* (+set ~bob:*) +@read +acl|whoami", "+OK");
        let key = admin.call("APIKEY CREATE bob EX 1000").items().iter().map(|v| v.to_string()).collect::<Vec<_>>();
        let secret = key[9].trim_matches('"').to_string();
        admin.expect("ACL SAVE", "+OK");
        // What is not saved goes with the file that is loaded, and so do those who are it.
        admin.expect("ACL SETUSER carl on nopass +@all ~*", "+OK");
        let mut carl = Wire::connect(server.resp);
        carl.expect("AUTH carl x", "+OK");
        let mut ann = Wire::connect(server.resp);
        ann.expect("AUTH ann secret", "+OK");
        let unsaved = admin.call("APIKEY CREATE ann").items()[9].to_string();
        let mut listens = http(&server, &format!("Bearer {}", unsaved.trim_matches('"')));
        listens.send("GET", "/api/v1/events?keys=ann:1", None).expect("room");
        assert_eq!(listens.receive_head().expect("a head").status, 200);
        listens.piece().expect("a comment");
        admin.expect("ACL LOAD", "+OK");
        assert!(carl.rest().is_empty() && listens.piece().is_err());
        ann.expect("SET ann:1 x", "+OK");
        ann.expect("SET bob:1 x", "-NOPERM…");
        admin.expect("ACL USERS", "[\"ann\" \"bob\" \"default\"]");
        secret
    };
    let text = fs::read_to_string(&file).expect("a file");
    assert!(!text.contains("hunter2") && !text.contains(&secret), "{text}");
    assert!(text.contains("%R~* resetchannels -@all +@read +acl|whoami (~bob:* resetchannels -@all +set)\n"), "{text}");
    let server = Server::on(&data, &["--aclfile", "users.acl"]);
    let mut bob = Wire::connect(server.resp);
    bob.expect("AUTH bob hunter2", "+OK");
    bob.expect("SET bob:1 x", "+OK");
    bob.expect("SET ann:1 x", "-NOPERM No permissions to access a key");
    let mut client = http(&server, &format!("Bearer {secret}"));
    assert_eq!(client.call("acl.whoami", ""), r#"{"username":"bob"}"#);

    // A file with a mistake changes nothing.
    fs::write(&file, format!("{text}user ann on\nuser dora +nosuch >s3cret\nuser eve ~* ~a\nnonsense\napikey a b\n"))
        .expect("a file");
    let mut admin = Wire::connect(server.resp);
    let answer = admin.call("ACL LOAD").to_string();
    for part in [
        "Duplicate user 'ann' found on line 5",
        ":6: Error in applying operation '+nosuch': Unknown command or category name in ACL",
        ":7: Adding a pattern after the * pattern",
        ":8 should start with user keyword",
        ":9: an apikey has",
        "no change to the previously active ACL rules was performed",
    ] {
        assert!(answer.contains(part), "{part}: {answer}");
    }
    assert!(!answer.contains("s3cret"), "{answer}");
    admin.expect("ACL USERS", "[\"ann\" \"bob\" \"default\"]");
    assert_eq!(client.call("acl.whoami", ""), r#"{"username":"bob"}"#);
    drop(server);
    let dir = data.0.to_string_lossy().into_owned();
    let said = Server::refuses(&["--aclfile", "users.acl", "--dir", &dir]);
    assert!(said.contains("Duplicate user 'ann'"), "{said}");
}

#[test]
fn users_come_from_the_command_line_too() {
    let server = Server::with(&["--user", "ann on >secret ~* +@all", "--user", "default on nopass +ping"]);
    let mut wire = Wire::connect(server.resp);
    wire.expect("GET k", "-NOPERM User default has no permissions to run the 'get' command");
    wire.expect("AUTH ann secret", "+OK");
    wire.expect("GET k", "nil");
    wire.expect("PUBLISH c x", "-NOPERM No permissions to access a channel");
    for (flags, why) in [
        (&["--user", "ann on", "--user", "ann off"][..], "Duplicate user"),
        (&["--user", "ann on +nosuch"], "Unknown command"),
        (&["--user", "ann on >a !00"], "password hash"),
        (&["--user", "ann on", "--aclfile", "x"], "only one of them"),
        (&["--aclfile", "nosuch"], "opening file"),
    ] {
        let said = Server::refuses(flags);
        assert!(said.contains(why), "{flags:?}: {said}");
    }
}

#[test]
fn a_file_without_the_default_user_leaves_it_its_password() {
    let data = DataFolder::new();
    fs::create_dir_all(&data.0).expect("a folder");
    fs::write(data.0.join("users.acl"), "user ann on nopass ~* +@all").expect("a file");
    let server = Server::on(&data, &["--aclfile", "users.acl", "--requirepass", "secret"]);
    let mut wire = Wire::connect(server.resp);
    wire.expect("PING", "-NOAUTH…");
    wire.expect("AUTH secret", "+OK");
    wire.expect("ACL LOAD", "+OK");
    Wire::connect(server.resp).expect("PING", "-NOAUTH…");
}

#[test]
fn secrets_are_shown_to_nobody() {
    let server = Server::start();
    let mut monitor = Wire::connect(server.resp);
    monitor.expect("MONITOR", "+OK");
    let mut wire = Wire::connect(server.resp);
    wire.expect("ACL SETUSER ann on >hunter2 +@all", "+OK");
    wire.expect("AUTH ann hunter2", "+OK");
    wire.call("HELLO 3 AUTH ann hunter2");
    wire.send(&encode(&[b"APIKEY", b"CREATE", b"ann"]));
    wire.read();
    wire.expect("ECHO end", "\"end\"");
    loop {
        let line = monitor.read().text();
        assert!(!line.contains("hunter2"), "{line}");
        if line.contains("end") {
            break;
        }
    }
    assert!(!server.last_words().contains("hunter2"));
}
