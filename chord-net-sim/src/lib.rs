//! A deterministic simulator for [`chord_core`]: many nodes, one clock, faults, checkers.
//!
//! The production core runs unchanged. What a host would bring (links, a disk, clocks,
//! clients) is simulated around it, every choice is a draw from one seed, and an oracle
//! that knows everything checks what the ring promises. The same plan and seed give the
//! same events, and the same trace hash, on any machine.
//!
//! ```text
//! plan ─▶ World ── takes the next entry ─▶ Node::handle ── actions ─▶ links, disks, clients
//!            ▲                                                          │
//!            └────────── messages, wakes, answers, faults ◀─────────────┘
//! oracle: reads views and disks, asks nobody ─▶ report: PASS, FAIL or VACUOUS
//! ```
//!
//! Ten nodes, one of which crashes without a word: the ring closes, and what was stored can
//! be read.
//!
//! ```
//! use chord_net_sim::plan::Plan;
//! use chord_net_sim::report::Verdict;
//! use chord_net_sim::sim;
//!
//! let plan = Plan::from_toml(
//!     r#"
//!     [run]
//!     duration = "1m"
//!
//!     [nodes]
//!     count = 10
//!
//!     [work]
//!     records = { rate = "5/s", mix = { put = 1, get = 1 }, keys = "uniform" }
//!
//!     [[fault]]
//!     at = "30s"
//!     kind = "crash"
//!     nodes = 1
//!     "#,
//!     "ten nodes, one crash",
//!     &[],
//! )?;
//! let report = sim::run(&plan, 42, &mut |_| {});
//! assert_eq!(report.verdict, Verdict::Pass, "{report}");
//! assert_eq!(report.nodes, 9);
//! assert_eq!(report.records.lost_unexplained, 0);
//! # Ok::<(), chord_net_sim::plan::PlanError>(())
//! ```

pub mod chance;
pub mod disk;
pub mod host;
pub mod kind;
pub mod ledger;
pub mod link;
pub mod oracle;
pub mod plan;
pub mod queue;
pub mod report;
pub mod scenarios;
pub mod sim;
pub mod trace;
pub mod walk;
