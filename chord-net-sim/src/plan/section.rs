//! One table of a scenario, read key by key; what nobody asked for is an error.

use toml::{Table, Value};

use super::PlanError;
use super::units::{self, Rate};
use crate::chance::Probability;

/// A table and what was asked of it.
#[derive(Debug)]
pub(super) struct Section {
    path: String,
    table: Table,
    known: Vec<&'static str>,
}

impl Section {
    pub(super) fn new(path: &str, table: Table) -> Self {
        Self {
            path: path.to_owned(),
            table,
            known: Vec::new(),
        }
    }

    /// The full name of a key.
    pub(super) fn at(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// Refuses what was never asked for, with the nearest name that would have been read.
    pub(super) fn finish(self) -> Result<(), PlanError> {
        let Some(key) = self.table.keys().next() else {
            return Ok(());
        };
        Err(PlanError::UnknownKey {
            at: self.at(key),
            nearest: nearest(key, &self.known).map(str::to_owned),
            known: self.known.join(", "),
        })
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    pub(super) fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.table.remove(key)
    }

    pub(super) fn wrong(&self, key: &str, found: &Value, wanted: &str) -> PlanError {
        PlanError::Wrong {
            at: self.at(key),
            found: show(found),
            wanted: wanted.to_owned(),
        }
    }

    fn missing(&self, key: &str, wanted: &str) -> PlanError {
        PlanError::Missing {
            at: self.at(key),
            wanted: wanted.to_owned(),
        }
    }

    /// Reads a key with `read`; `None` if it is absent.
    pub(super) fn maybe<T>(
        &mut self,
        key: &'static str,
        wanted: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, PlanError> {
        let Some(value) = self.take(key) else {
            return Ok(None);
        };
        match read(&value) {
            Some(read) => Ok(Some(read)),
            None => Err(self.wrong(key, &value, wanted)),
        }
    }

    pub(super) fn duration(&mut self, key: &'static str) -> Result<Option<u64>, PlanError> {
        self.maybe(
            key,
            "a duration such as \"50ms\", \"1.5s\" or \"10m\"",
            |value| units::duration(value.as_str()?),
        )
    }

    pub(super) fn needed_duration(&mut self, key: &'static str) -> Result<u64, PlanError> {
        let missing = self.missing(key, "a duration such as \"10m\"");
        self.duration(key)?.ok_or(missing)
    }

    pub(super) fn size(&mut self, key: &'static str) -> Result<Option<u64>, PlanError> {
        self.maybe(key, "a size such as \"100B\" or \"4KiB\"", |value| {
            units::size(value.as_str()?)
        })
    }

    pub(super) fn rate(&mut self, key: &'static str) -> Result<Option<Rate>, PlanError> {
        let wanted = "a rate such as \"2/min\" or \"1/30s per node\"";
        self.maybe(key, wanted, |value| units::rate(value.as_str()?))
    }

    pub(super) fn probability(&mut self, key: &'static str) -> Result<Probability, PlanError> {
        let read = self.maybe(key, "a probability from 0 to 1", |value| {
            Probability::new(float(value)?)
        })?;
        Ok(read.unwrap_or_default())
    }

    pub(super) fn number(&mut self, key: &'static str) -> Result<Option<f64>, PlanError> {
        self.maybe(key, "a number of at least 0", |value| {
            float(value).filter(|number| *number >= 0.0 && number.is_finite())
        })
    }

    pub(super) fn whole<T: TryFrom<i64>>(
        &mut self,
        key: &'static str,
        wanted: &str,
    ) -> Result<Option<T>, PlanError> {
        self.maybe(key, wanted, |value| T::try_from(value.as_integer()?).ok())
    }

    pub(super) fn count(&mut self, key: &'static str) -> Result<Option<u32>, PlanError> {
        self.whole(key, "a whole number of at least 0")
    }

    pub(super) fn flag(&mut self, key: &'static str) -> Result<Option<bool>, PlanError> {
        self.maybe(key, "true or false", Value::as_bool)
    }

    pub(super) fn text(&mut self, key: &'static str) -> Result<Option<String>, PlanError> {
        self.maybe(key, "a text in quotes", |value| {
            value.as_str().map(str::to_owned)
        })
    }

    pub(super) fn needed_text(
        &mut self,
        key: &'static str,
        wanted: &str,
    ) -> Result<String, PlanError> {
        let missing = self.missing(key, wanted);
        self.text(key)?.ok_or(missing)
    }

    /// A table inside this one; an empty one if it is absent.
    pub(super) fn section(&mut self, key: &'static str) -> Result<Section, PlanError> {
        let table = self.maybe(key, "a table", |value| value.as_table().cloned())?;
        Ok(Section::new(&self.at(key), table.unwrap_or_default()))
    }

    /// The tables of an array.
    pub(super) fn sections(&mut self, key: &'static str) -> Result<Vec<Section>, PlanError> {
        let wanted = format!("tables, each under [[{key}]]");
        let tables = self.maybe(key, &wanted, |value| {
            value
                .as_array()?
                .iter()
                .map(|entry| entry.as_table().cloned())
                .collect()
        })?;
        let tables: Vec<Table> = tables.unwrap_or_default();
        let numbered = tables.into_iter().enumerate();
        Ok(numbered
            .map(|(n, table)| Section::new(&self.at(&format!("{key}.{n}")), table))
            .collect())
    }
}

/// A value as it was written, roughly: enough to find it.
fn show(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(flag) => flag.to_string(),
        Value::Datetime(_) => "a date".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Table(_) => "a table".to_owned(),
    }
}

fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Float(number) => Some(*number),
        Value::Integer(number) => Some(*number as f64),
        Value::String(_)
        | Value::Boolean(_)
        | Value::Datetime(_)
        | Value::Array(_)
        | Value::Table(_) => None,
    }
}

/// The known name that is fewest edits away, if it is near enough to be a slip.
pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let (distance, name) = known.iter().map(|name| (edits(word, name), *name)).min()?;
    (distance <= word.len().div_ceil(3).max(1)).then_some(name)
}

/// Insertions, removals and replacements from one word to the other (Levenshtein).
fn edits(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, left) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (n, right) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(left != *right);
            diagonal = row[n + 1];
            row[n + 1] = replaced.min(row[n] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_a_slip_away_or_none() {
        let known = ["duration", "warmup", "seed"];
        assert_eq!(nearest("duraton", &known), Some("duration"));
        assert_eq!(nearest("seeds", &known), Some("seed"));
        assert_eq!(nearest("banana", &known), None);
        assert_eq!(edits("kitten", "sitting"), 3);
    }
}
