//! The built server as a child process, on ports and in a folder of its own.

// Each test program uses its own part of this file.
#![allow(dead_code)]

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

/// What a start may take on a busy machine.
const START_TIME: Duration = Duration::from_secs(20);

/// What a server says before it is ready, in any order.
const STEPS: &[&str] = &["RESP on ", "HTTP on ", "ready"];

/// How a server is started. Its ports and its folder come on top.
#[derive(Default)]
pub struct Start<'a> {
    /// The configuration file.
    pub file: Option<&'a str>,
    /// What stands on standard input; the flag for it comes by itself.
    pub stdin: Option<&'a str>,
    pub vars: &'a [(&'a str, &'a str)],
    pub flags: &'a [&'a str],
    pub data: Option<&'a Path>,
    /// What is done to the command before it starts.
    pub prepare: Option<&'a dyn Fn(&mut Command)>,
}

/// A server that ends with its test. A panic in one of its threads fails the test.
pub struct Server {
    child: Child,
    pub resp: SocketAddr,
    pub http: SocketAddr,
    dir: PathBuf,
    ended: Option<ExitStatus>,
}

impl Server {
    pub fn start() -> Server {
        Server::with(&[])
    }

    /// A server with further flags.
    pub fn with(flags: &[&str]) -> Server {
        Server::begin(&Start { flags, ..Start::default() })
    }

    /// A server whose data are in a folder that stays.
    pub fn on(data: &DataFolder, flags: &[&str]) -> Server {
        Server::begin(&Start { flags, data: Some(&data.0), ..Start::default() })
    }

    pub fn begin(start: &Start<'_>) -> Server {
        for _ in 0..20 {
            if let Some(server) = Server::try_start(start) {
                return server;
            }
        }
        panic!("the server does not start; its last words are above");
    }

