//! The section `[ring]`: every option of the core, by its name.

use chord_core::config::Config;
use chord_core::time::Micros;

use super::PlanError;
use super::section::Section;

/// Reads the options that are named and leaves the others at their defaults.
pub(super) fn read(mut section: Section) -> Result<Config, PlanError> {
    let mut config = Config::default();
    let times: [(&'static str, &mut Micros); 17] = [
        ("ttl", &mut config.ttl),
        ("ttl_max", &mut config.ttl_max),
        ("forget", &mut config.forget),
        ("stabilise_min", &mut config.stabilise_min),
        ("stabilise_max", &mut config.stabilise_max),
        ("settle_delay", &mut config.settle_delay),
        ("finger_pace", &mut config.finger_pace),
        ("passive_pace", &mut config.passive_pace),
        ("repair_pace", &mut config.repair_pace),
        ("sweep_pace", &mut config.sweep_pace),
        ("timeout_min", &mut config.timeout_min),
        ("timeout_first", &mut config.timeout_first),
        ("timeout_max", &mut config.timeout_max),
        ("command_timeout", &mut config.command_timeout),
        ("leave_timeout", &mut config.leave_timeout),
        ("skew_max", &mut config.skew_max),
        ("repair_bound", &mut config.repair_bound),
    ];
    for (name, option) in times {
        if let Some(micros) = section.duration(name)? {
            *option = Micros(micros);
        }
    }
    let small: [(&'static str, &mut u8); 4] = [
        ("successors", &mut config.successors),
        ("copies", &mut config.copies),
        ("copies_max", &mut config.copies_max),
        ("passive_max", &mut config.passive_max),
    ];
    for (name, option) in small {
        if let Some(value) = section.whole(name, "a whole number from 0 to 255")? {
            *option = value;
        }
    }
    if let Some(value) = section.whole("table_max", "a whole number from 0 to 65535")? {
        config.table_max = value;
    }
    if let Some(value) = section.count("ops_max")? {
        config.ops_max = value;
    }
    if let Some(value) = section.size("page_bytes")? {
        config.page_bytes = u32::try_from(value).unwrap_or(u32::MAX);
    }
    if let Some(value) = section.flag("jitter")? {
        config.jitter = value;
    }
    section.finish()?;
    config.validate().map_err(PlanError::Ring)?;
    Ok(config)
}
