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
    Mset10,
    Expire,
    Hgetall,
    Hgetall100,
    Spop,
    Zrange,
    Zpopmin,
    Zunionstore,
    Lpop,
    Sort,
    Lrange100,
    Lrange600,
    Sinter10000,
    Bitcount,
    Pfadd,
    Geosearch,
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
    /// Hashes of a hundred fields.
    WideHashes,
    /// Lists of six hundred elements.
    LongLists,
    /// Sets of ten thousand members, of which any two share half.
    LargeSets,
    /// Strings of 4,096 bytes.
    Bitmaps,
    HyperLogLogs,
    /// A thousand places between 0 and 20 degrees east, 40 and 50 degrees north.
    Places,
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
    /// An array of so many elements.
    Array(u64),
    /// Whatever the reference answers too: the elements and integers of all replies are added up, and compared.
    SameAsTheirs,
}

impl Row {
    /// Rows of one family stand together.
    pub const ALL: &[Row] = &[
        Row::Get,
        Row::Set,
        Row::Mset10,
        Row::Expire,
        Row::Incr,
        Row::Hset,
        Row::Hget,
        Row::Hgetall,
        Row::Sadd,
        Row::Spop,
        Row::Zadd,
        Row::Zrange,
        Row::Zpopmin,
        Row::Zunionstore,
        Row::Lpush,
        Row::Rpop,
        Row::Lpop,
        Row::Sort,
        Row::Hgetall100,
        Row::Lrange100,
        Row::Lrange600,
        Row::Sinter10000,
        Row::Bitcount,
        Row::Pfadd,
        Row::Geosearch,
    ];

    pub fn name(self) -> String {
        format!("{self:?}").to_ascii_uppercase()
    }

    pub fn family(self) -> Family {
        match self {
            Row::Get | Row::Set | Row::Mset10 | Row::Expire => Family::Strings,
            Row::Incr => Family::Counters,
            Row::Hset | Row::Hget | Row::Hgetall => Family::Hashes,
            Row::Sadd | Row::Spop => Family::Sets,
            Row::Zadd | Row::Zrange | Row::Zpopmin | Row::Zunionstore => Family::SortedSets,
            Row::Lpush | Row::Rpop | Row::Lpop | Row::Sort => Family::Lists,
            Row::Hgetall100 => Family::WideHashes,
            Row::Lrange100 | Row::Lrange600 => Family::LongLists,
            Row::Sinter10000 => Family::LargeSets,
            Row::Bitcount => Family::Bitmaps,
            Row::Pfadd => Family::HyperLogLogs,
            Row::Geosearch => Family::Places,
        }
    }

    pub fn expect(self) -> Expect {
        match self {
            Row::Set | Row::Mset10 => Expect::Ok,
            Row::Incr | Row::Hset | Row::Sadd | Row::Zadd | Row::Lpush => Expect::Int,
            Row::Get | Row::Hget => Expect::ValueOfKey,
            Row::Rpop | Row::Lpop => Expect::Bulk,
            Row::Hgetall => Expect::Array(2 * ELEMENTS),
            Row::Hgetall100 => Expect::Array(200),
            Row::Zrange | Row::Sort => Expect::Array(ELEMENTS),
            Row::Lrange100 => Expect::Array(100),
            Row::Lrange600 => Expect::Array(600),
            Row::Sinter10000 => Expect::Array(5_000),
            Row::Expire | Row::Spop | Row::Zpopmin | Row::Zunionstore | Row::Bitcount | Row::Pfadd | Row::Geosearch => {
                Expect::SameAsTheirs
            }
        }
    }

    /// How many fields or members the load chooses from. Ten of them are there before, so HSET replaces and adds,
    /// HGET always finds, SADD and ZADD mostly add; all stay in the compact form of small collections.
    pub fn element_range(self) -> u64 {
        match self {
            Row::Hset => 16,
            Row::Hget => ELEMENTS,
            Row::Sadd | Row::Zadd => 64,
            Row::Geosearch => 20,
            _ => 100,
        }
    }

    /// Each measurement starts from the same collections, made anew.
    pub fn changes_size(self) -> bool {
        matches!(
            self,
            Row::Hset
                | Row::Sadd
                | Row::Spop
                | Row::Zadd
                | Row::Zpopmin
                | Row::Lpush
                | Row::Rpop
                | Row::Lpop
                | Row::Pfadd
        )
    }

    /// The most calls for each collection, if there is one: they stay small, as the rows promise, and seldom run empty.
    pub fn calls_a_key_max(self) -> Option<u64> {
        match self {
            Row::Spop | Row::Zpopmin => Some(ELEMENTS / 2),
            row => row.changes_size().then_some(40),
        }
    }

    /// The row whose calls, unmeasured and before it, put there what this one takes away.
    pub fn undoes(self) -> Option<Row> {
        matches!(self, Row::Rpop | Row::Lpop).then_some(Row::Lpush)
    }

    /// Whether it is measured at this many calls in one write. The rows that the floors name are measured at all; the
    /// others, which say what their commands cost, at one.
    pub fn is_measured_at(self, pipeline: u64) -> bool {
        pipeline == 16 || floor(self, pipeline).is_some()
    }

