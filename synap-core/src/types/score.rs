//! Doubles as text, in Redis' manner: what a reply shows, and which words are numbers.

use std::fmt;
use std::ops::Deref;

/// The text of a double, without an allocation.
#[derive(Clone, Copy)]
pub struct DoubleText {
    bytes: [u8; DoubleText::SIZE],
    len: u8,
}

/// The shortest text that reads back as the same double.
///
/// This is what Redis 7.2 prints, but for one value in a thousand of those with 16 or more digits: its algorithm (Grisu2)
/// then has one digit too many or not the closest one (`9.999999999999999e+125` for `1e+126`).
///
/// - A whole number up to 2^62 is printed as an integer: `3`, `10000000000000000`.
/// - Larger ones with up to seven zeros after their digits are, too; with more they have an exponent: `1e+20`.
/// - Fractions of few digits or near one have a dot, others an exponent: `0.001`, `1.5e-7`, `1.2345678901234567e+4`.
/// - Then there are `inf`, `-inf`, `nan` and `-0`.
pub fn format_double(value: f64) -> DoubleText {
    if value.is_nan() {
        return DoubleText::of(b"nan");
    }
    if value.is_infinite() {
        return DoubleText::of(if value < 0.0 { b"-inf" } else { b"inf" });
    }
    if let Some(int) = whole(value) {
        let negative_zero = int == 0 && value.is_sign_negative();
        let mut digits = itoa::Buffer::new();
        return DoubleText::of(if negative_zero { b"-0" } else { digits.format(int).as_bytes() });
    }
    // All that is wanted of the library's text are the digits and where the dot belongs.
    let mut buffer = ryu::Buffer::new();
    let shortest = buffer.format_finite(value.abs()).as_bytes();
    let mut digits = [0; 32];
    let (mut count, mut exponent, mut dot) = (0, 0i32, false);
    let mut rest = shortest.iter();
    for &byte in rest.by_ref() {
        match byte {
            b'.' => dot = true,
            b'e' => break,
            _ => {
                if count > 0 || byte != b'0' {
                    digits[count] = byte;
                    count += 1;
                }
                exponent -= i32::from(dot);
            }
        }
    }
    let written = rest.as_slice();
    let (negative, size) = match written {
        [b'-', size @ ..] => (true, size),
        size => (false, size),
    };
    let size = size.iter().fold(0, |sum, digit| sum * 10 + i32::from(digit - b'0'));
    exponent += if negative { -size } else { size };
    while count > 1 && digits[count - 1] == b'0' {
        count -= 1;
        exponent += 1;
    }
    DoubleText::layout(value < 0.0, &digits[..count], exponent)
}

/// The integer that a double is, within the range in which Redis prints doubles as integers.
#[inline]
pub fn whole(value: f64) -> Option<i64> {
    // 2^62: doubles that large are whole, and their neighbours still fit an i64.
    const LARGEST: f64 = (1u64 << 62) as f64;
    if !(-LARGEST..=LARGEST).contains(&value) {
        return None;
    }
    let int = value as i64;
    (int as f64 == value).then_some(int)
}

impl DoubleText {
    /// Sign, 17 digits, dot, zeros before them or an exponent.
    const SIZE: usize = 30;

    fn of(text: &[u8]) -> DoubleText {
        let mut new = DoubleText { bytes: [0; DoubleText::SIZE], len: 0 };
        new.push(text);
        new
    }

    /// `digits` · 10^`exponent`, by the rules of Redis 7.2 (fpconv).
    fn layout(negative: bool, digits: &[u8], exponent: i32) -> DoubleText {
        const ZEROS: &[u8] = b"0000000";
        let mut text = DoubleText::of(if negative { b"-" } else { b"" });
        let count = digits.len() as i32;
        // Power of ten of the first digit.
        let power = exponent + count - 1;
        if exponent >= 0 && power < count + 7 {
            text.push(digits);
            text.push(&ZEROS[..exponent as usize]);
        } else if exponent < 0 && (exponent > -7 || power.abs() < 4) {
            let before = (count + exponent).max(0) as usize;
            if before == 0 {
                text.push(b"0.");
                text.push(&ZEROS[..-(count + exponent) as usize]);
                text.push(digits);
            } else {
                text.push(&digits[..before]);
                text.push(b".");
                text.push(&digits[before..]);
            }
        } else {
            text.push(&digits[..1]);
            if count > 1 {
                text.push(b".");
                text.push(&digits[1..]);
            }
            text.push(if power < 0 { b"e-" } else { b"e+" });
            text.push(itoa::Buffer::new().format(power.abs()).as_bytes());
        }
        text
    }

