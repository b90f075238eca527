//! What it takes to keep the data: the log beside theirs, snapshots, and starts.
//!
//! What a snapshot costs those who write meanwhile is in `snapshots`. A start is timed from the outside, from the process's begin to the first PONG, less that of a server without data; so
//! what is compared is what a person waits for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Result;
use super::client::{Client, Reply};
use super::fill;
use super::load::{Plan, drive};
use super::options::Options;
use super::rows::{Family, Row};
use super::servers::{Folder, Launch, Server};
use super::snapshots;
use super::speed::{self, Line};
use super::system::Cores;

pub const LOG: &[&str] = &["--appendonly", "yes", "--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0"];
const LOG_ALWAYS: &[&str] = &["--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0"];

/// How long everything may take to be fsynced that was written before a kill.
const FSYNC_TIME: Duration = Duration::from_millis(2500);

/// What one SET takes in the log: two headers and three words.
const BYTES_A_SET: u64 = 63;

/// One number of both.
pub struct Number {
    pub what: String,
    pub unit: &'static str,
    pub ours: f64,
    pub theirs: f64,
    pub floor: Option<Floor>,
    /// More is better.
    pub rises: bool,
}

/// The most or the least that ours may be.
#[derive(Clone, Copy, Debug)]
pub enum Floor {
    /// As a part of theirs.
    Ratio(f64),
    /// By itself; theirs stands beside it.
    Own(f64),
}

impl Number {
    pub fn ratio(&self) -> f64 {
        self.ours / self.theirs
    }

    pub fn is_missed(&self) -> bool {
        self.floor.is_some_and(|floor| {
            let (number, limit) = match floor {
                Floor::Ratio(limit) => (self.ratio(), limit),
                Floor::Own(limit) => (self.ours, limit),
            };
            if self.rises { number < limit } else { number > limit }
        })
    }
}

pub struct Found {
    /// SET with both logs, once for each `appendfsync`.
    pub every_second: Vec<Line>,
    pub numbers: Vec<Number>,
    /// What the disk under the servers takes, in MB a second.
    pub disk: f64,
}

pub fn compare(options: &Options, ours: &Launch, theirs: &Launch, cores: &Cores) -> Result<Found> {
    let sets = options.with_rows(&[Row::Set]);
    let mut numbers = Vec::new();
    let every_second =
        speed::compare(&sets, &ours.with(LOG), &theirs.with(LOG), cores, |_, pipeline| match pipeline {
            1 => Some(0.95),
            16 => Some(0.55),
            64 => Some(0.35),
            _ => None,
        })?;
    for line in speed::compare(&sets, &ours.with(LOG_ALWAYS), &theirs.with(LOG_ALWAYS), cores, |_, _| None)? {
        numbers.push(Number {
            what: format!("SET, always, pipeline {}", line.pipeline),
            unit: "per second",
            ours: line.ours.per_second,
            theirs: line.theirs.per_second,
            floor: match line.pipeline {
                1 => Some(Floor::Ratio(1.2)),
                16 => Some(Floor::Ratio(1.5)),
                _ => None,
            },
            rises: true,
        });
    }
    for line in speed::compare(&sets, &ours.with(LOG), ours, cores, |_, _| None)? {
        numbers.push(Number {
            what: format!("SET, pipeline {}: ours with the log, and without", line.pipeline),
            unit: "µs of processor time",
            ours: line.ours.server_us,
            theirs: line.theirs.server_us,
            floor: (line.pipeline == 64).then_some(Floor::Ratio(1.35)),
            rises: false,
        });
    }
    numbers.extend(snapshots::compare(options, ours, theirs, cores)?);
    let (our_saves, their_saves) = (snapshot(options, ours, cores)?, snapshot(options, theirs, cores)?);
    let (our_replay, their_replay) = (replay(options, ours, cores)?, replay(options, theirs, cores)?);
    let keys = options.keys();
    let mut seconds = |what: String, ours: Duration, theirs: Duration, floor| {
        let (ours, theirs) = (ours.as_secs_f64(), theirs.as_secs_f64());
        numbers.push(Number { what, unit: "seconds", ours, theirs, floor, rises: false });
    };
    seconds(format!("SAVE of {keys} keys"), our_saves.made, their_saves.made, None);
    seconds(
        format!("start with a snapshot of {keys} keys"),
        our_saves.loaded,
        their_saves.loaded,
        Some(Floor::Ratio(0.6)),
    );
    let log = options.log_bytes() >> 20;
    seconds(format!("start with a log of {log} MB"), our_replay, their_replay, Some(Floor::Ratio(0.5)));
    Ok(Found { every_second, numbers, disk: snapshots::disk_mb_a_second()? })
}

struct Saved {
    made: Duration,
    loaded: Duration,
}

fn snapshot(options: &Options, launch: &Launch, cores: &Cores) -> Result<Saved> {
    let server = Server::start(launch, cores)?;
    let mut client = server.client()?;
    fill::make(&mut client, Family::Strings, options.keys())?;
    let began = Instant::now();
    client.expect_ok(&[b"SAVE"])?;
    let made = began.elapsed();
    eprintln!("{}: SAVE {made:.2?}", launch.name);
    let folder = server.folder();
    // As a kill does: nothing is written at the end.
    drop((client, server));
    Ok(Saved { made, loaded: start(launch, cores, folder, options.keys())? })
}

/// A start with a log of the wanted size.
fn replay(options: &Options, launch: &Launch, cores: &Cores) -> Result<Duration> {
    let launch = launch.with(LOG);
    let server = Server::start(&launch, cores)?;
    fill::make(&mut server.client()?, Family::Strings, options.keys())?;
    let plan = Plan {
        row: Row::Set,
        connections: options.connections,
        pipeline: 64,
        threads: options.threads.min(options.connections),
        operations: 0,
        seed: options.seed,
        keys: options.keys(),
        tag: fill::FIRST_TAG.to_owned(),
    };
    let operations = plan.round_up(options.log_bytes().div_ceil(BYTES_A_SET).saturating_sub(options.keys()).max(1));
    drive(&server, &Plan { operations, ..plan }, cores)?;
    std::thread::sleep(FSYNC_TIME);
    let folder = server.folder();
    drop(server);
    start(&launch, cores, folder, options.keys())
}

/// How much longer a start takes on this folder than on an empty one. All keys must be there.
fn start(launch: &Launch, cores: &Cores, folder: Arc<Folder>, keys: u64) -> Result<Duration> {
    let (_, empty) = timed(launch, cores, Folder::new()?)?;
    let (mut client, full) = timed(launch, cores, folder)?;
    let found = client.1.call(&[b"DBSIZE"], |reply| match reply {
        Reply::Int(count) => Some(count as u64),
        _ => None,
    })?;
    if found != keys {
        return Err(format!("{} has {found} of {keys} keys after its start", launch.name));
    }
    let time = full.saturating_sub(empty);
    eprintln!("{}: start {time:.2?}", launch.name);
    Ok(time)
}

fn timed(launch: &Launch, cores: &Cores, folder: Arc<Folder>) -> Result<((Server, Client), Duration)> {
    let began = Instant::now();
    let server = Server::start_on(launch, cores, folder)?;
    let time = began.elapsed();
    let client = server.client()?;
    Ok(((server, client), time))
}
