//! HyperLogLog in Redis' bytes: how many different elements were added, within 1 %.
//!
//! ```text
//! "HYLL" │ encoding │ 0 0 0 │ cardinality, 8 bytes little endian │ registers …
//!            0 dense            top bit: it is out of date
//!            1 sparse
//! ```
//!
//! An element's hash names one of 2^14 registers and a run of zeros; a register keeps the longest run that it has met.
//!
//! - **Dense**: 6 bits for each register, the first in the low bits of the first byte. 12,304 bytes with the header.
//! - **Sparse**: runs of registers. `00llllll`: l+1 zeros. `01llllll llllllll`: l+1 zeros. `1vvvvvll`: l+1 registers of
//!   value v+1. It becomes dense when a value is greater than 32 or the string would be longer than the setting.
//!
//! The bytes come out as Redis would have made them: the same runs are split and joined in the same order. They may also come
//! from outside, so nothing here relies on them: what is not well formed is [`Corrupt`].

use std::ops::Range;

use smallvec::SmallVec;

const REGISTERS: usize = 1 << INDEX_BITS;
/// Bits of a hash that name the register.
const INDEX_BITS: u32 = 14;
/// Bits of a hash in which zeros are counted.
const RUN_BITS: u32 = 64 - INDEX_BITS;
/// Bits of a register of the dense form.
const REGISTER_BITS: usize = 6;
const REGISTER_MAX: u8 = (1 << REGISTER_BITS) - 1;

const MAGIC: &[u8; 4] = b"HYLL";
const ENCODING_AT: usize = 4;
const CARDINALITY: Range<usize> = 8..16;
const HEADER_SIZE: usize = 16;
const DENSE_SIZE: usize = HEADER_SIZE + (REGISTERS * REGISTER_BITS).div_ceil(8);
const DENSE: u8 = 0;
const SPARSE: u8 = 1;
/// In the last byte of the cardinality.
const OUT_OF_DATE: u8 = 1 << 7;

/// The runs of the sparse form cannot be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt;

/// The bytes of a HyperLogLog: a string whose header is good.
#[derive(Clone, Copy, Debug)]
pub struct Hll<'a>(&'a [u8]);

impl<'a> Hll<'a> {
    /// `None` when the string is no HyperLogLog.
    pub fn of(bytes: &'a [u8]) -> Option<Hll<'a>> {
        let good = bytes.len() >= HEADER_SIZE
            && bytes.starts_with(MAGIC)
            && match bytes[ENCODING_AT] {
                DENSE => bytes.len() == DENSE_SIZE,
                SPARSE => true,
                _ => false,
            };
        good.then_some(Hll(bytes))
    }

    /// An empty one.
    pub fn empty() -> Vec<u8> {
        let mut bytes = vec![0; HEADER_SIZE];
        bytes[..MAGIC.len()].copy_from_slice(MAGIC);
        bytes[ENCODING_AT] = SPARSE;
        Run::Zeros(REGISTERS).write(&mut bytes);
        bytes
    }

    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    pub fn is_dense(self) -> bool {
        self.0[ENCODING_AT] == DENSE
    }

    /// The estimate that was kept, unless something was added since.
    pub fn kept_cardinality(self) -> Option<u64> {
        let bytes: [u8; 8] = self.0[CARDINALITY].try_into().ok()?;
        (bytes[7] & OUT_OF_DATE == 0).then(|| u64::from_le_bytes(bytes))
    }

    /// How many different elements were added, more or less.
    pub fn count(self) -> Result<u64, Corrupt> {
        let mut histogram = [0; REGISTER_MAX as usize + 1];
        if self.is_dense() {
            dense_registers(self.body()).for_each(|register| histogram[usize::from(register)] += 1);
        } else {
            for run in self.runs() {
                let (value, registers) = run?;
                histogram[usize::from(value)] += registers.len();
            }
        }
        Ok(estimate(&histogram))
    }

    /// The runs as text: `z:3 v:1,2 Z:16379`. `None` when it is dense.
    pub fn describe(self) -> Option<String> {
        if self.is_dense() {
            return None;
        }
        let mut words = Vec::new();
        let mut rest = self.body();
        while let Some((run, size)) = Run::read(rest) {
            words.push(match run {
                Run::Zeros(len) if size == 1 => format!("z:{len}"),
                Run::Zeros(len) => format!("Z:{len}"),
                Run::Values(value, len) => format!("v:{value},{len}"),
            });
            rest = &rest[size..];
        }
        Some(words.join(" "))
    }

    /// The same in the dense form.
    pub fn to_dense(self) -> Result<Vec<u8>, Corrupt> {
        if self.is_dense() {
            return Ok(self.0.to_vec());
        }
        let mut dense = vec![0; DENSE_SIZE];
        dense[..HEADER_SIZE].copy_from_slice(&self.0[..HEADER_SIZE]);
        dense[ENCODING_AT] = DENSE;
        for run in self.runs() {
            let (value, registers) = run?;
            if value > 0 {
                registers.for_each(|register| dense_set(&mut dense[HEADER_SIZE..], register, value));
            }
        }
        Ok(dense)
    }

    fn body(self) -> &'a [u8] {
        &self.0[HEADER_SIZE..]
    }

