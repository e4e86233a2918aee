//! Many walks, on all cores.

use std::io::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use chord_net_sim::walk::{Sum, Walk};

/// Walks with the seeds `1..=count`, on all cores; what they met, and what was broken first.
pub(crate) fn take(count: u64, walk: impl Fn(u64) -> Walk + Sync) -> (Sum, Option<String>) {
    let next = AtomicU64::new(1);
    let met = Mutex::new((Sum::default(), None::<(u64, String)>));
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > count {
                        break;
                    }
                    let walk = walk(seed);
                    let walked = walk.run();
                    let mut met = met.lock().expect("no thread panics");
                    met.0.add(&walked);
                    let earlier = met.1.as_ref().is_none_or(|(first, _)| seed < *first);
                    if let Some(what) = walked.violation.filter(|_| earlier) {
                        met.1 = Some((seed, format!("{what}, on {walk:?}")));
                    }
                }
            });
        }
    });
    let (sum, broken) = met.into_inner().expect("no thread panics");
    (sum, broken.map(|(_, what)| what))
}

/// Past the capture of the test runner: the figures belong into every run's output.
pub(crate) fn tell(sum: &Sum) {
    writeln!(std::io::stderr(), "{sum}").expect("standard error is open");
}
