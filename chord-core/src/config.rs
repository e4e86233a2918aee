//! Every knob of the protocol: its unit, its default, and why that default.

use crate::time::Micros;

/// The options of a node. All nodes of a cluster should agree on `successors`, `copies_max`
/// and `forget`; a node with other values is safe but wasteful.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Length L of the successor list. Sixteen successors survive the loss of half of 10⁴
    /// nodes at once.
    pub successors: u8,
    /// Copies of a record when a client asks for the default, the owner's included.
    pub copies: u8,
    /// Most copies a client may ask for; at most `successors`.
    pub copies_max: u8,
    /// Lifetime of a record when a client asks for the default.
    pub ttl: Micros,
    /// Longest lifetime a client may ask for; above it, it is this.
    pub ttl_max: Micros,
    /// A member dead for this long stops counting for majorities.
    pub forget: Micros,
    /// Least time between two stabilisations when nothing changes. After a change the pace
    /// falls to this and doubles back up to `stabilise_max`.
    pub stabilise_min: Micros,
    /// Most time between two stabilisations: bounds how long an idle failure stays unseen.
    pub stabilise_max: Micros,
    /// Wait before the stabilisation that follows a change of list or predecessor, spread
    /// up to twice this; it lets several changes that come together cost one round.
    pub settle_delay: Micros,
    /// Pace of finger refreshes, one finger each.
    pub finger_pace: Micros,
    /// Pace of asking somebody once known (the passive list) for one's own owner.
    pub passive_pace: Micros,
    /// Pace of comparing key lists with the holders of one's span when nothing changed.
    pub repair_pace: Micros,
    /// Pace of sweeping expired records and looking for records that belong elsewhere.
    pub sweep_pace: Micros,
    /// Least time granted to a call; measured round trips only raise it.
    pub timeout_min: Micros,
    /// Time granted to the first call to somebody never measured.
    pub timeout_first: Micros,
    /// Most time granted to a call.
    pub timeout_max: Micros,
    /// Time granted to an operation of a client.
    pub command_timeout: Micros,
    /// Time granted to a leave before it gives up on handing data over.
    pub leave_timeout: Micros,
    /// How far a fresh write may lie ahead of a holder's wall clock.
    pub skew_max: Micros,
    /// How long a deleted record outlives its shadow, so that no repair brings it back.
    pub repair_bound: Micros,
    /// Entries of the passive list.
    pub passive_max: u8,
    /// Peers beyond successors and predecessor that the routing table may hold.
    pub table_max: u16,
    /// Operations in flight that this node starts for itself and for clients.
    pub ops_max: u32,
    /// Bytes of a page of records or keys; a page holds at least one entry all the same.
    pub page_bytes: u32,
    /// Spread periodic tasks by chance. Off only where a checker wants every interleaving.
    pub jitter: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            successors: 16,
            copies: 3,
            copies_max: 8,
            ttl: Micros::from_secs(24 * 3_600),
            ttl_max: Micros::from_secs(30 * 24 * 3_600),
            forget: Micros::from_secs(600),
            stabilise_min: Micros::from_secs(1),
            stabilise_max: Micros::from_secs(4),
            settle_delay: Micros::from_millis(20),
            finger_pace: Micros::from_secs(10),
            passive_pace: Micros::from_secs(5),
            repair_pace: Micros::from_secs(60),
            sweep_pace: Micros::from_secs(60),
            timeout_min: Micros::from_millis(50),
            timeout_first: Micros::from_secs(1),
            timeout_max: Micros::from_secs(2),
            command_timeout: Micros::from_secs(5),
            leave_timeout: Micros::from_secs(30),
            skew_max: Micros::from_secs(600),
            repair_bound: Micros::from_secs(3_600),
            passive_max: 32,
            table_max: 160,
            ops_max: 4_096,
            page_bytes: 512 * 1024,
            jitter: true,
        }
    }
}