    /// Values with their registers, in order. They cover all registers, or the last item is an error.
    fn runs(self) -> impl Iterator<Item = Result<(u8, Range<usize>), Corrupt>> {
        let mut rest = self.body();
        let mut first = 0;
        let mut failed = false;
        std::iter::from_fn(move || {
            if failed || (rest.is_empty() && first == REGISTERS) {
                return None;
            }
            let run = Run::read(rest).map(|(run, size)| {
                rest = &rest[size..];
                run
            });
            let next = run.map(|run| (run.value(), first..first + run.len())).filter(|(_, at)| at.end <= REGISTERS);
            match next {
                Some((value, registers)) => {
                    first = registers.end;
                    Some(Ok((value, registers)))
                }
                None => {
                    failed = true;
                    Some(Err(Corrupt))
                }
            }
        })
    }
}

/// Adds elements. `Ok(None)` when no register changes, else the new bytes.
pub fn add<'e>(
    bytes: &[u8],
    elements: impl Iterator<Item = &'e [u8]>,
    sparse_size_max: usize,
) -> Result<Option<Vec<u8>>, Corrupt> {
    let mut changed: Option<Vec<u8>> = None;
    for element in elements {
        let (register, run) = place(element);
        let found = find(changed.as_deref().unwrap_or(bytes), register)?;
        if found.value() < run {
            let changed = changed.get_or_insert_with(|| {
                let mut copy = Vec::with_capacity(bytes.len() + RAISE_SIZE_MAX);
                copy.extend_from_slice(bytes);
                copy
            });
            raise_found(changed, found, register, run, sparse_size_max)?;
        }
    }
    if let Some(bytes) = &mut changed {
        outdate(bytes);
    }
    Ok(changed)
}

/// A new one with these elements.
pub fn create<'e>(elements: impl Iterator<Item = &'e [u8]>, sparse_size_max: usize) -> Result<Vec<u8>, Corrupt> {
    let mut empty = Hll::empty();
    Ok(add(&empty, elements, sparse_size_max)?.unwrap_or_else(|| {
        outdate(&mut empty);
        empty
    }))
}

/// True when one of the elements would raise a register of a dense one: then [`add_in_place`] is worth its write.
pub fn dense_would_change<'e>(hll: Hll<'_>, mut elements: impl Iterator<Item = &'e [u8]>) -> bool {
    elements.any(|element| {
        let (register, run) = place(element);
        dense_get(hll.body(), register) < run
    })
}

