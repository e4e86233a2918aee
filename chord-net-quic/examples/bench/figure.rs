//! Figures, their gates, and the exit code that follows.

use std::process::ExitCode;
use std::time::Duration;

/// What was measured so far, beside what must be reached.
#[derive(Default)]
pub(crate) struct Figures {
    missed: u32,
}

impl Figures {
    /// Prints a figure that must be at most `gate`.
    pub(crate) fn at_most(&mut self, what: &str, figure: f64, gate: f64) {
        self.show(what, figure, figure <= gate, &format!("at most {gate}"));
    }

    /// Prints a figure that must be at least `gate`.
    pub(crate) fn at_least(&mut self, what: &str, figure: f64, gate: f64) {
        self.show(what, figure, figure >= gate, &format!("at least {gate}"));
    }

    fn show(&mut self, what: &str, figure: f64, reached: bool, gate: &str) {
        let verdict = if reached { "reached" } else { "MISSED" };
        println!("{what}: {figure:.2} (gate: {gate}) {verdict}");
        self.missed += u32::from(!reached);
    }

    /// 1 if a gate was missed.
    pub(crate) fn verdict(&self) -> ExitCode {
        if self.missed == 0 {
            println!("PASS");
            ExitCode::SUCCESS
        } else {
            println!("FAIL: {} missed", self.missed);
            ExitCode::FAILURE
        }
    }
}

/// The middle one, or the upper of the two.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The time that this share of all stayed below.
pub(crate) fn quantile(mut times: Vec<Duration>, share: f64) -> Duration {
    times.sort_unstable();
    let at = (times.len() as f64 * share) as usize;
    let at = at.min(times.len().saturating_sub(1));
    times.get(at).copied().unwrap_or_default()
}