    fn push(&mut self, part: &[u8]) {
        let start = usize::from(self.len);
        self.bytes[start..start + part.len()].copy_from_slice(part);
        self.len += part.len() as u8;
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl Deref for DoubleText {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Display for DoubleText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for DoubleText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The double that a word spells. As `strtod` has it: decimal, hexadecimal (`0x1.8p3`) and `inf`, with a sign or without.
///
/// Not a number: nothing, blanks, `nan`, what follows the number, and what is too large or too small for a double
/// (`1e400`, `1e-400`).
pub fn parse_double(bytes: &[u8]) -> Option<f64> {
    let (negative, magnitude) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let value = match magnitude {
        [b'0', b'x' | b'X', rest @ ..] => parse_hexadecimal(rest)?,
        [b'0'..=b'9' | b'.', ..] => {
            let value: f64 = std::str::from_utf8(magnitude).ok()?.parse().ok()?;
            let mantissa = magnitude.split(|byte| matches!(byte, b'e' | b'E')).next()?;
            let vanished = value == 0.0 && mantissa.iter().any(|byte| matches!(byte, b'1'..=b'9'));
            if value.is_infinite() || vanished {
                return None;
            }
            value
        }
        word if word.eq_ignore_ascii_case(b"inf") || word.eq_ignore_ascii_case(b"infinity") => f64::INFINITY,
        _ => return None,
    };
    Some(if negative { -value } else { value })
}

/// What follows `0x`.
fn parse_hexadecimal(text: &[u8]) -> Option<f64> {
    let mut mantissa: u64 = 0;
    // Of the lowest bit of `mantissa`, as a power of two; saturating, because there may be millions of digits.
    let mut exponent: i64 = 0;
    let (mut digits, mut dot) = (0usize, false);
    let mut rest = text;
    while let [byte, tail @ ..] = rest {
        match char::from(*byte).to_digit(16) {
            Some(digit) => {
                digits += 1;
                exponent -= if dot { 4 } else { 0 };
                if mantissa >> 60 == 0 {
                    mantissa = mantissa << 4 | u64::from(digit);
                } else {
                    // Beyond 60 bits it only matters whether anything follows.
                    mantissa |= u64::from(digit != 0);
                    exponent += 4;
                }
            }
            None if *byte == b'.' && !dot => dot = true,
            None => break,
        }
        rest = tail;
    }
    if digits == 0 {
        return None;
    }
    match rest {
        [] => {}
        [b'p' | b'P', power @ ..] => {
            let (negative, power) = match power {
                [b'-', power @ ..] => (true, power),
                [b'+', power @ ..] => (false, power),
                power => (false, power),
            };
            if power.is_empty() || !power.iter().all(u8::is_ascii_digit) {
                return None;
            }
            let power =
                power.iter().fold(0i64, |sum, digit| sum.saturating_mul(10).saturating_add(i64::from(digit - b'0')));
            exponent = exponent.saturating_add(if negative { -power } else { power });
        }
        _ => return None,
    }
    if mantissa == 0 {
        return Some(0.0);
    }
    // The exponents of the smallest double, and of the smallest one with all its bits.
    const LOWEST: i64 = -1074;
    const LOWEST_NORMAL: i64 = -1022;
    if exponent < LOWEST && exponent.saturating_add(i64::from(mantissa.ilog2())) < LOWEST_NORMAL {
        // The multiplication below must be exact, so bits that the double will not have are rounded away here.
        let shift = LOWEST.saturating_sub(exponent);
        if shift > 64 {
            return None;
        }
        let wide = u128::from(mantissa);
        let (kept, lost, half) = (wide >> shift, wide & ((1 << shift) - 1), 1u128 << (shift - 1));
        mantissa = kept as u64 + u64::from(lost > half || (lost == half && kept & 1 == 1));
        exponent = LOWEST;
    }
    let mut value = mantissa as f64;
    // A power of two at a time that is itself a double.
    while exponent != 0 && value.is_finite() {
        let step = exponent.clamp(LOWEST, 1023);
        value *= if step < LOWEST_NORMAL {
            f64::from_bits(1 << (step - LOWEST))
        } else {
            f64::from_bits(((step + 1023) as u64) << 52)
        };
        exponent -= step;
    }
    (value.is_finite() && value != 0.0).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn doubles_read_as_redis_prints_them() {
        let cases: &[(f64, &str)] = &[
            (0.0, "0"),
            (-0.0, "-0"),
            (3.0, "3"),
            (-17.0, "-17"),
            (0.1, "0.1"),
            (-2.5, "-2.5"),
            (1.1, "1.1"),
            (0.001, "0.001"),
            (0.000001, "0.000001"),
            (0.0000015, "1.5e-6"),
            (1.5e-7, "1.5e-7"),
            (1e-7, "1e-7"),
            (0.3333333333333333, "0.3333333333333333"),
            (0.003333333333333333, "0.003333333333333333"),
            (0.00003333333333333333, "3.333333333333333e-5"),
            (3.123456789, "3.123456789"),
            (1234.5678901234567, "1234.5678901234567"),
            (12345.678901234567, "1.2345678901234567e+4"),
            (123456.789, "123456.789"),
            (1e15, "1000000000000000"),
            (1e17, "100000000000000000"),
            (1e18, "1000000000000000000"),
            (4611686018427387904.0, "4611686018427387904"),
            (9007199254740993.0, "9007199254740992"),
            (5e18, "5e+18"),
            (9223372036854775807.0, "9223372036854776000"),
            (1e20, "1e+20"),
            (1.5e300, "1.5e+300"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (5e-324, "5e-324"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ];
        for (value, text) in cases {
            assert_eq!(format_double(*value).as_str(), *text, "{value:e}");
        }
    }

    #[test]
    fn words_that_are_numbers() {
        let cases: &[(&str, f64)] = &[
            ("1", 1.0),
            ("+1", 1.0),
            ("-0", -0.0),
            ("1.", 1.0),
            (".5", 0.5),
            ("-.5e1", -5.0),
            ("1e3", 1000.0),
            ("1E+3", 1000.0),
            ("0000000000000000000000000000001", 1.0),
            ("0e999", 0.0),
            ("1e-320", 1e-320),
            ("inf", f64::INFINITY),
            ("+Inf", f64::INFINITY),
            ("-INFINITY", f64::NEG_INFINITY),
            ("0x10", 16.0),
            ("-0X1.8p3", -12.0),
            ("0x.8", 0.5),
            ("0x1.", 1.0),
            ("0x1p-1074", 5e-324),
            ("0x0.8p-1073", 5e-324),
            ("0x1.8p-1074", 1e-323),
            ("0x2.706a4900fd1695f595ap-1022", f64::from_bits(9996013603907765)),
            ("0x1fffffffffffff8", 144115188075855864.0),
            ("0x1.fffffffffffffp1023", f64::MAX),
            ("0x1.fffffffffffff7ffffffffffffffffffp1023", f64::MAX),
            ("0x10000000000000000000000000000000000000000", 1461501637330902918203684832716283019655932542976.0),
        ];
        for (text, value) in cases {
            assert_eq!(parse_double(text.as_bytes()).map(f64::to_bits), Some(value.to_bits()), "{text}");
        }
    }

    #[test]
    fn words_that_are_not() {
        for text in [
            "",
            " 1",
            "1 ",
            "\t1",
            "+",
            "-",
            ".",
            "-.",
            "e5",
            "1e",
            "1e+",
            "1.2.3",
            "--1",
            "+-1",
            "nan",
            "-nan",
            "nan(1)",
            "NaN",
            "infi",
            "infinit",
            "1x",
            "0x",
            "0x.",
            "0xg",
            "0x1p",
            "0x1p+",
            "0x1.1.1",
            "1e400",
            "-1e400",
            "1e-400",
            "0x1p1024",
            "0x1p-1075",
            "0x1p-999999999999999999999",
            "0x1.fffffffffffff8p1023",
            "1_000",
            "1,5",
            "1\0",
            "\u{ff11}",
            "1d",
            "1f",
        ] {
            assert_eq!(parse_double(text.as_bytes()), None, "{text:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn text_reads_back_as_the_same_double(bits in any::<u64>(), small in any::<i32>(), scale in 0i32..12) {
            for value in [f64::from_bits(bits), f64::from(small) / 10f64.powi(scale)] {
                if !value.is_nan() {
                    let text = format_double(value);
                    prop_assert_eq!(parse_double(&text).map(f64::to_bits), Some(value.to_bits()), "{}", text);
                }
            }
        }

        #[test]
        fn any_word_is_judged(word in "[-+]?(0x)?[0-9a-f.]{0,8}([ep][-+]?[0-9]{0,3})?") {
            if let Some(value) = parse_double(word.as_bytes()) {
                prop_assert!(!value.is_nan());
            }
        }
    }
}
