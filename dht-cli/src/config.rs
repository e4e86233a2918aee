//! What a host is told, and by whom: flag before environment before file before default.
//!
//! ```text
//! FILE.toml ─▶ toml_form ─┐
//! FILE.ini ──▶ ini_form ──┼─▶ assignments ──▶ knobs ──▶ Settings
//! DHT_… ──────────────────┤   (option, raw value, origin)   + origin of each value
//! flags ──────────────────┘
//! ```
//!
//! Nothing is started before all of it makes sense. An error names the place that said it
//! and the way to mend it.
//!
//! **Invariant:** [`Settings`] from [`load`] are usable as they are: all paths are set, the
//! options of the ring are within their bounds, and an address others dial is concrete.

mod check;
mod ini_form;
mod kinds;
mod knobs;
mod nearest;
mod origin;
mod raw;
mod settings;
mod toml_form;
pub mod units;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::documents::OptionDocument;
pub use knobs::{Knob, knobs};
pub use nearest::nearest;
pub use origin::{ConfigError, Origin};
use origin::{Form, Source};
use raw::Raw;
pub use settings::{ApiSettings, NodeSettings, Settings, StoreSetting, TlsSettings};

/// Where a configuration comes from.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Sources {
    /// `-c FILE`, ending in `.toml` or `.ini`.
    pub file: Option<PathBuf>,
    /// Environment variables; only `DHT_…` matter.
    pub environment: Vec<(String, String)>,
    /// Name of an option such as `node.listen`, and its value.
    pub flags: Vec<(String, String)>,
}

impl Sources {
    /// The environment of this process; variables that are not Unicode are none of ours.
    #[must_use]
    pub fn from_process(file: Option<PathBuf>, flags: Vec<(String, String)>) -> Self {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self {
            file,
            environment,
            flags,
        }
    }
}

/// A configuration in force, and who said each value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Loaded {
    /// The values.
    pub settings: Settings,
    /// Things worth a line on standard error that are no errors.
    pub notes: Vec<String>,
    file: Option<Source>,
    said: BTreeMap<String, Said>,
}

/// Who said an option's value, and by which word if not by its name.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Said {
    origin: Origin,
    word: Option<String>,
}

/// One thing that was said: which option, what, by whom.
#[derive(Clone, Debug)]
struct Assignment {
    knob: &'static Knob,
    raw: Raw,
    origin: Origin,
    /// What the source calls the option, if not by its name.
    word: Option<String>,
}

/// Reads and checks a configuration.
///
/// # Errors
/// The first thing that makes no sense; nothing was started.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
    let mut loaded = gather(sources)?;
    loaded.check()?;
    loaded.remark();
    Ok(loaded)
}

/// Reads a configuration without looking whether it is enough to start a node with.
///
/// # Errors
/// The first thing that makes no sense by itself.
pub fn gather(sources: &Sources) -> Result<Loaded, ConfigError> {
    let mut notes = Vec::new();
    let mut assignments = Vec::new();
    let mut base = PathBuf::new();
    let mut source = None;
    if let Some(file) = &sources.file {
        let (form, said, note) = read_file(file)?;
        assignments.extend(said);
        notes.extend(note);
        base = file.parent().map(Path::to_path_buf).unwrap_or_default();
        let name = file.display().to_string();
        source = Some(Source { name, form });
    }
    assignments.extend(read_environment(&sources.environment)?);
    assignments.extend(read_flags(&sources.flags)?);

    let mut settings = Settings::default();
    let mut said = BTreeMap::new();
    for assignment in assignments {
        let Assignment {
            knob,
            raw,
            origin,
            word,
        } = assignment;
        let base = match origin {
            Origin::File { .. } => base.as_path(),
            Origin::Default | Origin::Environment(_) | Origin::Flag(_) => Path::new(""),
        };
        let name = knob.name();
        (knob.set)(&mut settings, &raw, base)
            .map_err(|error| ConfigError::about(&origin, word.as_ref().unwrap_or(&name), error))?;
        said.insert(name, Said { origin, word });
    }
    let mut loaded = Loaded {
        settings,
        notes,
        file: source,
        said,
    };
    loaded.choose_store();
    Ok(loaded)
}

/// What a file says, and a note about what of it was ignored.
type FileSays = (Form, Vec<Assignment>, Option<String>);

fn read_file(file: &Path) -> Result<FileSays, ConfigError> {
    let name = file.display().to_string();
    let origin = Origin::File {
        name: name.clone(),
        line: None,
    };
    let bytes = std::fs::read(file).map_err(|error| {
        ConfigError::at(&origin, format!("cannot read the configuration: {error}"))
    })?;
    let text = String::from_utf8(bytes)
        .map_err(|_| ConfigError::at(&origin, "the configuration is not UTF-8 text"))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    match file.extension().and_then(|ending| ending.to_str()) {
        Some("toml") => Ok((Form::Toml, toml_form::read(&name, text)?, None)),
        Some("ini") => {
            let (said, note) = ini_form::read(&name, text)?;
            Ok((Form::Ini, said, note))
        }
        Some(_) | None => Err(ConfigError::at(
            &origin,
            "cannot tell the form of the configuration: name the file .toml or .ini",
        )),
    }
}

