//! The `long double` of x86: numbers with 64 bits of mantissa. Redis adds in them (INCRBYFLOAT, HINCRBYFLOAT), and it can be
//! seen: with 17 digits behind the dot 0.1 and 0.2 are 0.3, but 1234.56 and 0.01 are 1234.57000000000000006.

use super::score::parse_double;

/// Longer words are no numbers for Redis.
const TEXT_BYTES_MAX: usize = 5 * 1024 - 1;

/// 2^16384 is too much.
const EXPONENT_MAX: i32 = 16384 - 64;

/// Digits behind the dot, and as many tens.
const DECIMALS: usize = 17;
const SCALE: u128 = 10_u128.pow(DECIMALS as u32);

/// A finite number: `mantissa` · 2^`exponent`. The highest bit of the mantissa is set, but in 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongDouble {
    negative: bool,
    mantissa: u64,
    exponent: i32,
}

/// What a word stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    Finite(LongDouble),
    Infinite,
}

impl LongDouble {
    const ZERO: LongDouble = LongDouble { negative: false, mantissa: 0, exponent: 0 };

    pub fn from_int(value: i64) -> LongDouble {
        LongDouble::rounded(value < 0, value.unsigned_abs().into(), false, 0).unwrap_or(LongDouble::ZERO)
    }

    /// The number that is closest to a decimal text. None when it is none, or too large, or so small that nothing is left.
    pub fn parse(text: &[u8]) -> Option<Parsed> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let (negative, magnitude) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        if !matches!(magnitude, [b'0'..=b'9' | b'.', ..]) || matches!(magnitude, [b'0', b'x' | b'X', ..]) {
            let value = parse_double(text)?;
            return if value.is_finite() {
                LongDouble::from_double(value).map(Parsed::Finite)
            } else {
                Some(Parsed::Infinite)
            };
        }
        LongDouble::parse_decimal(negative, magnitude).map(Parsed::Finite)
    }

    fn from_double(value: f64) -> Option<LongDouble> {
        let bits = value.to_bits();
        let (fraction, power) = (bits & ((1 << 52) - 1), (bits >> 52 & 0x7ff) as i32);
        let (mantissa, power) = if power == 0 { (fraction, 1) } else { (fraction | 1 << 52, power) };
        LongDouble::rounded(value.is_sign_negative(), mantissa.into(), false, power - 1075)
    }

    fn parse_decimal(negative: bool, text: &[u8]) -> Option<LongDouble> {
        let mut digits = Big::default();
        let (mut count, mut significant, mut behind_dot, mut dot) = (0_usize, 0_i64, 0_i64, false);
        let mut rest = text;
        while let [byte, tail @ ..] = rest {
            match byte {
                b'0'..=b'9' => {
                    count += 1;
                    significant += i64::from(significant > 0 || *byte != b'0');
                    behind_dot += i64::from(dot);
                    digits.multiply_add(10, u32::from(byte - b'0'));
                }
                b'.' if !dot => dot = true,
                _ => break,
            }
            rest = tail;
        }
        let power = match rest {
            [] => 0,
            [b'e' | b'E', power @ ..] => parse_power(power)?,
            _ => return None,
        };
        if count == 0 {
            return None;
        }
        if digits.is_zero() {
            return Some(LongDouble { negative, ..LongDouble::ZERO });
        }
        let power = power.saturating_sub(behind_dot);
        // Far out of range: not worth computing.
        if !(-4960..=4940).contains(&power.saturating_add(significant)) {
            return None;
        }
        let mut divisor = Big::from(1);
        let scaled = if power < 0 { &mut divisor } else { &mut digits };
        (0..power.unsigned_abs()).for_each(|_| scaled.multiply_add(10, 0));
        // So that the quotient has 66 or 67 bits: those of the mantissa, and what it takes to round them.
        let shift = 66 + divisor.bits() as i32 - digits.bits() as i32;
        if shift > 0 {
            digits.shift_left(shift as usize)
        } else {
            divisor.shift_left(-shift as usize)
        };
        let (quotient, is_exact) = divide(digits, divisor);
        LongDouble::rounded(negative, quotient, !is_exact, -shift).filter(|value| value.exponent >= -16446)
    }

    /// The number closest to `value` · 2^`exponent`, of two the even one; `more` when it is a little more. None when it is
    /// too large.
    fn rounded(negative: bool, value: u128, more: bool, exponent: i32) -> Option<LongDouble> {
        if value == 0 {
            return Some(LongDouble { negative, ..LongDouble::ZERO });
        }
        let surplus = 64 - value.leading_zeros() as i32;
        let (mut mantissa, mut exponent) = (0, exponent + surplus);
        if surplus <= 0 {
            mantissa = (value << -surplus) as u64;
        } else {
            let half = 1_u128 << (surplus - 1);
            let below = value & (2 * half - 1);
            let kept = value >> surplus;
            let up = below > half || (below == half && (more || kept & 1 == 1));
            let sum = kept + u128::from(up);
            if sum >> 64 == 1 {
                mantissa = 1 << 63;
                exponent += 1;
            } else {
                mantissa |= sum as u64;
            }
        }
        (exponent <= EXPONENT_MAX).then_some(LongDouble { negative, mantissa, exponent })
    }

    /// The sum; None when it is too large.
    pub fn plus(self, other: LongDouble) -> Option<LongDouble> {
        if self.mantissa == 0 || other.mantissa == 0 {
            let zero = LongDouble { negative: self.negative && other.negative, ..LongDouble::ZERO };
            return Some([self, other].into_iter().find(|value| value.mantissa != 0).unwrap_or(zero));
        }
        let is_larger = (self.exponent, self.mantissa) >= (other.exponent, other.mantissa);
        let (large, small) = if is_larger { (self, other) } else { (other, self) };
        let wide = |value: LongDouble| u128::from(value.mantissa) << 63;
        let distance = (large.exponent - small.exponent) as u32;
        let moved = wide(small).checked_shr(distance).unwrap_or(0);
        let lost = moved.checked_shl(distance).unwrap_or(0) != wide(small);
        let sum = if large.negative == small.negative {
            wide(large) + moved
        } else {
            // What was lost is taken away, too.
            wide(large) - moved - u128::from(lost)
        };
        LongDouble::rounded(large.negative && sum != 0, sum, lost, large.exponent - 63)
    }

    /// With at most 17 digits behind the dot, and no exponent.
    pub fn to_text(self) -> String {
        let sign = if self.negative { "-" } else { "" };
        if self.exponent >= 0 {
            let mut whole = Big::from(self.mantissa);
            whole.shift_left(self.exponent as usize);
            let text = whole.to_text();
            return if text == "0" { text } else { format!("{sign}{text}") };
        }
        let shift = self.exponent.unsigned_abs();
        let value = u128::from(self.mantissa) * SCALE;
        // Half of the last digit is more than what is shifted out as a whole: the value has 121 bits at most.
        let scaled = if shift > 127 { 0 } else { shift_right_to_even(value, shift) };
        if scaled == 0 {
            return "0".into();
        }
        let text = format!("{sign}{}.{:0DECIMALS$}", scaled / SCALE, scaled % SCALE);
        text.trim_end_matches('0').trim_end_matches('.').into()
    }
}

