//! Comparing one span with one holder: sums first, lists where they differ.
//!
//! ```text
//! ── Sums ──▶ their sums ──▶ own sums of the same parts ──▶ parts that differ, again
//! ── List ──▶ their heads ─▶ own heads of the same range ─▶ what differs
//!    Fetch what they have newer · Replicate what they lack · Discard what is surplus
//!    (a comparison that only learns fetches, and counts what they lack)
//! ```
//!
//! So the cost follows the difference. Where most parts differ, as with a holder that is
//! new, the span is listed at once. A few hundred differences make most parts of a large span
//! differ too: if a short first page shows that hardly any record does, as with a holder that
//! was away for a moment, the rest is compared by sums after all.
//!
//! A holder that answers is waited for as long as its answers get somewhere: a comparison
//! has [`GRACE`], and [`GRACE_EACH`] more for every head that was of use. One that drips, or
//! pings and never lists, is *waived* after some rounds, like the dead: a single member must
//! not keep a span unsettled.

use alloc::vec;
use alloc::vec::Vec;

use crate::event::{CallError, Class, StoreAnswer, StoreCommand, StoreError};
use crate::id::Span;
use crate::message::{Head, Key, Mark, Record, Refusal, Request, Response, size_of_all};
use crate::node::{Cx, Node};
use crate::peer::Peer;
use crate::repair::SOURCE;
use crate::sums::{self, PartSum};
use crate::then::{Then, heads, page};
use crate::time::{Instant, Micros};

/// The first page of a list is this share of one: it shows whether to go on.
const FIRST_SHARE: u32 = 8;
/// Hardly any record differs: less than one of so many.
const SPARSE: usize = 16;
/// Leaves in which sums find a few differences at less cost than a list.
const LARGE: u32 = (sums::PARTS * sums::PARTS) as u32;
/// Keys asked for at once; what does not fit into a page is asked for again.
const FETCH_BATCH: usize = 512;
/// Records read at once to be pushed, and their bytes: a share of a page, so that the writes
/// of clients at the holder do not wait long behind it.
const PUSH_BATCH: usize = 512;
const PUSH_BYTES: u32 = 96 << 10;
/// Batches on their way to one holder: while one is stored there, the next is read here.
const PUSHES: u8 = 2;
/// Calls in a row that may be lost: a message on its way is, now and then, and a comparison of
/// many steps must not begin anew for each.
const LOST_MAX: u8 = 1;
/// What a comparison may take before anything has come of it.
const GRACE: Micros = Micros::from_secs(20);
/// How much longer for each of our own heads that was compared.
const GRACE_EACH: Micros = Micros::from_millis(1);
/// How much longer for each answered step of a comparison by sums, for so many of them.
const GRACE_STEP: Micros = Micros::from_millis(50);
const STEPS_MAX: u16 = 2_048;
/// How much longer for each record that moved.
const GRACE_MOVED: Micros = Micros::from_millis(20);

/// How far one holder is.
#[derive(Clone, Debug)]
pub(crate) struct Compare {
    pub(crate) peer: Peer,
    pub(crate) rank: u8,
    /// Only what it knows matters now: what it lacks, a later round brings. Whoever has just
    /// gained a span serves it the sooner.
    pub(crate) learns: bool,
    pub(crate) progress: Progress,
    pub(crate) mark: Option<Mark>,
    /// Parts whose sums are to be compared, the next one last.
    todo: Vec<Span>,
    /// The part being listed.
    listing: Option<Span>,
    /// A list showed that hardly any record differs.
    sparse: bool,
    /// The end of patience; what is of use moves it.
    until: Instant,
    next: Option<Key>,
    /// In the order of keys.
    want: Vec<Key>,
    push: Vec<Key>,
    /// Batches of `push` being read or on their way.
    pushes: u8,
    /// Calls in a row that were not answered.
    unanswered: u8,
    /// Steps that were.
    steps: u16,
    surplus: Vec<Head>,
    pub(crate) pulled: u64,
    /// Copies that it was found to lack, and how many of them it has stored since.
    pub(crate) missing: u64,
    pub(crate) delivered: u64,
    /// It claims to have what it does not give: nothing is equal before that is cleared up.
    pub(crate) withheld: bool,
    /// It did not take what it lacks.
    pub(crate) refused: bool,
}

