//! Amounts of resources, such as `500m`, `1.5Gi` or `12e6`: parsed, compared, added and printed as upstream does.

use std::{
    cmp::Ordering,
    fmt,
    ops::{Add, Sub},
    str::FromStr,
};

/// Units of a quantity are counted in this many parts: upstream rounds anything finer up.
const NANOS_PER_UNIT: i128 = 1_000_000_000;

/// Upstream caps the amount at `i64::MAX` units; 2^63 × 10^9 stays far below `i128::MAX`, so sums cannot overflow either.
const MAX_NANOS: i128 = i64::MAX as i128 * NANOS_PER_UNIT;

/// How a quantity is printed; equal amounts of different formats are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `1500m`, `12M`
    DecimalSi,
    /// `64Ki`, `1536Mi`
    BinarySi,
    /// `12e6`
    DecimalExponent,
}

/// An exact amount with the format it was written in.
#[derive(Debug, Clone, Copy)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

/// Why a text is no quantity; worded as upstream words it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// It does not look like one.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    /// The number has no digits or two points.
    #[error("unable to parse numeric part of quantity")]
    Number,
    /// The suffix is none of ours.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

impl Quantity {
    /// Nothing, printed as `0`.
    pub const ZERO: Self = Self { nanos: 0, format: Format::DecimalSi };

    /// So many whole units.
    pub fn from_units(units: i64, format: Format) -> Self {
        Self { nanos: i128::from(units) * NANOS_PER_UNIT, format }
    }

    /// So many thousandths of a unit.
    pub fn from_millis(millis: i64) -> Self {
        Self { nanos: i128::from(millis) * (NANOS_PER_UNIT / 1000), format: Format::DecimalSi }
    }

    /// Whole units, rounded up (away from zero).
    pub fn units(self) -> i64 {
        self.in_parts_of(NANOS_PER_UNIT)
    }

    /// Thousandths of a unit, rounded up (away from zero); saturates at the bounds of `i64`.
    pub fn millis(self) -> i64 {
        self.in_parts_of(NANOS_PER_UNIT / 1000)
    }

    /// The same, rounded up (away from zero) to thousandths of a unit. A part of a unit has no binary suffix.
    pub fn rounded_to_millis(self) -> Self {
        const PART: i128 = NANOS_PER_UNIT / 1000;
        if self.nanos % PART == 0 {
            return self;
        }
        Self { nanos: round_up(self.nanos, PART) * PART, format: Format::DecimalSi }
    }

    /// Whether it is nothing.
    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// Whether it is less than nothing.
    pub fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// The format it prints in.
    pub fn format(self) -> Format {
        self.format
    }

    fn in_parts_of(self, part: i128) -> i64 {
        let rounded = round_up(self.nanos, part);
        i64::try_from(rounded).unwrap_or(if rounded < 0 { i64::MIN } else { i64::MAX })
    }

    /// The sum keeps the format of whichever operand is not zero, the left one's if neither is.
    fn with_format_of(self, other: Self, nanos: i128) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        Self { nanos: nanos.clamp(-MAX_NANOS, MAX_NANOS), format }
    }
}

/// The canonical form of a quantity in text: `1000m` is `1`, `0.5` is `500m`, `1024Ki` is `1Mi`.
///
/// # Errors
///
/// The text is no quantity.
pub fn canonical(text: &str) -> Result<String, ParseError> {
    Ok(text.parse::<Quantity>()?.to_string())
}

/// Divides, rounding away from zero.
fn round_up(nanos: i128, part: i128) -> i128 {
    let (whole, rest) = (nanos / part, nanos % part);
    whole + rest.signum()
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl Add for Quantity {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.with_format_of(other, self.nanos + other.nanos)
    }
}

impl Sub for Quantity {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self.with_format_of(other, self.nanos - other.nanos)
    }
}

impl std::iter::Sum for Quantity {
    fn sum<I: Iterator<Item = Self>>(quantities: I) -> Self {
        quantities.fold(Self::ZERO, Add::add)
    }
}

impl FromStr for Quantity {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let digits_end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(digits_end);
        if number.is_empty() || !suffix_looks_right(suffix) {
            return Err(ParseError::Format);
        }
        let (format, scale) = parse_suffix(suffix).ok_or(ParseError::Suffix)?;
        let magnitude = magnitude_nanos(number, scale)?;
        let nanos = if text.starts_with('-') { -magnitude } else { magnitude };
        Ok(Self { nanos, format })
    }
}

/// What a suffix multiplies by.
#[derive(Debug, Clone, Copy)]
enum Scale {
    /// 10 to this power.
    Ten(i32),
    /// 1024 to this power.
    Kibi(u32),
}

