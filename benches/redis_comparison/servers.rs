//! Starts the servers that are compared, and ends them: those and no others, whatever happens.

use std::fs::File;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::Result;
use super::client::Client;
use super::options::Options;
use super::system::{self, Cores, ProcessClock};

pub const HOW_TO_INSTALL: &str = "\
There is no valkey-server and no redis-server in PATH, so there is nothing to compare with.
Debian and Ubuntu have them in the packages `valkey-server` and `redis-server` (apt-get install valkey-server).
Or name one: cargo bench --bench redis_comparison -- --reference /path/to/valkey-server";

const START_PATIENCE: Duration = Duration::from_secs(20);
/// The same with data, and how often it is looked whether they are there.
const LOAD_PATIENCE: Duration = Duration::from_secs(600);
const LOOK_EVERY: Duration = Duration::from_millis(5);
const START_ATTEMPTS: u32 = 3;
const VERSION_PATIENCE: Duration = Duration::from_secs(3);

/// A server that can be started.
#[derive(Clone, Debug)]
pub struct Launch {
    /// As the tables call it.
    pub name: String,
    pub version: String,
    program: PathBuf,
    arguments: Vec<String>,
}

impl Launch {
    /// The server to compare with, when there is one.
    pub fn reference(options: &Options) -> Result<Option<Launch>> {
        let program = match &options.reference {
            Some(program) if program.is_file() => program.clone(),
            Some(program) => return Err(format!("there is no file {}", program.display())),
            None => match ["valkey-server", "redis-server"].iter().find_map(|name| in_path(name)) {
                Some(program) => program,
                None => return Ok(None),
            },
        };
        let version = version_of(&program);
        let mut launch = Launch { name: stem(&program), version, program, arguments: nothing_on_disk() };
        launch.arguments.extend(["--bind".into(), "127.0.0.1".into()]);
        launch.arguments.extend(options.reference_arg.iter().cloned());
        Ok(Some(launch))
    }

    /// Ours, with this many workers.
    pub fn ours(options: &Options, workers: u32) -> Launch {
        let built = || PathBuf::from(env!("CARGO_BIN_EXE_synap-server"));
        let program = options.ours.clone().unwrap_or_else(built);
        let version = version_of(&program);
        // Told by what it says of itself, not by its path: a link may have any name.
        let is_stand_in = version.starts_with("Redis") || version.starts_with("Valkey");
        let mut arguments = nothing_on_disk();
        if is_stand_in {
            arguments.extend(["--bind".into(), "127.0.0.1".into()]);
        } else {
            arguments.extend(["--http-port".into(), "0".into()]);
        }
        arguments.extend(["--io-threads".into(), workers.to_string()]);
        arguments.extend(options.ours_arg.iter().cloned());
        let name = if workers == 1 { stem(&program) } else { format!("{} with {workers} workers", stem(&program)) };
        Launch { name, version, program, arguments }
    }
}

impl Launch {
    /// The same with further arguments; what stands later counts.
    pub fn with(&self, arguments: &[&str]) -> Launch {
        let mut launch = self.clone();
        launch.arguments.extend(arguments.iter().map(|&word| word.to_owned()));
        launch
    }
}

/// Both servers are measured without a disk, unless the command line says otherwise: what stands later counts.
fn nothing_on_disk() -> Vec<String> {
    ["--save", "", "--appendonly", "no"].map(str::to_owned).to_vec()
}

pub fn in_path(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(name)).find(|path| path.is_file())
}

