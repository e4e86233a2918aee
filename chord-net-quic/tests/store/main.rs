//! The persistent store: against a model, across crashes, on disks that fail or rot.

mod clocks;
mod crash;
mod faults;
mod images;
mod model;
mod rot;
mod support;
mod tape;
mod threads;
