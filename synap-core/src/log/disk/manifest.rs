//! The manifest: which files make up the data, in lines that a person can read. `docs/FORMAT.md` has an example.
//!
//! It is small and always replaced as a whole, so it is text: whoever has to repair something sees what is what.

use std::fmt::Write;

use crate::log::HistoryId;

/// The file's name.
pub const NAME: &str = "manifest";
/// Where a new one is written before it takes the name.
pub const NEW_NAME: &str = "manifest.new";

const FIRST_LINE: &str = "synap manifest 1";

/// A larger file is none of ours.
pub const BYTES_MAX: u64 = 16 << 20;

/// Which files make up the data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The history that is written now; none before the first start has come that far.
    pub history: Option<HistoryId>,
    /// The history before it, and the offset up to which both are the same.
    pub previous: Option<(HistoryId, u64)>,
    /// Oldest first.
    pub snapshots: Vec<Snapshot>,
    /// In the order of the stream, each beginning where the one before it ends.
    pub segments: Vec<SegmentLine>,
}

/// A snapshot that is whole on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    pub name: String,
    /// The place in the stream where it stands.
    pub offset: u64,
    /// The database that is selected there, for the calls behind it.
    pub db: Option<u32>,
}

/// A segment of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentLine {
    pub name: String,
    pub history: HistoryId,
    pub first: u64,
    /// Where it ends: all of it is fsynced, and what stands behind it is never read. The last segment may have none:
    /// it is, or was, being written.
    pub end: Option<u64>,
}

impl Manifest {
    pub fn encode(&self) -> String {
        let mut out = format!("{FIRST_LINE}\n");
        let put = |out: &mut String, line: std::fmt::Arguments<'_>| {
            out.write_fmt(line).expect("a string takes everything");
            out.push('\n');
        };
        if let Some(history) = self.history {
            put(&mut out, format_args!("history {history}"));
        }
        if let Some((history, end)) = self.previous {
            put(&mut out, format_args!("previous {history} end {end}"));
        }
        for Snapshot { name, offset, db } in &self.snapshots {
            match db {
                Some(db) => put(&mut out, format_args!("snapshot {name} offset {offset} db {db}")),
                None => put(&mut out, format_args!("snapshot {name} offset {offset}")),
            }
        }
        for SegmentLine { name, history, first, end } in &self.segments {
            match end {
                Some(end) => put(&mut out, format_args!("segment {name} history {history} first {first} end {end}")),
                None => put(&mut out, format_args!("segment {name} history {history} first {first}")),
            }
        }
        let crc = crc32fast::hash(out.as_bytes());
        put(&mut out, format_args!("crc32 {crc:08x}"));
        out
    }

    /// Reads what [`Manifest::encode`] wrote. The error is the place, counted in bytes, and what is wrong there.
    pub fn decode(bytes: &[u8]) -> Result<Manifest, (u64, &'static str)> {
        const CRC_LINE_BYTES: usize = "crc32 01234567\n".len();
        let text = std::str::from_utf8(bytes).map_err(|error| (error.valid_up_to() as u64, "this is not text"))?;
        let body_bytes = text.len().saturating_sub(CRC_LINE_BYTES);
        let (body, crc) = text.split_at_checked(body_bytes).ok_or((0, "this is not a manifest"))?;
        // The first line first: of another version, the checksum may be another too.
        if !body.starts_with(FIRST_LINE) || body.as_bytes().get(FIRST_LINE.len()) != Some(&b'\n') {
            return Err((0, "this is not a manifest of a version that can be read"));
        }
        if crc != format!("crc32 {:08x}\n", crc32fast::hash(body.as_bytes())) {
            return Err((body_bytes as u64, "the checksum of the manifest is wrong"));
        }
        let mut manifest = Manifest::default();
        let mut at = FIRST_LINE.len() + 1;
        for line in body[at..].split_inclusive('\n') {
            manifest.read_line(line.trim_end_matches('\n')).map_err(|what| (at as u64, what))?;
            at += line.len();
        }
        manifest.check().map_err(|what| (0, what))?;
        Ok(manifest)
    }

    fn read_line(&mut self, line: &str) -> Result<(), &'static str> {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["history", id] if self.history.is_none() => self.history = Some(history(id)?),
            ["previous", id, "end", end] if self.previous.is_none() => {
                self.previous = Some((history(id)?, number(end)?));
            }
            ["snapshot", name, "offset", offset] => self.add_snapshot(name, offset, None)?,
            ["snapshot", name, "offset", offset, "db", db] => self.add_snapshot(name, offset, Some(db))?,
            ["segment", name, "history", id, "first", first] => self.add_segment(name, id, first, None)?,
            ["segment", name, "history", id, "first", first, "end", end] => {
                self.add_segment(name, id, first, Some(end))?;
            }
            _ => return Err("this line says nothing that is known"),
        }
        Ok(())
    }

    fn add_snapshot(&mut self, name: &str, offset: &str, db: Option<&str>) -> Result<(), &'static str> {
        let db = db.map(|db| db.parse().map_err(|_| "not a number of a database")).transpose()?;
        self.snapshots.push(Snapshot { name: file_name(name)?, offset: number(offset)?, db });
        Ok(())
    }

    fn add_segment(&mut self, name: &str, id: &str, first: &str, end: Option<&str>) -> Result<(), &'static str> {
        let end = end.map(number).transpose()?;
        let (name, history, first) = (file_name(name)?, history(id)?, number(first)?);
        self.segments.push(SegmentLine { name, history, first, end });
        Ok(())
    }

    /// What must hold between the lines.
    pub fn check(&self) -> Result<(), &'static str> {
        let segments = &self.segments;
        if segments.iter().any(|segment| segment.end.is_some_and(|end| end <= segment.first)) {
            return Err("a segment that ended holds something");
        }
        if segments.windows(2).any(|pair| pair[0].end != Some(pair[1].first)) {
            return Err("a segment begins where the one before it ends");
        }
        if self.snapshots.windows(2).any(|pair| pair[0].offset > pair[1].offset) {
            return Err("snapshots stand in the order of their offsets");
        }
        let mut names: Vec<&str> = self.names().collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err("a file is named once");
        }
        Ok(())
    }

    /// All files that it names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let snapshots = self.snapshots.iter().map(|snapshot| snapshot.name.as_str());
        snapshots.chain(self.segments.iter().map(|segment| segment.name.as_str()))
    }

    /// Ends the last segment at `end`, when it is open; takes it away when it holds nothing then. Returns the name of
    /// a segment that was taken away.
    pub fn end_last(&mut self, end: u64) -> Option<String> {
        let last = self.segments.last_mut().filter(|last| last.end.is_none())?;
        if end > last.first {
            last.end = Some(end);
            return None;
        }
        self.segments.pop().map(|segment| segment.name)
    }
}