fn stem(program: &Path) -> String {
    program.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// What the program says of itself; empty when it says nothing, or serves instead of saying it.
fn version_of(program: &Path) -> String {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else { return String::new() };
    let deadline = Instant::now() + VERSION_PATIENCE;
    while matches!(child.try_wait(), Ok(None)) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut text = String::new();
    let output = child.stdout.take();
    end(child);
    if let Some(mut output) = output {
        let _ = output.read_to_string(&mut text);
    }
    let first = text.lines().next().unwrap_or_default();
    // Redis adds an identity of the build, which names nobody and helps nobody.
    let is_wanted = |word: &&str| !word.starts_with("sha=") && !word.starts_with("build=");
    first.split_whitespace().filter(is_wanted).collect::<Vec<_>>().join(" ")
}

/// A server that runs until this is dropped.
pub struct Server {
    pub name: String,
    pub address: SocketAddr,
    child: Child,
    clock: ProcessClock,
    // Dropped after `drop` has ended the process that writes into it.
    folder: Arc<Folder>,
}

impl Server {
    /// Starts on a free port of the loopback interface, bound to the server's cores, with a data folder of its own.
    pub fn start(launch: &Launch, cores: &Cores) -> Result<Server> {
        let mut attempt = 1;
        loop {
            match Server::start_once(launch, cores, Folder::new()?, START_PATIENCE) {
                Ok(server) => return Ok(server),
                // Between finding a port free and using it, somebody else may have taken it.
                Err(sentence) if attempt < START_ATTEMPTS && sentence.contains("already in use") => attempt += 1,
                Err(sentence) => return Err(sentence),
            }
        }
    }

    /// Starts on a folder that is there, and waits until its data are loaded.
    pub fn start_on(launch: &Launch, cores: &Cores, folder: Arc<Folder>) -> Result<Server> {
        Server::start_once(launch, cores, folder, LOAD_PATIENCE)
    }

    /// Its data, which stay as long as somebody has them.
    pub fn folder(&self) -> Arc<Folder> {
        self.folder.clone()
    }

    fn start_once(launch: &Launch, cores: &Cores, folder: Arc<Folder>, patience: Duration) -> Result<Server> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.local_addr())
            .map_err(|error| format!("cannot find a free port: {error}"))?
            .port();
        let log = File::create(folder.log()).map_err(|error| format!("cannot make a log file: {error}"))?;
        let same_log = log.try_clone().map_err(|error| format!("cannot make a log file: {error}"))?;

        let mut command = Command::new(&launch.program);
        command.arg("--port").arg(port.to_string()).arg("--dir").arg(&folder.path).args(&launch.arguments);
        command.current_dir(&folder.path).stdin(Stdio::null()).stdout(log).stderr(same_log);
        system::tie(&mut command, &cores.server);
        let child = command.spawn().map_err(|error| format!("cannot start {}: {error}", launch.program.display()))?;

        // Owned from here on: whatever fails below, the process is ended.
        let clock = ProcessClock::of(child.id());
        let name = launch.name.clone();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut server = match clock {
            Ok(clock) => Server { name, address, child, clock, folder },
            Err(sentence) => {
                end(child);
                return Err(sentence);
            }
        };
        server.await_ready(patience)?;
        Ok(server)
    }

    fn await_ready(&mut self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(self.explain(&format!("{} ended at once ({status})", self.name)));
            }
            let answer = self.client().and_then(|mut client| client.ping().map(|()| client));
            match answer {
                Ok(mut client) => match client.info_number("server", "process_id") {
                    Ok(Some(pid)) if pid != u64::from(self.child.id()) => {
                        return Err(format!("{} is already in use by another server", self.address));
                    }
                    _ => return Ok(()),
                },
                Err(sentence) if Instant::now() > deadline => {
                    return Err(self.explain(&format!("{} does not come up: {sentence}", self.name)));
                }
                Err(_) => std::thread::sleep(LOOK_EVERY),
            }
        }
    }

    pub fn client(&self) -> Result<Client> {
        Client::connect(&self.name, self.address)
    }

    pub fn processor_time(&self) -> Result<Duration> {
        self.clock.now()
    }

    /// Bytes of memory that the process has in use, as the kernel sees it.
    pub fn resident_bytes(&self) -> Result<u64> {
        let path = format!("/proc/{}/smaps_rollup", self.child.id());
        let text = std::fs::read_to_string(&path).map_err(|error| format!("cannot read {path}: {error}"))?;
        kilobytes(&text, "Rss:").map(|count| count << 10).ok_or_else(|| format!("{path} has no line Rss"))
    }

    /// The same without a look at each page: cheap enough to be asked while latencies are measured. With the pages that
    /// children have to themselves, which are those that either has changed since the fork.
    pub fn resident_bytes_with_children(&self) -> Result<u64> {
        let pid = self.child.id();
        let read =
            |path: String| std::fs::read_to_string(&path).map_err(|error| format!("cannot read {path}: {error}"));
        let own = kilobytes(&read(format!("/proc/{pid}/status"))?, "VmRSS:");
        let own = own.ok_or_else(|| format!("/proc/{pid}/status has no line VmRSS"))?;
        let children = read(format!("/proc/{pid}/task/{pid}/children"))?;
        // A child that has ended meanwhile has nothing any more.
        let of_child = |child| kilobytes(&read(format!("/proc/{child}/smaps_rollup")).ok()?, "Private_Dirty:");
        Ok((own + children.split_whitespace().filter_map(of_child).sum::<u64>()) << 10)
    }

    /// Bytes of memory in use as the server itself counts them.
    pub fn used_bytes(&self) -> Result<Option<u64>> {
        self.client()?.info_number("memory", "used_memory")
    }

    /// A sentence and the last lines of what the server wrote.
    pub fn explain(&self, sentence: &str) -> String {
        let log = std::fs::read_to_string(self.folder.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = &lines[lines.len().saturating_sub(10)..];
        if last.is_empty() { sentence.to_owned() } else { format!("{sentence}\nIts last words:\n{}", last.join("\n")) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The number behind this name in a file of `/proc`.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix("kB")?.trim().parse().ok())
}

fn end(mut child: Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// Removes what an earlier run has left behind that was killed.
pub fn sweep() {
    for entry in std::fs::read_dir(FOLDERS).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner =
            name.to_str().and_then(|name| name.strip_prefix(FOLDER_PREFIX)?.split_once('-')).map(|(pid, _)| pid);
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Cargo's folder for such things, in the target folder: on a disk, because our server appends to its log there.
const FOLDERS: &str = env!("CARGO_TARGET_TMPDIR");
/// Followed by the process id of the owner and a number.
const FOLDER_PREFIX: &str = "redis-comparison-";

/// A temporary folder that goes away with its owner.
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    pub fn new() -> Result<Arc<Folder>> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = Path::new(FOLDERS).join(format!("{FOLDER_PREFIX}{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(|error| format!("cannot make {}: {error}", path.display()))?;
        Ok(Arc::new(Folder { path }))
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn log(&self) -> PathBuf {
        self.path.join("output.log")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