fn shift_right_to_even(value: u128, shift: u32) -> u128 {
    let kept = value >> shift;
    let (below, half) = (value & ((1 << shift) - 1), 1_u128 << (shift - 1));
    kept + u128::from(below > half || (below == half && kept & 1 == 1))
}

/// What follows the `e`. Larger than any number has is as good as infinite.
fn parse_power(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let power = digits.iter().fold(0_i64, |sum, digit| (sum * 10 + i64::from(digit - b'0')).min(1_000_000));
    Some(if negative { -power } else { power })
}

/// A natural number, low digits first, without zeros at its high end.
#[derive(Clone, Default)]
struct Big(Vec<u32>);

impl Big {
    fn from(value: u64) -> Big {
        let mut big = Big(vec![value as u32, (value >> 32) as u32]);
        big.trim();
        big
    }

    fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    fn bits(&self) -> usize {
        self.0.last().map_or(0, |last| self.0.len() * 32 - last.leading_zeros() as usize)
    }

    fn multiply_add(&mut self, factor: u32, summand: u32) {
        let mut carry = u64::from(summand);
        for digit in &mut self.0 {
            carry += u64::from(*digit) * u64::from(factor);
            *digit = carry as u32;
            carry >>= 32;
        }
        if carry > 0 {
            self.0.push(carry as u32);
        }
    }

    fn shift_left(&mut self, bits: usize) {
        let (digits, bits) = (bits / 32, bits % 32);
        if bits > 0 {
            let mut carry = 0;
            for digit in &mut self.0 {
                let wide = u64::from(*digit) << bits | carry;
                *digit = wide as u32;
                carry = wide >> 32;
            }
            self.0.push(carry as u32);
        }
        self.0.splice(0..0, std::iter::repeat_n(0, digits));
        self.trim();
    }

    fn halve(&mut self) {
        let mut carry = 0;
        for digit in self.0.iter_mut().rev() {
            let low = *digit & 1;
            *digit = *digit >> 1 | carry << 31;
            carry = low;
        }
        self.trim();
    }

    fn is_at_least(&self, other: &Big) -> bool {
        self.0.len().cmp(&other.0.len()).then_with(|| self.0.iter().rev().cmp(other.0.iter().rev())).is_ge()
    }

