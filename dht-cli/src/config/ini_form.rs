//! The INI form of existing deployments of the client protocol: one section, `[dht]`.
//!
//! What those files carry for other programs is ignored with one note; what looks like ours
//! but is unknown is refused.

use super::knobs::{Knob, knob};
use super::nearest::nearest;
use super::raw::Raw;
use super::{Assignment, ConfigError, Origin};

/// Keys of `[dht]`, and the option each one sets.
const KEYS: [(&str, &str, &str); 12] = [
    ("p2p_address", "node", "listen"),
    ("listen_address", "node", "listen"),
    ("api_address", "api", "tcp"),
    ("web_address", "api", "http"),
    ("bootstrap", "node", "join"),
    ("join_address", "node", "join"),
    ("bootstrap_node", "node", "join"),
    ("cert", "tls", "cert"),
    ("key", "tls", "key"),
    ("ca", "tls", "ca"),
    ("crl", "tls", "crl"),
    ("data_dir", "node", "data_dir"),
];

/// Keys of `[dht]` that mean nothing to us but stand in existing files.
const IGNORED: [&str; 7] = [
    "worker_threads",
    "timeout",
    "fingers",
    "stabilization_interval",
    "pow_difficulty",
    "log_level",
    "dev_mode",
];

/// What an INI file says, each value with its line, and a note about what was ignored.
pub(super) fn read(
    name: &str,
    text: &str,
) -> Result<(Vec<Assignment>, Option<String>), ConfigError> {
    let mut section: Option<String> = None;
    let mut assignments: Vec<Assignment> = Vec::new();
    let mut ignored: Vec<String> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let origin = Origin::File {
            name: name.to_owned(),
            line: Some(at + 1),
        };
        let fail = |message: String| ConfigError::at(&origin, message);
        let line = strip_comment(line).trim();
        if line.is_empty() {
            continue;
        }
        if let Some(header) = line.strip_prefix('[') {
            let header = header
                .strip_suffix(']')
                .ok_or_else(|| fail(format!("`{line}`: the closing ] is missing")))?;
            let header = header.trim().to_ascii_lowercase();
            if header != "dht" {
                ignored.push(format!("[{header}]"));
            }
            section = Some(header);
            continue;
        }
        match section.as_deref() {
            Some("dht") => {}
            Some(_) => continue,
            None => {
                let key = line.split_once('=').map_or(line, |(key, _)| key);
                ignored.push(key.trim().to_owned());
                continue;
            }
        }
        let (key, value) = line
            .split_once('=')
            .ok_or_else(|| fail(format!("`{line}`: write key = value")))?;
        let key = key.trim().to_ascii_lowercase();
        if IGNORED.contains(&key.as_str()) {
            ignored.push(key);
            continue;
        }
        let knob = known(&key).map_err(&fail)?;
        let value = unquoted(value.trim())
            .map_err(|error| fail(format!("{}: {error}", in_section(&key))))?;
        if value.is_empty() {
            // `bootstrap =` says what an absent line says.
            continue;
        }
        if let Some(twin) = assignments.iter().find(|a| std::ptr::eq(a.knob, knob)) {
            return Err(fail(format!(
                "`{key}` says again what {} said",
                twin.origin
            )));
        }
        assignments.push(Assignment {
            knob,
            raw: Raw::Text(value.to_owned()),
            origin,
            word: Some(in_section(&key)),
        });
    }
    if section.is_none() && assignments.is_empty() && !ignored.is_empty() {
        let origin = Origin::File {
            name: name.to_owned(),
            line: None,
        };
        return Err(ConfigError::at(
            &origin,
            "no section [dht]: the keys belong below one",
        ));
    }
    assignments.extend(servers_off(name, &assignments));
    let note = (!ignored.is_empty()).then(|| {
        format!(
            "{name}: ignored, not ours or without meaning here: {}",
            ignored.join(", ")
        )
    });
    Ok((assignments, note))
}

/// In this form a server without an address is off.
fn servers_off(name: &str, said: &[Assignment]) -> Vec<Assignment> {
    let mut off = Vec::new();
    for key in ["tcp", "http", "grpc"] {
        let knob = knob("api", key).expect("the servers are in the table of options");
        if !said
            .iter()
            .any(|assignment| std::ptr::eq(assignment.knob, knob))
        {
            let origin = Origin::File {
                name: name.to_owned(),
                line: None,
            };
            off.push(Assignment {
                knob,
                raw: Raw::Text("off".to_owned()),
                origin,
                word: word(&knob.name()),
            });
        }
    }
    off
}

/// What this form calls an option, if it knows it.
pub(super) fn word(name: &str) -> Option<String> {
    let (section, key) = name.split_once('.')?;
    let mut keys = KEYS.iter();
    let (word, _, _) = keys.find(|(_, of, option)| (*of, *option) == (section, key))?;
    Some(in_section(word))
}

fn in_section(key: &str) -> String {
    format!("[dht] {key}")
}

fn known(key: &str) -> Result<&'static Knob, String> {
    if let Some((_, section, key)) = KEYS.iter().find(|(name, _, _)| *name == key) {
        return Ok(knob(section, key).expect("each key of the INI form names an option"));
    }
    let names = KEYS.iter().map(|(name, _, _)| *name);
    Err(match nearest(key, names.clone()) {
        Some(meant) => format!("unknown key `{key}` in [dht]; did you mean `{meant}`?"),
        None => {
            let known: Vec<&str> = names.collect();
            format!(
                "unknown key `{key}` in [dht]; known are: {}; all other options need the TOML form",
                known.join(", ")
            )
        }
    })
}

/// A line without the comment that `;` or `#` starts outside a quoted value.
fn strip_comment(line: &str) -> &str {
    let mut quote = None;
    let mut before = ' ';
    for (at, letter) in line.char_indices() {
        let begins_value = before == '=';
        if !letter.is_whitespace() {
            before = letter;
        }
        match (quote, letter) {
            (None, ';' | '#') => return &line[..at],
            (None, '"' | '\'') if begins_value => quote = Some(letter),
            (Some(open), _) if open == letter => quote = None,
            (None | Some(_), _) => {}
        }
    }
    line
}

fn unquoted(value: &str) -> Result<&str, String> {
    let Some(quote) = value
        .chars()
        .next()
        .filter(|letter| matches!(letter, '"' | '\''))
    else {
        return Ok(value);
    };
    value[1..]
        .strip_suffix(quote)
        .map(str::trim)
        .ok_or_else(|| format!("{value}: the closing quote is missing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_end_lines_but_not_quotes() {
        assert_eq!(strip_comment("a = b ; c"), "a = b ");
        assert_eq!(strip_comment("a = \"b;c\" # d"), "a = \"b;c\" ");
        assert_eq!(strip_comment("; all"), "");
        assert_eq!(strip_comment("a = 'b#c'"), "a = 'b#c'");
        assert_eq!(strip_comment("a = o'b ; c"), "a = o'b ");
    }

    #[test]
    fn quotes_come_in_pairs() {
        assert_eq!(unquoted("\"a b\""), Ok("a b"));
        assert_eq!(unquoted("'x'"), Ok("x"));
        assert_eq!(unquoted("x"), Ok("x"));
        assert!(unquoted("\"x").is_err());
        assert!(unquoted("\"").is_err());
    }

    #[test]
    fn each_key_names_an_option() {
        for (name, section, key) in KEYS {
            assert!(knob(section, key).is_some(), "{name}");
        }
    }
}