/// Adds elements to a dense one.
pub fn add_in_place<'e>(dense: &mut [u8], elements: impl Iterator<Item = &'e [u8]>) {
    for element in elements {
        let (register, run) = place(element);
        if dense_get(&dense[HEADER_SIZE..], register) < run {
            dense_set(&mut dense[HEADER_SIZE..], register, run);
        }
    }
    outdate(dense);
}

/// Keeps an estimate in the header.
pub fn keep_cardinality(bytes: &mut [u8], count: u64) {
    bytes[CARDINALITY].copy_from_slice(&count.to_le_bytes());
}

/// Of all registers the greatest value that one of several has.
pub struct Union {
    registers: Box<[u8; REGISTERS]>,
    any_dense: bool,
}

impl Default for Union {
    fn default() -> Union {
        Union { registers: Box::new([0; REGISTERS]), any_dense: false }
    }
}

impl Union {
    pub fn merge(&mut self, hll: Hll<'_>) -> Result<(), Corrupt> {
        if hll.is_dense() {
            self.any_dense = true;
            for (own, other) in self.registers.iter_mut().zip(dense_registers(hll.body())) {
                *own = (*own).max(other);
            }
            return Ok(());
        }
        for run in hll.runs() {
            let (value, registers) = run?;
            if value > 0 {
                self.registers[registers].iter_mut().for_each(|own| *own = (*own).max(value));
            }
        }
        Ok(())
    }

    pub fn count(&self) -> u64 {
        let mut histogram = [0; REGISTER_MAX as usize + 1];
        self.registers.iter().for_each(|register| histogram[usize::from(*register)] += 1);
        estimate(&histogram)
    }

    /// Raises the registers of a good one to these; the new bytes.
    pub fn write_to(&self, target: &[u8], sparse_size_max: usize) -> Result<Vec<u8>, Corrupt> {
        let mut bytes = if self.any_dense { Hll(target).to_dense()? } else { target.to_vec() };
        for (register, &value) in self.registers.iter().enumerate().filter(|(_, value)| **value > 0) {
            raise(&mut bytes, register, value, sparse_size_max)?;
        }
        outdate(&mut bytes);
        Ok(bytes)
    }
}

/// The values of all registers.
pub fn registers(hll: Hll<'_>) -> Result<Vec<u8>, Corrupt> {
    let mut all = Union::default();
    all.merge(hll)?;
    Ok(all.registers.to_vec())
}

/// Whether the forms agree with each other, and the estimates with the truth.
pub fn self_test(seed: u64) -> Result<(), &'static str> {
    let mut dense = vec![0; REGISTERS * REGISTER_BITS / 8];
    let value = |register: usize| (murmur64a(&(seed ^ register as u64).to_le_bytes()) & u64::from(REGISTER_MAX)) as u8;
    (0..REGISTERS).for_each(|register| dense_set(&mut dense, register, value(register)));
    if !dense_registers(&dense).eq((0..REGISTERS).map(value)) {
        return Err("TESTFAILED registers do not keep their values");
    }
    const ELEMENTS: u64 = 10_000;
    let error = |count: u64, expected: u64| count.abs_diff(expected) as f64 / expected as f64;
    let mut grown = Hll::empty();
    let mut dense = Hll(&grown).to_dense().map_err(|_| "TESTFAILED an empty one is corrupt")?;
    for number in 1..=ELEMENTS {
        let element = (number ^ seed).to_le_bytes();
        let one = || std::iter::once(&element[..]);
        add_in_place(&mut dense, one());
        // Sparse while it is small, as everywhere.
        if let Some(bytes) = add(&grown, one(), 3000).map_err(|_| "TESTFAILED a sparse one is corrupt")? {
            grown = bytes;
        }
        if [1, 10, 100, 1000, ELEMENTS].contains(&number) {
            let counts = (Hll(&grown).count(), Hll(&dense).count());
            let (Ok(sparse), Ok(count)) = counts else { return Err("TESTFAILED a count fails") };
            if sparse != count {
                return Err("TESTFAILED dense/sparse disagree");
            }
            // Six times the standard error; of ten elements one may collide.
            let allowed = 6.0 * 1.04 / (REGISTERS as f64).sqrt();
            if error(count, number) > allowed && count.abs_diff(number) > 1 {
                return Err("TESTFAILED too big error");
            }
        }
    }
    Ok(())
}