/// How a comparison stands, or ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Progress {
    Running,
    /// Every page was compared.
    Done,
    /// Dead by the rules of failure detection.
    Dead,
    /// Alive, and did not answer or not sensibly.
    Silent,
    /// Alive, answered, and got nowhere.
    Slow,
    /// Our own store failed: nothing can be said of the holder.
    OwnStore,
}

impl Compare {
    /// An answer brought the comparison on.
    fn step(&mut self) {
        if self.steps < STEPS_MAX {
            self.steps += 1;
            self.until = self.until + GRACE_STEP;
        }
    }

    /// Whether it ended for want of answers, and not for what they said.
    pub(crate) fn was_silent(&self) -> bool {
        self.progress == Progress::Silent && self.unanswered > LOST_MAX
    }

    /// Whether its answers leave open what it has.
    pub(crate) fn may_know_more(&self) -> bool {
        self.progress != Progress::Done || self.withheld
    }

    /// Whether nothing of a part can be learned here, pushed or dropped. What a holder of
    /// this rank should not have is equal where it is gone, and surplus where it is not.
    fn is_equal(&self, part: u8, ours: &[PartSum], theirs: &[PartSum], clean: bool) -> bool {
        let of = |sums: &[PartSum], copies: u8| {
            sums.iter()
                .find(|sum| sum.part == part && sum.copies == copies)
                .map(|sum| sum.sum)
        };
        let sums = ours.iter().chain(theirs).filter(|sum| sum.part == part);
        sums.map(|sum| sum.copies).all(|copies| {
            let (own, other) = (of(ours, copies), of(theirs, copies));
            if self.rank < copies {
                own == other
            } else if other.is_none() {
                true
            } else {
                own == other && (self.rank == SOURCE || !clean)
            }
        })
    }

    /// Ends a list whose last page, of so many records, hardly had a difference.
    fn go_on_by_sums(&mut self, different: usize, listed: usize) {
        if let Some(listing) = self.listing
            && let Some(last) = &self.next
            && different * SPARSE < listed
        {
            self.todo.push(Span::new(last.position(), listing.upto));
            self.listing = None;
            self.next = None;
            self.sparse = true;
        }
    }

    pub(crate) fn new(peer: Peer, rank: u8, span: Span, learns: bool, now: Instant) -> Self {
        Self {
            peer,
            rank,
            learns,
            progress: Progress::Running,
            mark: None,
            todo: vec![span],
            listing: None,
            sparse: false,
            until: now + GRACE,
            next: None,
            want: Vec::new(),
            push: Vec::new(),
            pushes: 0,
            unanswered: 0,
            steps: 0,
            surplus: Vec::new(),
            pulled: 0,
            missing: 0,
            delivered: 0,
            withheld: false,
            refused: false,
        }
    }
}

impl Node {
    /// The next thing to do with one holder.
    pub(crate) fn compare_step(&mut self, cx: &mut Cx, round: u64, at: u8) {
        let deadline = cx.now.mono + self.config.timeout_max;
        let Some(compare) = self.repair.compare(round, at) else {
            return;
        };
        let peer = compare.peer;
        if compare.until <= cx.now.mono {
            compare.progress = Progress::Slow;
            self.end_round_if_over(cx);
            return;
        }
        if !compare.want.is_empty() {
            let keys: Vec<Key> = compare.want.iter().take(FETCH_BATCH).cloned().collect();
            let wanted = u16::try_from(keys.len()).unwrap_or(u16::MAX);
            let then = Then::Fetched { round, at, wanted };
            self.call_until(
                cx,
                peer,
                Request::Fetch { keys },
                Class::Repair,
                0,
                deadline,
                then,
            );
            return;
        }
        if !compare.push.is_empty() || compare.pushes > 0 {
            self.push_batches(cx, round, at);
            return;
        }
        if !compare.surplus.is_empty() {
            let heads = core::mem::take(&mut compare.surplus);
            let request = Request::Discard { heads };
            self.call_until(cx, peer, request, Class::Repair, 0, deadline, Then::Told);
        }
        self.next_part(cx, round, at);
    }

