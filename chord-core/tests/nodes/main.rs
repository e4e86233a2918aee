//! A few whole nodes in one process, driven through the public interface only.

mod clocks;
mod full;
mod insiders;
mod misses;
mod moves;
mod pair;
mod repairs;
mod schedules;
mod world;
