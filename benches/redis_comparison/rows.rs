//! The commands that are measured: their words, their replies, and the floors that the project has set itself.

use clap::ValueEnum;

/// A server with more workers may cost this much more processor time for an operation than with one.
pub const WORKERS_FLOOR: f64 = 1.15;

/// Elements that each hash, set, sorted set and list has before a measurement.
pub const ELEMENTS: u64 = 10;

/// The length of the number in a key, the member that the load changes: `key:000000000042`.
pub const KEY_DIGITS: usize = 12;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Row {
    Get,
    Set,
    Incr,
    Hset,
    Hget,
    Sadd,
    Zadd,
    Lpush,
    Rpop,
}

/// The data a row works on. One family at a time stands in the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Strings,
    Counters,
    Hashes,
    Sets,
    SortedSets,
    Lists,
}

/// What a right reply is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    Ok,
    Int,
    /// A value of 16 bytes that ends in the number of the key that was asked for.
    ValueOfKey,
    /// Any string.
    Bulk,
}

impl Row {
    pub const ALL: &[Row] =
        &[Row::Get, Row::Set, Row::Incr, Row::Hset, Row::Hget, Row::Sadd, Row::Zadd, Row::Lpush, Row::Rpop];

    pub fn name(self) -> String {
        format!("{self:?}").to_ascii_uppercase()
    }

    pub fn family(self) -> Family {
        match self {
            Row::Get | Row::Set => Family::Strings,
            Row::Incr => Family::Counters,
            Row::Hset | Row::Hget => Family::Hashes,
            Row::Sadd => Family::Sets,
            Row::Zadd => Family::SortedSets,
            Row::Lpush | Row::Rpop => Family::Lists,
        }
    }

    pub fn expect(self) -> Expect {
        match self {
            Row::Set => Expect::Ok,
            Row::Incr | Row::Hset | Row::Sadd | Row::Zadd | Row::Lpush => Expect::Int,
            Row::Get | Row::Hget => Expect::ValueOfKey,
            Row::Rpop => Expect::Bulk,
        }
    }

    /// How many fields or members the load chooses from. Ten of them are there before, so HSET replaces and adds,
    /// HGET always finds, SADD and ZADD mostly add; all stay in the compact form of small collections.
    pub fn element_range(self) -> u64 {
        match self {
            Row::Hset => 16,
            Row::Hget => ELEMENTS,
            Row::Sadd | Row::Zadd => 64,
            _ => 100,
        }
    }

    /// Each measurement starts from the same collections, made anew.
    pub fn changes_size(self) -> bool {
        matches!(self, Row::Hset | Row::Sadd | Row::Zadd | Row::Lpush | Row::Rpop)
    }

    /// The call; the load fills in the numbers. `tag` is four bytes that tell this measurement's values from others.
    pub fn template(self, tag: &str) -> Template {
        use Piece::{Element, Key, Score, Text};
        let tag = Text(tag);
        match self {
            Row::Get => Template::new(&[&[Text("GET")], &[Text("key:"), Key]]),
            Row::Set => Template::new(&[&[Text("SET")], &[Text("key:"), Key], &[tag, Key]]),
            Row::Incr => Template::new(&[&[Text("INCR")], &[Text("cnt:"), Key]]),
            Row::Hset => {
                Template::new(&[&[Text("HSET")], &[Text("hsh:"), Key], &[Text("field:"), Element], &[tag, Key]])
            }
            Row::Hget => Template::new(&[&[Text("HGET")], &[Text("hsh:"), Key], &[Text("field:"), Element]]),
            Row::Sadd => Template::new(&[&[Text("SADD")], &[Text("set:"), Key], &[Text("member:"), Element]]),
            Row::Zadd => Template::new(&[&[Text("ZADD")], &[Text("zst:"), Key], &[Score], &[Text("member:"), Element]]),
            Row::Lpush => Template::new(&[&[Text("LPUSH")], &[Text("lst:"), Key], &[Text("item:"), Element]]),
            Row::Rpop => Template::new(&[&[Text("RPOP")], &[Text("lst:"), Key]]),
        }
    }
}

/// The most that ours may cost, in processor time per operation, as a part of the reference's.
pub fn floor(row: Row, pipeline: u64) -> Option<f64> {
    let [one, sixteen, sixty_four] = match row.family() {
        Family::Strings | Family::Counters => [0.95, 0.55, 0.35],
        _ => [1.00, 0.80, 0.60],
    };
    match pipeline {
        1 => Some(one),
        16 => Some(sixteen),
        64 => Some(sixty_four),
        _ => None,
    }
}