    /// Reads what the holder lacks, as long as not too much is on its way.
    fn push_batches(&mut self, cx: &mut Cx, round: u64, at: u8) {
        let bytes_max = self.config.page_bytes.min(PUSH_BYTES);
        while let Some(compare) = self.repair.compare(round, at)
            && compare.pushes < PUSHES
            && !compare.push.is_empty()
        {
            compare.pushes += 1;
            let batch = compare.push.len().min(PUSH_BATCH);
            let keys: Vec<Key> = compare.push.drain(..batch).collect();
            let then = Then::PushRead {
                round,
                at,
                keys: keys.clone(),
            };
            self.store(cx, StoreCommand::GetMany { keys, bytes_max }, then);
        }
    }

    /// A batch is no longer on its way.
    fn push_ended(&mut self, round: u64, at: u8) {
        if let Some(compare) = self.repair.compare(round, at) {
            compare.pushes = compare.pushes.saturating_sub(1);
        }
    }

    /// Goes on listing, or takes the next part: its sums, or its list if it is small.
    fn next_part(&mut self, cx: &mut Cx, round: u64, at: u8) {
        let bytes_max = self.config.page_bytes;
        let deadline = cx.now.mono + self.config.timeout_max;
        let Some(compare) = self.repair.compare(round, at) else {
            return;
        };
        let peer = compare.peer;
        if compare.listing.is_none() {
            let Some(span) = compare.todo.pop() else {
                compare.progress = Progress::Done;
                self.end_round_if_over(cx);
                return;
            };
            if sums::leaves(span) > 1 {
                let then = Then::Summed { round, at, span };
                let request = Request::Sums { span };
                self.call_until(cx, peer, request, Class::Repair, 0, deadline, then);
                return;
            }
            compare.listing = Some(span);
        }
        let Some(span) = compare.listing else {
            return;
        };
        let after = compare.next.clone();
        let is_first = after.is_none() && !compare.sparse;
        let share = if is_first { FIRST_SHARE } else { 1 };
        let bytes_max = bytes_max / share;
        let request = Request::List {
            span,
            after: after.clone(),
            bytes_max,
        };
        let then = Then::Listed { round, at, after };
        self.call_until(cx, peer, request, Class::Repair, 0, deadline, then);
    }

    /// The sums of a part have come: read our own.
    pub(crate) fn summed(
        &mut self,
        cx: &mut Cx,
        round: u64,
        at: u8,
        span: Span,
        result: Result<Response, CallError>,
    ) {
        let whole = self.repair.span(round) == Some(span);
        if self.is_to_be_asked_again(cx, round, at, &result) {
            if let Some(compare) = self.repair.compare(round, at) {
                compare.todo.push(span);
            }
            self.compare_step(cx, round, at);
            return;
        }
        let Ok(Response::Sums { sums, mark }) = result else {
            self.compare_failed(cx, round, at);
            return;
        };
        let Some(compare) = self.repair.compare(round, at) else {
            return;
        };
        if whole {
            compare.mark = mark;
        }
        let then = Then::SummedOwn {
            round,
            at,
            span,
            theirs: sums,
        };
        self.store(cx, StoreCommand::Sums { span }, then);
    }

