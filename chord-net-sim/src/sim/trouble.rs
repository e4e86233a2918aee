//! Disks that do not take every write.
//!
//! What a real host makes of it is played here too: a full disk is asked again, a failed write
//! is final for its process, which ends a moment later.

use chord_core::event::{StoreAnswer, StoreCommand, StoreError};

use super::churn::Control;
use super::world::World;
use crate::chance::Purpose;
use crate::host::Trouble;
use crate::plan::{DiskFate, Whom};

/// How long a process goes on after a write of its disk has failed, in microseconds: as long as
/// a real host takes to say goodbye.
const ENDS_WITHIN: u64 = 2_000_000;

impl World {
    /// Something is wrong with the disks of some hosts from now on.
    pub(super) fn trouble(&mut self, whom: &Whom, trouble: Trouble) {
        for host in self.targets(whom) {
            self.hosts[host as usize].trouble = Some(trouble);
        }
    }

    /// Carries out a write, if the disk takes it.
    pub(super) fn write_disk(
        &mut self,
        host: u32,
        command: StoreCommand,
    ) -> Result<StoreAnswer, StoreError> {
        let state = &mut self.hosts[host as usize];
        match state.trouble {
            Some(Trouble::Full { until, .. }) if until <= self.now => state.trouble = None,
            Some(Trouble::Full { row, .. }) if holds_values(&command) => {
                self.ledger.fire(row);
                self.disturbed();
                return Err(StoreError::Full);
            }
            Some(Trouble::Failing { back, ending, row }) => {
                let ending_now = Trouble::Failing {
                    back,
                    ending: true,
                    row,
                };
                state.trouble = Some(ending_now);
                if !ending {
                    self.ledger.fire(row);
                    let disk = DiskFate::Torn;
                    let end = Control::Crash { host, disk, back };
                    self.schedule(self.now + ENDS_WITHIN, end);
                }
                // Nobody knows of a write that failed whether it is there.
                if self.stream.below(Purpose::Torn, 2) == 0 {
                    self.change_disk(host, command);
                }
                return Err(StoreError::Failed);
            }
            Some(Trouble::Full { .. }) | None => {}
        }
        Ok(self.change_disk(host, command))
    }
}

/// Whether a write needs room: tombstones, discards and sweeps make some.
fn holds_values(command: &StoreCommand) -> bool {
    match command {
        StoreCommand::Put { records } => records.iter().any(|record| !record.header.tombstone),
        _ => false,
    }
}
