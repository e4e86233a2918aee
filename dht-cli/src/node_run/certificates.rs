//! Certificates while the host runs: read again when told or when a file changed, and an
//! alarm before the own one expires.
//!
//! The node itself warns of everything that should be mended, from 30 % of a certificate's
//! life on. What is added here is the alarm at 10 %: an error, to be told from a warning by
//! whatever reads the log.

use std::path::Path;
use std::time::{Duration, SystemTime};

use chord_net_quic::identity::{self, Identity, IdentityFiles, Warning};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::lives::Lives;

/// Pace of looking at the files: a revocation must be in force everywhere within a minute.
const LOOK: Duration = Duration::from_secs(10);
/// Pace of repeating the alarm.
const REPEAT: Duration = Duration::from_secs(3_600);
/// At this part of its life left, in percent, a certificate's end is an alarm.
const ALARM_PERCENT: u8 = 10;

/// Watches the files of an identity.
pub(super) struct Watch {
    identity: Identity,
    files: IdentityFiles,
    lives: Lives,
    ticks: Interval,
    seen: [Stamp; 4],
    alarmed: Option<Alarm>,
}

/// What was said last, and when.
#[derive(Clone, Copy, Debug)]
struct Alarm {
    at: Instant,
    expired: bool,
}

/// When a file was changed, and its length; nothing while it is absent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stamp(Option<(SystemTime, u64)>);

impl Stamp {
    fn of(path: &Path) -> Self {
        let read = std::fs::metadata(path).and_then(|data| Ok((data.modified()?, data.len())));
        Self(read.ok())
    }
}

impl Watch {
    pub(super) fn new(identity: Identity, files: IdentityFiles, lives: Lives) -> Self {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let seen = stamps(&files);
        Self {
            identity,
            files,
            lives,
            ticks,
            seen,
            alarmed: None,
        }
    }

    /// Resolves when a file is another one than it was, and raises the alarm meanwhile.
    pub(super) async fn changed(&mut self) {
        loop {
            self.ticks.tick().await;
            self.alarm();
            let stamps = stamps(&self.files);
            if stamps != self.seen {
                self.seen = stamps;
                return;
            }
        }
    }

    /// Puts the files in force, or says why not.
    pub(super) async fn reload(&mut self) {
        match self.lives.node().reload(&self.files).await {
            Ok(()) => {
                tracing::info!("certificates and revocation lists read again");
                self.alarmed = None;
                self.alarm();
            }
            Err(error) => {
                tracing::error!("the files of [tls] stay as they were in force: {error}");
            }
        }
    }

    /// Says that the certificate is about to expire, at once and then every hour, and that it
    /// has.
    pub(super) fn alarm(&mut self) {
        let mut warnings = self.identity.warnings(identity::now());
        warnings.retain(is_urgent);
        let expired = warnings.iter().any(is_over);
        let said = |alarm: Alarm| alarm.at.elapsed() < REPEAT && alarm.expired == expired;
        if self.alarmed.is_some_and(said) {
            return;
        }
        for warning in warnings {
            tracing::error!("{warning}");
            let at = Instant::now();
            self.alarmed = Some(Alarm { at, expired });
        }
    }
}

fn is_over(warning: &Warning) -> bool {
    matches!(warning, Warning::CertificateExpires { expired: true, .. })
}

fn is_urgent(warning: &Warning) -> bool {
    match warning {
        Warning::CertificateExpires { percent_left, .. } => *percent_left <= ALARM_PERCENT,
        // Out of date it costs freshness, in strict mode every connection.
        Warning::CrlExpires {
            percent_left,
            strict,
            ..
        } => *strict && *percent_left <= ALARM_PERCENT,
    }
}

fn stamps(files: &IdentityFiles) -> [Stamp; 4] {
    [&files.ca, &files.cert, &files.key, &files.crl].map(|path| Stamp::of(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_tenth_of_a_life_is_urgent() {
        let expires = |percent_left| Warning::CertificateExpires {
            percent_left,
            not_after: identity::now(),
            expired: percent_left == 0,
        };
        assert!(!is_urgent(&expires(11)));
        assert!(is_urgent(&expires(10)) && is_urgent(&expires(0)));
        assert!(is_over(&expires(0)) && !is_over(&expires(1)));
    }

    #[test]
    fn the_end_of_a_list_is_urgent_where_it_shuts_everybody_out() {
        let expires = |percent_left, strict| Warning::CrlExpires {
            authority: "ours".to_owned(),
            percent_left,
            next_update: identity::now(),
            strict,
        };
        assert!(is_urgent(&expires(0, true)) && is_urgent(&expires(10, true)));
        assert!(!is_urgent(&expires(11, true)) && !is_urgent(&expires(0, false)));
    }

    #[test]
    fn a_file_that_changes_comes_or_goes_has_another_stamp() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        let absent = Stamp::of(&path);
        std::fs::write(&path, "one").expect("written");
        let there = Stamp::of(&path);
        assert_ne!(absent, there);
        assert_eq!(there, Stamp::of(&path));
        std::fs::write(&path, "three").expect("written");
        assert_ne!(there, Stamp::of(&path));
        std::fs::remove_file(&path).expect("removed");
        assert_eq!(absent, Stamp::of(&path));
    }
}
