//! Booleans, numbers, times, sizes and rates (reference 1.3).

use std::fmt;
use std::time::Duration;

use super::{ParseError, Value};
use crate::lex::{Cursor, Word, shorten};

/// Longest time interval: ten years. Nothing sensible is longer and sums stay far from overflow.
const MAX_TIME: u64 = 3650 * 86400;
/// Most entries of a retry list (reference 1.3).
const MAX_TIMES: usize = 30;

/// How often something may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rate {
    Unlimited,
    /// `count` (at least 1) in every `per` (at least one second).
    Per {
        count: u32,
        per: Duration,
    },
}

impl Rate {
    /// Events a second; infinite when unlimited.
    pub fn per_second(self) -> f64 {
        match self {
            Rate::Unlimited => f64::INFINITY,
            Rate::Per { count, per } => f64::from(count) / per.as_secs_f64(),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rate::Unlimited => f.write_str("unlimited"),
            Rate::Per { count, per } => write!(f, "{count}/{}", Per(*per)),
        }
    }
}

/// The part of a rate after the slash.
struct Per(Duration);

impl fmt::Display for Per {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let units = [(86400, "d"), (3600, "h"), (60, "m"), (1, "s")];
        let (length, unit) = units.into_iter().find(|(n, _)| seconds.is_multiple_of(*n)).unwrap_or((1, "s"));
        match seconds / length {
            1 => f.write_str(unit),
            n => write!(f, "{n}{unit}"),
        }
    }
}

/// How many bytes may be delivered in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VolumeRate {
    Unlimited,
    /// `bytes` (at least 1) in every `per` (at least one second).
    Per {
        bytes: u64,
        per: Duration,
    },
}

/// Messages a day; 0 means none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DailyLimit(pub u64);

fn refused(word: &Word, what: &str, help: &str) -> ParseError {
    ParseError::new(word.at.clone(), format!("`{}` is not {what}", shorten(&word.text))).help(help)
}

pub(super) fn boolean_word(word: &str) -> Option<bool> {
    match word.to_ascii_lowercase().as_str() {
        "yes" | "true" => Some(true),
        "no" | "false" => Some(false),
        _ => None,
    }
}

pub(super) fn boolean(c: &mut Cursor) -> Result<bool, ParseError> {
    let word = c.word("`yes` or `no`")?;
    boolean_word(&word.text)
        .ok_or_else(|| refused(&word, "`yes` or `no`", "write `yes`, `no`, `true` or `false`"))
}

pub(super) fn number(c: &mut Cursor, low: u64, high: u64) -> Result<u64, ParseError> {
    let word = c.word("a number")?;
    let number: u64 = digits(&word.text).ok_or_else(|| refused(&word, "a number", "write digits only"))?;
    if (low..=high).contains(&number) {
        return Ok(number);
    }
    let bounds = if high == u64::MAX { format!("at least {low}") } else { format!("{low} to {high}") };
    Err(ParseError::new(word.at, format!("{number} is out of range: {bounds}")))
}

