//! Lengths of time and sizes as people write them: a number and a unit, `90s`, `1h30m`,
//! `512KiB`. A bare number is refused: nobody remembers which unit it was.

use chord_core::time::Micros;

const TIMES: [(&str, u64); 6] = [
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

const SIZES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// Reads `30d`, `24h`, `10m`, `5s`, `50ms`, `20us`, and sums such as `1h30m`.
///
/// # Errors
/// What is wrong with the text and how to write it instead.
pub fn parse_duration(text: &str) -> Result<Micros, String> {
    sum(text.trim(), &TIMES)
        .map(Micros)
        .ok_or_else(|| format!("`{text}` is no duration: write a number and a unit (d, h, m, s, ms, us), such as 24h or 1h30m"))
}

/// Reads `512KiB`, `1MiB`, `64kB`, `4096B`.
///
/// # Errors
/// What is wrong with the text and how to write it instead.
pub fn parse_size(text: &str) -> Result<u64, String> {
    sum(text.trim(), &SIZES).ok_or_else(|| {
        format!("`{text}` is no size: write a number and a unit (B, kB, KiB, MB, MiB, GB, GiB), such as 512KiB")
    })
}

/// The shortest exact form of a duration, readable by [`parse_duration`].
#[must_use]
pub fn show_duration(length: Micros) -> String {
    show(length.0, &TIMES, "s")
}

/// The shortest exact form of a size, readable by [`parse_size`].
#[must_use]
pub fn show_size(bytes: u64) -> String {
    show(bytes, &SIZES, "B")
}

fn show(amount: u64, units: &[(&str, u64)], zero: &str) -> String {
    if amount == 0 {
        return format!("0{zero}");
    }
    let (unit, worth) = units
        .iter()
        .find(|(_, worth)| amount.is_multiple_of(*worth))
        .expect("the last unit is worth one");
    format!("{}{unit}", amount / worth)
}

/// Adds up `number unit` pairs; nothing for anything else, overflow included.
fn sum(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let mut rest = text;
    let mut total = 0_u64;
    loop {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let number: u64 = number.parse().ok()?;
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at(letters);
        let (_, worth) = units.iter().find(|(name, _)| *name == unit)?;
        total = total.checked_add(number.checked_mul(*worth)?)?;
        if after.is_empty() {
            return Some(total);
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_shown() {
        let cases = [
            ("24h", "1d"),
            ("90s", "90s"),
            ("1h30m", "90m"),
            ("50ms", "50ms"),
            ("1500us", "1500us"),
            ("0s", "0s"),
        ];
        for (text, shown) in cases {
            let length = parse_duration(text).expect("a duration");
            assert_eq!(show_duration(length), shown);
            assert_eq!(parse_duration(shown), Ok(length));
        }
    }

    #[test]
    fn sizes_are_read_and_shown() {
        for (text, bytes, shown) in [
            ("512KiB", 524_288, "512KiB"),
            ("1MB", 1_000_000, "1MB"),
            ("4096B", 4_096, "4KiB"),
            ("3B", 3, "3B"),
        ] {
            assert_eq!(parse_size(text), Ok(bytes));
            assert_eq!(show_size(bytes), shown);
        }
    }

    #[test]
    fn what_has_no_unit_or_overflows_is_refused() {
        for text in [
            "",
            "5",
            "h",
            "-5s",
            "1.5h",
            "5 s",
            "5x",
            "5sm",
            "99999999999999999999s",
            "18446744073709551615s",
            "１s",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
