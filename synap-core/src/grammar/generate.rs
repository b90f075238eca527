//! Random calls: values for any [`ArgSpec`] tree, and the words that they stand for.
//!
//! Choices come from a list of numbers, so a property test can shrink them and a fuzzer can supply them; when the
//! list is used up, every further choice is the first alternative. [`words`] is written independently of every door:
//! it is the oracle that they are compared with.
//!
//! Without a [`Vocabulary`] the values are as odd as the grammar allows; with one, most of them come from it, so that
//! calls meet each other's keys, fields and members.

use crate::grammar::spec::{ArgKind, ArgSpec, Repeat};

/// What is given for one argument.
#[derive(Clone, Debug, PartialEq)]
pub enum Given {
    Absent,
    /// A flag that is set.
    Flag,
    Word(Vec<u8>),
    /// The arguments of a block, or options of which any may be absent, in declared order.
    Group(Vec<Given>),
    /// The index of the alternative, and what is given for it.
    Choice(usize, Box<Given>),
    /// Occurrences of a repeated argument, at least one.
    Many(Vec<Given>),
}

/// The values that calls have in common.
#[derive(Clone, Copy, Debug)]
pub struct Vocabulary {
    pub keys: &'static [&'static [u8]],
    /// Fields, members, elements, bounds, patterns: what is no key and no number.
    pub words: &'static [&'static [u8]],
    pub ints: &'static [i64],
    pub floats: &'static [&'static str],
}

/// A source of choices.
#[derive(Clone, Debug)]
pub struct Choices<'a> {
    numbers: &'a [u32],
    next: usize,
    vocabulary: Option<&'static Vocabulary>,
}

/// Occurrences of a repeated argument at the most.
const OCCURRENCE_COUNT_MAX: u32 = 4;

impl<'a> Choices<'a> {
    pub fn new(numbers: &'a [u32]) -> Choices<'a> {
        Choices { numbers, next: 0, vocabulary: None }
    }

    /// Keys come from `vocabulary`, and most other values.
    pub fn within(numbers: &'a [u32], vocabulary: &'static Vocabulary) -> Choices<'a> {
        Choices { numbers, next: 0, vocabulary: Some(vocabulary) }
    }

    /// The vocabulary, seven times of eight.
    fn common(&mut self) -> Option<&'static Vocabulary> {
        let vocabulary = self.vocabulary?;
        (self.below(8) < 7).then_some(vocabulary)
    }

    /// A number below `bound`; 0 when the list is used up.
    pub fn below(&mut self, bound: u32) -> u32 {
        let number = self.numbers.get(self.next).copied().unwrap_or(0);
        self.next += 1;
        number % bound.max(1)
    }

    pub fn coin(&mut self) -> bool {
        self.below(2) == 1
    }

    fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u32) as usize].clone()
    }
}

/// Values for the arguments of a command.
pub fn arguments(specs: &[ArgSpec], choices: &mut Choices) -> Vec<Given> {
    let mut given: Vec<Given> = specs.iter().map(|spec| argument(spec, choices)).collect();
    let counted = specs.iter().zip(&given).find_map(|(spec, given)| match given {
        Given::Many(items) if spec.repeat == Repeat::Counted => Some(items.len()),
        _ => None,
    });
    if let Some(count) = counted {
        specs.iter().zip(&mut given).for_each(|(spec, given)| fit(spec, given, count));
    }
    given
}

/// Gives what goes with counted items as many occurrences as there are of those.
fn fit(spec: &ArgSpec, given: &mut Given, count: usize) {
    match (spec.kind, given) {
        (_, Given::Many(items)) if spec.repeat == Repeat::PerItem => {
            let first = items[0].clone();
            items.resize(count, first);
        }
        (ArgKind::Block(parts) | ArgKind::AnyOrder(parts), Given::Group(values)) => {
            parts.iter().zip(values).for_each(|(part, value)| fit(part, value, count));
        }
        _ => {}
    }
}

fn argument(spec: &ArgSpec, choices: &mut Choices) -> Given {
    if spec.optional && !choices.coin() {
        return Given::Absent;
    }
    match spec.repeat {
        Repeat::Once => occurrence(&spec.kind, choices),
        Repeat::Many | Repeat::Counted | Repeat::PerItem | Repeat::EachWithToken => {
            let count = 1 + choices.below(OCCURRENCE_COUNT_MAX);
            Given::Many((0..count).map(|_| occurrence(&spec.kind, choices)).collect())
        }
    }
}

