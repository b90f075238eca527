//! What a snapshot costs while it is made, under as many writes as the server takes: memory, and how long writes take.
//!
//! Theirs forks; what its child has to itself is counted as its: the pages that were copied because either wrote to them.

use std::io::Write;
use std::time::{Duration, Instant};

use super::Result;
use super::client::{Client, Reply};
use super::fill;
use super::load::{Outcome, Plan, drive_beside};
use super::options::Options;
use super::persistence::{Floor, LOG, Number};
use super::rows::{Family, Row};
use super::servers::{Folder, Launch, Server};
use super::system::Cores;

/// Calls in a batch of the load, whose latency is what is compared.
const PIPELINE: u64 = 16;
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// A disk that takes longer is not one to measure on.
const PATIENCE: Duration = Duration::from_secs(600);

const MEBIBYTE: u64 = 1 << 20;
/// Large enough that a disk's own memory does not hold all of it.
const DISK_MEBIBYTES: u64 = 512;

/// What was found for one server.
struct Found {
    /// What all keys take, in bytes of resident memory, and how much more there was at most while the snapshot was made.
    data: u64,
    extra: u64,
    before: Outcome,
    during: Outcome,
}

impl Found {
    fn extra_percent(&self) -> f64 {
        self.extra as f64 * 100.0 / self.data as f64
    }

    fn p99_growth(&self) -> f64 {
        self.during.latency.quantile_us(0.99) / self.before.latency.quantile_us(0.99)
    }
}

pub fn compare(options: &Options, ours: &Launch, theirs: &Launch, cores: &Cores) -> Result<Vec<Number>> {
    let (ours, theirs) = (measure(options, ours, cores)?, measure(options, theirs, cores)?);
    let what = format!("BGSAVE of {} keys under write load", options.keys());
    let number = |text: &str, unit, floor, take: &dyn Fn(&Found) -> f64| Number {
        what: format!("{what}{text}"),
        unit,
        ours: take(&ours),
        theirs: take(&theirs),
        floor,
        rises: false,
    };
    Ok(vec![
        number(": extra resident memory", "% of the data", Some(Floor::Own(10.0)), &Found::extra_percent),
        number(": p99 of a batch of 16, during ÷ before", "times", Some(Floor::Own(3.0)), &Found::p99_growth),
        number(": p99 of a batch of 16, before", "µs", None, &|found| found.before.latency.quantile_us(0.99)),
        number(": writes, before ÷ during", "times", None, &|found| {
            found.before.per_second() / found.during.per_second()
        }),
        number("", "seconds", None, &|found| found.during.elapsed.as_secs_f64()),
    ])
}

fn measure(options: &Options, launch: &Launch, cores: &Cores) -> Result<Found> {
    let server = Server::start(&launch.with(LOG), cores)?;
    let mut client = server.client()?;
    let empty = server.resident_bytes_with_children()?;
    fill::make(&mut client, Family::Strings, options.keys())?;
    let data = server.resident_bytes_with_children()?.saturating_sub(empty);
    let plan = Plan {
        row: Row::Set,
        connections: options.connections,
        pipeline: PIPELINE,
        threads: options.threads.min(options.connections),
        operations: 0,
        seed: options.seed,
        keys: options.keys(),
        tag: fill::FIRST_TAG.to_owned(),
    };
    let time = Duration::from_secs_f64(options.seconds());
    let wait = || {
        std::thread::sleep(time);
        server.resident_bytes_with_children()
    };
    // Buffers, and what the log keeps in memory, have grown after the first.
    drive_beside(&server, &plan, cores, wait)?;
    let (before, resident) = drive_beside(&server, &plan, cores, wait)?;
    let (during, most) = drive_beside(&server, &plan, cores, || save(&server, &mut client))?;
    let found = Found { data, extra: most.saturating_sub(resident), before, during };
    eprintln!(
        "{}: BGSAVE under load {:.2?}, {:.1} of {:.1} MB more, p99 {:.0} µs, {:.0} µs before",
        launch.name,
        found.during.elapsed,
        found.extra as f64 / 1e6,
        found.data as f64 / 1e6,
        found.during.latency.quantile_us(0.99),
        found.before.latency.quantile_us(0.99),
    );
    Ok(found)
}

/// Makes a snapshot; the most memory that was seen meanwhile.
fn save(server: &Server, client: &mut Client) -> Result<u64> {
    client.call(&[b"BGSAVE"], |reply| matches!(reply, Reply::Status(_)).then_some(()))?;
    let end = Instant::now() + PATIENCE;
    let mut most = server.resident_bytes_with_children()?;
    while client.info_number("persistence", "rdb_bgsave_in_progress")? != Some(0) {
        if Instant::now() > end {
            return Err(format!("BGSAVE of {} takes more than {} seconds", server.name, PATIENCE.as_secs()));
        }
        std::thread::sleep(LOOK_EVERY);
        most = most.max(server.resident_bytes_with_children()?);
    }
    client.call(&[b"INFO", b"persistence"], |reply| {
        let Reply::Bulk(text) = reply else { return None };
        String::from_utf8_lossy(text).contains("rdb_last_bgsave_status:ok").then_some(most)
    })
}

/// What the disk takes that the servers write to: one large file, in order, with its fsync.
pub fn disk_mb_a_second() -> Result<f64> {
    let fail = |error: std::io::Error| format!("cannot measure the disk: {error}");
    let folder = Folder::new()?;
    // Bytes that no file system makes smaller.
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    let bytes: Vec<u8> = (0..MEBIBYTE).map(|_| next()).collect();
    let began = Instant::now();
    let mut file = std::fs::File::create(folder.file("disk")).map_err(fail)?;
    for _ in 0..DISK_MEBIBYTES {
        file.write_all(&bytes).map_err(fail)?;
    }
    file.sync_all().map_err(fail)?;
    Ok((DISK_MEBIBYTES * MEBIBYTE) as f64 / 1e6 / began.elapsed().as_secs_f64())
}
