//! What a run showed.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::ledger::Row;
use crate::oracle::Violation;

/// The outcome in one word.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// Every check held and every configured fault fired.
    Pass,
    /// A check found a violation, or an expectation was not met.
    Fail,
    /// Every check held, but a configured fault never fired: it proved nothing.
    Vacuous,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass => "PASS",
            Self::Fail => "FAIL",
            Self::Vacuous => "VACUOUS",
        })
    }
}

/// Everything a run reports, with the field names of its JSON document.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Report {
    /// The outcome.
    pub verdict: Verdict,
    /// The name of the scenario.
    pub scenario: String,
    /// The seed that replays it.
    pub seed: u64,
    /// The rolling hash of every event: 16 hex digits.
    #[serde(serialize_with = "hex")]
    pub trace_hash: u64,
    /// Live members at the end.
    pub nodes: usize,
    /// From the start to the end of the final checks.
    pub simulated_seconds: f64,
    /// Real time it took.
    pub wall_seconds: f64,
    /// How often a node handled something.
    pub events: u64,
    /// Of real time.
    pub events_per_second: f64,
    /// From the last fault to an ideal ring; absent if it never became one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub converged_seconds: Option<f64>,
    /// Looks at the ring as a whole.
    pub ring_checks: u64,
    /// Those in which the premise of the theorem held, so that its invariants had to.
    pub ring_checks_in_force: u64,
    /// Lookups of the workload and of the final checks.
    pub lookups: Lookups,
    /// Records after the last fault.
    pub records: Records,
    /// Operations of clients.
    pub clients: Clients,
    /// What it cost.
    pub cost: Cost,
    /// Messages, by what became of them.
    pub messages: Messages,
    /// Coming and going.
    pub population: Population,
    /// The first promises that were broken.
    pub violations: Vec<Violation>,
    /// How many breaches there were in all.
    pub violations_total: u64,
    /// Every configured fault and how often it happened.
    pub faults: Vec<Row>,
}

/// Lookups.
#[derive(Clone, Copy, PartialEq, Default, Debug, Serialize)]
pub struct Lookups {
    /// Begun by a live node.
    pub total: u64,
    /// Named a node that was the live owner at some instant of the lookup.
    pub ok: u64,
    /// Ended without an owner.
    pub failed: u64,
    /// Named another node; the sum of what follows.
    pub wrong: u64,
    /// Of those, passed over members that had no span granted yet.
    pub wrong_entering: u64,
    /// Passed over members that somebody had just taken for dead.
    pub wrong_suspected: u64,
    /// Passed over members that could not be heard, or not until just before.
    pub wrong_apart: u64,
    /// Named a member without an excuse: a violation.
    pub wrong_live: u64,
    /// Named a node that was no member: a violation.
    pub wrong_gone: u64,
    /// Peers that answered, per lookup.
    pub hops_mean: f64,
    /// Peers that did not, per lookup.
    pub timeouts_mean: f64,
    /// Median time of a lookup that named an owner.
    pub latency_p50_ms: f64,
    /// The same at the 99th percentile.
    pub latency_p99_ms: f64,
}

/// Acknowledged records, read after the last fault.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Records {
    /// Keys whose newest acknowledged write is a live value.
    pub acknowledged: u64,
    /// Of those, read as promised.
    pub readable: u64,
    /// Of those, lost with a majority of their holders.
    pub lost_explained: u64,
    /// How many the deaths of the run can have lost at most.
    pub lost_bound: u64,
    /// Of those, lost without a reason.
    pub lost_unexplained: u64,
}

/// Operations on records while the run was on.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Clients {
    /// Puts and deletes begun.
    pub writes: u64,
    /// Acknowledged.
    pub writes_ok: u64,
    /// Gets begun.
    pub reads: u64,
    /// Answered, "not found" included.
    pub reads_ok: u64,
    /// Answered with less than the newest acknowledged write.
    pub reads_stale: u64,
    /// Quorum reads compared with what had been seen before.
    pub quorum_reads: u64,
    /// Quorum reads that were not, because hosts were kept apart meanwhile.
    pub quorum_excused: u64,
    /// Ended with the process of the gateway.
    pub cut_off: u64,
}

/// Cost.
#[derive(Clone, Copy, PartialEq, Default, Debug, Serialize)]
pub struct Cost {
    /// Bytes of frames sent by a live node in a second, the warm-up not counted.
    pub bytes_per_node_second: f64,
}

/// Messages, copies made by faults included.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Messages {
    /// Put on a link.
    pub sent: u64,
    /// Handed to a process.
    pub delivered: u64,
    /// Lost on the way, or before a host that was down.
    pub dropped: u64,
}