fn occurrence(kind: &ArgKind, choices: &mut Choices) -> Given {
    match *kind {
        ArgKind::Flag => Given::Flag,
        ArgKind::Block(parts) | ArgKind::AnyOrder(parts) => Given::Group(arguments(parts, choices)),
        ArgKind::OneOf(alternatives) => {
            let index = choices.below(alternatives.len() as u32) as usize;
            let alternative = ArgSpec { optional: false, ..alternatives[index] };
            Given::Choice(index, Box::new(argument(&alternative, choices)))
        }
        ArgKind::Int { min, max } => Given::Word(match choices.common() {
            Some(common) => choices.pick(common.ints).clamp(min, max).to_string().into_bytes(),
            None => int(min, max, choices),
        }),
        ArgKind::Float { min, max, infinite } => Given::Word(match choices.common() {
            Some(common) => {
                let text = choices.pick(common.floats);
                let fits = text.parse().is_ok_and(|value: f64| value >= min && value <= max);
                if fits { text.into() } else { float(min, max, infinite, choices) }
            }
            None => float(min, max, infinite, choices),
        }),
        ArgKind::Key(_) => Given::Word(match choices.vocabulary {
            Some(common) => choices.pick(common.keys).to_vec(),
            None => bytes(choices),
        }),
        ArgKind::Form { examples, .. } => Given::Word(choices.pick(examples).into()),
        ArgKind::Bytes | ArgKind::Pattern | ArgKind::Channel { .. } => Given::Word(match choices.common() {
            Some(common) => choices.pick(common.words).to_vec(),
            None => bytes(choices),
        }),
    }
}

/// An integer of the range, often at its edge.
pub fn int(min: i64, max: i64, choices: &mut Choices) -> Vec<u8> {
    let common = [1, 0, min, max, -1, 10, 1 << 53, (1 << 53) + 1, min.saturating_add(1), max.saturating_sub(1)];
    let value = choices.pick(&common).clamp(min, max);
    value.to_string().into_bytes()
}

/// A number of the range, often at its edge.
pub fn float(min: f64, max: f64, infinite: bool, choices: &mut Choices) -> Vec<u8> {
    const COMMON: [&str; 12] =
        ["1", "0", "0.1", "-1.5", "1.0", "3.0e3", "-0", "1e-300", "17976931348623157e292", "inf", "-inf", "+inf"];
    let text = choices.pick(&COMMON);
    let fits = |value: f64| value >= min && value <= max && (infinite || value.is_finite());
    if text.parse().is_ok_and(fits) {
        return text.into();
    }
    // The edge itself; a range that ends in infinity without containing it holds 1 or -1.
    let edge = [min, max, 1.0, -1.0].into_iter().find(|v| v.is_finite() && fits(*v)).unwrap_or(0.0);
    edge.to_string().into_bytes()
}

/// Bytes of any kind: empty, text, control characters, not UTF-8, what looks like JSON or like a number.
pub fn bytes(choices: &mut Choices) -> Vec<u8> {
    const COMMON: [&[u8]; 22] = [
        b"a",
        b"",
        b"user:1",
        b"10",
        b"-0",
        b"1.0",
        b"9007199254740993",
        b"1e400",
        b"\xff",
        b"\x00",
        b"\xed\xa0\x80",
        b"caf\xc3\xa9 \xf0\x9f\x98\x80",
        b"two\r\nlines",
        b"\"quoted\\",
        b"%2F/?&=+ #",
        b"null",
        b"true",
        b"base64",
        b"base64:YQ==",
        b"{\"base64\":\"YQ==\"}",
        b"[1,{\"a\":[]}]",
        b"\x7f\x1f\x08\x0c\t",
    ];
    match choices.below(8) {
        0..6 => choices.pick(&COMMON).to_vec(),
        6 => (0..choices.below(12)).map(|_| choices.below(256) as u8).collect(),
        _ => vec![b'x'; choices.below(3000) as usize],
    }
}

/// The words that `given` stands for, options in declared order, without the command's name.
pub fn words(specs: &[ArgSpec], given: &[Given]) -> Vec<Vec<u8>> {
    assert_eq!(specs.len(), given.len(), "one value for each argument");
    let mut out = Vec::new();
    for (spec, given) in specs.iter().zip(given) {
        argument_words(spec, given, &mut out);
    }
    out
}

