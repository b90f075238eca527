//! Replies that an agent can hold: JSON of limited size, which says so when something is missing.

use std::time::Duration;

use serde_json::json;
use synap_core::execute::row::Command;
use synap_core::{Code, Error, Result};

use crate::json::{JsonReply, LeftOut, Room};
use crate::spec::{Shape, ShapeKind};

/// What one call answers at the most: some ten thousand tokens.
pub const ROOM: Room = Room { bytes_max: 32 << 10, item_count_max: 1000 };

/// How long a call waits at the most. Clients give up after a minute, many earlier.
pub const WAIT_MAX: Duration = Duration::from_secs(30);

/// The member that says what is missing.
pub const CUT: &str = "cut";

/// The writer of a reply.
pub fn writer(row: &'static Command) -> JsonReply {
    JsonReply::bounded(&row.returns, ROOM)
}

/// The JSON object of a reply; with a member `cut` when it is not all.
pub fn text(reply: JsonReply, row: &Command) -> Result<String> {
    let left_out = reply.left_out();
    let mut object = reply.finish()?;
    if !left_out.is_nothing() && object.pop_if(|last| *last == b'}').is_some() {
        if object.last() != Some(&b'{') {
            object.push(b',');
        }
        object.extend_from_slice(format!("\"{CUT}\":{}}}", note(left_out, row)).as_bytes());
    }
    String::from_utf8(object).map_err(|_| Error::new(Code::Internal, "the reply is not text"))
}

/// What is missing, and what to do about it.
fn note(left_out: LeftOut, row: &Command) -> serde_json::Value {
    let advice = if has_cursor(&row.returns) {
        "The cursor is behind what is missing: call again from the same place with a smaller count."
    } else {
        "Ask for less at a time: a range, a scan with a cursor, or the fields that are needed."
    };
    json!({"items_left_out": left_out.item_count, "bytes_left_out": left_out.bytes, "note": advice})
}

fn has_cursor(shape: &Shape) -> bool {
    match shape.kind {
        ShapeKind::Cursor => true,
        ShapeKind::Tuple(items) | ShapeKind::Fields(items) => items.iter().any(has_cursor),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use synap_core::command::table;
    use synap_core::execute::state::Rows as _;
    use synap_core::reply::Reply as _;

    use super::*;

    fn row(op: &str) -> &'static Command {
        table().all().iter().find(|row| row.op == op).expect("a row")
    }

    fn answer(op: &str, count: usize) -> serde_json::Value {
        let row = row(op);
        let mut reply = writer(row);
        if has_cursor(&row.returns) {
            reply.array(2);
            reply.text("17");
        }
        reply.array(count);
        (0..count).for_each(|index| reply.text(&index.to_string()));
        serde_json::from_str(&text(reply, row).expect("a reply")).expect("JSON")
    }

    #[test]
    fn what_is_cut_says_so() {
        assert_eq!(answer("set.members", 2), json!({"members": ["0", "1"]}));
        let cut = answer("set.members", ROOM.item_count_max + 5);
        assert_eq!(cut["members"].as_array().map(Vec::len), Some(ROOM.item_count_max));
        assert_eq!((&cut[CUT]["items_left_out"], &cut[CUT]["bytes_left_out"]), (&json!(5), &json!(0)));
        let scanned = answer("key.scan", ROOM.item_count_max + 1);
        assert!(scanned[CUT]["note"].as_str().expect("a sentence").contains("smaller count"));
    }

    #[test]
    fn no_reply_has_a_member_of_this_name() {
        fn names(shape: &Shape) -> bool {
            match shape.kind {
                ShapeKind::Fields(items) | ShapeKind::Tuple(items) | ShapeKind::OneOf(items) => {
                    items.iter().any(|item| item.name == CUT || names(item))
                }
                _ => shape.name == CUT,
            }
        }
        assert!(table().all().iter().all(|row| !names(&row.returns)));
    }
}
