//! The scenarios that come with the simulator.

/// Names and texts of all shipped scenarios.
pub const SHIPPED: [(&str, &str); 13] = [
    ("stable-ring", include_str!("../scenarios/stable-ring.toml")),
    ("crash-one", include_str!("../scenarios/crash-one.toml")),
    ("churn-24", include_str!("../scenarios/churn-24.toml")),
    (
        "partition-heal",
        include_str!("../scenarios/partition-heal.toml"),
    ),
    ("flash-join", include_str!("../scenarios/flash-join.toml")),
    (
        "rolling-restart",
        include_str!("../scenarios/rolling-restart.toml"),
    ),
    (
        "graceful-leaves",
        include_str!("../scenarios/graceful-leaves.toml"),
    ),
    ("short-lives", include_str!("../scenarios/short-lives.toml")),
    ("power-cuts", include_str!("../scenarios/power-cuts.toml")),
    (
        "leaping-clocks",
        include_str!("../scenarios/leaping-clocks.toml"),
    ),
    ("blackout", include_str!("../scenarios/blackout.toml")),
    (
        "disk-trouble",
        include_str!("../scenarios/disk-trouble.toml"),
    ),
    ("torn-writes", include_str!("../scenarios/torn-writes.toml")),
];

/// The text of a shipped scenario.
#[must_use]
pub fn find(name: &str) -> Option<&'static str> {
    SHIPPED
        .iter()
        .find(|(shipped, _)| *shipped == name)
        .map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;

    #[test]
    fn every_shipped_scenario_is_valid_says_what_it_shows_and_expects_something() {
        for (name, text) in SHIPPED {
            assert!(text.starts_with("# "), "{name} begins with a comment");
            let plan = Plan::from_toml(text, name, &[]).expect(name);
            assert_eq!(plan.name, name);
            assert!(plan.expect.len() >= 2, "{name} has two bounds");
        }
        assert!(find("churn-24").is_some());
        assert_eq!(find("no-such"), None);
    }
}
