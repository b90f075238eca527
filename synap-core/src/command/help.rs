//! `… HELP` of every container of subcommands, computed from its rows.

use super::facts;
use super::prelude::*;

#[derive(Args)]
pub struct Help;

impl SessionCommand for Help {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        facts::write_help(cx.state().table.all(), cx.call.row.first_word(), reply);
        Ok(Flow::Done)
    }
}

const LINES: Shape = Shape::array("lines", "Usage and summary of each.", &Shape::status("", ""));

/// The row of a container's HELP. `name` and `op` are whole: `CLIENT HELP`, `client.help`.
pub const fn row(group: Group, name: &'static str, op: &'static str, since: &'static str) -> Command {
    Command {
        name,
        op,
        since,
        summary: "Lists the subcommands.",
        returns: LINES,
        flags: Flags::LOADING.and(Flags::STALE).and(Flags::LOOKS),
        ..group.session::<Help>()
    }
}
