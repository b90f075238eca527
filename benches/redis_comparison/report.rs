//! The tables, as Markdown on standard output: a whole output can stand in `docs/BENCHMARKS.md` as it is.

use std::process::Command;

use super::Result;
use super::evictions;
use super::memory;
use super::options::Options;
use super::persistence::{self, Floor};
use super::servers::Launch;
use super::speed;
use super::system::Cores;

/// A load that runs more than this share of the time may be what limits the throughput.
const LOAD_BUSY: f64 = 0.95;
/// Rounds further apart than this say that the machine was not quiet.
const SPREAD: f64 = 0.10;

const MISSED: &str = "**missed**";

/// What was compared, and on what. Nothing here tells one machine of a kind from another.
pub fn facts(options: &Options, ours: &Launch, theirs: Option<&Launch>) -> Result<()> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model =
        cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, model)| model);
    let count = std::thread::available_parallelism().map_err(|error| format!("cannot count the cores: {error}"))?;
    let release = read("/proc/sys/kernel/osrelease");
    let kernel: Vec<&str> = release.trim().split(['.', '-']).take(2).collect();
    let memory_kb = read("/proc/meminfo")
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    let load = read("/proc/loadavg").split(' ').next().and_then(|load| load.parse::<f64>().ok()).unwrap_or_default();

    println!("| | |");
    println!("|---|---|");
    println!("| ours | {} ({}) |", ours.name, known(&ours.version));
    if let Some(commit) = commit() {
        println!("| commit | {commit} |");
    }
    if let Some(theirs) = theirs {
        println!("| theirs | {} ({}), no snapshots, no log |", theirs.name, known(&theirs.version));
    }
    println!(
        "| machine | {} cores, {}, {:.0} GB, Linux {} |",
        count,
        model.unwrap_or("unknown processor"),
        memory_kb.unwrap_or_default() / 1e6,
        kernel.join(".")
    );
    println!(
        "| load | {} connections on {} thread, {} keys or {} collections, 16-byte keys and values, seed {} |",
        options.connections,
        options.threads,
        options.keys(),
        options.collections(),
        options.seed
    );
    println!(
        "| rounds | {} of {} s of the reference's time, servers in turns, medians |",
        options.rounds(),
        options.seconds()
    );
    println!(
        "| other work before the start | {load:.2} of {count} cores{} |",
        if load > 0.3 { " (**not quiet**)" } else { "" }
    );
    if cfg!(debug_assertions) || options.quick {
        println!("| **not for keeping** | {} |", if options.quick { "a quick run" } else { "not a release build" });
    }
    println!();
    Ok(())
}

/// The tables of the log, of snapshots and of starts; answers how many floors were missed.
pub fn persistence(found: &persistence::Found) -> usize {
    println!("SET with both logs, `appendfsync everysec`:\n");
    let missed = speed(&found.every_second, "theirs");
    println!("\n### The log, snapshots and starts\n");
    let missed = missed + numbers(&found.numbers);
    println!("The disk takes {:.0} MB a second: one large file, written in order and fsynced.\n", found.disk);
    missed
}

/// One table; answers how many floors were missed.
pub fn numbers(numbers: &[persistence::Number]) -> usize {
    println!("| what | | ours | theirs | ratio | floor | |");
    println!("|---|---|--:|--:|--:|--:|---|");
    for number in numbers {
        println!(
            "| {} | {} | {:.3} | {:.3} | **{:.2}** | {} | {} |",
            number.what,
            number.unit,
            number.ours,
            number.theirs,
            number.ratio(),
            match number.floor {
                None => String::new(),
                Some(Floor::Ratio(limit)) => limit.to_string(),
                Some(Floor::Own(limit)) => format!("ours {limit}"),
            },
            if number.is_missed() { MISSED } else { "" }
        );
    }
    println!();
    numbers.iter().filter(|number| number.is_missed()).count()
}