/// The register of an element, and how long its run of zeros is, the one behind it included.
fn place(element: &[u8]) -> (usize, u8) {
    let hash = murmur64a(element);
    let register = hash as usize & (REGISTERS - 1);
    let run = (hash >> INDEX_BITS | 1 << RUN_BITS).trailing_zeros() + 1;
    (register, run as u8)
}

/// MurmurHash2 for 64 bits, with Redis' seed.
fn murmur64a(bytes: &[u8]) -> u64 {
    const SEED: u64 = 0xadc8_3b19;
    const FACTOR: u64 = 0xc6a4_a793_5bd1_e995;
    let mut hash = SEED ^ (bytes.len() as u64).wrapping_mul(FACTOR);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let mut word = u64::from_le_bytes(*word).wrapping_mul(FACTOR);
        word = (word ^ word >> 47).wrapping_mul(FACTOR);
        hash = (hash ^ word).wrapping_mul(FACTOR);
    }
    if !rest.is_empty() {
        let word = rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        hash = (hash ^ word).wrapping_mul(FACTOR);
    }
    hash = (hash ^ hash >> 47).wrapping_mul(FACTOR);
    hash ^ hash >> 47
}

/// The improved estimator of Otmar Ertl ("New cardinality estimation algorithms for HyperLogLog sketches"), in the order of
/// operations in which Redis does it.
fn estimate(histogram: &[usize; REGISTER_MAX as usize + 1]) -> u64 {
    const ALPHA: f64 = 0.721_347_520_444_481_7;
    let m = REGISTERS as f64;
    let mut z = m * tau((m - histogram[RUN_BITS as usize + 1] as f64) / m);
    for run in (1..=RUN_BITS as usize).rev() {
        z += histogram[run] as f64;
        z *= 0.5;
    }
    z += m * sigma(histogram[0] as f64 / m);
    (ALPHA * m * m / z).round() as u64
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

fn outdate(bytes: &mut [u8]) {
    bytes[CARDINALITY.end - 1] |= OUT_OF_DATE;
}

// ---- dense ----

/// The two bytes in which a register lies, and its place in them. The last register ends with the last byte.
fn dense_word(body: &[u8], register: usize) -> (usize, u16, u32) {
    let bit = register * REGISTER_BITS;
    let at = bit / 8;
    let word = u16::from_le_bytes([body[at], body.get(at + 1).copied().unwrap_or(0)]);
    (at, word, (bit % 8) as u32)
}

fn dense_get(body: &[u8], register: usize) -> u8 {
    let (_, word, shift) = dense_word(body, register);
    (word >> shift) as u8 & REGISTER_MAX
}

fn dense_set(body: &mut [u8], register: usize, value: u8) {
    let (at, word, shift) = dense_word(body, register);
    let word = word & !(u16::from(REGISTER_MAX) << shift) | u16::from(value) << shift;
    let [low, high] = word.to_le_bytes();
    body[at] = low;
    if let Some(next) = body.get_mut(at + 1) {
        *next = high;
    }
}

/// All registers in order: four in three bytes.
fn dense_registers(body: &[u8]) -> impl Iterator<Item = u8> {
    body.as_chunks::<3>().0.iter().flat_map(|&[a, b, c]| {
        let word = u32::from_le_bytes([a, b, c, 0]);
        [0, 6, 12, 18].map(|shift| (word >> shift) as u8 & REGISTER_MAX)
    })
}

// ---- sparse ----

/// Registers that are the same, as one opcode says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
    Zeros(usize),
    Values(u8, usize),
}

const ZEROS_SHORT_MAX: usize = 64;
const VALUES_MAX: usize = 4;
const VALUE_MAX: u8 = 32;

