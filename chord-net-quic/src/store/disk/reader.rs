//! The threads that read: one for what is short, which must not wait, and one for pages and
//! lists, which looks for rot in between (`scrub`).

use chord_core::event::StoreError;

use crate::store::Answered;
use crate::store::disk::Host;
use crate::store::disk::fault::Fault;
use crate::store::disk::queue::{Job, Taken};
use crate::store::disk::scrub::Scrub;

/// Most commands answered from one snapshot: it keeps the pages of its moment from being
/// used again.
const BATCH: usize = 64;

/// Answers what is short, until the queue is closed: whatever waits, from one snapshot.
pub(super) fn read(host: &Host) {
    while let Some(first) = host.reads.take() {
        let mut jobs = vec![first];
        while jobs.len() < BATCH
            && let Some(job) = host.reads.take_now()
        {
            jobs.push(job);
        }
        answer(host, jobs);
    }
}

/// Answers what takes its time, one by one, until the queue is closed. Who moves a million
/// records has many pages waiting here.
pub(super) fn page(host: &Host) {
    let mut scrub = Scrub::new();
    loop {
        if scrub.is_overdue() {
            scrub.go_on(host);
        }
        match host.pages.take_within(scrub.pause()) {
            Taken::Job(job) => answer(host, vec![job]),
            Taken::Closed => return,
            Taken::Nothing => scrub.go_on(host),
        }
    }
}

fn answer(host: &Host, jobs: Vec<Job>) {
    if host.broken.get().is_some() {
        host.answer(jobs.into_iter(), StoreError::Failed);
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