/// Coming and going.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Population {
    /// Processes started, restarts included.
    pub started: u64,
    /// Rings founded: the first, and again where nobody was left who was a member.
    pub founded: u64,
    /// Processes ended without a word.
    pub crashed: u64,
    /// Writes that were issued and not answered when their process crashed, and survived it.
    pub writes_outlived: u64,
    /// The same, lost.
    pub writes_torn: u64,
    /// Nodes that left with a goodbye.
    pub left: u64,
    /// Live peers taken for dead.
    pub suspected: u64,
    /// Of those, after the last fault.
    pub suspected_at_rest: u64,
    /// Nodes that lost everybody and had to join again.
    pub lost: u64,
    /// Spans settled with too few complete holders.
    pub may_have_lost: u64,
    /// Times a node found that its wall clock is ahead of everybody's.
    pub clocks_doubted: u64,
}

fn hex<S: Serializer>(hash: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format!("{hash:016x}"))
}

impl fmt::Display for Report {
    /// The report for a person: the verdict first, then what it rests on.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}  {}  seed {}", self.verdict, self.scenario, self.seed)?;
        self.write_run(f)?;
        self.write_work(f)?;
        self.write_faults(f)
    }
}

impl Report {
    fn write_run(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            trace_hash, events, ..
        } = self;
        writeln!(f, "  trace      {trace_hash:016x}, {events} events")?;
        let (simulated, wall, speed) = (
            self.simulated_seconds,
            self.wall_seconds,
            self.events_per_second,
        );
        writeln!(
            f,
            "  time       {simulated:.1} s simulated in {wall:.2} s ({speed:.0} events/s)"
        )?;
        let converged = self.converged_seconds.map_or_else(
            || "never ideal".to_owned(),
            |after| format!("ideal after {after:.1} s"),
        );
        writeln!(
            f,
            "  ring       {} members at the end, {converged}; {} of {} looks with the invariants in force",
            self.nodes, self.ring_checks_in_force, self.ring_checks
        )?;
        let Population {
            started,
            founded,
            crashed,
            left,
            suspected,
            lost,
            ..
        } = self.population;
        writeln!(
            f,
            "  population {started} started, {founded} founded a ring, {crashed} crashed, {left} left, {suspected} \
             suspected, {lost} lost everybody"
        )?;
        let Messages {
            sent,
            delivered,
            dropped,
        } = self.messages;
        let cost = self.cost.bytes_per_node_second;
        writeln!(
            f,
            "  messages   {sent} sent, {delivered} delivered, {dropped} dropped; {cost:.0} B/s \
             per node"
        )
    }

    fn write_work(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Lookups {
            total,
            ok,
            failed,
            wrong,
            hops_mean,
            ..
        } = self.lookups;
        let (p50, p99) = (self.lookups.latency_p50_ms, self.lookups.latency_p99_ms);
        writeln!(
            f,
            "  lookups    {ok} ok of {total}, {failed} failed, {wrong} wrong; {hops_mean:.2} \
             hops, p50 {p50:.0} ms, p99 {p99:.0} ms"
        )?;
        let Lookups {
            wrong_entering,
            wrong_suspected,
            wrong_apart,
            wrong_live,
            wrong_gone,
            ..
        } = self.lookups;
        if wrong > 0 {
            writeln!(
                f,
                "  wrong      {wrong_apart} passed over members apart, {wrong_suspected} \
                 suspected, {wrong_entering} entering; {wrong_live} a live one without an \
                 excuse, {wrong_gone} no member"
            )?;
        }
        let Records {
            acknowledged,
            readable,
            lost_explained,
            lost_bound,
            lost_unexplained,
        } = self.records;
        writeln!(
            f,
            "  records    {readable} readable of {acknowledged} acknowledged, lost \
             {lost_explained} explained of at most {lost_bound}, {lost_unexplained} unexplained"
        )?;
        let Clients {
            writes,
            writes_ok,
            reads,
            reads_ok,
            reads_stale,
            quorum_reads,
            quorum_excused,
            cut_off,
        } = self.clients;
        writeln!(
            f,
            "  clients    {writes_ok} of {writes} writes, {reads_ok} of {reads} reads answered \
             ({reads_stale} stale), {quorum_reads} quorum reads compared, {quorum_excused} during \
             a partition, {cut_off} cut off"
        )
    }

    fn write_faults(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.faults {
            let at = row
                .at_seconds
                .map_or_else(String::new, |at| format!(" at {at:.0} s"));
            let fired = format!("{} fired {} of {}", row.kind, row.fired, row.configured);
            let note = if row.configured > 0 && row.fired == 0 {
                "  NEVER FIRED"
            } else {
                ""
            };
            writeln!(f, "  fault      {fired}{at}{note}")?;
        }
        for violation in &self.violations {
            let Violation {
                invariant,
                at_seconds,
                detail,
            } = violation;
            writeln!(f, "  VIOLATION  {invariant} at {at_seconds:.3} s: {detail}")?;
        }
        let more = self
            .violations_total
            .saturating_sub(self.violations.len() as u64);
        if more > 0 {
            writeln!(f, "  … and {more} more")?;
        }
        Ok(())
    }
}
