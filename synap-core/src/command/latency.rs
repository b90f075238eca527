//! LATENCY: what took long, when, and how long calls take.

use std::fmt::Write;

use super::prelude::*;
use crate::execute::latency::{History, event};
use crate::execute::state::State;
use crate::execute::times::Histogram;
use crate::settings;

const LATENCY: Group = Group { name: "server", op: "latency", category: Category::NONE };

pub const COMMANDS: &[Command] = &[
    LATENCY_LATEST,
    LATENCY_HISTORY,
    LATENCY_RESET,
    LATENCY_GRAPH,
    LATENCY_DOCTOR,
    LATENCY_HISTOGRAM,
    super::help::row(LATENCY, "LATENCY HELP", "latency.help", "2.8.13"),
];

const FLAGS: Flags = Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE);
const LOOKS: Flags = FLAGS.and(Flags::LOOKS);

#[derive(Args)]
pub struct LatencyLatest;

impl SessionCommand for LatencyLatest {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let events = cx.state().latency.all();
        reply.array(events.len());
        for (event, history) in events {
            let (at_s, ms) = history.samples.back().map_or((0, 0), |last| (last.at_s, last.ms));
            reply.array(4);
            reply.text(event);
            reply.int(at_s);
            reply.int(ms as i64);
            reply.int(history.max_ms as i64);
        }
        Ok(Flow::Done)
    }
}

pub const LATENCY_LATEST: Command = Command {
    name: "LATENCY LATEST",
    op: "latency.latest",
    since: "2.8.13",
    summary: "Returns of each kind of event the last that took longer than the setting `latency-monitor-threshold`.",
    returns: Shape::array(
        "events",
        "One for each kind that there was.",
        &Shape::tuple(
            "",
            "",
            &[
                Shape::text("event", "Its kind."),
                Shape::int("time", "Unix seconds."),
                Shape::int("milliseconds", "How long it took."),
                Shape::int("max_milliseconds", "The longest since the last reset."),
            ],
        ),
    ),
    flags: LOOKS,
    ..LATENCY.session::<LatencyLatest>()
};

#[derive(Args)]
pub struct LatencyHistory<'a> {
    /// Kind of event.
    event: Word<'a>,
}

/// What is known of an event.
fn history(state: &State, event: &[u8]) -> Option<History> {
    std::str::from_utf8(event).ok().and_then(|event| state.latency.get(event))
}

impl SessionCommand for LatencyHistory<'_> {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let samples = history(cx.state(), self.event).unwrap_or_default().samples;
        reply.array(samples.len());
        for sample in samples {
            reply.array(2);
            reply.int(sample.at_s);
            reply.int(sample.ms as i64);
        }
        Ok(Flow::Done)
    }
}

pub const LATENCY_HISTORY: Command = Command {
    name: "LATENCY HISTORY",
    op: "latency.history",
    since: "2.8.13",
    summary: "Returns the seconds in which events of a kind took long, and the longest of each.",
    returns: Shape::array(
        "samples",
        "The oldest first, at most 160.",
        &Shape::tuple("", "", &[Shape::int("time", "Unix seconds."), Shape::int("milliseconds", "How long it took.")]),
    ),
    flags: LOOKS,
    ..LATENCY.session::<LatencyHistory>()
};

#[derive(Args)]
pub struct LatencyReset<'a> {
    /// Kinds of events; all when left out.
    events: Option<Many<'a, Word<'a>>>,
}

impl SessionCommand for LatencyReset<'_> {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let latency = &cx.state().latency;
        let count = match self.events {
            None => latency.reset(|_| true),
            Some(events) => latency.reset(|event| events.iter().any(|wanted| wanted == event.as_bytes())),
        };
        reply.int(count as i64);
        Ok(Flow::Done)
    }
}

pub const LATENCY_RESET: Command = Command {
    name: "LATENCY RESET",
    op: "latency.reset",
    since: "2.8.13",
    summary: "Forgets what took long.",
    returns: Shape::int("count", "How many kinds of events there were."),
    flags: FLAGS,
    ..LATENCY.session::<LatencyReset>()
};

#[derive(Args)]
pub struct LatencyGraph<'a>(LatencyHistory<'a>);

impl SessionCommand for LatencyGraph<'_> {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let event = self.0.event;
        let found = history(cx.state(), event)
            .ok_or_else(|| Error::fmt(format!("No samples available for event '{}'", Error::quote(event))))?;
        reply.verbatim("txt", &graph(&Error::quote(event), &found, cx.now_ms() / 1000));
        Ok(Flow::Done)
    }
}

/// Samples side by side, and rows that a sample's bar may be high.
const GRAPH_COLUMNS: usize = 80;
const GRAPH_ROWS: usize = 4;