/// Digits only: `parse` would also accept a plus sign.
pub(super) fn digits(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

pub(super) fn limit(c: &mut Cursor) -> Result<Value, ParseError> {
    let word = c.word("a number or `unlimited`")?;
    match digits(&word.text) {
        Some(0) => Ok(Value::Unlimited),
        Some(n) if n <= u64::from(u32::MAX) => Ok(Value::Number(n)),
        None if word.text.eq_ignore_ascii_case("unlimited") => Ok(Value::Unlimited),
        _ => Err(refused(&word, "a number or `unlimited`", "write digits only, or `unlimited`")),
    }
}

pub(super) fn number_or(c: &mut Cursor, other: &'static str) -> Result<Value, ParseError> {
    let word = c.word("a number")?;
    if word.text.eq_ignore_ascii_case(other) {
        return Ok(Value::Keyword(other));
    }
    let what = format!("a number or `{other}`");
    digits(&word.text).map(Value::Number).ok_or_else(|| refused(&word, &what, "write digits only"))
}

const TIME_HELP: &str = "write digits with a unit: 90s, 10m, 1h, 2d, 1w, or together, as in 4d12h";

pub(super) fn time(c: &mut Cursor) -> Result<Duration, ParseError> {
    let word = c.word("a time")?;
    let bare = digits(&word.text).map(|n| format!("the unit is missing: {n}s, {n}m, {n}h or {n}d"));
    interval(&word.text).ok_or_else(|| refused(&word, "a time", bare.as_deref().unwrap_or(TIME_HELP)))
}

pub(super) fn time_within(c: &mut Cursor, low: u64, high: u64) -> Result<Duration, ParseError> {
    let at = c.here(1);
    let time = time(c)?;
    match (low..=high).contains(&time.as_secs()) {
        true => Ok(time),
        false if time.as_secs() < low => Err(ParseError::new(at, format!("must be at least {low}s"))),
        false => Err(ParseError::new(at, format!("must be at most {high}s"))),
    }
}

/// `1w2d12h`: numbers with units, added up. `0` needs no unit.
fn interval(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut total, mut number): (u64, Option<u64>) = (0, None);
    for c in text.chars() {
        if let Some(digit) = c.to_digit(10) {
            number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(u64::from(digit))?);
            continue;
        }
        let unit = match c.to_ascii_lowercase() {
            'w' => 7 * 86400,
            'd' => 86400,
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        total = total.checked_add(number.take()?.checked_mul(unit)?)?;
    }
    (number.is_none() && !text.is_empty() && total <= MAX_TIME).then(|| Duration::from_secs(total))
}

pub(super) fn time_or_never(c: &mut Cursor) -> Result<Value, ParseError> {
    if c.clone().word("a time")?.text.eq_ignore_ascii_case("never") {
        c.word("a time")?;
        return Ok(Value::Never);
    }
    time(c).map(Value::Time)
}

pub(super) fn boolean_or_time(c: &mut Cursor) -> Result<Value, ParseError> {
    let word = c.clone().word("`yes`, `no`, a time or `never`")?;
    match boolean_word(&word.text) {
        Some(value) => c.word("a value").map(|_| Value::Bool(value)),
        None => time_or_never(c),
    }
}

pub(super) fn times(c: &mut Cursor) -> Result<Vec<Duration>, ParseError> {
    let words = c.list("a time")?;
    if words.len() > MAX_TIMES {
        let at = words[MAX_TIMES].at.clone();
        return Err(ParseError::new(at, format!("a list of times has at most {MAX_TIMES} entries")));
    }
    let parse = |w: &Word| match interval(&w.text) {
        Some(time) if !time.is_zero() => Ok(time),
        Some(_) => Err(refused(w, "a time above zero", TIME_HELP)),
        None => Err(refused(w, "a time", TIME_HELP)),
    };
    let times: Vec<Duration> = words.iter().map(parse).collect::<Result<_, _>>()?;
    match times.is_empty() {
        true => Err(ParseError::new(c.here(1), "at least one time is needed").help(TIME_HELP)),
        false => Ok(times),
    }
}

pub(super) fn days_or_never(c: &mut Cursor) -> Result<Value, ParseError> {
    match time_or_never(c)? {
        Value::Time(t) if t.is_zero() => Err(ParseError::new(c.here(0), "at least one day, or `never`")),
        value => Ok(value),
    }
}

const RATE_HELP: &str = "write a count and a time, such as 100/s, 50/h, 100/15m, 1000/d, or `unlimited`";

/// The time after the slash: an optional count and a unit.
fn per(text: &str) -> Option<Duration> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let count = &text[..text.len() - unit.len()];
    let count = if count.is_empty() { 1 } else { digits(count)? };
    let length = match unit.to_ascii_lowercase().as_str() {
        "d" | "day" => 86400,
        "h" | "hr" | "hour" => 3600,
        "m" | "min" => 60,
        "s" | "sec" => 1,
        _ => return None,
    };
    let seconds = count.checked_mul(length)?;
    (1..=MAX_TIME).contains(&seconds).then(|| Duration::from_secs(seconds))
}

