//! What the program does with data folders while no server runs on them: `synap-server check`, `repair`, `dump`, `load`.
//!
//! | module | what it is |
//! |---|---|
//! | [`check`] | verifies every checksum |
//! | [`repair`] | cuts a damaged log, and keeps aside what it takes away |
//! | [`dump`] | the log as commands, or the data as an RDB file |
//! | [`load`] | begins a folder with the data of Redis or Valkey |
//!
//! `synap-server mcp --stdio` stands among them, because it has a folder for itself too: see `crate::mcp::stdio`.
//!
//! Those who look take the folder's lock together, and not while a server has it: files that grow and go meanwhile say
//! nothing for certain. They change nothing in it.

mod check;
mod dump;
mod load;
mod repair;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use synap_core::execute::state::Due;
use synap_core::log::disk::io::Lock;
use synap_core::log::disk::{self, Manifest, RealDisk, Snapshot, folder};
use synap_core::persist::load::FileReader;
use synap_core::settings::{self, Settings};
use synap_core::snapshot::{Item, ReadOptions, Reader};
use synap_core::{Engine, Options};

/// What is asked for, as the command line says it.
#[derive(clap::Subcommand)]
pub enum Tool {
    /// Verifies every checksum of a data folder; ends with 1 when something is wrong.
    Check {
        #[command(flatten)]
        folder: DataFolder,
    },
    /// Says what keeps a server from starting on a data folder, and what to cut; with --truncate, does it.
    Repair {
        #[command(flatten)]
        folder: DataFolder,
        /// Cuts the log at the first flaw. What is taken away is kept under names that end in .damaged.
        #[arg(long)]
        truncate: bool,
    },
    /// Writes the log as commands that `redis-cli --pipe` takes, or the data as an RDB file.
    Dump {
        #[command(flatten)]
        folder: DataFolder,
        /// Begins at this offset of the log instead of with all data.
        #[arg(long, value_name = "OFFSET", conflicts_with = "rdb")]
        from: Option<u64>,
        /// Writes one RDB file, which must not be there yet, instead of commands.
        #[arg(long, value_name = "FILE")]
        rdb: Option<PathBuf>,
        /// Takes the older snapshot, and the log from there on, when the newest cannot be read.
        #[arg(long)]
        load_older_snapshot: bool,
    },
    /// Serves one agent over standard input and output, on a data folder that no server uses. A server that runs is
    /// reached over HTTP, at /mcp.
    #[cfg(feature = "mcp")]
    Mcp {
        #[command(flatten)]
        folder: DataFolder,
        /// The one way that there is.
        #[arg(long, required = true)]
        stdio: bool,
        /// The tools that the agent has, as in the setting of this name.
        #[arg(long, value_name = "TOOLS", default_value = settings::MCP_TOOLS.setting().default)]
        mcp_tools: String,
    },
    /// Begins an empty data folder with a dump.rdb, an append-only file, or the folder of one, of Redis or Valkey.
    Load {
        #[command(flatten)]
        folder: DataFolder,
        /// The file, or the folder with the manifest of append-only files.
        file: PathBuf,
        /// Leaves out what Synap has no type or command for, and names it.
        #[arg(long)]
        skip_unsupported: bool,
    },
}

#[derive(clap::Args)]
pub struct DataFolder {
    /// The data folder.
    #[arg(long = "dir", value_name = "DIR", default_value = settings::DIR.setting().default)]
    path: PathBuf,
}

/// Does it. The error is what standard error is to say.
pub fn run(tool: &Tool) -> Result<(), String> {
    let (folder, result) = match tool {
        Tool::Check { folder } => (folder, check::run(&folder.path)),
        Tool::Repair { folder, truncate } => (folder, repair::run(&folder.path, *truncate)),
        Tool::Dump { folder, rdb: Some(file), load_older_snapshot, .. } => {
            (folder, dump::rdb(&folder.path, file, *load_older_snapshot))
        }
        Tool::Dump { folder, from, load_older_snapshot, .. } => {
            (folder, dump::commands(&folder.path, *from, *load_older_snapshot))
        }
        #[cfg(feature = "mcp")]
        Tool::Mcp { folder, mcp_tools, .. } => (folder, crate::mcp::stdio::run(&folder.path, mcp_tools)),
        Tool::Load { folder, file, skip_unsupported } => (folder, load::run(&folder.path, file, *skip_unsupported)),
    };
    result.map_err(|error| format!("{}: {error}", folder.path.display()))
}

