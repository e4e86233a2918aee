//! The terminal: data to standard output, talk to standard error.
//!
//! Writing goes through here instead of the print macros, which panic when a reader such as
//! `head` has closed its end. A closed reader is no failure of ours: the rest of the output
//! has nobody to read it, so the process ends as `head`'s other customers do.

use std::io::{self, IsTerminal, Write};

use crate::exit::Stop;

/// Writes `text` and a newline to standard output.
pub(crate) fn line(text: impl AsRef<str>) -> Result<(), Stop> {
    let text = text.as_ref();
    let mut bytes = Vec::with_capacity(text.len() + 1);
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(b'\n');
    raw(&bytes)
}

/// Writes bytes to standard output as they are: values are binary-safe.
pub(crate) fn raw(bytes: &[u8]) -> Result<(), Stop> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => Err(Stop::failed(format!("standard output: {error}"))),
    }
}

/// Writes one JSON document to standard output, readable by people too.
pub(crate) fn json(document: &impl serde::Serialize) -> Result<(), Stop> {
    let text = serde_json::to_string_pretty(document)
        .map_err(|error| Stop::failed(format!("cannot print this as JSON: {error}")))?;
    line(text)
}

/// Writes a line of talk to standard error. Nobody listening there is no failure.
pub(crate) fn say(text: impl AsRef<str>) {
    let mut bytes = text.as_ref().as_bytes().to_vec();
    bytes.push(b'\n');
    // If standard error is gone, there is no place left to complain to.
    let _ = io::stderr().lock().write_all(&bytes);
}

/// A line on standard error that replaces itself, on a terminal only.
pub(crate) fn progress(text: &str) {
    if io::stderr().is_terminal() {
        let _ = write!(io::stderr().lock(), "\r\x1b[K{text}");
    }
}

/// Colours for standard output: plain when it is no terminal or `NO_COLOR` is set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    on: bool,
}

impl Paint {
    /// What standard output can show.
    pub(crate) fn detect() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            on: !refused && io::stdout().is_terminal(),
        }
    }

    /// Colours for tests of texts.
    #[cfg(test)]
    pub(crate) fn plain() -> Self {
        Self { on: false }
    }

    pub(crate) fn good(self, text: &str) -> String {
        self.code("32", text)
    }

    pub(crate) fn bad(self, text: &str) -> String {
        self.code("1;31", text)
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.code("1", text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.code("2", text)
    }

    fn code(self, code: &str, text: &str) -> String {
        if self.on {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// A table with left-aligned columns as wide as their widest cell.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let head: Vec<String> = head.iter().map(|&cell| cell.to_owned()).collect();
    let mut text = String::new();
    for row in std::iter::once(&head).chain(rows) {
        let mut line = String::new();
        for (cell, &width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.pop();
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_a_table_line_up() {
        let rows = vec![
            vec!["a".into(), "long".into()],
            vec!["wide".into(), "b".into()],
        ];
        assert_eq!(table(&["X", "Y"], &rows), "X     Y\na     long\nwide  b");
    }

    #[test]
    fn paint_that_is_off_leaves_text_alone() {
        assert_eq!(Paint { on: false }.bad("x"), "x");
        assert_eq!(Paint { on: true }.good("x"), "\x1b[32mx\x1b[0m");
    }
}