fn read_environment(variables: &[(String, String)]) -> Result<Vec<Assignment>, ConfigError> {
    let mut assignments = Vec::new();
    for (name, value) in variables {
        let ours = knobs::SECTIONS
            .iter()
            .any(|section| name.starts_with(&format!("DHT_{}_", section.to_ascii_uppercase())));
        if !ours || is_service_link(name) {
            continue;
        }
        let origin = Origin::Environment(name.clone());
        let Some(knob) = knobs().find(|knob| knob.variable() == *name) else {
            let variables: Vec<String> = knobs().map(Knob::variable).collect();
            let known = variables.iter().map(String::as_str);
            // `nearest` compares with lower case words.
            let lower: Vec<String> = known.map(str::to_ascii_lowercase).collect();
            let hint = nearest(name, lower.iter().map(String::as_str))
                .map_or_else(String::new, |meant| {
                    format!("; did you mean {}?", meant.to_ascii_uppercase())
                });
            return Err(ConfigError::at(
                &origin,
                format!("no option has this variable{hint}"),
            ));
        };
        assignments.push(Assignment {
            knob,
            raw: Raw::Text(value.clone()),
            origin,
            word: None,
        });
    }
    Ok(assignments)
}

/// Whether a variable is one of those that container platforms derive from the name of a
/// service: with a service called `dht-node` they look like ours.
fn is_service_link(name: &str) -> bool {
    name.contains("_SERVICE_") || name.ends_with("_PORT") || name.contains("_PORT_")
}

fn read_flags(flags: &[(String, String)]) -> Result<Vec<Assignment>, ConfigError> {
    let mut assignments = Vec::new();
    for (name, value) in flags {
        let origin = Origin::Flag(format!("flag {name}"));
        let Some(knob) = knobs().find(|knob| knob.name() == *name) else {
            let names: Vec<String> = knobs().map(Knob::name).collect();
            let hint = nearest(name, names.iter().map(String::as_str))
                .map_or_else(String::new, |meant| format!("; did you mean `{meant}`?"));
            return Err(ConfigError::at(&origin, format!("unknown option{hint}")));
        };
        assignments.push(Assignment {
            knob,
            raw: Raw::Text(value.clone()),
            origin,
            word: None,
        });
    }
    Ok(assignments)
}

impl Loaded {
    /// Who said a value; the default if nobody did.
    #[must_use]
    pub fn origin(&self, name: &str) -> Origin {
        let said = self.said.get(name);
        said.map_or(Origin::Default, |said| said.origin.clone())
    }

    /// An option in the words of whoever said it, or would have to: `node.listen`, or
    /// `[dht] p2p_address`.
    #[must_use]
    pub fn called(&self, name: &str) -> String {
        let word = match (self.said.get(name), &self.file) {
            (Some(said), _) => said.word.clone(),
            (None, Some(file)) if file.form == Form::Ini => ini_form::word(name),
            (None, Some(_) | None) => None,
        };
        word.unwrap_or_else(|| name.to_owned())
    }

    /// An error about an option, at the place that said it or that does not.
    #[must_use]
    pub fn error(&self, name: &str, message: impl std::fmt::Display) -> ConfigError {
        let origin = match (self.origin(name), &self.file) {
            (Origin::Default, Some(file)) => Origin::File {
                name: file.name.clone(),
                line: None,
            },
            (origin, _) => origin,
        };
        ConfigError::about(&origin, &self.called(name), message)
    }

    /// How to set an option that few need: in the file that was read, or by a flag if its form
    /// has no word for it.
    fn setting(&self, name: &str, value: &str) -> String {
        match &self.file {
            Some(file) if file.form == Form::Toml => format!("{name} = {value}"),
            Some(_) | None => format!("--set {name}={value}"),
        }
    }

    /// The values in force, as a TOML file that says the same, each with who said it.
    #[must_use]
    pub fn report(&self) -> String {
        let mut text = String::new();
        for section in knobs::SECTIONS {
            let _ = writeln!(
                text,
                "{}[{section}]",
                if text.is_empty() { "" } else { "\n" }
            );
            for knob in knobs().filter(|knob| knob.section == section) {
                let value = (knob.show)(&self.settings);
                let origin = self.origin(&knob.name());
                let line = if value.is_empty() {
                    format!("# {} is not set", knob.key)
                } else {
                    format!("{} = {value}", knob.key)
                };
                let _ = writeln!(text, "{line:<44} # {origin}");
            }
        }
        text
    }

    /// Each option by name, for people who are not the operator: where the key file lies is
    /// nobody else's business.
    #[must_use]
    pub fn redacted(&self) -> BTreeMap<String, OptionDocument> {
        let entries = knobs().map(|knob| {
            let name = knob.name();
            let value = match name.as_str() {
                "tls.key" => kinds::quoted("(redacted)"),
                _ => (knob.show)(&self.settings),
            };
            let from = self.origin(&name).to_string();
            (name, OptionDocument { value, from })
        });
        entries.collect()
    }
}