    /// None when it ended at once: somebody took a port between our look and its bind.
    fn try_start(start: &Start<'_>) -> Option<Server> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("synap-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).expect("a folder");
        let free = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let [resp, http] = free.map(|listener| listener.local_addr().expect("an address"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_synap-server"));
        // What is said to the tests is no setting of the server.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SYNAP_")) {
            command.env_remove(name);
        }
        if let Some(prepare) = start.prepare {
            prepare(&mut command);
        }
        let mut child = command
            .args(start.file)
            .args(["--port", &resp.port().to_string(), "--http-port", &http.port().to_string()])
            .arg("--dir")
            .arg(start.data.map_or_else(|| dir.join("data"), Path::to_path_buf))
            .args(start.flags)
            .args(start.stdin.map(|_| "-"))
            .envs(start.vars.iter().copied())
            .stdin(if start.stdin.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(File::create(dir.join("stderr")).expect("a file"))
            .spawn()
            .expect("the server was built");
        if let Some(text) = start.stdin {
            let mut stdin = child.stdin.take().expect("it is piped");
            stdin.write_all(text.as_bytes()).expect("it reads");
        }
        let stdout = child.stdout.take().expect("it is piped");
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // Nobody listens once it is ready; the pipe stays open.
                let _ = sender.send(line);
            }
        });
        let server = Server { child, resp, http, dir, ended: None };
        let end = Instant::now() + START_TIME;
        let mut missing: Vec<&str> = STEPS.to_vec();
        while !missing.is_empty() {
            match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => missing.retain(|step| !line.starts_with(step)),
                Err(_) => {
                    eprintln!("{}", server.last_words());
                    return None;
                }
            }
        }
        Some(server)
    }

    /// What it says when it does not start; it must end by itself, and badly.
    #[track_caller]
    pub fn refuses(flags: &[&str]) -> String {
        let dir = std::env::temp_dir().join(format!("synap-test-{}-refused", std::process::id()));
        let mut command = Command::new(env!("CARGO_BIN_EXE_synap-server"));
        // A configuration file comes first.
        let (file, flags) = flags.split_at(flags.iter().take(1).filter(|flag| !flag.starts_with('-')).count());
        command.args(file);
        for (name, value) in [("--port", "0"), ("--http-port", "0"), ("--dir", &*dir.to_string_lossy())] {
            if !flags.contains(&name) {
                command.args([name, value]);
            }
        }
        let mut child = command
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server was built");
        let end = Instant::now() + START_TIME;
        let status = loop {
            match child.try_wait().expect("it is our child") {
                Some(status) => break Some(status),
                None if Instant::now() > end => {
                    let _ = child.kill();
                    let _ = child.wait();
                    break None;
                }
                None => thread::sleep(Duration::from_millis(2)),
            }
        };
        let _ = std::fs::remove_dir_all(&dir);
        let mut said = String::new();
        let mut stderr = child.stderr.take().expect("it is piped");
        std::io::Read::read_to_string(&mut stderr, &mut said).expect("text");
        assert!(status.is_some_and(|status| !status.success()), "{flags:?}: {status:?} {said}");
        said
    }

    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    pub fn port(&self) -> String {
        self.resp.port().to_string()
    }

    /// The memory that the system counts for it, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
    }

    /// Asks for its end as `kill` does.
    pub fn terminate(&self) {
        let id = i32::try_from(self.child.id()).expect("a process id");
        // SAFETY: a system call without pointers; the child was not waited for, so its id is still its own.
        let result = unsafe { libc::kill(id, libc::SIGTERM) };
        assert_eq!(result, 0, "it runs");
    }

    /// From now on no file of it may grow beyond `bytes`; None takes the limit away. With 0 every write to a file fails,
    /// as on a full disk.
    pub fn limit_files(&self, bytes: Option<u64>) {
        let id = i32::try_from(self.child.id()).expect("a process id");
        let mut limits = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: a system call that writes one struct, which outlives it.
        let result = unsafe { libc::prlimit64(id, libc::RLIMIT_FSIZE, std::ptr::null(), &raw mut limits) };
        assert_eq!(result, 0, "it runs");
        limits.rlim_cur = bytes.unwrap_or(limits.rlim_max);
        // SAFETY: a system call that reads one struct, which outlives it.
        let result = unsafe { libc::prlimit64(id, libc::RLIMIT_FSIZE, &raw const limits, std::ptr::null_mut()) };
        assert_eq!(result, 0, "it runs");
    }

    /// Ends it as `kill -9` does.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.ended = Some(self.child.wait().expect("it is our child"));
    }

    /// How it ended, if it has.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("it is our child");
        }
        self.ended
    }

    /// Waits for its end; true when it ended well.
    #[track_caller]
    pub fn ends_well_within(mut self, time: Duration) -> bool {
        let end = Instant::now() + time;
        while Instant::now() < end {
            if let Some(status) = self.try_wait() {
                return status.success();
            }
            thread::sleep(Duration::from_millis(2));
        }
        panic!("the server still runs after {time:?}");
    }

    /// Waits for its end; true when it ended well.
    #[track_caller]
    pub fn wait(self) -> bool {
        self.ends_well_within(Duration::from_secs(20))
    }

    /// What it wrote to standard error.
    pub fn last_words(&self) -> String {
        let bytes = std::fs::read(self.dir.join("stderr")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.try_wait().is_none() {
            // It may end between the look and this.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        let words = self.last_words();
        let _ = std::fs::remove_dir_all(&self.dir);
        if thread::panicking() {
            eprintln!("the server said:\n{words}");
        } else {
            assert!(!words.contains("panicked at"), "a thread of the server panicked:\n{words}");
        }
    }
}

/// A data folder that outlives its servers.
pub struct DataFolder(pub PathBuf);

impl DataFolder {
    pub fn new() -> DataFolder {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("synap-data-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        DataFolder(std::env::temp_dir().join(name))
    }

    /// Its files whose names begin so, in order.
    pub fn files(&self, beginning: &str) -> Vec<PathBuf> {
        let entries =
            std::fs::read_dir(&self.0).expect("the folder is there").map(|entry| entry.expect("an entry").path());
        let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut files: Vec<PathBuf> = entries.filter(|path| name(path).starts_with(beginning)).collect();
        files.sort();
        files
    }
}

impl Drop for DataFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Asks again until `found` says yes; fails after ten seconds.
#[track_caller]
pub fn eventually(what: &str, mut found: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !found() {
        assert!(Instant::now() < end, "{what}: not within ten seconds");
        thread::sleep(Duration::from_millis(2));
    }
}