impl Family {
    /// The beginning of its keys.
    pub fn prefix(self) -> &'static str {
        match self {
            Family::Strings => "key:",
            Family::Counters => "cnt:",
            Family::Hashes => "hsh:",
            Family::Sets => "set:",
            Family::SortedSets => "zst:",
            Family::Lists => "lst:",
        }
    }

    pub fn is_collection(self) -> bool {
        !matches!(self, Family::Strings | Family::Counters)
    }
}

/// One word of a call is one or more of these.
#[derive(Clone, Copy)]
enum Piece<'a> {
    Text(&'a str),
    /// Twelve digits.
    Key,
    /// Two digits.
    Element,
    /// Six digits, not beginning with 0.
    Score,
}

/// A call with gaps for numbers.
pub struct Template {
    text: Vec<u8>,
    /// Where the key's number is, in order: first in the key, then perhaps in the value.
    keys: Vec<usize>,
    element: Option<usize>,
    score: Option<usize>,
}

/// The numbers of one call.
#[derive(Clone, Copy, Debug)]
pub struct Draw {
    pub key: u64,
    pub element: u64,
    score: u64,
}

impl Template {
    fn new(words: &[&[Piece<'_>]]) -> Template {
        let mut template = Template { text: Vec::new(), keys: Vec::new(), element: None, score: None };
        template.text.extend(format!("*{}\r\n", words.len()).bytes());
        for word in words {
            let length = |piece: &Piece<'_>| match piece {
                Piece::Text(text) => text.len(),
                Piece::Key => KEY_DIGITS,
                Piece::Element => 2,
                Piece::Score => 6,
            };
            template.text.extend(format!("${}\r\n", word.iter().map(length).sum::<usize>()).bytes());
            for piece in *word {
                let at = template.text.len();
                match piece {
                    Piece::Text(text) => template.text.extend(text.bytes()),
                    Piece::Key => template.keys.push(at),
                    Piece::Element => template.element = Some(at),
                    Piece::Score => template.score = Some(at),
                }
                template.text.resize(at + length(piece), b'0');
            }
            template.text.extend(b"\r\n");
        }
        template
    }

    pub fn len(&self) -> usize {
        self.text.len()
    }

    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Where the number of the key stands in the call.
    pub fn key_at(&self) -> usize {
        self.keys[0]
    }

    /// Writes the numbers into one call.
    #[inline]
    pub fn fill(&self, call: &mut [u8], draw: Draw) {
        let (first, rest) = (self.keys[0], &self.keys[1..]);
        write_digits(&mut call[first..first + KEY_DIGITS], draw.key);
        for &at in rest {
            call.copy_within(first..first + KEY_DIGITS, at);
        }
        if let Some(at) = self.element {
            write_digits(&mut call[at..at + 2], draw.element);
        }
        if let Some(at) = self.score {
            write_digits(&mut call[at..at + 6], draw.score);
        }
    }
}

/// An even number of digits, two at a time.
#[inline]
fn write_digits(place: &mut [u8], mut number: u64) {
    const PAIRS: [[u8; 2]; 100] = {
        let mut pairs = [[b'0'; 2]; 100];
        let mut index = 0;
        while index < 100 {
            pairs[index] = [b'0' + (index / 10) as u8, b'0' + (index % 10) as u8];
            index += 1;
        }
        pairs
    };
    for pair in place.rchunks_exact_mut(2) {
        pair.copy_from_slice(&PAIRS[(number % 100) as usize]);
        number /= 100;
    }
}

/// The numbers of all calls of one thread of the load. The same seed gives the same calls: to both servers, and again
/// to `verify`, which reckons what they must have done.
#[derive(Clone)]
pub struct Draws {
    state: u64,
    keys: u64,
    elements: u64,
}

impl Draws {
    pub fn new(seed: u64, keys: u64, elements: u64) -> Draws {
        Draws { state: seed, keys, elements }
    }
}

impl Iterator for Draws {
    type Item = Draw;

    /// SplitMix64; one number is cut into parts for key, element and score.
    #[inline]
    fn next(&mut self) -> Option<Draw> {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        Some(Draw {
            key: ((mixed & 0xffff_ffff) * self.keys) >> 32,
            element: (((mixed >> 32) & 0xffff) * self.elements) >> 16,
            score: 100_000 + (mixed >> 48),
        })
    }
}