/// Bars of the samples, with how long ago each was below, read downwards.
fn graph(event: &str, history: &History, now_s: i64) -> String {
    let low = history.samples.iter().map(|sample| sample.ms).min().unwrap_or(0);
    let high = history.samples.iter().map(|sample| sample.ms).max().unwrap_or(0);
    let max = history.max_ms;
    let mut text = format!("{event} - high {high} ms, low {low} ms (all time high {max} ms)\n");
    text.push_str(&"-".repeat(GRAPH_COLUMNS));
    text.push('\n');
    // A row has three heights of its own.
    const HEIGHTS: [char; 3] = ['_', 'o', '#'];
    let steps = GRAPH_ROWS * HEIGHTS.len();
    let samples: Vec<_> = history.samples.iter().collect();
    for samples in samples.chunks(GRAPH_COLUMNS) {
        let bars: Vec<usize> = samples
            .iter()
            .map(|sample| ((sample.ms - low) as usize * steps / ((high - low).max(1) as usize)).min(steps - 1))
            .collect();
        for row in (0..GRAPH_ROWS).rev() {
            let cell = |bar: &usize| match bar.checked_sub(row * HEIGHTS.len()) {
                None => ' ',
                Some(above) => HEIGHTS.get(above).copied().unwrap_or('|'),
            };
            text.extend(bars.iter().map(cell));
            text.push('\n');
        }
        text.push('\n');
        let labels: Vec<String> = samples.iter().map(|sample| ago(now_s - sample.at_s)).collect();
        for row in 0..labels.iter().map(String::len).max().unwrap_or(0) {
            text.extend(labels.iter().map(|label| label.as_bytes().get(row).map_or(' ', |byte| char::from(*byte))));
            text.push('\n');
        }
    }
    text
}

/// `15s`, `3m`, `2h`, `1d`.
fn ago(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

pub const LATENCY_GRAPH: Command = Command {
    name: "LATENCY GRAPH",
    op: "latency.graph",
    since: "2.8.13",
    summary: "Draws what LATENCY HISTORY tells.",
    returns: Shape::text("graph", "Lines of text."),
    flags: LOOKS,
    ..LATENCY.session::<LatencyGraph>()
};

#[derive(Args)]
pub struct LatencyDoctor;

impl SessionCommand for LatencyDoctor {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        reply.verbatim("txt", &report(cx.state()));
        Ok(Flow::Done)
    }
}

/// What to look at first.
fn report(state: &State) -> String {
    let threshold_ms = state.settings.int(settings::LATENCY_MONITOR_THRESHOLD);
    if threshold_ms == 0 {
        return "Nothing is noted: latency-monitor-threshold is 0. Choose the milliseconds from which on you want to \
                know, for example with CONFIG SET latency-monitor-threshold 100.\n"
            .into();
    }
    let events = state.latency.all();
    if events.is_empty() {
        return format!("Nothing took {threshold_ms} ms or longer.\n");
    }
    let mut text = String::new();
    for (name, history) in &events {
        let count = history.samples.len();
        let sum: u64 = history.samples.iter().map(|sample| sample.ms).sum();
        let average = sum / (count as u64).max(1);
        let _ = writeln!(
            text,
            "{name}: in {count} seconds, {average} ms on average, {} ms at the longest. {}",
            history.max_ms,
            advice(name)
        );
    }
    text
}

fn advice(name: &str) -> &'static str {
    match name {
        event::COMMAND => {
            "SLOWLOG GET shows the calls: their cost grows with what they touch. Look at KEYS, at large SORT and set \
             operations, at long transactions."
        }
        event::FAST_COMMAND => {
            "These calls are short in themselves: the machine was busy with something else. Look at its other \
             programs, at swapping, at the limits of a container."
        }
        event::EXPIRE_CYCLE => {
            "Many keys came to their time at once. They go in small portions, between which others run; spread their \
             deadlines if it disturbs."
        }
        event::WRITE | event::FSYNC | event::FSYNC_ALWAYS => {
            "The disk does not keep up. Look at what else uses it, and at the setting appendfsync."
        }
        _ => "",
    }
}

pub const LATENCY_DOCTOR: Command = Command {
    name: "LATENCY DOCTOR",
    op: "latency.doctor",
    since: "2.8.13",
    summary: "Tells for people what took long, and what to look at.",
    returns: Shape::text("report", "Lines of text."),
    flags: LOOKS,
    ..LATENCY.session::<LatencyDoctor>()
};

#[derive(Args)]
pub struct LatencyHistogram<'a> {
    /// Names of commands, a subcommand behind its container and a bar; all that were called when left out.
    commands: Option<Many<'a, Word<'a>>>,
}

