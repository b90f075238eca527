//! What the server is at this moment: its time, its role, its version.

use super::prelude::*;
use super::server::SERVER;

pub const COMMANDS: &[Command] = &[TIME, ROLE, LOLWUT];

#[derive(Args)]
pub struct Time;

impl SessionCommand for Time {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        // Read anew: the turn's time is that of its first call, and who asks wants to measure.
        let micros = cx.state().clock.now_us();
        reply.array(2);
        reply.bulk_int(micros.div_euclid(1_000_000));
        reply.bulk_int(micros.rem_euclid(1_000_000));
        Ok(Flow::Done)
    }
}

pub const TIME: Command = Command {
    name: "TIME",
    op: "server.time",
    since: "2.6.0",
    summary: "Tells the server's time.",
    returns: Shape::tuple(
        "time",
        "Since 1970.",
        &[Shape::cursor("seconds", "Whole ones."), Shape::cursor("microseconds", "Within the second.")],
    ),
    flags: Flags::LOADING.and(Flags::STALE).and(Flags::FAST).and(Flags::LOOKS),
    ..SERVER.session::<Time>()
};

#[derive(Args)]
pub struct Role;

impl SessionCommand for Role {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        reply.array(3);
        reply.text("master");
        reply.int(cx.state().log.end() as i64);
        reply.array(0);
        Ok(Flow::Done)
    }
}

pub const ROLE: Command = Command {
    name: "ROLE",
    op: "server.role",
    since: "2.8.12",
    summary: "Tells whether the server is a master, and who follows it.",
    returns: Shape::tuple(
        "role",
        "",
        &[
            Shape::text("role", "Always master."),
            Shape::int("offset", "Where the log ends."),
            Shape::array("replicas", "Nobody follows.", &Shape::ANY),
        ],
    ),
    flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE).and(Flags::FAST).and(Flags::LOOKS),
    categories: Category::ADMIN.and(Category::DANGEROUS),
    ..SERVER.session::<Role>()
};

#[derive(Args)]
pub struct Lolwut<'a> {
    /// Accepted: there is one picture.
    #[arg(token = "VERSION")]
    version: Option<i64>,
    /// Columns and lines of the picture; more is accepted, and without effect.
    size: Option<Many<'a, i64>>,
}

const COLUMNS_MAX: i64 = 200;
const LINES_MAX: i64 = 100;

impl ReadCommand for Lolwut<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let _ = self.version;
        let mut size = self.size.iter().flat_map(Many::iter);
        let columns = size.next().unwrap_or(66).clamp(1, COLUMNS_MAX) as usize;
        let lines = size.next().unwrap_or(24).clamp(1, LINES_MAX) as usize;
        let picture = picture(cx.state().random(), columns, lines);
        let version = env!("CARGO_PKG_VERSION");
        reply.verbatim("txt", &format!("{picture}\nSynap {version}. Redis ver. {}\n", super::REDIS_VERSION));
        Ok(())
    }
}

/// Rule 110: each cell looks at itself and its two neighbours. From any beginning come things that travel and meet.
fn picture(seed: u64, columns: usize, lines: usize) -> String {
    let mut cells: Vec<bool> = (0..columns).map(|at| seed.rotate_left(at as u32 * 7) & 1 == 1).collect();
    let mut text = String::with_capacity((columns + 1) * lines);
    for _ in 0..lines {
        text.extend(cells.iter().map(|&is_on| if is_on { '#' } else { ' ' }));
        text.push('\n');
        let next = |at: usize| {
            let near = [columns - 1, 0, 1].map(|step| cells[(at + step) % columns]);
            let number = near.iter().fold(0, |number, &is_on| number << 1 | u32::from(is_on));
            110 >> number & 1 == 1
        };
        cells = (0..columns).map(next).collect();
    }
    text
}

pub const LOLWUT: Command = Command {
    name: "LOLWUT",
    op: "server.lolwut",
    since: "5.0.0",
    summary: "Draws something, and tells the version.",
    complexity: "O(N) for N characters",
    returns: Shape::text("picture", "Lines of text, the version in the last."),
    flags: Flags::FAST,
    ..SERVER.read::<Lolwut>()
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{START_MS, TestEngine};

    #[test]
    fn what_the_server_is() {
        let mut test = TestEngine::default();
        test.check(&format!("TIME => [\"{}\", \"0\"]\nROLE => [\"master\", 0, []]", START_MS / 1000));
        for call in ["LOLWUT", "LOLWUT VERSION 5", "LOLWUT VERSION 6 1 1", "LOLWUT 1000 -1 7"] {
            assert!(test.call(call).contains("Redis ver. 7."), "{call}");
        }
        test.check("LOLWUT x => -ERR value is not an integer or out of range");
    }

    #[test]
    fn a_picture_has_its_size() {
        let drawn = picture(0b1011, 30, 5);
        assert_eq!(drawn.lines().map(str::len).collect::<Vec<_>>(), [30; 5]);
        assert!(drawn.contains('#'));
    }
}
