//! Units of time.

/// The unit of a file's times.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimeUnit {
    /// Seconds of one unit, finite and above 0.
    seconds: f64,
    /// How often it fits into a second, where that is exact: 238026 ms are 238.026 s, not
    /// 238026 · 0.001.
    per_second: Option<f64>,
}

impl TimeUnit {
    /// Seconds.
    pub const SECONDS: TimeUnit = TimeUnit { seconds: 1.0, per_second: None };

    const fn per_second(n: f64) -> Self {
        TimeUnit { seconds: 1.0 / n, per_second: Some(n) }
    }

    /// A unit of so many seconds; `None` unless finite and above 0.
    pub fn of_seconds(seconds: f64) -> Option<Self> {
        (seconds.is_finite() && seconds > 0.0).then_some(TimeUnit { seconds, per_second: None })
    }

    /// `s`, `ms`, other usual spellings of them, of µs and of minutes.
    pub fn of_name(name: &str) -> Option<Self> {
        Some(match name.trim().trim_end_matches('.').to_lowercase().as_str() {
            "s" | "sec" | "secs" | "second" | "seconds" => TimeUnit::SECONDS,
            "ms" | "msec" | "msecs" | "millisec" | "millisecond" | "milliseconds" => {
                TimeUnit::per_second(1e3)
            }
            "us" | "µs" | "μs" | "usec" | "microsecond" | "microseconds" => {
                TimeUnit::per_second(1e6)
            }
            "min" | "minute" | "minutes" => TimeUnit { seconds: 60.0, per_second: None },
            _ => return None,
        })
    }

    /// What a study or a flag may say: `s`, `ms`, or seconds of one unit.
    pub fn of_setting(text: &str) -> Option<Self> {
        match text.trim() {
            name @ ("s" | "ms") => TimeUnit::of_name(name),
            number => number.parse().ok().and_then(TimeUnit::of_seconds),
        }
    }

    /// A time in this unit as seconds.
    pub fn to_seconds(self, time: f64) -> f64 {
        match self.per_second {
            Some(n) => time / n,
            None => time * self.seconds,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_two_names_or_a_number_of_seconds() {
        assert_eq!(TimeUnit::of_setting("s"), Some(TimeUnit::SECONDS));
        assert_eq!(TimeUnit::of_setting("ms").unwrap().to_seconds(238_026.0), 238.026);
        assert_eq!(TimeUnit::of_setting("0.001953125").unwrap().to_seconds(512.0), 1.0);
        for bad in ["", "hours", "0", "-1", "nan", "inf", "TRs"] {
            assert_eq!(TimeUnit::of_setting(bad), None, "{bad}");
        }
    }

    #[test]
    fn headers_may_spell_units_out() {
        for (name, seconds) in [("Sec.", 2.0), ("MSEC", 0.002), ("µs", 2e-6), ("minutes", 120.0)] {
            assert_eq!(TimeUnit::of_name(name).unwrap().to_seconds(2.0), seconds, "{name}");
        }
        assert_eq!(TimeUnit::of_name("TR"), None);
    }
}