impl SessionCommand for LatencyHistogram<'_> {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let state = cx.state();
        let rows: Vec<&Command> = match self.commands {
            None => state.table.all().iter().collect(),
            Some(names) => {
                let mut rows: Vec<usize> = Vec::new();
                for name in names.iter() {
                    let found = state.table.by_name(&String::from_utf8_lossy(name));
                    rows.extend(found.into_iter().filter(|id| !rows.contains(id)).collect::<Vec<_>>());
                }
                rows.into_iter().filter_map(|id| state.table.all().get(id)).collect()
            }
        };
        let with_times = |row: &Command| Some((row.full_name(), state.stats.row(row.id)?.times()?));
        let found: Vec<(String, Histogram)> = rows.into_iter().filter_map(with_times).collect();
        reply.map(found.len());
        for (name, times) in found {
            reply.text(&name);
            reply.map(2);
            reply.text("calls");
            reply.int(times.count() as i64);
            reply.text("histogram_usec");
            let distribution = distribution(state, &times);
            reply.map(distribution.len());
            for (micros, count) in distribution {
                reply.int(micros as i64);
                reply.int(count as i64);
            }
        }
        Ok(Flow::Done)
    }
}

/// How many calls took at most 1, 2, 4 … microseconds; where nothing is added, nothing is told.
fn distribution(state: &State, times: &Histogram) -> Vec<(u64, u64)> {
    let mut told: Vec<(u64, u64)> = Vec::new();
    for micros in (0..40).map(|bits| 1_u64 << bits) {
        let count = times.up_to(state.ticks.of_micros(micros));
        if count > told.last().map_or(0, |(_, before)| *before) {
            told.push((micros, count));
        }
    }
    told
}

pub const LATENCY_HISTOGRAM: Command = Command {
    name: "LATENCY HISTOGRAM",
    op: "latency.histogram",
    since: "7.0.0",
    summary: "Returns how long calls of each command took.",
    complexity: "O(N) for N commands that were called",
    returns: Shape::map(
        "commands",
        "By name.",
        &Shape::fields(
            "",
            "",
            &[
                Shape::int("calls", "How many there were."),
                Shape::any("histogram_usec", "How many of them took at most so many microseconds."),
            ],
        ),
    ),
    flags: LOOKS,
    ..LATENCY.session::<LatencyHistogram>()
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execute::latency::Sample;
    use crate::testing::TestEngine;

    #[test]
    fn what_takes_long_is_noted_by_kind() {
        let mut test = TestEngine::default();
        test.call("DEBUG SLEEP 0.02");
        test.check(
            "LATENCY LATEST => []
            CONFIG SET latency-monitor-threshold 10 => OK
            DEBUG SLEEP 0.02 => OK
            PING => PONG
            LATENCY RESET fast-command => 0",
        );
        assert!(test.call("LATENCY LATEST").starts_with(r#"[["command", 1700000000, 2"#));
        assert!(test.call("LATENCY HISTORY command").starts_with("[[1700000000, 2"));
        assert!(test.call("LATENCY GRAPH command").contains("command - high 2"));
        assert!(test.call("LATENCY DOCTOR").contains("SLOWLOG GET"));
        test.check(
            "LATENCY HISTORY none => []
            LATENCY GRAPH none => -ERR No samples available for event 'none'
            LATENCY RESET none command => 1
            LATENCY LATEST => []",
        );
        // SLOWLOG is on its own.
        test.call("CONFIG SET latency-monitor-threshold 0 slowlog-log-slower-than 10000");
        test.call("SLOWLOG RESET");
        test.call("DEBUG SLEEP 0.02");
        assert!(test.call("SLOWLOG GET").contains(r#"["DEBUG", "SLEEP", "0.02"]"#));
        assert_eq!(test.call("LATENCY LATEST"), "[]");
    }

    #[test]
    fn histograms_are_of_the_commands_that_were_called() {
        let mut test = TestEngine::default();
        test.call("CONFIG RESETSTAT");
        for line in ["SET a 1", "SET b 1", "CLIENT ID", "CLIENT GETNAME"] {
            test.call(line);
        }
        assert_eq!(test.call("LATENCY HISTOGRAM zadd nothing"), "{}");
        assert!(test.call("LATENCY HISTOGRAM set zadd SET").starts_with(r#"{"set": {"calls": 2, "histogram_usec": {"#));
        let clients = test.call("LATENCY HISTOGRAM client");
        assert!(clients.contains("client|id") && clients.contains("client|getname"), "{clients}");
        assert_eq!(test.call("LATENCY HISTOGRAM client|id").matches("calls").count(), 1);
        let all = test.call("LATENCY HISTOGRAM");
        assert!(all.contains("config|resetstat") && all.contains(r#""set""#), "{all}");
    }

    #[test]
    fn bars_are_as_high_as_times_are_long() {
        let samples = [(100, 10), (160, 40), (200, 25)].map(|(at_s, ms)| Sample { at_s, ms });
        let history = History { samples: samples.into(), max_ms: 50 };
        let drawn = graph("command", &history, 201);
        assert!(drawn.starts_with("command - high 40 ms, low 10 ms (all time high 50 ms)\n----"));
        assert!(drawn.contains("\n_||\n\n141\nm1s\n s \n"), "{drawn}");
    }
}