fn suffix_looks_right(suffix: &str) -> bool {
    let rest = suffix.trim_start_matches(|c: char| "eEinumkKMGTP".contains(c));
    let rest = rest.strip_prefix(['+', '-']).unwrap_or(rest);
    rest.bytes().all(|byte| byte.is_ascii_digit())
}

fn parse_suffix(suffix: &str) -> Option<(Format, Scale)> {
    let decimal = |power| Some((Format::DecimalSi, Scale::Ten(power)));
    let binary = |power| Some((Format::BinarySi, Scale::Kibi(power)));
    match suffix {
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "" => decimal(0),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            Some((Format::DecimalExponent, Scale::Ten(exponent.parse().ok()?)))
        }
    }
}

/// The amount in nanos, what is finer rounded up and what is beyond the largest amount cut to it.
fn magnitude_nanos(number: &str, scale: Scale) -> Result<i128, ParseError> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
        return Err(ParseError::Number);
    }
    let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).skip_while(|digit| *digit == b'0').collect();
    if digits.is_empty() {
        return Ok(0);
    }
    let point = i64::try_from(fraction.len()).map_err(|_| ParseError::Number)?;
    let (power, factor) = match scale {
        Scale::Ten(power) => (i64::from(power) + 9 - point, 1),
        Scale::Kibi(power) => (9 - point, 1_i128 << (10 * power)),
    };
    // 28 digits hold the largest amount in nanos; more of them, before the point, can only mean more than that.
    let length = i64::try_from(digits.len()).map_err(|_| ParseError::Number)?;
    if length + power > 28 {
        return Ok(MAX_NANOS);
    }
    Ok(scaled(&digits, power, factor).min(MAX_NANOS))
}

/// `digits × factor × 10^power`, rounded up.
fn scaled(digits: &[u8], power: i64, factor: i128) -> i128 {
    // As many digits as the product has room for; what is cut off can only make the rounding go up, so one digit stands for it.
    let room = 36_usize.saturating_sub(factor.ilog10() as usize + 1);
    let (kept, cut) = digits.split_at(digits.len().min(room));
    let mut value = kept.iter().fold(0_i128, |value, digit| value * 10 + i128::from(digit - b'0')) * factor;
    let mut power = power + i64::try_from(cut.len()).unwrap_or(i64::MAX);
    if cut.iter().any(|digit| *digit != b'0') {
        value = value * 10 + 1;
        power -= 1;
    }
    match u32::try_from(power.unsigned_abs()) {
        Ok(exponent) if power >= 0 => 10_i128.checked_pow(exponent).map_or(i128::MAX, |ten| value.saturating_mul(ten)),
        Ok(exponent) => 10_i128.checked_pow(exponent).map_or(1, |ten| round_up(value, ten)),
        Err(_) => 1,
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let whole = self.nanos % NANOS_PER_UNIT == 0;
        let units = self.nanos / NANOS_PER_UNIT;
        match self.format {
            // Below 1024 a binary suffix says nothing, and parts of a unit have none.
            Format::BinarySi if whole && units.abs() >= 1024 => write_binary(f, units),
            Format::DecimalExponent => write_decimal(f, self.nanos, |f, power| match power {
                0 => Ok(()),
                power => write!(f, "e{power}"),
            }),
            Format::DecimalSi | Format::BinarySi => write_decimal(f, self.nanos, |f, power| {
                f.write_str(match power {
                    -9 => "n",
                    -6 => "u",
                    -3 => "m",
                    3 => "k",
                    6 => "M",
                    9 => "G",
                    12 => "T",
                    15 => "P",
                    18 => "E",
                    _ => "",
                })
            }),
        }
    }
}

fn write_binary(f: &mut fmt::Formatter<'_>, mut units: i128) -> fmt::Result {
    let mut suffixes = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].iter();
    let mut suffix = suffixes.next().expect("there are seven");
    while units % 1024 == 0 {
        let Some(next) = suffixes.next() else { break };
        suffix = next;
        units /= 1024;
    }
    write!(f, "{units}{suffix}")
}

/// The largest power of a thousand that leaves a whole number.
fn write_decimal(
    f: &mut fmt::Formatter<'_>,
    mut value: i128,
    suffix: impl Fn(&mut fmt::Formatter<'_>, i32) -> fmt::Result,
) -> fmt::Result {
    let mut power = -9;
    while value % 1000 == 0 && power < 18 {
        value /= 1000;
        power += 3;
    }
    write!(f, "{value}")?;
    suffix(f, power)
}

#[cfg(test)]
mod tests;