/// Two tables; answers how many floors were missed. `theirs` is the heading of the reference's columns.
pub fn speed(lines: &[speed::Line], theirs: &str) -> usize {
    println!("### Processor time of the server per operation, in microseconds\n");
    println!("| command | pipeline | ours | {theirs} | ratio | floor | | rounds ± ours | rounds ± {theirs} |");
    println!("|---|--:|--:|--:|--:|--:|---|--:|--:|");
    for line in lines {
        println!(
            "| {} | {} | {:.3} | {:.3} | **{:.2}** | {} | {} | {} | {} |",
            line.row.name(),
            line.pipeline,
            line.ours.server_us,
            line.theirs.server_us,
            line.ratio(),
            line.floor.map_or("–".to_owned(), |floor| format!("{floor:.2}")),
            if line.is_missed() { MISSED } else { "" },
            percent(line.ours.spread, SPREAD),
            percent(line.theirs.spread, SPREAD),
        );
    }
    println!("\n### Throughput, and latency of a batch in microseconds\n");
    println!(
        "| command | pipeline | ours /s | {theirs} /s | ratio | p50 ours | {theirs} | p99 ours | {theirs} | server busy ours | {theirs} | load busy ours | {theirs} |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    for line in lines {
        let (ours, theirs) = (&line.ours, &line.theirs);
        println!(
            "| {} | {} | {:.0} | {:.0} | {:.2} | {:.0} | {:.0} | {:.0} | {:.0} | {} | {} | {} | {} |",
            line.row.name(),
            line.pipeline,
            ours.per_second,
            theirs.per_second,
            ours.per_second / theirs.per_second,
            ours.p50_us,
            theirs.p50_us,
            ours.p99_us,
            theirs.p99_us,
            percent(ours.server_busy, f64::MAX),
            percent(theirs.server_busy, f64::MAX),
            percent(ours.load_busy, LOAD_BUSY),
            percent(theirs.load_busy, LOAD_BUSY),
        );
    }
    println!();
    if lines.iter().any(|line| line.ours.load_busy > LOAD_BUSY || line.theirs.load_busy > LOAD_BUSY) {
        println!(
            "Where the load is busy in bold, it limits throughput and latency; the processor time is not affected.\n"
        );
    }
    if lines.iter().any(|line| line.ours.spread > SPREAD || line.theirs.spread > SPREAD) {
        println!("Where rounds are apart in bold, the machine was not quiet: measure again.\n");
    }
    lines.iter().filter(|line| line.is_missed()).count()
}

/// One table; answers how many floors were missed.
pub fn memory(lines: &[memory::Line]) -> usize {
    println!("## Memory, in bytes each\n");
    println!("| what | count | resident ours | theirs | ratio | used_memory ours | theirs | ratio | floor | |");
    println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|---|");
    let bytes = |number: Option<f64>| number.map_or("–".to_owned(), |number| format!("{number:.1}"));
    for line in lines {
        println!(
            "| {} | {} | {:.1} | {:.1} | **{:.2}** | {} | {} | {} | {} | {} |",
            line.case.title(),
            line.count,
            line.ours.resident,
            line.theirs.resident,
            line.resident_ratio(),
            bytes(line.ours.used),
            bytes(line.theirs.used),
            line.used_ratio().map_or("–".to_owned(), |ratio| format!("**{ratio:.2}**")),
            match line.case.floor() {
                memory::Floor::Ratio(most) => format!("{most:.2}"),
                memory::Floor::Bytes(most) => format!("{most:.0} bytes"),
            },
            if line.is_missed() { MISSED } else { "" },
        );
    }
    println!();
    lines.iter().filter(|line| line.is_missed()).count()
}

/// Prints the table of hit ratios; answers how many floors were missed.
pub fn evictions(lines: &[evictions::Line]) -> usize {
    println!("## Hit ratio of a full cache\n");
    println!("| policy | ours | theirs | |");
    println!("|---|--:|--:|---|");
    for line in lines {
        let missed = if line.is_missed() { MISSED } else { "" };
        println!("| {} | {:.4} | {:.4} | {missed} |", line.policy, line.ours, line.theirs);
    }
    println!();
    lines.iter().filter(|line| line.is_missed()).count()
}

pub fn title(title: &str, cores: &Cores) {
    let shared = if cores.shared { " (**shared**: the load disturbs the servers)" } else { "" };
    println!("## {title}\n");
    println!("Servers on cores {:?}, load on {:?}{shared}.\n", cores.server, cores.load);
}

pub fn summary(missed: usize) {
    match missed {
        0 => println!("Every floor held."),
        1 => println!("One floor was missed."),
        _ => println!("{missed} floors were missed."),
    }
}

fn percent(share: f64, bold_above: f64) -> String {
    let text = format!("{:.0} %", share * 100.0);
    if share > bold_above { format!("**{text}**") } else { text }
}

fn known(version: &str) -> &str {
    if version.is_empty() { "says no version" } else { version }
}

/// The commit that is checked out, marked when files differ from it.
fn commit() -> Option<String> {
    let output = Command::new("git").args(["describe", "--always", "--dirty"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