/// `N/UNIT` may be written with blanks around the slash; both words are taken then.
fn slashed(c: &mut Cursor, what: &str) -> Result<(Word, Option<String>), ParseError> {
    let mut word = c.element(what, &['/'])?;
    if !c.eat('/') {
        return Ok((word, None));
    }
    let unit = c.word("the time after `/`")?;
    word.at.end = unit.at.end;
    Ok((word, Some(unit.text)))
}

fn whole(word: &Word, unit: &str) -> Word {
    Word { text: format!("{}/{unit}", word.text), at: word.at.clone(), quoted: false }
}

pub(super) fn rate(c: &mut Cursor) -> Result<Rate, ParseError> {
    match slashed(c, "a rate")? {
        (word, None) if word.text.eq_ignore_ascii_case("unlimited") || word.text == "0" => {
            Ok(Rate::Unlimited)
        }
        (word, None) => Err(refused(&word, "a rate", RATE_HELP)),
        (word, Some(unit)) => {
            let count = digits(&word.text).and_then(|n| u32::try_from(n).ok());
            match (count, per(&unit)) {
                (Some(0), Some(_)) => Err(ParseError::new(word.at, "the count of a rate may not be 0")
                    .help("`unlimited` and a bare `0` mean no limit; to hold mail back, pause the queue")),
                (Some(count), Some(per)) => Ok(Rate::Per { count, per }),
                _ => Err(refused(&whole(&word, &unit), "a rate", RATE_HELP)),
            }
        }
    }
}

pub(super) fn volume_rate(c: &mut Cursor) -> Result<VolumeRate, ParseError> {
    let help = "write a size and a time, such as 12M/m or 1T/7d, or `unlimited`";
    match slashed(c, "a volume rate")? {
        (word, None) if word.text.eq_ignore_ascii_case("unlimited") || word.text == "0" => {
            Ok(VolumeRate::Unlimited)
        }
        (word, None) => Err(refused(&word, "a volume rate", help)),
        (word, Some(unit)) => match (bytes(&word.text, true), per(&unit)) {
            (Some(bytes), Some(per)) if bytes > 0 => Ok(VolumeRate::Per { bytes, per }),
            _ => Err(refused(&whole(&word, &unit), "a volume rate", help)),
        },
    }
}

pub(super) fn daily_limits(c: &mut Cursor) -> Result<Vec<DailyLimit>, ParseError> {
    let parse = |w: &Word| {
        let (count, unit) = w.text.split_once('/')?;
        matches!(unit, "d" | "day").then(|| digits(count).map(DailyLimit))?
    };
    let help = "write messages a day, such as 1000/d, or a list 100/d,200/d";
    let words = c.list("a daily limit")?;
    words.iter().map(|w| parse(w).ok_or_else(|| refused(w, "a daily limit", help))).collect()
}

pub(super) fn percent(c: &mut Cursor) -> Result<u64, ParseError> {
    let word = c.word("a percentage")?;
    let number = word.text.strip_suffix('%').and_then(digits).filter(|n| *n <= 100);
    number.ok_or_else(|| refused(&word, "a percentage", "write 0% to 100%, such as 5%"))
}

/// `N` with `b`, `k`, `m`, `g` or `t` in either case.
fn bytes(text: &str, bare: bool) -> Option<u64> {
    let last = text.chars().next_back()?;
    let shift = match last.to_ascii_lowercase() {
        'b' => 0,
        'k' => 10,
        'm' => 20,
        'g' => 30,
        't' => 40,
        '0'..='9' if bare || text == "0" => return digits(text),
        _ => return None,
    };
    digits(&text[..text.len() - 1])?.checked_mul(1 << shift)
}

const SIZE_HELP: &str = "write digits and a unit: 500b, 64k, 50M, 2g or 1t";

