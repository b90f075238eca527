//! Drives two servers in turns with the same calls, row by row.

use std::time::Duration;

use super::Result;
use super::client::Client;
use super::fill;
use super::load::{Outcome, Plan, drive};
use super::options::Options;
use super::rows::{Family, Row};
use super::servers::{Launch, Server};
use super::system::Cores;
use super::verify;

/// After data was made, so that a server may finish what it does in the background.
const SETTLE: Duration = Duration::from_millis(200);

/// One row at one pipeline: what was found for both.
pub struct Line {
    pub row: Row,
    pub pipeline: u64,
    pub ours: Numbers,
    pub theirs: Numbers,
    pub floor: Option<f64>,
}

impl Line {
    /// Processor time per operation, ours as a part of theirs.
    pub fn ratio(&self) -> f64 {
        self.ours.server_us / self.theirs.server_us
    }

    pub fn is_missed(&self) -> bool {
        self.floor.is_some_and(|floor| self.ratio() > floor)
    }
}

/// Medians over the rounds.
pub struct Numbers {
    pub per_second: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    /// Processor time of the server for one operation, and how far the rounds are apart as a part of it.
    pub server_us: f64,
    pub spread: f64,
    /// The share of the time that the server's process and the load's threads were running.
    pub server_busy: f64,
    pub load_busy: f64,
}

impl Numbers {
    fn of(rounds: &[Outcome]) -> Numbers {
        let median = |number: &dyn Fn(&Outcome) -> f64| {
            let mut numbers: Vec<f64> = rounds.iter().map(number).collect();
            numbers.sort_by(f64::total_cmp);
            (numbers[(numbers.len() - 1) / 2] + numbers[numbers.len() / 2]) / 2.0
        };
        let server_us = median(&Outcome::server_us_each);
        let (low, high) = rounds
            .iter()
            .map(Outcome::server_us_each)
            .fold((f64::MAX, 0.0_f64), |(low, high), number| (low.min(number), high.max(number)));
        Numbers {
            per_second: median(&Outcome::per_second),
            p50_us: median(&|outcome| outcome.latency.quantile_us(0.50)),
            p99_us: median(&|outcome| outcome.latency.quantile_us(0.99)),
            server_us,
            spread: (high - low) / server_us,
            server_busy: median(&|outcome| outcome.server_time.as_secs_f64() / outcome.elapsed.as_secs_f64()),
            load_busy: median(&|outcome| outcome.load_time.as_secs_f64() / outcome.elapsed.as_secs_f64()),
        }
    }
}

pub fn compare(
    options: &Options,
    ours: &Launch,
    theirs: &Launch,
    cores: &Cores,
    floor: impl Fn(Row, u64) -> Option<f64>,
) -> Result<Vec<Line>> {
    let mut ours = Side::start(ours, cores)?;
    let mut theirs = Side::start(theirs, cores)?;
    let mut lines = Vec::new();
    let mut family = None;
    for row in options.rows() {
        let keys = row.family().keys(options.keys(), options.collections());
        if family != Some(row.family()) {
            family = Some(row.family());
            eprintln!("{:?}: {keys} keys", row.family());
            ours.fill(row.family(), keys)?;
            theirs.fill(row.family(), keys)?;
        }
        for pipeline in options.pipelines(row) {
            let plan = Plan {
                row,
                connections: options.connections,
                pipeline,
                threads: options.threads.min(options.connections),
                operations: 0,
                seed: options.seed,
                keys,
                tag: fill::FIRST_TAG.to_owned(),
            };
            let plan = calibrate(options, plan, &mut ours, &mut theirs, cores)?;
            let (mut our_rounds, mut their_rounds) = (Vec::new(), Vec::new());
            for round in 0..options.rounds() {
                // Another seed and other values in each round, the same for both.
                let tag = format!("{:03}:", (round + 1) % 1000);
                let plan = Plan { seed: options.seed + u64::from(round) + 1, tag, ..plan.clone() };
                let (our_round, their_round) = (ours.measure(&plan, cores, true)?, theirs.measure(&plan, cores, true)?);
                verify::same_replies(&plan, &our_round, &their_round)?;
                our_rounds.push(our_round);
                their_rounds.push(their_round);
            }
            let (our_numbers, their_numbers) = (Numbers::of(&our_rounds), Numbers::of(&their_rounds));
            let line = Line { row, pipeline, ours: our_numbers, theirs: their_numbers, floor: floor(row, pipeline) };
            eprintln!(
                "{:11} pipeline {pipeline:<3} µs/op {:7.3} : {:7.3}  ratio {:.2}{}",
                row.name(),
                line.ours.server_us,
                line.theirs.server_us,
                line.ratio(),
                if line.is_missed() { "  floor missed" } else { "" }
            );
            lines.push(line);
        }
    }
    Ok(lines)
}

