//! The TOML form: five tables, every key known.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::knobs::{SECTIONS, knob, knobs};
use super::nearest::nearest;
use super::raw::Raw;
use super::{Assignment, ConfigError, Origin};

/// What a TOML file says, each value with its line.
pub(super) fn read(name: &str, text: &str) -> Result<Vec<Assignment>, ConfigError> {
    let lines = Lines { name, text };
    let document = DeTable::parse(text)
        .map_err(|error| lines.error(error.span().unwrap_or(0..0), error.message()))?;
    let mut assignments = Vec::new();
    for (section, table) in document.get_ref() {
        let section_name = section.get_ref().as_ref();
        if !SECTIONS.contains(&section_name) {
            return Err(lines.error(section.span(), unknown_section(section_name)));
        }
        let DeValue::Table(table) = table.get_ref() else {
            return Err(lines.error(
                section.span(),
                format!("write [{section_name}] and its keys below"),
            ));
        };
        for (key, value) in table {
            let key_name = key.get_ref().as_ref();
            let Some(knob) = knob(section_name, key_name) else {
                return Err(lines.error(key.span(), unknown_key(section_name, key_name)));
            };
            let raw = raw(value).map_err(|error| {
                lines.error(value.span(), format!("{section_name}.{key_name}: {error}"))
            })?;
            let origin = Origin::File {
                name: name.to_owned(),
                line: Some(lines.line(key.span())),
            };
            assignments.push(Assignment {
                knob,
                raw,
                origin,
                word: None,
            });
        }
    }
    Ok(assignments)
}

struct Lines<'a> {
    name: &'a str,
    text: &'a str,
}

impl Lines<'_> {
    /// The line, from 1, on which a part of the text begins.
    fn line(&self, span: Range<usize>) -> usize {
        let before = self.text.as_bytes().get(..span.start).unwrap_or_default();
        before.iter().filter(|&&byte| byte == b'\n').count() + 1
    }

    fn error(&self, span: Range<usize>, message: impl Into<String>) -> ConfigError {
        let origin = Origin::File {
            name: self.name.to_owned(),
            line: Some(self.line(span)),
        };
        ConfigError::at(&origin, message)
    }
}

fn raw(value: &Spanned<DeValue<'_>>) -> Result<Raw, String> {
    match value.get_ref() {
        DeValue::String(text) => Ok(Raw::Text(text.to_string())),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map(Raw::Integer)
            .map_err(|_| format!("{} is out of range", number.as_str())),
        DeValue::Boolean(flag) => Ok(Raw::Flag(*flag)),
        DeValue::Array(items) => {
            let texts = items.iter().map(|item| match item.get_ref() {
                DeValue::String(text) => Ok(text.to_string()),
                other => Err(format!(
                    "a list of texts, but it holds a {}",
                    other.type_str()
                )),
            });
            Ok(Raw::List(texts.collect::<Result<_, _>>()?))
        }
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => Err(format!(
            "a {} makes no sense here",
            value.get_ref().type_str()
        )),
    }
}

fn unknown_section(name: &str) -> String {
    // `listen = …` above all tables is a key in the wrong place, not a wrong table.
    if let Some(knob) = knobs().find(|knob| knob.key == name) {
        return format!("`{name}` belongs into [{}]", knob.section);
    }
    match nearest(name, SECTIONS) {
        Some(meant) => format!("unknown table [{name}]; did you mean [{meant}]?"),
        None => format!("unknown table [{name}]; known are: {}", SECTIONS.join(", ")),
    }
}

fn unknown_key(section: &str, key: &str) -> String {
    let here = knobs().filter(|knob| knob.section == section);
    if let Some(elsewhere) = knobs().find(|knob| knob.key == key) {
        return format!(
            "`{key}` belongs into [{}], not [{section}]",
            elsewhere.section
        );
    }
    if let Some(meant) = nearest(key, here.clone().map(|knob| knob.key)) {
        return format!("unknown key `{key}` in [{section}]; did you mean `{meant}`?");
    }
    let known: Vec<&str> = here.map(|knob| knob.key).collect();
    format!(
        "unknown key `{key}` in [{section}]; known are: {}",
        known.join(", ")
    )
}