/// As [`words`], with the arguments of each [`ArgKind::AnyOrder`] in another order.
pub fn shuffled_words(specs: &[ArgSpec], given: &[Given], choices: &mut Choices) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for (spec, given) in specs.iter().zip(given) {
        match (spec.kind, given) {
            (ArgKind::AnyOrder(options), Given::Group(values)) if spec.repeat == Repeat::Once => {
                token(spec, &mut out);
                let mut left: Vec<_> = options.iter().zip(values).collect();
                while !left.is_empty() {
                    let (spec, given) = left.remove(choices.below(left.len() as u32) as usize);
                    argument_words(spec, given, &mut out);
                }
            }
            _ => argument_words(spec, given, &mut out),
        }
    }
    out
}

fn argument_words(spec: &ArgSpec, given: &Given, out: &mut Vec<Vec<u8>>) {
    match (given, spec.repeat) {
        // A count that stands in no brackets is there when it is 0, too.
        (Given::Absent, Repeat::Counted) if spec.token.is_empty() => out.push(b"0".to_vec()),
        (Given::Absent, _) => (),
        (Given::Many(items), Repeat::EachWithToken) => {
            for item in items {
                token(spec, out);
                occurrence_words(&spec.kind, item, out);
            }
        }
        (Given::Many(items), repeat) => {
            token(spec, out);
            if repeat == Repeat::Counted {
                out.push(items.len().to_string().into_bytes());
            }
            for item in items {
                occurrence_words(&spec.kind, item, out);
            }
        }
        (given, _) => {
            token(spec, out);
            occurrence_words(&spec.kind, given, out);
        }
    }
}

fn token(spec: &ArgSpec, out: &mut Vec<Vec<u8>>) {
    if !spec.token.is_empty() {
        out.push(spec.token.as_bytes().to_vec());
    }
}

fn occurrence_words(kind: &ArgKind, given: &Given, out: &mut Vec<Vec<u8>>) {
    match (kind, given) {
        (_, Given::Word(word)) => out.push(word.clone()),
        (ArgKind::Block(parts) | ArgKind::AnyOrder(parts), Given::Group(values)) => out.extend(words(parts, values)),
        (ArgKind::OneOf(alternatives), Given::Choice(index, value)) => {
            argument_words(&alternatives[*index], value, out)
        }
        (ArgKind::Flag, Given::Flag) => (),
        _ => panic!("{given:?} is no value of {kind:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grammar::spec::Access;

    const fn arg(name: &'static str, kind: ArgKind) -> ArgSpec {
        ArgSpec { name, doc: "", token: "", kind, optional: false, repeat: Repeat::Once }
    }

    const KEY: ArgSpec = arg("key", ArgKind::Key(Access::RO));
    const COUNT: ArgKind = ArgKind::Int { min: 1, max: i64::MAX };

    #[test]
    fn words_stand_in_grammar_order_with_tokens_and_counts() {
        const OPTIONS: &[ArgSpec] = &[
            ArgSpec { token: "COUNT", optional: true, ..arg("count", COUNT) },
            ArgSpec { token: "WITHVALUES", optional: true, ..arg("with_values", ArgKind::Flag) },
        ];
        const SPECS: &[ArgSpec] = &[
            ArgSpec { repeat: Repeat::Counted, ..KEY },
            arg("options", ArgKind::AnyOrder(OPTIONS)),
            ArgSpec { repeat: Repeat::EachWithToken, token: "GET", optional: true, ..arg("get", ArgKind::Pattern) },
        ];
        let word = |text: &str| Given::Word(text.into());
        let given = [
            Given::Many(vec![word("a"), word("b")]),
            Given::Group(vec![word("5"), Given::Flag]),
            Given::Many(vec![word("x"), word("y")]),
        ];
        let words: Vec<String> =
            words(SPECS, &given).into_iter().map(|w| String::from_utf8(w).expect("text")).collect();
        assert_eq!(words, ["2", "a", "b", "COUNT", "5", "WITHVALUES", "GET", "x", "GET", "y"]);
    }

    #[test]
    fn no_choices_left_means_the_smallest_call() {
        let specs = [KEY, ArgSpec { optional: true, ..arg("count", COUNT) }];
        assert_eq!(arguments(&specs, &mut Choices::new(&[])), [Given::Word(b"a".to_vec()), Given::Absent]);
    }

    #[test]
    fn numbers_stay_in_their_range() {
        for seed in 0..40 {
            let numbers = [seed];
            let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
            let number: i64 = text(int(3, 7, &mut Choices::new(&numbers))).parse().expect("an integer");
            assert!((3..=7).contains(&number));
            let number: f64 =
                text(float(0.0, f64::INFINITY, false, &mut Choices::new(&numbers))).parse().expect("a number");
            assert!(number >= 0.0 && number.is_finite());
        }
    }
}