/// Finds how many calls keep the reference busy for the time that was asked for. Both servers are warm after it.
fn calibrate(options: &Options, plan: Plan, ours: &mut Side, theirs: &mut Side, cores: &Cores) -> Result<Plan> {
    let most = plan.row.calls_a_key_max().map_or(u64::MAX / 2, |calls| plan.keys * calls);
    let rounded = |plan: &Plan, operations: u64| {
        let operations = plan.round_up(operations.min(most));
        Plan { operations, ..plan.clone() }
    };
    let enough = (options.seconds() / 4.0).min(0.3);
    let mut trial = rounded(&plan, plan.connections * plan.pipeline * 8);
    loop {
        let outcome = theirs.measure(&trial, cores, false)?;
        let elapsed = outcome.elapsed.as_secs_f64();
        if elapsed >= enough || trial.operations >= most {
            ours.measure(&trial, cores, false)?;
            return Ok(rounded(&plan, (outcome.per_second() * options.seconds()) as u64));
        }
        let factor = (enough / elapsed * 1.2).clamp(1.5, 10.0);
        trial = rounded(&plan, (trial.operations as f64 * factor) as u64);
    }
}

/// One of the two servers, and what its data is like.
struct Side {
    server: Server,
    client: Client,
    /// A measurement has changed the size of the collections since they were made.
    is_grown: bool,
    increments: u64,
}

impl Side {
    fn start(launch: &Launch, cores: &Cores) -> Result<Side> {
        let server = Server::start(launch, cores)?;
        let client = server.client()?;
        Ok(Side { server, client, is_grown: false, increments: 0 })
    }

    /// Replaces all data by a new family.
    fn fill(&mut self, family: Family, keys: u64) -> Result<()> {
        self.client.expect_ok(&[b"FLUSHALL"])?;
        fill::make(&mut self.client, family, keys)?;
        fill::all_there(&mut self.client, family, keys)?;
        (self.is_grown, self.increments) = (false, 0);
        std::thread::sleep(SETTLE);
        Ok(())
    }

    /// Makes the data as the row needs it, drives the server, and looks for the effects.
    fn measure(&mut self, plan: &Plan, cores: &Cores, check: bool) -> Result<Outcome> {
        if plan.row.family().is_collection() && self.is_grown {
            // Not key by key: SPOP may have emptied some.
            self.client.expect_ok(&[b"FLUSHALL"])?;
            fill::make(&mut self.client, plan.row.family(), plan.keys)?;
            self.is_grown = false;
            std::thread::sleep(SETTLE);
        }
        if let Some(row) = plan.row.undoes() {
            drive(&self.server, &Plan { row, ..plan.clone() }, cores)?;
        }
        let outcome = drive(&self.server, plan, cores)?;
        self.is_grown |= plan.row.changes_size();
        if plan.row == Row::Incr {
            self.increments += outcome.operations;
        }
        if check {
            verify::effects(&mut self.client, plan, &outcome, self.increments)
                .map_err(|error| format!("{}: {error}", self.server.name))?;
        }
        Ok(outcome)
    }
}
