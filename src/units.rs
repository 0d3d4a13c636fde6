//! Quantities as people write them in the configuration: times ([`Period`]) and parts of a pool
//! ([`Share`]).
//!
//! Each type owns its written form both ways, and its error text shows what would have been right.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Visitor};

/// What a valid time looks like; part of every message about a wrong one.
const PERIOD_FORMS: &str = r#"a time with its unit, such as "250ms", "5s", "2m" or "1h""#;

/// What a valid share looks like; part of every message about a wrong one.
const SHARE_FORMS: &str = r#"a number of slots such as 4, or a percentage such as "25%""#;

/// Longest time a setting can have; keeps `Instant + Period` far from any overflow.
const PERIOD_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A length of time written as `"5s"`, `"250ms"` or `"1h 30m"`; at most 365 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(Duration);

impl Period {
    /// So many milliseconds.
    pub const fn millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// So many seconds.
    pub const fn secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    /// The time as the program uses it.
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Seconds of a day: longer units are not read.
        const DAY: u64 = 24 * 60 * 60;
        let days = self.0.as_secs() / DAY;
        let rest = self.0 - Duration::from_secs(days * DAY);
        let plural = if days == 1 { "" } else { "s" };
        match (days, rest.is_zero()) {
            (0, _) => humantime::format_duration(rest).fmt(f),
            (days, true) => write!(f, "{days}day{plural}"),
            (days, false) => write!(f, "{days}day{plural} {}", humantime::format_duration(rest)),
        }
    }
}

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut units = text.split(|c: char| !c.is_ascii_alphabetic());
        if units.any(|unit| unit == "M" || unit.starts_with("month") || unit.starts_with('y')) {
            return Err(format!(
                "\"{text}\" is in months or years: write \"5m\" for minutes, or days"
            ));
        }
        let duration = humantime::parse_duration(text.trim())
            .map_err(|_| format!("\"{text}\" is not a time: write {PERIOD_FORMS}"))?;
        if duration > PERIOD_MAX {
            return Err(format!("\"{text}\" is longer than 365 days"));
        }
        Ok(Self(duration))
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;
        impl Visitor<'_> for Written {
            type Value = Period;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(PERIOD_FORMS)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Period, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Period, E> {
                Err(E::custom(format!("{number} has no unit: write {PERIOD_FORMS}")))
            }
        }
        deserializer.deserialize_any(Written)
    }
}

/// A number of slots, absolute or as a percentage of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// So many slots.
    Slots(usize),
    /// So many percent of the pool's slots, rounded down; at most 100.
    Percent(u8),
}

impl Share {
    /// Slots out of `total`, never more than `total`.
    pub fn of(self, total: usize) -> usize {
        match self {
            Self::Slots(slots) => slots.min(total),
            Self::Percent(percent) => {
                let (whole, rest) = (total / 100, total % 100);
                let percent = usize::from(percent.min(100));
                whole * percent + rest * percent / 100
            }
        }
    }
}

impl Share {
    /// Slots out of `total` that nobody else may use: of a single one none, it would be all there is; of more than
    /// that at least one, for a part that is not nothing.
    pub fn reserved_of(self, total: usize) -> usize {
        match (self, total) {
            (_, 0 | 1) | (Self::Percent(0), _) => 0,
            (Self::Percent(_), _) => self.of(total).max(1),
            (Self::Slots(_), _) => self.of(total),
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slots(slots) => write!(f, "{slots}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is not a share of a pool: write {SHARE_FORMS}");
        match text.trim().strip_suffix('%') {
            None => text.trim().parse().map(Self::Slots).map_err(|_| wrong()),
            Some(number) => match number.trim_end().parse::<u32>().map(u8::try_from) {
                Ok(Ok(percent @ 0..=100)) => Ok(Self::Percent(percent)),
                Ok(_) => Err(format!("\"{text}\" is more than 100%")),
                Err(_) => Err(wrong()),
            },
        }
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;
        impl Visitor<'_> for Written {
            type Value = Share;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(SHARE_FORMS)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Share, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Share, E> {
                usize::try_from(number).map(Share::Slots).map_err(|_| {
                    E::custom(format!("{number} is not a share of a pool: write {SHARE_FORMS}"))
                })
            }
        }
        deserializer.deserialize_any(Written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_unit_and_written_back() {
        for (text, millis) in [("250ms", 250), ("5s", 5_000), ("2m", 120_000), ("0s", 0)] {
            let period: Period = text.parse().expect("a time");
            assert_eq!(period.duration(), Duration::from_millis(millis));
            assert_eq!(period.to_string(), text);
        }
        for days in [1, 31, 365] {
            let period = Period::secs(days * 24 * 60 * 60 - 5);
            assert_eq!(period.to_string().parse(), Ok(period));
        }
        assert_eq!(Period::secs(40 * 24 * 60 * 60).to_string(), "40days");
        assert_eq!("1h 30m".parse(), Ok(Period::secs(5_400)));
        for text in ["5M", "1h 5M", "2months", "1month", "1y", "2 years"] {
            let error = text.parse::<Period>().expect_err("no short time");
            assert!(error.contains("\"5m\" for minutes"), "{error}");
        }
        for text in ["", "5", "s", "5 parsecs", "-1s", "400days", "99999999999999999999s"] {
            assert!(text.parse::<Period>().is_err(), "{text:?} is no time");
        }
    }

    #[test]
    fn of_a_small_pool_a_part_that_is_reserved_is_a_slot() {
        let reserved = |share: &str| {
            [1, 2, 3, 15].map(|total| share.parse::<Share>().unwrap().reserved_of(total))
        };
        assert_eq!(reserved("25%"), [0, 1, 1, 3]);
        assert_eq!(reserved("0%"), [0; 4]);
        assert_eq!(reserved("1"), [0, 1, 1, 1]);
    }

    #[test]
    fn shares_are_slots_or_percentages_and_never_exceed_the_pool() {
        assert_eq!("4".parse(), Ok(Share::Slots(4)));
        assert_eq!("25%".parse(), Ok(Share::Percent(25)));
        assert_eq!("25 %".parse::<Share>().map(|share| share.to_string()), Ok("25%".to_owned()));
        for text in ["", "%", "101%", "300%", "-1", "a quarter", "2.5"] {
            assert!(text.parse::<Share>().is_err(), "{text:?} is no share");
        }
        assert_eq!(Share::Percent(25).of(14), 3);
        assert_eq!(Share::Percent(100).of(14), 14);
        assert_eq!(Share::Slots(20).of(14), 14);
        assert_eq!(Share::Percent(100).of(usize::MAX), usize::MAX);
    }
}