    /// `other` must not be larger.
    fn subtract(&mut self, other: &Big) {
        let mut borrow = false;
        for (index, digit) in self.0.iter_mut().enumerate() {
            let (first, one) = digit.overflowing_sub(other.0.get(index).copied().unwrap_or(0));
            let (second, two) = first.overflowing_sub(borrow.into());
            (*digit, borrow) = (second, one || two);
        }
        self.trim();
    }

    fn to_text(&self) -> String {
        const PIECE: u64 = 1_000_000_000;
        let mut rest = self.clone();
        let mut pieces = Vec::new();
        while !rest.is_zero() {
            let mut remainder = 0;
            for digit in rest.0.iter_mut().rev() {
                let wide = remainder << 32 | u64::from(*digit);
                *digit = (wide / PIECE) as u32;
                remainder = wide % PIECE;
            }
            rest.trim();
            pieces.push(remainder);
        }
        let mut text = pieces.pop().unwrap_or(0).to_string();
        pieces.iter().rev().for_each(|piece| text.push_str(&format!("{piece:09}")));
        text
    }
}

/// The quotient, which is below 2^68, and whether nothing is left.
fn divide(mut dividend: Big, mut divisor: Big) -> (u128, bool) {
    const BITS: usize = 68;
    let mut quotient = 0;
    divisor.shift_left(BITS);
    for _ in 0..BITS {
        divisor.halve();
        quotient <<= 1;
        if dividend.is_at_least(&divisor) {
            dividend.subtract(&divisor);
            quotient |= 1;
        }
    }
    (quotient, dividend.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(text: &str) -> LongDouble {
        match LongDouble::parse(text.as_bytes()) {
            Some(Parsed::Finite(value)) => value,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn sum(one: &str, other: &str) -> String {
        number(one).plus(number(other)).expect("a sum").to_text()
    }

    /// What a C compiler on x86 makes of them.
    #[test]
    fn sums_are_those_of_x86() {
        for (one, other, expected) in [
            ("0.1", "0.2", "0.3"),
            ("10.50", "0.1", "10.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("3", "1.1", "4.1"),
            ("1000.1", "0.2", "1000.29999999999999999"),
            ("1234.56", "0.01", "1234.57000000000000006"),
            ("1", "-1", "0"),
            ("-1", "0.5", "-0.5"),
            ("1e20", "1", "100000000000000000000"),
            ("1e-18", "0", "0"),
            ("6e-18", "0", "0.00000000000000001"),
            ("-1e-18", "0", "0"),
            ("9223372036854775807", "1", "9223372036854775808"),
            ("18446744073709551615", "2", "18446744073709551616"),
            ("1.5", "-1.5", "0"),
            ("0x10", "1", "17"),
            (".5", "5.", "5.5"),
            ("+1", "1E+2", "101"),
            ("17179869184", "0.00000000000000001", "17179869184"),
        ] {
            assert_eq!(sum(one, other), expected, "{one} + {other}");
            assert_eq!(sum(other, one), expected, "{other} + {one}");
        }
    }

    #[test]
    fn what_is_no_number() {
        let long = "1".repeat(5120);
        for text in
            ["", " 1", "1 ", "1x", "abc", "1e", "1e+", ".", "-", "1.2.3", "nan", "1e5000", "1e-5000", "1\0", &long]
        {
            assert_eq!(LongDouble::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(LongDouble::parse(b"-inf"), Some(Parsed::Infinite));
        assert_eq!(number("0e99999999999999999999").to_text(), "0");
        assert_eq!(number("1e4932").plus(number("1e4932")), None);
        assert_eq!(number("1e4931").to_text().len(), 4932);
    }

    proptest! {
        #[test]
        fn integers_are_exact(one in any::<i64>(), other in any::<i64>()) {
            let expected = (i128::from(one) + i128::from(other)).to_string();
            prop_assert_eq!(LongDouble::from_int(one).plus(LongDouble::from_int(other)).map(LongDouble::to_text), Some(expected));
            prop_assert_eq!(number(&one.to_string()), LongDouble::from_int(one));
        }

        #[test]
        fn few_digits_come_back(whole in -99i64..99, fraction in 0u32..999_999) {
            let text = format!("{whole}.{fraction:06}");
            let plain = text.trim_end_matches('0').trim_end_matches('.');
            prop_assert_eq!(number(&text).to_text(), if plain == "-0" { "0" } else { plain });
        }

        #[test]
        fn doubles_are_among_them(value in any::<f64>()) {
            prop_assume!(value.is_finite() && value.abs() > 1e-300);
            let exact = LongDouble::from_double(value);
            // Enough digits for a double to be told from its neighbours, and far from the middle between two of ours.
            prop_assert_eq!(exact.map(|e| e.exponent), Some(number(&format!("{value:.800e}")).exponent));
            prop_assert_eq!(exact, Some(number(&format!("{value:.800e}"))));
        }
    }
}
