//! The thread that reads: whatever waits is answered from one snapshot, the short first.
//! Between that it looks for rot (`scrub`).

use chord_core::event::StoreError;

use crate::store::Answered;
use crate::store::disk::Host;
use crate::store::disk::fault::Fault;
use crate::store::disk::queue::{Job, Taken};
use crate::store::disk::scrub::Scrub;

/// Most commands answered from one snapshot: it keeps the pages of its moment from being
/// used again.
const BATCH: usize = 64;

/// Works until the queue is closed. Who moves a million records has many pages waiting here:
/// between two of them whatever is short is answered.
pub(super) fn run(host: &Host) {
    let mut scrub = Scrub::new();
    loop {
        if scrub.is_overdue() {
            scrub.go_on(host);
        }
        let first = match host.reads.take_within(scrub.pause()) {
            Taken::Job(job) => job,
            Taken::Closed => return,
            Taken::Nothing => {
                scrub.go_on(host);
                continue;
            }
        };
        let mut jobs = vec![first];
        while jobs.len() < BATCH
            && let Some(job) = host.reads.take_short()
        {
            jobs.push(job);
        }
        jobs.extend(host.reads.take_long());
        if host.broken.get().is_some() {
            host.answer(jobs.into_iter(), StoreError::Failed);
            continue;
        }
        let (short, long): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(|job| job.short);
        answer(host, short);
        for job in long {
            answer(host, vec![job]);
        }
    }
}

fn answer(host: &Host, jobs: Vec<Job>) {
    if jobs.is_empty() {
        return;
    }
    let (tokens, commands): (Vec<_>, Vec<_>) =
        jobs.into_iter().map(|job| (job.token, job.command)).unzip();
    let results = match host.engine.read(&commands) {
        Ok(answers) => answers
            .into_iter()
            .map(|answer| answer.ok_or(StoreError::Failed))
            .collect(),
        // The file could not be opened again for lack of room: nothing is lost.
        Err(Fault::NoRoom) => vec![Err(StoreError::Full); tokens.len()],
        Err(fault) => {
            host.break_down(fault);
            vec![Err(StoreError::Failed); tokens.len()]
        }
    };
    let answers = tokens.into_iter().zip(results);
    host.report(answers.map(|(token, result)| Answered { token, result }));
}