    /// Both sums of a part are here: which of its parts differ?
    pub(crate) fn summed_own(
        &mut self,
        cx: &mut Cx,
        round: u64,
        at: u8,
        span: Span,
        theirs: &[PartSum],
        result: Result<StoreAnswer, StoreError>,
    ) {
        let Ok(StoreAnswer::Sums { sums: ours }) = result else {
            self.own_store_failed(cx, round, at);
            return;
        };
        let clean = self.may_drop_surplus();
        let Some(compare) = self.repair.compare(round, at) else {
            return;
        };
        compare.step();
        let parts = sums::parts(span);
        let different: Vec<(u8, Span)> = (0_u8..)
            .zip(parts.iter().copied())
            .filter(|(part, _)| !compare.is_equal(*part, &ours, theirs, clean))
            .collect();
        let most = |count: usize| count > parts.len() / 2 && parts.len() > 2;
        // One side has nothing there: no sum of a smaller part could be equal.
        let has = |sums: &[PartSum], part: u8| sums.iter().any(|sum| sum.part == part);
        let one_sided = different
            .iter()
            .filter(|&&(part, _)| !has(&ours, part) || !has(theirs, part));
        let by_sums = compare.sparse && sums::leaves(span) > LARGE && !most(one_sided.count());
        if most(different.len()) && !by_sums {
            compare.listing = Some(span);
        } else {
            let parts = different.into_iter().rev().map(|(_, part)| part);
            compare.todo.extend(parts);
        }
        self.compare_step(cx, round, at);
    }

    /// Our own disk did not do its part: the round cannot be right, and it is nobody else's
    /// fault.
    fn own_store_failed(&mut self, cx: &mut Cx, round: u64, at: u8) {
        if let Some(compare) = self.repair.compare(round, at) {
            compare.progress = Progress::OwnStore;
        }
        self.end_round_if_over(cx);
    }

    /// Counts the calls in a row that got no answer, of one who is not dead: true if this one
    /// is to be repeated.
    fn is_to_be_asked_again(
        &mut self,
        cx: &Cx,
        round: u64,
        at: u8,
        result: &Result<Response, CallError>,
    ) -> bool {
        let lost = matches!(result, Err(CallError::TimedOut | CallError::Unreachable));
        let dead = |peer: Peer| self.contacts.is_dead(peer, cx.now.mono);
        let Some(compare) = self.repair.compare(round, at) else {
            return false;
        };
        compare.unanswered = if lost { compare.unanswered + 1 } else { 0 };
        lost && compare.unanswered <= LOST_MAX && !dead(compare.peer)
    }

    fn compare_failed(&mut self, cx: &mut Cx, round: u64, at: u8) {
        let Some(compare) = self.repair.compare(round, at) else {
            return;
        };
        let peer = compare.peer;
        let dead = self.contacts.is_dead(peer, cx.now.mono);
        let Some(compare) = self.repair.compare(round, at) else {
            return;
        };
        compare.progress = if dead {
            Progress::Dead
        } else {
            Progress::Silent
        };
        self.end_round_if_over(cx);
    }

