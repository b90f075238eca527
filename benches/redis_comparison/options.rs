//! The command line.

use std::path::PathBuf;

use clap::Parser;

use super::rows::Row;

/// Compares our release build with valkey-server or redis-server: speed, processor time per operation, memory.
///
/// Without one of --memory, --evictions, --persistence, --tls, --workers and --full it measures speed. The result is Markdown on
/// standard output.
#[derive(Parser, Clone, Debug)]
#[command(name = "redis_comparison", bin_name = "cargo bench --bench redis_comparison --")]
pub struct Options {
    /// Measure only these commands.
    #[arg(long, value_delimiter = ',', ignore_case = true, value_name = "GET,SET,…")]
    only: Vec<Row>,
    /// Calls that each connection sends before it waits for the replies.
    ///
    /// Without it: 1, 16 and 64 for the rows that the floors name, 16 for the others.
    #[arg(long = "pipeline", value_delimiter = ',', value_parser = clap::value_parser!(u64).range(1..=1024))]
    pipelines: Vec<u64>,
    /// How long the reference is measured in each round; ours gets exactly the same calls.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Rounds of each row; the medians are reported.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Keys of the rows GET, SET, INCR.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(100..=1_000_000_000))]
    keys: u64,
    /// Hashes, sets, sorted sets or lists of the other rows, of ten elements each.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(100..=100_000_000))]
    collections: u64,
    /// Connections of the load.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub connections: u64,
    /// Threads of the load.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=64))]
    pub threads: u64,
    /// Seed of the load: the same seed gives the same calls.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// A look at everything in a minute: one short round, a tenth of the keys. Its numbers mean little.
    #[arg(long)]
    pub quick: bool,

    /// Measure memory: bytes per key and per idle connection.
    #[arg(long)]
    memory: bool,
    /// Numbers of string keys for the memory part.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000_000], value_name = "N,N")]
    memory_keys: Vec<u64>,
    /// Measure the hit ratio of a full cache: which keys are removed, when memory has a limit.
    #[arg(long)]
    evictions: bool,
    /// Compare ours with this many workers to ours with one.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=256))]
    workers: Option<u32>,
    /// Measure what it takes to keep the data: the log beside theirs, snapshots, starts.
    #[arg(long)]
    persistence: bool,
    /// Measure SET over TLS. Needs a reference and a redis-benchmark that were built with it.
    #[arg(long)]
    tls: bool,
    /// The size of the log that a start replays, in the persistence part.
    #[arg(long, default_value_t = 2048, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    log_megabytes: u64,
    /// Everything: speed, memory at 1,000,000 and 5,000,000 keys, two workers. For docs/BENCHMARKS.md.
    #[arg(long)]
    full: bool,
    /// End with status 2 when a floor was missed.
    #[arg(long)]
    pub strict: bool,

    /// The reference server, instead of the first of valkey-server and redis-server in PATH.
    #[arg(long, value_name = "PATH")]
    pub reference: Option<PathBuf>,
    /// Our server, instead of the one built with this benchmark. A redis-server or valkey-server may stand in.
    #[arg(long, value_name = "PATH")]
    pub ours: Option<PathBuf>,
    /// One more argument for the reference server; may be repeated.
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    pub reference_arg: Vec<String>,
    /// One more argument for our server; may be repeated.
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    pub ours_arg: Vec<String>,

    /// Cargo says this to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    pub fn speed_part(&self) -> bool {
        self.full || !(self.memory || self.evictions || self.persistence || self.tls || self.workers.is_some())
    }

    pub fn memory_part(&self) -> bool {
        self.full || self.memory
    }

    pub fn evictions_part(&self) -> bool {
        self.full || self.evictions
    }

    pub fn persistence_part(&self) -> bool {
        self.full || self.persistence
    }

    pub fn tls_part(&self) -> bool {
        self.tls
    }

    pub fn log_bytes(&self) -> u64 {
        if self.quick { 16 << 20 } else { self.log_megabytes << 20 }
    }

    /// The same for these rows alone.
    pub fn with_rows(&self, rows: &[Row]) -> Options {
        Options { only: rows.to_vec(), ..self.clone() }
    }

    pub fn workers_part(&self) -> Option<u32> {
        self.workers.or(self.full.then_some(2))
    }

    /// The rows asked for, in the table's order: rows of one data set stay together.
    pub fn rows(&self) -> Vec<Row> {
        Row::ALL.iter().copied().filter(|row| self.only.is_empty() || self.only.contains(row)).collect()
    }

    /// The pipelines at which a row is measured.
    pub fn pipelines(&self, row: Row) -> Vec<u64> {
        if self.pipelines.is_empty() {
            [1, 16, 64].into_iter().filter(|&pipeline| row.is_measured_at(pipeline)).collect()
        } else {
            self.pipelines.clone()
        }
    }

    pub fn seconds(&self) -> f64 {
        if self.quick { self.seconds.min(0.3) } else { self.seconds }
    }

    pub fn rounds(&self) -> u32 {
        if self.quick { 1 } else { self.rounds }
    }

    pub fn keys(&self) -> u64 {
        if self.quick { self.keys / 10 } else { self.keys }
    }

    pub fn collections(&self) -> u64 {
        if self.quick { self.collections / 10 } else { self.collections }
    }

    pub fn memory_keys(&self) -> Vec<u64> {
        match (self.full, self.quick) {
            (_, true) => vec![100_000],
            (true, false) => vec![1_000_000, 5_000_000],
            (false, false) => self.memory_keys.clone(),
        }
    }
}
