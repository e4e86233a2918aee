//! Numbers of the variants, written down a second time: they never change.

use chord_core::message::{Refusal, Request, Response, Route, Verdict};

/// The list of numbers and the exhaustive match from one table, so that a new variant cannot
/// be left out of either.
macro_rules! kinds {
    ($all:ident, $kind:ident, $of:ident: $($variant:ident = $number:literal),* $(,)?) => {
        pub(crate) const $all: &[u8] = &[$($number),*];

        pub(crate) fn $kind(of: &$of) -> u8 {
            match of {
                $($of::$variant { .. } => $number,)*
            }
        }
    };
}

kinds!(REQUESTS, request, Request:
    Ping = 1, Route = 2, Neighbours = 3, Notify = 4, Stabilise = 5, Leave = 6, Yield = 7,
    Cede = 8,
    Put = 32, Get = 33,
    Replicate = 48, Fetch = 49,
    Pull = 64, List = 65, Mark = 66, Offer = 67, Discard = 68, Sums = 69,
);

kinds!(RESPONSES, response, Response:
    Done = 1, Route = 2, Neighbours = 3, Notified = 4,
    Written = 32, Got = 33,
    Replicated = 48, Fetched = 49,
    Page = 64, Heads = 65, Offered = 67, Sums = 69,
    Refused = 128,
);

kinds!(ROUTES, route, Route: Owner = 1, Successors = 2, Closer = 3);

kinds!(VERDICTS, verdict, Verdict: Keep = 1, Drop = 2, Send = 3, Wait = 4);

kinds!(REFUSALS, refusal, Refusal:
    NotMember = 1, NotOwner = 2, Leaving = 3,
    Settling = 16, Unavailable = 17, Overloaded = 18,
    ClockSkew = 32, Conflict = 33, Unsupported = 34, Invalid = 35,
    Full = 48, Storage = 49,
);