impl Run {
    /// The first run and its size in bytes.
    fn read(bytes: &[u8]) -> Option<(Run, usize)> {
        Some(match *bytes {
            [] => return None,
            [first, ..] if first & 0xc0 == 0 => (Run::Zeros(usize::from(first) + 1), 1),
            [first, ..] if first & 0x80 != 0 => {
                (Run::Values((first >> 2 & 0x1f) + 1, usize::from(first & 0x03) + 1), 1)
            }
            [first, second, ..] => (Run::Zeros((usize::from(first & 0x3f) << 8 | usize::from(second)) + 1), 2),
            [_] => return None,
        })
    }

    fn write(self, out: &mut impl Extend<u8>) {
        match self {
            Run::Zeros(0) | Run::Values(_, 0) => {}
            Run::Zeros(len) if len <= ZEROS_SHORT_MAX => out.extend([len as u8 - 1]),
            Run::Zeros(len) => out.extend((0x4000 | (len - 1) as u16).to_be_bytes()),
            Run::Values(value, len) => out.extend([0x80 | (value - 1) << 2 | (len - 1) as u8]),
        }
    }

    fn len(self) -> usize {
        match self {
            Run::Zeros(len) | Run::Values(_, len) => len,
        }
    }

    fn value(self) -> u8 {
        match self {
            Run::Zeros(_) => 0,
            Run::Values(value, _) => value,
        }
    }
}

/// What a register is.
enum Found {
    Dense(u8),
    Sparse(FoundRun),
}

impl Found {
    fn value(&self) -> u8 {
        match self {
            Found::Dense(value) => *value,
            Found::Sparse(found) => found.run.value(),
        }
    }
}

/// Where the run of a register stands.
struct FoundRun {
    run: Run,
    at: usize,
    size: usize,
    /// Where the run before it stands; its own place when it is the first.
    before: usize,
    /// The first register of the run.
    first: usize,
}

/// The register of either form.
fn find(bytes: &[u8], register: usize) -> Result<Found, Corrupt> {
    match bytes[ENCODING_AT] {
        DENSE => Ok(Found::Dense(dense_get(&bytes[HEADER_SIZE..], register))),
        _ => find_run(bytes, register).map(Found::Sparse),
    }
}

fn find_run(bytes: &[u8], register: usize) -> Result<FoundRun, Corrupt> {
    let (mut at, mut before, mut first) = (HEADER_SIZE, HEADER_SIZE, 0);
    loop {
        let (run, size) = Run::read(&bytes[at..]).ok_or(Corrupt)?;
        if register < first + run.len() {
            return Ok(FoundRun { run, at, size, before, first });
        }
        before = at;
        at += size;
        first += run.len();
    }
}

/// Raises a register of either form to `value`, unless it is as great already.
fn raise(bytes: &mut Vec<u8>, register: usize, value: u8, sparse_size_max: usize) -> Result<(), Corrupt> {
    let found = find(bytes, register)?;
    if found.value() < value { raise_found(bytes, found, register, value, sparse_size_max) } else { Ok(()) }
}

/// Raises a register that was found to be less than `value`.
fn raise_found(
    bytes: &mut Vec<u8>,
    found: Found,
    register: usize,
    value: u8,
    sparse_size_max: usize,
) -> Result<(), Corrupt> {
    if let Found::Sparse(found) = found {
        if value <= VALUE_MAX && sparse_raise(bytes, &found, register, value, sparse_size_max) {
            return Ok(());
        }
        *bytes = Hll(bytes).to_dense()?;
    }
    dense_set(&mut bytes[HEADER_SIZE..], register, value);
    Ok(())
}

/// What a sparse one grows by at the most when a register is raised: a long run of zeros becomes one, a value, and another.
const RAISE_SIZE_MAX: usize = 3;

