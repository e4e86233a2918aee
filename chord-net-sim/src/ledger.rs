//! Which faults were configured, and which of them really happened.
//!
//! **Invariant:** a fault that never fired proves nothing: a run with such a row is
//! VACUOUS, whatever its checkers say.

use serde::Serialize;

/// One configured fault.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Row {
    /// What: the name used in the scenario.
    pub kind: String,
    /// How often it was to happen; 1 for a rate.
    pub configured: u64,
    /// How often it did: messages hit by a rate, occurrences of a scheduled fault that
    /// touched something.
    pub fired: u64,
    /// When it was scheduled first, in seconds after the warm-up; absent for rates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_seconds: Option<f64>,
}

/// The number of a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RowId(usize);

/// All rows, in the order of the scenario.
#[derive(Clone, Default, Debug)]
pub struct Ledger {
    rows: Vec<Row>,
}

impl Ledger {
    /// Adds a configured fault.
    pub fn configure(&mut self, kind: &str, configured: u64, at_seconds: Option<f64>) -> RowId {
        self.rows.push(Row {
            kind: kind.to_owned(),
            configured,
            fired: 0,
            at_seconds,
        });
        RowId(self.rows.len() - 1)
    }

    /// Counts that it happened.
    pub fn fire(&mut self, row: RowId) {
        self.rows[row.0].fired += 1;
    }

    /// All rows.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Rows that were configured and never fired.
    pub fn vacuous(&self) -> impl Iterator<Item = &Row> {
        self.rows
            .iter()
            .filter(|row| row.configured > 0 && row.fired == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_that_never_fired_is_vacuous_until_it_fires() {
        let mut ledger = Ledger::default();
        let drop = ledger.configure("drop", 1, None);
        ledger.configure("crash", 0, Some(3.0));
        assert_eq!(
            ledger
                .vacuous()
                .map(|row| row.kind.as_str())
                .collect::<Vec<_>>(),
            ["drop"]
        );
        ledger.fire(drop);
        assert_eq!(ledger.vacuous().count(), 0);
        assert_eq!(ledger.rows()[0].fired, 1);
    }
}
