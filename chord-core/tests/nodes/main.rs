//! A few whole nodes in one process, driven through the public interface only.

mod insiders;
mod pair;
mod schedules;
mod world;