/// A data folder that nobody writes to as long as this lives.
struct Look {
    disk: RealDisk,
    manifest: Manifest,
    _lock: Lock,
}

impl Look {
    fn open(path: &Path) -> Result<Look, String> {
        let disk = RealDisk::to_read(path).map_err(text)?;
        let lock = folder::lock(&disk).map_err(text)?;
        match folder::read_manifest(&disk).map_err(text)? {
            Some(manifest) => Ok(Look { disk, manifest, _lock: lock }),
            None => match folder::strays(&disk, &Manifest::default()).map_err(text)?.into_iter().next() {
                Some(file) => Err(disk::Error::NoManifest { file }.to_string()),
                None => Err("there are no data of Synap in this folder".into()),
            },
        }
    }

    /// The newest snapshot that can be read, and what is wrong with those that are newer.
    fn newest_good(&self) -> (Option<&Snapshot>, Vec<(&Snapshot, String)>) {
        let mut bad = Vec::new();
        for snapshot in self.manifest.snapshots.iter().rev() {
            match self.read_snapshot(snapshot, &mut |_| Ok(())) {
                Ok(_) => return (Some(snapshot), bad),
                Err(error) => bad.push((snapshot, error)),
            }
        }
        (None, bad)
    }

    /// Reads a snapshot to its end, where its checksum stands; returns how many keys it has.
    fn read_snapshot(
        &self,
        snapshot: &Snapshot,
        each: &mut dyn FnMut(Item) -> Result<(), String>,
    ) -> Result<u64, String> {
        let name = &snapshot.name;
        let source = FileReader::open(&self.disk, name).map_err(|error| format!("opening {name}: {error}"))?;
        let bad = |error| format!("{name} cannot be used: {error}");
        let total = std::fs::metadata(self.disk.path().join(name)).map_or(0, |file| file.len());
        let mut reader = Reader::new(source, ReadOptions::default()).map_err(bad)?;
        let mut progress = Progress::new();
        let mut keys = 0;
        while let Some(item) = reader.next() {
            let item = item.map_err(bad)?;
            keys += u64::from(matches!(item, Item::Key(_)));
            progress.show(name, reader.offset(), total);
            each(item)?;
        }
        if !reader.is_at_end().map_err(bad)? {
            return Err(format!("{name} goes on behind its end, at byte {}", reader.offset()));
        }
        Ok(keys)
    }

    /// The log alone makes the data, from its first byte on.
    fn log_is_whole(&self) -> bool {
        let from_the_beginning = self.manifest.segments.first().is_some_and(|segment| segment.first == 0);
        // What a folder was begun with stands at 0, before all of the log.
        from_the_beginning && self.manifest.snapshots.iter().all(|snapshot| snapshot.offset > 0)
    }
}

/// An engine in memory in which time removes nothing.
fn memory_engine() -> Result<Engine, String> {
    let settings = Settings::default();
    // As many as a server could have been told to have.
    if let settings::Kind::Int { max, .. } = settings::DATABASES.setting().kind {
        settings.set(settings::DATABASES, &max.to_string()).map_err(text)?;
    }
    Ok(Engine::open_memory(Options { settings, due: Due::Show, active_expiry: false, ..Options::default() }))
}

/// How far a tool is, as a line on a terminal.
struct Progress {
    is_shown: bool,
    shown_at: Instant,
    has_line: bool,
}

impl Progress {
    /// Often enough to see that it goes on.
    const EVERY: Duration = Duration::from_millis(100);

    fn new() -> Progress {
        Progress { is_shown: std::io::stderr().is_terminal(), shown_at: Instant::now(), has_line: false }
    }

    fn show(&mut self, what: &str, done: u64, total: u64) {
        if self.is_shown && self.shown_at.elapsed() >= Progress::EVERY {
            self.shown_at = Instant::now();
            self.has_line = true;
            let percent = u128::from(done) * 100 / u128::from(total.max(1));
            // Nobody misses a line that cannot be written.
            let _ = write!(std::io::stderr(), "\r{what}: {percent} %\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.has_line {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
