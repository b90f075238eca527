//! Programs that others have written for Redis, where they are installed; otherwise a word says what was skipped.

#[path = "support/server.rs"]
mod server;
#[path = "support/wire.rs"]
mod wire;

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use server::Server;
use wire::{Wire, call, encode};

/// Runs a program with `input`, which must end well; what it printed to both outputs.
#[track_caller]
fn run(command: &mut Command, input: Vec<u8>) -> String {
    let (well, output) = run_to_its_end(command, input);
    assert!(well, "{command:?} failed:\n{output}");
    output
}

/// Whether it ended well, within a minute; what it printed to both outputs.
fn run_to_its_end(command: &mut Command, input: Vec<u8>) -> (bool, String) {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it was found before");
    let mut stdin = child.stdin.take().expect("it is piped");
    // It may end without having read everything.
    thread::spawn(move || drop(stdin.write_all(&input)));
    fn gather(mut from: impl Read + Send + 'static) -> thread::JoinHandle<String> {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = from.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        })
    }
    let (stdout, stderr) =
        (gather(child.stdout.take().expect("it is piped")), gather(child.stderr.take().expect("it is piped")));
    let end = Instant::now() + Duration::from_secs(60);
    let status = loop {
        match child.try_wait().expect("it is our child") {
            Some(status) => break Some(status),
            None if Instant::now() > end => {
                // It may end in this moment.
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
            None => thread::sleep(Duration::from_millis(5)),
        }
    };
    let output = stdout.join().expect("no panic") + &stderr.join().expect("no panic");
    (status.is_some_and(|status| status.success()), output)
}

fn is_there(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let is_there = found.is_ok_and(|status| status.success());
    if !is_there {
        println!("skipped: {program} is not installed");
    }
    is_there
}

fn redis_py(protocol: &str) {
    let python = std::env::var("SYNAP_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
    let has_redis = Command::new(&python).args(["-c", "import redis"]).stderr(Stdio::null()).status();
    if !has_redis.is_ok_and(|status| status.success()) {
        println!("skipped: {python} has no module redis");
        return;
    }
    let server = Server::start();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/clients/redis_py.py");
    let output = run(Command::new(python).arg(script).args([&server.port(), protocol]), Vec::new());
    assert!(output.ends_with("all well\n"), "{output}");
}

#[test]
fn redis_py_in_resp2() {
    redis_py("2");
}

#[test]
fn redis_py_in_resp3() {
    redis_py("3");
}

#[test]
fn redis_cli() {
    if !is_there("redis-cli") {
        return;
    }
    let server = Server::start();
    let port = server.port();
    let cli =
        |words: &[&str], input: &[u8]| run(Command::new("redis-cli").args(["-p", &port]).args(words), input.to_vec());
    assert_eq!(cli(&["SET", "k", "a b"], b""), "OK\n");
    assert_eq!(cli(&["GET", "k"], b""), "a b\n");
    assert_eq!(cli(&["-3", "HSET", "h", "f", "1"], b""), "1\n");
    assert_eq!(cli(&["-3", "--no-raw", "HGETALL", "h"], b""), "1# \"f\" => \"1\"\n");
    assert_eq!(cli(&["-n", "2", "DBSIZE"], b""), "0\n");
    assert_eq!(cli(&["-x", "SET", "binary"], b"\0\xff\r\n"), "OK\n");
    assert_eq!(cli(&["--raw", "-r", "3", "INCR", "n"], b""), "1\n2\n3\n");
    assert!(cli(&["ECHO"], b"").contains("wrong number of arguments"));
    // Calls from standard input, as people and scripts type them.
    let typed = b"SET \"a key\" 'a value'\nGET \"a key\"\nMULTI\nINCR n\nEXEC\nHELLO 3\nSMEMBERS none\nINFO server\nCOMMAND DOCS get\n";
    let answers = cli(&[], typed);
    assert!(answers.starts_with("OK\na value\nOK\nQUEUED\n4\n"), "{answers}");
    assert!(answers.contains("redis_version:") && answers.contains("summary"), "{answers}");
    assert!(cli(&["--scan", "--pattern", "a*"], b"").contains("a key"));
    assert!(cli(&["CLIENT", "LIST"], b"").contains("cmd=client|list"));
    // Mass insertion.
    let calls: Vec<u8> = (0..50_000).flat_map(|number| call(&format!("SET pipe:{number} {number}"))).collect();
    let answers = cli(&["--pipe"], &calls);
    assert!(answers.contains("errors: 0, replies: 50000"), "{answers}");
    let mut broken = calls[..1000].to_vec();
    broken.truncate(calls[..1000].iter().rposition(|byte| *byte == b'*').expect("a call"));
    broken.extend(encode(&[b"HGET", b"pipe:1", b"f"]));
    let answers = run_to_its_end(Command::new("redis-cli").args(["-p", &port, "--pipe"]), broken).1;
    assert!(answers.contains("errors: 1"), "{answers}");
    let mut wire = Wire::connect(server.resp);
    wire.expect("GET pipe:49999", "\"49999\"");
    wire.expect("GET binary", "\"\\x00\\xff\\r\\n\"");
}

#[test]
fn redis_benchmark() {
    if !is_there("redis-benchmark") {
        return;
    }
    let server = Server::start();
    for more in [&[][..], &["-P", "16"], &["-P", "16", "-3", "-r", "1000"]] {
        let mut command = Command::new("redis-benchmark");
        command.args(["-p", &server.port(), "-t", "get,set,incr", "-n", "10000", "-q"]).args(more);
        let output = run(&mut command, Vec::new());
        for name in ["SET", "GET", "INCR"] {
            assert!(output.contains(&format!("{name}: ")), "{output}");
        }
        assert_eq!(output.matches("requests per second").count(), 3, "{output}");
        assert!(!output.to_lowercase().contains("error") && !output.contains("WARNING"), "{output}");
    }
    let mut wire = Wire::connect(server.resp);
    // The first two runs count in one key, the third in one of a thousand.
    wire.expect("GET counter:__rand_int__", "\"20000\"");
}

/// What stands in the shell blocks of the pages works as it is written.
#[test]
fn the_lines_of_the_pages_work() {
    if !is_there("curl") {
        return;
    }
    let server = Server::start();
    let mut wire = Wire::connect(server.resp);
    // What the lines are about.
    wire.expect("RPUSH jobs one", ":1");
    wire.expect("HSET order:1 version 7", ":1");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = std::env::temp_dir().join(format!("synap-pages-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("photo.jpg"), [0xff, 0xd8, 0]).expect("a file");
    let mut count = 0;
    for page in ["README.md", "docs/http.md"] {
        let text = fs::read_to_string(root.join(page)).expect("a page");
        // Every other part stands between fences.
        for block in text.split("```").skip(1).step_by(2) {
            let (_, block) = block.split_once('\n').unwrap_or_default();
            if !block.contains("curl ") {
                continue;
            }
            let lines: Vec<&str> = block.lines().filter(|line| !line.starts_with("redis-cli")).collect();
            // A refusal is no success.
            let script = format!("curl() {{ command curl -fsS \"$@\"; }}\n{}", lines.join("\n"))
                .replace("localhost:15500", &server.http.to_string());
            let output = run(Command::new("sh").args(["-e", "-c", &script]).current_dir(&folder), Vec::new());
            for (_, said) in lines.iter().filter_map(|line| line.split_once("# {")) {
                assert!(output.contains(&format!("{{{said}")), "{page}: {said} is not in {output}");
            }
            count += 1;
        }
    }
    let _ = fs::remove_dir_all(&folder);
    assert_eq!(count, 5, "blocks of lines");
    wire.expect("GET k100000", "\"100000\"");
    wire.expect("HGET order:1 state", "\"paid\"");
}