/// An option outside its bounds. Nothing was started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConfigError {
    /// `successors` must be 1 to 64.
    Successors(u8),
    /// `copies_max` must be 1 to `successors`.
    CopiesMax(u8),
    /// `copies` must be 1 to `copies_max`.
    Copies(u8),
    /// A time option is zero or its minimum exceeds its maximum; the option's name.
    Time(&'static str),
    /// A bound is too small to work with; the option's name.
    TooSmall(&'static str),
    /// A bound is larger than a frame can carry; the option's name.
    TooLarge(&'static str),
}

impl core::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Successors(n) => write!(f, "successors = {n}: choose 1 to 64"),
            Self::CopiesMax(n) => write!(f, "copies_max = {n}: choose 1 to `successors`"),
            Self::Copies(n) => write!(f, "copies = {n}: choose 1 to `copies_max`"),
            Self::Time(name) => {
                write!(
                    f,
                    "{name}: a duration above zero, and no minimum above its maximum"
                )
            }
            Self::TooSmall(name) => write!(f, "{name}: too small to work with"),
            Self::TooLarge(name) => write!(f, "{name}: more than one frame can carry"),
        }
    }
}

impl core::error::Error for ConfigError {}

impl Config {
    /// Checks every bound.
    ///
    /// # Errors
    /// The first option that is out of bounds.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if !(1..=64).contains(&self.successors) {
            return Err(ConfigError::Successors(self.successors));
        }
        if !(1..=self.successors).contains(&self.copies_max) {
            return Err(ConfigError::CopiesMax(self.copies_max));
        }
        if !(1..=self.copies_max).contains(&self.copies) {
            return Err(ConfigError::Copies(self.copies));
        }
        let ordered = [
            ("ttl", self.ttl, self.ttl_max),
            ("stabilise_min", self.stabilise_min, self.stabilise_max),
            ("timeout_min", self.timeout_min, self.timeout_max),
            ("timeout_first", self.timeout_first, self.timeout_max),
        ];
        for (name, low, high) in ordered {
            if low == Micros::ZERO || low > high {
                return Err(ConfigError::Time(name));
            }
        }
        let positive = [
            ("forget", self.forget),
            ("settle_delay", self.settle_delay),
            ("finger_pace", self.finger_pace),
            ("passive_pace", self.passive_pace),
            ("repair_pace", self.repair_pace),
            ("sweep_pace", self.sweep_pace),
            ("command_timeout", self.command_timeout),
            ("leave_timeout", self.leave_timeout),
            ("repair_bound", self.repair_bound),
        ];
        for (name, value) in positive {
            if value == Micros::ZERO {
                return Err(ConfigError::Time(name));
            }
        }
        if self.ops_max < 64 {
            return Err(ConfigError::TooSmall("ops_max"));
        }
        if self.page_bytes < 1_024 {
            return Err(ConfigError::TooSmall("page_bytes"));
        }
        if self.page_bytes as usize > crate::wire::PAGE_MAX {
            return Err(ConfigError::TooLarge("page_bytes"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_each_bound_is_checked() {
        let config = Config::default();
        assert_eq!(config.validate(), Ok(()));
        let broken = [
            Config {
                successors: 0,
                ..config.clone()
            },
            Config {
                successors: 65,
                ..config.clone()
            },
            Config {
                copies_max: 17,
                ..config.clone()
            },
            Config {
                copies: 9,
                ..config.clone()
            },
            Config {
                copies: 0,
                ..config.clone()
            },
            Config {
                ttl: Micros::ZERO,
                ..config.clone()
            },
            Config {
                ttl: Micros::from_secs(u64::MAX),
                ..config.clone()
            },
            Config {
                stabilise_min: Micros::from_secs(99),
                ..config.clone()
            },
            Config {
                forget: Micros::ZERO,
                ..config.clone()
            },
            Config {
                ops_max: 1,
                ..config.clone()
            },
            Config {
                page_bytes: 0,
                ..config.clone()
            },
        ];
        for config in broken {
            assert!(config.validate().is_err(), "{config:?}");
        }
    }
}
