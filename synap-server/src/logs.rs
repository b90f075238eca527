//! What the program tells about itself: lines of text for people, or of JSON for machines, as the settings `loglevel`,
//! `log-format` and `logfile` have it. `RUST_LOG` chooses more finely, and then the level of the settings does not count.

use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use synap_core::settings::{self, Settings};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Format, FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// The program's own log: there is one.
static LOG: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();
static AS_JSON: AtomicBool = AtomicBool::new(false);
/// The file that lines go to; the standard error when there is none.
static FILE: Mutex<Option<(String, File)>> = Mutex::new(None);
/// The level that was chosen last.
static LEVEL: Mutex<String> = Mutex::new(String::new());

/// Lines of text to the standard error, until the settings are known.
pub fn begin() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(directive("notice")));
    let (filter, handle) = reload::Layer::new(filter);
    let lines =
        tracing_subscriber::fmt::layer().event_format(Lines).with_ansi(io::stderr().is_terminal()).with_writer(Output);
    tracing_subscriber::registry().with(filter).with(lines).init();
    // Called once.
    let _ = LOG.set(handle);
}

/// From here on the log is as the settings have it. They may be the same as before.
pub fn follow(settings: &Settings) -> Result<(), String> {
    AS_JSON.store(settings.show(settings::LOG_FORMAT) == "json", Ordering::Relaxed);
    let path = settings.text(settings::LOGFILE);
    let mut file = FILE.lock();
    if file.as_ref().map_or("", |(open, _)| open) != path {
        *file = match path.is_empty() {
            true => None,
            false => {
                let opened = OpenOptions::new().create(true).append(true).open(&path);
                Some((path.clone(), opened.map_err(|error| format!("logfile {path}: {error}"))?))
            }
        };
    }
    drop(file);
    let level = settings.show(settings::LOGLEVEL);
    let mut current = LEVEL.lock();
    if *current != level && std::env::var_os(EnvFilter::DEFAULT_ENV).is_none() {
        if let Some(handle) = LOG.get() {
            // The program ends otherwise.
            let _ = handle.reload(EnvFilter::new(directive(&level)));
        }
        *current = level;
    }
    Ok(())
}

/// Redis' levels in the words of `tracing`.
fn directive(level: &str) -> &'static str {
    match level {
        "debug" => "trace",
        "verbose" => "debug",
        // What the SDK of agents says of messages, of hang-ups too, is for those who look for a fault in it.
        "warning" => "warn,rmcp=off",
        "nothing" => "off",
        _ => "info,rmcp=off",
    }
}

/// Where lines go.
struct Output;

impl<'a> MakeWriter<'a> for Output {
    type Writer = Output;

    fn make_writer(&'a self) -> Output {
        Output
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut *FILE.lock() {
            Some((_, file)) => file.write(bytes),
            None => io::stderr().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An event as a line.
struct Lines;

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, cx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        if AS_JSON.load(Ordering::Relaxed) {
            return write_json(&mut writer, event);
        }
        if FILE.lock().is_none() {
            return Format::default().format_event(cx, writer, event);
        }
        // A file has no colours.
        let mut line = String::new();
        Format::default().format_event(cx, Writer::new(&mut line), event)?;
        writer.write_str(&line)
    }
}

/// `{"time":…,"level":…,"target":…,"message":…}` with the event's other fields behind.
fn write_json(writer: &mut Writer<'_>, event: &Event<'_>) -> fmt::Result {
    let mut line = String::from("{\"time\":\"");
    SystemTime.format_time(&mut Writer::new(&mut line))?;
    line.push_str("\",\"level\":");
    quote(&event.metadata().level().as_str().to_ascii_lowercase(), &mut line);
    line.push_str(",\"target\":");
    quote(event.metadata().target(), &mut line);
    event.record(&mut Members(&mut line));
    line.push_str("}\n");
    writer.write_str(&line)
}

/// Writes fields as members of an object that has some already.
struct Members<'l>(&'l mut String);

impl Members<'_> {
    fn put(&mut self, field: &Field, value: impl fmt::Display) {
        self.0.push(',');
        quote(field.name(), self.0);
        // Writing into a String cannot fail.
        let _ = write!(self.0, ":{value}");
    }

    fn put_text(&mut self, field: &Field, text: &str) {
        let mut quoted = String::new();
        quote(text, &mut quoted);
        self.put(field, quoted);
    }
}

impl Visit for Members<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put_text(field, &format!("{value:?}"));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put_text(field, value);
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }
}

/// A string of JSON.
fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            // Writing into a String cannot fail.
            c if c < ' ' => drop(write!(out, "\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_of_json_hold_anything() {
        let text = "a \"b\" \\ \n\t\u{1}é";
        let mut quoted = String::new();
        quote(text, &mut quoted);
        assert_eq!(serde_json::from_str::<String>(&quoted).expect("JSON"), text);
    }

    #[test]
    fn every_level_of_the_setting_is_one() {
        let settings::Kind::Choice(levels) = settings::LOGLEVEL.setting().kind else { panic!("levels are words") };
        for level in levels {
            assert!(directive(level).parse::<tracing_subscriber::filter::Targets>().is_ok(), "{level}");
        }
    }
}