    /// A page of a holder's list has come: read our own of the same range.
    pub(crate) fn listed(
        &mut self,
        cx: &mut Cx,
        round: u64,
        at: u8,
        after: Option<Key>,
        result: Result<Response, CallError>,
    ) {
        let whole = self.repair.span(round);
        if self.is_to_be_asked_again(cx, round, at, &result) {
            self.compare_step(cx, round, at);
            return;
        }
        let Ok(Response::Heads { heads, more, mark }) = result else {
            self.compare_failed(cx, round, at);
            return;
        };
        let Some(compare) = self.repair.compare(round, at) else {
            return;
        };
        let Some(span) = compare.listing else {
            return;
        };
        if whole == Some(span) && after.is_none() {
            compare.mark = mark;
        }
        let begin = after.as_ref().map_or(span.after, Key::position);
        let ordered = heads
            .windows(2)
            .all(|pair| span.rank(pair[0].key.position()) <= span.rank(pair[1].key.position()));
        let rest = Span::new(begin, span.upto);
        if !ordered || !heads.iter().all(|head| rest.contains(head.key.position())) {
            self.compare_failed(cx, round, at);
            return;
        }
        let last = heads.last().map(|head| head.key.clone()).filter(|_| more);
        compare.next.clone_from(&last);
        if last.is_none() {
            compare.listing = None;
        }
        let upto = last.as_ref().map_or(span.upto, Key::position);
        if upto == begin && after.is_some() {
            self.compare_step(cx, round, at);
            return;
        }
        let command = StoreCommand::List {
            span: Span::new(begin, upto),
            after: None,
            // Where we have far more than they, their page is compared in parts.
            bytes_max: self.config.page_bytes.saturating_mul(2),
        };
        let then = Then::ListedOwn {
            round,
            at,
            span,
            theirs: heads,
        };
        self.store(cx, command, then);
    }

    /// Both lists of a range are here: what differs?
    pub(crate) fn listed_own(
        &mut self,
        cx: &mut Cx,
        round: u64,
        at: u8,
        span: Span,
        mut theirs: Vec<Head>,
        result: Result<StoreAnswer, StoreError>,
    ) {
        let Some((mut ours, truncated)) = heads(result) else {
            self.own_store_failed(cx, round, at);
            return;
        };
        let clean = self.may_drop_surplus();
        let Some(compare) = self.repair.compare(round, at) else {
            return;
        };
        compare.step();
        compare.until = compare.until + GRACE_EACH.times(ours.len() as u64);
        if let Some(last) = ours.last().filter(|_| truncated) {
            // The rest of their page comes again.
            let upto = span.rank(last.key.position());
            theirs.retain(|head| span.rank(head.key.position()) <= upto);
            compare.next = Some(last.key.clone());
            compare.listing = Some(span);
        }
        ours.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        theirs.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        let should_hold = |copies: u8| compare.rank < copies;
        let find = |list: &[Head], key: &Key| -> Option<Head> {
            let at = list.binary_search_by(|head| head.key.cmp(key)).ok()?;
            list.get(at).cloned()
        };
        for head in &theirs {
            match find(&ours, &head.key) {
                Some(own) if own.version >= head.version => {
                    let surplus = !should_hold(own.copies) && compare.rank != SOURCE;
                    if surplus && clean {
                        compare.surplus.push(head.clone());
                    }
                }
                _ => compare.want.push(head.key.clone()),
            }
        }
        let mut lacking = 0;
        for own in &ours {
            let known = find(&theirs, &own.key);
            let newer = known.is_none_or(|known| known.version < own.version);
            if newer && compare.rank != SOURCE && should_hold(own.copies) {
                compare.missing += 1;
                lacking += 1;
                if !compare.learns {
                    compare.push.push(own.key.clone());
                }
            }
        }
        let different = compare.want.len() + lacking + compare.surplus.len();
        compare.go_on_by_sums(different, ours.len().max(theirs.len()));
        self.compare_step(cx, round, at);
    }