pub(super) fn size(c: &mut Cursor, bare: bool) -> Result<u64, ParseError> {
    let word = c.word("a size")?;
    bytes(&word.text, bare).ok_or_else(|| refused(&word, "a size", SIZE_HELP))
}

pub(super) fn size_within(c: &mut Cursor, low: u64, high: u64) -> Result<u64, ParseError> {
    let at = c.here(1);
    let bytes = size(c, false)?;
    match (low..=high).contains(&bytes) {
        true => Ok(bytes),
        false => Err(ParseError::new(at, format!("must be from {low}b to {high}b"))),
    }
}

pub(super) fn size_or_unlimited(c: &mut Cursor) -> Result<Value, ParseError> {
    if c.clone().word("a size")?.text.eq_ignore_ascii_case("unlimited") {
        c.word("a size")?;
        return Ok(Value::Unlimited);
    }
    Ok(match size(c, true)? {
        0 => Value::Unlimited,
        bytes => Value::Size(bytes),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rate_of(text: &str) -> Result<Rate, ParseError> {
        let mut cursor = Cursor::new(text);
        rate(&mut cursor).and_then(|r| cursor.finish().map(|()| r))
    }

    #[test]
    fn times_add_up() {
        assert_eq!(interval("4d12h"), Some(Duration::from_secs(4 * 86400 + 12 * 3600)));
        assert_eq!(interval("1w2d12h"), Some(Duration::from_secs(9 * 86400 + 12 * 3600)));
        assert_eq!(interval("0"), Some(Duration::ZERO));
        for wrong in ["", "10", "m", "1x", "1h2", "99999999999999999999s", "9999w", "-1s", "1 h"] {
            assert_eq!(interval(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_zero_rate_is_unlimited_and_a_zero_count_is_refused() {
        assert_eq!(rate_of("0"), Ok(Rate::Unlimited));
        assert_eq!(rate_of("unlimited"), Ok(Rate::Unlimited));
        assert_eq!(rate_of("100/15m"), Ok(Rate::Per { count: 100, per: Duration::from_secs(900) }));
        assert_eq!(rate_of("5/sec"), Ok(Rate::Per { count: 5, per: Duration::from_secs(1) }));
        assert!(rate_of("0/h").unwrap_err().message.contains("may not be 0"));
        for wrong in ["5", "5/", "/h", "5/0m", "x/h", "5/fortnight", "5/h extra"] {
            assert!(rate_of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_take_either_case() {
        assert_eq!(bytes("250M", false), Some(250 << 20));
        assert_eq!(bytes("10g", false), Some(10 << 30));
        assert_eq!(bytes("1000", true), Some(1000));
        assert_eq!(bytes("1000", false), None);
        assert_eq!(bytes("99999999999999t", false), None);
    }

    #[test]
    fn volumes_and_daily_limits() {
        let volume = |text| volume_rate(&mut Cursor::new(text));
        let week = Duration::from_secs(7 * 86400);
        assert_eq!(volume("1T/7d"), Ok(VolumeRate::Per { bytes: 1 << 40, per: week }));
        assert!(volume("1048576/1h").is_ok());
        assert!(volume("M/h").is_err());
        let daily = |text| daily_limits(&mut Cursor::new(text));
        assert_eq!(daily("100/d,200/day"), Ok(vec![DailyLimit(100), DailyLimit(200)]));
        assert!(daily("100/h").is_err());
        let percent = |text| percent(&mut Cursor::new(text));
        assert_eq!((percent("5%"), percent("100%")), (Ok(5), Ok(100)));
        assert!(["5", "101%", "%", "-1%", "1.5%"].into_iter().all(|text| percent(text).is_err()));
    }

    proptest! {
        #[test]
        fn a_rate_prints_as_it_is_read(count in 1u32.., seconds in 1u64..1_000_000) {
            let rate = Rate::Per { count, per: Duration::from_secs(seconds) };
            prop_assert_eq!(rate_of(&rate.to_string()), Ok(rate));
        }
    }
}
