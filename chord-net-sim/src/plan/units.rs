//! Values with units: a number without one is refused, so that nobody has to guess.

/// A duration in microseconds: `250us`, `50ms`, `1.5s`, `10m`, `3.66h`, `30d`.
pub(super) fn duration(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let micros = match unit {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        "m" | "min" => 60e6,
        "h" => 3_600e6,
        "d" => 86_400e6,
        _ => return None,
    };
    // The cast saturates; half up, so that 0.1 and friends come out whole.
    Some((number * micros + 0.5) as u64)
}

/// A length of time with a sign, in microseconds: `1h`, `-10y`. A year has 365 days.
pub(super) fn signed(text: &str) -> Option<i64> {
    let text = text.trim();
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let micros = match rest.strip_suffix('y') {
        Some(years) => duration(&format!("{}d", number(years.trim())? * 365.0))?,
        None => duration(rest)?,
    };
    let micros = i64::try_from(micros).ok()?;
    Some(if negative { -micros } else { micros })
}

/// A size in bytes: `100B`, `4KiB`, `1MiB`, `64kB`.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let bytes = match unit {
        "B" => 1.0,
        "kB" => 1e3,
        "KiB" => 1_024.0,
        "MB" => 1e6,
        "MiB" => 1_048_576.0,
        "GiB" => 1_073_741_824.0,
        _ => return None,
    };
    Some((number * bytes + 0.5) as u64)
}

/// How often something happens.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Rate {
    /// Mean time between two, in microseconds.
    pub interval: f64,
    /// For each member separately.
    pub per_node: bool,
}

/// A rate: `1/30s`, `0.01/s`, `2/min`, each optionally followed by `per node`.
pub(super) fn rate(text: &str) -> Option<Rate> {
    let (text, per_node) = match text.trim().strip_suffix("per node") {
        Some(rest) => (rest.trim(), true),
        None => (text.trim(), false),
    };
    let (count, every) = text.split_once('/')?;
    let count = number(count.trim())?;
    let every = every.trim();
    let every = if every.starts_with(|first: char| first.is_ascii_digit()) {
        duration(every)?
    } else {
        duration(&format!("1{every}"))?
    };
    if count <= 0.0 || every == 0 {
        return None;
    }
    Some(Rate {
        interval: every as f64 / count,
        per_node,
    })
}

/// `name(number)` as its parts; `name` alone has no number.
pub(super) fn call(text: &str) -> Option<(&str, Option<f64>)> {
    let text = text.trim();
    let Some((name, rest)) = text.split_once('(') else {
        return Some((text, None));
    };
    Some((name.trim(), Some(number(rest.strip_suffix(')')?.trim())?)))
}

/// A plain non-negative number.
pub(super) fn number(text: &str) -> Option<f64> {
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.' || byte == b'_');
    if !plain {
        return None;
    }
    text.replace('_', "").parse().ok()
}

fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let at = text.find(|digit: char| digit.is_ascii_alphabetic())?;
    Some((number(text[..at].trim())?, &text[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_number_and_a_known_unit() {
        let good = [
            ("250us", 250),
            ("50ms", 50_000),
            ("1.5s", 1_500_000),
            ("10m", 600_000_000),
            ("3.66h", 13_176_000_000),
            ("1d", 86_400_000_000),
            ("1_000 ms", 1_000_000),
        ];
        for (text, micros) in good {
            assert_eq!(duration(text), Some(micros), "{text}");
        }
        for text in [
            "",
            "5",
            "s",
            "-1s",
            "5 parsecs",
            "1e3s",
            "infs",
            "NaNs",
            "1.2.3s",
        ] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn a_jump_goes_either_way() {
        assert_eq!(signed("1s"), Some(1_000_000));
        assert_eq!(signed("-1h"), Some(-3_600_000_000));
        assert_eq!(signed("10y"), Some(315_360_000_000_000));
        assert_eq!(
            [signed("1"), signed("--1s"), signed("y")],
            [None, None, None]
        );
    }

    #[test]
    fn sizes_need_a_number_and_a_known_unit() {
        assert_eq!(
            [size("100B"), size("1KiB"), size("2kB")],
            [Some(100), Some(1_024), Some(2_000)]
        );
        assert_eq!([size("100"), size("1K"), size("-1B")], [None, None, None]);
    }

    #[test]
    fn rates_read_either_way_round() {
        let per_node = |interval| {
            Some(Rate {
                interval,
                per_node: true,
            })
        };
        let total = |interval| {
            Some(Rate {
                interval,
                per_node: false,
            })
        };
        assert_eq!(rate("1/30s per node"), per_node(30e6));
        assert_eq!(rate("0.01/s per node"), per_node(100e6));
        assert_eq!(rate("2/min"), total(30e6));
        for text in ["", "1", "0/s", "1/0s", "-1/s", "1/fortnight", "/s"] {
            assert_eq!(rate(text), None, "{text}");
        }
    }

    #[test]
    fn calls_have_a_name_and_perhaps_a_number() {
        assert_eq!(call("half"), Some(("half", None)));
        assert_eq!(call("arc(0.3)"), Some(("arc", Some(0.3))));
        assert_eq!(call("arc(0.3"), None);
    }
}
