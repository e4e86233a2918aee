//! The section `[expect]`: bounds on what a run measures.

use toml::Value;

use super::PlanError;
use super::section::Section;
use super::units;

/// Something a run measures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Metric {
    /// Share of lookups that named the live owner.
    LookupSuccess,
    /// Median time of a lookup, in microseconds.
    LookupP50,
    /// The same at the 99th percentile.
    LookupP99,
    /// Mean number of peers asked per lookup.
    HopsMean,
    /// Share of puts that were acknowledged.
    PutSuccess,
    /// Share of gets that had an answer, "not found" included.
    GetSuccess,
    /// Time from the last fault to an ideal ring, in microseconds.
    ConvergedWithin,
    /// Bytes sent per node and second.
    BytesPerNode,
    /// Acknowledged writes whose loss the failures explain.
    LostExplained,
}

impl Metric {
    const ALL: [(&'static str, Self); 9] = [
        ("lookup_success", Self::LookupSuccess),
        ("lookup_p50", Self::LookupP50),
        ("lookup_p99", Self::LookupP99),
        ("hops_mean", Self::HopsMean),
        ("put_success", Self::PutSuccess),
        ("get_success", Self::GetSuccess),
        ("converged_within", Self::ConvergedWithin),
        ("bytes_per_node", Self::BytesPerNode),
        ("lost_explained", Self::LostExplained),
    ];

    /// Its name in a scenario.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(_, metric)| *metric == self)
            .map_or("?", |(name, _)| name)
    }

    fn read(self, text: &str) -> Option<f64> {
        match self {
            Self::LookupSuccess
            | Self::PutSuccess
            | Self::GetSuccess
            | Self::HopsMean
            | Self::LostExplained => units::number(text),
            Self::LookupP50 | Self::LookupP99 | Self::ConvergedWithin => {
                units::duration(text).map(|micros| micros as f64)
            }
            Self::BytesPerNode => {
                units::size(text.strip_suffix("/s")?.trim()).map(|bytes| bytes as f64)
            }
        }
    }

    fn wanted(self) -> &'static str {
        match self {
            Self::LookupSuccess | Self::PutSuccess | Self::GetSuccess => {
                "a bound such as \">= 0.999\""
            }
            Self::HopsMean | Self::LostExplained => "a bound such as \"<= 4\"",
            Self::LookupP50 | Self::LookupP99 => "a bound such as \"<= 1200ms\"",
            Self::ConvergedWithin => "a duration such as \"150s\"",
            Self::BytesPerNode => "a bound such as \"<= 400 B/s\"",
        }
    }
}

/// A bound on a metric.
#[derive(Clone, PartialEq, Debug)]
pub struct Expectation {
    /// What.
    pub metric: Metric,
    /// At most `bound`; else at least.
    pub at_most: bool,
    /// In the unit of the metric.
    pub bound: f64,
    /// As written in the scenario.
    pub text: String,
}

impl Expectation {
    /// Whether a measured value satisfies it.
    #[must_use]
    pub fn met(&self, value: f64) -> bool {
        if self.at_most {
            value <= self.bound
        } else {
            value >= self.bound
        }
    }
}

/// Reads the bounds.
pub(super) fn read(mut section: Section) -> Result<Vec<Expectation>, PlanError> {
    let mut expectations = Vec::new();
    for (name, metric) in Metric::ALL {
        let read = |value: &Value| expectation(metric, value.as_str()?);
        expectations.extend(section.maybe(name, metric.wanted(), read)?);
    }
    section.finish()?;
    Ok(expectations)
}

fn expectation(metric: Metric, text: &str) -> Option<Expectation> {
    let trimmed = text.trim();
    let (at_most, rest) = if let Some(rest) = trimmed.strip_prefix("<=") {
        (true, rest)
    } else if let Some(rest) = trimmed.strip_prefix(">=") {
        (false, rest)
    } else if metric == Metric::ConvergedWithin {
        (true, trimmed)
    } else {
        return None;
    };
    let bound = metric.read(rest.trim())?;
    Some(Expectation {
        metric,
        at_most,
        bound,
        text: text.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_read_in_the_unit_of_their_metric() {
        let good = [
            (Metric::LookupSuccess, ">= 0.999", false, 0.999),
            (Metric::LookupP99, "<= 1200ms", true, 1_200_000.0),
            (Metric::BytesPerNode, "<= 400 B/s", true, 400.0),
            (Metric::ConvergedWithin, "150s", true, 150e6),
        ];
        for (metric, text, at_most, bound) in good {
            let read = expectation(metric, text).expect(text);
            assert_eq!((read.at_most, read.bound), (at_most, bound), "{text}");
        }
        let bad = [
            (Metric::LookupSuccess, "0.999"),
            (Metric::LookupP99, "<= 1200"),
            (Metric::BytesPerNode, "<= 400 B"),
        ];
        for (metric, text) in bad {
            assert_eq!(expectation(metric, text), None, "{text}");
        }
    }

    #[test]
    fn a_bound_is_met_on_its_own_side_only() {
        let least = expectation(Metric::LookupSuccess, ">= 0.9").expect("a bound");
        assert!(least.met(0.9) && !least.met(0.89));
        let most = expectation(Metric::HopsMean, "<= 3").expect("a bound");
        assert!(most.met(3.0) && !most.met(3.1));
    }
}