    pub(crate) fn fetched(
        &mut self,
        cx: &mut Cx,
        round: u64,
        at: u8,
        wanted: u16,
        result: Result<Response, CallError>,
    ) {
        if self.is_to_be_asked_again(cx, round, at, &result) {
            self.compare_step(cx, round, at);
            return;
        }
        let Ok(Response::Fetched { records, .. }) = result else {
            self.compare_failed(cx, round, at);
            return;
        };
        let Some(compare) = self.repair.compare(round, at) else {
            return;
        };
        if records.is_empty() {
            // Gone meanwhile, or not given: the next round looks again.
            let wanted = usize::from(wanted).min(compare.want.len());
            compare.want.drain(..wanted);
            compare.withheld = true;
            self.compare_step(cx, round, at);
            return;
        }
        // In order of keys, like the lists they come from.
        let asked = |record: &Record| compare.want.binary_search(&record.key).is_ok();
        let sane = records.iter().all(|record| {
            asked(record) && record.header.version.time < 1 << 63 && record.header.copies > 0
        });
        if !sane {
            self.compare_failed(cx, round, at);
            return;
        }
        compare.pulled = compare.pulled.saturating_add(records.len() as u64);
        compare.until = compare.until + GRACE_MOVED.times(records.len() as u64);
        let mut given: Vec<&Key> = records.iter().map(|record| &record.key).collect();
        given.sort_unstable();
        compare
            .want
            .retain(|key| given.binary_search(&key).is_err());
        let fetched = &mut self.repair.moved.fetched;
        *fetched = fetched.saturating_add(size_of_all(&records));
        for record in &records {
            self.clock.saw(record.header.version.time, cx.now);
        }
        let records = records
            .into_iter()
            .map(|record| self.clamp(record, cx))
            .collect();
        self.store(
            cx,
            StoreCommand::Put { records },
            Then::FetchedStored { round, at },
        );
    }

    pub(crate) fn fetched_stored(
        &mut self,
        cx: &mut Cx,
        round: u64,
        at: u8,
        result: Result<StoreAnswer, StoreError>,
    ) {
        if result.is_err() {
            self.own_store_failed(cx, round, at);
        } else {
            self.compare_step(cx, round, at);
        }
    }

    pub(crate) fn push_read(
        &mut self,
        cx: &mut Cx,
        round: u64,
        at: u8,
        keys: Vec<Key>,
        result: Result<StoreAnswer, StoreError>,
    ) {
        let Some((records, more)) = page(result) else {
            self.own_store_failed(cx, round, at);
            return;
        };
        let deadline = cx.now.mono + self.config.timeout_max;
        let Some(compare) = self.repair.compare(round, at) else {
            return;
        };
        if let Some(last) = records.last().filter(|_| more) {
            let unread = keys.into_iter().skip_while(|key| *key != last.key).skip(1);
            compare.push.extend(unread);
        }
        compare.until = compare.until + GRACE_MOVED.times(records.len() as u64);
        let peer = compare.peer;
        if records.is_empty() {
            self.push_ended(round, at);
            self.compare_step(cx, round, at);
            return;
        }
        let keys = records.iter().map(|record| record.key.clone()).collect();
        let request = Request::Replicate {
            records,
            fresh: false,
        };
        let then = Then::Pushed { round, at, keys };
        self.call_until(cx, peer, request, Class::Repair, 0, deadline, then);
    }

    pub(crate) fn pushed(
        &mut self,
        cx: &mut Cx,
        round: u64,
        at: u8,
        keys: Vec<Key>,
        result: Result<Response, CallError>,
    ) {
        self.push_ended(round, at);
        if self.is_to_be_asked_again(cx, round, at, &result) {
            if let Some(compare) = self.repair.compare(round, at) {
                compare.push.extend(keys);
            }
            self.compare_step(cx, round, at);
            return;
        }
        match result {
            Ok(Response::Replicated { newer }) => {
                if let Some(compare) = self.repair.compare(round, at) {
                    let count = keys.len() as u64;
                    compare.delivered = compare.delivered.saturating_add(count);
                    compare.withheld |= !newer.is_empty();
                }
                self.compare_step(cx, round, at);
            }
            Ok(Response::Refused(refusal)) => {
                // It leaves, or has no room: nothing more to push there in this round.
                if let Some(compare) = self.repair.compare(round, at) {
                    compare.push.clear();
                    compare.refused = true;
                    let peer = compare.peer;
                    if refusal == Refusal::Leaving {
                        self.holder_leaves(cx, peer);
                    }
                }
                self.compare_step(cx, round, at);
            }
            Ok(_) | Err(_) => self.compare_failed(cx, round, at),
        }
    }
}