/// A name that stays in the folder.
fn file_name(name: &str) -> Result<String, &'static str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let fits = !name.is_empty() && name.len() <= 200 && !name.starts_with('.') && name.bytes().all(plain);
    if fits { Ok(name.to_owned()) } else { Err("this is not the name of a file in this folder") }
}

fn history(text: &str) -> Result<HistoryId, &'static str> {
    HistoryId::parse(text.as_bytes()).ok_or("a history is named by 40 hexadecimal digits")
}

fn number(text: &str) -> Result<u64, &'static str> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or("not an offset")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Manifest {
        let (now, before) = (HistoryId::from_random([0xab; 20]), HistoryId::from_random([0xcd; 20]));
        Manifest {
            history: Some(now),
            previous: Some((before, 900)),
            snapshots: vec![
                Snapshot { name: "snapshot-1.rdb".into(), offset: 0, db: None },
                Snapshot { name: "snapshot-2.rdb".into(), offset: 850, db: Some(3) },
            ],
            segments: vec![
                SegmentLine { name: "log-0.synap".into(), history: before, first: 0, end: Some(900) },
                SegmentLine { name: "log-900.synap".into(), history: now, first: 900, end: None },
            ],
        }
    }

    #[test]
    fn it_is_text() {
        let (now, before) = ("ab".repeat(20), "cd".repeat(20));
        let body = format!(
            "synap manifest 1\nhistory {now}\nprevious {before} end 900\nsnapshot snapshot-1.rdb offset 0\n\
             snapshot snapshot-2.rdb offset 850 db 3\nsegment log-0.synap history {before} first 0 end 900\n\
             segment log-900.synap history {now} first 900\n"
        );
        assert_eq!(example().encode(), format!("{body}crc32 {:08x}\n", crc32fast::hash(body.as_bytes())));
        assert_eq!(Manifest::decode(example().encode().as_bytes()), Ok(example()));
        assert_eq!(Manifest::decode(Manifest::default().encode().as_bytes()), Ok(Manifest::default()));
    }

    #[test]
    fn no_flipped_bit_goes_unnoticed() {
        let text = example().encode().into_bytes();
        for bit in 0..text.len() * 8 {
            let mut flipped = text.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Manifest::decode(&flipped).is_err(), "bit {bit}");
        }
        for len in 0..text.len() {
            assert!(Manifest::decode(&text[..len]).is_err(), "cut to {len}");
        }
    }

    #[test]
    fn what_does_not_add_up_is_refused() {
        let refused = |change: fn(&mut Manifest)| {
            let mut manifest = example();
            change(&mut manifest);
            Manifest::decode(manifest.encode().as_bytes()).unwrap_err().1
        };
        assert_eq!(refused(|m| m.segments[0].end = Some(899)), "a segment begins where the one before it ends");
        assert_eq!(refused(|m| m.segments[0].end = None), "a segment begins where the one before it ends");
        assert_eq!(refused(|m| m.segments[0].first = 900), "a segment that ended holds something");
        assert_eq!(refused(|m| m.snapshots.reverse()), "snapshots stand in the order of their offsets");
        assert_eq!(refused(|m| m.snapshots[0].name = m.segments[0].name.clone()), "a file is named once");
        for name in ["../x", ".x", "", "a/b", "a b"] {
            let mut manifest = example();
            manifest.segments[0].name = name.into();
            assert!(Manifest::decode(manifest.encode().as_bytes()).is_err(), "{name:?}");
        }
        let text = "synap manifest 2\n";
        let text = format!("{text}crc32 {:08x}\n", crc32fast::hash(text.as_bytes()));
        assert_eq!(Manifest::decode(text.as_bytes()), Err((0, "this is not a manifest of a version that can be read")));
    }

    #[test]
    fn an_empty_last_segment_goes_when_it_ends() {
        let mut manifest = example();
        assert_eq!(manifest.end_last(900), Some("log-900.synap".into()));
        assert_eq!(manifest.end_last(900), None, "the one before had ended");
        let mut manifest = example();
        assert_eq!(manifest.end_last(901), None);
        assert_eq!(manifest.segments[1].end, Some(901));
    }
}