/// False when the string would become too long; then nothing was changed.
fn sparse_raise(bytes: &mut Vec<u8>, found: &FoundRun, register: usize, value: u8, size_max: usize) -> bool {
    let &FoundRun { run, at, size, before, first } = found;
    let (left, right) = (register - first, first + run.len() - 1 - register);
    let part = |len| match run {
        Run::Zeros(_) => Run::Zeros(len),
        Run::Values(old, _) => Run::Values(old, len),
    };
    let mut new: SmallVec<[u8; 2 + RAISE_SIZE_MAX]> = SmallVec::new();
    part(left).write(&mut new);
    Run::Values(value, 1).write(&mut new);
    part(right).write(&mut new);
    if new.len() > size && bytes.len() + new.len() - size > size_max {
        return false;
    }
    bytes.splice(at..at + size, new);
    join(bytes, before);
    true
}

/// Joins neighbouring values that are the same, in five runs from `at` on.
fn join(bytes: &mut Vec<u8>, mut at: usize) {
    for _ in 0..5 {
        let Some((run, size)) = Run::read(&bytes[at..]) else { return };
        let next = Run::read(&bytes[at + size..]).map(|(next, _)| next);
        match (run, next) {
            (Run::Values(value, len), Some(Run::Values(other, more))) if value == other && len + more <= VALUES_MAX => {
                bytes.remove(at);
                bytes[at] = 0x80 | (value - 1) << 2 | (len + more - 1) as u8;
            }
            _ => at += size,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIZE_MAX: usize = 3000;

    fn filled(count: usize, size_max: usize) -> Vec<u8> {
        let mut bytes = Hll::empty();
        for number in 0..count {
            let element = format!("element:{number}").into_bytes();
            match add(&bytes, std::iter::once(&element[..]), size_max).unwrap() {
                Some(new) => bytes = new,
                None => continue,
            }
        }
        bytes
    }

    fn hll(bytes: &[u8]) -> Hll<'_> {
        Hll::of(bytes).expect("a good header")
    }

    #[test]
    fn an_empty_one_is_that_of_redis() {
        let bytes = Hll::empty();
        assert_eq!(bytes, b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\0\x7f\xff");
        assert_eq!((hll(&bytes).count(), hll(&bytes).kept_cardinality()), (Ok(0), Some(0)));
        assert_eq!(hll(&bytes).describe().as_deref(), Some("Z:16384"));
    }

    #[test]
    fn hashes_are_those_of_the_definition() {
        let cases: &[(&[u8], u64)] = &[
            (b"", 0xd8df_ea65_85bc_9732),
            (b"a", 0x53d2_470a_9b43_b1a7),
            (b"hello", 0x0f65_6f01_eecf_e400),
            (b"12345678", 0x95eb_b863_8913_2953),
            (b"hello world, hello", 0x388a_ef2b_b496_58e0),
        ];
        for (bytes, hash) in cases {
            assert_eq!(murmur64a(bytes), *hash, "{bytes:?}");
        }
    }

    #[test]
    fn the_error_is_within_one_percent() {
        for count in [10, 1_000, 100_000] {
            let estimated = hll(&filled(count, SIZE_MAX)).count().unwrap() as usize;
            assert!(estimated.abs_diff(count) * 100 <= count, "{estimated} for {count}");
        }
    }

    #[test]
    fn the_error_is_within_one_percent_of_ten_million() {
        let mut dense = hll(&Hll::empty()).to_dense().unwrap();
        for number in 0..10_000_000 {
            add_in_place(&mut dense, std::iter::once(format!("element:{number}").as_bytes()));
        }
        let estimated = hll(&dense).count().unwrap();
        assert!(estimated.abs_diff(10_000_000) <= 100_000, "{estimated}");
    }

    #[test]
    fn it_becomes_dense_when_it_is_too_long() {
        assert!(!hll(&filled(500, SIZE_MAX)).is_dense());
        let bytes = filled(500, 100);
        assert!(hll(&bytes).is_dense());
        assert_eq!(hll(&bytes).count(), hll(&filled(500, SIZE_MAX)).count());
        assert_eq!(hll(&filled(500, SIZE_MAX)).to_dense().unwrap(), bytes);
    }

    #[test]
    fn counts_are_kept_until_something_changes() {
        let mut bytes = filled(3, SIZE_MAX);
        assert_eq!(hll(&bytes).kept_cardinality(), None);
        keep_cardinality(&mut bytes, 3);
        assert_eq!(hll(&bytes).kept_cardinality(), Some(3));
        assert_eq!(add(&bytes, std::iter::once(&b"element:1"[..]), SIZE_MAX), Ok(None));
        let more = add(&bytes, std::iter::once(&b"another"[..]), SIZE_MAX).unwrap().expect("a change");
        assert_eq!(hll(&more).kept_cardinality(), None);
    }

    #[test]
    fn the_self_test_passes() {
        assert_eq!(self_test(7), Ok(()));
    }

    /// The registers that elements give, without any form.
    fn naive(elements: &[Vec<u8>]) -> Vec<u8> {
        let mut registers = vec![0; REGISTERS];
        for element in elements {
            let (register, run) = place(element);
            registers[register] = registers[register].max(run);
        }
        registers
    }

    proptest! {
        #[test]
        fn both_forms_hold_what_was_added(
            elements in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..12), 0..400),
            size_max in prop_oneof![Just(20_usize), Just(200), Just(3000)],
        ) {
            let expected = naive(&elements);
            let mut bytes = Hll::empty();
            for element in &elements {
                if let Some(new) = add(&bytes, std::iter::once(&element[..]), size_max).unwrap() {
                    bytes = new;
                }
            }
            prop_assert_eq!(&registers(hll(&bytes)).unwrap(), &expected);
            let at_once = add(&Hll::empty(), elements.iter().map(Vec::as_slice), size_max).unwrap();
            prop_assert_eq!(at_once.unwrap_or_else(Hll::empty), bytes.clone());
            let mut dense = hll(&Hll::empty()).to_dense().unwrap();
            add_in_place(&mut dense, elements.iter().map(Vec::as_slice));
            prop_assert_eq!(&registers(hll(&dense)).unwrap(), &expected);
            prop_assert_eq!(hll(&dense).count(), hll(&bytes).count());
            prop_assert!(!hll(&bytes).is_dense() || bytes.len() == DENSE_SIZE);
            let mut union = Union::default();
            union.merge(hll(&bytes)).unwrap();
            prop_assert_eq!(Ok(union.count()), hll(&bytes).count());
            let merged = union.write_to(&Hll::empty(), size_max).unwrap();
            prop_assert_eq!(&registers(hll(&merged)).unwrap(), &expected);
        }

        #[test]
        fn corrupt_bytes_are_refused_or_read(
            count in 0_usize..300, flips in prop::collection::vec((any::<u16>(), any::<u8>()), 1..6), cut in any::<u16>(),
            dense in any::<bool>(),
        ) {
            let mut bytes = filled(count, if dense { 20 } else { SIZE_MAX });
            for (at, byte) in flips {
                let at = usize::from(at) % bytes.len();
                bytes[at] = byte;
            }
            if cut % 4 == 0 {
                bytes.truncate(usize::from(cut) % (bytes.len() + 1));
            }
            if let Some(hll) = Hll::of(&bytes) {
                let readable = registers(hll);
                prop_assert_eq!(hll.count().is_ok(), readable.is_ok());
                prop_assert_eq!(hll.to_dense().is_ok(), readable.is_ok());
                hll.describe();
                hll.kept_cardinality();
                let added = add(&bytes, [&b"a"[..], b"b", b"c"].into_iter(), 100);
                prop_assert!(added.is_ok() || readable.is_err());
                let mut union = Union::default();
                if union.merge(hll).is_ok() {
                    prop_assert!(union.write_to(&bytes, 100).is_ok());
                }
            }
        }
    }
}