    /// The call; the load fills in the numbers. `tag` is four bytes that tell this measurement's values from others.
    pub fn template(self, tag: &str) -> Template {
        use Piece::{Element, Key, OtherKey, Score, Text};
        let of = |command, words: &[&str]| {
            let prefix = self.family().prefix();
            let rest: Vec<[Piece<'_>; 1]> = words.iter().map(|word| [Text(word)]).collect();
            let (command, key) = ([Text(command)], [Text(prefix), Key]);
            let mut all: Vec<&[Piece<'_>]> = vec![&command, &key];
            all.extend(rest.iter().map(|word| &word[..]));
            Template::new(&all)
        };
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
            Row::Rpop => of("RPOP", &[]),
            Row::Lpop => of("LPOP", &[]),
            Row::Sort => of("SORT", &["ALPHA"]),
            Row::Lrange100 => of("LRANGE", &["0", "99"]),
            Row::Lrange600 => of("LRANGE", &["0", "599"]),
            Row::Hgetall | Row::Hgetall100 => of("HGETALL", &[]),
            Row::Spop => of("SPOP", &[]),
            Row::Zrange => of("ZRANGE", &["0", "-1"]),
            Row::Zpopmin => of("ZPOPMIN", &[]),
            Row::Bitcount => of("BITCOUNT", &[]),
            Row::Expire => of("EXPIRE", &["1000000"]),
            Row::Mset10 => {
                let keys: [[Piece<'_>; 2]; 10] = std::array::from_fn(|index| match index {
                    0 => [Text("key:"), Key],
                    index => [Text("key:"), OtherKey(index as u64)],
                });
                let value = [tag, Text("000000000000")];
                let mut words: Vec<&[Piece<'_>]> = vec![&[Text("MSET")]];
                keys.iter().for_each(|key| words.extend([&key[..], &value[..]]));
                Template::new(&words)
            }
            Row::Zunionstore => Template::new(&[
                &[Text("ZUNIONSTORE")],
                &[Text("dst:"), Key],
                &[Text("2")],
                &[Text("zst:"), Key],
                &[Text("zst:"), OtherKey(1)],
            ]),
            Row::Sinter10000 => Template::new(&[&[Text("SINTER")], &[Text("big:"), Key], &[Text("big:"), OtherKey(1)]]),
            Row::Pfadd => Template::new(&[&[Text("PFADD")], &[Text("hll:"), Key], &[Text("member:"), Score]]),
            Row::Geosearch => Template::new(&[
                &[Text("GEOSEARCH")],
                &[Text("geo:"), Key],
                &[Text("FROMLONLAT")],
                &[Element],
                &[Text("45")],
                &[Text("BYRADIUS")],
                &[Text("100")],
                &[Text("km")],
            ]),
        }
    }
}

/// The most that ours may cost, in processor time per operation, as a part of the reference's.
pub fn floor(row: Row, pipeline: u64) -> Option<f64> {
    let [one, sixteen, sixty_four] = match row {
        Row::Get | Row::Set | Row::Incr => [0.95, 0.55, 0.35],
        Row::Hset | Row::Hget | Row::Sadd | Row::Zadd | Row::Lpush | Row::Rpop => [1.00, 0.80, 0.60],
        _ => return (pipeline == 16).then_some(0.80),
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
            Family::WideHashes => "wid:",
            Family::LongLists => "lng:",
            Family::LargeSets => "big:",
            Family::Bitmaps => "bit:",
            Family::HyperLogLogs => "hll:",
            Family::Places => "geo:",
        }
    }

    /// How many keys stand in the servers, where ten small elements are a key of most collections.
    pub fn keys(self, strings: u64, collections: u64) -> u64 {
        match self {
            Family::Strings | Family::Counters => strings,
            Family::Hashes | Family::Sets | Family::SortedSets | Family::Lists => collections,
            Family::WideHashes | Family::Bitmaps | Family::HyperLogLogs => collections / 10,
            Family::LongLists => collections / 50,
            Family::LargeSets | Family::Places => (collections / 1_000).max(4),
        }
    }

    /// How many elements each of its keys has at first.
    pub fn elements(self) -> u64 {
        match self {
            Family::Strings | Family::Counters | Family::Bitmaps | Family::HyperLogLogs => 1,
            Family::Hashes | Family::Sets | Family::SortedSets | Family::Lists => ELEMENTS,
            Family::WideHashes => 100,
            Family::LongLists => 600,
            Family::LargeSets => 10_000,
            Family::Places => 1_000,
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
    /// The number of another key: so many steps of an eleventh of all keys, and one, further on.
    OtherKey(u64),
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
    other_keys: Vec<(usize, u64)>,
    element: Option<usize>,
    score: Option<usize>,
}

/// The numbers of one call.
#[derive(Clone, Copy, Debug)]
pub struct Draw {
    pub key: u64,
    pub element: u64,
    score: u64,
    keys: u64,
}

impl Template {
    fn new(words: &[&[Piece<'_>]]) -> Template {
        let mut template =
            Template { text: Vec::new(), keys: Vec::new(), other_keys: Vec::new(), element: None, score: None };
        template.text.extend(format!("*{}\r\n", words.len()).bytes());
        for word in words {
            let length = |piece: &Piece<'_>| match piece {
                Piece::Text(text) => text.len(),
                Piece::Key | Piece::OtherKey(_) => KEY_DIGITS,
                Piece::Element => 2,
                Piece::Score => 6,
            };
            template.text.extend(format!("${}\r\n", word.iter().map(length).sum::<usize>()).bytes());
            for piece in *word {
                let at = template.text.len();
                match piece {
                    Piece::Text(text) => template.text.extend(text.bytes()),
                    Piece::Key => template.keys.push(at),
                    Piece::OtherKey(index) => template.other_keys.push((at, *index)),
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
        for &(at, index) in &self.other_keys {
            let key = (draw.key + index * (draw.keys / 11 + 1)) % draw.keys;
            write_digits(&mut call[at..at + KEY_DIGITS], key);
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
            keys: self.keys,
        })
    }
}
