//! Keys that move from one server to another.

#[path = "support/server.rs"]
mod server;
#[path = "support/wire.rs"]
mod wire;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use server::{DataFolder, Server, eventually};
use wire::Wire;

fn fill(client: &mut Wire) {
    for words in [
        "SET text hello",
        "SET long 1 PX 100000000",
        "RPUSH list a b c",
        "HSET hash f 1 g 2",
        "SADD ints 1 2 3",
        "ZADD zset 1.5 a 2 c",
    ] {
        let answer = client.call(words).to_string();
        assert!(!answer.starts_with('-'), "{words}: {answer}");
    }
    for number in 0..2000 {
        client.expect(&format!("SADD large {number}-abcdefgh"), ":1");
    }
}

fn check(client: &mut Wire) {
    for (words, expected) in [
        ("DBSIZE", ":7"),
        ("GET text", "\"hello\""),
        ("LRANGE list 0 -1", "[\"a\" \"b\" \"c\"]"),
        ("HGET hash g", "\"2\""),
        ("SISMEMBER ints 3", ":1"),
        ("ZSCORE zset a", "\"1.5\""),
        ("SCARD large", ":2000"),
        ("TTL text", ":-1"),
    ] {
        client.expect(words, expected);
    }
    let left_s = client.call("TTL long").int();
    assert!((90_000..=100_000).contains(&left_s), "{left_s}");
}

/// Moves everything from `from`, which `data` is the folder of, to `to`; it must be there, and gone here for good.
fn move_all(data: &DataFolder, from: Server, to: SocketAddr) {
    let mut client = Wire::connect(from.resp);
    fill(&mut client);
    let port = to.port();
    client.expect(&format!("MIGRATE 127.0.0.1 {port} text 0 5000"), "+OK");
    let migrate = format!("MIGRATE 127.0.0.1 {port}").split(' ').map(str::to_owned).collect::<Vec<_>>();
    let rest = ["", "0", "5000", "KEYS", "long", "list", "hash", "ints", "zset", "large", "none"];
    let words: Vec<&[u8]> = migrate.iter().map(String::as_bytes).chain(rest.map(str::as_bytes)).collect();
    assert_eq!(client.call_bytes(&words).to_string(), "+OK");
    client.expect("DBSIZE", ":0");
    check(&mut Wire::connect(to));
    // There already, and not to be replaced.
    client.expect("SET text other", "+OK");
    let answer = "-ERR Target instance replied with error: BUSYKEY Target key name already exists.";
    client.expect(&format!("MIGRATE 127.0.0.1 {port} text 0 5000"), answer);
    client.expect(&format!("MIGRATE 127.0.0.1 {port} text 99 5000"), "-ERR Target instance replied with error: …");
    client.expect(&format!("MIGRATE 127.0.0.1 {port} text 1 5000 COPY"), "+OK");
    client.expect(&format!("MIGRATE 127.0.0.1 {port} text 1 5000 REPLACE"), "+OK");
    client.expect("EXISTS text", ":0");
    from.kill();
    Wire::connect(Server::on(data, &[]).resp).expect("DBSIZE", ":0");
}

#[test]
fn to_another_of_ours() {
    let data = DataFolder::new();
    let target = Server::start();
    move_all(&data, Server::on(&data, &[]), target.resp);
}

/// A server of others, ended with the test.
struct Other(Child, SocketAddr);

impl Drop for Other {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn other(program: &str) -> Option<Other> {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let child = Command::new(program)
        .args(["--port", &address.port().to_string(), "--bind", "127.0.0.1", "--save", ""])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(child) = child else {
        println!("skipped: there is no {program}");
        return None;
    };
    let other = Other(child, address);
    eventually("it listens", || TcpStream::connect(address).is_ok());
    Some(other)
}

#[test]
fn to_redis_and_valkey() {
    for program in ["redis-server", "valkey-server"] {
        let Some(target) = other(program) else { continue };
        let data = DataFolder::new();
        move_all(&data, Server::on(&data, &[]), target.1);
    }
}

/// A target that does not answer, or is not there, costs no key.
#[test]
fn nobody_answers() {
    let server = Server::start();
    let mut client = Wire::connect(server.resp);
    client.expect("SET text hello", "+OK");
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = silent.local_addr().expect("an address").port();
    let mut other = Wire::connect(server.resp);
    client.say(&format!("MIGRATE 127.0.0.1 {port} text 0 500"));
    // Nobody waits with it.
    std::thread::sleep(Duration::from_millis(50));
    other.expect("GET text", "\"hello\"");
    client.hears("-IOERR error or timeout reading to target instance");
    drop(silent);
    let refused = "-IOERR error or timeout connecting to the client";
    client.expect(&format!("MIGRATE 127.0.0.1 {port} text 0 500"), refused);
    client.expect("GET text", "\"hello\"");
}

/// What the target has taken is not here any more, even when nobody hears of it.
#[test]
fn a_client_that_goes_away_calls_nothing_off() {
    for is_killed in [false, true] {
        let server = Server::start();
        let mut other = Wire::connect(server.resp);
        other.expect("SET text hello", "+OK");
        let target = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = target.local_addr().expect("an address").port();
        let mut client = Wire::connect(server.resp);
        let id = client.id();
        client.say(&format!("MIGRATE 127.0.0.1 {port} text 0 20000"));
        let (mut link, _) = target.accept().expect("it comes");
        assert!(link.read(&mut [0; 1000]).expect("the first calls") > 0);
        if is_killed {
            other.expect(&format!("CLIENT KILL ID {id}"), ":1");
        }
        drop(client);
        eventually("it is gone", || other.call("INFO clients").text().contains("connected_clients:1"));
        other.expect("EXISTS text", ":1");
        link.write_all(b"+OK\r\n+OK\r\n").expect("it listens");
        eventually("it has gone there", || other.call("EXISTS text").int() == 0);
    }
}
